/* Connections to Redis servers on libuv.
 *
 * The happy path: redis_start finds an idle connection to the same place, or makes one (name -> connect -> login); send() writes the command; on_read gathers
 * until the reply is whole; reply_is_whole() leaves the connection idle and tells the owner. Whatever else happens ends in fail(), which drops the connection.
 */
#include "net/redis.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/secret.h"
#include "wire/resp.h"

#define IDLE_MOST 64                                   /* connections of a pool that wait to be used again ... */
#define IDLE_MS 30000                                  /* ... and how long */
#define READ_SIZE 65536

struct redis_pool {
    uv_loop_t *loop;
    struct list links;                                 /* all that are not being closed; those used last at the end */
    unsigned idle, open;                               /* open: also those being closed */
    bool closing;
    char bytes[READ_SIZE];                             /* what was read last */
};

enum stage { NAME, CONNECT, LOGIN, READY };

struct link {                                          /* a connection */
    struct list in_pool;
    struct redis_pool *pool;
    enum stage stage;
    struct redis *asks;                                /* the one command that is on it; NULL: idle */
    char *host, *login;
    int port;
    size_t login_len;
    unsigned login_left;                               /* commands of it that are not answered yet */
    uv_getaddrinfo_t name;
    uv_connect_t connect;
    struct addrinfo *found, *next;                     /* addresses; the one to try next */
    uv_tcp_t *tcp;                                     /* frees itself */
    uv_timer_t clock;
    struct buf in;                                     /* what has come of the reply that is awaited */
    struct resp_scan scan;
    int busy;                                          /* the clock, and requests that libuv still knows */
    bool closing;
};

struct redis {
    struct link *link;
    redis_done *on_done;
    void *owner;
    struct buf command;
    size_t max_reply;
};

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void let_go(struct link *l)
{
    struct redis_pool *p = l->pool;

    if (--l->busy > 0)
        return;
    buf_free(&l->in);
    uv_freeaddrinfo(l->found);
    free(l->host);
    free(l->login);
    free(l);
    if (--p->open == 0 && p->closing)
        free(p);
}

static void on_clock_closed(uv_handle_t *h) { let_go(h->data); }
static void on_tcp_closed(uv_handle_t *h) { free(h); }

static void close_tcp(struct link *l)
{
    if (l->tcp)
        uv_close((uv_handle_t *)l->tcp, on_tcp_closed);
    l->tcp = NULL;
}

static void drop(struct link *l)
{
    l->closing = true;
    list_remove(&l->in_pool);
    if (l->stage == READY && !l->asks)
        l->pool->idle--;
    if (l->stage == NAME)
        uv_cancel((uv_req_t *)&l->name);               /* its callback comes all the same */
    close_tcp(l);
    uv_close((uv_handle_t *)&l->clock, on_clock_closed);
}

static void destroy(struct redis *r)
{
    buf_free(&r->command);
    free(r);
}

static void tell(struct redis *r, enum redis_end end, struct buf *reply, const char *text)
{
    struct buf sentence = BUF_EMPTY, nothing = BUF_EMPTY;
    redis_done *on_done = r->on_done;
    void *owner = r->owner;

    destroy(r);
    buf_puts(&sentence, text);
    secret_scrub(&sentence);
    on_done(owner, end, reply ? reply : &nothing, buf_cstr(&sentence));
    buf_free(&sentence);
}

/* The connection is of no use any more; whose command was on it is told. */
static void fail(struct link *l, enum redis_end end, const char *text)
{
    struct redis *r = l->asks;

    drop(l);
    l->asks = NULL;
    if (r)
        tell(r, end, NULL, text);
}

/* --- commands and replies --------------------------------------------------------------------------------------- */

struct outgoing {                                      /* lives until it is written, whatever becomes of its connection */
    uv_write_t write;
    struct buf bytes;
};

static void on_written(uv_write_t *w, int failed)
{
    struct outgoing *o = (struct outgoing *)w;         /* its first member */

    (void)failed;                                      /* then reading fails too */
    buf_free(&o->bytes);
    free(o);
}

static int write_out(struct link *l, struct buf *bytes)   /* takes them */
{
    struct outgoing *o = mem_alloc(sizeof *o);

    buf_move(&o->bytes, bytes);
    uv_buf_t b = uv_buf_init(o->bytes.data, (unsigned)o->bytes.len);
    int failed = uv_write(&o->write, (uv_stream_t *)l->tcp, &b, 1, on_written);
    if (failed)
        on_written(&o->write, failed);
    return failed;
}

