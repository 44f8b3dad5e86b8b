#include "base/breaker.h"

#include "check.h"

static void opens_on_half_of_twenty(void)
{
    struct breaker b = { 0 };

    for (int i = 0; i < 19; i++) {
        CHECK(breaker_may(&b, 1000));
        CHECK(!breaker_told(&b, i % 2 == 0, 1000));
    }
    CHECK(breaker_may(&b, 1000));
    CHECK(breaker_told(&b, true, 1000));
    CHECK(!breaker_may(&b, 10999));
}

static void stays_closed_below(void)
{
    struct breaker b = { 0 };

    for (int i = 0; i < 1000; i++)
        CHECK(!breaker_told(&b, i % 5 < 2, 1000));     /* 40 % */
    for (int i = 0; i < 190; i++)
        CHECK(!breaker_told(&b, true, 20000 + (uint64_t)i * 1000));   /* ten in a window */
    CHECK(breaker_may(&b, 300000));
}

static void trip(struct breaker *b, uint64_t now)
{
    for (int i = 0; i < 20; i++)
        breaker_told(b, true, now);
}

static void one_probe_decides(void)
{
    struct breaker b = { 0 };

    trip(&b, 1000);
    CHECK(!breaker_told(&b, false, 2000));             /* a latecomer changes nothing */
    CHECK(!breaker_may(&b, 2000));
    CHECK(breaker_may(&b, 11000));
    CHECK(!breaker_may(&b, 11000));                    /* one at a time */
    CHECK(breaker_told(&b, true, 11500));
    CHECK(!breaker_may(&b, 21000));
    CHECK(breaker_may(&b, 21500));
    breaker_untold(&b);
    CHECK(breaker_may(&b, 21600));
    CHECK(!breaker_told(&b, false, 21700));
    for (int i = 0; i < 10; i++)
        CHECK(breaker_may(&b, 21700));
}

static void a_rule_of_its_own(void)
{
    const struct breaker_rule rule = { .calls = 4, .failures = 3, .window_ms = 1000, .open_ms = 500 };
    const struct breaker_rule row = { .failures = 100, .in_a_row = 3, .window_ms = 1000, .open_ms = 500 };
    struct breaker b = { 0 };

    CHECK(!breaker_told_by(&b, &rule, true, 1000));
    CHECK(!breaker_told_by(&b, &rule, true, 1000));
    CHECK(!breaker_told_by(&b, &rule, true, 1000));    /* three calls only */
    CHECK(breaker_told_by(&b, &rule, true, 1999));
    CHECK(!breaker_would(&b, 2498));
    CHECK(breaker_would(&b, 2499));
    CHECK(breaker_would(&b, 2499));                    /* asking takes nothing */
    b = (struct breaker){ 0 };
    for (int i = 0; i < 50; i++)
        CHECK(!breaker_told_by(&b, &row, i % 3 > 0, 5000));
    CHECK(!breaker_told_by(&b, &row, true, 6001));     /* a new window */
    CHECK(!breaker_told_by(&b, &row, true, 6001));
    CHECK(breaker_told_by(&b, &row, true, 6001));
}

int main(void)
{
    RUN(opens_on_half_of_twenty);
    RUN(stays_closed_below);
    RUN(one_probe_decides);
    RUN(a_rule_of_its_own);
    return check_done();
}
