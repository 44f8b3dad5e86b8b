/* Where an answer comes from: an upstream's events or document, a Lua model, or a policy's reply of blocks. All give pieces.
 *
 * Pulled by stream.c's pump: source_next takes one event (or one out:text) at a time, so waiting is only not asking. What an event means is event.c's.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

#define BODY_MAX ((size_t)16 << 20)                    /* an answer that is one document */
#define REFUSAL_MAX ((size_t)64 << 10)                 /* what is read of an answer that is no 200 */

/* ---- an upstream */

void source_await(struct stream *s)
{
    if (s->useful || !s->upstream_open)
        return;
    stream_clock(s, CLOCK_FIRST_TOKEN, s->model->clocks.first_token ? s->model->clocks.first_token : s->route->clocks.first_token);
    hedge_await(s);
}

/* From one event to the next, once text came (before that the first-token clock runs). A Lua model has no such clock. */
void source_gap(struct stream *s)
{
    if (s->useful && s->upstream_open)
        stream_clock(s, CLOCK_GAP, s->model->clocks.gap ? s->model->clocks.gap : s->route->clocks.gap);
}

/* The calls have left: what waited for them. */
static enum source_got after_tools(struct stream *s, enum reason *why)
{
    enum source_got got;

    pieces_begin(s);
    if (s->op_at < s->ops.n)
        return event_step(s, why);
    if (s->deferred.len == 0)
        return s->ending ? pieces_complete(s) : SOURCE_PIECES;
    got = event_read(s, s->deferred.data, s->deferred.len, why);
    s->deferred.len = 0;
    return got;
}

static enum source_got next_sse(struct stream *s, enum reason *why)
{
    struct sse_event ev;

    switch (sse_next(&s->reader, &ev)) {
    case SSE_EVENT:
        pieces_begin(s);
        s->event_name = ev.name;
        return event_read(s, ev.data, ev.len, why);
    case SSE_TOO_LONG:
        *why = REASON_EVENT_TOO_LARGE;
        return SOURCE_FAILED;
    case SSE_MORE:
        break;
    }
    return SOURCE_MORE;
}

static enum source_got next_line(struct stream *s, enum reason *why)
{
    const char *line;
    size_t len;

    switch (lines_next(&s->lines, &line, &len)) {
    case LINES_LINE:
        pieces_begin(s);
        s->event_name = "";
        return event_read(s, line, len, why);
    case LINES_TOO_LONG:
        *why = REASON_EVENT_TOO_LARGE;
        return SOURCE_FAILED;
    case LINES_MORE:
        break;
    }
    return SOURCE_MORE;
}

/* The upstream has ended, and all that it sent is read. */
static enum source_got ended(struct stream *s, enum reason *why)
{
    if (s->upstream_reason != REASON_DONE) {
        *why = s->upstream_reason;
        return SOURCE_FAILED;
    }
    if (s->finish_seen && !s->model->dialect->ends_said && sse_clean(&s->reader)) {   /* a finish reason and a clean close: complete */
        pieces_begin(s);
        return pieces_complete(s);
    }
    *why = REASON_TRUNCATED;
    return SOURCE_FAILED;
}

/* What is known already and has not passed yet: whole calls, steps of a rare event or of a reply, the end. MORE: nothing. */
static enum source_got next_known(struct stream *s, enum reason *why)
{
    if (s->tools_due) {
        if (tools_next(s))
            return SOURCE_PIECES;
        s->tools_due = false;
        return after_tools(s, why);
    }
    if (s->op_at < s->ops.n) {
        pieces_begin(s);
        return event_step(s, why);
    }
    if (s->ending) {
        pieces_begin(s);
        return pieces_complete(s);
    }
    return SOURCE_MORE;
}

static enum source_got next_event(struct stream *s, enum reason *why)
{
    enum source_got got = next_known(s, why);

    if (got != SOURCE_MORE)
        return got;
    got = s->model->dialect->ndjson ? next_line(s, why) : next_sse(s, why);
    if (got != SOURCE_MORE) {
        source_gap(s);
        return got;
    }
    return s->upstream_ended ? ended(s, why) : SOURCE_MORE;
}

