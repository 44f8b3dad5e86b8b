#include "base/target.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/named.h"

#define FULL_WAIT_MS 1000                              /* nobody knows when a place gets free: soon */

const char *const target_state_names[] = { "up", "full", "open", "half_open", "unhealthy" };

struct state {
    struct breaker breaker;
    uint64_t failures;                                 /* all that were told */
    bool unhealthy;
    unsigned streak;                                   /* probes in a row that say otherwise */
};

struct target {
    struct named named;
    pthread_mutex_t lock;                              /* of all below */
    char *model, *url;                                 /* NULL until it was opened once; then constant */
    struct target_rule rule;
    struct state now;
    _Atomic unsigned running;                          /* changed under the lock; no copy changes it: whoever runs leaves */
};

static const char kind[] = "target";

static void destroy(struct named *n)
{
    struct target *t = (struct target *)n;

    pthread_mutex_destroy(&t->lock);
    free(t->model);
    free(t->url);
    free(t);
}

static void *save(struct named *n)
{
    struct target *t = (struct target *)n;
    struct state *copy = mem_alloc(sizeof *copy);

    pthread_mutex_lock(&t->lock);
    *copy = t->now;
    pthread_mutex_unlock(&t->lock);
    return copy;
}

static void restore(struct named *n, const void *saved)
{
    struct target *t = (struct target *)n;
    const struct state *was = saved;

    pthread_mutex_lock(&t->lock);
    t->now = was ? *was : (struct state){ .failures = 0 };
    pthread_mutex_unlock(&t->lock);
}

static struct named *create(void)
{
    struct target *t = mem_alloc(sizeof *t);

    t->named.destroy = destroy;
    t->named.save = save;
    t->named.restore = restore;
    pthread_mutex_init(&t->lock, NULL);
    return &t->named;
}

struct target *target_open(const char *model, const char *url, const struct target_rule *rule)
{
    char *name = mem_format("%s %s", model, url);
    struct target *t = (struct target *)named_open(kind, name, create);

    free(name);
    pthread_mutex_lock(&t->lock);
    if (!t->model) {
        t->model = mem_string(model);
        t->url = mem_string(url);
    }
    t->rule = *rule;
    if (rule->breaker.failures == 0)
        t->now.breaker = (struct breaker){ 0 };
    if (rule->unhealthy == 0)
        t->now.unhealthy = false;
    pthread_mutex_unlock(&t->lock);
    return t;
}

struct target *target_share(struct target *t)
{
    named_hold(&t->named);
    return t;
}

void target_close(struct target *t) { named_close(&t->named); }

unsigned target_running(const struct target *t) { return atomic_load(&t->running); }

/* ---- how it is; locked */

static enum target_state state_of(const struct target *t, uint64_t now_ms)
{
    if (t->now.unhealthy)
        return TARGET_UNHEALTHY;
    if (t->now.breaker.open_until)
        return now_ms < t->now.breaker.open_until ? TARGET_OPEN : TARGET_HALF_OPEN;
    return t->rule.max_parallel && t->running >= t->rule.max_parallel ? TARGET_FULL : TARGET_UP;
}

static bool is_free(const struct target *t, uint64_t now_ms)
{
    bool has_room = t->rule.max_parallel == 0 || t->running < t->rule.max_parallel;

    return has_room && !t->now.unhealthy && breaker_would(&t->now.breaker, now_ms);
}

static uint64_t wait_of(const struct target *t, uint64_t now_ms)
{
    switch (state_of(t, now_ms)) {
    case TARGET_UNHEALTHY:
        return t->rule.back_ms;
    case TARGET_OPEN:
        return t->now.breaker.open_until - now_ms;
    default:
        return FULL_WAIT_MS;
    }
}

