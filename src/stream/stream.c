/* The happy path: stream_open runs the accept hooks and asks for the body; stream_body runs the other request hooks and starts the
 * source; then every stream_upstream_bytes is pumped: events become pieces, pieces pass the filters, text leaves; the dialect's
 * end mark makes answer_done, stream_close, the log hooks, the log line, host.closed.
 */
#include "stream/stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"

#define PUMP_STEPS 4096                                /* pieces in one turn of the loop */

static const char *const state_names[STATE_COUNT] = { "admit", "connect", "flow", "logging", "closed" };

static const bool allowed[STATE_COUNT][STATE_COUNT] = {
    /* from        ADMIT  CONNECT FLOW   LOGGING CLOSED */
    [ADMIT]   = {  false, true,   true,  true,   false },   /* admitted; a policy replies with text; refused or gone */
    [CONNECT] = {  false, false,  true,  true,   false },   /* the first useful delta (or a heartbeat) left; none came */
    [FLOW]    = {  false, false,  false, true,   false },   /* the answer ended, one way or another */
    [LOGGING] = {  false, false,  false, false,  true  },
};

void stream_move(struct stream *s, enum state to)
{
    assert(allowed[s->state][to]);
    if (s->state == to)
        return;
    s->state = to;
    struct log_line line;
    if (log_begin(&line, LOG_DEBUG, "stream.state")) {
        log_str(&line, "id", s->id);
        log_str(&line, "to", state_names[to]);
        log_end(&line);
    }
}

static uint64_t now(struct stream *s) { return s->host->now(s->owner); }

void stream_clock(struct stream *s, enum clock c, uint64_t after_ms)
{
    s->due[c] = after_ms ? now(s) + after_ms : 0;
}

/* --- flow ------------------------------------------------------------------------------------------------------- */

void stream_wait(struct stream *s, unsigned bit)
{
    bool was_free = s->held == 0;

    if (bit == HELD_BY_POLICY && !(s->held & HELD_BY_POLICY))
        s->waiting_since = now(s);
    s->held |= bit;
    if (!was_free)
        return;
    s->due[CLOCK_GAP] = s->due[CLOCK_FIRST_TOKEN] = s->due[CLOCK_HEDGE] = 0;   /* a stream we hold ourselves is not stalled */
    hedge_hold(s);
    if (s->upstream_open) {
        s->host->hold(s->owner, s->which);
        if (bit == HELD_BY_CLIENT)
            metrics_add(s->metrics, METRIC_upstream_pauses, 1);
    }
}

void stream_go(struct stream *s, unsigned bit)
{
    if (!(s->held & bit))
        return;
    if (s->held & bit & HELD_BY_POLICY)
        s->waited_ms += now(s) - s->waiting_since;
    s->held &= ~bit;
    if (s->held)
        return;
    source_await(s);
    source_gap(s);
    hedge_release(s);
    if (s->upstream_open)
        s->host->release(s->owner, s->which);
}

/* Moves what can be moved; stops by itself at the first reason to wait. One call too many does no harm. */
static void pump(struct stream *s)
{
    enum reason why = REASON_INTERNAL;
    lane_t lane;
    unsigned steps = 0;
    size_t stage;

    while ((s->state == CONNECT || s->state == FLOW) && !s->held && !call_open(&s->call)) {
        if (hedge_wins(s)) {
            hedge_takes_over(s, REASON_DONE);
            continue;
        }
        if (s->piece_at < s->n_pieces && s->n_gates > 0) {
            stream_wait(s, HELD_BY_GATE);
            return;
        }
        if (++steps > PUMP_STEPS) {                    /* others' turn: a model that talks without end while a filter drops it all */
            stream_clock(s, CLOCK_TURN, 1);
            return;
        }
        if (check_find_ready(s, &stage, &lane)) {
            sieve_collect(s, stage, lane);
            continue;
        }
        if (s->piece_at < s->n_pieces) {
            sieve_piece(s);
            continue;
        }
        enum source_got got = source_next(s, &why);
        if (got == SOURCE_MORE)
            return;
        if (got == SOURCE_FAILED)
            attempt_failed(s, why);
        else if (s->useful || s->source_done)
            attempt_began(s);
    }
}

static void arm(struct stream *s)
{
    uint64_t first = 0;

    for (int i = 0; i < CLOCK_COUNT; i++)
        if (s->due[i] && (!first || s->due[i] < first))
            first = s->due[i];
    if (first == 0 || (s->alarm && s->alarm <= first))
        return;                                        /* it rings early enough: stream_tick looks again then */
    s->alarm = first;
    s->host->wake(s->owner, first);
}

/* The last statement of every feed. May free `s`. */
static void settle(struct stream *s)
{
    answer_flush(s);
    bool watched = shadows_run(s);
    if (s->state == LOGGING && s->logged && !watched) {
        if (!s->shadow)
            stream_record(s);
        policies_settle(s);
        stream_move(s, CLOSED);
        s->host->wake(s->owner, 0);
        s->host->closed(s->owner);
        return;
    }
    arm(s);
}

