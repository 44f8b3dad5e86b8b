/* Joins a client's connection (net/server), an upstream's transfer (net/fetch), an alarm (uv_timer) and a stream.
 *
 * Whoever dies tells its partner first: a connection that is gone clears visit->conn, a transfer that is done clears visit->upstream. The visit
 * ends with its stream, in `closed`; its memory goes when the alarm's handle is closed.
 */
#include "serve/visit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "net/fetch.h"
#include "net/server.h"
#include "script/vm.h"
#include "serve/generation.h"
#include "serve/watches.h"
#include "stream/stream.h"
#include "wire/date.h"
#include "wire/ip.h"

#define LINGER_MS 2000
#define LINGER_BYTES (64 * 1024)
#define UPSTREAM_HEADERS_MAX 128

struct upstream {
    struct list link;                                  /* in ground->lingering once its answer is complete */
    struct visit *visit;                               /* NULL: lingering */
    unsigned which;                                    /* of its stream's upstreams */
    struct fetch *fetch;
    uint64_t since;                                    /* lingering since */
    size_t bytes;                                      /* received while lingering */
};

struct visit {
    struct list link;
    struct visit_ground *ground;
    struct generation *generation;                     /* the one it began with */
    struct conn *conn;                                 /* NULL: the client's side is over */
    struct stream *stream;
    struct upstream *upstream[UPSTREAMS_MAX];
    uv_timer_t alarm;
    const char *traced;                                /* its route's name, when its time line is kept; else NULL */
};

/* Scripts see the loop's time. */
static struct stream *entered(struct visit *v)
{
    uint64_t now = uv_now(v->ground->loop);

    vm_set_now(v->generation->vm, now, (int64_t)now + v->ground->unix_offset);
    return v->stream;
}

/* --- the upstream's news ---------------------------------------------------------------------------------------- */

static enum reason reason_of(enum fetch_end end)
{
    static const enum reason reasons[] = {
        [FETCH_OK] = REASON_DONE,
        [FETCH_BAD_URL] = REASON_CONNECT_FAILED,
        [FETCH_RESOLVE] = REASON_RESOLVE_FAILED,
        [FETCH_CONNECT] = REASON_CONNECT_FAILED,
        [FETCH_CONNECT_TIMEOUT] = REASON_CONNECT_TIMEOUT,
        [FETCH_TLS] = REASON_TLS_FAILED,
        [FETCH_RESET] = REASON_RESET,
        [FETCH_DECODE] = REASON_DECODE_FAILED,
        [FETCH_PROTOCOL] = REASON_PROTOCOL,
    };
    return reasons[end];
}

static void on_head(void *owner, int status, const struct header *headers, size_t n)
{
    struct upstream *u = owner;
    struct header plain[UPSTREAM_HEADERS_MAX];
    char seconds[24];

    if (!u->visit)
        return;
    if (n > UPSTREAM_HEADERS_MAX)
        n = UPSTREAM_HEADERS_MAX;
    memcpy(plain, headers, n * sizeof *plain);
    for (size_t i = 0; i < n; i++) {                   /* the machine knows no dates */
        if (strcasecmp(plain[i].name, "retry-after") != 0)
            continue;
        snprintf(seconds, sizeof seconds, "%lld", (long long)date_retry_after(plain[i].value, time(NULL)));
        plain[i].value = seconds;
    }
    stream_upstream_head(entered(u->visit), u->which, status, plain, n);
}

static void drop(struct upstream *u)
{
    list_remove(&u->link);
    free(u);
}

static void on_bytes(void *owner, const char *bytes, size_t len)
{
    struct upstream *u = owner;

    if (u->visit) {
        stream_upstream_bytes(entered(u->visit), u->which, bytes, len);
        return;
    }
    u->bytes += len;
    if (u->bytes > LINGER_BYTES) {
        fetch_cancel(u->fetch);
        drop(u);
    }
}

static void on_done(void *owner, enum fetch_end end, const char *text)
{
    struct upstream *u = owner;
    struct visit *v = u->visit;
    unsigned which = u->which;

    drop(u);
    if (!v)
        return;
    v->upstream[which] = NULL;
    stream_upstream_end(entered(v), which, reason_of(end), text);
}

static const struct fetch_events fetch_news = { on_head, on_bytes, on_done };

