/* Pieces through the filters, from the model to the client. What a filter holds back lives here, in C, a struct held for each filter and channel. A filter
 * that waits stops the piece at that stage; the upstream is paused meanwhile.
 *
 *     piece -> sieve_text -> stage 0: its struct held takes the text; what it decides is appended to sieve_text -> stage 1 -> ... -> answer
 *
 * A stage is entered with the text that the stage before let go, and left with what it lets go itself. No filter on the channel: the text goes straight
 * to the answer. Text that was let go is final; a stop lets what stands before it pass the later filters first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

#define FILTER_WAIT_MS 2000                            /* one filter call */

enum pass { NEXT_STAGE, WORK_ON, OVER };               /* the stage is done; it has more to do; the stream waits or has ended */

static const struct filter *filter_of(const struct stream *s) { return &s->route->filters[s->stage]; }
static const struct policy *policy_of(const struct stream *s) { return &s->route->policies[filter_of(s)->policy]; }

static struct held *held_by(struct stream *s, enum channel c)
{
    if (!s->stages)
        s->stages = mem_alloc(s->route->n_filters * CHANNEL_COUNT * sizeof *s->stages);
    return &s->stages[s->stage * CHANNEL_COUNT + c];
}

static bool is_last(const struct stream *s, const struct piece *p)
{
    return p->kind == PIECE_LAST || s->flushing || s->stop.kind == VERDICT_STOP;
}

/* ---- failures */

static bool is_open(const struct stream *s) { return policy_of(s)->open_hooks & FILTER_OPEN; }

/* on_error = "open": this stage is taken out of the stream; what it held goes on as it was. */
static enum pass skip_stage(struct stream *s, struct held *h)
{
    if (!s->skipped)
        s->skipped = mem_alloc(s->route->n_filters * sizeof *s->skipped);
    s->skipped[s->stage] = true;
    if (h->scan.text.len > h->scan.at)
        buf_append(&s->sieve_text, h->scan.text.data + h->scan.at, h->scan.text.len - h->scan.at);
    scan_free(&h->scan);
    return NEXT_STAGE;
}

static enum pass failed(struct stream *s, struct held *h, const char *what)
{
    policy_failed(s, filter_of(s)->policy, "filter", what);
    if (is_open(s))
        return skip_stage(s, h);
    stream_fail(s, REASON_POLICY_ERROR);
    return OVER;
}

static enum pass call_failed(struct stream *s, struct held *h)
{
    policy_failed(s, filter_of(s)->policy, "filter", s->call.message);
    if (!is_open(s)) {
        stream_call_failed(s, policy_of(s)->name, "filter");
        return OVER;
    }
    call_finish(&s->call);
    return skip_stage(s, h);
}

/* What a filter may say instead of text. */
static enum pass judged(struct stream *s, struct held *h, struct verdict *v)
{
    enum pass pass = OVER;

    switch (v->kind) {
    case VERDICT_REJECT:
        v->failure.policy = policy_of(s)->name;
        v->failure.hook = "filter";
        stream_fail_with(s, REASON_REJECTED, &v->failure);
        break;
    case VERDICT_STOP:
        verdict_free(&s->stop);                        /* an earlier stage's: that text is behind this one's */
        s->stop = *v;
        scan_free(&h->scan);                           /* what comes behind the stop is gone */
        if (s->pieces[s->piece_at].channel == CHANNEL_CONTENT) {
            buf_append(&s->sieve_text, v->text.data, v->text.len);   /* its last words pass the filters nearer to the client, too */
            buf_free(&s->stop.text);
        }
        return NEXT_STAGE;
    default:
        pass = failed(s, h, v->wrong ? v->wrong : "a filter may return nil, text, text and held text, sluice.reject or sluice.stop");
        break;
    }
    verdict_free(v);
    return pass;
}

/* ---- one call */

