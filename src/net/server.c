#include "net/server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/conn.h"

#define BACKLOG 1024
#define CLOCK_MS 100

/* --- one flush a turn ------------------------------------------------------------------------------------------- */

static void on_busy(uv_idle_t *h) { (void)h; }

void server_dirty(struct conn *c)
{
    if (!list_empty(&c->dirty))
        return;
    list_append(&c->server->dirty, &c->dirty);
    uv_idle_start(&c->server->busy, on_busy);
}

/* What becomes dirty meanwhile (the next pipelined request) waits for the next turn, so one connection cannot keep the loop. */
static void flush_all(struct server *s)
{
    struct list now;

    if (list_empty(&s->dirty))
        return;
    list_init(&now);
    while (!list_empty(&s->dirty)) {
        struct list *it = s->dirty.next;
        list_remove(it);
        list_append(&now, it);
    }
    uv_idle_stop(&s->busy);
    while (!list_empty(&now)) {
        struct list *it = now.next;
        list_remove(it);
        conn_flush(list_of(it, struct conn, dirty));
    }
}

static void on_before_poll(uv_prepare_t *h) { flush_all(h->data); }
static void on_after_poll(uv_check_t *h) { flush_all(h->data); }

static void on_clock(uv_timer_t *t)
{
    struct server *s = t->data;
    uint64_t now = uv_now(s->loop);

    list_each_safe(it, &s->conns)
        conn_check_clock(list_of(it, struct conn, link), now);
}

const char *server_date(struct server *s)
{
    time_t t = time(NULL);

    if (t != s->date_at) {
        s->date_at = t;
        date_http(s->date, t);
    }
    return s->date;
}

/* --- accepting -------------------------------------------------------------------------------------------------- */

/* Not taking a connection makes libuv stop looking at the listener: at the cap others wait in the kernel's queue. */
static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;

    if (status < 0) {
        metrics_add(s->metrics, METRIC_connections_refused, 1);   /* EMFILE: libuv has dropped it with its spare descriptor */
        return;
    }
    if (s->n_conns >= s->limits.connections)
        s->waiting_accept = true;
    else
        conn_accept(s);
}

static void maybe_closed(struct server *s)
{
    if (!s->closing || s->handles > 0)
        return;
    void (*on_closed)(void *) = s->on_closed;
    void *owner = s->owner;
    free(s);
    on_closed(owner);
}

void server_conn_closed(struct server *s)
{
    s->handles--;
    if (s->waiting_accept && !s->stopped && s->n_conns < s->limits.connections) {
        s->waiting_accept = false;
        conn_accept(s);
    }
    maybe_closed(s);
}

static int bind_socket(const struct addrinfo *a, bool share)
{
    int one = 1, zero = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);   /* "::" serves both */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    int failed = uv_translate_sys_error(errno);
    close(fd);
    return failed;
}

/* A descriptor, or a negative uv code. */
static int bind_address(const char *host, int port, bool share)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found;
    char service[12];

    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host && *host ? host : "::", service, &hints, &found) != 0)
        return UV_EAI_NONAME;
    int fd = bind_socket(found, share);
    freeaddrinfo(found);
    return fd;
}

int server_probe(const char *host, int port)
{
    int fd = bind_address(host, port, false);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static void set_limits(struct server *s, const struct server_limits *want)
{
    static const struct server_limits defaults = {
        .head_bytes = 64 * 1024, .body_bytes = 1024 * 1024, .connections = 16384, .head_ms = 10000, .body_ms = 30000, .idle_ms = 75000,
        .stall_ms = 60000, .high_water = 128 * 1024, .low_water = 32 * 1024,
    };
    struct rlimit files;

#define PICK(field) s->limits.field = want && want->field ? want->field : defaults.field
    PICK(head_bytes);
    PICK(body_bytes);
    PICK(connections);
    PICK(head_ms);
    PICK(body_ms);
    PICK(idle_ms);
    PICK(stall_ms);
    PICK(high_water);
    PICK(low_water);
#undef PICK
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {   /* a client may need an upstream, too */
        unsigned sharers = want && want->sharers ? want->sharers : 1;
        unsigned most = files.rlim_cur > 128 ? (unsigned)(files.rlim_cur - 64) / 2 / sharers : 16 / sharers;
        most = most ? most : 1;
        if (s->limits.connections > most)
            s->limits.connections = most;
    }
}

static void start_handles(struct server *s)
{
    uv_prepare_init(s->loop, &s->before_poll);
    uv_check_init(s->loop, &s->after_poll);
    uv_idle_init(s->loop, &s->busy);
    uv_timer_init(s->loop, &s->clock);
    s->listener.data = s->before_poll.data = s->after_poll.data = s->busy.data = s->clock.data = s;
    s->handles = 5;
    uv_prepare_start(&s->before_poll, on_before_poll);
    uv_check_start(&s->after_poll, on_after_poll);
    uv_timer_start(&s->clock, on_clock, CLOCK_MS, CLOCK_MS);
}

static void free_server(uv_handle_t *h) { free(h->data); }

int server_open(struct server **ret, uv_loop_t *loop, const char *host, int port, bool share, const struct server_limits *limits,
                const struct server_events *events, void *owner, struct metrics *metrics)
{
    int fd = bind_address(host, port, share);

    if (fd < 0)
        return fd;
    struct server *s = mem_alloc(sizeof *s);
    s->loop = loop;
    s->events = *events;
    s->owner = owner;
    s->metrics = metrics;
    list_init(&s->conns);
    list_init(&s->dirty);
    set_limits(s, limits);
    uv_tcp_init(loop, &s->listener);
    s->listener.data = s;
    int failed = uv_tcp_open(&s->listener, fd);
    if (failed)
        close(fd);
    else
        failed = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    if (failed) {
        uv_close((uv_handle_t *)&s->listener, free_server);
        return failed;
    }
    start_handles(s);
    *ret = s;
    return 0;
}

int server_port(const struct server *s)
{
    struct sockaddr_storage a;
    int len = sizeof a;

    if (uv_tcp_getsockname(&s->listener, (struct sockaddr *)&a, &len) != 0)
        return 0;
    return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port : ((struct sockaddr_in6 *)&a)->sin6_port);
}

unsigned server_connections(const struct server *s) { return s->n_conns; }

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h)
{
    struct server *s = h->data;

    s->handles--;
    maybe_closed(s);
}

void server_stop_accepting(struct server *s)
{
    if (s->stopped)
        return;
    s->stopped = true;
    uv_close((uv_handle_t *)&s->listener, on_handle_closed);
    list_each_safe(it, &s->conns) {
        struct conn *c = list_of(it, struct conn, link);
        if (c->state == CONN_HEAD && c->in.len == 0)
            conn_kill(c);
    }
}

void server_close(struct server *s, void (*on_closed)(void *owner))
{
    server_stop_accepting(s);
    s->closing = true;
    s->on_closed = on_closed;
    list_each_safe(it, &s->conns)
        conn_lost(list_of(it, struct conn, link));
    uv_close((uv_handle_t *)&s->before_poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->after_poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->busy, on_handle_closed);
    uv_close((uv_handle_t *)&s->clock, on_handle_closed);
}
