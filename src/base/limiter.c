#include "base/limiter.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/named.h"

#define SHARDS 16
#define KEY_MAX 128
#define MAX_KEYS 65536
#define SLOTS 256                                      /* hash chains a shard */

struct bucket {
    struct bucket *next;                               /* in its hash chain */
    struct list used;                                  /* in shard.used, the longest unused first */
    uint64_t hash;
    double level;                                      /* tokens at `at` */
    uint64_t at;
    size_t len;
    char key[];
};

struct shard {
    pthread_mutex_t lock;
    struct limiter_rule rule;                          /* a copy a shard: a take needs one lock */
    struct bucket *slots[SLOTS];
    struct list used;
    size_t n;
};

struct limiter {
    struct named named;
    struct shard shards[SHARDS];
};

static uint64_t hash_of(const char *key, size_t len)    /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static void destroy(struct named *n)
{
    struct limiter *l = (struct limiter *)n;

    for (int i = 0; i < SHARDS; i++) {
        list_each_safe(it, &l->shards[i].used)
            free(list_of(it, struct bucket, used));
        pthread_mutex_destroy(&l->shards[i].lock);
    }
    free(l);
}

static struct named *create(void)
{
    struct limiter *l = mem_alloc(sizeof *l);

    l->named.destroy = destroy;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&l->shards[i].lock, NULL);
        list_init(&l->shards[i].used);
    }
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
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&l->shards[i].lock);
        l->shards[i].rule = full;
        pthread_mutex_unlock(&l->shards[i].lock);
    }
    return l;
}

void limiter_close(struct limiter *l)
{
    named_close(&l->named);
}

static void forget(struct shard *s, struct bucket *b)
{
    struct bucket **p = &s->slots[b->hash / SHARDS % SLOTS];

    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    list_remove(&b->used);
    free(b);
    s->n--;
}

static struct bucket *bucket_of(struct shard *s, uint64_t hash, const char *key, size_t len, uint64_t now)
{
    size_t most = (s->rule.max_keys - 1) / SHARDS + 1;
    struct bucket **slot = &s->slots[hash / SHARDS % SLOTS], *b = *slot;

    while (b && !(b->hash == hash && b->len == len && memcmp(b->key, key, len) == 0))
        b = b->next;
    if (b) {
        list_remove(&b->used);
        list_append(&s->used, &b->used);
        return b;
    }
    while (s->n >= most)                               /* more than one when a later rule is smaller */
        forget(s, list_of(s->used.next, struct bucket, used));
    b = mem_alloc(sizeof *b + len);
    b->hash = hash;
    b->len = len;
    memcpy(b->key, key, len);
    b->level = s->rule.burst;
    b->at = now;
    b->next = *slot;
    *slot = b;
    list_append(&s->used, &b->used);
    s->n++;
    return b;
}

static void refill(struct bucket *b, const struct limiter_rule *rule, uint64_t now)
{
    if (now > b->at) {                                 /* workers' clocks may differ by a turn: never go back */
        b->level += (double)(now - b->at) * rule->rate / (double)rule->per_ms;
        b->at = now;
    }
    if (b->level > rule->burst)
        b->level = rule->burst;
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
    uint64_t hash = hash_of(key, len);
    struct shard *s = &l->shards[hash % SHARDS];
    char brief[KEY_MAX + 40];

    if (len > KEY_MAX) {                               /* keys may come from clients: what is kept of one is bounded */
        memcpy(brief, key, KEY_MAX);
        len = KEY_MAX + (size_t)snprintf(brief + KEY_MAX, 40, "#%zu#%016llx", len, (unsigned long long)hash);
        key = brief;
    }
    if (!(cost > 0))
        cost = 0;
    pthread_mutex_lock(&s->lock);
    struct bucket *b = bucket_of(s, hash, key, len, now_ms);
    refill(b, &s->rule, now_ms);
    struct limiter_answer a = take(b, &s->rule, cost);
    pthread_mutex_unlock(&s->lock);
    return a;
}

size_t limiter_keys(struct limiter *l)
{
    size_t n = 0;

    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&l->shards[i].lock);
        n += l->shards[i].n;
        pthread_mutex_unlock(&l->shards[i].lock);
    }
    return n;
}
