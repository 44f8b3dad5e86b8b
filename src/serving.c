#include "serving.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "process.h"
#include "script/gateway.h"
#include "script/vm.h"
#include "serve/generation.h"

/* Each line of what is wrong: into the log, and for who asked. */
static void tell_complaints(struct buf *complaints, struct buf *answer)
{
    char *save = NULL;

    for (char *line = strtok_r((char *)buf_cstr(complaints), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        log_say(LOG_ERROR, "reload.failed", "%s", line);
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

/* The file is read once for each worker, here, so that no stream waits for it; if any reading fails nothing changes. */
static int load_all(struct serving *s, struct generation *next[WORKERS_MAX], struct buf *answer)
{
    struct buf complaints = BUF_EMPTY;
    int n = 0;

    while (n < s->n_workers && generation_load(&next[n], s->options->file, s->options->lua_dir, s->generation + 1, &complaints) == 0)
        n++;
    if (n == s->n_workers) {
        buf_free(&complaints);
        return 0;
    }
    while (n > 0)
        generation_close(next[--n]);
    tell_complaints(&complaints, answer);
    buf_free(&complaints);
    return -1;
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

/* share: of a thousand requests for a canary; 0: all. force: does not wait for the oldest streams. The answer: see control.h. */
void serving_reload(struct serving *s, unsigned share, bool force, struct buf *answer)
{
    struct generation *next[WORKERS_MAX];

    if (s->ended) {
        buf_puts(answer, "- the gateway is shutting down\n");
    } else if (s->canary) {
        log_say(LOG_WARN, "reload", "generation %u is a canary: promote it or roll it back first", s->canary);
        buf_printf(answer, "- generation %u is a canary: promote it or roll it back first\n", s->canary);
    } else if (too_many_generations(s)) {
        wait_for_room(s, force, answer);
    } else if (load_all(s, next, answer) == 0) {
        s->generation++;
        tell_what_stays(s, next[0]->gateway, answer);
        char *digest = mem_string(next[0]->gateway->digest);
        tell_all(s, share ? WORKER_CANARY : WORKER_RELOAD, next, share);
        if (share) {
            free(s->canary_digest);
            s->canary_digest = mem_string(digest);
            s->canary = s->generation;
            s->share = share;
            buf_printf(answer, "+ generation %u gets %u.%u%% of new requests, generation %u the others\n", s->canary, share / 10, share % 10, s->current);
        } else {
            serve(s, s->generation, digest);
            buf_printf(answer, "+ generation %u serves new requests\n", s->current);
        }
        free(digest);
        metrics_add(&s->metrics, METRIC_reloads, 1);
        log_generation(share ? "canary" : "reload", s->generation, share);
    }
}

void serving_end_canary(struct serving *s, bool promote, struct buf *answer)
{
    unsigned was = s->canary;

    if (!was) {
        buf_puts(answer, "- there is no canary\n");
        return;
    }
    s->canary = 0;
    if (promote)
        serve(s, was, s->canary_digest);
    tell_all(s, promote ? WORKER_PROMOTE : WORKER_ROLLBACK, NULL, 0);
    log_generation(promote ? "promote" : "rollback", was, 0);
    buf_printf(answer, "+ generation %u serves new requests\n", s->current);
}

void serving_status(const struct serving *s, struct buf *answer)
{
    buf_printf(answer, "+ generation %u serves new requests\n", s->current);
    if (s->canary)
        buf_printf(answer, "+ generation %u is a canary with %u.%u%% of them\n", s->canary, s->share / 10, s->share % 10);
    buf_printf(answer, "+ %d worker%s, %lld running streams, %lld connections\n", s->n_workers, s->n_workers == 1 ? "" : "s",
               (long long)serving_sum(s, METRIC_streams_open), (long long)serving_sum(s, METRIC_connections_open));
    buf_printf(answer, "+ %lld generations in all workers are open\n", (long long)serving_sum(s, METRIC_generations_open));
    buf_printf(answer, "+ %s, version %s\n", s->ended ? "shutting down" : "ready", SLUICE_VERSION);
}

/* A fresh VM for a worker whose own stays full: the same generation again, so nothing that the operator has not loaded yet. */
void serving_rotate(struct serving *s, int worker)
{
    struct buf complaints = BUF_EMPTY;
    struct generation *g = NULL;
    struct log_line line;

    if (s->ended || !has_room(s, worker))
        return;                                        /* the worker asks again */
    if (generation_load(&g, s->options->file, s->options->lua_dir, s->current, &complaints) != 0)
        log_say(LOG_WARN, "rotation", "the memory of worker %d is nearly full, and the files cannot be read again: %s", worker, buf_cstr(&complaints));
    else if (strcmp(g->gateway->digest, s->digest) != 0)
        log_say(LOG_WARN, "rotation", "the memory of worker %d is nearly full, and the files have changed: reload them", worker);
    else if (vm_is_full(g->vm))
        log_say(LOG_WARN, "rotation", "the files alone fill the memory of worker %d: raise memory in %s", worker, s->options->file);
    else {
        if (log_begin(&line, LOG_INFO, "rotation")) {
            log_int(&line, "generation", (int64_t)s->current);
            log_int(&line, "worker", worker);
            log_end(&line);
        }
        metrics_add(&s->metrics, METRIC_rotations, 1);
        worker_tell(s->workers[worker], WORKER_RELOAD, g, 0);
        g = NULL;
    }
    generation_close(g);
    buf_free(&complaints);
}

int64_t serving_sum(const struct serving *s, enum metric m)
{
    int64_t sum = 0;

    for (int i = 0; i < s->n_workers; i++)
        sum += metrics_get(worker_metrics(s->workers[i]), m);
    return sum;
}

void serving_begin(struct serving *s)
{
    s->generation = 1;
    serve(s, 1, s->checked->digest);
}

void serving_end(struct serving *s)
{
    free(s->digest);
    free(s->canary_digest);
}