bool target_free(struct target *t, uint64_t now_ms, enum target_state *state, uint64_t *wait_ms)
{
    pthread_mutex_lock(&t->lock);
    bool yes = is_free(t, now_ms);
    *state = state_of(t, now_ms);
    *wait_ms = yes ? 0 : wait_of(t, now_ms);
    pthread_mutex_unlock(&t->lock);
    return yes;
}

/* ---- a request's place */

static void tell(const struct target *t, enum log_level level, const char *event, const char *why)
{
    struct log_line line;

    if (!log_begin(&line, level, event))
        return;
    log_str(&line, "model", t->model);
    log_str(&line, "url", t->url);
    log_str(&line, "message", why);
    log_end(&line);
}

bool target_take(struct target *t, uint64_t now_ms, struct target_place *ret)
{
    pthread_mutex_lock(&t->lock);
    bool yes = is_free(t, now_ms);
    if (yes) {
        breaker_may(&t->now.breaker, now_ms);
        *ret = (struct target_place){ .of = t, .trial = t->now.breaker.open_until != 0 };
        t->running++;
    }
    pthread_mutex_unlock(&t->lock);
    return yes;
}

bool target_told(struct target_place *p, bool failed, uint64_t now_ms)
{
    struct target *t = p->of;
    bool opened = false, was_open;

    pthread_mutex_lock(&t->lock);
    was_open = t->now.breaker.open_until != 0;
    t->now.failures += failed;
    if (t->rule.breaker.failures && (p->trial || !was_open))   /* one that began before it opened says nothing about now */
        opened = breaker_told_by(&t->now.breaker, &t->rule.breaker, failed, now_ms);
    bool closed = was_open && t->now.breaker.open_until == 0;
    pthread_mutex_unlock(&t->lock);
    p->told = true;
    p->trial = false;
    if (opened)
        tell(t, LOG_WARN, "target.open", was_open ? "its trial failed too: it is not asked for a while" : "it keeps failing: it is not asked for a while");
    else if (closed)
        tell(t, LOG_INFO, "target.closed", "its trial went well: it is asked again");
    return opened;
}

void target_leave(struct target_place *p)
{
    struct target *t = p->of;

    pthread_mutex_lock(&t->lock);
    if (p->trial)
        breaker_untold(&t->now.breaker);               /* it was given up: another may try */
    assert(t->running > 0);
    t->running--;
    pthread_mutex_unlock(&t->lock);
    *p = (struct target_place){ .of = NULL };
}

/* ---- probes */

void target_probed(struct target *t, bool well)
{
    bool changed = false;

    pthread_mutex_lock(&t->lock);
    if (t->rule.unhealthy > 0) {
        unsigned most = t->now.unhealthy ? t->rule.healthy : t->rule.unhealthy;

        t->now.streak = well == t->now.unhealthy ? t->now.streak + 1 : 0;
        changed = t->now.streak >= most;
        if (changed) {
            t->now.unhealthy = !well;
            t->now.streak = 0;
        }
    }
    pthread_mutex_unlock(&t->lock);
    if (changed)
        tell(t, well ? LOG_INFO : LOG_WARN, well ? "target.healthy" : "target.unhealthy", well ? "probes reach it again" : "probes do not reach it: it is not asked");
}

/* ---- seeing all */

struct seeing { void (*see)(void *arg, const struct target_facts *f); void *arg; uint64_t now_ms; };

static void see_one(void *arg, struct named *n)
{
    const struct seeing *s = arg;

    if (n->kind != kind)
        return;
    struct target *t = (struct target *)n;
    pthread_mutex_lock(&t->lock);
    struct target_facts f = { t->model, t->url, state_of(t, s->now_ms), t->running, t->now.failures };
    pthread_mutex_unlock(&t->lock);
    if (f.model)
        s->see(s->arg, &f);
}

void target_each(void (*see)(void *arg, const struct target_facts *f), void *arg, uint64_t now_ms)
{
    struct seeing s = { see, arg, now_ms };
    named_each(see_one, &s);
}
