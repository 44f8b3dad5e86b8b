/* Tries: the models of the plan, one after another, until one answers.
 *
 *     prompt hooks -> attempts_start -> attempt hooks -> attempt_ready: the source starts -> response hooks -> text
 *                          ^                                  |
 *                          |                            attempt_failed (no text reached the client yet)
 *                          +-- attempt_again <- fallback hooks <-+
 *
 * Which model comes next is pick.c's to say, and whether the same is tried again after a while. A try that failed leaves nothing behind but its reason.
 * Once text went to the client a failure is final, stream_fail, unless another can go on with that text (continue.c).
 */
#include <string.h>

#include "stream/inside.h"

struct tried attempt_tried(const struct stream *s)
{
    const struct reason_text *text = reason_text(s->failed_why);

    return (struct tried){ .model = s->model, .number = s->number, .continues = s->continued > 0, .code = text->code, .message = text->sentence, .status = s->upstream_status,
                           .retry_after = s->retry_after };
}

/* Of the model that was picked. */
static void begin(struct stream *s)
{
    bool wanted = s->route->n_hooks[HOOK_ATTEMPT] > 0;

    s->number = ++s->tries;
    s->upstream_status = 0;
    s->retry_after = -1;
    if (s->trace)
        trace_try(s);
    if (s->first_sent)
        continue_begin(s);
    struct tried t = attempt_tried(s);
    if ((wanted || s->tries > 1 || s->n_plan > 1 || s->pick.pool) && exchange_try(&s->exchange, &t, wanted) != 0) {
        stream_fail(s, REASON_POLICY_MEMORY);
        return;
    }
    if (wanted)
        hooks_begin(s, HOOK_ATTEMPT);
    else
        attempt_ready(s);
}

/* That none could be asked counts as a try: fallback hooks may have them all looked at again. */
static void begin_first(struct stream *s)
{
    if (pick_first(s)) {
        begin(s);
        return;
    }
    enum reason why = pick_none(s);
    s->number = ++s->tries;
    s->upstream_status = 0;
    if (s->trace)
        trace_try(s);
    attempt_failed(s, why);
}

void attempts_begin(struct stream *s)
{
    uint64_t quiet = s->host->now(s->owner) - s->last_sent;

    stream_move(s, CONNECT);
    if (s->route->heartbeat && !s->shadow)
        stream_clock(s, CLOCK_HEARTBEAT, quiet < s->route->heartbeat ? s->route->heartbeat - quiet : 1);
}

void attempts_start(struct stream *s)
{
    attempts_begin(s);
    if (s->shadow) {                                   /* its text comes from the stream that it watches */
        s->trying = true;
        return;
    }
    shadows_start(s);
    hedge_count(s);
    begin_first(s);
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

static bool has_next(const struct stream *s, enum reason why)
{
    size_t at;
    return s->first_sent ? continue_possible(s, &at) : pick_more(s, why);
}

/* How long to wait for the same model, ms; -1: it is not asked again. Nobody waits in the middle of a text. */
static int64_t wait_for_same(const struct stream *s, enum reason why) { return s->first_sent ? -1 : pick_retry(s, why); }

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
    if (s->rival.state == RIVAL_RUNS) {                /* the other goes on alone */
        hedge_takes_over(s, why);
        return;
    }
    if (!may_go_on(s, why) || (!asked && !has_next(s, why) && wait_for_same(s, why) < 0)) {
        stream_fail(s, why);
        return;
    }
    pick_leave(s, why);
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

static bool pick_continuing(struct stream *s)
{
    size_t at;
    return continue_possible(s, &at) && pick_at(s, at);
}

static void next(struct stream *s)
{
    if (!(s->first_sent ? pick_continuing(s) : pick_next(s))) {
        stream_fail(s, s->failed_why);
        return;
    }
    metrics_add(s->metrics, METRIC_upstream_fallbacks, 1);
    begin(s);
}

void attempt_retry(struct stream *s)
{
    if (s->failed_why == REASON_MODEL_BUSY || s->failed_why == REASON_MODEL_DOWN) {   /* there is no "same": all are looked at again */
        begin_first(s);
    } else if (pick_again(s)) {
        metrics_add(s->metrics, METRIC_upstream_retries, 1);
        begin(s);
    } else {
        next(s);
    }
}

void attempt_again(struct stream *s)
{
    int64_t wait = s->again == AGAIN_UNSAID ? wait_for_same(s, s->failed_why) : -1;

    if (wait >= 0) {
        s->pick.retries++;
        stream_clock(s, CLOCK_RETRY, (uint64_t)wait + 1);   /* 0 would be never */
    } else if (s->again == AGAIN_SAME && (!s->first_sent || s->model->prefill)) {
        attempt_retry(s);
    } else if (s->again != AGAIN_NOT && has_next(s, s->failed_why) && (s->again == AGAIN_NEXT || worth_next(s))) {
        next(s);
    } else {
        stream_fail(s, s->failed_why);
    }
}