static enum pass wait(struct stream *s)
{
    if (s->due[CLOCK_WAITS] == 0)                      /* of all waits of one call together */
        stream_clock(s, CLOCK_WAITS, FILTER_WAIT_MS);
    stream_call_waits(s, &s->call, CLOCK_CALL);
    stream_wait(s, HELD_BY_POLICY);
    return OVER;
}

static void let_go(struct stream *s, const struct held *h, size_t from, size_t to)
{
    if (to > from)
        buf_append(&s->sieve_text, h->scan.text.data + from, to - from);
}

/* Raw: the filter itself says what it lets go and what it holds. */
static void took_raw(struct stream *s, struct held *h, const struct filter_result *r, bool last)
{
    if (r->kind == FILTER_PASS)
        let_go(s, h, 0, h->scan.text.len);
    else
        buf_append(&s->sieve_text, r->released, r->released_len);
    h->scan.text.len = 0;
    if (r->kind == FILTER_TEXT)
        buf_append(last ? &s->sieve_text : &h->scan.text, r->held, r->held_len);
}

/* What stands in place of a match within the JSON of tool arguments must be escaped as its strings are. */
static void put_replacement(struct stream *s, enum channel c, const char *text, size_t len)
{
    struct buf quoted = BUF_EMPTY;

    if (c != CHANNEL_TOOL_ARGS || filter_of(s)->kind != FILTER_MATCH) {
        buf_append(&s->sieve_text, text, len);
        return;
    }
    if (utf8_valid(text, len)) {                       /* else `leave` refuses it */
        json_put_string(&quoted, text, len);
        buf_append(&s->sieve_text, quoted.data + 1, quoted.len - 2);
    } else {
        buf_append(&s->sieve_text, text, len);
    }
    buf_free(&quoted);
}

/* On a unit or a match: its text passes as it was, changed, or not at all. */
static void took_part(struct stream *s, struct held *h, enum channel c, const struct filter_result *r)
{
    if (r->kind == FILTER_PASS)
        let_go(s, h, h->scan.at > s->shown_from ? h->scan.at : s->shown_from, s->shown_to);
    else
        put_replacement(s, c, r->released, r->released_len);
    scan_pass(&h->scan, s->shown_to);
}

/* More waits than may: the block is decided as if it ended here, or the stream ends. */
static enum pass overflow(struct stream *s, struct held *h)
{
    if (!filter_of(s)->overflow_release)
        return failed(s, h, "holds back more than max_hold");
    s->flushing = true;
    return WORK_ON;
}

/* The call has returned, failed or waits. */
static enum pass took(struct stream *s, const struct piece *p, struct held *h, enum call_state got)
{
    bool last = is_last(s, p), raw = filter_of(s)->kind == FILTER_RAW;
    struct filter_result r;

    if (got == CALL_WAITS)
        return wait(s);
    services_drop(s, &s->call);
    s->due[CLOCK_WAITS] = 0;
    if (got == CALL_FAILED)
        return call_failed(s, h);
    exchange_filter_result(&s->exchange, &s->call, s->stage, h->scan.text.data + s->shown_from, s->shown_to - s->shown_from, &r);
    if (r.kind == FILTER_VERDICT || (raw && !last && r.held_len > filter_of(s)->max_hold)) {
        call_finish(&s->call);                         /* what follows may end the stream, whose log hooks need the call */
        return r.kind == FILTER_VERDICT ? judged(s, h, &r.verdict) : overflow(s, h);
    }
    if (raw)
        took_raw(s, h, &r, last);
    else
        took_part(s, h, p->channel, &r);
    call_finish(&s->call);
    return raw ? NEXT_STAGE : WORK_ON;
}

/* ---- the kinds */

static enum pass raw_on(struct stream *s, const struct piece *p, struct held *h)
{
    s->shown_from = 0;
    s->shown_to = h->scan.text.len;
    return took(s, p, h, exchange_filter(&s->exchange, &s->call, s->stage, h->scan.text.data, h->scan.text.len, p->channel, is_last(s, p)));
}

