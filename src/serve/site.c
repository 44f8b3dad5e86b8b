#include "serve/site.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/fetch.h"
#include "net/files.h"
#include "net/redis.h"
#include "net/server.h"
#include "script/vm.h"
#include "serve/generation.h"
#include "serve/visit.h"
#include "serve/watches.h"

#define LAG_MS 10                                      /* a loop turn longer than this is counted */
#define TICK_MS 500
#define FULL_AGAIN_MS 10000                            /* between two calls of on_full */
#define FLUSH_MS 1000                                  /* after the drain deadline: time for the last bytes to leave */

struct site {
    struct visit_ground ground;
    struct server *server;
    struct generation *canary;                         /* gets a share of the requests; NULL: none */
    unsigned share, turn;                              /* of a thousand; what has added up since its last request */
    struct list retired;                               /* generations that still have users */
    struct metrics *metrics;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_timer_t tick;
    uint64_t woke;                                     /* when the last poll returned; 0: never yet */
    bool draining, told, closing;
    uint64_t drain_until;
    void (*on_drained)(void *owner);
    void *drained_owner;
    void (*on_full)(void *owner);                      /* NULL: nobody asked */
    void *full_owner;
    uint64_t full_at;                                  /* when it was called last; 0: never */
    int handles;                                       /* still open */
};

/* --- small answers of our own ----------------------------------------------------------------------------------- */

static void say(struct conn *c, int status, const char *type, const char *text, const char *allow)
{
    struct header h[4] = { { "Content-Type", type }, { "Cache-Control", "no-store" } };
    size_t n = 2;
    struct buf body = BUF_EMPTY;

    if (allow)
        h[n++] = (struct header){ "Allow", allow };
    buf_puts(&body, text);
    conn_reply(c, status, h, n, &body);
}

static void log_small(const struct http_request *r, const char *route, int status)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, "request"))
        return;
    log_str(&line, "route", route);
    log_str(&line, "method", r->method);
    log_str(&line, "path", r->path);
    log_int(&line, "status", status);
    log_end(&line);
}

static void refuse(struct conn *c, const struct http_request *r, const char *route, int status, const char *json, const char *allow)
{
    log_small(r, route, status);
    say(c, status, "application/json; charset=utf-8", json, allow);
}

static void health(struct site *s, struct conn *c, const struct http_request *r, bool ready)
{
    bool get = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;

    if (!get)
        refuse(c, r, "health", 405, "{\"error\":\"only GET and HEAD are allowed here\",\"code\":\"method_not_allowed\"}", "GET, HEAD");
    else if (ready && s->draining)
        say(c, 503, "text/plain; charset=utf-8", "draining\n", NULL);
    else
        say(c, 200, "text/plain; charset=utf-8", "ok\n", NULL);
}

/* --- routes ----------------------------------------------------------------------------------------------------- */

