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
#include "dev.h"
#include "keeping.h"
#include "base/named.h"
#include "base/target.h"
#include "net/server.h"
#include "script/gateway.h"
#include "serve/generation.h"
#include "serve/probe.h"
#include "serve/watches.h"
#include "serving.h"
#include "state.h"
#include "tracing.h"

#define AGAIN_MS 200

struct process {
    uv_loop_t loop;                                    /* signals, operators, what the other threads tell, probes */
    uv_signal_t term, interrupt, user1, hangup;
    struct serving serving;
    struct control *control;                           /* NULL: nobody can knock */
    struct tracing *tracing;
    struct dev *dev;                                   /* NULL: nobody develops */
    uv_timer_t again;                                  /* runs while a reload waits for old generations to end */
    uv_async_t ended, crowded;                         /* crowded: some worker's Lua is full */
    _Atomic bool full[WORKERS_MAX];                    /* that worker asks for a fresh VM */
    atomic_int running;
    int n_wanted;                                      /* workers */
    int code;                                          /* the exit code */
    bool draining, closed;
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
    if (!n->keys || !log_begin(&line, LOG_INFO, "shared"))
        return;
    log_str(&line, "kind", n->kind);
    log_str(&line, "name", n->name);
    log_int(&line, "keys", (int64_t)keyed_count(n->keys));
    if (n->held)
        log_int(&line, "held", (int64_t)n->held(n));
    log_int(&line, "bytes", (int64_t)keyed_bytes(n->keys));
    log_end(&line);
}

static void log_target(void *arg, const struct target_facts *f)
{
    struct log_line line;

    (void)arg;
    if (!log_begin(&line, LOG_INFO, "target"))
        return;
    log_str(&line, "model", f->model);
    log_str(&line, "url", f->url);
    log_str(&line, "state", target_state_names[f->state]);
    log_int(&line, "running", f->running);
    log_int(&line, "failures", (int64_t)f->failures);
    log_end(&line);
}

static void stop_workers(struct process *p)
{
    p->draining = true;
    dev_close(p->dev);
    p->dev = NULL;
    serving_stop(&p->serving);
    for (int i = 0; i < p->serving.n_workers; i++)
        worker_drain(p->serving.workers[i]);
}

static void drain(struct process *p, const char *why)
{
    if (p->draining) {
        log_say(LOG_WARN, "stop", "second signal: ending at once");
        _exit(130);
    }
    log_say(LOG_INFO, "stop", "%s: %s", why, p->serving.n_workers ? "no new connections; running streams may finish" : "nothing is served yet");
    stop_workers(p);
}

/* Who looks has changed: each worker is told. One that drains is not: it may be gone. */
static void on_watches(void *owner)
{
    struct process *p = owner;

    for (int i = 0; !p->draining && i < p->serving.n_workers; i++)
        worker_watch(p->serving.workers[i], tracing_watches(p->tracing));
}

/* On a worker's thread. */
static void on_trace(void *owner, unsigned watch, struct buf *text)
{
    struct process *p = owner;
    tracing_told(p->tracing, watch, text);
}

static void trace(struct process *p, struct control_client *from, const char *wish, struct buf *answer)
{
    if (p->draining)
        buf_puts(answer, "- the gateway is shutting down\n");
    else
        tracing_command(p->tracing, from, wish, answer);
}

/* "text", "json", and perhaps a name behind it. */
static void state(const char *how, struct buf *answer)
{
    struct named_times now = { .now_ms = uv_hrtime() / 1000000 };
    const char *name = strchr(how, ' ');
    uv_timeval64_t wall;

    uv_gettimeofday(&wall);
    now.unix_ms = wall.tv_sec * 1000 + wall.tv_usec / 1000;
    state_tell(name ? name + 1 : NULL, how[0] == 'j', &now, answer);
}

static void on_command(void *owner, const char *line, struct control_client *from, struct buf *answer)
{
    struct process *p = owner;
    unsigned share;
    int end = 0;

    if (strcmp(line, "reload") == 0 || strcmp(line, "reload force") == 0)
        serving_reload(&p->serving, 0, line[6] != '\0', from, answer);
    else if (sscanf(line, "canary %u%n", &share, &end) == 1 && (line[end] == '\0' || strcmp(line + end, " force") == 0) && share >= 1 && share <= 999)
        serving_reload(&p->serving, share, line[end] != '\0', from, answer);
    else if (strcmp(line, "promote") == 0 || strcmp(line, "rollback") == 0)
        serving_end_canary(&p->serving, line[0] == 'p', answer);
    else if (strcmp(line, "status") == 0)
        serving_status(&p->serving, answer);
    else if (strncmp(line, "state text", 10) == 0 || strncmp(line, "state json", 10) == 0)
        state(line + 6, answer);
    else if (strncmp(line, "trace ", 6) == 0)
        trace(p, from, line + 6, answer);
    else
        buf_puts(answer, "- unknown command (there are: reload, canary N of 1000, each also with force; promote, rollback, status, state, trace)\n");
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

    serving_reload(&p->serving, 0, false, NULL, &answer);
    if (answer.len && answer.data[0] == '=') {
        if (!uv_is_active((uv_handle_t *)&p->again))
            log_say(LOG_WARN, "reload", "%.*s", (int)answer.len - 3, buf_cstr(&answer) + 2);   /* without "= " and the line's end */
        uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
    }
    buf_free(&answer);
}

