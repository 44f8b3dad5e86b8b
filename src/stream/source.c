/* Where an answer comes from: an upstream's events, or a Lua model. Both give pieces of text.
 *
 * Pulled by stream.c's pump: source_next takes one event (or one out:text) at a time, so waiting is only not asking. For an upstream's event the
 * dialect's declared places are read in one pass without building a tree; the JSON is checked whole all the same.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

static void add_piece(struct stream *s, int kind, enum channel c, size_t off, size_t len)
{
    s->pieces[s->n_pieces++] = (struct piece){ .kind = kind, .channel = c, .off = off, .len = len };
}

static void end_block(struct stream *s)
{
    if (s->in_block)
        add_piece(s, PIECE_LAST, s->block, 0, 0);
    s->in_block = false;
}

/* Text stands in s->texts from `off` on. A change of channel ends the block before it: what filters hold of that must leave first. */
static void add_text(struct stream *s, enum channel c, size_t off)
{
    size_t len = s->texts.len - off;

    if (len == 0)
        return;
    if (s->in_block && s->block != c)
        end_block(s);
    s->in_block = true;
    s->block = c;
    add_piece(s, PIECE_TEXT, c, off, len);
    if (s->tokens == 0) {
        s->due[CLOCK_FIRST_TOKEN] = 0;
        if (s->trace)
            trace_first(s);
    }
    s->tokens++;
    metrics_add(s->metrics, METRIC_tokens_total, 1);
}

static void begin_pieces(struct stream *s)
{
    s->n_pieces = s->piece_at = 0;
    s->texts.len = 0;
}

static enum source_got complete(struct stream *s)
{
    if (tools_waiting(s)) {                            /* they leave first: source_next comes back here */
        s->tools_due = s->ending = true;
        return SOURCE_PIECES;
    }
    for (enum channel c = 0; c < CHANNEL_COUNT; c++) {   /* half a character at the end of the text */
        size_t off = s->texts.len;
        if (s->mender[c].n == 0)
            continue;
        utf8_mend_end(&s->mender[c], &s->texts);
        if (s->in_block && s->block != c)
            end_block(s);
        s->in_block = true;
        s->block = c;
        add_piece(s, PIECE_TEXT, c, off, s->texts.len - off);
    }
    end_block(s);
    add_piece(s, PIECE_DONE, CHANNEL_CONTENT, 0, 0);
    s->source_done = true;
    return SOURCE_PIECES;
}

/* --- an upstream's events --------------------------------------------------------------------------------------- */

static int64_t whole_number(const struct json_token *t)
{
    return t->kind == JSON_NUMBER ? strtoll(t->bytes, NULL, 10) : -1;
}

static void read_channel(struct stream *s, enum channel c, const struct json_token *t)
{
    size_t off = s->texts.len;

    if (t->kind != JSON_STRING || (t->len == 0 && s->mender[c].n == 0))
        return;
    if (!t->escaped) {
        utf8_mend(&s->mender[c], &s->texts, t->bytes, t->len);
    } else {
        struct buf plain = BUF_EMPTY;
        json_unescape(&plain, t->bytes, t->len);
        utf8_mend(&s->mender[c], &s->texts, plain.data, plain.len);
        buf_free(&plain);
    }
    add_text(s, c, off);
}

static void read_finish(struct stream *s, const struct json_token *t)
{
    size_t word = 0;

    while (word < t->len && (isalnum((unsigned char)t->bytes[word]) || t->bytes[word] == '_' || t->bytes[word] == '-'))
        word++;
    s->finish_seen = true;
    snprintf(s->model_finish, sizeof s->model_finish, "%.*s", word == t->len ? (int)word : 0, t->bytes);   /* it is passed on: a word or nothing */
}

static bool is_done_mark(const struct stream *s, const struct sse_event *ev)
{
    const char *mark = s->model->dialect->done;

    return *mark && ev->len == strlen(mark) && memcmp(ev->data, mark, ev->len) == 0;
}

static bool has_text(const struct json_token *t) { return t->kind == JSON_STRING && t->len > 0; }

static enum source_got read_event(struct stream *s, const struct sse_event *ev, enum reason *why)
{
    struct json_place_found at[PLACE_COUNT];

    if (ev->len == 0)
        return SOURCE_PIECES;                          /* an event without data says nothing */
    if (is_done_mark(s, ev))
        return complete(s);
    if (json_places_find(s->model->dialect->places, ev->data, ev->len, at) != 0) {
        *why = REASON_BAD_JSON;
        return SOURCE_FAILED;
    }
    if (at[PLACE_ERROR].token.kind != JSON_ERROR && at[PLACE_ERROR].token.kind != JSON_NULL) {
        *why = REASON_UPSTREAM_ERROR;
        return SOURCE_FAILED;
    }
    if (tools_waiting(s) && (has_text(&at[PLACE_CONTENT].token) || has_text(&at[PLACE_REASONING].token) || has_text(&at[PLACE_REFUSAL].token))) {
        buf_append(&s->deferred, ev->data, ev->len);   /* the calls before it leave first */
        s->tools_due = true;
        return SOURCE_PIECES;
    }
    if (at[PLACE_TOOLS].token.kind == JSON_ARRAY) {
        s->due[CLOCK_FIRST_TOKEN] = 0;
        s->useful = true;
        if (s->tools_wanted && tools_read(s, &at[PLACE_TOOLS].token) != 0) {
            *why = REASON_EVENT_TOO_LARGE;
            return SOURCE_FAILED;
        }
    }
    read_channel(s, CHANNEL_REASONING, &at[PLACE_REASONING].token);
    read_channel(s, CHANNEL_CONTENT, &at[PLACE_CONTENT].token);
    read_channel(s, CHANNEL_REFUSAL, &at[PLACE_REFUSAL].token);
    if (at[PLACE_FINISH].token.kind == JSON_STRING)
        read_finish(s, &at[PLACE_FINISH].token);
    if (s->finish_seen)
        s->tools_due = tools_waiting(s);
    if (at[PLACE_USAGE_IN].token.kind == JSON_NUMBER)
        s->usage_in = whole_number(&at[PLACE_USAGE_IN].token);
    if (at[PLACE_USAGE_OUT].token.kind == JSON_NUMBER)
        s->usage_out = whole_number(&at[PLACE_USAGE_OUT].token);
    return SOURCE_PIECES;
}

