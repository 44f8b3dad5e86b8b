#include "wire/head.h"

#include "check.h"

/* Feeds `bytes` in pieces cut at `cut` (0: byte by byte, SIZE_MAX: whole, else two pieces). Returns the verdict; *at: bytes of the head. */
static enum head_verdict feed(const char *bytes, size_t len, size_t cut, size_t max, size_t *at, const char **why)
{
    struct head_guard g;
    enum head_verdict v = HEAD_MORE;
    size_t pos = 0;

    head_init(&g, max);
    while (pos < len && v == HEAD_MORE) {
        size_t n = cut == 0 ? 1 : pos < cut && cut < len ? cut - pos : len - pos, used = 0;
        char *copy = malloc(n);                        /* a block of its own: no look behind the end */

        memcpy(copy, bytes + pos, n);
        v = head_feed(&g, copy, n, &used);
        free(copy);
        CHECK(used <= n && (v != HEAD_MORE || used == n));
        pos += used;
    }
    *at = pos;
    if (why)
        *why = g.why;
    return v;
}

/* The same verdict whole, byte by byte and cut in two at every byte. */
static void expect_at(int line, enum head_verdict want, const char *bytes, size_t len, size_t head)
{
    size_t at;
    const char *why;

    for (size_t cut = 0; cut <= len; cut++) {
        enum head_verdict v = feed(bytes, len, cut, 0, &at, &why);
        if (v != want || (want == HEAD_DONE && at != head))
            CHECK_FAIL("line %d, cut %zu: verdict %d after %zu bytes (%s)", line, cut, v, at, why ? why : "no reason");
        if (want != HEAD_DONE && want != HEAD_MORE)
            CHECK(why && *why);
    }
}

#define GOOD(text) expect_at(__LINE__, HEAD_DONE, text, sizeof text - 1, sizeof text - 1)
#define BAD(text) expect_at(__LINE__, HEAD_BAD, text, sizeof text - 1, 0)
#define MORE(text) expect_at(__LINE__, HEAD_MORE, text, sizeof text - 1, 0)

