/* What is left of a stream when it is over: its one log line, its place in the counters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "stream/inside.h"

static void log_tag(void *arg, const char *name, const char *value)
{
    log_str(arg, name, value);
}

const char *stream_end_word(const struct stream *s)
{
    return s->code ? s->code : reason_text(s->reason)->code;
}

static void write_line(struct stream *s)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, "request"))
        return;
    log_str(&line, "id", s->id);
    log_str(&line, "route", s->route->name);
    log_int(&line, "generation", (int64_t)s->generation);
    log_int(&line, "status", s->status ? s->status : 499);
    log_int(&line, "tokens", (int64_t)s->tokens);
    log_int(&line, "first_token_ms", s->first_sent ? (int64_t)(s->first_sent - s->began) : -1);
    log_int(&line, "held_ms", (int64_t)s->waited_ms);
    log_int(&line, "total_ms", (int64_t)(s->closed_at - s->began));
    log_int(&line, "bytes", (int64_t)s->bytes_sent);
    if (s->held_max)
        log_int(&line, "held_bytes", (int64_t)s->held_max);
    log_str(&line, "end", stream_end_word(s));
    log_str(&line, "finish", s->finish);
    if (s->by_policy) {
        char by[120];
        snprintf(by, sizeof by, "%s.%s", s->by_policy, s->by_hook);
        log_str(&line, "ended_by", by);
    }
    if (s->model)
        log_str(&line, "model", s->model->name);
    if (s->pick.pool)
        log_str(&line, "pool", s->pick.pool->name);
    struct buf monitor = BUF_EMPTY;
    shadows_tell(s, &monitor);
    log_str(&line, "monitor", monitor.len ? buf_cstr(&monitor) : NULL);
    buf_free(&monitor);
    if (s->unreleased)
        log_int(&line, "unreleased", (int64_t)s->unreleased);
    if (s->hedged)
        log_str(&line, "hedge", s->hedge_won ? "won" : "lost");
    if (s->continued)
        log_int(&line, "continued", s->continued);
    if (s->tries > 1)
        log_int(&line, "tries", s->tries);
    if (s->upstream_status && s->upstream_status != 200)
        log_int(&line, "upstream_status", s->upstream_status);
    log_str(&line, "detail", s->detail);
    stream_tags(s, log_tag, &line);
    log_end(&line);
}

/* HEAD and OPTIONS only ask: whatever they are told, no answer ended well or badly. */
static void count_end(struct stream *s)
{
    if (s->reason == REASON_CLIENT_CLOSED)
        metrics_add(s->metrics, METRIC_streams_client_gone, 1);
    else if (s->failed && !s->head_only && !s->options_only)
        metrics_add(s->metrics, s->head_sent ? METRIC_streams_truncated : METRIC_streams_failed, 1);
    else if (s->head_sent && !s->head_only)
        metrics_add(s->metrics, METRIC_streams_done, 1);
    metrics_add(s->metrics, METRIC_streams_open, -1);
}

void stream_finish_word(struct stream *s, const struct verdict *v)
{
    free(s->finish);
    s->finish = v->finish && strcmp(v->finish, "stop") != 0 ? mem_string(v->finish) : NULL;
}

void stream_ended_by(struct stream *s, const char *policy, const char *hook)
{
    s->by_policy = policy;
    s->by_hook = hook;
}

void stream_record(struct stream *s)
{
    write_line(s);
    count_end(s);
}
