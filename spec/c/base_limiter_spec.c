#include "base/limiter.h"
#include "base/named.h"

#include <math.h>
#include <pthread.h>

#include "check.h"

static struct limiter_answer take(struct limiter *l, const char *key, double cost, uint64_t now)
{
    return limiter_take(l, key, strlen(key), cost, now);
}

static void a_bucket_begins_full_and_says_when_it_is_so_again(void)
{
    struct limiter *l = limiter_open("first", &(struct limiter_rule){ .rate = 3, .per_ms = 1000 });
    struct limiter_answer a = take(l, "k", 1, 5000);

    CHECK(a.ok);
    CHECK_INT(2, a.left);
    CHECK_INT(0, a.retry_ms);
    CHECK_INT(334, a.reset_ms);                        /* a third of a second, rounded up: then it is really full */
    CHECK(take(l, "k", 1, 5000).ok);
    CHECK(take(l, "k", 1, 5000).ok);
    a = take(l, "k", 1, 5000);
    CHECK(!a.ok);
    CHECK_INT(0, a.left);
    CHECK_INT(334, a.retry_ms);
    CHECK_INT(1000, a.reset_ms);
    CHECK(take(l, "other", 1, 5000).ok);               /* each key has its own */
    limiter_close(l);
}

static void retry_ms_is_exact(void)
{
    struct limiter *l = limiter_open("exact", &(struct limiter_rule){ .rate = 7, .per_ms = 1000, .burst = 2 });
    uint64_t now = 100;

    CHECK(take(l, "k", 2, now).ok);
    for (int i = 0; i < 50; i++) {
        struct limiter_answer a = take(l, "k", 1, now);
        CHECK(!a.ok && a.retry_ms > 0);
        CHECK(!take(l, "k", 1, now + a.retry_ms - 1).ok);
        now += a.retry_ms;
        CHECK(take(l, "k", 1, now).ok);
        while (take(l, "k", 0.25, now).ok)             /* the rounding's crumbs */
            ;
    }
    limiter_close(l);
}

static void refill_stops_at_the_burst(void)
{
    struct limiter *l = limiter_open("burst", &(struct limiter_rule){ .rate = 1, .per_ms = 1000, .burst = 5 });
    int taken = 0;

    CHECK(take(l, "k", 5, 0).ok);
    while (take(l, "k", 1, 3600 * 1000).ok)
        taken++;
    CHECK_INT(5, taken);
    CHECK(!take(l, "k", 1, 3600 * 1000 + 999).ok);
    CHECK(take(l, "k", 1, 3600 * 1000 + 1000).ok);
    limiter_close(l);
}

static void small_refills_add_up(void)
{
    struct limiter *l = limiter_open("crumbs", &(struct limiter_rule){ .rate = 1, .per_ms = 10, .burst = 1 });

    CHECK(take(l, "k", 1, 0).ok);
    for (uint64_t now = 1; now < 10; now++)
        CHECK(!take(l, "k", 1, now).ok);               /* each asking refills 0.1 */
    CHECK(take(l, "k", 1, 10).ok);
    limiter_close(l);
}

static void refused_takes_cost_nothing(void)
{
    struct limiter *l = limiter_open("refused", &(struct limiter_rule){ .rate = 10, .per_ms = 1000 });

    CHECK(take(l, "k", 6, 0).ok);
    CHECK(!take(l, "k", 5, 0).ok);
    CHECK_INT(4, take(l, "k", 0, 0).left);
    CHECK(take(l, "k", 4, 0).ok);
    limiter_close(l);
}

static void odd_costs(void)
{
    struct limiter *l = limiter_open("odd", &(struct limiter_rule){ .rate = 2, .per_ms = 1000 });
    struct limiter_answer a = take(l, "k", 3, 0);

    CHECK(!a.ok);
    CHECK(a.retry_ms == LIMITER_NEVER);
    CHECK(take(l, "k", INFINITY, 0).retry_ms == LIMITER_NEVER);
    CHECK(take(l, "k", NAN, 0).ok);
    CHECK(take(l, "k", -5, 0).ok);                     /* no refunds */
    CHECK_INT(2, take(l, "k", 0, 0).left);
    CHECK(take(l, "k", 0.5, 0).ok);
    CHECK_INT(1, take(l, "k", 0, 0).left);             /* one and a half */
    limiter_close(l);
    l = limiter_open("slow", &(struct limiter_rule){ .rate = 1e-300, .per_ms = 1000 });
    CHECK(take(l, "k", 1, 0).ok);                      /* the burst is at least one token */
    CHECK(take(l, "k", 1, 0).retry_ms == LIMITER_NEVER);
    limiter_close(l);
}

static void time_never_runs_backward(void)
{
    struct limiter *l = limiter_open("back", &(struct limiter_rule){ .rate = 1, .per_ms = 1000 });

    CHECK(take(l, "k", 1, 10000).ok);
    CHECK(!take(l, "k", 1, 9000).ok);                  /* another worker's clock */
    CHECK(!take(l, "k", 1, 10999).ok);
    CHECK(take(l, "k", 1, 11000).ok);
    limiter_close(l);
}

