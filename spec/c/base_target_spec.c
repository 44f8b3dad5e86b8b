/* Targets and balances as many threads use them: never more places than there are, exact shares, one trial; and what probes do. */
#include "base/target.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/balance.h"
#include "base/log.h"
#include "base/named.h"
#include "check.h"

#define THREADS 4

static const struct target_rule five = { .max_parallel = 5, .breaker = { .failures = 3, .in_a_row = 3, .window_ms = 10000, .open_ms = 1000 } };

static void run(void *(*fn)(void *arg), void *arg)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(0, pthread_create(&threads[i], NULL, fn, arg));
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(0, pthread_join(threads[i], NULL));
}

static atomic_int inside, most, taken;

static void *come_and_go(void *arg)
{
    struct target *t = arg;
    struct target_place p[3];

    for (int i = 0; i < 20000; i++) {
        int n = 0;

        while (n < 1 + i % 3 && target_take(t, 1000, &p[n]))
            n++;
        int now = atomic_fetch_add(&inside, n) + n, seen = atomic_load(&most);
        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
            ;
        atomic_fetch_add(&taken, n);
        atomic_fetch_sub(&inside, n);                  /* before they are given back: else another could have them already */
        while (n > 0)
            target_leave(&p[--n]);
    }
    return NULL;
}

static void never_more_places_than_there_are(void)
{
    struct target *t = target_open("m", "http://m.test", &five), *again = target_open("m", "http://m.test", &five);

    CHECK(t == again);
    run(come_and_go, t);
    CHECK(atomic_load(&most) <= 5);
    CHECK(atomic_load(&taken) > 20000);
    CHECK_INT(0, target_running(t));
    target_close(again);
    target_close(t);
}

static atomic_int trials;

static void *try_once(void *arg)
{
    struct target_place p;

    for (int i = 0; i < 1000; i++)
        if (target_take(arg, 3000, &p)) {
            CHECK(p.trial);
            atomic_fetch_add(&trials, 1);              /* it is never left */
        }
    return NULL;
}

static void one_trial_for_all_threads(void)
{
    struct target *t = target_open("trial", "", &five);
    struct target_place p, late;
    enum target_state state;
    uint64_t wait;

    CHECK(target_take(t, 1000, &late));
    for (int i = 0; i < 3; i++) {
        CHECK(target_take(t, 1000, &p));
        CHECK_INT(i == 2, target_told(&p, true, 1000));
        target_leave(&p);
    }
    CHECK(!target_free(t, 1500, &state, &wait));
    CHECK_INT(TARGET_OPEN, state);
    CHECK_INT(500, wait);
    run(try_once, t);
    CHECK_INT(1, atomic_load(&trials));
    CHECK(!target_told(&late, false, 3000));           /* it began before the breaker opened: it closes nothing */
    target_leave(&late);
    CHECK(!target_free(t, 3000, &state, &wait));
    CHECK_INT(TARGET_HALF_OPEN, state);
    target_close(t);
}

static void probes_in_a_row_decide(void)
{
    struct target_rule rule = { .healthy = 2, .unhealthy = 3, .back_ms = 20000 };
    struct target *t = target_open("probed", "", &rule);
    enum target_state state;
    uint64_t wait;

    for (int i = 0; i < 10; i++)
        target_probed(t, i % 3 == 0);                  /* two bad ones at most */
    CHECK(target_free(t, 1, &state, &wait));
    target_probed(t, true);
    for (int i = 0; i < 3; i++) {
        CHECK(target_free(t, 1, &state, &wait));
        target_probed(t, false);
    }
    CHECK(!target_free(t, 1, &state, &wait));
    CHECK_INT(TARGET_UNHEALTHY, state);
    CHECK_INT(20000, wait);
    target_probed(t, true);
    target_probed(t, false);
    target_probed(t, true);
    CHECK(!target_free(t, 1, &state, &wait));
    target_probed(t, true);
    CHECK(target_free(t, 1, &state, &wait));
    target_close(t);
}

static atomic_int turns[3];

static void *take_turns(void *arg)
{
    static const unsigned weights[3] = { 5, 2, 1 };

    for (int i = 0; i < 8000; i++)
        atomic_fetch_add(&turns[balance_next(arg, weights, 7)], 1);
    return NULL;
}

static void shares_are_exact_over_all_threads(void)
{
    struct balance *b = balance_open("b");

    run(take_turns, b);
    CHECK_INT(THREADS * 5000, atomic_load(&turns[0]));
    CHECK_INT(THREADS * 2000, atomic_load(&turns[1]));
    CHECK_INT(THREADS * 1000, atomic_load(&turns[2]));
    balance_close(b);
}

static void copies_are_put_back(void)
{
    static const unsigned weights[2] = { 1, 1 };
    struct target *t = target_open("copied", "", &five);
    struct balance *b = balance_open("copied");
    struct target_place p;
    enum target_state state;
    uint64_t wait;

    CHECK_INT(0, balance_next(b, weights, 3));
    CHECK(target_take(t, 1000, &p));
    struct named_copy *copy = named_copy();
    CHECK_INT(1, balance_next(b, weights, 3));
    for (int i = 0; i < 3; i++)
        target_told(&p, true, 1000);
    target_leave(&p);
    CHECK(!target_free(t, 1000, &state, &wait));
    named_paste(copy);
    CHECK(target_free(t, 1000, &state, &wait));
    CHECK_INT(1, balance_next(b, weights, 3));
    named_copy_free(copy);
    CHECK(target_take(t, 1000, &p));
    named_paste(NULL);
    CHECK_INT(1, target_running(t));                   /* who runs still leaves */
    target_leave(&p);
    CHECK_INT(0, balance_next(b, weights, 3));
    target_close(t);
    balance_close(b);
}

int main(void)
{
    log_mute(true);
    RUN(never_more_places_than_there_are);
    RUN(one_trial_for_all_threads);
    RUN(probes_in_a_row_decide);
    RUN(shares_are_exact_over_all_threads);
    RUN(copies_are_put_back);
    return check_done();
}
