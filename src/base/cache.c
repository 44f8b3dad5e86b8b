#include "base/cache.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "base/mem.h"
#include "base/named.h"

#define ALLOCATOR 32                                   /* the least that malloc takes for a value */

struct entry {                                         /* a value, or the lease of who loads it */
    char *bytes;                                       /* NULL: a lease; its record is pinned */
    size_t len;
    uint64_t since, until;
    uint64_t lease;
};

struct cache {
    struct named named;
    struct keyed entries;                              /* of struct entry */
    _Atomic size_t max_bytes;
};

static _Atomic uint64_t leases;                        /* given so far, in all caches */

static void drop(void *payload) { free(((struct entry *)payload)->bytes); }

static void copy(void *payload)
{
    struct entry *e = payload;
    e->bytes = mem_copy(e->bytes, e->len);
}

static void destroy(struct named *n)
{
    struct cache *c = (struct cache *)n;

    keyed_free(&c->entries);
    free(c);
}

/* ---- shown: sizes and times, never values */

static void settings(struct named *n, struct named_figure ret[NAMED_FIGURES])
{
    ret[0] = (struct named_figure){ "max_bytes", (double)atomic_load(&((struct cache *)n)->max_bytes) };
}

static bool figures(const struct named_figure *set, const void *payload, const struct named_times *t, struct named_figure ret[NAMED_FIGURES], double *rank)
{
    const struct entry *e = payload;

    (void)set;
    ret[0] = (struct named_figure){ "bytes", (double)e->len };
    ret[1] = (struct named_figure){ "age_ms", t->now_ms > e->since ? (double)(t->now_ms - e->since) : 0 };
    ret[2] = (struct named_figure){ "ends_in_ms", e->until == CACHE_FOR_EVER ? -1 : (double)e->until - (double)t->now_ms };
    *rank = (double)e->len;
    return e->bytes && (e->until == CACHE_FOR_EVER || t->now_ms < e->until);   /* no bytes: somebody loads it */
}

static struct named *create(void)
{
    static const struct named_view view = { settings, figures };
    struct cache *c = mem_alloc(sizeof *c);

    c->named.destroy = destroy;
    c->named.keys = &c->entries;
    c->named.view = &view;
    keyed_init(&c->entries, sizeof(struct entry), drop);
    c->entries.copy = copy;
    c->entries.whole = true;
    return &c->named;
}

struct cache *cache_open(const char *name, uint64_t max_bytes)
{
    struct cache *c = (struct cache *)named_open("cache", name, create);

    assert(max_bytes >= CACHE_BYTES_MIN);
    if (atomic_exchange(&c->max_bytes, max_bytes) > max_bytes)
        keyed_trim(&c->entries, max_bytes);
    return c;
}

void cache_close(struct cache *c) { named_close(&c->named); }
const char *cache_name(const struct cache *c) { return c->named.name; }

size_t cache_room(const struct cache *c)
{
    size_t share = atomic_load(&c->max_bytes) / KEYED_SHARDS;

    return share < CACHE_ENTRY_MAX ? share : CACHE_ENTRY_MAX;
}

size_t cache_takes(const struct cache *c, size_t key_len, size_t value_len) { return keyed_takes(&c->entries, key_len) + ALLOCATOR + value_len; }

static bool lives(const struct entry *e, uint64_t now) { return e->until == CACHE_FOR_EVER || now < e->until; }

/* ---- what is known */

bool cache_get(struct cache *c, const char *key, size_t len, uint64_t now_ms, struct buf *ret)
{
    struct keyed_at at;
    struct entry *e = keyed_lock(&c->entries, key, len, 0, NULL, &at);
    bool found = e && e->bytes && lives(e, now_ms);

    if (found)
        buf_append(ret, e->bytes, e->len);
    else if (e && e->bytes)
        keyed_remove(&c->entries, &at);
    keyed_unlock(&c->entries, &at);
    return found;
}