/* --- feeds ------------------------------------------------------------------------------------------------------ */

static struct stream *new_stream(const struct stream_host *host, void *owner, const struct gateway *g, const struct route *r, const struct front *f, const char *id, struct metrics *metrics)
{
    struct stream *s = mem_alloc(sizeof *s);

    s->host = host;
    s->owner = owner;
    s->route = r;
    s->front = f;
    s->streams = true;
    s->choices = &s->one;
    s->n_choices = 1;
    s->event_name = "";
    s->generation = g->generation;
    s->metrics = metrics;
    s->retry_after = -1;
    s->usage = (struct usage){ -1, -1, -1, -1, -1 };
    s->exchange.ref = LUA_NOREF;
    services_init(s);
    list_init(&s->beside);
    memcpy(s->plan, r->plan, sizeof s->plan);
    s->n_plan = r->n_plan;
    s->tools_wanted = tools_wanted(s);
    s->model = r->plan[0];
    snprintf(s->id, sizeof s->id, "%s", id);
    sse_init(&s->reader, 0);
    s->began = s->last_sent = now(s);
    return s;
}

struct stream *stream_shadow(struct stream *parent, const struct route *r, const struct stream_host *host, struct shadow *w)
{
    struct exchange copy;

    if (exchange_copy(&copy, &parent->exchange, r) != 0)
        return NULL;
    struct stream *s = new_stream(host, w, parent->exchange.gateway, r, parent->front, parent->id, parent->metrics);
    s->shadow = w;
    s->shadow_of = parent;
    s->exchange = copy;
    s->exchange_ok = true;
    return s;
}

