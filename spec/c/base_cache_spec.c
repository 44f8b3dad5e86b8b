#include "base/cache.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/named.h"
#include "check.h"

#define K "k", 1
#define MIB ((size_t)1 << 20)

static struct buf got;

static const char *get(struct cache *c, const char *key, uint64_t now)   /* NULL: nothing */
{
    got.len = 0;
    return cache_get(c, key, strlen(key), now, &got) ? buf_cstr(&got) : NULL;
}

static bool set(struct cache *c, const char *key, const char *value, uint64_t until)
{
    return cache_set(c, key, strlen(key), value, strlen(value), until, 0);
}

static enum cache_answer fetch(struct cache *c, const char *key, uint64_t now, uint64_t *lease)
{
    got.len = 0;
    return cache_fetch(c, key, strlen(key), now, &got, lease);
}

static void keeps_values_until_their_time_is_over(void)
{
    struct cache *c = cache_open("values", MIB);

    CHECK(get(c, "a", 0) == NULL);
    CHECK(set(c, "a", "one", 100));
    CHECK(set(c, "b", "two", CACHE_FOR_EVER));
    CHECK_STR("one", get(c, "a", 99));
    CHECK(get(c, "a", 100) == NULL);
    CHECK_INT(1, cache_keys(c));                       /* what is over is gone when it was looked at */
    CHECK_STR("two", get(c, "b", UINT64_MAX - 1));
    CHECK(set(c, "b", "three", 300));
    CHECK_STR("three", get(c, "b", 200));
    cache_delete(c, "b", 1);
    CHECK(get(c, "b", 200) == NULL);
    cache_delete(c, "b", 1);
    CHECK_INT(0, cache_bytes(c));
    cache_close(c);
}

static void bytes_are_bytes(void)
{
    struct cache *c = cache_open("bytes", MIB);

    CHECK(cache_set(c, "a\0b", 3, "\0\xff", 2, 10, 0));
    CHECK(cache_set(c, "a\0c", 3, "", 0, 10, 0));
    CHECK(cache_set(c, "", 0, "x", 1, 10, 0));
    got.len = 0;
    CHECK(cache_get(c, "a\0b", 3, 0, &got));
    CHECK_BYTES("\0\xff", 2, got.data, got.len);
    CHECK(cache_get(c, "a\0c", 3, 0, &got));           /* an empty value is one; it is appended */
    CHECK_INT(2, got.len);
    CHECK(!cache_get(c, "a", 1, 0, &got));
    CHECK_STR("x", get(c, "", 0));
    cache_close(c);
}

static void long_keys_never_meet(void)
{
    struct cache *c = cache_open("long", MIB);
    static char key[5000];

    memset(key, 'x', sizeof key);
    CHECK(cache_set(c, key, sizeof key, "all", 3, 10, 0));
    CHECK(cache_set(c, key, sizeof key - 1, "less", 4, 10, 0));
    key[4990] = 'y';
    got.len = 0;
    CHECK(!cache_get(c, key, sizeof key, 0, &got));
    key[4990] = 'x';
    CHECK(cache_get(c, key, sizeof key, 0, &got));
    CHECK_BYTES("all", 3, got.data, got.len);
    CHECK(cache_bytes(c) > 2 * 4999);                  /* keys count */
    cache_close(c);
}

static void who_was_used_longest_ago_goes_first(void)
{
    struct cache *c = cache_open("lru", MIB);
    static char value[2000];
    char key[20];

    memset(value, 'v', sizeof value - 1);
    CHECK(set(c, "busy", "b", CACHE_FOR_EVER));
    CHECK(set(c, "idle", "i", CACHE_FOR_EVER));
    for (int i = 0; i < 5000; i++) {
        sprintf(key, "key%d", i);
        CHECK(set(c, key, value, CACHE_FOR_EVER));
        CHECK_STR(value, get(c, key, 0));              /* the newest is never the one that went */
        CHECK_STR("b", get(c, "busy", 0));
        CHECK(cache_bytes(c) <= MIB);
    }
    CHECK(get(c, "idle", 0) == NULL);
    CHECK(get(c, "key0", 0) == NULL);
    CHECK(cache_bytes(c) > MIB * 9 / 10);
    cache_close(c);
}

