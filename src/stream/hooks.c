/* The hooks, phase by phase through the whole chain: all accept, then (the body is read) all validate, all route, all prompt; then attempt.c asks a
 * model, with hooks of its own. The first verdict ends the phase. A hook that waits leaves its call open; stream_tick resumes it here.
 * Log hooks run the same way when the client is done; nobody waits for them.
 */
#include <string.h>

#include "base/log.h"
#include "script/vm.h"
#include "stream/inside.h"

#define HOOKS_WAIT_MS 5000                             /* all request hooks of one exchange together */
#define LOG_WAIT_MS 10000                              /* all its log hooks together */

static const struct hook_entry *entry_of(const struct stream *s) { return &s->route->hooks[s->hook][s->hook_at]; }
static const struct policy *policy_of(const struct stream *s) { return &s->route->policies[entry_of(s)->policy]; }

/* The hook raised, or ran out of time or memory. True: its policy is open for that, go on with the next. */
static bool failed(struct stream *s)
{
    const struct policy *p = policy_of(s);
    bool open = s->hook == HOOK_LOG || (p->open_hooks & 1u << s->hook);

    policy_failed(s, entry_of(s)->policy, hook_names[s->hook], s->call.message);
    if (s->trace)
        trace_failed(s, hook_names[s->hook], entry_of(s)->policy, &s->call, trace_began(s));
    if (!open && s->rival.state == RIVAL_ASKED) {      /* closed means: no second try */
        call_finish(&s->call);
        hedge_refused(s);
        return false;
    }
    if (!open) {
        stream_call_failed(s, p->name, hook_names[s->hook]);
        return false;
    }
    call_finish(&s->call);
    return true;
}

/* What the hook returned. True: go on with the next hook. */
static bool judged(struct stream *s)
{
    const struct policy *p = policy_of(s);
    struct verdict v = { .kind = VERDICT_PASS };
    bool go_on = false;

    exchange_verdict(&s->exchange, &s->call, s->hook, s->hook_at, &v);
    if (s->trace)
        trace_returned(s, hook_names[s->hook], entry_of(s)->policy, &s->call, trace_began(s), &v);
    call_finish(&s->call);
    switch (v.kind) {
    case VERDICT_PASS:
        go_on = true;
        break;
    case VERDICT_ROUTE:
        memcpy(s->plan, v.plan, sizeof s->plan);
        s->n_plan = v.n_plan;
        go_on = true;
        break;
    case VERDICT_DROP:
        s->tool_dropped = true;
        s->hook_at = s->route->n_hooks[s->hook];
        go_on = true;
        break;
    case VERDICT_NEXT:
    case VERDICT_RETRY:
    case VERDICT_GIVE_UP:                              /* the first word counts: the other policies are not asked */
        s->again = v.kind == VERDICT_NEXT ? AGAIN_NEXT : v.kind == VERDICT_RETRY ? AGAIN_SAME : AGAIN_NOT;
        s->hook_at = s->route->n_hooks[s->hook];
        go_on = true;
        break;
    case VERDICT_REJECT:
        if (s->rival.state == RIVAL_ASKED) {
            hedge_refused(s);
            break;
        }
        v.failure.policy = p->name;
        v.failure.hook = hook_names[s->hook];
        stream_fail_with(s, REASON_REJECTED, &v.failure);
        break;
    case VERDICT_REPLY:
        if (v.ops.n > 0) {
            reply_start(s, &v, entry_of(s)->policy, hook_names[s->hook]);
            break;
        }
        stream_finish_word(s, &v);
        stream_ended_by(s, p->name, hook_names[s->hook]);
        answer_reply(s, &v);
        break;
    case VERDICT_STOP:
        stream_finish_word(s, &v);
        stream_ended_by(s, p->name, hook_names[s->hook]);
        answer_stop(s, &v);
        break;
    case VERDICT_WRONG:
        policy_failed(s, entry_of(s)->policy, hook_names[s->hook], v.wrong);
        if (s->hook == HOOK_LOG || (p->open_hooks & 1u << s->hook)) {
            go_on = true;
        } else if (s->rival.state == RIVAL_ASKED) {
            hedge_refused(s);
        } else {
            stream_ended_by(s, p->name, hook_names[s->hook]);
            stream_fail(s, REASON_POLICY_ERROR);
        }
        break;
    }
    verdict_free(&v);
    return go_on;
}

/* The gates that it opened run from now on, unless it ended the exchange. */
static bool returned(struct stream *s)
{
    struct gate_want *gates = s->call.gates;
    enum hook hook = s->hook;
    bool go_on;

    s->call.gates = NULL;
    go_on = judged(s);
    gates_open(s, gates, hook);
    return go_on && s->state < LOGGING;
}

/* True: go on with the next hook; false: this one waits, or the request is over. */
static bool took(struct stream *s, enum call_state got)
{
    switch (got) {
    case CALL_WAITS:
        if (s->due[CLOCK_WAITS] == 0)
            stream_clock(s, CLOCK_WAITS, s->state == LOGGING ? LOG_WAIT_MS : HOOKS_WAIT_MS);
        stream_call_waits(s, &s->call, CLOCK_CALL);
        if (s->state == CONNECT || s->state == FLOW)
            stream_wait(s, HELD_BY_POLICY);
        return false;
    case CALL_FAILED:
        services_drop(s, &s->call);
        return failed(s);
    case CALL_RETURNED:
        services_drop(s, &s->call);
        if (s->hook != HOOK_LOG)
            return returned(s);
        if (s->trace)
            trace_returned(s, hook_names[s->hook], entry_of(s)->policy, &s->call, trace_began(s), &(struct verdict){ .kind = VERDICT_PASS });
        call_finish(&s->call);
        return true;
    }
    return false;
}

