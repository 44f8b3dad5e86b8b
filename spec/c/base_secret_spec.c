#include "base/secret.h"

#include <pthread.h>

#include "check.h"

#define SCRUBBED(want, text) check_scrub(__LINE__, want, text, strlen(text))

static void check_scrub(int line, const char *want, const char *text, size_t len)
{
    struct buf b = BUF_EMPTY;

    buf_append(&b, text, len);
    secret_scrub(&b);
    if (b.len != strlen(want) || memcmp(b.data ? b.data : "", want, b.len) != 0)
        CHECK_FAIL("line %d: wanted \"%s\", got \"%.*s\"", line, want, (int)b.len, b.data ? b.data : "");
    buf_free(&b);
}

static void without_secrets_nothing_changes(void)
{
    SCRUBBED("", "");
    SCRUBBED("sk-something", "sk-something");
}

static void every_place_is_masked(void)
{
    secret_add("sk-12345", 8);
    SCRUBBED("***", "sk-12345");
    SCRUBBED("a *** b *** c", "a sk-12345 b sk-12345 c");
    SCRUBBED("***6", "sk-123456");
    SCRUBBED("sk-1234", "sk-1234");
    SCRUBBED("SK-12345", "SK-12345");
    SCRUBBED("sk-sk-***", "sk-sk-sk-12345");
}

static void short_values_are_no_secrets(void)
{
    secret_add("abc", 3);
    secret_add("", 0);
    SCRUBBED("abc", "abc");
    secret_add("abcd", 4);
    SCRUBBED("***", "abcd");
}

/* Whichever was added first: no tail of the longer one stays. */
static void a_secret_may_begin_or_hold_another(void)
{
    secret_add("long-token-and-more", 19);
    secret_add("long-token", 10);
    SCRUBBED("=***.", "=long-token-and-more.");
    SCRUBBED("=***.", "=long-token.");
    secret_add("wxyz", 4);
    secret_add("0wxyz0wxyz0", 11);
    SCRUBBED("=***.", "=0wxyz0wxyz0.");
    SCRUBBED("=0***0.", "=0wxyz0.");
}

static void secrets_may_overlap(void)
{
    secret_add("left-side", 9);
    secret_add("side-right", 10);
    SCRUBBED("<***>", "<left-side-right>");
    secret_add("oooo", 4);
    SCRUBBED("***", "ooooooo");
}

static void bytes_not_strings(void)
{
    struct buf b = BUF_EMPTY;

    secret_add("k\0ey", 4);
    buf_append(&b, "\0k\0ey\0", 6);
    secret_scrub(&b);
    CHECK_BYTES("\0***\0", 5, b.data, b.len);
    buf_free(&b);
}

static void *add_and_scrub(void *arg)
{
    char mine[32];

    for (int i = 0; i < 200; i++) {
        int n = snprintf(mine, sizeof mine, "thread-%d-secret-%02d", *(int *)arg, i % 20);
        secret_add(mine, (size_t)n);
        SCRUBBED("***", mine);
    }
    return NULL;
}

static void threads_add_while_others_scrub(void)
{
    pthread_t t[4];
    int id[4];

    for (int i = 0; i < 4; i++) {
        id[i] = i;
        pthread_create(&t[i], NULL, add_and_scrub, &id[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    RUN(without_secrets_nothing_changes);
    RUN(every_place_is_masked);
    RUN(short_values_are_no_secrets);
    RUN(a_secret_may_begin_or_hold_another);
    RUN(secrets_may_overlap);
    RUN(bytes_not_strings);
    RUN(threads_add_while_others_scrub);
    return check_done();
}
