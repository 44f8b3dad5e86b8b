/* Calls of services on behalf of a stream's hooks, filters, gates and Lua model. Whoever asked is resumed when an answer comes; what its call no longer
 * waits for is given up with it.
 */
#include "script/service.h"

#include <assert.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

static uint64_t now(const struct stream *s) { return s->host->now(s->owner); }

static void set_clock(struct stream *s)
{
    uint64_t first = 0;

    list_each(it, &s->services) {
        uint64_t due = list_of(it, struct service_call, running)->due;

        if (!first || due < first)
            first = due;
    }
    s->due[CLOCK_SERVICE] = first;
}

static bool is_failure(const struct service_call *w) { return w->end != SERVICE_OK || w->status >= 500; }

/* The answer waits in its asker's call. */
static struct call *over(struct stream *s, struct service_call *w)
{
    struct call *asker = w->asker;

    list_remove(&w->running);
    breaker_told(&w->service->breaker, is_failure(w), now(s));
    service_answer(asker, w);
    return asker;
}

static void refuse(struct stream *s, struct service_call *w, enum service_end end)
{
    list_remove(&w->running);
    w->end = end;
    service_answer(w->asker, w);
    stream_clock(s, CLOCK_NEWS, 1);
}

static void start(struct stream *s, struct call *c, struct service_call *w)
{
    w->stream = s;
    w->asker = c;
    w->due = now(s) + w->timeout_ms;
    list_append(&s->services, &w->running);
    if (!breaker_may(&w->service->breaker, now(s)))
        refuse(s, w, SERVICE_BREAKER_OPEN);
    else if (s->host->service(s->owner, w) != 0)
        refuse(s, w, SERVICE_CONNECT);
}

void stream_call_waits(struct stream *s, struct call *c, enum clock clock)
{
    while (c->wants) {
        struct service_call *w = c->wants;

        c->wants = w->next;
        start(s, c, w);
    }
    set_clock(s);
    if (c->wait == WAIT_SLEEP || c->wait_ms)
        stream_clock(s, clock, c->wait_ms ? c->wait_ms : 1);
    else
        s->due[clock] = 0;
}

static void give_up(struct stream *s, struct service_call *w)
{
    s->host->service_cancel(s->owner, w);
    breaker_untold(&w->service->breaker);
    service_call_free(w);
}

void services_drop(struct stream *s, const struct call *c)
{
    list_each_safe(it, &s->services) {
        struct service_call *w = list_of(it, struct service_call, running);

        if (!c || w->asker == c)
            give_up(s, w);
    }
    set_clock(s);
}

static void wake(struct stream *s, struct call *c)
{
    if (!c->news || c->wait != WAIT_NEWS)
        return;                                        /* it looks for itself when it wakes up */
    if (c == &s->call)
        stream_resume_call(s);
    else if (c == &s->answer)
        s->answer_woken = true;
    else
        beside_wake(s, c);
}

void services_wake_all(struct stream *s)
{
    if (call_open(&s->call))
        wake(s, &s->call);
    if (call_open(&s->answer))
        wake(s, &s->answer);
    beside_wake_news(s);
}

void services_expire(struct stream *s)
{
    uint64_t t = now(s);

    list_each_safe(it, &s->services) {
        struct service_call *w = list_of(it, struct service_call, running);

        if (w->due > t)
            continue;
        s->host->service_cancel(s->owner, w);
        w->end = SERVICE_TIMEOUT;
        over(s, w);
    }
    set_clock(s);
    services_wake_all(s);
}

void services_answered(struct stream *s, struct service_call *w)
{
    struct call *asker = over(s, w);

    set_clock(s);
    wake(s, asker);
}
