#include "base/counter.h"

#include <pthread.h>

#include "base/named.h"
#include "check.h"

#define HOUR 3600000
#define K "k", 1

static void counts_in_windows(void)
{
    struct counter *c = counter_open("hourly", HOUR);

    CHECK(counter_get(c, K, 10) == 0);
    CHECK_INT(0, counter_keys(c));                     /* looking makes nothing */
    CHECK(counter_add(c, K, 2, 10) == 2);
    CHECK(counter_add(c, K, 0.5, HOUR - 1) == 2.5);
    CHECK(counter_get(c, K, HOUR - 1) == 2.5);
    CHECK(counter_get(c, "other", 5, 10) == 0);
    CHECK(counter_get(c, K, HOUR) == 0);               /* the next window */
    CHECK(counter_add(c, K, 1, HOUR) == 1);
    CHECK(counter_add(c, K, 1, HOUR - 5) == 2);        /* a clock that is behind counts where we are */
    CHECK(counter_add(c, K, -1, HOUR) == 1);
    counter_close(c);
}

static void without_a_window_it_counts_for_ever(void)
{
    struct counter *c = counter_open("ever", 0);
    struct reservation r;
    int64_t retry;

    CHECK(counter_add(c, K, 1, 0) == 1);
    CHECK(counter_add(c, K, 1, (int64_t)1 << 50) == 2);
    CHECK(!counter_reserve(c, K, 9, 10, 5, &r, &retry));
    CHECK(retry == INT64_MAX);
    counter_close(c);
}

static void reserves_and_settles(void)
{
    struct counter *c = counter_open("money", HOUR);
    struct reservation a, b;
    int64_t retry;

    CHECK(counter_reserve(c, K, 6, 10, 1000, &a, &retry));
    CHECK(!counter_reserve(c, K, 6, 10, 1000, &b, &retry));
    CHECK_INT(HOUR - 1000, retry);
    CHECK(counter_get(c, K, 1000) == 6);
    counter_settle(c, K, &a, 1.5, 2000);
    CHECK(counter_get(c, K, 2000) == 1.5);
    CHECK(counter_reserve(c, K, 6, 10, 1000, &b, &retry));
    counter_settle(c, K, &b, 2, HOUR + 1);             /* its window is over: the cost counts in this one */
    CHECK(counter_get(c, K, HOUR + 1) == 2);
    CHECK(!counter_reserve(c, K, 11, 10, HOUR + 1, &b, &retry));
    CHECK(retry == INT64_MAX);                         /* no window will do */
    CHECK(counter_reserve(c, K, 8, 10, HOUR + 1, &b, &retry));   /* exactly at the limit */
    counter_close(c);
}

static void survives_its_last_close(void)
{
    struct counter *c = counter_open("kept", HOUR);

    counter_add(c, K, 3, 5);
    counter_close(c);
    c = counter_open("kept", HOUR);
    CHECK(counter_get(c, K, 5) == 3);
    counter_close(c);
}

static void keys_are_bounded(void)
{
    struct counter *c = counter_open("many", HOUR);
    static char big[100000];
    size_t n;

    for (int i = 0; i < 100000; i++) {
        char key[20];
        int len = sprintf(key, "key%d", i);
        counter_add(c, key, (size_t)len, 1, 5);
    }
    n = counter_keys(c);
    CHECK(n <= 65536 && n > 60000);
    CHECK(counter_get(c, "key99999", 8, 5) == 1);
    memset(big, 'x', sizeof big);
    counter_add(c, big, sizeof big, 1, 5);
    CHECK(counter_get(c, big, sizeof big, 5) == 1);
    CHECK(counter_get(c, big, sizeof big - 1, 5) == 0);          /* another long key */
    counter_close(c);
}

static void a_forgotten_key_is_not_given_back_what_it_lost(void)
{
    struct counter *c = counter_open("forgets", HOUR);
    struct reservation a, b;
    int64_t retry;

    CHECK(counter_reserve(c, K, 6, 10, 5, &a, &retry));
    for (int i = 0; i < 100000; i++) {
        char key[20];
        int len = sprintf(key, "key%d", i);
        counter_add(c, key, (size_t)len, 1, 5);
    }
    CHECK(counter_get(c, K, 5) == 0);
    CHECK(counter_reserve(c, K, 2, 10, 5, &b, &retry));
    counter_settle(c, K, &a, 1, 5);
    CHECK(counter_get(c, K, 5) == 3);
    counter_settle(c, K, &b, 2, 5);
    CHECK(counter_get(c, K, 5) == 3);
    counter_close(c);
}

static struct counter *shared;

static void *reserve_many(void *arg)
{
    long won = 0;

    for (int i = 0; i < 20000; i++) {
        struct reservation r;
        int64_t retry;
        if (counter_reserve(shared, K, 1, 10000, 5, &r, &retry)) {
            won++;
            if (i % 4 == 0) {
                counter_settle(shared, K, &r, 0, 5);
                won--;
            }
        }
    }
    *(long *)arg = won;
    return NULL;
}

static void threads_never_overspend(void)
{
    pthread_t t[4];
    long won[4], sum = 0;

    shared = counter_open("threads", HOUR);
    for (int i = 0; i < 4; i++)
        CHECK_INT(0, pthread_create(&t[i], NULL, reserve_many, &won[i]));
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        sum += won[i];
    }
    CHECK_INT(10000, sum);
    CHECK(counter_get(shared, K, 5) == 10000);
    counter_close(shared);
}

int main(void)
{
    RUN(counts_in_windows);
    RUN(without_a_window_it_counts_for_ever);
    RUN(reserves_and_settles);
    RUN(survives_its_last_close);
    RUN(keys_are_bounded);
    RUN(a_forgotten_key_is_not_given_back_what_it_lost);
    RUN(threads_never_overspend);
    named_forget_idle();
    return check_done();
}
