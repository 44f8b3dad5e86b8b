#include "base/cache.h"
#include "base/counter.h"
#include "base/limiter.h"
#include "base/named.h"
#include "check.h"

#define K "k", 1

static struct buf got;

static const char *cached(struct cache *c, const char *key)
{
    got.len = 0;
    if (!cache_get(c, key, strlen(key), 1, &got))
        return "none";
    buf_putc(&got, 0);
    return got.data;
}

static void a_copy_brings_back_what_all_held(void)
{
    struct counter *counter = counter_open("c", 0);
    struct limiter *limiter = limiter_open("l", &(struct limiter_rule){ .rate = 2, .per_ms = 1000 });
    struct cache *cache = cache_open("s", CACHE_BYTES_MIN);

    counter_add(counter, K, 5, 1);
    CHECK_INT(1, limiter_take(limiter, K, 1, 1).left);
    cache_set(cache, K, "before", 6, CACHE_FOR_EVER, 0);
    size_t bytes = cache_bytes(cache);

    struct named_copy *copy = named_copy();
    for (int again = 0; again < 2; again++) {          /* as often as wanted */
        counter_add(counter, K, 5, 1);
        counter_add(counter, "other", 5, 5, 1);
        limiter_take(limiter, K, 1, 1);
        cache_set(cache, K, "after", 5, CACHE_FOR_EVER, 0);
        cache_set(cache, "new", 3, "new", 3, CACHE_FOR_EVER, 0);
        struct counter *young = counter_open("young", 0);
        counter_add(young, K, 1, 1);

        named_paste(copy);
        CHECK(counter_get(counter, K, 1) == 5);
        CHECK_INT(1, counter_keys(counter));
        CHECK_INT(0, limiter_take(limiter, K, 1, 1).left);
        CHECK_STR("before", cached(cache, "k"));
        CHECK_STR("none", cached(cache, "new"));
        CHECK_INT(bytes, cache_bytes(cache));
        CHECK_INT(0, counter_keys(young));             /* was not there */
        counter_close(young);
    }
    named_copy_free(copy);
    CHECK_STR("before", cached(cache, "k"));
    counter_close(counter);
    limiter_close(limiter);
    cache_close(cache);
}

static void the_order_of_use_comes_back(void)
{
    struct cache *cache = cache_open("order", CACHE_BYTES_MIN);
    char key[16];

    for (int i = 0; i < 400; i++)
        cache_set(cache, key, (size_t)snprintf(key, sizeof key, "%d", i), "x", 1, CACHE_FOR_EVER, 0);
    size_t keys = cache_keys(cache);
    struct named_copy *copy = named_copy();
    for (int round = 0; round < 2; round++) {          /* what goes for new ones is the same, from the original and from the copy */
        for (int i = 400; i < 500; i++)
            cache_set(cache, key, (size_t)snprintf(key, sizeof key, "%d", i), "x", 1, CACHE_FOR_EVER, 0);
        static char left[2][400];
        for (int i = 0; i < 400; i++) {
            snprintf(key, sizeof key, "%d", i);
            left[round][i] = cached(cache, key)[0] == 'x';
        }
        CHECK(round == 0 || memcmp(left[0], left[1], sizeof left[0]) == 0);
        named_paste(copy);
        CHECK_INT(keys, cache_keys(cache));
    }
    named_copy_free(copy);
    cache_close(cache);
}

static void nothing_is_pasted_where_nothing_was(void)
{
    struct counter *counter = counter_open("c", 0);
    struct cache *cache = cache_open("s", CACHE_BYTES_MIN);

    counter_add(counter, K, 5, 1);
    cache_set(cache, K, "before", 6, CACHE_FOR_EVER, 0);
    named_paste(NULL);
    CHECK_INT(0, counter_keys(counter));
    CHECK_INT(0, cache_bytes(cache));
    counter_close(counter);
    cache_close(cache);
}

static void a_copy_keeps_what_it_is_of(void)
{
    struct counter *counter = counter_open("kept", 0);

    counter_add(counter, K, 5, 1);
    struct named_copy *copy = named_copy();
    counter_close(counter);
    named_forget_idle();                               /* it is not idle: the copy has it open */
    counter = counter_open("kept", 0);
    CHECK(counter_get(counter, K, 1) == 5);
    named_paste(NULL);
    named_paste(copy);
    CHECK(counter_get(counter, K, 1) == 5);
    counter_close(counter);
    named_copy_free(copy);
}

static void a_lease_is_not_copied(void)
{
    struct cache *cache = cache_open("lease", CACHE_BYTES_MIN);
    uint64_t lease, other;

    CHECK_INT(CACHE_LEASED, cache_fetch(cache, K, 1, &got, &lease));
    struct named_copy *copy = named_copy();
    named_paste(copy);
    CHECK(cache_keep(cache, K, lease, "late", 4, CACHE_FOR_EVER, 0));   /* harmless: it is held no more */
    CHECK_STR("none", cached(cache, "k"));
    CHECK_INT(CACHE_LEASED, cache_fetch(cache, K, 1, &got, &other));
    cache_give_up(cache, K, other);
    named_copy_free(copy);
    cache_close(cache);
}

int main(void)
{
    RUN(a_copy_brings_back_what_all_held);
    RUN(the_order_of_use_comes_back);
    RUN(nothing_is_pasted_where_nothing_was);
    RUN(a_copy_keeps_what_it_is_of);
    RUN(a_lease_is_not_copied);
    buf_free(&got);
    named_forget_idle();
    return check_done();
}
