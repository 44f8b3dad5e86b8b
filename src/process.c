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
#include "control.h"
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
    unsigned generation, serving, canary, share;       /* the last one read; what new requests get; canary 0: none, else its share of a thousand */
    struct control *control;                           /* NULL: nobody can knock */
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

static int64_t sum_of(const struct process *p, enum metric m)
{
    int64_t sum = 0;

    for (int i = 0; i < p->n_workers; i++)
        sum += metrics_get(worker_metrics(p->workers[i]), m);
    return sum;
}

static void log_metrics(struct process *p)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, "metrics"))
        return;
    for (int m = 0; m < METRIC_COUNT; m++) {
        log_int(&line, metrics_name(m), metrics_get(&p->metrics, m) + sum_of(p, m));
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

/* Each line of what is wrong: into the log, and for who asked. */
static void tell_complaints(struct buf *complaints, struct buf *answer)
{
    char *save = NULL;

    for (char *line = strtok_r((char *)buf_cstr(complaints), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        log_say(LOG_ERROR, "reload.failed", "%s", line);
        buf_printf(answer, "- %s\n", line);
    }
}

static bool too_many_generations(const struct process *p)
{
    for (int i = 0; i < p->n_workers; i++)
        if (metrics_get(worker_metrics(p->workers[i]), METRIC_generations_open) >= GENERATIONS_MAX)
            return true;
    return false;
}

static void tell_what_stays(const struct process *p, const struct gateway *g, struct buf *answer)
{
    static const char said[] = "listen, workers and limits are read at the start only: to change them the gateway must be started again";
    const struct gateway *old = p->checked;

    if (strcmp(g->host, old->host) == 0 && g->port == old->port && g->workers == old->workers && memcmp(&g->limits, &old->limits, sizeof g->limits) == 0)
        return;
    log_say(LOG_WARN, "reload", "%s", said);
    buf_printf(answer, "+ (%s)\n", said);
}

static void log_generation(const char *event, unsigned generation, unsigned share)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, event))
        return;
    log_int(&line, "generation", (int64_t)generation);
    if (share)
        log_int(&line, "share", (int64_t)share);
    log_end(&line);
}

/* The file is read once for each worker, here, so that no stream waits for it; if any reading fails nothing changes. */
static int load_all(struct process *p, struct generation *next[WORKERS_MAX], struct buf *answer)
{
    struct buf complaints = BUF_EMPTY;
    int n = 0;

    while (n < p->n_workers && generation_load(&next[n], p->options->file, p->options->lua_dir, p->generation + 1, &complaints) == 0)
        n++;
    if (n == p->n_workers) {
        buf_free(&complaints);
        return 0;
    }
    while (n > 0)
        generation_close(next[--n]);
    tell_complaints(&complaints, answer);
    buf_free(&complaints);
    return -1;
}

static void tell_all(struct process *p, enum worker_order what, struct generation **next, unsigned share)
{
    for (int i = 0; i < p->n_workers; i++)
        worker_tell(p->workers[i], what, next ? next[i] : NULL, share);
}

/* share: of a thousand requests for a canary; 0: all. The answer: see control.h. */
static void reload(struct process *p, unsigned share, struct buf *answer)
{
    struct generation *next[WORKERS_MAX];

    if (p->draining) {
        buf_puts(answer, "- the gateway is shutting down\n");
    } else if (p->canary) {
        log_say(LOG_WARN, "reload", "generation %u is a canary: promote it or roll it back first", p->canary);
        buf_printf(answer, "- generation %u is a canary: promote it or roll it back first\n", p->canary);
    } else if (too_many_generations(p)) {
        buf_printf(answer, "= waits: %d generations still have running streams\n", GENERATIONS_MAX);
    } else if (load_all(p, next, answer) == 0) {
        p->generation++;
        tell_what_stays(p, next[0]->gateway, answer);
        tell_all(p, share ? WORKER_CANARY : WORKER_RELOAD, next, share);
        if (share) {
            p->canary = p->generation;
            p->share = share;
            buf_printf(answer, "+ generation %u gets %u.%u%% of new requests, generation %u the others\n", p->canary, share / 10, share % 10, p->serving);
        } else {
            p->serving = p->generation;
            buf_printf(answer, "+ generation %u serves new requests\n", p->serving);
        }
        metrics_add(&p->metrics, METRIC_reloads, 1);
        log_generation(share ? "canary" : "reload", p->generation, share);
    }
}

