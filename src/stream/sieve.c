/* Pieces through the filters, from the model to the client. What a filter holds back lives here, in C, one buffer a filter and channel, and is
 * shown to it again with the next text. A filter that waits stops the piece at that stage; the upstream is paused meanwhile.
 *
 * No filter on the channel: the text goes straight to the answer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

#define FILTER_WAIT_MS 2000                            /* one filter call */

static struct buf *kept_by(struct stream *s, size_t stage, enum channel c)
{
    if (!s->kept)
        s->kept = mem_alloc(s->route->n_filters * CHANNEL_COUNT * sizeof *s->kept);
    return &s->kept[stage * CHANNEL_COUNT + c];
}

static bool applies(const struct stream *s, size_t stage, enum channel c)
{
    return (s->route->filters[stage].channels & 1u << c) && !(s->skipped && s->skipped[stage]);
}

static const char *policy_name(const struct stream *s)
{
    return s->route->policies[s->route->filters[s->stage].policy].name;
}

static void tell_failure(struct stream *s, const char *what)
{
    struct log_line line;

    if (!log_begin(&line, LOG_ERROR, "policy.failed"))
        return;
    log_str(&line, "id", s->id);
    log_str(&line, "route", s->route->name);
    log_str(&line, "policy", policy_name(s));
    log_str(&line, "hook", "filter");
    log_str(&line, "message", what);
    log_end(&line);
}

static bool is_open(const struct stream *s)
{
    return s->route->policies[s->route->filters[s->stage].policy].open_hooks & FILTER_OPEN;
}

/* on_error = "open": this stage is taken out of the stream; the text it was given goes on as it was. */
static void skip_stage(struct stream *s)
{
    if (!s->skipped)
        s->skipped = mem_alloc(s->route->n_filters * sizeof *s->skipped);
    s->skipped[s->stage] = true;
}

static bool failed(struct stream *s)
{
    tell_failure(s, s->call.message);
    if (!is_open(s)) {
        stream_call_failed(s, policy_name(s), "filter");
        return false;
    }
    call_finish(&s->call);
    skip_stage(s);
    return true;
}

static bool judged(struct stream *s, struct verdict *v)
{
    bool go_on = false;

    switch (v->kind) {
    case VERDICT_REJECT:
        v->failure.policy = policy_name(s);
        v->failure.hook = "filter";
        stream_fail_with(s, REASON_REJECTED, &v->failure);
        break;
    case VERDICT_STOP:
        answer_stop(s, v);
        stream_close(s, REASON_STOPPED);
        break;
    default:
        tell_failure(s, v->wrong ? v->wrong : "a filter may return nil, text, text and held text, sluice.reject or sluice.stop");
        if (is_open(s)) {
            skip_stage(s);
            go_on = true;
        } else {
            stream_fail(s, REASON_POLICY_ERROR);
        }
        break;
    }
    verdict_free(v);
    return go_on;
}

enum { NEXT_STAGE, OVER };

static int ask(struct stream *s, const struct piece *p, bool last);

/* The filter's answer becomes the next stage's text. */
static int took(struct stream *s, const struct piece *p, enum call_state got, bool last)
{
    const struct filter *filter = &s->route->filters[s->stage];
    struct filter_result r;

    switch (got) {
    case CALL_WAITS:
        stream_clock(s, CLOCK_WAITS, FILTER_WAIT_MS);
        stream_clock(s, CLOCK_CALL, s->call.wait_ms ? s->call.wait_ms : 1);
        stream_wait(s, HELD_BY_POLICY);
        return OVER;
    case CALL_FAILED:
        return failed(s) ? NEXT_STAGE : OVER;
    case CALL_RETURNED:
        break;
    }
    memset(&r, 0, sizeof r);
    exchange_filter_result(&s->exchange, &s->call, s->stage, s->sieve_text.data, s->sieve_text.len, &r);
    if (r.kind == FILTER_VERDICT) {
        call_finish(&s->call);
        return judged(s, &r.verdict) ? NEXT_STAGE : OVER;
    }
    if (r.kind == FILTER_PASS) {
        call_finish(&s->call);
        return NEXT_STAGE;
    }
    if (!last && r.held_len > filter->max_hold) {
        call_finish(&s->call);
        if (filter->overflow_release)
            return ask(s, p, true);                    /* decide as if the block ended here */
        tell_failure(s, "held back more than max_hold");
        stream_fail(s, REASON_POLICY_ERROR);
        return OVER;
    }
    s->sieve_text.len = 0;
    buf_append(&s->sieve_text, r.released, r.released_len);
    if (r.held_len)
        buf_append(last ? &s->sieve_text : kept_by(s, s->stage, p->channel), r.held, r.held_len);
    call_finish(&s->call);
    return NEXT_STAGE;
}

static int ask(struct stream *s, const struct piece *p, bool last)
{
    s->sieve_overflow = last && p->kind != PIECE_LAST;
    return took(s, p, exchange_filter(&s->exchange, &s->call, s->stage, s->sieve_text.data, s->sieve_text.len, p->channel, last), last);
}

/* Takes back what the stage held: it sees that first. */
static void prepend_kept(struct stream *s, enum channel c)
{
    struct buf *kept = s->kept ? kept_by(s, s->stage, c) : NULL;

    if (!kept || kept->len == 0)
        return;
    buf_append(kept, s->sieve_text.data, s->sieve_text.len);
    struct buf swap = s->sieve_text;
    s->sieve_text = *kept;
    *kept = swap;
    kept->len = 0;
}

static void go_on(struct stream *s, const struct piece *p)
{
    bool last = p->kind == PIECE_LAST;

    for (; s->stage < s->route->n_filters; s->stage++) {
        if (!applies(s, s->stage, p->channel)) {
            continue;
        }
        prepend_kept(s, p->channel);
        if (s->sieve_text.len == 0 && !last)
            break;                                     /* the stage before dropped or held it all */
        if (ask(s, p, last) == OVER)
            return;
    }
    answer_text(s, p->channel, s->sieve_text.data, s->sieve_text.len);
    buf_consume(&s->sieve_text, s->sieve_text.len);
    s->sieving = false;
    s->piece_at++;
}

void sieve_piece(struct stream *s)
{
    const struct piece *p = &s->pieces[s->piece_at];

    if (p->kind == PIECE_DONE) {
        s->piece_at++;
        answer_done(s);
        stream_close(s, REASON_DONE);
        return;
    }
    if (s->route->n_filters == 0) {
        answer_text(s, p->channel, s->texts.data + p->off, p->len);
        s->piece_at++;
        return;
    }
    s->sieving = true;
    s->stage = 0;
    s->sieve_text.len = 0;
    buf_append(&s->sieve_text, s->texts.data + p->off, p->len);
    go_on(s, p);
}

void sieve_resume(struct stream *s, enum call_state got)
{
    const struct piece *p = &s->pieces[s->piece_at];

    s->due[CLOCK_WAITS] = 0;
    stream_go(s, HELD_BY_POLICY);
    if (took(s, p, got, p->kind == PIECE_LAST || s->sieve_overflow) != NEXT_STAGE)
        return;
    s->stage++;
    go_on(s, p);
}

void sieve_free(struct stream *s)
{
    if (s->kept)
        for (size_t i = 0; i < s->route->n_filters * CHANNEL_COUNT; i++)
            buf_free(&s->kept[i]);
    free(s->kept);
    free(s->skipped);
    buf_free(&s->sieve_text);
}