/* Nothing more can be decided of what there is: is that too much? */
static enum pass rest_waits(struct stream *s, struct held *h, bool last)
{
    if (last)
        scan_free(&h->scan);
    else if (h->scan.text.len - h->scan.at > filter_of(s)->max_hold)
        return overflow(s, h);
    return NEXT_STAGE;
}

static enum pass match_on(struct stream *s, const struct piece *p, struct held *h)
{
    const struct filter *f = filter_of(s);
    const struct matcher *m = h->match ? h->match : f->match;
    struct match hit;
    enum match_got got = scan_next(&h->scan, m, is_last(s, p), &hit);

    if (got == MATCH_TOO_MUCH)
        return failed(s, h, "a pattern needs too many steps on this text");
    let_go(s, h, h->scan.at, hit.from);
    scan_pass(&h->scan, hit.from);
    if (got != MATCH_HIT) {
        scan_trim(&h->scan, m);
        return rest_waits(s, h, is_last(s, p));
    }
    if (f->replace) {
        put_replacement(s, p->channel, f->replace, strlen(f->replace));
        scan_pass(&h->scan, hit.to);
        return WORK_ON;
    }
    s->shown_from = hit.from;
    s->shown_to = hit.to;
    return took(s, p, h, exchange_replace(&s->exchange, &s->call, s->stage, h->scan.text.data, &hit, h->scan.gone));
}

static enum pass unit_on(struct stream *s, const struct piece *p, struct held *h)
{
    size_t rest = h->scan.text.len - h->scan.at, n = rest ? unit_end(&h->unit, h->scan.text.data + h->scan.at, rest) : 0;
    bool last = is_last(s, p);

    if (n == 0 && last)
        n = rest;
    if (n == 0) {
        size_t from = unit_back(h->scan.text.data, h->scan.at, h->unit.overlap);
        buf_consume(&h->scan.text, from);
        h->scan.at -= from;
        return rest_waits(s, h, last);
    }
    s->shown_from = unit_back(h->scan.text.data, h->scan.at, h->unit.overlap);
    s->shown_to = h->scan.at + n;
    return took(s, p, h, exchange_filter(&s->exchange, &s->call, s->stage, h->scan.text.data + s->shown_from, s->shown_to - s->shown_from, p->channel,
                                         last && s->shown_to == h->scan.text.len));
}

/* ---- stage by stage */

static enum pass work(struct stream *s, const struct piece *p, struct held *h)
{
    enum pass pass;

    do {
        switch (filter_of(s)->kind) {
        case FILTER_RAW:
            pass = raw_on(s, p, h);
            break;
        case FILTER_MATCH:
            pass = match_on(s, p, h);
            break;
        default:
            pass = unit_on(s, p, h);
            break;
        }
    } while (pass == WORK_ON);
    return pass;
}

/* Before a block's first text: does the filter apply, and to which units? */
static enum pass ask_about_block(struct stream *s, struct held *h)
{
    const struct filter *f = filter_of(s);
    struct filter_block b = { .applies = true, .unit = f->unit };

    h->asked = true;
    if (f->when_ref != LUA_NOREF || f->unit_ref != LUA_NOREF || f->match_ref != LUA_NOREF) {
        enum call_state got = exchange_block(&s->exchange, &s->call, s->stage, &b);
        h->match = b.match;
        if (got == CALL_RETURNED && s->call.n_results > 0) {
            call_finish(&s->call);
            return failed(s, h, "when and unit may not return a verdict");
        }
        if (got != CALL_RETURNED)
            return call_failed(s, h);
        call_finish(&s->call);
    }
    h->applies = b.applies;
    h->unit = b.unit;
    return WORK_ON;
}

/* Text that passes a stage must stay text: a byte-wise pattern or replacement may have broken a character. */
static enum pass leave(struct stream *s, struct held *h, const struct piece *p)
{
    size_t rest = h->scan.text.len - h->scan.at;