static enum source_got next_document(struct stream *s, enum reason *why)
{
    if (s->body.len > BODY_MAX) {
        *why = REASON_EVENT_TOO_LARGE;
        return SOURCE_FAILED;
    }
    if (!s->upstream_ended)
        return SOURCE_MORE;
    if (s->upstream_reason != REASON_DONE) {
        *why = s->upstream_reason;
        return SOURCE_FAILED;
    }
    return event_document(s, why);
}

/* ---- an upstream that refuses: what it says of it */

/* Its words for what is wrong with the request itself are for the client; others are for the log. */
static enum reason reason_of_refusal(int status)
{
    if (status == 429)
        return REASON_RATE_LIMITED;
    return status == 400 || status == 413 || status == 422 ? REASON_REFUSED : REASON_BAD_STATUS;
}

static enum source_got next_refusal(struct stream *s, enum reason *why)
{
    if (!s->upstream_ended && s->body.len < REFUSAL_MAX)
        return SOURCE_MORE;
    upstream_error_free(&s->said);
    exchange_upstream_error(&s->exchange, s->model, s->refused, s->body.data, s->body.len, &s->said);
    if (s->said.message) {
        free(s->detail);
        s->detail = mem_string(s->said.message);
    }
    *why = reason_of_refusal(s->refused);
    return SOURCE_FAILED;
}

/* ---- the try */

static void drop_choices(struct stream *s)
{
    for (unsigned i = 0; i < s->n_choices; i++) {
        free(s->choices[i].stop_sequence);
        free(s->choices[i].before);
        free(s->choices[i].after);
        free(s->choices[i].after_logprobs);
        buf_free(&s->choices[i].said);
        buf_free(&s->choices[i].said_logprobs);
        logprobs_free(&s->choices[i]);
    }
    if (s->choices != &s->one)
        free(s->choices);
    memset(&s->one, 0, sizeof s->one);
    s->logprobs_waiting = 0;
    s->choices = &s->one;
    s->n_choices = 1;
}

void source_choices(struct stream *s, unsigned n)
{
    drop_choices(s);
    if (n <= 1)
        return;
    s->choices = mem_alloc(n * sizeof *s->choices);
    s->n_choices = n;
}

bool source_may_pass(const struct stream *s)
{
    if (s->route->hedge && !s->streams)                /* one document has no first text */
        return false;
    return !s->shadow && !s->route->continues && s->route->n_filters == 0 && s->route->n_hooks[HOOK_TOOL_CALL] == 0 && s->route->n_hooks[HOOK_FINISH] == 0 && s->route->n_shadows == 0;
}

void source_start(struct stream *s)
{
    struct upstream_request want = { 0 };
    struct buf so_far;
    struct failure f = { .retry_after = -1 };
    const struct clocks *mine = &s->model->clocks, *routes = &s->route->clocks;
    const struct ask ask = { .may_pass = source_may_pass(s), .so_far = continue_text(s, &so_far) ? &so_far : NULL, .changed_by = logprobs_changed_by(s) };

    if (exchange_request(&s->exchange, s->model, &ask, &want, &f) != 0) {
        stream_fail_with(s, f.status < 500 ? REASON_REJECTED : REASON_POLICY_ERROR, &f);
        return;
    }
    if (!s->continued)
        source_choices(s, want.n);
    s->pass = want.pass;
    s->logprobs = want.logprobs && !want.pass;
    s->logprobs_held = s->logprobs && logprobs_are_held(s);
    s->signs = want.same && !want.pass;
    s->document = !want.stream || s->front->operation == OPERATION_EMBED;
    s->usage_wanted = want.pass && exchange_wants_usage(&s->exchange);
    metrics_add(s->metrics, METRIC_upstream_attempts, 1);
    s->upstream_open = true;
    source_await(s);
    int failed = s->host->attempt(s->owner, s->which, &want, s->model->ca, mine->connect ? mine->connect : routes->connect);
    upstream_request_free(&want);
    if (failed) {
        s->upstream_open = false;
        attempt_failed(s, REASON_CONNECT_FAILED);
    }
}

