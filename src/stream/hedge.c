/* Hedging (hedge = { after =, budget = }): when a try gave no text in time, a second one is started beside it, on the next model of the plan, or on the same
 * when there is none. Whose first text (or tool call) comes first is the try from then on; the other is cancelled at once. A head, a role or a comment wins
 * nothing. When one of the two fails the other goes on alone, and only when both have failed does the plan go on, behind the models of both.
 *
 *     CLOCK_HEDGE -> hedge_begin: the attempt hooks run for it, on their own copy -> hedge_ready: it is asked
 *     its bytes -> hedge_feed: gathered, and looked at for a first text -> hedge_wins -> hedge_takes_over: they are read anew, as those of any try
 *     text of the first -> attempt_began -> hedge_drop
 *
 * So everything behind the source knows one try only. While both run no response hook has run: the heads are kept, and the hooks see that of the winner.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "stream/inside.h"

#define BYTES_MAX ((size_t)1 << 20)                    /* before its first text */
#define ONE 10000                                      /* credit that one hedge costs */
#define SAVED_MAX (10 * ONE)                           /* a quiet time does not pay for a flood of them */
#define LOST REASON_CLIENT_CLOSED                      /* for pick.c: whoever was not needed did nothing wrong */

/* ---- heads */

void head_keep(struct kept_head *h, int status, const struct header *headers, size_t n)
{
    head_free(h);
    *h = (struct kept_head){ .status = status, .headers = mem_alloc((n ? n : 1) * sizeof *headers), .n = n };
    for (size_t i = 0; i < n; i++)
        h->headers[i] = (struct header){ mem_string(headers[i].name), mem_string(headers[i].value) };
}

void head_free(struct kept_head *h)
{
    for (size_t i = 0; i < h->n; i++) {
        free((char *)h->headers[i].name);              /* ours: see head_keep */
        free((char *)h->headers[i].value);
    }
    free(h->headers);
    *h = (struct kept_head){ 0 };
}

/* ---- when */

void hedge_count(struct stream *s)
{
    struct hedge *h = s->route->hedge;

    if (h)
        h->credit = h->credit + h->budget < SAVED_MAX ? h->credit + h->budget : SAVED_MAX;
}

/* Not beside what goes on with a text: that was slow enough. */
static bool is_wanted(const struct stream *s) { return s->route->hedge && !s->hedged && !s->first_sent && s->front->operation != OPERATION_EMBED; }

void hedge_await(struct stream *s)
{
    if (is_wanted(s))
        stream_clock(s, CLOCK_HEDGE, s->route->hedge->after);
}

static bool pays(struct stream *s)
{
    struct hedge *h = s->route->hedge;

    if (h->credit < ONE) {
        metrics_add(s->metrics, METRIC_hedges_unpaid, 1);
        return false;
    }
    h->credit -= ONE;
    return true;
}

/* ---- asking */