static void gave_back(struct stream *s, enum call_state got)
{
    if (got == CALL_WAITS) {
        if (s->due[CLOCK_WAITS] == 0)
            stream_clock(s, CLOCK_WAITS, LOG_WAIT_MS);
        stream_call_waits(s, &s->call, CLOCK_CALL);
        return;
    }
    services_drop(s, &s->call);
    if (got == CALL_FAILED)
        log_say(LOG_WARN, "counter.settle", "exchange %s: what it had reserved is given back later, by the store: %s", s->id, s->call.message);
    call_finish(&s->call);
    s->due[CLOCK_WAITS] = 0;
    s->logged = true;
}

/* The last thing: what its policies reserved in a store elsewhere and never settled. */
static void give_back(struct stream *s)
{
    if (!s->exchange_ok || !exchange_owes(&s->exchange)) {
        s->due[CLOCK_WAITS] = 0;
        s->logged = true;
        return;
    }
    s->giving_back = true;
    gave_back(s, exchange_give_back(&s->exchange, &s->call));
}

static void phase_over(struct stream *s);

static void run(struct stream *s)
{
    for (; s->hook_at < s->route->n_hooks[s->hook]; s->hook_at++) {
        enum policy_turn turn = policy_turn(s, entry_of(s)->policy, 1u << s->hook, hook_names[s->hook]);

        if (turn == POLICY_REFUSES)
            return;
        if (s->trace)
            trace_begins(s);
        if (turn == POLICY_RUNS && !took(s, exchange_hook(&s->exchange, &s->call, s->hook, s->hook_at)))
            return;
    }
    phase_over(s);
}

void hooks_begin(struct stream *s, enum hook h)
{
    s->hook = h;
    s->hook_at = 0;
    run(s);
}

static void phase_over(struct stream *s)
{
    switch (s->hook) {
    case HOOK_ACCEPT:
        if (s->shadow) {                               /* its request is there already */
            hooks_next(s);
        } else if (s->options_only) {                         /* no policy answered the preflight: say what is allowed here */
            answer_options(s);
            stream_close(s, REASON_REPLIED);
        } else {
            s->due[CLOCK_WAITS] = 0;
            s->host->read_body(s->owner);
        }
        break;
    case HOOK_VALIDATE:
        hooks_begin(s, HOOK_ROUTE);
        break;
    case HOOK_ROUTE:
        hooks_begin(s, HOOK_PROMPT);
        break;
    case HOOK_PROMPT:
        s->due[CLOCK_WAITS] = 0;
        if (s->head_only) {                            /* HEAD: every check ran; no model is asked */
            answer_head_only(s);
            stream_close(s, REASON_DONE);
        } else if (!answer_respond(s)) {
            attempts_start(s);
        }
        break;
    case HOOK_ATTEMPT:
        s->due[CLOCK_WAITS] = 0;
        if (s->rival.state == RIVAL_ASKED)
            hedge_ready(s);
        else
            attempt_ready(s);
        break;
    case HOOK_FALLBACK:
        s->due[CLOCK_WAITS] = 0;
        attempt_again(s);
        break;
    case HOOK_RESPONSE:                                /* the pump goes on */
        s->due[CLOCK_WAITS] = 0;
        break;
    case HOOK_FINISH:
        s->due[CLOCK_WAITS] = 0;
        answer_complete(s);
        break;
    case HOOK_LOG:
        give_back(s);
        break;
    case HOOK_TOOL_CALL:
        s->due[CLOCK_WAITS] = 0;
        tool_leaves(s);
        break;
    case HOOK_ERROR:
    case HOOK_COUNT:
        break;
    }
}

void hooks_start(struct stream *s) { hooks_begin(s, HOOK_ACCEPT); }

void hooks_next(struct stream *s) { hooks_begin(s, HOOK_VALIDATE); }

void hooks_resume(struct stream *s, enum call_state got)
{
    stream_go(s, HELD_BY_POLICY);
    if (s->giving_back) {
        gave_back(s, got);
        return;
    }
    if (!took(s, got))
        return;
    s->hook_at++;
    run(s);
}

void hooks_log(struct stream *s)
{
    if (!s->exchange_ok || s->route->n_hooks[HOOK_LOG] == 0) {
        give_back(s);
        return;
    }
    const struct reason_text *text = reason_text(s->reason);
    struct summary sum = {
        .finish = s->code ? s->code : s->finish ? s->finish : text->code,
        .status = s->status,
        .complete = s->reason == REASON_DONE && !s->shadow && !s->head_only,
        .tokens = s->tokens,
        .bytes = s->bytes_sent,
        .first_token_ms = s->first_sent ? (int64_t)(s->first_sent - s->began) : -1,
        .total_ms = (int64_t)(s->closed_at - s->began),
        .held_ms = (int64_t)s->waited_ms,
        .usage = s->usage,
    };
    exchange_summary(&s->exchange, &sum);
    hooks_begin(s, HOOK_LOG);
}