bool source_expects(const struct model *m, bool document, const struct header *headers, size_t n)
{
    const char *want = document ? "application/json" : m->dialect->ndjson ? "application/x-ndjson" : "text/event-stream";

    for (size_t i = 0; i < n; i++)
        if (strcasecmp(headers[i].name, "content-type") == 0)
            return strncasecmp(headers[i].value, want, strlen(want)) == 0;
    return true;                                       /* an upstream that says nothing is taken at its bytes */
}

void source_head(struct stream *s, int status, const struct header *headers, size_t n)
{
    s->upstream_status = status;
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(headers[i].name, "retry-after") == 0)
            s->retry_after = atoll(headers[i].value);  /* serve/ has made it seconds */
        else if (strcasecmp(headers[i].name, "retry-after-ms") == 0 && s->retry_after < 0)
            s->retry_after = (atoll(headers[i].value) + 999) / 1000;
    }
    if (status != 200)
        s->refused = status;                           /* next_refusal reads what it says */
    else if (!source_expects(s->model, s->document, headers, n))
        s->unexpected = true;
    else if (s->route->hedge)
        head_keep(&s->head, status, headers, n);       /* attempt_began shows it to the hooks */
    else
        attempt_answers(s, status, headers, n);
}

void source_end(struct stream *s, enum reason why, const char *text)
{
    s->upstream_open = false;
    s->upstream_ended = true;
    s->upstream_reason = why;
    if (why == REASON_DONE)
        lines_end(&s->lines);
    if (text && *text) {
        free(s->detail);
        s->detail = mem_string(text);
    }
}

void source_feed(struct stream *s, const char *bytes, size_t len)
{
    if (s->refused || s->document)
        buf_append(&s->body, bytes, len);
    else if (s->model->dialect->ndjson)
        lines_feed(&s->lines, bytes, len);
    else
        sse_feed(&s->reader, bytes, len);
}

/* --- a Lua model ------------------------------------------------------------------------------------------------ */

static void tell_model_failure(struct stream *s, const char *what)
{
    struct log_line line;

    if (!log_begin(&line, LOG_ERROR, "model.failed"))
        return;
    log_str(&line, "id", s->id);
    log_str(&line, "route", s->route->name);
    log_str(&line, "model", s->model->name);
    log_str(&line, "message", what);
    log_end(&line);
}

/* It has returned or failed, or is given up. */
static void end_answer(struct stream *s)
{
    services_drop(s, &s->answer);
    if (s->trace)
        trace_model_called(s, &s->answer);
    call_cancel(&s->answer);
}

/* Nothing is what a model returns: it has written what it has to say. A reject is heard, all else is a mistake and no answer. */
static enum source_got returned(struct stream *s, enum reason *why)
{
    struct verdict v;

    exchange_answer_verdict(&s->exchange, &s->answer, s->model, &v);
    end_answer(s);
    if (v.kind == VERDICT_PASS) {
        pieces_begin(s);
        return pieces_complete(s);
    }
    if (v.kind == VERDICT_REJECT) {
        stream_fail_with(s, REASON_REJECTED, &v.failure);
        verdict_free(&v);
        return SOURCE_MORE;
    }
    tell_model_failure(s, v.wrong ? v.wrong : "returned something that it may not");
    verdict_free(&v);
    *why = REASON_MODEL_ERROR;
    return SOURCE_FAILED;
}

/* What the model's answer(req, out) did: wrote, sleeps, returned or failed. */
static enum source_got read_answer(struct stream *s, enum call_state got, enum reason *why)
{
    static const enum reason reasons[] = { [CALL_RAISED] = REASON_MODEL_ERROR, [CALL_TIMEOUT] = REASON_POLICY_TIMEOUT, [CALL_MEMORY] = REASON_POLICY_MEMORY,
                                           [CALL_DEPENDENCY] = REASON_DEPENDENCY_FAILED };
    size_t len, off;
    const char *text;