static void one_entry_has_its_share(void)
{
    struct cache *c = cache_open("share", MIB);
    static char big[2 * 1024 * 1024];
    size_t most = cache_room(c) - cache_takes(c, 1, 0);

    CHECK_INT(MIB / 16, cache_room(c));
    CHECK(cache_set(c, K, big, most, 10, 0));
    CHECK(cache_bytes(c) <= MIB / 16);
    CHECK(!cache_set(c, K, big, most + 1, 10, 0));
    CHECK(get(c, "k", 0) == NULL);                     /* nor what was there before: it is not true any more */
    CHECK_INT(0, cache_bytes(c));
    CHECK(!cache_set(c, big, sizeof big, "v", 1, 10, 0)); /* keys have no other */
    cache_open("share", 1024 * MIB);
    CHECK_INT(CACHE_ENTRY_MAX, cache_room(c));
    cache_close(c);
    cache_close(c);
}

/* What the heap says, not what we say. */
static void tiny_entries_are_bounded_too(void)
{
    struct cache *c = cache_open("tiny", 8 * MIB);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    size_t before = mallinfo2().uordblks;
#endif

    for (int i = 0; i < 200000; i++) {
        char key[20];
        int len = sprintf(key, "%d", i);
        CHECK(cache_set(c, key, (size_t)len, "1", 1, CACHE_FOR_EVER, 0));
    }
    CHECK(cache_bytes(c) <= 8 * MIB);
    CHECK(cache_keys(c) > 40000);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(mallinfo2().uordblks - before <= 8 * MIB);
#endif
    cache_close(c);
}

static void the_latest_bound_holds(void)
{
    struct cache *c = cache_open("bound", 4 * MIB);
    static char value[3000];
    char key[20];

    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 2000; i++) {
        sprintf(key, "key%d", i);
        set(c, key, value, CACHE_FOR_EVER);
    }
    CHECK(cache_bytes(c) > 3 * MIB);
    CHECK(cache_open("bound", MIB) == c);
    CHECK(cache_bytes(c) <= MIB);
    CHECK_STR(value, get(c, "key1999", 0));
    cache_close(c);
    cache_close(c);
}

static void survives_its_last_close(void)
{
    struct cache *c = cache_open("kept", MIB);

    set(c, "a", "v", 10);
    cache_close(c);
    c = cache_open("kept", MIB);
    CHECK_STR("v", get(c, "a", 5));
    cache_close(c);
    c = cache_open("other", MIB);
    CHECK(get(c, "a", 5) == NULL);
    cache_close(c);
}

/* ---- leases */

static void one_loads_and_the_others_come_again(void)
{
    struct cache *c = cache_open("load", MIB);
    uint64_t lease, other;

    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &lease));
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 1, &other));
    CHECK(get(c, "k", 1) == NULL);                     /* looking does not wait */
    CHECK_INT(CACHE_LEASED, fetch(c, "other", 1, &other));
    CHECK(cache_keep(c, K, lease, "v", 1, 100, 0));
    CHECK_INT(CACHE_VALUE, fetch(c, "k", 99, &lease));
    CHECK_STR("v", buf_cstr(&got));
    CHECK_INT(CACHE_LEASED, fetch(c, "k", 100, &lease));         /* its time is over: it is loaded anew */
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 100, &other));
    cache_give_up(c, K, lease);
    cache_close(c);
}

static void what_was_given_up_the_next_loads(void)
{
    struct cache *c = cache_open("up", MIB);
    uint64_t first, second;

    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &first));
    cache_give_up(c, K, first);
    CHECK_INT(0, cache_keys(c));
    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &second));
    cache_give_up(c, K, first);                        /* twice: not the new one's */
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 0, &first));
    CHECK(cache_keep(c, K, second, "v", 1, 100, 0));
    cache_give_up(c, K, second);                       /* it is a value now */
    CHECK_STR("v", get(c, "k", 0));
    cache_close(c);
}

static void a_lease_that_takes_too_long_is_taken_over(void)
{
    struct cache *c = cache_open("slow", MIB);
    uint64_t slow, next, none;

    CHECK_INT(CACHE_LEASED, fetch(c, "k", 1000, &slow));
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 1000 + CACHE_LEASE_MS - 1, &none));
    CHECK_INT(CACHE_LEASED, fetch(c, "k", 1000 + CACHE_LEASE_MS, &next));
    cache_keep(c, K, slow, "old", 3, CACHE_FOR_EVER, 0);  /* too late: not kept, not in the way */
    CHECK(get(c, "k", 1000) == NULL);
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 1000 + CACHE_LEASE_MS, &none));
    cache_keep(c, K, next, "new", 3, CACHE_FOR_EVER, 0);
    CHECK_STR("new", get(c, "k", 1000));
    CHECK_INT(CACHE_LEASED, fetch(c, "l", 1000, &slow));
    cache_keep(c, "l", 1, slow, "v", 1, CACHE_FOR_EVER, 0);       /* late, but nobody else has begun */
    CHECK_STR("v", get(c, "l", 90000));
    cache_close(c);
}

