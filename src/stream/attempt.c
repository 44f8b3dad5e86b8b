/* Tries: the models of the plan, one after another, until one answers.
 *
 *     prompt hooks -> attempts_start -> attempt hooks -> attempt_ready: the source starts -> response hooks -> text
 *                          ^                                  |
 *                          |                            attempt_failed (no text reached the client yet)
 *                          +-- attempt_again <- fallback hooks <-+
 *
 * A try that failed leaves nothing behind but its reason. Once text went to the client a failure is final, stream_fail, unless another can go on with
 * that text (continue.c).
 */
#include <string.h>

#include "stream/inside.h"


struct tried attempt_tried(const struct stream *s)
{
    const struct reason_text *text = reason_text(s->failed_why);

    return (struct tried){ .model = s->model, .number = s->number, .code = text->code, .message = text->sentence, .status = s->upstream_status,
                           .retry_after = s->retry_after };
}

static void next_try(struct stream *s, const struct model *m)
{
    bool wanted = s->route->n_hooks[HOOK_ATTEMPT] > 0;

    s->model = m;
    s->number = ++s->tries;
    s->upstream_status = 0;
    s->retry_after = -1;
    if (s->trace)
        trace_try(s);
    if (s->first_sent)
        continue_begin(s);
    struct tried t = attempt_tried(s);
    if ((wanted || s->tries > 1 || s->n_plan > 1) && exchange_try(&s->exchange, &t, wanted) != 0) {
        stream_fail(s, REASON_POLICY_MEMORY);
        return;
    }
    if (wanted)
        hooks_begin(s, HOOK_ATTEMPT);
    else
        attempt_ready(s);
}

void attempts_start(struct stream *s)
{
    uint64_t quiet = s->host->now(s->owner) - s->last_sent;

    stream_move(s, CONNECT);
    if (s->shadow) {                                   /* its text comes from the stream that it watches */
        s->trying = true;
        return;
    }
    shadows_start(s);
    if (s->route->heartbeat)
        stream_clock(s, CLOCK_HEARTBEAT, quiet < s->route->heartbeat ? s->route->heartbeat - quiet : 1);
    hedge_count(s);
    next_try(s, s->plan[0]);
}

void attempt_ready(struct stream *s)
{
    s->trying = true;
    if (s->model->dialect)
        source_start(s);                               /* may be the next try already when it returns */
    else
        attempt_answers(s, 200, NULL, 0);              /* a Lua model has no head to wait for */
}

void attempt_answers(struct stream *s, int status, const struct header *headers, size_t n)
{
    struct tried t = attempt_tried(s);

    if (s->route->n_hooks[HOOK_RESPONSE] == 0)
        return;
    t.status = status;
    if (exchange_response(&s->exchange, &t, headers, n) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
    else
        hooks_begin(s, HOOK_RESPONSE);
}

/* The first text (or the end) of this try has come. */
void attempt_began(struct stream *s)
{
    struct kept_head head = s->head;

    hedge_drop(s);                                     /* who comes second is not needed */
    if (head.status == 0)
        return;
    s->head = (struct kept_head){ 0 };
    attempt_answers(s, head.status, head.headers, head.n);
    head_free(&head);
}

/* Which model of the plan comes next; false: none. */
static bool has_next(const struct stream *s, size_t *at)
{
    if (s->first_sent)
        return continue_possible(s, at);
    *at = s->plan_at + 1;
    return *at < s->n_plan;
}

/* May there be another try? Not when the failure is no upstream's, or when the client has seen text that nobody can go on with (comments that keep it
 * alive do not count). */
static bool may_go_on(const struct stream *s, enum reason why)
{
    bool theirs = strcmp(reason_text(why)->kind, "upstream") == 0 || why == REASON_MODEL_ERROR;
    size_t at;

    return theirs && s->tries < TRIES_MAX && (!s->first_sent || continue_possible(s, &at));
}

/* The built-in plan: a request that the upstream found wrong would be wrong elsewhere too. */
static bool worth_next(const struct stream *s)
{
    return s->failed_why != REASON_REFUSED;
}

void attempt_forget(struct stream *s)
{
    if (s->first_sent) {
        continue_prepare(s);
        return;
    }
    s->trying = false;
    source_reset(s);
    sieve_reset(s);
    shadows_again(s);
    stream_drop_call(s);                               /* a response hook or filter of that try that waits */
    stream_go(s, HELD_BY_POLICY | HELD_BY_GATE);
}

void attempt_failed(struct stream *s, enum reason why)
{
    bool asked = s->route->n_hooks[HOOK_FALLBACK] > 0;
    size_t at;

    if (s->rival.state == RIVAL_RUNS) {                /* the other goes on alone */
        hedge_takes_over(s, why);
        return;
    }
    if (!may_go_on(s, why) || (!asked && !has_next(s, &at))) {
        stream_fail(s, why);
        return;
    }
    attempt_forget(s);
    if (s->trace)
        trace_try_over(s, why);
    s->failed_why = why;
    s->again = AGAIN_UNSAID;
    if (!asked) {
        attempt_again(s);
        return;
    }
    struct tried t = attempt_tried(s);
    if (exchange_failed(&s->exchange, &t) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
    else
        hooks_begin(s, HOOK_FALLBACK);
}

void attempt_again(struct stream *s)
{
    size_t at;

    if (s->again == AGAIN_SAME && (!s->first_sent || s->model->prefill)) {
        metrics_add(s->metrics, METRIC_upstream_retries, 1);
        next_try(s, s->model);
    } else if (s->again != AGAIN_NOT && has_next(s, &at) && (s->again == AGAIN_NEXT || worth_next(s))) {
        s->plan_at = at;
        metrics_add(s->metrics, METRIC_upstream_fallbacks, 1);
        next_try(s, s->plan[at]);
    } else {
        stream_fail(s, s->failed_why);
    }
}