static void end_canary(struct process *p, bool promote, struct buf *answer)
{
    unsigned was = p->canary;

    if (!was) {
        buf_puts(answer, "- there is no canary\n");
        return;
    }
    p->canary = 0;
    if (promote)
        p->serving = was;
    tell_all(p, promote ? WORKER_PROMOTE : WORKER_ROLLBACK, NULL, 0);
    log_generation(promote ? "promote" : "rollback", was, 0);
    buf_printf(answer, "+ generation %u serves new requests\n", p->serving);
}

static void status(const struct process *p, struct buf *answer)
{
    buf_printf(answer, "+ generation %u serves new requests\n", p->serving);
    if (p->canary)
        buf_printf(answer, "+ generation %u is a canary with %u.%u%% of them\n", p->canary, p->share / 10, p->share % 10);
    buf_printf(answer, "+ %d worker%s, %lld running streams, %lld connections\n", p->n_workers, p->n_workers == 1 ? "" : "s",
               (long long)sum_of(p, METRIC_streams_open), (long long)sum_of(p, METRIC_connections_open));
    buf_printf(answer, "+ %lld generations in all workers are open\n", (long long)sum_of(p, METRIC_generations_open));
    buf_printf(answer, "+ %s, version %s\n", p->draining ? "shutting down" : "ready", SLUICE_VERSION);
}

static void on_command(void *owner, const char *line, struct buf *answer)
{
    struct process *p = owner;
    unsigned share;
    int end = 0;

    if (strcmp(line, "reload") == 0)
        reload(p, 0, answer);
    else if (sscanf(line, "canary %u%n", &share, &end) == 1 && line[end] == '\0' && share >= 1 && share <= 999)
        reload(p, share, answer);
    else if (strcmp(line, "promote") == 0 || strcmp(line, "rollback") == 0)
        end_canary(p, line[0] == 'p', answer);
    else if (strcmp(line, "status") == 0)
        status(p, answer);
    else
        buf_puts(answer, "- unknown command (there are: reload, canary N of 1000, promote, rollback, status)\n");
}

static void open_control(struct process *p)
{
    struct buf why = BUF_EMPTY;

    if (control_open(&p->control, &p->loop, p->options->file, on_command, p, &why) != 0)
        log_say(LOG_WARN, "control", "sluice reload and status will not reach this gateway: %s", buf_cstr(&why));
    buf_free(&why);
}

static void on_again(uv_timer_t *t);

/* SIGHUP: nobody waits for the answer; the log has it. One that has to wait tries again by itself. */
static void reload_by_signal(struct process *p)
{
    struct buf answer = BUF_EMPTY;

    reload(p, 0, &answer);
    if (answer.len && answer.data[0] == '=') {
        if (!uv_is_active((uv_handle_t *)&p->again))
            log_say(LOG_WARN, "reload", "waits: %d generations still have running streams", GENERATIONS_MAX);
        uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
    }
    buf_free(&answer);
}

static void on_again(uv_timer_t *t) { reload_by_signal(t->data); }

static void on_signal(uv_signal_t *s, int number)
{
    struct process *p = s->data;

    if (number == SIGHUP) {
        reload_by_signal(p);
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
    control_close(p->control);
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
    p->generation = p->serving = 1;

    if (start_workers(p, options, checked) != 0) {     /* never half a gateway */
        code = 1;
        if (p->n_workers == 0)
            on_all_ended(&p->ended);
        else
            drain(p, "a worker could not start");
    } else {
        open_control(p);
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
