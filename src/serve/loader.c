#include "serve/loader.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/mem.h"
#include "net/fetch.h"
#include "net/redis.h"
#include "script/gateway.h"
#include "script/init.h"
#include "script/vm.h"
#include "serve/errand.h"

struct loader {
    uv_loop_t loop;
    uv_timer_t alarm;                                  /* when the inits want to go on */
    uv_async_t wake;                                   /* somebody stopped it */
    struct errand_ways ways;                           /* NULL until something is asked for */
    struct inits *inits;                               /* that run now, or NULL */
    atomic_bool stopped;
};

/* ---- what the inits ask for */

static uint64_t host_now(void *owner)
{
    (void)owner;
    return uv_hrtime() / 1000000;
}

static void on_answer(void *owner, struct service_call *w)
{
    struct loader *l = owner;
    inits_answered(l->inits, w);
}

static int host_service(void *owner, struct service_call *w)
{
    struct loader *l = owner;

    if (!l->ways.fetch && fetch_pool_open(&l->ways.fetch, &l->loop) != 0)
        return -1;
    if (!l->ways.redis)
        l->ways.redis = redis_pool_open(&l->loop);
    return errand_start(&l->ways, w, on_answer, l);
}

static void host_service_cancel(void *owner, struct service_call *w)
{
    (void)owner;
    errand_cancel(w);
}

/* ---- running them */

static void set_clock(const struct gateway *g)
{
    uv_timeval64_t wall;

    uv_gettimeofday(&wall);
    vm_set_now(g->vm, uv_hrtime() / 1000000, wall.tv_sec * 1000 + wall.tv_usec / 1000);
}

static void on_alarm(uv_timer_t *t) { (void)t; }
static void on_wake(uv_async_t *a) { (void)a; }

/* Until that time, or until something happens. */
static void wait_until(struct loader *l, uint64_t at)
{
    uint64_t now = uv_hrtime() / 1000000;

    uv_update_time(&l->loop);
    uv_timer_start(&l->alarm, on_alarm, at > now ? at - now : 0, 0);
    uv_run(&l->loop, UV_RUN_ONCE);
}

int loader_init(struct loader *l, struct gateway *g, struct buf *complaints)
{
    static const struct desk_host network = { host_now, host_service, host_service_cancel, NULL };
    struct inits in;
    uint64_t at;

    inits_begin(&in, g, &network, l, complaints);
    l->inits = &in;
    set_clock(g);
    while (!atomic_load(&l->stopped) && (at = inits_go(&in)) != 0) {
        wait_until(l, at);
        set_clock(g);
    }
    l->inits = NULL;
    int failed = inits_end(&in);
    if (!failed && g->n_inits)
        vm_collect_all(g->vm);                         /* what they left behind */
    return failed;
}

void loader_stop(struct loader *l)
{
    atomic_store(&l->stopped, true);
    uv_async_send(&l->wake);
}

const _Atomic bool *loader_stopped(const struct loader *l) { return &l->stopped; }

/* ---- open, close */

void loader_rest(struct loader *l)
{
    if (!l->ways.fetch)
        return;
    fetch_pool_close(l->ways.fetch);
    if (l->ways.redis)
        redis_pool_close(l->ways.redis);
    l->ways = (struct errand_ways){ NULL, NULL };
    uv_run(&l->loop, UV_RUN_NOWAIT);                   /* its handles close */
}

int loader_open(struct loader **ret)
{
    struct loader *l = mem_alloc(sizeof *l);
    int failed = uv_loop_init(&l->loop);

    if (failed) {
        free(l);
        return failed;
    }
    uv_timer_init(&l->loop, &l->alarm);
    failed = uv_async_init(&l->loop, &l->wake, on_wake);
    assert(!failed);
    *ret = l;
    return 0;
}

void loader_close(struct loader *l)
{
    loader_rest(l);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    int left = uv_loop_close(&l->loop);
    assert(left == 0);
    free(l);
}
