#include "base/semaphore.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "base/mem.h"
#include "base/named.h"

struct semaphore {
    struct named named;
    struct keyed keys;                                 /* of uint64_t: the slots taken, at least 1; all pinned */
    _Atomic size_t held;                               /* of all keys */
};

struct taken {
    struct slot slot;
    struct semaphore *semaphore;
    struct keyed_at at;                                /* its key's record, which stays as long as a slot of it is taken */
};

static void destroy(struct named *n)
{
    struct semaphore *s = (struct semaphore *)n;

    keyed_free(&s->keys);
    free(s);
}

static size_t held(struct named *n)
{
    struct semaphore *s = (struct semaphore *)n;
    return atomic_load(&s->held);
}

/* ---- shown */

static void settings(struct named *n, struct named_figure ret[NAMED_FIGURES]) { ret[0] = (struct named_figure){ "held", (double)held(n) }; }

static bool figures(const struct named_figure *set, const void *payload, const struct named_times *t, struct named_figure ret[NAMED_FIGURES], double *rank)
{
    (void)set, (void)t;
    *rank = (double)*(const uint64_t *)payload;
    ret[0] = (struct named_figure){ "taken", *rank };
    return true;
}

static struct named *create(void)
{
    static const struct named_view view = { settings, figures };
    struct semaphore *s = mem_alloc(sizeof *s);

    s->named.destroy = destroy;
    s->named.view = &view;
    s->named.keys = &s->keys;
    s->named.held = held;
    keyed_init(&s->keys, sizeof(uint64_t), NULL);
    return &s->named;
}

struct semaphore *semaphore_open(const char *name) { return (struct semaphore *)named_open("semaphore", name, create); }

void semaphore_close(struct semaphore *s) { named_close(&s->named); }

/* Counts one more of the key's. False: they are all taken. */
static bool count_up(struct semaphore *s, const char *key, size_t len, uint64_t limit, struct keyed_at *at, uint64_t *ret)
{
    bool fresh;
    uint64_t *n = keyed_lock(&s->keys, key, len, SIZE_MAX, &fresh, at);
    bool fits = *n < limit;

    if (fits) {
        keyed_pin(at, true);
        ++*n;
    }
    *ret = *n;
    if (*n == 0)
        keyed_remove(&s->keys, at);
    keyed_unlock(&s->keys, at);
    return fits;
}

struct slot *semaphore_take(struct semaphore *s, const char *key, size_t len, uint64_t limit, uint64_t *ret)
{
    struct keyed_at at;

    if (!count_up(s, key, len, limit, &at, ret))
        return NULL;
    struct taken *t = mem_alloc(sizeof *t);
    t->semaphore = s;
    t->at = at;
    named_hold(&s->named);
    atomic_fetch_add(&s->held, 1);
    return &t->slot;
}

void slot_release(struct slot *slot)
{
    struct taken *t = (struct taken *)slot;
    struct semaphore *s = t->semaphore;
    uint64_t *n = keyed_relock(&t->at);

    assert(*n > 0);
    if (--*n == 0)
        keyed_remove(&s->keys, &t->at);
    keyed_unlock(&s->keys, &t->at);
    atomic_fetch_sub(&s->held, 1);
    free(t);
    named_close(&s->named);                            /* last: it may free the semaphore */
}

uint64_t semaphore_held(struct semaphore *s, const char *key, size_t len)
{
    struct keyed_at at;
    const uint64_t *n = keyed_lock(&s->keys, key, len, 0, NULL, &at);
    uint64_t held_now = n ? *n : 0;

    keyed_unlock(&s->keys, &at);
    return held_now;
}