static void accepts(void)
{
    GOOD("GET / HTTP/1.1\r\n\r\n");
    GOOD("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    GOOD("\r\nGET / HTTP/1.1\r\n\r\n");
    GOOD("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    GOOD("GET /a?b=%20c HTTP/1.0\r\nA:b\r\nC: \t d \r\nEmpty:\r\n\r\n");
    GOOD("M-SEARCH * HTTP/1.1\r\nX: caf\xc3\xa9\xff\r\n\r\n");
    GOOD("GET http://a.test/ HTTP/1.1\r\n!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n");
    GOOD("PRI * HTTP/2.0\r\n\r\n");                    /* its version is judged with the fields */
}

static void says_where_the_head_ends(void)
{
    static const char two[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
    expect_at(__LINE__, HEAD_DONE, two, sizeof two - 1, 27);
}

static void waits_for_more(void)
{
    MORE("");
    MORE("G");
    MORE("GET / HTTP/1.1\r\n");
    MORE("GET / HTTP/1.1\r\nHost: x\r\n\r");
}

static void refuses(void)
{
    BAD(" GET / HTTP/1.1\r\n\r\n");
    BAD("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    BAD("\nGET / HTTP/1.1\r\n\r\n");
    BAD("GET  / HTTP/1.1\r\n\r\n");
    BAD("GET / HTTP/1.1 \r\n\r\n");
    BAD("GET / HTTP/1.1\n\r\n");
    BAD("GET /\r\n\r\n");
    BAD("GET / HTTP/11\r\n\r\n");
    BAD("GET / http/1.1\r\n\r\n");
    BAD("GET / HTTP/1.1x\r\n\r\n");
    BAD("GET /\x01 HTTP/1.1\r\n\r\n");
    BAD("G\x80T / HTTP/1.1\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n");
    BAD("GET / HTTP/1.1\r\n\tA: b\r\n\r\n");
    BAD("GET / HTTP/1.1\r\n: b\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA : b\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA\xc3: b\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\x1b[0m\r\n\r\n");
    BAD("GET / HTTP/1.1\r\nA: b\r\n\rX");
    BAD("\x16\x03\x01\x02");
}

static void every_byte_in_a_value(void)
{
    for (int c = 0; c < 256; c++) {
        char head[] = "GET / HTTP/1.1\r\nA: b?c\r\n\r\n";
        bool good = c == '\t' || (c >= ' ' && c != 0x7f);
        size_t at;

        *strchr(head, '?') = (char)c;
        CHECK_INT(good ? HEAD_DONE : HEAD_BAD, feed(head, sizeof head - 1, SIZE_MAX, 0, &at, NULL));
    }
}

static void every_byte_in_a_name(void)
{
    for (int c = 0; c < 256; c++) {
        char head[] = "GET / HTTP/1.1\r\nA?: b\r\n\r\n";
        bool good = (c && strchr("!#$%&'*+-.^_`|~:", c)) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        size_t at;

        *strchr(head, '?') = (char)c;
        CHECK_INT(good ? HEAD_DONE : HEAD_BAD, feed(head, sizeof head - 1, SIZE_MAX, 0, &at, NULL));
    }
}

static void limits(void)
{
    static char head[200000];
    size_t n, at;

    n = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(head + n, sizeof head - n, "A: b\r\n");
    memcpy(head + n, "\r\n", 3);
    CHECK_INT(HEAD_DONE, feed(head, n + 2, 0, 0, &at, NULL));
    memcpy(head + n, "A: b\r\n\r\n", 9);
    CHECK_INT(HEAD_TOO_LARGE, feed(head, n + 8, 0, 0, &at, NULL));

    for (size_t len = 16 * 1024 - 1; len <= 16 * 1024 + 1; len++) {
        memcpy(head, "GET /", 5);
        memset(head + 5, 'a', len);
        memcpy(head + 4 + len, " HTTP/1.1\r\n\r\n", 13);
        CHECK_INT(len <= 16 * 1024 ? HEAD_DONE : HEAD_TARGET_TOO_LONG, feed(head, len + 17, SIZE_MAX, 0, &at, NULL));
    }

    for (size_t over = 0; over < 2; over++) {          /* exactly at the limit of bytes, and one more */
        n = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nA: ");
        size_t fill = 1000 + over - n - 4;
        memset(head + n, 'a', fill);
        memcpy(head + n + fill, "\r\n\r\n", 4);
        CHECK_INT(over ? HEAD_TOO_LARGE : HEAD_DONE, feed(head, n + fill + 4, 0, 1000, &at, NULL));
    }
}

static const char *judge(int minor, const char *const *pairs)
{
    struct header h[8];
    size_t n = 0;

    for (; pairs[n * 2]; n++)
        h[n] = (struct header){ pairs[n * 2], pairs[n * 2 + 1] };
    return head_check_fields(h, n, 1, minor);
}

#define FIELDS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void fields(void)
{
    CHECK(!judge(1, FIELDS("Host", "a.test")));
    CHECK(!judge(1, FIELDS("hOST", "[::1]:80", "Content-Length", "5")));
    CHECK(!judge(1, FIELDS("Host", "a", "Transfer-Encoding", "Chunked")));
    CHECK(!judge(1, FIELDS("Host", "")));              /* RFC 9112 3.2: empty when the target has no authority */
    CHECK(!judge(0, FIELDS("A", "b")));
    CHECK(!judge(1, FIELDS("Host", "a", "Upgrade", "h2c", "Connection", "Upgrade")));
    CHECK(judge(1, FIELDS("A", "b")));
    CHECK(judge(1, FIELDS("Host", "a", "Host", "a")));
    CHECK(judge(1, FIELDS("Host", "a, b")));
    CHECK(judge(1, FIELDS("Host", "a/b")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "5", "Content-Length", "5")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "5, 5")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "-1")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "0x10")));
    CHECK(judge(1, FIELDS("Host", "a", "Content-Length", "99999999999999999999")));
    CHECK(judge(1, FIELDS("Host", "a", "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked")));
    CHECK(judge(1, FIELDS("Host", "a", "Transfer-Encoding", "gzip, chunked")));
    CHECK(judge(1, FIELDS("Host", "a", "Transfer-Encoding", "")));
    CHECK(judge(1, FIELDS("Host", "a", "Transfer-Encoding", "xchunked")));
    CHECK(judge(1, FIELDS("Host", "a", "Transfer-Encoding", "chunked", "Content-Length", "5")));
    CHECK(judge(0, FIELDS("Transfer-Encoding", "chunked")));
    CHECK(head_check_fields(NULL, 0, 2, 0));
    CHECK(head_check_fields(NULL, 0, 1, 2));
    CHECK(head_check_fields(NULL, 0, 0, 9));
}

/* Random bytes from an alphabet that heads are made of: the verdict does not depend on the cuts, and a good head has the shape of one. */
static void random_heads(void)
{
    static const char *const parts[] = { "GET", " ", "/", "HTTP/1.1", "\r\n", "\r", "\n", "A", ":", "b", "\t", "\x80", "\0", "\r\n\r\n" };
    uint64_t seed = 20261123, state = seed;

    for (int i = 0; i < 200000; i++) {
        char head[256];
        size_t n = 0, at, at_bytes;
        int count = 1 + (int)(check_random(&state) % 14);

        if (check_random(&state) & 1)
            n = (size_t)sprintf(head, "GET / HTTP/1.1\r\n");
        for (int k = 0; k < count; k++) {
            const char *part = parts[check_random(&state) % (sizeof parts / sizeof *parts)];
            size_t len = *part ? strlen(part) : 1;
            memcpy(head + n, part, len);
            n += len;
        }
        enum head_verdict whole = feed(head, n, SIZE_MAX, 0, &at, NULL);
        enum head_verdict bytes = feed(head, n, 0, 0, &at_bytes, NULL);
        enum head_verdict cut = feed(head, n, 1 + check_random(&state) % n, 0, &at_bytes, NULL);
        if (whole != bytes || whole != cut)
            CHECK_FAIL("seed %llu, head %d: verdicts %d, %d, %d", (unsigned long long)seed, i, whole, bytes, cut);
        if (whole == HEAD_DONE) {
            CHECK(at >= 4 && memcmp(head + at - 4, "\r\n\r\n", 4) == 0);
            CHECK(!memchr(head, 0, at));
        }
    }
}

int main(void)
{
    RUN(accepts);
    RUN(says_where_the_head_ends);
    RUN(waits_for_more);
    RUN(refuses);
    RUN(every_byte_in_a_value);
    RUN(every_byte_in_a_name);
    RUN(limits);
    RUN(fields);
    RUN(random_heads);
    return check_done();
}
