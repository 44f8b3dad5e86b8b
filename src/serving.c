#include "serving.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "loading.h"
#include "base/target.h"
#include "process.h"
#include "script/gateway.h"
#include "script/vm.h"
#include "serve/generation.h"
#include "serve/probe.h"

static const char shutting_down[] = "- the gateway is shutting down\n";

/* Each line of what is wrong: into the log, and for who asked (NULL: nobody). */
static void tell_complaints(const char *event, struct buf *complaints, struct buf *answer)
{
    char *save = NULL;

    for (char *line = strtok_r((char *)buf_cstr(complaints), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        log_say(LOG_ERROR, event, "%s", line);
        if (answer)
            buf_printf(answer, "- %s\n", line);
    }
}

static bool has_room(const struct serving *s, int worker)
{
    return metrics_get(worker_metrics(s->workers[worker]), METRIC_generations_open) < s->checked->generations;
}

static bool too_many_generations(const struct serving *s)
{
    for (int i = 0; i < s->n_workers; i++)
        if (!has_room(s, i))
            return true;
    return false;
}

static void tell_what_stays(const struct serving *s, const struct gateway *g, struct buf *answer)
{
    static const char said[] = "listen, workers, generations and limits are read at the start only: to change them the gateway must be started again";
    const struct gateway *old = s->checked;

    if (strcmp(g->host, old->host) == 0 && g->port == old->port && g->workers == old->workers && g->generations == old->generations &&
        memcmp(&g->limits, &old->limits, sizeof g->limits) == 0)
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

/* ---- loading: on_loaded, below, tells what came of it */

static int load(struct serving *s, const struct serving_load *what, unsigned number, int n)
{
    struct loading_want want = { .file = s->options->file, .lua_dir = s->options->lua_dir, .number = number, .n = n };
    int failed = loading_start(s->loading, &want);

    if (!failed)
        s->load = *what;
    return failed;
}

static void tell_all(struct serving *s, enum worker_order what, struct generation **next, unsigned share)
{
    for (int i = 0; i < s->n_workers; i++)
        worker_tell(s->workers[i], what, next ? next[i] : NULL, share);
}

static void serve(struct serving *s, unsigned generation, const char *digest)
{
    char *copy = mem_string(digest);

    free(s->digest);
    s->digest = copy;
    s->current = generation;
}

static void wait_for_room(struct serving *s, bool force, struct buf *answer)
{
    if (force)
        tell_all(s, WORKER_FORCE, NULL, s->checked->generations);
    buf_printf(answer, force ? "= ends the streams of the oldest of %u generations\n" : "= waits: %u generations still have running streams; --force ends those of the oldest\n",
               s->checked->generations);
}

void serving_reload(struct serving *s, unsigned share, bool force, struct control_client *asker, struct buf *answer)
{
    struct serving_load what = { .what = LOADS_RELOAD, .share = share, .asker = asker };
    int failed;

    if (s->ended) {
        buf_puts(answer, shutting_down);
    } else if (serving_loads(s)) {
        buf_puts(answer, "= waits: the file is being read, and what init waits for has not come yet\n");
    } else if (s->canary) {
        log_say(LOG_WARN, "reload", "generation %u is a canary: promote it or roll it back first", s->canary);
        buf_printf(answer, "- generation %u is a canary: promote it or roll it back first\n", s->canary);
    } else if (too_many_generations(s)) {
        wait_for_room(s, force, answer);
    } else if ((failed = load(s, &what, s->generation + 1, s->n_workers)) != 0) {
        log_say(LOG_ERROR, "reload.failed", "the file cannot be read now: %s", uv_strerror(failed));
        buf_printf(answer, "- the file cannot be read now: %s\n", uv_strerror(failed));
    }
}

static void tell_asker(struct serving *s, struct control_client *asker, struct buf *answer)
{
    if (asker)
        s->events->on_answer(s->owner, asker, answer);
}

static void serve_canary(struct serving *s, unsigned share, const char *digest, struct buf *answer)
{
    free(s->canary_digest);
    s->canary_digest = mem_string(digest);
    s->canary = s->generation;
    s->share = share;
    buf_printf(answer, "+ generation %u gets %u.%u%% of new requests, generation %u the others\n", s->canary, share / 10, share % 10, s->current);
}

/* A reading for each worker; their gateways are the workers' once they are told. */
static void reloaded(struct serving *s, struct generation **next, unsigned share, struct buf *answer)
{
    char *digest = mem_string(next[0]->gateway->digest);

    s->generation++;
    tell_what_stays(s, next[0]->gateway, answer);
    prober_serve(s->prober, next[0]->gateway, share > 0);
    tell_all(s, share ? WORKER_CANARY : WORKER_RELOAD, next, share);
    if (share) {
        serve_canary(s, share, digest, answer);
    } else {
        serve(s, s->generation, digest);
        buf_printf(answer, "+ generation %u serves new requests\n", s->current);
    }
    free(digest);
    metrics_add(&s->metrics, METRIC_reloads, 1);
    log_generation(share ? "canary" : "reload", s->generation, share);
}

static void on_reloaded(struct serving *s, const struct serving_load *load, struct generation **made, struct buf *complaints)
{
    struct buf answer = BUF_EMPTY;

    if (made)
        reloaded(s, made, load->share, &answer);
    else if (s->ended)
        buf_puts(&answer, shutting_down);
    else
        tell_complaints("reload.failed", complaints, &answer);
    tell_asker(s, load->asker, &answer);
    buf_free(&answer);
}

void serving_end_canary(struct serving *s, bool promote, struct buf *answer)
{
    unsigned was = s->canary;

    if (!was) {
        buf_puts(answer, "- there is no canary\n");
        return;
    }
    s->canary = 0;
    prober_end_canary(s->prober, promote);
    if (promote)
        serve(s, was, s->canary_digest);
    tell_all(s, promote ? WORKER_PROMOTE : WORKER_ROLLBACK, NULL, 0);
    log_generation(promote ? "promote" : "rollback", was, 0);
    buf_printf(answer, "+ generation %u serves new requests\n", s->current);
}

static void tell_target(void *arg, const struct target_facts *f)
{
    buf_printf(arg, "+ model %s at %s: %s, %u running, %llu failures\n", f->model, f->url, target_state_names[f->state], f->running, (unsigned long long)f->failures);
}

void serving_status(const struct serving *s, struct buf *answer)
{
    buf_printf(answer, "+ generation %u serves new requests\n", s->current);
    if (s->canary)
        buf_printf(answer, "+ generation %u is a canary with %u.%u%% of them\n", s->canary, s->share / 10, s->share % 10);
    buf_printf(answer, "+ %d worker%s, %lld running streams, %lld connections\n", s->n_workers, s->n_workers == 1 ? "" : "s",
               (long long)serving_sum(s, METRIC_streams_open), (long long)serving_sum(s, METRIC_connections_open));
    if (s->load.what == LOADS_RELOAD)
        buf_printf(answer, "+ the file is being read again, for generation %u\n", s->generation + 1);
    buf_printf(answer, "+ %lld generations in all workers are open\n", (long long)serving_sum(s, METRIC_generations_open));
    target_each(tell_target, answer, uv_hrtime() / 1000000);
    buf_printf(answer, "+ %s, version %s\n", s->ended ? "shutting down" : "ready", SLUICE_VERSION);
}

/* ---- rotation */

void serving_rotate(struct serving *s, int worker)
{
    struct serving_load what = { .what = LOADS_ROTATION, .worker = worker };

    if (!s->ended && !serving_loads(s) && has_room(s, worker))
        load(s, &what, s->current, 1);
    /* else the worker asks again */
}

static void log_rotation(const struct serving *s, int worker)
{
    struct log_line line;

    if (!log_begin(&line, LOG_INFO, "rotation"))
        return;
    log_int(&line, "generation", (int64_t)s->current);
    log_int(&line, "worker", worker);
    log_end(&line);
}

/* NULL: it could not be read. */
static void on_rotated(struct serving *s, int worker, struct generation *g, struct buf *complaints)
{
    if (s->ended || (g && g->gateway->generation != s->current)) {
        generation_close(g);                           /* another serves by now */
        return;
    }
    if (!g) {
        log_say(LOG_WARN, "rotation", "the memory of worker %d is nearly full, and the files cannot be read again: %s", worker, buf_cstr(complaints));
    } else if (strcmp(g->gateway->digest, s->digest) != 0) {
        log_say(LOG_WARN, "rotation", "the memory of worker %d is nearly full, and the files have changed: reload them", worker);
    } else if (vm_is_full(g->vm)) {
        log_say(LOG_WARN, "rotation", "the files alone fill the memory of worker %d: raise memory in %s", worker, s->options->file);
    } else {
        log_rotation(s, worker);
        metrics_add(&s->metrics, METRIC_rotations, 1);
        worker_tell(s->workers[worker], WORKER_RELOAD, g, 0);
        return;
    }
    generation_close(g);
}

int64_t serving_sum(const struct serving *s, enum metric m)
{
    int64_t sum = 0;

    for (int i = 0; i < s->n_workers; i++)
        sum += metrics_get(worker_metrics(s->workers[i]), m);
    return sum;
}

/* ---- life */

static void on_first(struct serving *s, struct generation **made, struct buf *complaints)
{
    if (made)
        serve(s, 1, made[0]->gateway->digest);
    else if (!s->ended)
        tell_complaints("start.failed", complaints, NULL);
    s->events->on_first(s->owner, made);
}

static void on_loaded(void *owner, struct generation **made, struct buf *complaints)
{
    struct serving *s = owner;
    struct serving_load load = s->load;

    s->load.what = LOADS_NOTHING;
    switch (load.what) {
    case LOADS_FIRST:
        on_first(s, made, complaints);
        break;
    case LOADS_RELOAD:
        on_reloaded(s, &load, made, complaints);
        break;
    case LOADS_ROTATION:
        on_rotated(s, load.worker, made ? made[0] : NULL, complaints);
        break;
    case LOADS_NOTHING:
        assert(!"nothing was loaded");
    }
    s->events->on_idle(s->owner);
}

bool serving_loads(const struct serving *s) { return s->load.what != LOADS_NOTHING; }

int serving_begin(struct serving *s, uv_loop_t *loop, int n_workers)
{
    struct serving_load what = { .what = LOADS_FIRST };

    s->generation = s->current = 1;
    int failed = loading_open(&s->loading, loop, on_loaded, s);
    return failed ? failed : load(s, &what, 1, n_workers);
}

void serving_stop(struct serving *s)
{
    s->ended = true;
    if (s->loading)
        loading_stop(s->loading);
}

void serving_close(struct serving *s)
{
    if (s->loading)
        loading_close(s->loading);
}

void serving_end(struct serving *s)
{
    free(s->digest);
    free(s->canary_digest);
}
