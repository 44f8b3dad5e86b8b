/* Gates (ctx:gate): functions of policies that run beside the model. No text reaches the client before all have ended; a gate's verdict wins. */
#include <stdlib.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

#define GATE_WAIT_MS 5000                              /* one gate, all its waits together */

struct gate {
    struct list link;
    struct call call;
    enum hook hook;                                    /* that opened it: its on_error counts */
    int policy, fn_ref;
    uint64_t due, until;                               /* when it is to be resumed (0: news only); when its time is up */
};

static const struct policy *policy_of(const struct stream *s, const struct gate *g) { return &s->route->policies[g->policy]; }

static void set_clock(struct stream *s)
{
    uint64_t first = 0;

    list_each(it, &s->gates) {
        const struct gate *g = list_of(it, struct gate, link);
        uint64_t due = g->due && g->due < g->until ? g->due : g->until;

        if (!first || due < first)
            first = due;
    }
    s->due[CLOCK_GATE] = first;
}

static void close_gate(struct stream *s, struct gate *g)
{
    services_drop(s, &g->call);
    call_cancel(&g->call);
    exchange_gate_over(&s->exchange, g->fn_ref);
    list_remove(&g->link);
    free(g);
    if (list_empty(&s->gates))
        stream_go(s, HELD_BY_GATE);
}

/* A gate that failed: its policy's on_error for the hook that opened it decides. */
static void failed(struct stream *s, struct gate *g, enum reason why, const char *what)
{
    const struct policy *p = policy_of(s, g);
    enum hook hook = g->hook;
    bool open = p->open_hooks & 1u << hook;

    policy_failed(s, g->policy, hook_names[g->hook], what);
    close_gate(s, g);
    if (!open)
        stream_fail_of(s, why, p->name, hook_names[hook]);
}

static void judged(struct stream *s, struct gate *g)
{
    const struct policy *p = policy_of(s, g);
    enum hook hook = g->hook;
    struct verdict v;

    exchange_gate_verdict(&s->exchange, &g->call, g->policy, hook, g->fn_ref, &v);
    if (v.kind == VERDICT_WRONG) {
        failed(s, g, REASON_POLICY_ERROR, v.wrong);
        verdict_free(&v);
        return;
    }
    close_gate(s, g);
    if (v.kind == VERDICT_REJECT) {
        v.failure.policy = p->name;
        v.failure.hook = hook_names[hook];
        stream_fail_with(s, REASON_REJECTED, &v.failure);
    } else if (v.kind == VERDICT_REPLY) {
        stream_finish_word(s, &v);
        answer_reply(s, &v);
        stream_close(s, REASON_REPLIED);
    }
    verdict_free(&v);
}

/* The gate's call has returned, failed or waits. May close the stream. */
static void took(struct stream *s, struct gate *g, enum call_state got)
{
    switch (got) {
    case CALL_WAITS:
        stream_call_waits(s, &g->call, CLOCK_GATE);
        g->due = s->due[CLOCK_GATE];
        break;
    case CALL_RETURNED:
        judged(s, g);
        break;
    case CALL_FAILED:
        failed(s, g, stream_reason_of(&g->call), g->call.message);
        break;
    }
    set_clock(s);
}

void gates_open(struct stream *s, struct gate_want *wants, enum hook hook)
{
    while (wants) {
        struct gate_want *w = wants;
        struct gate *g = mem_alloc(sizeof *g);

        wants = w->next;
        g->hook = hook;
        g->policy = w->policy;
        g->fn_ref = w->fn_ref;
        g->until = s->host->now(s->owner) + GATE_WAIT_MS;
        free(w);
        if (s->state >= LOGGING) {                     /* a gate before this one has ended it all */
            exchange_gate_over(&s->exchange, g->fn_ref);
            free(g);
            continue;
        }
        list_append(&s->gates, &g->link);
        took(s, g, exchange_gate(&s->exchange, &g->call, g->policy, hook, g->fn_ref));
    }
}

static void resume(struct stream *s, struct gate *g)
{
    g->due = 0;
    took(s, g, call_resume(&g->call, 0));
}

void gate_wake(struct stream *s, struct call *c) { resume(s, list_of(c, struct gate, call)); }

/* A resumed gate may close the stream and with it all gates: look from the start each time. */
static bool wake_one(struct stream *s, uint64_t t)
{
    list_each(it, &s->gates) {
        struct gate *g = list_of(it, struct gate, link);

        if (t && g->until <= t) {
            failed(s, g, REASON_POLICY_TIMEOUT, "a gate waited longer than it may");
            return true;
        }
        if (t ? g->due && g->due <= t : g->call.news && g->call.wait == WAIT_NEWS) {
            resume(s, g);
            return true;
        }
    }
    return false;
}

void gates_wake_news(struct stream *s)
{
    while (wake_one(s, 0))
        ;
}

void gates_ring(struct stream *s)
{
    while (wake_one(s, s->host->now(s->owner)))
        ;
    set_clock(s);
}

void gates_close(struct stream *s)
{
    list_each_safe(it, &s->gates)
        close_gate(s, list_of(it, struct gate, link));
    s->due[CLOCK_GATE] = 0;
}
