#include "serve/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/target.h"
#include "net/fetch.h"

struct prober {
    uv_loop_t *loop;
    struct metrics *metrics;
    struct fetch_pool *pool;                           /* NULL: nothing was probed yet */
    struct list served, canary;                        /* struct patient */
};

struct patient {                                       /* a model that is probed */
    struct list link;
    struct prober *prober;
    struct target *target;
    char *url, *ca;
    uint64_t every_ms, timeout_ms;
    struct fetch *fetch;                               /* under way; NULL: none */
    int status;
    bool idle;                                         /* of the canary, while one that is served is probed for both */
    uv_timer_t timer;                                  /* until the next probe, or until this one is late */
};

static void on_due(uv_timer_t *t);

static void judge(struct patient *k, bool well)
{
    metrics_add(k->prober->metrics, METRIC_probes_total, 1);
    metrics_add(k->prober->metrics, METRIC_probes_failed, !well);
    target_probed(k->target, well);
    uv_timer_start(&k->timer, on_due, k->every_ms, 0);
}

static void on_head(void *owner, int status, const struct header *headers, size_t n)
{
    struct patient *k = owner;

    (void)headers;
    (void)n;
    k->status = status;
}

/* The head says all; of a body that never ends no more is taken. */
static void on_bytes(void *owner, const char *bytes, size_t len)
{
    struct patient *k = owner;

    (void)bytes;
    (void)len;
    fetch_cancel(k->fetch);
    k->fetch = NULL;
    judge(k, k->status < 500);
}

static void on_done(void *owner, enum fetch_end end, const char *text)
{
    struct patient *k = owner;

    (void)text;
    k->fetch = NULL;
    judge(k, end == FETCH_OK && k->status < 500);
}

static void on_late(uv_timer_t *t)
{
    struct patient *k = t->data;

    fetch_cancel(k->fetch);
    k->fetch = NULL;
    judge(k, false);
}

static void on_due(uv_timer_t *t)
{
    static const struct fetch_events news = { on_head, on_bytes, on_done };
    static const struct header headers[] = { { "Accept", "application/json" }, { "User-Agent", "sluice-probe/" SLUICE_VERSION } };
    struct patient *k = t->data;
    struct fetch_request request = { .method = "GET", .url = k->url, .headers = headers, .n_headers = 2, .ca = k->ca, .connect_ms = k->timeout_ms };

    if (fetch_start(&k->fetch, k->prober->pool, &request, &news, k) != 0)
        judge(k, false);
    else
        uv_timer_start(t, on_late, k->timeout_ms, 0);
}

/* ---- who is probed */

static void on_timer_closed(uv_handle_t *h)
{
    struct patient *k = h->data;

    target_close(k->target);
    free(k->url);
    free(k->ca);
    free(k);
}

static void discharge(struct list *all)
{
    list_each_safe(it, all) {
        struct patient *k = list_of(it, struct patient, link);

        list_remove(&k->link);
        if (k->fetch)
            fetch_cancel(k->fetch);
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
    }
}

static bool probed(const struct list *all, const struct target *t)
{
    list_each(it, all)
        if (list_of(it, struct patient, link)->target == t)
            return true;
    return false;
}

static void admit(struct prober *p, struct list *to, const struct model *m, bool idle)
{
    struct patient *k = mem_alloc(sizeof *k);

    k->prober = p;
    k->target = target_share(m->target);
    k->url = mem_string(m->probe->url);
    k->ca = mem_string(m->probe->ca);
    k->every_ms = m->probe->every_ms;
    k->timeout_ms = m->probe->timeout_ms;
    uv_timer_init(p->loop, &k->timer);
    k->timer.data = k;
    k->idle = idle;
    if (!idle)
        uv_timer_start(&k->timer, on_due, 0, 0);
    list_append(to, &k->link);
}

static bool can_probe(struct prober *p)
{
    int failed = p->pool ? 0 : fetch_pool_open(&p->pool, p->loop);

    if (failed)
        log_say(LOG_ERROR, "probe.failed", "models cannot be probed: %s", uv_strerror(failed));
    return failed == 0;
}

void prober_serve(struct prober *p, const struct gateway *g, bool canary)
{
    struct list *to = canary ? &p->canary : &p->served;

    discharge(to);
    for (size_t i = 0; i < g->n_models; i++) {
        const struct model *m = &g->models[i];

        if (m->probe && can_probe(p))
            admit(p, to, m, canary && probed(&p->served, m->target));
    }
}

void prober_end_canary(struct prober *p, bool promote)
{
    if (!promote) {
        discharge(&p->canary);
        return;
    }
    discharge(&p->served);
    list_each_safe(it, &p->canary) {
        struct patient *k = list_of(it, struct patient, link);

        list_remove(&k->link);
        list_append(&p->served, &k->link);
        if (k->idle)
            uv_timer_start(&k->timer, on_due, 0, 0);
        k->idle = false;
    }
}

struct prober *prober_open(uv_loop_t *loop, struct metrics *metrics)
{
    struct prober *p = mem_alloc(sizeof *p);

    p->loop = loop;
    p->metrics = metrics;
    list_init(&p->served);
    list_init(&p->canary);
    return p;
}

void prober_close(struct prober *p)
{
    discharge(&p->served);
    discharge(&p->canary);
    if (p->pool)
        fetch_pool_close(p->pool);
    free(p);
}
