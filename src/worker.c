#include "worker.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <semaphore.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve/generation.h"
#include "serve/site.h"
#include "serve/watches.h"

struct worker {
    struct worker_options options;
    struct metrics metrics;
    uv_thread_t thread;
    sem_t ready;                                       /* it listens, or it failed */
    bool failed;                                       /* written before `ready` */
    int port;

    uv_loop_t loop;
    uv_async_t wanted;                                 /* there is something below for it */
    _Atomic bool drain;
    uv_mutex_t lock;                                   /* of `orders` */
    struct list orders;                                /* told and not yet followed */
    struct generation *first;                          /* what it begins with; the site's, once that is open */
    struct site *site;
};

static void on_drained(void *owner)
{
    struct worker *w = owner;

    site_close(w->site);
    uv_close((uv_handle_t *)&w->wanted, NULL);
}

struct order {
    struct list link;
    enum worker_order what;
    struct generation *g;
    unsigned n;
    struct watches *watches;
};

static struct order *next_order(struct worker *w)
{
    struct order *o = NULL;

    uv_mutex_lock(&w->lock);
    if (!list_empty(&w->orders)) {
        o = list_of(w->orders.next, struct order, link);
        list_remove(&o->link);
    }
    uv_mutex_unlock(&w->lock);
    return o;
}

static void follow(struct worker *w, struct order *o)
{
    switch (o->what) {
    case WORKER_RELOAD:
        site_reload(w->site, o->g);
        break;
    case WORKER_CANARY:
        site_canary(w->site, o->g, o->n);
        break;
    case WORKER_PROMOTE:
        site_promote(w->site);
        break;
    case WORKER_ROLLBACK:
        site_rollback(w->site);
        break;
    case WORKER_FORCE:
        site_force(w->site, o->n);
        break;
    case WORKER_WATCH:
        site_watch(w->site, o->watches);
        break;
    }
}

static void on_wanted(uv_async_t *a)
{
    struct worker *w = a->data;
    struct order *o;

    while ((o = next_order(w)) != NULL) {
        follow(w, o);
        free(o);
    }
    if (atomic_exchange(&w->drain, false))
        site_drain(w->site, on_drained, w);
}

static void on_trace(void *owner, unsigned watch, struct buf *text)
{
    struct worker *w = owner;
    w->options.on_trace(w->options.owner, watch, text);
}

static void on_full(void *owner)
{
    struct worker *w = owner;
    w->options.on_full(w->options.owner, w);
}

static int begin(struct worker *w)
{
    const struct gateway *gateway = w->first->gateway;
    char where[300];

    snprintf(where, sizeof where, "%s port %d", gateway->host, w->options.port ? w->options.port : gateway->port);
    int failed = site_open(&w->site, &w->loop, w->first, w->options.port, w->options.workers, &w->metrics);
    if (failed == 0) {
        w->port = site_port(w->site);
        site_on_full(w->site, on_full, w);
        site_on_trace(w->site, on_trace, w);
        return 0;
    }
    log_say(LOG_ERROR, "listen", "cannot listen at %s: %s", where, uv_strerror(failed));
    uv_close((uv_handle_t *)&w->wanted, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return -1;
}

static void run(void *arg)
{
    struct worker *w = arg;

    w->failed = begin(w) != 0;
    bool failed = w->failed;
    sem_post(&w->ready);
    if (failed)
        return;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    w->options.on_end(w->options.owner);
}

int worker_open(struct worker **ret, const struct worker_options *options, struct generation *g)
{
    struct worker *w = mem_alloc(sizeof *w);

    w->options = *options;
    w->first = g;
    uv_mutex_init(&w->lock);
    list_init(&w->orders);
    sem_init(&w->ready, 0, 0);
    uv_loop_init(&w->loop);
    uv_async_init(&w->loop, &w->wanted, on_wanted);
    w->wanted.data = w;
    int failed = uv_thread_create(&w->thread, run, w);
    assert(failed == 0);
    while (sem_wait(&w->ready) != 0)
        ;                                              /* EINTR */
    if (!w->failed) {
        *ret = w;
        return 0;
    }
    uv_thread_join(&w->thread);
    uv_loop_close(&w->loop);
    sem_destroy(&w->ready);
    uv_mutex_destroy(&w->lock);
    free(w);
    return -1;
}

int worker_port(const struct worker *w) { return w->port; }

struct metrics *worker_metrics(struct worker *w) { return &w->metrics; }

static void give(struct worker *w, const struct order *order)
{
    struct order *o = mem_alloc(sizeof *o);

    *o = *order;
    uv_mutex_lock(&w->lock);
    list_append(&w->orders, &o->link);
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->wanted);
}

void worker_tell(struct worker *w, enum worker_order what, struct generation *g, unsigned n)
{
    give(w, &(struct order){ .what = what, .g = g, .n = n });
}

void worker_watch(struct worker *w, struct watches *wanted)
{
    give(w, &(struct order){ .what = WORKER_WATCH, .watches = wanted });
}

void worker_drain(struct worker *w)
{
    atomic_store(&w->drain, true);
    uv_async_send(&w->wanted);
}

void worker_close(struct worker *w)
{
    uv_thread_join(&w->thread);
    int left = uv_loop_close(&w->loop);
    assert(left == 0);
    for (struct order *o; (o = next_order(w)) != NULL; free(o)) {   /* they came too late to be taken */
        generation_close(o->g);
        watches_free(o->watches);
    }
    uv_mutex_destroy(&w->lock);
    sem_destroy(&w->ready);
    free(w);
}