    s->flushing = false;
    if (rest > s->held_max)
        s->held_max = rest;
    if (p->kind == PIECE_LAST) {
        h->asked = false;
        matcher_drop(h->match);
        h->match = NULL;
    }
    if (filter_of(s)->kind == FILTER_RAW || utf8_valid(s->sieve_text.data ? s->sieve_text.data : "", s->sieve_text.len))
        return NEXT_STAGE;
    policy_failed(s, filter_of(s)->policy, "filter", "what it let go is no valid UTF-8: it cuts or replaces parts of characters");
    stream_fail(s, REASON_POLICY_ERROR);
    return OVER;
}

static enum pass enter(struct stream *s, const struct piece *p)
{
    struct held *h = held_by(s, p->channel);
    enum pass pass = h->asked ? WORK_ON : ask_about_block(s, h);

    if (pass == OVER)
        return OVER;
    if (pass == NEXT_STAGE || !h->applies)
        return leave(s, h, p);                         /* the text goes on as it is */
    scan_feed(&h->scan, s->sieve_text.data, s->sieve_text.len);
    s->sieve_text.len = 0;
    pass = work(s, p, h);
    return pass == OVER ? OVER : leave(s, h, p);
}

static void go_on(struct stream *s, const struct piece *p)
{
    for (; s->stage < s->route->n_filters; s->stage++) {
        if (!(filter_of(s)->channels & 1u << p->channel) || (s->skipped && s->skipped[s->stage]))
            continue;
        if (s->sieve_text.len == 0 && !is_last(s, p))
            break;                                     /* the stage before dropped or held it all */
        if (filter_of(s)->kind == FILTER_SHADOW) {
            shadow_text(s, (size_t)filter_of(s)->shadow, p->channel, s->sieve_text.data, s->sieve_text.len, is_last(s, p));
            continue;
        }
        enum policy_turn turn = policy_turn(s, filter_of(s)->policy, FILTER_OPEN, "filter");
        if (turn == POLICY_REFUSES)
            return;
        if (turn == POLICY_PASSES)
            continue;
        if (enter(s, p) == OVER)
            return;
    }
    answer_text(s, p->channel, s->sieve_text.data, s->sieve_text.len);
    buf_consume(&s->sieve_text, s->sieve_text.len);
    s->sieving = false;
    s->piece_at++;
    if (s->stop.kind == VERDICT_STOP) {
        stream_finish_word(s, &s->stop);
        answer_stop(s, &s->stop);
        stream_close(s, REASON_STOPPED);
    }
}

void sieve_piece(struct stream *s)
{
    const struct piece *p = &s->pieces[s->piece_at];

    if (p->kind == PIECE_DONE) {
        s->piece_at++;
        if (s->route->n_hooks[HOOK_FINISH] == 0)
            answer_complete(s);
        else if (exchange_finish(&s->exchange, s->model_finish[0] ? s->model_finish : NULL, s->tokens, s->usage_in, s->usage_out) != 0)
            stream_fail(s, REASON_POLICY_MEMORY);
        else
            hooks_begin(s, HOOK_FINISH);
        return;
    }
    if (p->kind == PIECE_TOOL) {
        s->piece_at++;
        tool_whole(s);
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
    struct held *h = held_by(s, p->channel);
    enum pass pass;

    stream_go(s, HELD_BY_POLICY);
    pass = took(s, p, h, got);
    if (pass == WORK_ON)
        pass = work(s, p, h);
    if (pass == OVER || leave(s, h, p) == OVER)
        return;
    s->stage++;
    go_on(s, p);
}

static void free_stages(struct stream *s)
{
    if (s->stages)
        for (size_t i = 0; i < s->route->n_filters * CHANNEL_COUNT; i++) {
            scan_free(&s->stages[i].scan);
            matcher_drop(s->stages[i].match);
        }
    free(s->stages);
    s->stages = NULL;
}

void sieve_reset(struct stream *s)
{
    free_stages(s);
    s->sieving = false;
    s->sieve_text.len = 0;
}

void sieve_free(struct stream *s)
{
    free_stages(s);
    free(s->skipped);
    verdict_free(&s->stop);
    buf_free(&s->sieve_text);
}
