#include "script/desk.h"

#include "script/call.h"
#include "script/service.h"

static uint64_t now(const struct desk *d) { return d->host->now(d->owner); }

void desk_init(struct desk *d, const struct desk_host *host, void *owner)
{
    d->host = host;
    d->owner = owner;
    list_init(&d->running);
}

static bool is_failure(const struct service_call *w) { return w->end != SERVICE_OK || w->status >= 500; }

static void tell_over(const struct desk *d, const struct service_call *w, bool given_up)
{
    if (d->host->over)
        d->host->over(d->owner, w, given_up);
}

struct call *desk_answered(struct desk *d, struct service_call *w)
{
    struct call *asker = w->asker;

    list_remove(&w->running);
    breaker_told(&w->service->breaker, is_failure(w), now(d));
    tell_over(d, w, false);
    service_answer(asker, w);
    return asker;
}

static bool refuse(const struct desk *d, struct service_call *w, enum service_end end)
{
    list_remove(&w->running);
    w->end = end;
    tell_over(d, w, false);
    service_answer(w->asker, w);
    return true;
}

/* True: it was refused. */
static bool start(struct desk *d, struct call *c, struct service_call *w)
{
    w->asker = c;
    w->due = now(d) + w->timeout_ms;
    list_append(&d->running, &w->running);
    if (!breaker_may(&w->service->breaker, now(d)))
        return refuse(d, w, SERVICE_BREAKER_OPEN);
    return d->host->service(d->owner, w) != 0 && refuse(d, w, SERVICE_CONNECT);
}

bool desk_take(struct desk *d, struct call *c)
{
    bool news = false;

    while (c->wants) {
        struct service_call *w = c->wants;

        c->wants = w->next;
        news = start(d, c, w) || news;
    }
    return news;
}

uint64_t desk_due(const struct desk *d)
{
    uint64_t first = 0;

    list_each(it, &d->running) {
        uint64_t due = list_of(it, struct service_call, running)->due;

        if (!first || due < first)
            first = due;
    }
    return first;
}

void desk_expire(struct desk *d)
{
    uint64_t t = now(d);

    list_each_safe(it, &d->running) {
        struct service_call *w = list_of(it, struct service_call, running);

        if (w->due > t)
            continue;
        d->host->service_cancel(d->owner, w);
        w->end = SERVICE_TIMEOUT;
        desk_answered(d, w);
    }
}

static void give_up(struct desk *d, struct service_call *w)
{
    d->host->service_cancel(d->owner, w);
    tell_over(d, w, true);
    breaker_untold(&w->service->breaker);
    service_call_free(w);
}

void desk_drop(struct desk *d, const struct call *c)
{
    list_each_safe(it, &d->running) {
        struct service_call *w = list_of(it, struct service_call, running);

        if (!c || w->asker == c)
            give_up(d, w);
    }
}
