/* Calls of Lua that run beside the stream, each on a coroutine of its own: gates (gate.c) and checks (check.c). They wait as hooks do, are woken by a
 * clock or by a service's answer, and each has a time by which it must be over.
 */
#include "script/call.h"
#include "stream/inside.h"

static uint64_t now(const struct stream *s) { return s->host->now(s->owner); }

static void set_clock(struct stream *s)
{
    uint64_t first = 0;

    list_each(it, &s->beside) {
        const struct beside *b = list_of(it, struct beside, link);
        uint64_t due = b->due && b->due < b->until ? b->due : b->until;

        if (!b->over && (!first || due < first))
            first = due;
    }
    s->due[CLOCK_BESIDE] = first;
}

/* The call has returned, failed or waits. May close the stream, and with it all of them. */
static void took(struct stream *s, struct beside *b, enum call_state got)
{
    if (got == CALL_WAITS) {
        stream_call_waits(s, &b->call, CLOCK_BESIDE);
        b->due = s->due[CLOCK_BESIDE];
    } else {
        b->over = true;
        services_drop(s, &b->call);
        b->kind->took(s, b, got);
    }
    set_clock(s);
}

void beside_begin(struct stream *s, struct beside *b, const struct beside_kind *kind, uint64_t may_take_ms)
{
    b->kind = kind;
    b->began = now(s);
    b->until = b->began + may_take_ms;
    list_append(&s->beside, &b->link);
}

void beside_started(struct stream *s, struct beside *b, enum call_state got) { took(s, b, got); }

void beside_end(struct stream *s, struct beside *b)
{
    services_drop(s, &b->call);
    call_cancel(&b->call);
    list_remove(&b->link);
    set_clock(s);
}

static void resume(struct stream *s, struct beside *b)
{
    b->due = 0;
    took(s, b, call_resume(&b->call, 0));
}

void beside_wake(struct stream *s, struct call *c) { resume(s, list_of(c, struct beside, call)); }

/* One that is resumed may close the stream: look from the start each time. */
static bool wake_one(struct stream *s, uint64_t t)
{
    list_each(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->over)
            continue;
        if (t && b->until <= t) {
            b->over = true;
            services_drop(s, &b->call);
            b->kind->late(s, b);
            return true;
        }
        if (t ? b->due && b->due <= t : b->call.news && b->call.wait == WAIT_NEWS) {
            resume(s, b);
            return true;
        }
    }
    return false;
}

void beside_wake_news(struct stream *s)
{
    while (wake_one(s, 0))
        ;
}

void beside_ring(struct stream *s)
{
    while (wake_one(s, now(s)))
        ;
    set_clock(s);
}

void beside_close(struct stream *s)
{
    list_each_safe(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);
        b->kind->drop(s, b);
    }
    s->due[CLOCK_BESIDE] = 0;
}
