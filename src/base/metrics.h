/* Counters: each worker writes its own block, anyone reads. Relaxed atomics, no locks.
 *
 * METRICS lists every counter once; metrics_name and metrics_help come from the same list.
 */
#ifndef SLUICE_BASE_METRICS_H
#define SLUICE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

#define METRICS(X)                                                                        \
    X(connections_total,      "client connections accepted")                              \
    X(connections_open,       "client connections open now")                              \
    X(connections_refused,    "connections closed at once because the cap was reached")   \
    X(requests_total,         "requests whose head was read")                             \
    X(requests_bad,           "requests refused by the HTTP guards")                      \
    X(streams_total,          "requests that a route took, HEAD and OPTIONS among them")  \
    X(streams_open,           "streams open now")                                         \
    X(streams_done,           "streams that ended with the dialect's end mark")           \
    X(streams_truncated,      "streams that ended with an error after the head was sent") \
    X(streams_failed,         "streams answered with an error status (not HEAD, OPTIONS)") \
    X(streams_client_gone,    "streams whose client left first")                          \
    X(tokens_total,           "pieces of text received from models")                      \
    X(upstream_attempts,      "upstream requests started")                                \
    X(upstream_fallbacks,     "tries that went on to the plan's next model")              \
    X(upstream_retries,       "tries repeated on the same model")                         \
    X(targets_passed_over,    "times a model was not asked: at its max_parallel, breaker open, or unhealthy") \
    X(breakers_opened,        "times the breaker of a model opened")                      \
    X(probes_total,           "health probes of models")                                  \
    X(probes_failed,          "health probes without an answer, or with a status from 500 on") \
    X(hedges_started,         "second tries that were started beside a slow first one")   \
    X(hedges_won,             "of these, answered first")                                 \
    X(hedges_unpaid,          "hedges that were due, but over their route's budget")      \
    X(upstream_continues,     "tries that went on with the text of one that died")        \
    X(prerelease_drops,       "tries whose text was told, held back and never sent")      \
    X(upstream_pauses,        "times an upstream was paused for a slow client")           \
    X(monitor_findings,       "policies in monitor mode that would have refused or changed an answer, or failed") \
    X(lua_calls,              "entries into Lua")                                         \
    X(lua_slow,               "Lua calls that took longer than a tenth of their CPU budget")    \
    X(lua_killed,             "Lua calls ended by their CPU or memory budget")            \
    X(lua_accidents,          "Lua calls ended by an error that no script raised itself (attempt to index a nil value ...)") \
    X(reloads,                "times the gateway file was read again and taken over")     \
    X(rotations,              "times a worker whose Lua was full began anew with a fresh one")   \
    X(generations_open,       "generations that are current or still have streams")       \
    X(loop_lag_events,        "loop turns that took longer than 10 ms")                   \
    X(loop_lag_ms,            "milliseconds spent in such turns")

enum metric {
#define X(name, help) METRIC_##name,
    METRICS(X)
#undef X
    METRIC_COUNT
};

struct metrics {
    _Atomic int64_t value[METRIC_COUNT];
};

static inline void metrics_add(struct metrics *m, enum metric which, int64_t n)
{
    atomic_fetch_add_explicit(&m->value[which], n, memory_order_relaxed);
}

static inline int64_t metrics_get(const struct metrics *m, enum metric which)
{
    return atomic_load_explicit(&m->value[which], memory_order_relaxed);
}

const char *metrics_name(enum metric which);           /* "connections_total" */
/* Prometheus text of the sum over `n` blocks, each name prefixed with sluice_. */
void metrics_print(struct buf *out, struct metrics *const *blocks, int n);

#endif
