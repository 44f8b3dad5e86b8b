#include "base/balance.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/named.h"

struct balance {
    struct named named;
    pthread_mutex_t lock;
    long due[BALANCE_MAX];                             /* what each is owed, in turns times the sum of the weights */
};

static void destroy(struct named *n)
{
    struct balance *b = (struct balance *)n;

    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void *save(struct named *n)
{
    struct balance *b = (struct balance *)n;
    long *copy = mem_alloc(sizeof b->due);

    pthread_mutex_lock(&b->lock);
    memcpy(copy, b->due, sizeof b->due);
    pthread_mutex_unlock(&b->lock);
    return copy;
}

static void restore(struct named *n, const void *saved)
{
    struct balance *b = (struct balance *)n;

    pthread_mutex_lock(&b->lock);
    if (saved)
        memcpy(b->due, saved, sizeof b->due);
    else
        memset(b->due, 0, sizeof b->due);
    pthread_mutex_unlock(&b->lock);
}

static struct named *create(void)
{
    struct balance *b = mem_alloc(sizeof *b);

    b->named.destroy = destroy;
    b->named.save = save;
    b->named.restore = restore;
    pthread_mutex_init(&b->lock, NULL);
    return &b->named;
}

struct balance *balance_open(const char *name) { return (struct balance *)named_open("balance", name, create); }
void balance_close(struct balance *b) { named_close(&b->named); }

static int lowest(unsigned set)
{
    return __builtin_ctz(set);
}

unsigned balance_next(struct balance *b, const unsigned *weights, unsigned among)
{
    unsigned best = (unsigned)lowest(among);
    long sum = 0;

    pthread_mutex_lock(&b->lock);
    for (unsigned i = best; i < BALANCE_MAX; i++) {
        if (!(among & 1u << i))
            continue;
        b->due[i] += (long)weights[i];
        sum += (long)weights[i];
        if (b->due[i] > b->due[best])
            best = i;
    }
    b->due[best] -= sum;
    pthread_mutex_unlock(&b->lock);
    return best;
}

unsigned balance_least(struct balance *b, const unsigned *weights, const unsigned *running, unsigned among)
{
    unsigned best = (unsigned)lowest(among), equals = 0;

    for (unsigned i = best; i < BALANCE_MAX; i++) {
        if (!(among & 1u << i))
            continue;
        uint64_t mine = (uint64_t)running[i] * weights[best], least = (uint64_t)running[best] * weights[i];   /* running / weight, without dividing */

        if (mine < least)
            equals = 0;
        if (mine <= least) {
            best = i;
            equals |= 1u << i;
        }
    }
    return balance_next(b, weights, equals);
}

/* The highest of `chances` draws that key and name make. */
static uint64_t score(const char *name, unsigned chances, const char *key, size_t len)
{
    static const uint64_t first[2] = { 0x736c7569, 0x6365 };   /* not drawn: all processes must agree */
    uint64_t best = 0, under[2] = { hash_under(first, name, strlen(name)), 0 };

    for (unsigned i = 0; i < chances; i++) {
        under[1] = i;
        uint64_t drawn = hash_under(under, key, len);
        if (drawn > best)
            best = drawn;
    }
    return best;
}

unsigned balance_by_key(const char *const *names, const unsigned *weights, unsigned among, const char *key, size_t len)
{
    unsigned best = (unsigned)lowest(among);
    uint64_t highest = 0;

    for (unsigned i = best; i < BALANCE_MAX; i++) {
        uint64_t s = among & 1u << i ? score(names[i], weights[i], key, len) : 0;

        if (s > highest) {
            highest = s;
            best = i;
        }
    }
    return best;
}