/* --- what the stream asks for ----------------------------------------------------------------------------------- */

/* Not the loop's time, which stands still while a script runs: what a script takes belongs to its stream. */
static uint64_t host_now(void *owner)
{
    (void)owner;
    return uv_hrtime() / 1000000;
}

static void host_read_body(void *owner)
{
    struct visit *v = owner;
    conn_read_body(v->conn);
}

static void host_reply(void *owner, int status, const struct header *headers, size_t n, struct buf *body)
{
    struct visit *v = owner;
    struct conn *c = v->conn;

    v->conn = NULL;
    conn_reply(c, status, headers, n, body);
}

static void host_head(void *owner, int status, const struct header *headers, size_t n)
{
    struct visit *v = owner;
    conn_head(v->conn, status, headers, n);
}

static bool host_write(void *owner, struct buf *bytes)
{
    struct visit *v = owner;
    return conn_write(v->conn, bytes);
}

static void host_end(void *owner)
{
    struct visit *v = owner;
    struct conn *c = v->conn;

    v->conn = NULL;
    conn_end(c);
}

static int host_attempt(void *owner, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms)
{
    struct visit *v = owner;
    struct upstream *u = mem_alloc(sizeof *u);
    struct fetch_request request = {
        .method = "POST",
        .url = want->url,
        .headers = want->headers,
        .n_headers = want->n_headers,
        .body = want->body.data,
        .body_len = want->body.len,
        .ca = ca,
        .connect_ms = connect_ms,
    };

    list_init(&u->link);
    u->visit = v;
    u->which = which;
    if (fetch_start(&u->fetch, v->ground->ways.fetch, &request, &fetch_news, u) != 0) {
        free(u);
        return -1;
    }
    v->upstream[which] = u;
    return 0;
}

static void host_cancel(void *owner, unsigned which)
{
    struct visit *v = owner;
    struct upstream *u = v->upstream[which];

    v->upstream[which] = NULL;
    if (!u)
        return;
    fetch_cancel(u->fetch);
    drop(u);
}

/* The transfer's last bytes ("0\r\n\r\n") let its connection serve again. */
static void host_finish(void *owner, unsigned which)
{
    struct visit *v = owner;
    struct upstream *u = v->upstream[which];

    v->upstream[which] = NULL;
    if (!u)
        return;
    u->visit = NULL;
    u->since = uv_now(v->ground->loop);
    list_append(&v->ground->lingering, &u->link);
    fetch_release(u->fetch);
}

static void on_answer(void *owner, struct service_call *w)
{
    stream_service_answer(entered(owner), w);
}

static int host_service(void *owner, struct service_call *w)
{
    struct visit *v = owner;
    return errand_start(&v->ground->ways, w, on_answer, v);
}

static void host_service_cancel(void *owner, struct service_call *w)
{
    (void)owner;
    errand_cancel(w);
}

static void host_hold(void *owner, unsigned which)
{
    struct visit *v = owner;
    if (v->upstream[which])
        fetch_hold(v->upstream[which]->fetch);
}

static void host_release(void *owner, unsigned which)
{
    struct visit *v = owner;
    if (v->upstream[which])
        fetch_release(v->upstream[which]->fetch);
}

static void on_alarm(uv_timer_t *t)
{
    struct visit *v = t->data;
    stream_tick(entered(v));
}

static void host_wake(void *owner, uint64_t at)
{
    struct visit *v = owner;
    uint64_t now = uv_now(v->ground->loop);

    if (at == 0)
        uv_timer_stop(&v->alarm);
    else
        uv_timer_start(&v->alarm, on_alarm, at > now ? at - now : 0, 0);
}

static void on_alarm_closed(uv_handle_t *h)
{
    free(h->data);
}

/* Its time line goes to each who looks for it. */
static void tell_trace(struct visit *v)
{
    const struct watches *w = v->ground->watches;
    struct buf key = BUF_EMPTY, text = BUF_EMPTY;
    const char *name = stream_key(v->stream, &key) ? buf_cstr(&key) : NULL;

    for (size_t i = 0; w && i < w->n; i++) {
        struct buf copy = BUF_EMPTY;

        if (!watch_matches(&w->all[i], v->traced, name, key.len))
            continue;
        if (text.len == 0)
            stream_trace(v->stream, name, &text);
        buf_append(&copy, text.data, text.len);
        v->ground->on_trace(v->ground->trace_owner, w->all[i].id, &copy);
    }
    buf_free(&key);
    buf_free(&text);
}

