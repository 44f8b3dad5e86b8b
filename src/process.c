#include "process.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/keyed.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/named.h"
#include "net/server.h"
#include "script/gateway.h"
#include "serve/generation.h"
#include "worker.h"

#define WORKERS_MAX 256
#define AGAIN_MS 200
#define GENERATIONS_MAX 4                              /* of a worker, with the current one */

struct process {
    uv_loop_t loop;                                    /* signals only */
    uv_signal_t term, interrupt, user1, hangup;
    const struct process_options *options;
    const struct gateway *checked;                     /* as it was at the start: what a reload cannot change */
    unsigned generation;
    uv_timer_t again;                                  /* runs while a reload waits for old generations to end */
    uv_async_t ended;
    struct worker *workers[WORKERS_MAX];
    int n_workers;
    struct metrics metrics;                            /* what is no worker's: reloads */
    atomic_int running;
    bool draining;
};

/* Every stream needs two descriptors; the soft limit is often 1,024. */
static void raise_descriptor_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max)
        return;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

static void log_metrics(struct process *p)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, "metrics"))
        return;
    for (int m = 0; m < METRIC_COUNT; m++) {
        int64_t sum = metrics_get(&p->metrics, m);
        for (int i = 0; i < p->n_workers; i++)
            sum += metrics_get(worker_metrics(p->workers[i]), m);
        log_int(&line, metrics_name(m), sum);
    }
    log_end(&line);
}

/* A limiter, counter or cache: who wonders what fills the memory finds it by name. */
static void log_shared(void *arg, struct named *n)
{
    struct log_line line;

    (void)arg;
    if (!log_begin(&line, LOG_INFO, "shared"))
        return;
    log_str(&line, "kind", n->kind);
    log_str(&line, "name", n->name);
    log_int(&line, "keys", (int64_t)keyed_count(n->keys));
    log_int(&line, "bytes", (int64_t)keyed_bytes(n->keys));
    log_end(&line);
}

static void drain(struct process *p, const char *why)
{
    if (p->draining) {
        log_say(LOG_WARN, "stop", "second signal: ending at once");
        _exit(130);
    }
    p->draining = true;
    log_say(LOG_INFO, "stop", "%s: no new connections; running streams may finish", why);
    for (int i = 0; i < p->n_workers; i++)
        worker_drain(p->workers[i]);
}

/* ---- reload */

