/* Gates (ctx:gate): functions of policies that run beside the model. No text reaches the client before all have ended; a gate's verdict wins. */
#include <stdlib.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

#define GATE_WAIT_MS 5000                              /* one gate, all its waits together */

struct gate {
    struct beside beside;
    enum hook hook;                                    /* that opened it: its on_error counts */
    int policy, fn_ref;
};

static struct gate *gate_of(struct beside *b) { return list_of(b, struct gate, beside); }
static const struct policy *policy_of(const struct stream *s, const struct gate *g) { return &s->route->policies[g->policy]; }

static void close_gate(struct stream *s, struct beside *b)
{
    struct gate *g = gate_of(b);

    if (s->trace && !b->over)
        trace_given_up(s, "gate", g->policy, &b->call, b->began);
    beside_end(s, b);
    exchange_gate_over(&s->exchange, g->fn_ref);
    free(g);
    if (--s->n_gates == 0)
        stream_go(s, HELD_BY_GATE);
}

/* A gate that failed: its policy's on_error for the hook that opened it decides. */
static void failed(struct stream *s, struct gate *g, enum reason why, const char *what)
{
    const struct policy *p = policy_of(s, g);
    enum hook hook = g->hook;
    bool open = p->open_hooks & 1u << hook;

    policy_failed(s, g->policy, hook_names[g->hook], what);
    close_gate(s, &g->beside);
    if (!open)
        stream_fail_of(s, why, p->name, hook_names[hook]);
}

static void judged(struct stream *s, struct gate *g)
{
    const struct policy *p = policy_of(s, g);
    enum hook hook = g->hook;
    struct verdict v;

    exchange_gate_verdict(&s->exchange, &g->beside.call, g->policy, hook, g->fn_ref, &v);
    if (s->trace)
        trace_returned(s, "gate", g->policy, &g->beside.call, g->beside.began, &v);
    if (v.kind == VERDICT_WRONG) {
        failed(s, g, REASON_POLICY_ERROR, v.wrong);
        verdict_free(&v);
        return;
    }
    close_gate(s, &g->beside);
    if (v.kind == VERDICT_REJECT) {
        v.failure.policy = p->name;
        v.failure.hook = hook_names[hook];
        stream_fail_with(s, REASON_REJECTED, &v.failure);
    } else if (v.kind == VERDICT_REPLY) {
        stream_finish_word(s, &v);
        stream_ended_by(s, p->name, hook_names[hook]);
        answer_reply(s, &v);
    }
    verdict_free(&v);
}

static void took(struct stream *s, struct beside *b, enum call_state got)
{
    if (got == CALL_RETURNED) {
        judged(s, gate_of(b));
        return;
    }
    if (s->trace)
        trace_failed(s, "gate", gate_of(b)->policy, &b->call, b->began);
    failed(s, gate_of(b), stream_reason_of(&b->call), b->call.message);
}

static void late(struct stream *s, struct beside *b)
{
    if (s->trace)
        trace_given_up(s, "gate", gate_of(b)->policy, &b->call, b->began);
    failed(s, gate_of(b), REASON_POLICY_TIMEOUT, "a gate waited longer than it may");
}

static const struct beside_kind kind = { took, late, close_gate };

void gates_open(struct stream *s, struct gate_want *wants, enum hook hook)
{
    while (wants) {
        struct gate_want *w = wants;
        struct gate *g = mem_alloc(sizeof *g);

        wants = w->next;
        g->hook = hook;
        g->policy = w->policy;
        g->fn_ref = w->fn_ref;
        free(w);
        if (s->state >= LOGGING) {                     /* a gate before this one has ended it all */
            exchange_gate_over(&s->exchange, g->fn_ref);
            free(g);
            continue;
        }
        s->n_gates++;
        beside_begin(s, &g->beside, &kind, GATE_WAIT_MS);
        beside_started(s, &g->beside, exchange_gate(&s->exchange, &g->beside.call, g->policy, hook, g->fn_ref));
    }
}