static bool below(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);

    if (n && prefix[n - 1] == '/')
        n--;
    return strncmp(path, prefix, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* The files route with the longest prefix, or -1. */
static int files_route(const struct gateway *g, const char *path)
{
    int best = -1;
    size_t longest = 0;

    for (size_t i = 0; i < g->n_routes; i++) {
        const char *prefix = g->routes[i].n_paths ? g->routes[i].paths[0] : "/";
        if (!g->routes[i].files || !below(path, prefix) || (best >= 0 && strlen(prefix) <= longest))
            continue;
        best = (int)i;
        longest = strlen(prefix);
    }
    return best;
}

static bool lists_method(const char *methods, const char *method)
{
    size_t n = strlen(method);

    for (const char *p = strstr(methods, method); p; p = strstr(p + 1, method))
        if ((p == methods || p[-1] == ' ' || p[-1] == ',') && (p[n] == ',' || p[n] == 0))
            return true;
    return false;
}

/* Counted, not drawn: of a thousand requests exactly the share. */
static struct generation *next_generation(struct site *s)
{
    if (!s->canary)
        return s->ground.generation;
    s->turn += s->share;
    if (s->turn < 1000)
        return s->ground.generation;
    s->turn -= 1000;
    return s->canary;
}

static void on_request(void *owner, struct conn *c, const struct http_request *r)
{
    struct site *s = owner;
    bool health_check = strcmp(r->path, "/healthz") == 0 || strcmp(r->path, "/readyz") == 0;
    struct generation *g = health_check ? s->ground.generation : next_generation(s);
    const struct front *front = NULL;
    const struct route *route = gateway_route(g->gateway, r->path, &front);

    if (route && lists_method(front->methods, r->method)) {
        visit_start(&s->ground, g, c, route, front, r);
        return;
    }
    if (route) {
        refuse(c, r, route->name, 405, "{\"error\":\"this method is not allowed here\",\"code\":\"method_not_allowed\"}", front->methods);
        return;
    }
    if (health_check) {
        health(s, c, r, r->path[1] == 'r');
        return;
    }
    int i = files_route(g->gateway, r->path);
    if (i >= 0)
        files_serve(g->files[i], c, r, NULL, 0);
    else
        refuse(c, r, NULL, 404, "{\"error\":\"there is nothing here\",\"code\":\"not_found\"}", NULL);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

/* How long since the loop woke up: then the next event waited that long. */
static void count_lag(struct site *s)
{
    uint64_t ms = uv_hrtime() / 1000000 - s->woke;

    if (s->woke == 0 || ms < LAG_MS)
        return;
    metrics_add(s->metrics, METRIC_loop_lag_events, 1);
    metrics_add(s->metrics, METRIC_loop_lag_ms, (int64_t)ms);
}

static void let_go(struct site *s, struct generation *g)
{
    metrics_add(s->metrics, METRIC_generations_open, -1);
    generation_close(g);
}

/* The last thing before the loop waits: garbage is collected in small steps, generations that no request needs any more are closed. */
static void on_before_poll(uv_prepare_t *h)
{
    struct site *s = h->data;

    vm_collect(s->ground.generation->vm);
    if (s->canary)
        vm_collect(s->canary->vm);
    list_each_safe(it, &s->retired) {
        struct generation *g = list_of(it, struct generation, link);
        if (g->users > 0)
            vm_collect(g->vm);
        else
            let_go(s, g);
    }
    count_lag(s);
}

static void on_after_poll(uv_check_t *h)
{
    struct site *s = h->data;
    s->woke = uv_now(s->ground.loop);                  /* set when the poll returned */
}

/* All streams are gone: once the connections have taken their last bytes (or had their time), tell. */
static void maybe_drained(struct site *s)
{
    bool patient = uv_now(s->ground.loop) < s->drain_until + FLUSH_MS;

    if (!s->draining || s->told || !list_empty(&s->ground.visits))
        return;
    if (server_connections(s->server) > 0 && patient)
        return;
    s->told = true;
    s->on_drained(s->drained_owner);
}

static void look_at_memory(struct site *s)
{
    uint64_t now = uv_now(s->ground.loop);

    if (!s->on_full || !vm_is_full(s->ground.generation->vm) || (s->full_at && now - s->full_at < FULL_AGAIN_MS))
        return;
    s->full_at = now;
    s->on_full(s->full_owner);
}

static void on_tick(uv_timer_t *t)
{
    struct site *s = t->data;

    visit_sweep(&s->ground, false);
    if (!s->draining) {
        look_at_memory(s);
        return;
    }
    if (uv_now(s->ground.loop) >= s->drain_until)
        visit_shutdown_all(&s->ground, NULL);
    maybe_drained(s);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static const struct server_events server_news = { on_request, visit_on_body, visit_on_drain, visit_on_gone };

static int listen_at(struct site *s, int port, int workers)
{
    const struct gateway *g = s->ground.generation->gateway;
    struct server_limits limits = {
        .head_bytes = g->limits.head_bytes,
        .body_bytes = g->limits.body_bytes,
        .connections = g->limits.connections,
        .head_ms = g->limits.head_ms,
        .body_ms = g->limits.body_ms,
        .idle_ms = g->limits.idle_ms,
        .stall_ms = g->limits.stall_ms,
        .sharers = (unsigned)workers,
    };
    return server_open(&s->server, s->ground.loop, g->host, port ? port : g->port, workers > 1, &limits, &server_news, s, s->metrics);
}

/* First of all, since of the handles that run before the poll the one that started first runs last. */
static void start_clocks(struct site *s)
{
    uv_prepare_init(s->ground.loop, &s->before_poll);
    uv_check_init(s->ground.loop, &s->after_poll);
    uv_timer_init(s->ground.loop, &s->tick);
    s->before_poll.data = s->after_poll.data = s->tick.data = s;
    s->handles = 3;
    uv_prepare_start(&s->before_poll, on_before_poll);
    uv_check_start(&s->after_poll, on_after_poll);
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

static void free_site(struct site *s)
{
    list_each_safe(it, &s->retired)
        let_go(s, list_of(it, struct generation, link));
    if (s->canary)
        let_go(s, s->canary);
    if (s->ground.generation)
        let_go(s, s->ground.generation);
    watches_free(s->ground.watches);
    free(s);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct site *s = h->data;

    if (--s->handles == 0)
        free_site(s);
}

static void stop_clocks(struct site *s)
{
    uv_close((uv_handle_t *)&s->before_poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->after_poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->tick, on_handle_closed);
}

/* From here on requests begin with `g`. */
static void take_over(struct site *s, struct generation *g)
{
    if (s->ground.generation)
        list_append(&s->retired, &s->ground.generation->link);
    s->ground.generation = g;
}

static void adopt(struct site *s, struct generation *g)
{
    vm_count_in(g->vm, s->metrics);
    metrics_add(s->metrics, METRIC_generations_open, 1);
}

void site_reload(struct site *s, struct generation *g)
{
    adopt(s, g);
    take_over(s, g);
}

void site_canary(struct site *s, struct generation *g, unsigned share)
{
    adopt(s, g);
    site_rollback(s);
    s->canary = g;
    s->share = share;
    s->turn = 0;
}

void site_promote(struct site *s)
{
    struct generation *g = s->canary;

    s->canary = NULL;
    if (g)
        take_over(s, g);
}

void site_rollback(struct site *s)
{
    if (s->canary)
        list_append(&s->retired, &s->canary->link);
    s->canary = NULL;
}

void site_force(struct site *s, unsigned generations)
{
    struct generation *oldest = NULL;
    unsigned n = s->canary ? 2 : 1;

    list_each(it, &s->retired) {
        struct generation *g = list_of(it, struct generation, link);

        n++;
        if (!oldest || g->gateway->generation < oldest->gateway->generation)
            oldest = g;
    }
    if (n >= generations && oldest)
        visit_shutdown_all(&s->ground, oldest);
}

void site_on_full(struct site *s, void (*on_full)(void *owner), void *owner)
{
    s->on_full = on_full;
    s->full_owner = owner;
}

void site_watch(struct site *s, struct watches *w)
{
    watches_free(s->ground.watches);
    s->ground.watches = w;
}

void site_on_trace(struct site *s, void (*on_trace)(void *owner, unsigned watch, struct buf *text), void *owner)
{
    s->ground.on_trace = on_trace;
    s->ground.trace_owner = owner;
}

static void close_ways(struct site *s)
{
    fetch_pool_close(s->ground.ways.fetch);
    redis_pool_close(s->ground.ways.redis);
}

int site_open(struct site **ret, uv_loop_t *loop, struct generation *g, int port, int workers, struct metrics *metrics)
{
    struct site *s = mem_alloc(sizeof *s);
    struct timespec wall;
    int failed;

    s->metrics = metrics;
    s->ground.loop = loop;
    list_init(&s->retired);
    adopt(s, g);
    take_over(s, g);
    s->ground.metrics = metrics;
    list_init(&s->ground.visits);
    list_init(&s->ground.lingering);
    clock_gettime(CLOCK_REALTIME, &wall);
    s->ground.unix_offset = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - (int64_t)uv_now(loop);
    if (getrandom(&s->ground.random, sizeof s->ground.random, 0) < 0 || s->ground.random == 0)
        s->ground.random = uv_hrtime() | 1;

    start_clocks(s);
    failed = fetch_pool_open(&s->ground.ways.fetch, loop);
    if (!failed) {
        s->ground.ways.redis = redis_pool_open(loop);
        failed = listen_at(s, port, workers);
        if (failed)
            close_ways(s);
    }
    if (failed)
        stop_clocks(s);
    else
        *ret = s;
    return failed;
}

int site_port(const struct site *s) { return server_port(s->server); }

void site_drain(struct site *s, void (*on_drained)(void *owner), void *owner)
{
    if (s->draining)
        return;
    s->draining = true;
    s->on_drained = on_drained;
    s->drained_owner = owner;
    s->drain_until = uv_now(s->ground.loop) + s->ground.generation->gateway->drain;
    server_stop_accepting(s->server);
    uv_timer_start(&s->tick, on_tick, 0, 50);
}

static void on_server_closed(void *owner)
{
    struct site *s = owner;

    visit_sweep(&s->ground, true);
    close_ways(s);
    stop_clocks(s);
}

void site_close(struct site *s)
{
    if (s->closing)
        return;
    s->closing = true;
    server_close(s->server, on_server_closed);
}