static void set_and_delete_end_a_lease(void)
{
    struct cache *c = cache_open("ends", MIB);
    uint64_t lease, other;

    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &lease));
    set(c, "k", "set", 100);
    CHECK_INT(CACHE_VALUE, fetch(c, "k", 0, &other));
    cache_keep(c, K, lease, "loaded", 6, 100, 0);
    CHECK_STR("set", get(c, "k", 0));
    CHECK_INT(CACHE_LEASED, fetch(c, "d", 0, &lease));
    cache_delete(c, "d", 1);
    cache_keep(c, "d", 1, lease, "stale", 5, 100, 0);     /* loaded before the delete */
    CHECK(get(c, "d", 0) == NULL);
    CHECK_INT(CACHE_LEASED, fetch(c, "d", 0, &other));
    cache_give_up(c, "d", 1, other);
    cache_close(c);
}

static void leases_do_not_go_for_others(void)
{
    struct cache *c = cache_open("pinned", CACHE_BYTES_MIN);
    static char value[1000], big[100000];
    uint64_t lease, none;
    char key[20];

    memset(value, 'v', sizeof value - 1);
    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &lease));
    for (int i = 0; i < 2000; i++) {
        sprintf(key, "key%d", i);
        set(c, key, value, CACHE_FOR_EVER);
    }
    CHECK_INT(CACHE_LOADING, fetch(c, "k", 0, &none));
    CHECK(!cache_keep(c, K, lease, big, sizeof big, 100, 0));     /* too large: the next loads for itself */
    CHECK_INT(CACHE_LEASED, fetch(c, "k", 0, &none));
    cache_give_up(c, K, none);
    CHECK_INT(CACHE_LEASED, cache_fetch(c, big, sizeof big, 0, &got, &lease));
    CHECK_INT(CACHE_LEASED, cache_fetch(c, big, sizeof big, 0, &got, &none));    /* such a key cannot be awaited */
    CHECK(!cache_keep(c, big, sizeof big, lease, "v", 1, 100, 0));
    cache_give_up(c, big, sizeof big, none);
    cache_close(c);
}

/* ---- threads */

static struct cache *shared;
static _Atomic int loading[8];
static _Atomic long loads, values;

static void *hammer(void *arg)
{
    uint64_t seed = 1 + (uint64_t)(size_t)arg;
    struct buf value = BUF_EMPTY;

    for (int i = 0; i < 40000; i++) {
        uint64_t dice = check_random(&seed), lease;
        int k = (int)(dice % 8);
        char key[2] = { 'k', (char)('0' + k) };

        value.len = 0;
        switch (cache_fetch(shared, key, 2, (uint64_t)i, &value, &lease)) {
        case CACHE_LEASED:
            CHECK_INT(0, atomic_fetch_add(&loading[k], 1));            /* alone */
            loads++;
            atomic_fetch_sub(&loading[k], 1);
            if (dice >> 32 & 1)
                cache_give_up(shared, key, 2, lease);
            else
                cache_keep(shared, key, 2, lease, key, 2, (uint64_t)i + 20, 0);
            break;
        case CACHE_VALUE:
            CHECK_BYTES(key, 2, value.data, value.len);
            values++;
            break;
        case CACHE_LOADING:
            break;
        }
        if ((dice >> 40) % 16 == 0)
            cache_set(shared, &key[1], 1, "other", 5, CACHE_FOR_EVER, 0);
    }
    buf_free(&value);
    return NULL;
}

static void threads_load_one_at_a_time(void)
{
    pthread_t t[4];

    shared = cache_open("threads", MIB);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(0, pthread_create(&t[i], NULL, hammer, (void *)(i + 1)));
    for (size_t i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK(loads > 100 && values > 100);
    CHECK(cache_keys(shared) <= 16);
    cache_close(shared);
}

int main(void)
{
    RUN(keeps_values_until_their_time_is_over);
    RUN(bytes_are_bytes);
    RUN(long_keys_never_meet);
    RUN(who_was_used_longest_ago_goes_first);
    RUN(one_entry_has_its_share);
    RUN(tiny_entries_are_bounded_too);
    RUN(the_latest_bound_holds);
    RUN(survives_its_last_close);
    RUN(one_loads_and_the_others_come_again);
    RUN(what_was_given_up_the_next_loads);
    RUN(a_lease_that_takes_too_long_is_taken_over);
    RUN(set_and_delete_end_a_lease);
    RUN(leases_do_not_go_for_others);
    RUN(threads_load_one_at_a_time);
    buf_free(&got);
    named_forget_idle();
    return check_done();
}