/* Takes `bytes` for the locked entry. */
static void put(struct cache *c, struct keyed_at *at, struct entry *e, char *bytes, size_t n, uint64_t until, uint64_t now)
{
    if (!e->bytes)
        keyed_pin(at, false);
    free(e->bytes);
    *e = (struct entry){ .bytes = bytes, .len = n, .since = now, .until = until };
    keyed_weigh(&c->entries, at, n + ALLOCATOR, atomic_load(&c->max_bytes));
}

bool cache_set(struct cache *c, const char *key, size_t len, const char *value, size_t n, uint64_t until_ms, uint64_t now_ms)
{
    struct keyed_at at;

    if (cache_takes(c, len, n) > cache_room(c)) {
        cache_delete(c, key, len);
        return false;
    }
    char *bytes = mem_copy(value, n);                  /* before the lock: others wait for it */
    bool fresh;
    struct entry *e = keyed_lock(&c->entries, key, len, SIZE_MAX, &fresh, &at);
    put(c, &at, e, bytes, n, until_ms, now_ms);
    keyed_unlock(&c->entries, &at);
    return true;
}

void cache_delete(struct cache *c, const char *key, size_t len)
{
    struct keyed_at at;

    if (keyed_lock(&c->entries, key, len, 0, NULL, &at))
        keyed_remove(&c->entries, &at);
    keyed_unlock(&c->entries, &at);
}

/* ---- what one loads for all */

static uint64_t lease(struct cache *c, struct keyed_at *at, struct entry *e, uint64_t now)
{
    free(e->bytes);
    *e = (struct entry){ .until = now + CACHE_LEASE_MS, .lease = ++leases };
    keyed_pin(at, true);
    keyed_weigh(&c->entries, at, 0, atomic_load(&c->max_bytes));
    return e->lease;
}

enum cache_answer cache_fetch(struct cache *c, const char *key, size_t len, uint64_t now_ms, struct buf *ret, uint64_t *ret_lease)
{
    enum cache_answer answer = CACHE_LEASED;
    struct keyed_at at;
    bool fresh;

    if (cache_takes(c, len, 0) > cache_room(c)) {
        *ret_lease = 0;                                /* nobody's */
        return CACHE_LEASED;
    }
    struct entry *e = keyed_lock(&c->entries, key, len, SIZE_MAX, &fresh, &at);
    if (!fresh && lives(e, now_ms))
        answer = e->bytes ? CACHE_VALUE : CACHE_LOADING;
    if (answer == CACHE_VALUE)
        buf_append(ret, e->bytes, e->len);
    else if (answer == CACHE_LEASED)
        *ret_lease = lease(c, &at, e, now_ms);
    keyed_unlock(&c->entries, &at);
    return answer;
}

static bool holds(const struct entry *e, uint64_t number) { return e && !e->bytes && e->lease == number; }

bool cache_keep(struct cache *c, const char *key, size_t len, uint64_t number, const char *value, size_t n, uint64_t until_ms, uint64_t now_ms)
{
    struct keyed_at at;

    if (cache_takes(c, len, n) > cache_room(c)) {
        cache_give_up(c, key, len, number);
        return false;
    }
    char *bytes = mem_copy(value, n);
    struct entry *e = keyed_lock(&c->entries, key, len, 0, NULL, &at);
    if (holds(e, number))
        put(c, &at, e, bytes, n, until_ms, now_ms);
    else
        free(bytes);
    keyed_unlock(&c->entries, &at);
    return true;
}

void cache_give_up(struct cache *c, const char *key, size_t len, uint64_t number)
{
    struct keyed_at at;
    struct entry *e = keyed_lock(&c->entries, key, len, 0, NULL, &at);

    if (holds(e, number))
        keyed_remove(&c->entries, &at);
    keyed_unlock(&c->entries, &at);
}

size_t cache_keys(struct cache *c) { return keyed_count(&c->entries); }
size_t cache_bytes(struct cache *c) { return keyed_bytes(&c->entries); }
