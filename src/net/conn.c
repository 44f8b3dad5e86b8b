#include "net/conn.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "wire/ip.h"

#define PIPELINE_MAX (64 * 1024)                       /* unread bytes kept while an answer runs */
#define LINGER_MS 1000
#define LINGER_BYTES (64 * 1024)
#define UNSENT_MAX (64 * 1024)                         /* what the kernel may keep unsent for us: the rest we can still count and hold */

static uint64_t now(const struct conn *c) { return uv_now(c->server->loop); }

/* --- ends ------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    struct server *s = c->server;

    buf_free(&c->sending);
    free(c);
    server_conn_closed(s);
}

void conn_kill(struct conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    list_remove(&c->link);
    list_remove(&c->dirty);
    request_free(c);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->payload);
    c->server->n_conns--;
    metrics_add(c->server->metrics, METRIC_connections_open, -1);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void conn_lost(struct conn *c)
{
    void (*on_gone)(void *) = c->server->events.on_gone;
    void *owner = c->state == CONN_ANSWER ? c->owner : NULL;

    conn_kill(c);
    if (owner)
        on_gone(owner);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = req->handle->data;

    if (status < 0 && c->state == CONN_LINGER)
        conn_kill(c);
}

static void begin_linger(struct conn *c)
{
    c->state = CONN_LINGER;
    c->deadline = now(c) + LINGER_MS;
    if (c->eof || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        conn_kill(c);
}

/* --- bytes in --------------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = h->data;

    (void)suggested;
    *buf = uv_buf_init(c->server->read_buffer, sizeof c->server->read_buffer);
}

static void read_head(struct conn *c)
{
    size_t used = 0;
    enum head_verdict v;

    if (c->in.len > 0 && c->guarded == 0 && !c->fresh)
        c->deadline = now(c) + c->server->limits.head_ms;   /* the first byte of a next request */
    v = head_feed(&c->guard, c->in.data + c->guarded, c->in.len - c->guarded, &used);
    c->guarded += used;
    switch (v) {
    case HEAD_MORE:
        return;
    case HEAD_DONE:
        used = c->guarded;
        c->guarded = 0;
        c->fresh = false;
        head_init(&c->guard, c->server->limits.head_bytes);
        request_read_head(c, used);
        return;
    case HEAD_TARGET_TOO_LONG:
        answer_refuse(c, 414, "target_too_long", c->guard.why);
        return;
    case HEAD_TOO_LARGE:
        answer_refuse(c, 431, "head_too_large", c->guard.why);
        return;
    case HEAD_BAD:
        answer_refuse(c, 400, "bad_request", c->guard.why);
        return;
    }
}