void stream_shadow_begin(struct stream *s)
{
    struct stream *parent = s->shadow_of;

    if (exchange_copy_shared(&s->exchange, &parent->exchange) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
    else if (policies_admit(s))
        hooks_start(s);
}

void stream_shadow_turn(struct stream *s)
{
    pump(s);
    settle(s);
}

void stream_open(struct stream **ret, const struct stream_host *host, void *owner, const struct gateway *g, const struct route *r,
                 const struct stream_facts *facts, struct metrics *metrics)
{
    struct stream *s = new_stream(host, owner, g, r, facts->front, facts->id, metrics);

    *ret = s;
    s->request = facts->request;
    s->head_only = strcmp(facts->request->method, "HEAD") == 0;
    s->options_only = strcmp(facts->request->method, "OPTIONS") == 0;
    metrics_add(metrics, METRIC_streams_total, 1);
    metrics_add(metrics, METRIC_streams_open, 1);
    stream_clock(s, CLOCK_TOTAL, r->clocks.total);

    struct exchange_facts known = { .id = s->id, .request = facts->request, .ip = facts->ip };
    s->exchange_ok = exchange_open(&s->exchange, g, r, s->front, &known) == 0;
    if (facts->trace)
        trace_open(s);
    if (!s->exchange_ok)
        stream_fail(s, REASON_POLICY_MEMORY);
    else if (policies_admit(s))
        hooks_start(s);
    settle(s);
}

void stream_free(struct stream *s)
{
    assert(s->state == CLOSED);
    exchange_close(&s->exchange);
    source_free(s);
    upstream_error_free(&s->said);
    sieve_free(s);
    shadows_free(s);
    answer_free(s);
    trace_free(s);
    buf_free(&s->texts);
    buf_free(&s->out);
    buf_free(&s->pick.affinity);
    free(s->code);
    free(s->finish);
    free(s->detail);
    free(s);
}

void stream_body(struct stream *s, const char *bytes, size_t len)
{
    struct failure f = { .retry_after = -1 };
    struct asked asked;

    if (s->state != ADMIT)
        return;
    if (exchange_read(&s->exchange, bytes, len, &asked, &f) != 0) {
        stream_fail_with(s, REASON_REJECTED, &f);
    } else {
        s->streams = asked.stream;
        s->tools_wanted = tools_wanted(s);
        if (asked.n_plan) {
            memcpy(s->plan, asked.plan, sizeof s->plan);
            s->n_plan = asked.n_plan;
        }
        shadows_open(s);
        hooks_next(s);
    }
    pump(s);
    settle(s);
}

static bool is_rival(const struct stream *s, unsigned which) { return s->rival.state == RIVAL_RUNS && s->rival.open && s->rival.which == which; }
static bool is_ours(const struct stream *s, unsigned which) { return s->upstream_open && s->which == which; }

void stream_upstream_head(struct stream *s, unsigned which, int status, const struct header *headers, size_t n)
{
    if (is_rival(s, which))
        hedge_head(s, status, headers, n);
    else if (is_ours(s, which))
        source_head(s, status, headers, n);
    else
        return;
    pump(s);
    settle(s);
}

void stream_upstream_bytes(struct stream *s, unsigned which, const char *bytes, size_t len)
{
    if (is_rival(s, which))
        hedge_feed(s, bytes, len);
    else if (is_ours(s, which))
        source_feed(s, bytes, len);
    else
        return;
    pump(s);
    settle(s);
}

void stream_upstream_end(struct stream *s, unsigned which, enum reason why, const char *text)
{
    if (is_rival(s, which))
        hedge_end(s, why);
    else if (is_ours(s, which))
        source_end(s, why, text);
    else
        return;
    pump(s);
    settle(s);
}

void stream_service_answer(struct stream *s, struct service_call *w)
{
    services_answered(w->stream, w);                   /* a shadow's, perhaps: settle lets it run */
    pump(s);
    settle(s);
}

void stream_drained(struct stream *s)
{
    stream_go(s, HELD_BY_CLIENT);
    pump(s);
    settle(s);
}

void stream_client_gone(struct stream *s)
{
    if (s->state == LOGGING || s->state == CLOSED)
        return;
    s->client_gone = true;
    stream_close(s, REASON_CLIENT_CLOSED);
    settle(s);
}

/* The hook or filter that waits is given up. */
void stream_drop_call(struct stream *s)
{
    if (s->trace)
        trace_dropped(s);
    services_drop(s, &s->call);
    call_cancel(&s->call);
    s->due[CLOCK_CALL] = s->due[CLOCK_WAITS] = 0;
}

void stream_shutdown(struct stream *s, enum reason why)
{
    if (s->state == CLOSED)
        return;
    shadows_shutdown(s, why);
    if (s->state == LOGGING) {                         /* its log hooks had their time */
        stream_drop_call(s);
        s->logged = true;
    } else {
        stream_fail(s, why);
    }
    settle(s);
}

/* Nothing was sent for a while: a comment shows the client and every proxy between that we live. */
static void heartbeat(struct stream *s)
{
    uint64_t quiet = now(s) - s->last_sent;

    if (s->state != CONNECT && s->state != FLOW)
        return;
    if (quiet < s->route->heartbeat) {
        stream_clock(s, CLOCK_HEARTBEAT, s->route->heartbeat - quiet);
        return;
    }
    if (!(s->held & HELD_BY_CLIENT) && s->n_gates == 0 && s->streams)
        answer_heartbeat(s);
    stream_clock(s, CLOCK_HEARTBEAT, s->route->heartbeat);
}

/* A sleeping hook, filter or Lua model wakes up. */
void stream_resume_call(struct stream *s)
{
    enum call_state got;

    s->due[CLOCK_CALL] = 0;
    got = call_resume(&s->call, 0);

    if (s->sieving)
        sieve_resume(s, got);
    else
        hooks_resume(s, got);
}

static void ring(struct stream *s, enum clock c)
{
    switch (c) {
    case CLOCK_FIRST_TOKEN:
        attempt_failed(s, REASON_FIRST_TOKEN_TIMEOUT);
        break;
    case CLOCK_GAP:
        attempt_failed(s, REASON_GAP_TIMEOUT);
        break;
    case CLOCK_HEDGE:
        hedge_begin(s);
        break;
    case CLOCK_TOTAL:
        stream_fail(s, REASON_TOTAL_TIMEOUT);
        break;
    case CLOCK_HEARTBEAT:
        heartbeat(s);
        break;
    case CLOCK_WINDOW:
        window_release(s);
        break;
    case CLOCK_CALL:
        stream_resume_call(s);
        break;
    case CLOCK_SERVICE:
        services_expire(s);
        break;
    case CLOCK_NEWS:
        services_wake_all(s);
        break;
    case CLOCK_BESIDE:
        beside_ring(s);
        break;
    case CLOCK_WAITS:                                  /* the hooks waited longer than they may */
        stream_drop_call(s);
        if (s->state == LOGGING)
            s->logged = true;
        else if (s->rival.state == RIVAL_ASKED)
            hedge_refused(s);
        else
            stream_fail(s, REASON_POLICY_TIMEOUT);
        break;
    case CLOCK_ANSWER:                                 /* source_next resumes the Lua model */
        s->answer_woken = true;
        break;
    case CLOCK_RETRY:
        attempt_retry(s);
        break;
    case CLOCK_SHADOW:                                 /* settle lets them run */
    case CLOCK_TURN:                                   /* the pump goes on */
    case CLOCK_COUNT:
        break;
    }
}

void stream_tick(struct stream *s)
{
    uint64_t t = now(s);

    s->alarm = 0;
    for (int i = 0; i < CLOCK_COUNT && s->state != CLOSED; i++) {
        if (s->due[i] == 0 || s->due[i] > t)
            continue;
        s->due[i] = 0;
        ring(s, i);
    }
    pump(s);
    settle(s);
}

const char *stream_id(const struct stream *s) { return s->id; }
size_t stream_held_max(const struct stream *s) { return s->held_max; }
bool stream_key(struct stream *s, struct buf *ret) { return s->exchange_ok && exchange_key(&s->exchange, ret); }

void stream_tags(struct stream *s, void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    if (s->exchange_ok)
        exchange_tags(&s->exchange, fn, arg);
}