void source_await(struct stream *s)
{
    if (s->tokens == 0 && !s->useful && s->upstream_open)
        stream_clock(s, CLOCK_FIRST_TOKEN, s->model->clocks.first_token ? s->model->clocks.first_token : s->route->clocks.first_token);
}

/* From one event to the next, once text came (before that the first-token clock runs). A Lua model has no such clock. */
void source_gap(struct stream *s)
{
    if ((s->tokens > 0 || s->useful) && s->upstream_open)
        stream_clock(s, CLOCK_GAP, s->model->clocks.gap ? s->model->clocks.gap : s->route->clocks.gap);
}

/* The calls have left: what waited for them. */
static enum source_got after_tools(struct stream *s, enum reason *why)
{
    struct sse_event ev = { .data = s->deferred.data, .len = s->deferred.len };
    enum source_got got;

    begin_pieces(s);
    if (s->deferred.len == 0)
        return s->ending ? complete(s) : SOURCE_PIECES;
    got = read_event(s, &ev, why);
    s->deferred.len = 0;
    return got;
}

static enum source_got next_event(struct stream *s, enum reason *why)
{
    struct sse_event ev;

    if (s->tools_due) {
        if (tools_next(s))
            return SOURCE_PIECES;
        s->tools_due = false;
        return after_tools(s, why);
    }
    switch (sse_next(&s->reader, &ev)) {
    case SSE_EVENT:
        begin_pieces(s);
        enum source_got got = read_event(s, &ev, why);
        source_gap(s);
        return got;
    case SSE_TOO_LONG:
        *why = REASON_EVENT_TOO_LARGE;
        return SOURCE_FAILED;
    case SSE_MORE:
        break;
    }
    if (!s->upstream_ended)
        return SOURCE_MORE;
    if (s->upstream_reason != REASON_DONE) {
        *why = s->upstream_reason;
        return SOURCE_FAILED;
    }
    if (s->finish_seen && sse_clean(&s->reader)) {     /* a finish reason and a clean close: complete */
        begin_pieces(s);
        return complete(s);
    }
    *why = REASON_TRUNCATED;
    return SOURCE_FAILED;
}

void source_start(struct stream *s)
{
    struct upstream_request want = { 0 };
    struct failure f = { .retry_after = -1 };
    const struct clocks *mine = &s->model->clocks, *routes = &s->route->clocks;

    if (exchange_request(&s->exchange, s->model, &want, &f) != 0) {
        stream_fail_with(s, REASON_POLICY_ERROR, &f);
        return;
    }
    metrics_add(s->metrics, METRIC_upstream_attempts, 1);
    s->upstream_open = true;
    source_await(s);
    int failed = s->host->attempt(s->owner, &want, s->model->ca, mine->connect ? mine->connect : routes->connect);
    upstream_request_free(&want);
    if (failed) {
        s->upstream_open = false;
        attempt_failed(s, REASON_CONNECT_FAILED);
    }
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
        begin_pieces(s);
        return complete(s);
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
        begin_pieces(s);
        off = s->texts.len;
        text = exchange_output(&s->answer, &len);
        utf8_mend(&s->mender[CHANNEL_CONTENT], &s->texts, text, len);
        add_text(s, CHANNEL_CONTENT, off);
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

void source_reset(struct stream *s)
{
    source_stop(s);
    sse_fini(&s->reader);
    sse_init(&s->reader, 0);
    memset(s->mender, 0, sizeof s->mender);
    begin_pieces(s);
    s->in_block = s->source_done = s->finish_seen = s->upstream_ended = s->answer_started = false;
    s->useful = false;
    tools_free(s);
    s->model_finish[0] = '\0';
    s->tokens = 0;
    s->usage_in = s->usage_out = -1;
    s->due[CLOCK_FIRST_TOKEN] = s->due[CLOCK_GAP] = s->due[CLOCK_ANSWER] = 0;
}

enum source_got source_next(struct stream *s, enum reason *why)
{
    if (s->source_done || !s->trying)
        return SOURCE_MORE;
    if (s->shadow)
        return shadow_next(s);
    return s->model->dialect ? next_event(s, why) : next_answer(s, why);
}

void source_stop(struct stream *s)
{
    if (call_open(&s->answer))
        end_answer(s);
    if (!s->upstream_open)
        return;
    s->upstream_open = false;
    s->host->cancel(s->owner);
}
