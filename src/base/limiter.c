#include "base/limiter.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "base/mem.h"
#include "base/named.h"

#define MAX_KEYS 65536

struct bucket {
    double level;                                      /* tokens at `at` */
    uint64_t at;
};

struct limiter {
    struct named named;
    struct keyed keys;                                 /* of struct bucket */
    struct limiter_rule rules[KEYED_SHARDS];           /* a copy a shard, under its lock: a take needs one lock */
    _Atomic size_t max_keys;
};

static void refill(struct bucket *b, const struct limiter_rule *rule, uint64_t now)
{
    if (now > b->at) {                                 /* workers' clocks may differ by a turn: never go back */
        b->level += (double)(now - b->at) * rule->rate / (double)rule->per_ms;
        b->at = now;
    }
    if (b->level > rule->burst)
        b->level = rule->burst;
}

/* ---- shown */

static void settings(struct named *n, struct named_figure ret[NAMED_FIGURES])
{
    struct limiter *l = (struct limiter *)n;
    struct limiter_rule rule;

    pthread_mutex_lock(&l->keys.shards[0].lock);
    rule = l->rules[0];
    pthread_mutex_unlock(&l->keys.shards[0].lock);
    ret[0] = (struct named_figure){ "rate", rule.rate };
    ret[1] = (struct named_figure){ "per_ms", (double)rule.per_ms };
    ret[2] = (struct named_figure){ "burst", rule.burst };
}

/* First those that have least left: they are refused next. */
static bool figures(const struct named_figure *set, const void *payload, const struct named_times *t, struct named_figure ret[NAMED_FIGURES], double *rank)
{
    struct limiter_rule rule = { .rate = set[0].value, .per_ms = (uint64_t)set[1].value, .burst = set[2].value };
    struct bucket b = *(const struct bucket *)payload;

    refill(&b, &rule, t->now_ms);
    ret[0] = (struct named_figure){ "left", b.level };
    ret[1] = (struct named_figure){ "full_in_ms", (rule.burst - b.level) * (double)rule.per_ms / rule.rate };
    *rank = -b.level;
    return true;
}

static void destroy(struct named *n)
{
    struct limiter *l = (struct limiter *)n;

    keyed_free(&l->keys);
    free(l);
}

static struct named *create(void)
{
    static const struct named_view view = { settings, figures };
    struct limiter *l = mem_alloc(sizeof *l);

    l->named.destroy = destroy;
    l->named.keys = &l->keys;
    l->named.view = &view;
    keyed_init(&l->keys, sizeof(struct bucket), NULL);
    return &l->named;
}

/* Nobody takes from a limiter that it did not open, so no take sees a shard without a rule. */
struct limiter *limiter_open(const char *name, const struct limiter_rule *rule)
{
    struct limiter *l = (struct limiter *)named_open("limiter", name, create);
    struct limiter_rule full = *rule;

    assert(rule->rate > 0 && isfinite(rule->rate) && rule->per_ms > 0);
    if (!(full.burst > 0))
        full.burst = full.rate > 1 ? full.rate : 1;
    if (full.max_keys == 0)
        full.max_keys = MAX_KEYS;
    for (int i = 0; i < KEYED_SHARDS; i++) {
        pthread_mutex_lock(&l->keys.shards[i].lock);
        l->rules[i] = full;
        pthread_mutex_unlock(&l->keys.shards[i].lock);
    }
    atomic_store(&l->max_keys, full.max_keys);
    return l;
}

void limiter_close(struct limiter *l)
{
    named_close(&l->named);
}

/* Rounded down; x >= 0. (This floor is linked without libm.) */
static double whole(double x) { return x < 0x1p53 ? (double)(uint64_t)x : x; }

static uint64_t until(const struct limiter_rule *rule, double missing)
{
    double ms = missing * (double)rule->per_ms / rule->rate;

    if (missing <= 0)
        return 0;
    if (!(ms < 0x1p62))
        return LIMITER_NEVER;
    return (uint64_t)ms + (whole(ms) < ms);            /* rounded up: then it is really there */
}

static struct limiter_answer take(struct bucket *b, const struct limiter_rule *rule, double cost)
{
    const double dust = 1e-9;                          /* ten refills of 0.1 are one token */
    struct limiter_answer a = { .ok = b->level + dust >= cost };

    if (a.ok)
        b->level = b->level > cost ? b->level - cost : 0;
    else
        a.retry_ms = cost > rule->burst + dust ? LIMITER_NEVER : until(rule, cost - b->level - dust);
    a.left = whole(b->level + dust);
    a.reset_ms = until(rule, rule->burst - b->level - dust);
    return a;
}

struct limiter_answer limiter_take(struct limiter *l, const char *key, size_t len, double cost, uint64_t now_ms)
{
    struct keyed_at at;
    bool fresh;
    struct bucket *b = keyed_lock(&l->keys, key, len, atomic_load(&l->max_keys), &fresh, &at);
    const struct limiter_rule *rule = &l->rules[at.shard - l->keys.shards];

    if (!(cost > 0))
        cost = 0;
    if (fresh)
        *b = (struct bucket){ rule->burst, now_ms };
    refill(b, rule, now_ms);
    struct limiter_answer a = take(b, rule, cost);
    keyed_unlock(&l->keys, &at);
    return a;
}

size_t limiter_keys(struct limiter *l) { return keyed_count(&l->keys); }
