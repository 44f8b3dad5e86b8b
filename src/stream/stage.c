/* One filter at work on one channel's text: what it holds, what it lets go (appended to sieve_text), what it says instead. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

#define FILTER_WAIT_MS 2000                            /* one filter call */

const struct filter *stage_filter(const struct stream *s) { return &s->route->filters[s->stage]; }
static const struct policy *policy_of(const struct stream *s) { return &s->route->policies[stage_filter(s)->policy]; }

/* Its checks run beside the text (check.c). */
static bool is_wide(const struct filter *f) { return f->judges && (f->optimistic || f->parallel > 1); }

static size_t n_lanes(const struct stream *s) { return (size_t)s->n_choices * CHANNEL_COUNT; }

static lane_t lane_of(const struct piece *p) { return LANE(p->choice, p->channel); }

struct held *stage_held(struct stream *s, const struct piece *p)
{
    if (!s->stages) {
        s->n_stages = s->route->n_filters * n_lanes(s);
        s->stages = mem_alloc(s->n_stages * sizeof *s->stages);
    }
    return &s->stages[s->stage * n_lanes(s) + lane_of(p)];
}

bool stage_is_last(const struct stream *s, const struct piece *p)
{
    return p->kind == PIECE_LAST || s->flushing || s->stop.kind == VERDICT_STOP;
}

/* ---- failures */

static bool is_open(const struct stream *s) { return policy_of(s)->open_hooks & FILTER_OPEN; }

static void let_go(struct stream *s, const struct held *h, size_t from, size_t to)
{
    if (to > from)
        buf_append(&s->sieve_text, h->scan.text.data + from, to - from);
}

static void drop_text(struct held *h)
{
    scan_free(&h->scan);
    h->ahead = 0;
}

/* on_error = "open": this stage is taken out of the stream; what it held goes on as it was. */
static enum pass skip_stage(struct stream *s, struct held *h)
{
    if (!s->skipped)
        s->skipped = mem_alloc(s->route->n_filters * sizeof *s->skipped);
    s->skipped[s->stage] = true;
    check_release(s, s->stage, lane_of(s->piece), &s->sieve_text);
    let_go(s, h, h->scan.at + h->ahead, h->scan.text.len);
    drop_text(h);
    return NEXT_STAGE;
}

static enum pass failed(struct stream *s, struct held *h, const char *what)
{
    policy_failed(s, stage_filter(s)->policy, "filter", what);
    if (s->trace)
        trace_filter_did(s, s->stage, "failed");
    if (is_open(s))
        return skip_stage(s, h);
    stream_ended_by(s, policy_of(s)->name, "filter");
    stream_fail(s, REASON_POLICY_ERROR);
    return OVER;
}

static enum pass call_failed(struct stream *s, struct held *h)
{
    policy_failed(s, stage_filter(s)->policy, "filter", s->call.message);
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