static void host_closed(void *owner)
{
    struct visit *v = owner;

    assert(!v->conn && !v->upstream[0] && !v->upstream[1]);
    if (v->traced)
        tell_trace(v);
    stream_free(v->stream);
    v->stream = NULL;
    v->generation->users--;
    list_remove(&v->link);
    uv_close((uv_handle_t *)&v->alarm, on_alarm_closed);
}

static const struct stream_host network = {
    .now = host_now,
    .read_body = host_read_body,
    .reply = host_reply,
    .head = host_head,
    .write = host_write,
    .end = host_end,
    .attempt = host_attempt,
    .cancel = host_cancel,
    .finish = host_finish,
    .hold = host_hold,
    .release = host_release,
    .service = host_service,
    .service_cancel = host_service_cancel,
    .wake = host_wake,
    .closed = host_closed,
};

/* --- the client's news ------------------------------------------------------------------------------------------ */

void visit_on_body(void *visit, const char *bytes, size_t len)
{
    stream_body(entered(visit), bytes, len);
}

void visit_on_drain(void *visit)
{
    stream_drained(entered(visit));
}

void visit_on_gone(void *visit)
{
    struct visit *v = visit;

    v->conn = NULL;
    stream_client_gone(entered(v));
}

/* --- births and deaths ------------------------------------------------------------------------------------------ */

static uint64_t random_next(uint64_t *state)            /* xorshift64*: ids need to differ, not to be secret */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

/* The address that policies and limits go by: the peer's, or what trusted proxies say of it. */
static void client_address(const struct gateway *g, const struct http_request *r, char out[46])
{
    struct buf forwarded = BUF_EMPTY;
    struct ip peer, client;

    snprintf(out, 46, "%s", r->ip);
    if (g->n_trusted == 0 || ip_parse(&peer, r->ip) != 0)
        return;
    for (size_t i = 0; i < r->n_headers; i++) {
        if (strcasecmp(r->headers[i].name, "x-forwarded-for") != 0)
            continue;
        if (forwarded.len)
            buf_puts(&forwarded, ", ");
        buf_puts(&forwarded, r->headers[i].value);
    }
    if (forwarded.len) {
        ip_client(&client, &peer, buf_cstr(&forwarded), g->trusted, g->n_trusted);
        ip_print(&client, out);
    }
    buf_free(&forwarded);
}

void visit_start(struct visit_ground *g, struct generation *begins, struct conn *c, const struct route *r, const struct front *f, const struct http_request *request)
{
    struct visit *v = mem_alloc(sizeof *v);
    char id[25], ip[46];
    struct stream_facts facts = { .id = id, .ip = ip, .front = f, .request = request, .trace = watches_may(g->watches, r->name) };

    v->ground = g;
    v->generation = begins;
    v->generation->users++;
    v->conn = c;
    v->traced = facts.trace ? r->name : NULL;
    uv_timer_init(g->loop, &v->alarm);
    v->alarm.data = v;
    list_append(&g->visits, &v->link);
    conn_own(c, v);
    snprintf(id, sizeof id, "%016llx%08llx", (unsigned long long)random_next(&g->random), (unsigned long long)random_next(&g->random) >> 32);
    client_address(v->generation->gateway, request, ip);
    entered(v);
    stream_open(&v->stream, &network, v, v->generation->gateway, r, &facts, g->metrics);
}

void visit_shutdown_all(struct visit_ground *g, const struct generation *of)
{
    list_each_safe(it, &g->visits) {
        struct visit *v = list_of(it, struct visit, link);

        if (!of || v->generation == of)
            stream_shutdown(v->stream, of ? REASON_REPLACED : REASON_SHUTTING_DOWN);
    }
}

void visit_sweep(struct visit_ground *g, bool all)
{
    uint64_t now = uv_now(g->loop);

    list_each_safe(it, &g->lingering) {
        struct upstream *u = list_of(it, struct upstream, link);
        if (!all && now - u->since < LINGER_MS)
            continue;
        fetch_cancel(u->fetch);
        drop(u);
    }
}
