#include "base/buf.h"

#include "check.h"

static void appends_every_way(void)
{
    struct buf b = BUF_EMPTY;

    buf_append(&b, "a\0b", 3);
    buf_append(&b, NULL, 0);
    buf_puts(&b, "-c");
    buf_puts(&b, "");
    buf_putc(&b, '!');
    buf_printf(&b, "%d%s", 42, "");
    buf_printf(&b, "%s", "");
    CHECK_BYTES("a\0b-c!42", 8, b.data, b.len);
    buf_free(&b);
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
    buf_free(&b);                                      /* twice is harmless */
}

static void an_empty_buf_holds_nothing(void)
{
    struct buf b = BUF_EMPTY;

    buf_append(&b, "", 0);
    buf_puts(&b, "");
    buf_reserve(&b, 0);
    CHECK(b.data == NULL && b.cap == 0);
}

static void grows_by_doubling_from_64(void)
{
    struct buf b = BUF_EMPTY;
    size_t cap = 0;
    int grown = 0;

    buf_putc(&b, 'x');
    CHECK_INT(64, b.cap);
    for (int i = 1; i < 100000; i++) {
        buf_putc(&b, 'x');
        CHECK(b.len <= b.cap);
        if (b.cap != cap) {
            CHECK(cap == 0 || b.cap == cap * 2);
            cap = b.cap;
            grown++;
        }
    }
    CHECK_INT(131072, b.cap);
    CHECK_INT(12, grown);
    buf_free(&b);
    buf_reserve(&b, 65);
    CHECK_INT(128, b.cap);
    CHECK_INT(0, b.len);
    buf_reserve(&b, 128);                              /* there already */
    CHECK_INT(128, b.cap);
    buf_free(&b);
}

static void long_prints_fit(void)
{
    struct buf b = BUF_EMPTY;

    buf_puts(&b, "x");
    buf_printf(&b, "%063d", 1);                        /* the terminating NUL of printf needs room too */
    CHECK_INT(64, b.len);
    CHECK(b.cap > 64);
    buf_printf(&b, "%0*d", 5000, 1);
    CHECK_INT(5064, b.len);
    CHECK(b.data[5063] == '1');
    buf_free(&b);
}

static void consume_drops_from_the_front(void)
{
    struct buf b = BUF_EMPTY;

    buf_puts(&b, "hello world");
    buf_consume(&b, 0);
    CHECK_BYTES("hello world", 11, b.data, b.len);
    buf_consume(&b, 6);
    CHECK_BYTES("world", 5, b.data, b.len);
    buf_consume(&b, 5);
    CHECK_INT(0, b.len);
    CHECK_INT(64, b.cap);                              /* small memory stays */
    buf_free(&b);
}

static void big_memory_goes_back_when_empty(void)
{
    struct buf b = BUF_EMPTY;

    buf_reserve(&b, 4096);
    b.len = 4096;
    buf_consume(&b, 4096);
    CHECK_INT(4096, b.cap);
    buf_reserve(&b, 4097);
    b.len = 4097;
    memset(b.data, 'x', b.len);
    buf_consume(&b, 4096);
    CHECK_INT(8192, b.cap);                            /* one byte still stands there */
    buf_consume(&b, 1);
    CHECK(b.data == NULL && b.cap == 0);
}

static void move_takes_all(void)
{
    struct buf a = BUF_EMPTY, b = BUF_EMPTY;

    buf_puts(&b, "one");
    char *bytes = b.data;
    buf_move(&a, &b);
    CHECK(a.data == bytes);                            /* stolen, not copied */
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
    buf_puts(&b, "two");
    buf_move(&a, &b);
    CHECK_BYTES("onetwo", 6, a.data, a.len);
    CHECK(b.data == NULL);
    buf_move(&a, &b);                                  /* nothing moves nothing */
    CHECK_BYTES("onetwo", 6, a.data, a.len);
    a.len = 0;
    buf_puts(&b, "three");
    buf_move(&a, &b);                                  /* an empty `to` with memory does not leak it */
    CHECK_BYTES("three", 5, a.data, a.len);
    buf_free(&a);
}

static void cstr_ends_with_an_uncounted_nul(void)
{
    struct buf b = BUF_EMPTY;

    CHECK_STR("", buf_cstr(&b));
    for (int i = 0; i < 64; i++)
        buf_putc(&b, 'x');
    CHECK_INT(64, strlen(buf_cstr(&b)));               /* the NUL needed the next size */
    CHECK_INT(64, b.len);
    buf_free(&b);
}

int main(void)
{
    RUN(appends_every_way);
    RUN(an_empty_buf_holds_nothing);
    RUN(grows_by_doubling_from_64);
    RUN(long_prints_fit);
    RUN(consume_drops_from_the_front);
    RUN(big_memory_goes_back_when_empty);
    RUN(move_takes_all);
    RUN(cstr_ends_with_an_uncounted_nul);
    return check_done();
}