    switch (got) {
    case CALL_WAITS:
        if (s->answer.wait != WAIT_OUTPUT) {
            stream_call_waits(s, &s->answer, CLOCK_ANSWER);
            return SOURCE_MORE;
        }
        pieces_begin(s);
        off = s->texts.len;
        text = exchange_output(&s->answer, &len);
        utf8_mend(&s->choices[0].mender[CHANNEL_CONTENT], &s->texts, text, len);
        piece_text(s, 0, CHANNEL_CONTENT, off);
        return SOURCE_PIECES;
    case CALL_RETURNED:
        return returned(s, why);
    case CALL_FAILED:
        *why = reasons[s->answer.failure];
        tell_model_failure(s, s->answer.message);
        end_answer(s);
        return SOURCE_FAILED;
    }
    return SOURCE_FAILED;
}

static enum source_got next_answer(struct stream *s, enum reason *why)
{
    if (!s->answer_started) {
        s->answer_started = true;
        return read_answer(s, exchange_answer(&s->exchange, &s->answer, s->model), why);
    }
    if (s->answer.wait != WAIT_OUTPUT && !s->answer_woken)
        return SOURCE_MORE;                            /* it still waits */
    s->answer_woken = false;
    s->due[CLOCK_ANSWER] = 0;
    return read_answer(s, call_resume(&s->answer, 0), why);
}

/* --- both ------------------------------------------------------------------------------------------------------- */

static void free_upstream(struct stream *s)
{
    sse_fini(&s->reader);
    lines_fini(&s->lines);
    event_ops_free(&s->ops);
    buf_free(&s->body);
    tools_free(s);
    head_free(&s->head);
}

void source_free(struct stream *s)
{
    free_upstream(s);
    drop_choices(s);
    buf_free(&s->so_far);
    buf_free(&s->trimmed);
}

void source_renew(struct stream *s)
{
    source_stop(s);
    logprobs_renew(s);
    free_upstream(s);
    sse_init(&s->reader, 0);
    pieces_begin(s);
    for (unsigned i = 0; i < s->n_choices; i++) {
        memset(s->choices[i].mender, 0, sizeof s->choices[i].mender);
        s->choices[i].finish[0] = '\0';
        free(s->choices[i].stop_sequence);
        s->choices[i].stop_sequence = NULL;
        s->choices[i].called = false;
        s->choices[i].came = s->choices[i].left = 0;
    }
    s->op_at = 0;
    s->ended_choices = 0;
    s->source_done = s->finish_seen = s->upstream_ended = s->answer_started = s->pass = s->document = s->logprobs = s->signs = s->reply.on = false;
    s->useful = s->unexpected = s->hedging = false;
    s->refused = 0;
    s->usage = (struct usage){ -1, -1, -1, -1, -1 };
    s->due[CLOCK_FIRST_TOKEN] = s->due[CLOCK_GAP] = s->due[CLOCK_HEDGE] = s->due[CLOCK_ANSWER] = 0;
}

void source_reset(struct stream *s)
{
    source_renew(s);
    drop_choices(s);
    continue_not(s);
    answer_reset(s);
    s->tokens = 0;
}

enum source_got source_next(struct stream *s, enum reason *why)
{
    if (s->source_done || !s->trying)
        return SOURCE_MORE;
    if (s->shadow)
        return shadow_next(s);
    if (s->unexpected) {
        *why = REASON_NOT_STREAM;
        return SOURCE_FAILED;
    }
    if (s->reply.on)
        return next_known(s, why);
    if (s->refused)
        return next_refusal(s, why);
    if (s->document)
        return next_document(s, why);
    if (!s->model->dialect && s->ending) {
        pieces_begin(s);
        return pieces_complete(s);
    }
    return s->model->dialect ? next_event(s, why) : next_answer(s, why);
}

void source_stop(struct stream *s)
{
    if (call_open(&s->answer))
        end_answer(s);
    if (!s->upstream_open)
        return;
    s->upstream_open = false;
    s->host->cancel(s->owner, s->which);
}