static int send_command(struct link *l)
{
    l->in.len = 0;
    l->scan = (struct resp_scan){ 0 };
    return write_out(l, &l->asks->command);
}

static void on_idle_long(uv_timer_t *t) { drop(t->data); }

static void reply_is_whole(struct link *l)
{
    struct redis *r = l->asks;
    struct buf reply = BUF_EMPTY;

    buf_move(&reply, &l->in);
    l->asks = NULL;
    l->pool->idle++;
    if (l->pool->idle > IDLE_MOST) {
        drop(l);
    } else {
        list_remove(&l->in_pool);
        list_append(&l->pool->links, &l->in_pool);
        uv_timer_start(&l->clock, on_idle_long, IDLE_MS, 0);
    }
    tell(r, REDIS_OK, &reply, "");
    buf_free(&reply);
}

static void login_answered(struct link *l)
{
    if (l->in.data[0] == '-') {
        char why[256];
        snprintf(why, sizeof why, "it does not let us in: %.*s", (int)(l->scan.at - 3), l->in.data + 1);
        fail(l, REDIS_CONNECT, why);
        return;
    }
    buf_consume(&l->in, l->scan.at);
    l->scan = (struct resp_scan){ 0 };
    if (--l->login_left > 0)
        return;
    uv_timer_stop(&l->clock);
    l->stage = READY;
    int failed = l->in.len > 0 ? UV_EPROTO : send_command(l);
    if (failed)
        fail(l, failed == UV_EPROTO ? REDIS_PROTOCOL : REDIS_RESET, failed == UV_EPROTO ? "more replies than commands" : uv_strerror(failed));
}

static void on_bytes(struct link *l, const char *bytes, size_t len)
{
    if (!l->asks) {                                    /* idle: it is closing with a last word, or confused */
        drop(l);
        return;
    }
    if (l->in.len + len > l->asks->max_reply + 64) {   /* the frame around a value is not counted too closely */
        fail(l, REDIS_TOO_LARGE, "its reply is longer than max_body");
        return;
    }
    buf_append(&l->in, bytes, len);
    while (!l->closing && l->in.len > 0) {
        enum stage stage = l->stage;
        int got = resp_scan(&l->scan, l->in.data, l->in.len);
        if (got == 0)
            return;
        if (got < 0 || (stage == READY && l->in.len > l->scan.at)) {
            fail(l, REDIS_PROTOCOL, got < 0 ? "it does not speak Redis's protocol, or lists in lists too deep" : "more replies than commands");
            return;
        }
        if (stage == READY) {
            reply_is_whole(l);
            return;
        }
        login_answered(l);
        if (l->closing || l->stage == READY)
            return;
    }
}