void conn_process(struct conn *c)
{
    if (c->state == CONN_HEAD && c->in.len > c->guarded)
        read_head(c);
    if (c->state == CONN_ANSWER && c->body_state == BODY_READING)
        request_read_body(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void start_reading(struct conn *c)
{
    if (c->reading || c->eof)
        return;
    c->reading = true;
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_end_of_input(struct conn *c, ssize_t n)
{
    c->eof = true;
    c->reading = false;
    uv_read_stop((uv_stream_t *)&c->tcp);
    bool answer_on_its_way = n == UV_EOF && (c->state == CONN_DONE || c->state == CONN_CLOSING);
    if (answer_on_its_way)
        c->keep = false;                               /* a half-closed client still gets its complete answer */
    else
        conn_lost(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (n == 0)
        return;
    if (n < 0) {
        on_end_of_input(c, n);
        return;
    }
    if (c->state == CONN_LINGER || c->state == CONN_CLOSING) {
        c->dropped += (size_t)n;
        if (c->dropped > LINGER_BYTES && c->state == CONN_LINGER)
            conn_kill(c);
        return;
    }
    buf_append(&c->in, buf->base, (size_t)n);
    if (c->in.len > PIPELINE_MAX && c->state == CONN_ANSWER && (c->body_state == BODY_NONE || c->body_state == BODY_COMPLETE)) {
        conn_lost(c);                                  /* nobody pipelines that much; not to read on would hide that the client leaves */
        return;
    }
    if (c->in.len > PIPELINE_MAX && (c->state == CONN_DONE || (c->state == CONN_ANSWER && c->body_state != BODY_READING))) {
        c->reading = false;
        uv_read_stop(stream);
    }
    conn_process(c);
}

void conn_read_body(struct conn *c)
{
    const char *expect = http_header(&c->request, "expect");

    assert(c->state == CONN_ANSWER);
    c->body_state = c->body_state == BODY_UNREAD ? BODY_READING : BODY_COMPLETE;
    if (c->body_state == BODY_READING) {
        c->deadline = now(c) + c->server->limits.body_ms;
        if (expect && c->request.minor == 1 && c->in.len == 0)
            buf_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    } else {
        c->body_owed = true;
    }
    server_dirty(c);
}

/* --- bytes out -------------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status);

/* The kernel took all it wanted: the rest waits with libuv. */
static void send_rest(struct conn *c)
{
    buf_move(&c->sending, &c->out);
    uv_buf_t b = uv_buf_init(c->sending.data, (unsigned)c->sending.len);
    c->progress_at = now(c);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0)
        conn_lost(c);
}

static void next_request(struct conn *c)
{
    c->state = CONN_HEAD;
    c->guarded = 0;
    c->head_only = false;
    head_init(&c->guard, c->server->limits.head_bytes);
    c->deadline = now(c) + (c->in.len ? c->server->limits.head_ms : c->server->limits.idle_ms);
    start_reading(c);
    conn_process(c);
}

/* What was waiting for the bytes to leave. May free. */
static void after_flush(struct conn *c)
{
    if (c->state == CONN_ANSWER && c->body_owed) {
        c->body_owed = false;
        c->server->events.on_body(c->owner, c->body.data, c->body.len);
    } else if (c->state == CONN_ANSWER && c->body_state == BODY_READING) {
        start_reading(c);
        request_read_body(c);
    } else if (c->state == CONN_ANSWER && c->want_drain && conn_waiting(c) <= c->server->limits.low_water) {
        c->want_drain = false;
        c->server->events.on_drain(c->owner);
    } else if (c->state == CONN_DONE && c->keep && !c->server->stopped) {
        if (conn_waiting(c) == 0)                      /* not before the last byte has left: till then it is neither idle nor may it ask for more */
            next_request(c);
    } else if (c->state == CONN_DONE || c->state == CONN_CLOSING) {
        c->state = CONN_CLOSING;
        if (conn_waiting(c) == 0)
            begin_linger(c);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;

    if (c->state == CONN_DEAD)
        return;
    buf_free(&c->sending);
    if (status < 0) {
        conn_lost(c);
        return;
    }
    server_dirty(c);
}

void conn_flush(struct conn *c)
{
    answer_frame(c);
    if (c->out.len > 0 && c->sending.len == 0) {
        uv_buf_t b = uv_buf_init(c->out.data, (unsigned)c->out.len);
        int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
        if (n < 0 && n != UV_EAGAIN) {
            conn_lost(c);
            return;
        }
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
        if (c->out.len > 0)
            send_rest(c);
    }
    if (c->state != CONN_DEAD)
        after_flush(c);
}

/* --- clocks ----------------------------------------------------------------------------------------------------- */

/* Bytes wait and the kernel took none for a while. */
static bool is_stalled(struct conn *c, uint64_t t)
{
    size_t queue = c->tcp.write_queue_size;

    if (queue != c->queue_seen || queue == 0) {
        c->queue_seen = queue;
        c->progress_at = t;
        return false;
    }
    return t - c->progress_at >= c->server->limits.stall_ms;
}

void conn_check_clock(struct conn *c, uint64_t t)
{
    if (is_stalled(c, t)) {
        conn_lost(c);
        return;
    }
    if (c->deadline == 0 || t < c->deadline)
        return;
    c->deadline = 0;
    if (c->state == CONN_HEAD && c->in.len > 0) {
        answer_refuse(c, 408, "request_timeout", "the request head did not arrive in time");
    } else if (c->state == CONN_ANSWER && c->body_state == BODY_READING) {
        void *owner = c->owner;
        answer_refuse(c, 408, "request_timeout", "the request body did not arrive in time");
        if (owner)
            c->server->events.on_gone(owner);
    } else {
        conn_kill(c);                                  /* idle, or lingered long enough */
    }
}

/* --- birth ------------------------------------------------------------------------------------------------------ */

static void read_address(struct conn *c)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    char text[INET6_ADDRSTRLEN] = "";
    struct ip ip;

    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &len) != 0)
        return;
    if (a.ss_family == AF_INET)
        uv_ip4_name((struct sockaddr_in *)&a, text, sizeof text);
    else
        uv_ip6_name((struct sockaddr_in6 *)&a, text, sizeof text);
    if (ip_parse(&ip, text) == 0)
        ip_print(&ip, c->ip);
}

void conn_accept(struct server *s)
{
    struct conn *c = mem_alloc(sizeof *c);
    uv_os_fd_t fd;
    int unsent = UNSENT_MAX;

    c->server = s;
    c->state = CONN_HEAD;
    c->fresh = true;
    uv_tcp_init(s->loop, &c->tcp);
    c->tcp.data = c;
    list_init(&c->dirty);
    list_append(&s->conns, &c->link);
    s->n_conns++;
    s->handles++;
    metrics_add(s->metrics, METRIC_connections_total, 1);
    metrics_add(s->metrics, METRIC_connections_open, 1);
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&c->tcp) != 0) {
        conn_kill(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    read_address(c);
    head_init(&c->guard, s->limits.head_bytes);
    c->deadline = now(c) + s->limits.head_ms;
    start_reading(c);
}
