#include "wire/date.h"
#include "wire/http.h"

#include "check.h"

static void prints(void)
{
    char out[DATE_HTTP_LEN + 1];

    date_http(out, 784111777);
    CHECK_STR("Sun, 06 Nov 1994 08:49:37 GMT", out);
    date_http(out, 0);
    CHECK_STR("Thu, 01 Jan 1970 00:00:00 GMT", out);
    date_http(out, 1709164800);
    CHECK_STR("Thu, 29 Feb 2024 00:00:00 GMT", out);
    date_http(out, -5);
    CHECK_STR("Thu, 01 Jan 1970 00:00:00 GMT", out);
    date_http(out, (time_t)1 << 50);
    CHECK_INT(DATE_HTTP_LEN, strlen(out));
}

static void reads_what_it_prints(void)
{
    uint64_t state = 99;

    for (int i = 0; i < 100000; i++) {
        char out[DATE_HTTP_LEN + 1];
        time_t t = (time_t)(check_random(&state) % 253402300800ull), got = -1;

        date_http(out, t);
        CHECK_INT(0, date_http_parse(out, &got));
        CHECK_INT(t, got);
    }
}

static void refuses(void)
{
    static const char *const bad[] = { "", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT",
                                       "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
                                       "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 29 Feb 2023 00:00:00 GMT", "sun, 06 nov 1994 08:49:37 gmt" };
    time_t t;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (date_http_parse(bad[i], &t) != -1)
            CHECK_FAIL("accepted: %s", bad[i]);
}

static void retry_after(void)
{
    CHECK_INT(0, date_retry_after("0", 784111777));
    CHECK_INT(120, date_retry_after("120", 784111777));
    CHECK_INT(23, date_retry_after("Sun, 06 Nov 1994 08:50:00 GMT", 784111777));
    CHECK_INT(0, date_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", 784111777));
    CHECK_INT(-1, date_retry_after("", 0));
    CHECK_INT(-1, date_retry_after("-5", 0));
    CHECK_INT(-1, date_retry_after("1.5", 0));
    CHECK_INT(-1, date_retry_after("soon", 0));
    CHECK_INT(-1, date_retry_after("5 seconds", 0));
    CHECK(date_retry_after("99999999999999999999999", 0) != 0);        /* no wrap to "at once" */
}

static void http(void)
{
    struct header h[] = { { "Host", "a" }, { "accept", "x" }, { "Accept", "y" } };
    struct http_request r = { .headers = h, .n_headers = 3 };

    CHECK_STR("x", http_header(&r, "ACCEPT"));
    CHECK_STR("a", http_header(&r, "host"));
    CHECK(http_header(&r, "hos") == NULL);
    CHECK(http_header(&r, "hostt") == NULL);
    CHECK_STR("OK", http_status_text(200));
    CHECK_STR("Too Many Requests", http_status_text(429));
    CHECK_STR("Unknown", http_status_text(799));
}

int main(void)
{
    RUN(prints);
    RUN(reads_what_it_prints);
    RUN(refuses);
    RUN(retry_after);
    RUN(http);
    return check_done();
}
