#include "base/counter.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "base/mem.h"
#include "base/named.h"

#define MAX_KEYS 65536
#define NOT_SAID UINT64_MAX                            /* a window that no open has told yet */

struct count {
    int64_t window;                                    /* when it began; sums of an earlier one are over */
    uint64_t born;                                     /* no two sums share it: neither of one key's windows, nor of a key that was forgotten meanwhile */
    double sum;
};

struct counter {
    struct named named;
    struct keyed keys;                                 /* of struct count */
    _Atomic uint64_t window_ms, born;
};

static void destroy(struct named *n)
{
    struct counter *c = (struct counter *)n;

    keyed_free(&c->keys);
    free(c);
}

/* ---- shown */

static void settings(struct named *n, struct named_figure ret[NAMED_FIGURES])
{
    uint64_t window = atomic_load(&((struct counter *)n)->window_ms);

    ret[0] = (struct named_figure){ "window_ms", window ? (double)window : -1 };
}

static bool figures(const struct named_figure *set, const void *payload, const struct named_times *t, struct named_figure ret[NAMED_FIGURES], double *rank)
{
    const struct count *c = payload;
    double ends_in = set[0].value < 0 ? -1 : (double)c->window + set[0].value - (double)t->unix_ms;

    ret[0] = (struct named_figure){ "value", c->sum };
    ret[1] = (struct named_figure){ "ends_in_ms", ends_in };
    *rank = c->sum;
    return set[0].value < 0 || ends_in > 0;
}

static struct named *create(void)
{
    static const struct named_view view = { settings, figures };
    struct counter *c = mem_alloc(sizeof *c);

    c->named.destroy = destroy;
    c->named.keys = &c->keys;
    c->named.view = &view;
    atomic_init(&c->window_ms, NOT_SAID);
    keyed_init(&c->keys, sizeof(struct count), NULL);
    return &c->named;
}

struct counter *counter_open(const char *name, uint64_t window_ms)
{
    struct counter *c = (struct counter *)named_open("counter", name, create);

    atomic_store(&c->window_ms, window_ms);
    return c;
}

void counter_close(struct counter *c)
{
    named_close(&c->named);
}

static int64_t window_of(struct counter *c, int64_t now)
{
    int64_t length = (int64_t)atomic_load(&c->window_ms);
    return length > 0 ? now - now % length : 0;
}

/* The key's count in the current window, locked. */
static struct count *lock(struct counter *c, const char *key, size_t len, int64_t now, struct keyed_at *at)
{
    bool fresh;
    struct count *n = keyed_lock(&c->keys, key, len, MAX_KEYS, &fresh, at);
    int64_t window = window_of(c, now);

    if (fresh || window > n->window)                   /* workers' clocks may differ a little: never back into an old one */
        *n = (struct count){ window, atomic_fetch_add(&c->born, 1), 0 };
    return n;
}

double counter_add(struct counter *c, const char *key, size_t len, double n, int64_t unix_ms)
{
    struct keyed_at at;
    struct count *count = lock(c, key, len, unix_ms, &at);
    double sum = count->sum += n;

    keyed_unlock(&c->keys, &at);
    return sum;
}

double counter_get(struct counter *c, const char *key, size_t len, int64_t unix_ms)
{
    struct keyed_at at;
    struct count *count = keyed_lock(&c->keys, key, len, 0, NULL, &at);
    double sum = count && count->window >= window_of(c, unix_ms) ? count->sum : 0;

    keyed_unlock(&c->keys, &at);
    return sum;
}

bool counter_reserve(struct counter *c, const char *key, size_t len, double n, double limit, int64_t unix_ms, struct reservation *ret, int64_t *retry_ms)
{
    struct keyed_at at;
    struct count *count = lock(c, key, len, unix_ms, &at);
    bool fits = count->sum + n <= limit;

    *retry_ms = 0;
    *ret = (struct reservation){ n, count->born };
    if (fits) {
        count->sum += n;
    } else {
        int64_t length = (int64_t)atomic_load(&c->window_ms);
        *retry_ms = length > 0 && n <= limit ? count->window + length - unix_ms : INT64_MAX;
    }
    keyed_unlock(&c->keys, &at);
    return fits;
}

void counter_settle(struct counter *c, const char *key, size_t len, const struct reservation *r, double actual, int64_t unix_ms)
{
    struct keyed_at at;
    struct count *count = lock(c, key, len, unix_ms, &at);

    count->sum += actual - (count->born == r->born ? r->n : 0);
    keyed_unlock(&c->keys, &at);
}

size_t counter_keys(struct counter *c) { return keyed_count(&c->keys); }

/* ---- for snapshots */

struct counter *counter_resume(const char *name, uint64_t window_ms)
{
    struct counter *c = (struct counter *)named_open("counter", name, create);
    uint64_t not_said = NOT_SAID;

    atomic_compare_exchange_strong(&c->window_ms, &not_said, window_ms);
    return c;
}

uint64_t counter_window(struct counter *c) { return atomic_load(&c->window_ms); }

struct seer { void (*see)(void *arg, const char *key, size_t len, int64_t window, double sum); void *arg; };

static void see_one(void *arg, const char *key, size_t len, const void *payload, size_t bytes)
{
    (void)bytes;
    const struct seer *s = arg;
    const struct count *n = payload;

    s->see(s->arg, key, len, n->window, n->sum);
}

void counter_each(struct counter *c, void (*see)(void *arg, const char *key, size_t len, int64_t window, double sum), void *arg)
{
    struct seer s = { see, arg };
    keyed_each(&c->keys, see_one, &s);
}

void counter_put(struct counter *c, const char *key, size_t len, int64_t window, double sum)
{
    struct keyed_at at;
    bool fresh;
    struct count *n = keyed_lock(&c->keys, key, len, MAX_KEYS, &fresh, &at);

    *n = (struct count){ window, atomic_fetch_add(&c->born, 1), sum };
    keyed_unlock(&c->keys, &at);
}