static void one_name_is_one_limiter(void)
{
    struct limiter_rule rule = { .rate = 1, .per_ms = 1000 };
    struct limiter *a = limiter_open("shared", &rule), *b = limiter_open("shared", &rule), *c = limiter_open("alone", &rule);

    CHECK(a == b);
    CHECK(a != c);
    CHECK(take(a, "k", 1, 0).ok);
    CHECK(!take(b, "k", 1, 0).ok);
    CHECK(take(c, "k", 1, 0).ok);
    limiter_close(a);
    CHECK(!take(b, "k", 1, 0).ok);                     /* still there */
    limiter_close(b);
    a = limiter_open("shared", &rule);
    CHECK_INT(1, limiter_keys(a));                     /* remembered over the last close */
    CHECK(!take(a, "k", 1, 0).ok);
    limiter_close(a);
    named_forget_idle();
    a = limiter_open("shared", &rule);
    CHECK(take(a, "k", 1, 0).ok);
    for (int i = 0; i < 70; i++) {                     /* too many others since */
        char name[20];
        sprintf(name, "other%d", i);
        if (i == 0)
            limiter_close(a);
        limiter_close(limiter_open(name, &rule));
    }
    a = limiter_open("shared", &rule);
    CHECK(take(a, "k", 1, 0).ok);
    limiter_close(a);
    limiter_close(c);
    named_forget_idle();
}

static void the_latest_numbers_hold(void)
{
    struct limiter *l = limiter_open("numbers", &(struct limiter_rule){ .rate = 10, .per_ms = 1000 });

    CHECK_INT(9, take(l, "k", 1, 0).left);
    CHECK(limiter_open("numbers", &(struct limiter_rule){ .rate = 2, .per_ms = 1000 }) == l);
    CHECK_INT(1, take(l, "k", 1, 0).left);             /* what was saved up is cut to the new burst */
    limiter_close(l);
    CHECK_INT(0, take(l, "k", 1, 0).left);             /* closing one does not bring the old ones back */
    CHECK(!take(l, "k", 1, 499).ok);
    CHECK(take(l, "k", 1, 500).ok);
    limiter_close(l);
}

static void keys_are_bytes(void)
{
    struct limiter *l = limiter_open("bytes", &(struct limiter_rule){ .rate = 1, .per_ms = 1000 });

    CHECK(limiter_take(l, "a\0b", 3, 1, 0).ok);
    CHECK(limiter_take(l, "a\0c", 3, 1, 0).ok);
    CHECK(limiter_take(l, "a", 1, 1, 0).ok);
    CHECK(limiter_take(l, "", 0, 1, 0).ok);
    CHECK_INT(4, limiter_keys(l));
    CHECK(!limiter_take(l, "a\0b", 3, 1, 0).ok);
    limiter_close(l);
}

static void the_table_is_bounded(void)
{
    struct limiter *l = limiter_open("bounded", &(struct limiter_rule){ .rate = 1, .per_ms = 1000, .max_keys = 160 });
    char key[32];

    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        CHECK(take(l, key, 1, 0).ok);
        CHECK(limiter_keys(l) <= 160);
        CHECK(!take(l, key, 1, 0).ok);                 /* the newest is never the one that went */
    }
    CHECK_INT(160, limiter_keys(l));                   /* 20,000 keys fill every shard */
    limiter_close(l);
}

static void who_was_used_longest_ago_goes_first(void)
{
    struct limiter *l = limiter_open("lru", &(struct limiter_rule){ .rate = 1, .per_ms = 1000000, .max_keys = 160 });
    char key[32];

    CHECK(take(l, "busy", 1, 0).ok);
    CHECK(take(l, "idle", 1, 0).ok);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        take(l, key, 1, 0);
        CHECK(!take(l, "busy", 1, 0).ok);              /* a limited key that keeps asking is not forgotten */
    }
    CHECK(take(l, "idle", 1, 0).ok);                   /* this one was */
    limiter_close(l);
}

static void a_smaller_rule_shrinks_the_table(void)
{
    struct limiter *l = limiter_open("shrink", &(struct limiter_rule){ .rate = 1, .per_ms = 1000, .max_keys = 1600 });
    char key[32];

    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        take(l, key, 1, 0);
    }
    CHECK_INT(1600, limiter_keys(l));
    limiter_open("shrink", &(struct limiter_rule){ .rate = 1, .per_ms = 1000, .max_keys = 16 });
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "new-%d", i);
        take(l, key, 1, 0);
    }
    CHECK_INT(16, limiter_keys(l));
    limiter_close(l);
    limiter_close(l);
}

#define THREADS 8
#define TRIES 4000

static void *take_many(void *arg)
{
    long *taken = arg;
    struct limiter *l = limiter_open("threads", &(struct limiter_rule){ .rate = 10000, .per_ms = 1000 });
    char key[32];

    for (int i = 0; i < TRIES; i++) {
        snprintf(key, sizeof key, "noise-%d", i % 300);
        take(l, key, 1, 77);
        *taken += take(l, "contended", 1, 77).ok;
    }
    limiter_close(l);
    return NULL;
}

/* 32,000 ask for one of 10,000 tokens: not one more and not one less. */
static void threads_take_exactly_what_is_allowed(void)
{
    struct limiter *l = limiter_open("threads", &(struct limiter_rule){ .rate = 10000, .per_ms = 1000 });
    pthread_t t[THREADS];
    long taken[THREADS] = { 0 }, sum = 0;

    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, take_many, &taken[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        sum += taken[i];
    }
    CHECK_INT(10000, sum);
    CHECK_INT(301, limiter_keys(l));
    limiter_close(l);
}

int main(void)
{
    RUN(a_bucket_begins_full_and_says_when_it_is_so_again);
    RUN(retry_ms_is_exact);
    RUN(refill_stops_at_the_burst);
    RUN(small_refills_add_up);
    RUN(refused_takes_cost_nothing);
    RUN(odd_costs);
    RUN(time_never_runs_backward);
    RUN(one_name_is_one_limiter);
    RUN(the_latest_numbers_hold);
    RUN(keys_are_bytes);
    RUN(the_table_is_bounded);
    RUN(who_was_used_longest_ago_goes_first);
    RUN(a_smaller_rule_shrinks_the_table);
    RUN(threads_take_exactly_what_is_allowed);
    return check_done();
}