static void on_again(uv_timer_t *t) { reload_by_signal(t->data); }

static void on_files_changed(void *owner) { reload_by_signal(owner); }

static void on_signal(uv_signal_t *s, int number)
{
    struct process *p = s->data;

    if (number == SIGHUP && p->serving.options->dev) {
        drain(p, "SIGHUP");                            /* the terminal is gone, and with it who develops */
    } else if (number == SIGHUP) {
        reload_by_signal(p);
    } else if (number == SIGUSR1) {
        named_each(log_shared, NULL);
        target_each(log_target, NULL, uv_hrtime() / 1000000);
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

static void close_handles(struct process *p)
{
    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
    uv_close((uv_handle_t *)&p->user1, NULL);
    uv_close((uv_handle_t *)&p->hangup, NULL);
    uv_close((uv_handle_t *)&p->again, NULL);
    uv_close((uv_handle_t *)&p->ended, NULL);
    uv_close((uv_handle_t *)&p->crowded, NULL);
    control_close(p->control);
    tracing_close(p->tracing);
    serving_close(&p->serving);
    prober_close(p->serving.prober);
}

/* When it drains, no worker runs and nothing is loaded: that was all. */
static void maybe_end(struct process *p)
{
    if (!p->draining || p->closed || atomic_load(&p->running) > 0 || serving_loads(&p->serving))
        return;
    p->closed = true;
    close_handles(p);
}

static void on_ended(uv_async_t *a) { maybe_end(a->data); }

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

/* The first worker finds the port when the file says 0; all others share it. Each takes its generation. */
static int start_workers(struct process *p, struct generation **made)
{
    const struct gateway *g = p->serving.checked;
    int n = p->n_wanted, i = 0;
    struct worker_options o = { .workers = n, .on_full = on_worker_full, .on_trace = on_trace, .on_end = on_worker_end, .owner = p };

    int failed = n > 1 && g->port ? server_probe(g->host, g->port) : 0;
    if (failed)
        log_say(LOG_ERROR, "listen", "cannot listen at %s port %d: %s", g->host, g->port, uv_strerror(failed));
    while (!failed && i < n) {
        atomic_fetch_add(&p->running, 1);
        failed = worker_open(&p->serving.workers[i], &o, made[i]);
        i++;
        if (failed) {
            atomic_fetch_sub(&p->running, 1);
        } else {
            p->serving.n_workers++;
            o.port = worker_port(p->serving.workers[0]);
        }
    }
    while (i < n)
        generation_close(made[i++]);
    return failed;
}

/* Never half a gateway. Why is in the log. */
static void give_up(struct process *p)
{
    p->code = 1;
    stop_workers(p);
    maybe_end(p);
}

static void serves(struct process *p)
{
    const struct process_options *o = p->serving.options;

    prober_serve(p->serving.prober, p->serving.checked, false);
    open_control(p);
    tell_listening(p->serving.checked, worker_port(p->serving.workers[0]), p->serving.n_workers);   /* who waits for this line may ask at once */
    if (o->dev)
        dev_open(&p->dev, &p->loop, o->file, o->lua_dir, p->serving.checked->digest, on_files_changed, p);
}

static void on_first(void *owner, struct generation **made)
{
    struct process *p = owner;

    if (made && start_workers(p, made) == 0)
        serves(p);
    else if (!p->draining)                             /* else a signal came first, and on_idle ends the process */
        give_up(p);
}

static void on_answer(void *owner, struct control_client *asker, struct buf *answer)
{
    (void)owner;
    control_answer(asker, answer);
}

static void on_idle(void *owner) { maybe_end(owner); }

int process_run(const struct process_options *options, const struct gateway *checked)
{
    static const struct serving_events news = { on_first, on_answer, on_idle };
    struct process *p = mem_alloc(sizeof *p);

    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p->loop);
    struct keeping *keeping = keeping_open(&p->loop, checked);
    uv_async_init(&p->loop, &p->ended, on_ended);
    p->ended.data = p;
    uv_async_init(&p->loop, &p->crowded, on_crowded);
    p->crowded.data = p;
    watch(p, &p->term, SIGTERM);
    watch(p, &p->interrupt, SIGINT);
    watch(p, &p->user1, SIGUSR1);
    watch(p, &p->hangup, SIGHUP);
    uv_timer_init(&p->loop, &p->again);
    p->again.data = p;
    tracing_open(&p->tracing, &p->loop, on_watches, p);
    p->n_wanted = checked->workers > 0 ? checked->workers : cores();
    p->n_wanted = p->n_wanted > WORKERS_MAX ? WORKERS_MAX : p->n_wanted;
    p->serving.options = options;
    p->serving.checked = checked;
    p->serving.events = &news;
    p->serving.owner = p;
    p->serving.prober = prober_open(&p->loop, &p->serving.metrics);
    if (serving_begin(&p->serving, &p->loop, p->n_wanted) != 0) {
        log_say(LOG_ERROR, "start.failed", "no thread can be made to read the file");
        give_up(p);
    }

    uv_run(&p->loop, UV_RUN_DEFAULT);
    log_metrics(p);
    for (int i = 0; i < p->serving.n_workers; i++)
        worker_close(p->serving.workers[i]);
    keeping_close(keeping);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    log_say(LOG_INFO, "stopped", "all streams ended");
    uv_loop_close(&p->loop);
    serving_end(&p->serving);
    int code = p->code;
    free(p);
    return code;
}
