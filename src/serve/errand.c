#include "serve/errand.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/fetch.h"
#include "net/redis.h"
#include "script/service.h"

struct errand {                                        /* w->work */
    const struct errand_ways *ways;
    struct fetch *fetch;                               /* both NULL: it waits for its turn */
    struct redis *redis;
    void (*on_answer)(void *owner, struct service_call *w);
};

static enum service_end end_of(enum fetch_end end)
{
    static const enum service_end ends[] = {
        [FETCH_OK] = SERVICE_OK,           [FETCH_BAD_URL] = SERVICE_CONNECT, [FETCH_RESOLVE] = SERVICE_CONNECT,
        [FETCH_CONNECT] = SERVICE_CONNECT, [FETCH_TLS] = SERVICE_TLS,         [FETCH_CONNECT_TIMEOUT] = SERVICE_TIMEOUT,
        [FETCH_RESET] = SERVICE_BROKEN,    [FETCH_DECODE] = SERVICE_BROKEN,   [FETCH_PROTOCOL] = SERVICE_BROKEN,
    };
    return ends[end];
}

static void on_head(void *owner, int status, const struct header *headers, size_t n)
{
    service_head(owner, status, headers, n);
}

static void finish(struct service_call *w);

static void on_bytes(void *owner, const char *bytes, size_t len)
{
    struct service_call *w = owner;
    struct errand *e = w->work;

    if (w->answer.len + len <= w->service->max_body) {
        buf_append(&w->answer, bytes, len);
        return;
    }
    w->end = SERVICE_TOO_LARGE;
    fetch_cancel(e->fetch);
    finish(w);
}

static void on_done(void *owner, enum fetch_end end, const char *text)
{
    struct service_call *w = owner;

    w->end = end_of(end);
    w->message = mem_string(text);
    finish(w);
}

static void on_reply(void *owner, enum redis_end end, struct buf *reply, const char *text)
{
    static const enum service_end ends[] = {
        [REDIS_OK] = SERVICE_OK,        [REDIS_CONNECT] = SERVICE_CONNECT,   [REDIS_CONNECT_TIMEOUT] = SERVICE_TIMEOUT,
        [REDIS_RESET] = SERVICE_BROKEN, [REDIS_PROTOCOL] = SERVICE_PROTOCOL, [REDIS_TOO_LARGE] = SERVICE_TOO_LARGE,
    };
    struct service_call *w = owner;

    w->end = ends[end];
    w->message = mem_string(text);
    buf_move(&w->answer, reply);
    finish(w);
}

static int ask_redis(struct service_call *w)
{
    const struct service *s = w->service;
    struct errand *e = w->work;
    struct redis_request request = {
        .host = s->redis.host,
        .port = s->redis.port,
        .login = s->redis.login,
        .login_len = s->redis.login_len,
        .login_replies = s->redis.login_replies,
        .command = w->body.data,
        .command_len = w->body.len,
        .max_reply = s->max_body,
        .connect_ms = s->connect_ms ? s->connect_ms : w->timeout_ms,
    };
    return redis_start(&e->redis, e->ways->redis, &request, on_reply, w);
}

static int fetch(struct service_call *w)
{
    static const struct fetch_events news = { on_head, on_bytes, on_done };
    struct errand *e = w->work;
    struct fetch_request request = {
        .method = w->method,
        .url = w->url,
        .headers = w->headers,
        .n_headers = w->n_headers,
        .body = w->has_body ? (w->body.data ? w->body.data : "") : NULL,
        .body_len = w->body.len,
        .ca = w->service->ca,
        .connect_ms = w->service->connect_ms,
    };

    return fetch_start(&e->fetch, e->ways->fetch, &request, &news, w);
}

static int begin(struct service_call *w)
{
    int failed = w->service->redis.host ? ask_redis(w) : fetch(w);

    if (failed)
        return -1;
    w->service->running++;
    return 0;
}

/* A place is free: the first in line begins. One that cannot begin stays; its time runs out by itself. */
static void let_in(struct service *service)
{
    while (!list_empty(&service->waiting) && service->running < service->max_parallel) {
        struct service_call *w = list_of(service->waiting.next, struct service_call, link);

        if (begin(w) != 0)
            return;
        list_remove(&w->link);
    }
}

static void finish(struct service_call *w)
{
    struct errand *e = w->work;
    struct service *service = w->service;

    w->work = NULL;
    service->running--;
    let_in(service);
    e->on_answer(w->owner, w);
    free(e);
}

int errand_start(const struct errand_ways *ways, struct service_call *w, void (*on_answer)(void *owner, struct service_call *w), void *owner)
{
    struct errand *e = mem_alloc(sizeof *e);

    e->ways = ways;
    e->on_answer = on_answer;
    w->owner = owner;
    w->work = e;
    if (w->service->max_parallel && w->service->running >= w->service->max_parallel) {
        list_append(&w->service->waiting, &w->link);
        return 0;
    }
    if (begin(w) == 0)
        return 0;
    w->work = NULL;
    free(e);
    return -1;
}

void errand_cancel(struct service_call *w)
{
    struct errand *e = w->work;

    if (!e)
        return;
    w->work = NULL;
    list_remove(&w->link);
    if (e->fetch || e->redis) {
        if (e->fetch)
            fetch_cancel(e->fetch);
        else
            redis_cancel(e->redis);
        w->service->running--;
        let_in(w->service);
    }
    free(e);
}