static void on_room(uv_handle_t *h, size_t wish, uv_buf_t *ret)
{
    struct link *l = h->data;

    (void)wish;
    *ret = uv_buf_init(l->pool->bytes, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct link *l = stream->data;

    if (n > 0)
        on_bytes(l, b->base, (size_t)n);
    else if (n < 0)
        fail(l, REDIS_RESET, n == UV_EOF ? "it closed the connection" : uv_strerror((int)n));
}

/* --- a new connection ------------------------------------------------------------------------------------------- */

static void on_connect_late(uv_timer_t *t) { fail(t->data, REDIS_CONNECT_TIMEOUT, "it was not reached in time"); }

static void begin_login(struct link *l)
{
    struct buf login = BUF_EMPTY;

    uv_tcp_nodelay(l->tcp, 1);
    uv_tcp_keepalive(l->tcp, 1, 60);
    uv_read_start((uv_stream_t *)l->tcp, on_room, on_read);
    l->stage = l->login_left > 0 ? LOGIN : READY;
    if (l->stage == READY)
        uv_timer_stop(&l->clock);
    buf_append(&login, l->login, l->login_len);
    int failed = l->stage == READY ? send_command(l) : write_out(l, &login);
    if (failed)
        fail(l, REDIS_RESET, uv_strerror(failed));
    buf_free(&login);
}

static void try_next(struct link *l, int failed);

static void on_connect(uv_connect_t *c, int failed)
{
    struct link *l = c->data;
    bool closing = l->closing;

    let_go(l);                                         /* the clock still holds it, unless it is closing */
    if (closing)
        return;
    if (failed)
        try_next(l, failed);
    else
        begin_login(l);
}

static int connect_to(struct link *l, const struct sockaddr *address)
{
    close_tcp(l);                                      /* one that failed cannot connect again */
    l->tcp = mem_alloc(sizeof *l->tcp);
    uv_tcp_init(l->pool->loop, l->tcp);
    l->tcp->data = l;
    l->stage = CONNECT;
    int failed = uv_tcp_connect(&l->connect, l->tcp, address, on_connect);
    if (!failed)
        l->busy++;
    return failed;
}

/* The next address that can be tried at all, or the end; `failed`: how the one before did. */
static void try_next(struct link *l, int failed)
{
    while (l->next) {
        const struct addrinfo *a = l->next;
        l->next = a->ai_next;
        failed = connect_to(l, a->ai_addr);
        if (!failed)
            return;
    }
    fail(l, REDIS_CONNECT, uv_strerror(failed));
}

static void on_name(uv_getaddrinfo_t *name, int failed, struct addrinfo *found)
{
    struct link *l = name->data;
    bool closing = l->closing;

    l->found = l->next = found;
    l->stage = CONNECT;
    let_go(l);
    if (!closing)
        try_next(l, failed ? failed : UV_EAI_NODATA);
}

static int open_link(struct link **ret, struct redis_pool *p, const struct redis_request *want)
{
    struct link *l = mem_alloc(sizeof *l);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC };
    char port[8];

    l->pool = p;
    list_init(&l->in_pool);
    l->host = mem_string(want->host);
    l->port = want->port;
    l->login = mem_copy(want->login ? want->login : "", want->login_len);
    l->login_len = want->login_len;
    l->login_left = want->login_replies;
    l->name.data = l->connect.data = l->clock.data = l;
    uv_timer_init(p->loop, &l->clock);
    l->busy = 1;
    p->open++;
    list_append(&p->links, &l->in_pool);
    snprintf(port, sizeof port, "%d", want->port);
    int failed = uv_getaddrinfo(p->loop, &l->name, on_name, l->host, port, &hints);
    if (failed) {
        l->stage = CONNECT;
        drop(l);
        return failed;
    }
    l->busy++;
    uv_timer_start(&l->clock, on_connect_late, want->connect_ms, 0);
    *ret = l;
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static bool leads_to(const struct link *l, const struct redis_request *want)
{
    return l->stage == READY && !l->asks && l->port == want->port && strcmp(l->host, want->host) == 0 && l->login_len == want->login_len &&
           (want->login_len == 0 || memcmp(l->login, want->login, want->login_len) == 0);
}

static struct link *idle_link(struct redis_pool *p, const struct redis_request *want)
{
    for (struct list *it = p->links.prev; it != &p->links; it = it->prev)   /* the one used last is the warmest; the others may grow old */
        if (leads_to(list_of(it, struct link, in_pool), want))
            return list_of(it, struct link, in_pool);
    return NULL;
}

int redis_start(struct redis **ret, struct redis_pool *p, const struct redis_request *want, redis_done *on_done, void *owner)
{
    struct redis *r = mem_alloc(sizeof *r);
    struct link *l = idle_link(p, want);
    int failed = 0;

    r->on_done = on_done;
    r->owner = owner;
    r->max_reply = want->max_reply;
    buf_append(&r->command, want->command, want->command_len);
    if (l) {
        uv_timer_stop(&l->clock);
        p->idle--;
        l->asks = r;
        failed = send_command(l);
        if (failed)
            drop(l);
    } else {
        failed = open_link(&l, p, want);
    }
    if (failed) {
        destroy(r);
        return failed;
    }
    l->asks = r;
    r->link = l;
    *ret = r;
    return 0;
}

void redis_cancel(struct redis *r)
{
    drop(r->link);
    r->link->asks = NULL;
    destroy(r);
}

/* --- the pool --------------------------------------------------------------------------------------------------- */

struct redis_pool *redis_pool_open(uv_loop_t *loop)
{
    struct redis_pool *p = mem_alloc(sizeof *p);

    p->loop = loop;
    list_init(&p->links);
    return p;
}

void redis_pool_close(struct redis_pool *p)
{
    p->closing = true;
    p->open++;                                         /* ours, so that it outlives the loop below */
    list_each_safe(it, &p->links) {
        struct link *l = list_of(it, struct link, in_pool);
        struct redis *r = l->asks;

        drop(l);
        l->asks = NULL;
        if (r)
            destroy(r);
    }
    if (--p->open == 0)
        free(p);
}
