#include "base/metrics.h"

#include <pthread.h>

#include "check.h"

static void names_come_from_the_list(void)
{
    CHECK_STR("connections_total", metrics_name(METRIC_connections_total));
    CHECK_STR("loop_lag_ms", metrics_name(METRIC_COUNT - 1));
}

static void print_sums_the_blocks(void)
{
    static struct metrics a, b;
    struct metrics *blocks[] = { &a, &b };
    struct buf out = BUF_EMPTY;

    metrics_add(&a, METRIC_streams_open, 5);
    metrics_add(&a, METRIC_streams_open, -2);
    metrics_add(&b, METRIC_streams_open, 10);
    metrics_add(&b, METRIC_tokens_total, 5000000000);
    CHECK_INT(3, metrics_get(&a, METRIC_streams_open));
    metrics_print(&out, blocks, 2);
    const char *text = buf_cstr(&out);
    CHECK(strstr(text, "# HELP sluice_streams_open streams open now\n# TYPE sluice_streams_open gauge\nsluice_streams_open 13\n"));
    CHECK(strstr(text, "# TYPE sluice_tokens_total counter\nsluice_tokens_total 5000000000\n"));
    CHECK(strstr(text, "\nsluice_requests_bad 0\n"));
    buf_free(&out);
}

/* What Prometheus wants of each line, and each counter once. */
static void print_is_one_sample_a_counter(void)
{
    static struct metrics a;
    struct metrics *blocks[] = { &a };
    struct buf out = BUF_EMPTY;
    int lines = 0;

    metrics_print(&out, blocks, 1);
    for (int m = 0; m < METRIC_COUNT; m++) {
        char line[128];
        snprintf(line, sizeof line, "\nsluice_%s 0\n", metrics_name(m));
        char *at = strstr(buf_cstr(&out), line);
        CHECK(at != NULL);
        CHECK(strstr(at + 1, line) == NULL);
    }
    for (size_t i = 0; i < out.len; i++)
        lines += out.data[i] == '\n';
    CHECK_INT(3 * METRIC_COUNT, lines);
    buf_free(&out);
}

static struct metrics shared;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10000; i++)
        metrics_add(&shared, METRIC_lua_calls, 1);
    return NULL;
}

static void threads_lose_no_count(void)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, count, NULL);
    int64_t seen = metrics_get(&shared, METRIC_lua_calls);   /* reading meanwhile is fine */
    CHECK(seen >= 0 && seen <= 40000);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(40000, metrics_get(&shared, METRIC_lua_calls));
}

int main(void)
{
    RUN(names_come_from_the_list);
    RUN(print_sums_the_blocks);
    RUN(print_is_one_sample_a_counter);
    RUN(threads_lose_no_count);
    return check_done();
}