    if (s->trace)
        trace_filter_judged(s, v);
    switch (v->kind) {
    case VERDICT_REJECT:
        v->failure.policy = policy_of(s)->name;
        v->failure.hook = "filter";
        stream_fail_with(s, REASON_REJECTED, &v->failure);
        break;
    case VERDICT_STOP:
        verdict_free(&s->stop);                        /* an earlier stage's: that text is behind this one's */
        s->stop = *v;
        stream_ended_by(s, policy_of(s)->name, "filter");
        drop_text(h);                                  /* what comes behind the stop is gone */
        if (s->piece->channel == CHANNEL_CONTENT) {
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
    if (s->trace)
        trace_filter_waits(s);
    if (s->due[CLOCK_WAITS] == 0)                      /* of all waits of one call together */
        stream_clock(s, CLOCK_WAITS, FILTER_WAIT_MS);
    stream_call_waits(s, &s->call, CLOCK_CALL);
    stream_wait(s, HELD_BY_POLICY);
    return OVER;
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
    buf_append(&s->moved_text, r->moved, r->moved_len);
}

/* changes = false: what it returned is what it was shown. */
static bool broke_its_word(const struct stream *s, const struct filter_result *r, const char *shown, size_t len)
{
    if (!stage_filter(s)->keeps || r->kind != FILTER_TEXT)
        return false;
    return r->moved_len || r->released_len + r->held_len != len || memcmp(shown, r->released_len ? r->released : shown, r->released_len) != 0 ||
           memcmp(shown + r->released_len, r->held_len ? r->held : shown + r->released_len, r->held_len) != 0;
}

/* What stands in place of a match within the JSON of tool arguments must be escaped as its strings are. */
static void put_replacement(struct stream *s, enum channel c, const char *text, size_t len)
{
    struct buf quoted = BUF_EMPTY;

    if (c != CHANNEL_TOOL_ARGS || stage_filter(s)->kind != FILTER_MATCH) {
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
    if (!stage_filter(s)->overflow_release)
        return failed(s, h, "holds back more than max_hold");
    s->flushing = true;
    return WORK_ON;
}

/* The call has returned, failed or waits. */
enum pass stage_took(struct stream *s, const struct piece *p, struct held *h, enum call_state got)
{
    bool last = stage_is_last(s, p), raw = stage_filter(s)->kind == FILTER_RAW;
    struct filter_result r;

    if (got == CALL_WAITS)
        return wait(s);
    services_drop(s, &s->call);
    if (s->trace)
        trace_filter_called(s, s->stage, &s->call);
    s->due[CLOCK_WAITS] = 0;
    if (got == CALL_FAILED)
        return call_failed(s, h);
    exchange_filter_result(&s->exchange, &s->call, s->stage, h->scan.text.data + s->shown_from, s->shown_to - s->shown_from, &r);
    if (r.kind == FILTER_VERDICT || (raw && !last && r.held_len > stage_filter(s)->max_hold)) {
        call_finish(&s->call);                         /* what follows may end the stream, whose log hooks need the call */
        return r.kind == FILTER_VERDICT ? judged(s, h, &r.verdict) : overflow(s, h);
    }
    if (r.moved_len > 0 && p->channel != CHANNEL_CONTENT) {
        call_finish(&s->call);
        return failed(s, h, "returned text for the reasoning channel, which only a filter on content may");
    }
    if (broke_its_word(s, &r, h->scan.text.data ? h->scan.text.data + s->shown_from : "", s->shown_to - s->shown_from)) {
        call_finish(&s->call);
        return failed(s, h, "says changes = false, and changed the text");
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
    return stage_took(s, p, h, exchange_filter(&s->exchange, &s->call, s->stage, h->scan.text.data, h->scan.text.len, p->channel, stage_is_last(s, p)));
}

/* Nothing more can be decided of what there is: is that too much? */
static enum pass rest_waits(struct stream *s, struct held *h, bool last)
{
    if (last)
        drop_text(h);
    else if (h->scan.text.len - h->scan.at > stage_filter(s)->max_hold)
        return overflow(s, h);
    return NEXT_STAGE;
}

/* Decided text is kept as far as the next check is shown it again. */
static void trim(struct held *h)
{
    size_t from = unit_back(h->scan.text.data, h->scan.at, h->unit.overlap);

    buf_consume(&h->scan.text, from);
    h->scan.at -= from;
}

static enum pass match_on(struct stream *s, const struct piece *p, struct held *h)
{
    const struct filter *f = stage_filter(s);
    const struct matcher *m = h->match ? h->match : f->match;
    struct match hit;
    enum match_got got = scan_next(&h->scan, m, stage_is_last(s, p), &hit);

    if (got == MATCH_TOO_MUCH)
        return failed(s, h, "a pattern needs too many steps on this text");
    let_go(s, h, h->scan.at, hit.from);
    scan_pass(&h->scan, hit.from);
    if (s->trace && got == MATCH_HIT)
        trace_filter_matched(s);
    if (got != MATCH_HIT) {
        scan_trim(&h->scan, m);
        return rest_waits(s, h, stage_is_last(s, p));
    }
    if (f->replace) {
        put_replacement(s, p->channel, f->replace, strlen(f->replace));
        scan_pass(&h->scan, hit.to);
        return WORK_ON;
    }
    s->shown_from = hit.from;
    s->shown_to = hit.to;
    return stage_took(s, p, h, exchange_replace(&s->exchange, &s->call, s->stage, h->scan.text.data, &hit, h->scan.gone));
}

/* The checks of this stage that are over: what they let go, or what they said. */
static enum pass collect(struct stream *s, struct held *h, lane_t lane)
{
    struct check_failure f;
    struct verdict v;

    switch (check_collect(s, s->stage, lane, &s->sieve_text, &f, &v)) {
    case CHECK_PASSED:
        break;
    case CHECK_JUDGED:
        return judged(s, h, &v);
    case CHECK_FAILED:
        policy_failed(s, stage_filter(s)->policy, "filter", f.message);
        free(f.message);
        if (is_open(s))
            return skip_stage(s, h);
        stream_fail_of(s, f.why, policy_of(s)->name, "filter");
        return OVER;
    }
    return WORK_ON;
}

/* Units whose checks run beside the text. Optimistic: text leaves as it comes; else when its check is over. At most `parallel` checks at a time. */
static enum pass wide_on(struct stream *s, const struct piece *p, struct held *h)
{
    const struct filter *f = stage_filter(s);
    bool last = stage_is_last(s, p);
    enum pass pass = collect(s, h, lane_of(p));
    size_t rest, n, held, running;

    if (pass != WORK_ON)
        return pass;
    rest = h->scan.text.len - h->scan.at;
    if (f->optimistic) {
        let_go(s, h, h->scan.at + h->ahead, h->scan.text.len);
        h->ahead = rest;
    }
    running = check_count(s, s->stage, lane_of(p), &held);
    n = rest ? unit_end(&h->unit, h->scan.text.data + h->scan.at, rest) : 0;
    if (n == 0 && last)
        n = rest;
    if (n > 0 ? running >= f->parallel : last && running > 0 && !f->optimistic) {
        check_await(s);
        return OVER;
    }
    if (n == 0) {
        if (held > s->held_max)
            s->held_max = held;
        trim(h);
        return rest_waits(s, h, last);
    }
    s->shown_from = unit_back(h->scan.text.data, h->scan.at, h->unit.overlap);
    s->shown_to = h->scan.at + n;
    check_start(s, lane_of(p), h->scan.text.data + s->shown_from, s->shown_to - s->shown_from, n, last && s->shown_to == h->scan.text.len);
    scan_pass(&h->scan, s->shown_to);
    if (f->optimistic)
        h->ahead -= n;
    return s->state < LOGGING ? WORK_ON : OVER;
}

static enum pass unit_on(struct stream *s, const struct piece *p, struct held *h)
{
    size_t rest = h->scan.text.len - h->scan.at, n = rest ? unit_end(&h->unit, h->scan.text.data + h->scan.at, rest) : 0;
    bool last = stage_is_last(s, p);

    if (n == 0 && last)
        n = rest;
    if (n == 0) {
        trim(h);
        return rest_waits(s, h, last);
    }
    s->shown_from = unit_back(h->scan.text.data, h->scan.at, h->unit.overlap);
    s->shown_to = h->scan.at + n;
    return stage_took(s, p, h, exchange_filter(&s->exchange, &s->call, s->stage, h->scan.text.data + s->shown_from, s->shown_to - s->shown_from, p->channel,
                                         last && s->shown_to == h->scan.text.len));
}

/* ---- all kinds */

enum pass stage_work(struct stream *s, const struct piece *p, struct held *h)
{
    enum pass pass;

    do {
        switch (stage_filter(s)->kind) {
        case FILTER_RAW:
            pass = raw_on(s, p, h);
            break;
        case FILTER_MATCH:
            pass = match_on(s, p, h);
            break;
        default:
            pass = is_wide(stage_filter(s)) ? wide_on(s, p, h) : unit_on(s, p, h);
            break;
        }
    } while (pass == WORK_ON);
    return pass;
}

/* Before a block's first text: does the filter apply, and to which units? */
static enum pass ask_about_block(struct stream *s, struct held *h)
{
    const struct filter *f = stage_filter(s);
    struct filter_block b = { .applies = true, .unit = f->unit };

    h->asked = true;
    if (f->when_ref != LUA_NOREF || f->unit_ref != LUA_NOREF || f->match_ref != LUA_NOREF) {
        enum call_state got = exchange_block(&s->exchange, &s->call, s->stage, &b);
        h->match = b.match;
        if (s->trace)
            trace_filter_called(s, s->stage, &s->call);
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

enum pass stage_enter(struct stream *s, const struct piece *p, struct held *h)
{
    enum pass pass = h->asked ? WORK_ON : ask_about_block(s, h);

    if (pass != WORK_ON || !h->applies)
        return pass == OVER ? OVER : NEXT_STAGE;       /* the text goes on as it is */
    scan_feed(&h->scan, s->sieve_text.data, s->sieve_text.len);
    s->sieve_text.len = 0;
    return stage_work(s, p, h);
}

void stages_free(struct stream *s)
{
    for (size_t i = 0; i < s->n_stages; i++) {
        scan_free(&s->stages[i].scan);
        matcher_drop(s->stages[i].match);
    }
    free(s->stages);
    s->stages = NULL;
    s->n_stages = 0;
}
