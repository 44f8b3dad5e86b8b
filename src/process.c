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
#include "serving.h"

#define AGAIN_MS 200

struct process {
    uv_loop_t loop;                                    /* signals only */
    uv_signal_t term, interrupt, user1, hangup;
    struct serving serving;
    struct control *control;                           /* NULL: nobody can knock */
    uv_timer_t again;                                  /* runs while a reload waits for old generations to end */
    uv_async_t ended, crowded;                         /* crowded: some worker's Lua is full */
    _Atomic bool full[WORKERS_MAX];                    /* that worker asks for a fresh VM */
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
        log_int(&line, metrics_name(m), metrics_get(&p->serving.metrics, m) + serving_sum(&p->serving, m));
    }
    log_end(&line);
}

/* A limiter, counter, semaphore or cache: who wonders what fills the memory finds it by name. */
static void log_shared(void *arg, struct named *n)
{
    struct log_line line;

    (void)arg;
    if (!log_begin(&line, LOG_INFO, "shared"))
        return;
    log_str(&line, "kind", n->kind);
    log_str(&line, "name", n->name);
    log_int(&line, "keys", (int64_t)keyed_count(n->keys));
    if (n->held)
        log_int(&line, "held", (int64_t)n->held(n));
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
    for (int i = 0; i < p->serving.n_workers; i++)
        worker_drain(p->serving.workers[i]);
}

static void on_command(void *owner, const char *line, struct buf *answer)
{
    struct process *p = owner;
    unsigned share;
    int end = 0;

    if (strcmp(line, "reload") == 0 || strcmp(line, "reload force") == 0)
        serving_reload(&p->serving, 0, line[6] != '\0', answer);
    else if (sscanf(line, "canary %u%n", &share, &end) == 1 && (line[end] == '\0' || strcmp(line + end, " force") == 0) && share >= 1 && share <= 999)
        serving_reload(&p->serving, share, line[end] != '\0', answer);
    else if (strcmp(line, "promote") == 0 || strcmp(line, "rollback") == 0)
        serving_end_canary(&p->serving, line[0] == 'p', answer);
    else if (strcmp(line, "status") == 0)
        serving_status(&p->serving, answer);
    else
        buf_puts(answer, "- unknown command (there are: reload, canary N of 1000, each also with force; promote, rollback, status)\n");
}

static void open_control(struct process *p)
{
    struct buf why = BUF_EMPTY;

    if (control_open(&p->control, &p->loop, p->serving.options->file, on_command, p, &why) != 0)
        log_say(LOG_WARN, "control", "sluice reload and status will not reach this gateway: %s", buf_cstr(&why));
    buf_free(&why);
}

static void on_again(uv_timer_t *t);

/* SIGHUP: nobody waits for the answer; the log has it. One that has to wait tries again by itself. */
static void reload_by_signal(struct process *p)
{
    struct buf answer = BUF_EMPTY;

    serving_reload(&p->serving, 0, false, &answer);
    if (answer.len && answer.data[0] == '=') {
        if (!uv_is_active((uv_handle_t *)&p->again))
            log_say(LOG_WARN, "reload", "waits: %u generations still have running streams", p->serving.checked->generations);
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
static void on_worker_full(void *owner, struct worker *w)
{
    struct process *p = owner;

    for (int i = 0; i < WORKERS_MAX; i++)
        if (p->serving.workers[i] == w)
            atomic_store(&p->full[i], true);
    uv_async_send(&p->crowded);
}

static void on_crowded(uv_async_t *a)
{
    struct process *p = a->data;

    for (int i = 0; i < p->serving.n_workers; i++)
        if (atomic_exchange(&p->full[i], false))
            serving_rotate(&p->serving, i);
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
    uv_close((uv_handle_t *)&p->crowded, NULL);
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
    struct worker_options o = { .file = options->file, .lua_dir = options->lua_dir, .workers = n, .on_full = on_worker_full, .on_end = on_worker_end, .owner = p };

    int taken = n > 1 && g->port ? server_probe(g->host, g->port) : 0;
    if (taken) {
        log_say(LOG_ERROR, "listen", "cannot listen at %s port %d: %s", g->host, g->port, uv_strerror(taken));
        return -1;
    }
    for (int i = 0; i < n; i++) {
        atomic_fetch_add(&p->running, 1);
        if (worker_open(&p->serving.workers[i], &o) != 0) {
            atomic_fetch_sub(&p->running, 1);
            return -1;
        }
        p->serving.n_workers++;
        o.port = worker_port(p->serving.workers[0]);
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
    uv_async_init(&p->loop, &p->crowded, on_crowded);
    p->crowded.data = p;
    watch(p, &p->term, SIGTERM);
    watch(p, &p->interrupt, SIGINT);
    watch(p, &p->user1, SIGUSR1);
    watch(p, &p->hangup, SIGHUP);
    uv_timer_init(&p->loop, &p->again);
    p->again.data = p;
    p->serving.options = options;
    p->serving.checked = checked;
    serving_begin(&p->serving);

    if (start_workers(p, options, checked) != 0) {     /* never half a gateway */
        code = 1;
        if (p->serving.n_workers == 0)
            on_all_ended(&p->ended);
        else
            drain(p, "a worker could not start");
    } else {
        open_control(p);
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    log_metrics(p);
    for (int i = 0; i < p->serving.n_workers; i++)
        worker_close(p->serving.workers[i]);
    log_say(LOG_INFO, "stopped", "all streams ended");
    uv_loop_close(&p->loop);
    serving_end(&p->serving);
    free(p);
    return code;
}