/* What hooks and dialects know as the try is the first one again. */
static void restore(struct stream *s)
{
    struct tried t = attempt_tried(s);

    if (exchange_try(&s->exchange, &t, false) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
}

void hedge_begin(struct stream *s)
{
    struct rival *r = &s->rival;
    bool hooks = s->route->n_hooks[HOOK_ATTEMPT] > 0;

    if (!is_wanted(s) || s->useful || !s->upstream_open || s->held || call_open(&s->call) || s->tries >= TRIES_MAX)
        return;
    *r = (struct rival){ .state = RIVAL_NONE };
    if (!pick_rival(s, r))
        return;                                        /* nobody is free */
    if (!pays(s)) {
        pick_rival_leave(s, r, LOST);
        return;
    }
    s->hedged = true;
    r->state = RIVAL_ASKED;
    r->number = ++s->tries;
    r->which = 1 - s->which;
    r->began = s->host->now(s->owner);
    struct tried t = { .model = r->model, .number = r->number, .retry_after = -1 };
    if (exchange_try(&s->exchange, &t, hooks) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
    else if (hooks)
        hooks_begin(s, HOOK_ATTEMPT);
    else
        hedge_ready(s);
}

void hedge_refused(struct stream *s)
{
    if (s->trace)
        trace_rival_over(s, "not asked");
    stream_go(s, HELD_BY_POLICY);
    pick_rival_leave(s, &s->rival, LOST);
    s->rival = (struct rival){ .state = RIVAL_NONE };
    restore(s);
}

static int ask_rival(struct stream *s, struct rival *r)
{
    struct upstream_request want = { 0 };
    struct failure f = { .retry_after = -1 };
    const struct clocks *mine = &r->model->clocks, *routes = &s->route->clocks;
    const struct ask ask = { .may_pass = source_may_pass(s), .changed_by = logprobs_changed_by(s) };
    int failed;

    if (exchange_request(&s->exchange, r->model, &ask, &want, &f) != 0) {
        failure_free(&f);
        return -1;
    }
    r->pass = want.pass;
    r->document = !want.stream;
    r->logprobs = want.logprobs && !want.pass;
    r->signs = want.same && !want.pass;
    r->n = want.n;
    failed = s->host->attempt(s->owner, r->which, &want, r->model->ca, mine->connect ? mine->connect : routes->connect);
    upstream_request_free(&want);
    return failed;
}

void hedge_ready(struct stream *s)
{
    struct rival *r = &s->rival;

    if (ask_rival(s, r) != 0) {
        hedge_refused(s);
        return;
    }
    metrics_add(s->metrics, METRIC_upstream_attempts, 1);
    metrics_add(s->metrics, METRIC_hedges_started, 1);
    r->state = RIVAL_RUNS;
    r->open = true;
    sse_init(&r->reader, 0);
    if (s->held)
        s->host->hold(s->owner, r->which);
    restore(s);
}

/* ---- its news */

static void free_rival(struct rival *r)
{
    head_free(&r->head);
    buf_free(&r->bytes);
    sse_fini(&r->reader);
    lines_fini(&r->lines);
    *r = (struct rival){ .state = RIVAL_NONE };
}

static void drop(struct stream *s, const char *how, enum reason why)
{
    if (s->rival.state == RIVAL_NONE)
        return;
    pick_rival_leave(s, &s->rival, why);
    if (s->trace)
        trace_rival_over(s, how);
    if (s->rival.open)
        s->host->cancel(s->owner, s->rival.which);
    free_rival(&s->rival);
}

void hedge_drop(struct stream *s) { drop(s, "cancelled", LOST); }

/* The first one goes on alone. When it fails, too, the plan goes on behind both. */
static void failed(struct stream *s, enum reason why)
{
    pick_behind(s, &s->rival);
    drop(s, "failed", why);
}

void hedge_head(struct stream *s, int status, const struct header *headers, size_t n)
{
    if (status != 200)
        failed(s, status >= 500 ? REASON_RESET : REASON_REFUSED);   /* as bad as a reset */
    else if (!source_expects(s->rival.model, s->rival.document, headers, n))
        failed(s, REASON_NOT_STREAM);
    else
        head_keep(&s->rival.head, status, headers, n);
}

/* The next event that came whole. 1, and its data; 0: none; -1: what came is none. */
static int next_event(struct rival *r, const char **data, size_t *len)
{
    struct sse_event ev;

    if (r->model->dialect->ndjson) {
        enum lines_got got = lines_next(&r->lines, data, len);
        return got == LINES_LINE ? 1 : got == LINES_TOO_LONG ? -1 : 0;
    }
    enum sse_got got = sse_next(&r->reader, &ev);
    *data = ev.data;
    *len = ev.len;
    return got == SSE_EVENT ? 1 : got == SSE_TOO_LONG ? -1 : 0;
}

void hedge_feed(struct stream *s, const char *bytes, size_t len)
{
    struct rival *r = &s->rival;
    const char *data;
    size_t data_len;
    int got = 0;

    buf_append(&r->bytes, bytes, len);
    if (r->useful)                                     /* it has won, and waits for its turn */
        return;
    if (r->model->dialect->ndjson)
        lines_feed(&r->lines, bytes, len);
    else
        sse_feed(&r->reader, bytes, len);
    while (got == 0 && (got = next_event(r, &data, &data_len)) == 1)
        got = event_peek(s, r->model, data, data_len);
    if (got == 1)
        r->useful = true;
    else if (got < 0 || r->bytes.len > BYTES_MAX)
        failed(s, REASON_BAD_JSON);
}

void hedge_end(struct stream *s, enum reason why)
{
    s->rival.open = false;
    s->rival.ended_why = why;
    if (!s->rival.useful)
        failed(s, why == REASON_DONE ? REASON_TRUNCATED : why);
}

/* ---- the end of the race */

bool hedge_wins(const struct stream *s) { return s->rival.state == RIVAL_RUNS && s->rival.useful && !s->useful; }

void hedge_takes_over(struct stream *s, enum reason why)
{
    struct rival r = s->rival;

    s->rival = (struct rival){ .state = RIVAL_NONE };
    if (s->trace)
        trace_rival_takes_over(s, &r, why);
    pick_leave(s, why == REASON_DONE ? LOST : why);
    attempt_forget(s);                                 /* cancels the first one */
    s->which = r.which;
    s->number = r.number;
    pick_rival_takes_over(s, &r);
    s->upstream_status = 0;
    s->retry_after = -1;
    s->pass = r.pass;
    s->document = r.document;
    s->logprobs = r.logprobs;
    s->logprobs_held = s->logprobs && logprobs_are_held(s);
    s->signs = r.signs;
    source_choices(s, r.n);
    s->usage_wanted = r.pass && exchange_wants_usage(&s->exchange);
    s->trying = s->hedging = true;
    s->upstream_open = r.open;
    source_await(s);
    if (r.head.status)
        source_head(s, r.head.status, r.head.headers, r.head.n);
    if (r.bytes.len)
        source_feed(s, r.bytes.data, r.bytes.len);
    if (!r.open)
        source_end(s, r.ended_why, NULL);
    free_rival(&r);
    restore(s);
}

void hedge_useful(struct stream *s)
{
    if (!s->hedging || s->hedge_won)
        return;
    s->hedge_won = true;
    metrics_add(s->metrics, METRIC_hedges_won, 1);
}

/* ---- flow: as the first one */

void hedge_hold(struct stream *s)
{
    if (s->rival.state == RIVAL_RUNS && s->rival.open)
        s->host->hold(s->owner, s->rival.which);
}

void hedge_release(struct stream *s)
{
    if (s->rival.state == RIVAL_RUNS && s->rival.open)
        s->host->release(s->owner, s->rival.which);
}
