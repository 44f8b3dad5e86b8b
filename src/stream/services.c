/* Calls of services on behalf of a stream's hooks, filters, gates and Lua model. Whoever asked is resumed when an answer comes; what its call no longer
 * waits for is given up with it.
 */
#include "script/service.h"

#include "script/vm.h"
#include "stream/inside.h"

static void set_clock(struct stream *s) { s->due[CLOCK_SERVICE] = desk_due(&s->desk); }

static uint64_t host_now(void *owner)
{
    struct stream *s = owner;
    return s->host->now(s->owner);
}

static int host_service(void *owner, struct service_call *w)
{
    struct stream *s = owner;

    w->stream = s;
    return s->host->service(s->owner, w);
}

static void host_service_cancel(void *owner, struct service_call *w)
{
    struct stream *s = owner;
    s->host->service_cancel(s->owner, w);
}

static void host_over(void *owner, const struct service_call *w, bool given_up)
{
    struct stream *s = owner;

    if (s->trace)
        trace_service(s, w, given_up);
}

void services_init(struct stream *s)
{
    static const struct desk_host host = { host_now, host_service, host_service_cancel, host_over };
    desk_init(&s->desk, &host, s);
}

void stream_call_waits(struct stream *s, struct call *c, enum clock clock)
{
    if (desk_take(&s->desk, c))
        stream_clock(s, CLOCK_NEWS, 1);
    set_clock(s);
    if (c->wait == WAIT_SLEEP || c->wait_ms)
        stream_clock(s, clock, c->wait_ms ? c->wait_ms : 1);
    else
        s->due[clock] = 0;
}

void services_drop(struct stream *s, const struct call *c)
{
    desk_drop(&s->desk, c);
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
    desk_expire(&s->desk);
    set_clock(s);
    services_wake_all(s);
}

void services_answered(struct stream *s, struct service_call *w)
{
    struct call *asker = desk_answered(&s->desk, w);

    set_clock(s);
    wake(s, asker);
}