static void tell_complaints(struct buf *complaints)
{
    char *save = NULL;

    for (char *line = strtok_r((char *)buf_cstr(complaints), "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        log_say(LOG_ERROR, "reload.failed", "%s", line);
}

static bool too_many_generations(const struct process *p)
{
    for (int i = 0; i < p->n_workers; i++)
        if (metrics_get(worker_metrics(p->workers[i]), METRIC_generations_open) >= GENERATIONS_MAX)
            return true;
    return false;
}

static void tell_what_stays(const struct process *p, const struct gateway *g)
{
    const struct gateway *old = p->checked;

    if (strcmp(g->host, old->host) != 0 || g->port != old->port || g->workers != old->workers || memcmp(&g->limits, &old->limits, sizeof g->limits) != 0)
        log_say(LOG_WARN, "reload", "listen, workers and limits are read at the start only: to change them the gateway must be started again");
}

static void on_again(uv_timer_t *t);

/* The file is read once for each worker, here, so that no stream waits for it; if any reading fails nothing changes. */
static void reload(struct process *p)
{
    struct generation *next[WORKERS_MAX];
    struct buf complaints = BUF_EMPTY;
    int n = 0;

    if (p->draining)
        return;
    if (too_many_generations(p)) {
        if (!uv_is_active((uv_handle_t *)&p->again))
            log_say(LOG_WARN, "reload", "waits: %d generations still have running streams", GENERATIONS_MAX);
        uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
        return;
    }
    while (n < p->n_workers && generation_load(&next[n], p->options->file, p->options->lua_dir, p->generation + 1, &complaints) == 0)
        n++;
    if (n < p->n_workers) {
        while (n > 0)
            generation_close(next[--n]);
        tell_complaints(&complaints);
        buf_free(&complaints);
        return;
    }
    buf_free(&complaints);
    p->generation++;
    tell_what_stays(p, next[0]->gateway);
    for (int i = 0; i < p->n_workers; i++)
        worker_reload(p->workers[i], next[i]);
    metrics_add(&p->metrics, METRIC_reloads, 1);
    struct log_line line;
    if (log_begin(&line, LOG_INFO, "reload")) {
        log_int(&line, "generation", (int64_t)p->generation);
        log_end(&line);
    }
}

static void on_again(uv_timer_t *t) { reload(t->data); }

static void on_signal(uv_signal_t *s, int number)
{
    struct process *p = s->data;

    if (number == SIGHUP) {
        reload(p);
    } else if (number == SIGUSR1) {
        named_each(log_shared, NULL);
        log_metrics(p);
    } else {
        drain(p, number == SIGTERM ? "SIGTERM" : "SIGINT");
    }
}

/* On a worker's thread. */
static void on_worker_end(void *owner)
{
    struct process *p = owner;

    if (atomic_fetch_sub(&p->running, 1) == 1)
        uv_async_send(&p->ended);
}

static void on_all_ended(uv_async_t *a)
{
    struct process *p = a->data;

    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
    uv_close((uv_handle_t *)&p->user1, NULL);
    uv_close((uv_handle_t *)&p->hangup, NULL);
    uv_close((uv_handle_t *)&p->again, NULL);
    uv_close((uv_handle_t *)&p->ended, NULL);
}

static void watch(struct process *p, uv_signal_t *s, int number)
{
    uv_signal_init(&p->loop, s);
    s->data = p;
    uv_signal_start(s, on_signal, number);
}

static int cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (int)n;
}

static void tell_listening(const struct gateway *g, int port, int workers)
{
    struct log_line line;
    char url[300];

    if (!log_begin(&line, LOG_INFO, "listening"))
        return;
    snprintf(url, sizeof url, strchr(g->host, ':') ? "http://[%s]:%d" : "http://%s:%d", g->host, port);
    log_str(&line, "url", url);
    log_int(&line, "workers", workers);
    log_str(&line, "version", SLUICE_VERSION);
    log_end(&line);
}

/* The first worker finds the port when the file says 0; all others share it. */
static int start_workers(struct process *p, const struct process_options *options, const struct gateway *g)
{
    int n = g->workers > 0 ? g->workers : cores();
    n = n > WORKERS_MAX ? WORKERS_MAX : n;
    struct worker_options o = { .file = options->file, .lua_dir = options->lua_dir, .workers = n, .on_end = on_worker_end, .owner = p };

    int taken = n > 1 && g->port ? server_probe(g->host, g->port) : 0;
    if (taken) {
        log_say(LOG_ERROR, "listen", "cannot listen at %s port %d: %s", g->host, g->port, uv_strerror(taken));
        return -1;
    }
    for (int i = 0; i < n; i++) {
        atomic_fetch_add(&p->running, 1);
        if (worker_open(&p->workers[i], &o) != 0) {
            atomic_fetch_sub(&p->running, 1);
            return -1;
        }
        p->n_workers++;
        o.port = worker_port(p->workers[0]);
    }
    tell_listening(g, o.port, n);
    return 0;
}

int process_run(const struct process_options *options, const struct gateway *checked)
{
    struct process *p = mem_alloc(sizeof *p);
    int code = 0;

    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p->loop);
    uv_async_init(&p->loop, &p->ended, on_all_ended);
    p->ended.data = p;
    watch(p, &p->term, SIGTERM);
    watch(p, &p->interrupt, SIGINT);
    watch(p, &p->user1, SIGUSR1);
    watch(p, &p->hangup, SIGHUP);
    uv_timer_init(&p->loop, &p->again);
    p->again.data = p;
    p->options = options;
    p->checked = checked;
    p->generation = 1;

    if (start_workers(p, options, checked) != 0) {     /* never half a gateway */
        code = 1;
        if (p->n_workers == 0)
            on_all_ended(&p->ended);
        else
            drain(p, "a worker could not start");
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    log_metrics(p);
    for (int i = 0; i < p->n_workers; i++)
        worker_close(p->workers[i]);
    log_say(LOG_INFO, "stopped", "all streams ended");
    uv_loop_close(&p->loop);
    free(p);
    return code;
}
