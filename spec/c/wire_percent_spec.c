#include "wire/percent.h"

#include "check.h"

#define DECODES(want, s, plus) check_decode(__LINE__, 0, want, sizeof want - 1, s, sizeof s - 1, plus)
#define REFUSES(kept, s) check_decode(__LINE__, -1, kept, sizeof kept - 1, s, sizeof s - 1, false)

static void check_decode(int line, int want_got, const char *want, size_t want_len, const char *s, size_t len, bool plus)
{
    struct buf out = BUF_EMPTY;
    char *copy = malloc(len ? len : 1);                /* a block of its own: no look behind the end */

    memcpy(copy, s, len);
    int got = percent_decode(&out, copy, len, plus);
    free(copy);
    if (got != want_got || out.len != want_len || memcmp(out.data ? out.data : "", want, want_len) != 0)
        CHECK_FAIL("line %d: %d \"%.*s\"", line, got, (int)out.len, out.data ? out.data : "");
    buf_free(&out);
}

static void decodes(void)
{
    DECODES("", "", false);
    DECODES("abc", "abc", false);
    DECODES("a b", "a%20b", false);
    DECODES("Az\xc3\xa9%", "%41z%c3%A9%25", false);
    DECODES("%41", "%2541", false);                    /* once */
    DECODES("a+b c", "a+b%20c", false);
    DECODES("a b+c", "a+b%2Bc", true);
    DECODES("\xff\x01\n", "%ff%01%0A", false);         /* bytes; who wants text checks */
}

static void refuses(void)
{
    REFUSES("a", "a%");
    REFUSES("a", "a%4");
    REFUSES("a", "a%4g");
    REFUSES("a", "a%g4");
    REFUSES("", "%%41");
    REFUSES("", "% 41");
    REFUSES("", "%+4");
    REFUSES("a", "a%u0041");
    REFUSES("ok", "ok%00");
    REFUSES("ok", "ok\0");
    DECODES("\x10", "%10", false);
}

static void every_escape_is_exact(void)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char s[3] = { '%', (char)a, (char)b };
            bool good = a && b && strchr(digits, a) && strchr(digits, b) && !(a == '0' && b == '0');
            struct buf out = BUF_EMPTY;
            CHECK_INT(good ? 0 : -1, percent_decode(&out, s, 3, true));
            if (good) {
                char two[3] = { (char)a, (char)b, 0 };
                CHECK_INT(1, out.len);
                CHECK_INT(strtol(two, NULL, 16), (unsigned char)out.data[0]);
            }
            buf_free(&out);
        }
}

/* All parts as text: name=value; each, with ! where it was refused. */
static void check_query(int line, const char *want, const char *query)
{
    struct buf name = BUF_EMPTY, value = BUF_EMPTY, got = BUF_EMPTY;
    int more;

    while ((more = query_next(&query, &name, &value)) == 1) {
        buf_append(&got, name.data, name.len);
        buf_putc(&got, '=');
        buf_append(&got, value.data, value.len);
        buf_putc(&got, ';');
    }
    if (more < 0)
        buf_putc(&got, '!');
    else
        CHECK_INT(0, query_next(&query, &name, &value));   /* the end stays the end */
    if (strcmp(buf_cstr(&got), want) != 0)
        CHECK_FAIL("line %d: wanted \"%s\", got \"%s\"", line, want, buf_cstr(&got));
    buf_free(&name);
    buf_free(&value);
    buf_free(&got);
}

#define QUERY(want, query) check_query(__LINE__, want, query)

static void queries(void)
{
    QUERY("", "");
    QUERY("", "&&&");
    QUERY("q=hello world;", "q=hello+world");
    QUERY("q=a+b;", "q=a%2Bb");
    QUERY("a=1;b=2;c=;d=;", "a=1&b=2&c=&d");
    QUERY("a=1;b=2;", "&&a=1&&b=2&&");
    QUERY("=;=x;", "=&=x");
    QUERY("a=b=c;", "a=b=c");
    QUERY("a=1;a=2;", "a=1&a=2");
    QUERY("a&=x=y&;", "a%26=x%3Dy%26");
    QUERY("\xc3\xa9=\xf0\x9f\x98\x80;", "%C3%A9=%F0%9F%98%80");
    QUERY("\xc3\xa9=\xc3\xa9;", "\xc3\xa9=\xc3\xa9");      /* raw UTF-8 is taken as it is */
    QUERY("a=1;b=2;", "a=1;b=2");                          /* ';' parts nothing: it is in the value */
    QUERY("a=1;b=2;=;", "a=1&b=2&=");
}

static void bad_queries(void)
{
    QUERY("!", "q=%");
    QUERY("!", "q=%zz");
    QUERY("!", "%=1");
    QUERY("!", "q=%00");
    QUERY("!", "q=%ff");
    QUERY("!", "q=%C0%AF");                            /* overlong */
    QUERY("!", "q=%ED%A0%80");                         /* a surrogate */
    QUERY("!", "q=%F4%90%80%80");
    QUERY("!", "q=%C3");
    QUERY("!", "%E2%82=x");
    QUERY("!", "q=\xff");
    QUERY("a=1;!", "a=1&q=%");
    QUERY("!", "q=%C3&r=%A9");                         /* not mended over parts */
}

int main(void)
{
    RUN(decodes);
    RUN(refuses);
    RUN(every_escape_is_exact);
    RUN(queries);
    RUN(bad_queries);
    return check_done();
}
