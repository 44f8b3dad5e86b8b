/* What the client gets, in its route's dialect: the head, text as events, comments, one terminal error event or the end mark.
 *
 * The head waits for the first useful text (or heartbeat): until then a failure still has its own status. Events of one feed are
 * gathered in s->out and leave in one write (answer_flush).
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "stream/inside.h"
#include "wire/json.h"

#define HEADERS_MAX 48

static size_t own_headers(struct stream *s, struct header *h, size_t n)
{
    struct header more[HEADERS_MAX];
    size_t n_more = s->exchange_ok ? exchange_headers(&s->exchange, more, HEADERS_MAX) : 0, own = n;

    for (size_t i = 0; i < n_more; i++) {
        size_t k = 0;
        while (k < own && strcasecmp(h[k].name, more[i].name) != 0)
            k++;
        if (k < own)
            h[k] = more[i];                            /* a policy's word instead of our default */
        else if (n < HEADERS_MAX)
            h[n++] = more[i];
    }
    return n;
}

static void send_head(struct stream *s)
{
    struct header h[HEADERS_MAX] = {
        { "Content-Type", "text/event-stream; charset=utf-8" },
        { "Cache-Control", "no-cache" },
        { "X-Accel-Buffering", "no" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Request-Id", s->id },
    };
    size_t n = own_headers(s, h, 5);

    s->head_sent = true;
    s->status = 200;
    s->request = NULL;
    s->host->head(s->owner, 200, h, n);
    if (s->state != FLOW)
        stream_move(s, FLOW);
}

void answer_flush(struct stream *s)
{
    if (s->out.len == 0)
        return;
    s->bytes_sent += s->out.len;
    s->last_sent = s->host->now(s->owner);
    if (s->client_gone) {
        buf_free(&s->out);
        return;
    }
    if (!s->host->write(s->owner, &s->out) && (s->state == CONNECT || s->state == FLOW))
        stream_wait(s, HELD_BY_CLIENT);
}

/* A Lua model that never sleeps must not pile up: leave for the client's sake as soon as this much is gathered. */
#define OUT_FLUSH (32 * 1024)

static void put_text(struct stream *s, const char *before, const char *after, const char *text, size_t len)
{
    buf_puts(&s->out, before);
    json_put_string(&s->out, text, len);
    buf_puts(&s->out, after);
}

void answer_text(struct stream *s, enum channel channel, const char *text, size_t len)
{
    const struct front *front = s->route->front;

    if (len == 0)
        return;
    if (s->shadow)
        shadow_said(s, text, len);
    if (channel == CHANNEL_TOOL_ARGS) {                /* gathered for tool_whole */
        buf_append(&s->tool_args, text, len);
        return;
    }
    if (channel == CHANNEL_REASONING && !front->reasoning_before)
        return;                                        /* this front cannot tell it */
    if (!s->head_sent)
        send_head(s);
    if (!s->first_sent)
        s->first_sent = s->host->now(s->owner);
    if (channel == CHANNEL_REASONING)
        put_text(s, front->reasoning_before, front->reasoning_after, text, len);
    else
        put_text(s, front->content_before, front->content_after, text, len);
    if (s->out.len >= OUT_FLUSH)
        answer_flush(s);
}

void answer_tool(struct stream *s, const struct buf *id, const struct buf *name, const struct buf *args)
{
    const struct front *front = s->route->front;

    if (!front->tool_before)
        return;                                        /* this front cannot tell it */
    if (!s->head_sent)
        send_head(s);
    if (!s->first_sent)
        s->first_sent = s->host->now(s->owner);
    buf_puts(&s->out, front->tool_before);
    put_text(s, "{\"id\":", ",\"name\":", id->data ? id->data : "", id->len);
    json_put_string(&s->out, name->data ? name->data : "", name->len);
    put_text(s, ",\"arguments\":", "}", args->data ? args->data : "", args->len);
    buf_puts(&s->out, front->tool_after);
}

void answer_heartbeat(struct stream *s)
{
    if (!s->head_sent)
        send_head(s);
    buf_puts(&s->out, ": keep-alive\n\n");
    answer_flush(s);
}

void answer_done(struct stream *s)
{
    if (!s->head_sent)
        send_head(s);
    if (s->route->front->finish_before) {
        const char *reason = s->finish ? s->finish : s->model_finish[0] ? s->model_finish : "stop";

        put_text(s, s->route->front->finish_before, s->route->front->finish_after, reason, strlen(reason));
    }
    buf_puts(&s->out, s->route->front->done);
    answer_flush(s);
    s->host->end(s->owner);
}

void answer_complete(struct stream *s)
{
    answer_done(s);
    stream_close(s, REASON_DONE);
}

void answer_stop(struct stream *s, const struct verdict *v)
{
    answer_text(s, CHANNEL_CONTENT, v->text.data, v->text.len);
    answer_done(s);
}

void answer_head_only(struct stream *s)
{
    send_head(s);
    s->host->end(s->owner);
}

void answer_options(struct stream *s)
{
    struct header h[HEADERS_MAX] = { { "Allow", s->route->front->methods }, { "X-Request-Id", s->id } };
    size_t n = own_headers(s, h, 2);
    struct buf body = BUF_EMPTY;

    s->status = 204;
    s->host->reply(s->owner, 204, h, n, &body);
}

/* A policy's own answer: in the route's dialect when it is a good one, plain otherwise (a preflight's 204, a redirect). */
void answer_reply(struct stream *s, const struct verdict *v)
{
    if (v->status == 200 && !s->head_only) {
        answer_text(s, CHANNEL_CONTENT, v->text.data, v->text.len);
        answer_done(s);
        return;
    }
    struct header h[HEADERS_MAX] = { { "X-Request-Id", s->id } };
    size_t n = own_headers(s, h, 1);
    struct buf body = BUF_EMPTY;

    if (v->text.len)
        h[n < HEADERS_MAX ? n++ : n - 1] = (struct header){ "Content-Type", "text/plain; charset=utf-8" };
    buf_append(&body, v->text.data, v->text.len);
    s->status = v->status;
    s->host->reply(s->owner, v->status, h, n, &body);
}

static void reply_failure(struct stream *s, const struct failure *f, struct buf *body)
{
    char retry[24];
    struct header h[HEADERS_MAX] = {
        { "Content-Type", "application/json; charset=utf-8" },
        { "Cache-Control", "no-store" },
        { "X-Sluice-Error", f->code },
        { "X-Request-Id", s->id },
    };
    size_t n = 4;

    if (f->retry_after >= 0) {
        snprintf(retry, sizeof retry, "%lld", (long long)f->retry_after);
        h[n++] = (struct header){ "Retry-After", retry };
    }
    n = own_headers(s, h, n);
    s->status = f->status;
    s->host->reply(s->owner, f->status, h, n, body);
}

void answer_failure(struct stream *s, struct failure *f)
{
    struct buf body = BUF_EMPTY;

    if (s->exchange_ok) {
        exchange_shape_error(&s->exchange, f, trace_error_hook, s);
        exchange_error_body(&s->exchange, f, &body);
    } else {
        buf_puts(&body, "{\"error\":");
        json_put_string(&body, f->message, strlen(f->message));
        buf_puts(&body, ",\"code\":");
        json_put_string(&body, f->code, strlen(f->code));
        buf_putc(&body, '}');
    }
    if (!s->head_sent) {
        reply_failure(s, f, &body);
    } else {
        buf_puts(&s->out, "data: ");
        buf_move(&s->out, &body);
        buf_puts(&s->out, "\n\n");
        answer_flush(s);
        s->host->end(s->owner);
    }
    buf_free(&body);
}
