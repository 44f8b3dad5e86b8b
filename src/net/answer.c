/* Answers become bytes. Nothing is written here: bytes gather in the connection and leave at the end of the loop's turn (conn_flush). */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/conn.h"

static void put_header(struct buf *out, const char *name, const char *value)
{
    if (strpbrk(name, "\r\n:") || strpbrk(value, "\r\n"))
        return;                                        /* a header that would forge another is not sent */
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_puts(out, value);
    buf_puts(out, "\r\n");
}

static void put_head(struct conn *c, int status, const struct header *headers, size_t n)
{
    buf_printf(&c->out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    for (size_t i = 0; i < n; i++)
        put_header(&c->out, headers[i].name, headers[i].value);
    put_header(&c->out, "Date", server_date(c->server));
    put_header(&c->out, "Connection", c->keep ? "keep-alive" : "close");
}

static void request_over(struct conn *c)
{
    bool unread = c->body_state == BODY_UNREAD || c->body_state == BODY_READING;

    if (unread)
        c->keep = false;                               /* what follows on the wire is still that body */
    c->state = CONN_DONE;
    c->want_drain = false;
    request_free(c);
    server_dirty(c);
}

void conn_reply(struct conn *c, int status, const struct header *headers, size_t n, struct buf *body)
{
    bool bodiless = status == 204 || status == 304 || status < 200;
    char length[24];

    assert(c->state == CONN_ANSWER && !c->streaming);
    if (c->body_state == BODY_UNREAD || c->body_state == BODY_READING)
        c->keep = false;
    put_head(c, status, headers, n);
    if (!bodiless) {
        snprintf(length, sizeof length, "%zu", body->len);
        put_header(&c->out, "Content-Length", length);
    }
    buf_puts(&c->out, "\r\n");
    if (!bodiless && !c->head_only)
        buf_append(&c->out, body->data, body->len);
    buf_free(body);
    request_over(c);
}

void conn_head(struct conn *c, int status, const struct header *headers, size_t n)
{
    assert(c->state == CONN_ANSWER && !c->streaming);
    c->streaming = true;
    c->chunked = c->request.minor == 1;
    if (!c->chunked || c->body_state == BODY_UNREAD || c->body_state == BODY_READING)
        c->keep = false;
    put_head(c, status, headers, n);
    if (c->chunked)
        put_header(&c->out, "Transfer-Encoding", "chunked");
    buf_puts(&c->out, "\r\n");
    server_dirty(c);
}

void answer_frame(struct conn *c)
{
    if (c->payload.len == 0)
        return;
    if (!c->chunked) {
        buf_move(&c->out, &c->payload);
        return;
    }
    buf_printf(&c->out, "%zx\r\n", c->payload.len);
    buf_append(&c->out, c->payload.data, c->payload.len);
    buf_puts(&c->out, "\r\n");
    buf_consume(&c->payload, c->payload.len);
}

bool conn_write(struct conn *c, struct buf *bytes)
{
    assert(c->state == CONN_ANSWER && c->streaming);
    if (c->head_only)
        buf_free(bytes);
    else
        buf_move(&c->payload, bytes);
    server_dirty(c);
    if (conn_waiting(c) < c->server->limits.high_water)
        return true;
    c->want_drain = true;
    return false;
}

void conn_end(struct conn *c)
{
    assert(c->state == CONN_ANSWER && c->streaming);
    answer_frame(c);
    if (c->chunked && !c->head_only)
        buf_puts(&c->out, "0\r\n\r\n");
    request_over(c);
}

void conn_abort(struct conn *c)
{
    c->owner = NULL;
    conn_kill(c);
}

size_t conn_waiting(const struct conn *c)
{
    return c->payload.len + c->out.len + c->tcp.write_queue_size;
}

void conn_own(struct conn *c, void *request_owner)
{
    c->owner = request_owner;
}

void answer_refuse(struct conn *c, int status, const char *code, const char *why)
{
    struct header h[] = { { "Content-Type", "application/json; charset=utf-8" }, { "Cache-Control", "no-store" } };
    struct buf body = BUF_EMPTY;

    metrics_add(c->server->metrics, METRIC_requests_bad, 1);
    buf_printf(&body, "{\"error\":\"%s\",\"code\":\"%s\"}", why, code);
    c->state = CONN_ANSWER;
    c->streaming = false;
    c->keep = false;
    conn_reply(c, status, h, 2, &body);
    buf_free(&c->in);                                  /* never parse on */
    c->guarded = 0;
}
