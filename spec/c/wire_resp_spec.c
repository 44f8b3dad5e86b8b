/* Replies are read whole and in every cutting, and must mean the same; what is no reply is refused, whatever its length promises. */
#include "wire/resp.h"

#include "check.h"

static void describe(struct buf *out, const char *bytes, size_t len)
{
    struct resp_item item;
    size_t at = 0;
    int got;

    out->len = 0;
    while ((got = resp_next(bytes, len, &at, &item)) == 1) {
        switch (item.kind) {
        case RESP_TEXT:
        case RESP_ERROR:
            buf_printf(out, "%s(%.*s)", item.kind == RESP_TEXT ? "text" : "error", (int)item.len, item.text);
            break;
        case RESP_INTEGER:
            buf_printf(out, "int(%lld)", (long long)item.number);
            break;
        case RESP_NULL:
            buf_puts(out, "null");
            break;
        case RESP_LIST:
            buf_printf(out, "list(%lld)", (long long)item.number);
            break;
        }
    }
    if (got < 0)
        buf_puts(out, "WRONG");
}

static void reads(const char *want, const char *bytes, size_t len)
{
    struct buf out = BUF_EMPTY;

    describe(&out, bytes, len);
    CHECK_STR(want, buf_cstr(&out));
    buf_free(&out);
}

#define READS(want, bytes) reads(want, bytes, sizeof bytes - 1)

static void items(void)
{
    READS("text(OK)", "+OK\r\n");
    READS("text()", "+\r\n");
    READS("error(ERR no)", "-ERR no\r\n");
    READS("int(-7)int(0)", ":-7\r\n:0\r\n");
    READS("int(-9223372036854775808)int(9223372036854775807)", ":-9223372036854775808\r\n:9223372036854775807\r\n");
    READS("text(a\r\nb)text()null", "$4\r\na\r\nb\r\n$0\r\n\r\n$-1\r\n");
    READS("list(2)int(1)list(0)null", "*2\r\n:1\r\n*0\r\n*-1\r\n");
    READS("", "$4\r\na\r\nb");
    READS("", "*2\r");
}

static void what_is_no_reply(void)
{
    READS("WRONG", "HTTP/1.1 400 Bad Request\r\n");
    READS("WRONG", "H");
    READS("WRONG", "+OK\n");
    READS("WRONG", "\n");
    READS("WRONG", ":\r\n");
    READS("WRONG", ":12a\r\n");
    READS("WRONG", ":-\r\n");
    READS("WRONG", ":9223372036854775808\r\n");
    READS("WRONG", "$-2\r\n");
    READS("WRONG", "$99999999999\r\n");
    READS("WRONG", "*-2\r\n");
    READS("WRONG", "*99999999999\r\n");
    READS("WRONG", "$2\r\nabc\r\n");
}

/* Each prefix lies in a block of its own, for ASan. */
static int scan_pieces(struct resp_scan *s, const char *bytes, size_t len, size_t first)
{
    int got = 0;

    for (size_t n = first; n <= len && got == 0; n++) {
        char *piece = malloc(n ? n : 1);
        memcpy(piece, bytes, n);
        got = resp_scan(s, piece, n);
        free(piece);
    }
    return got;
}

#define SCANS(want, bytes) do { \
        struct resp_scan whole_ = { 0 }, bits_ = { 0 }; \
        CHECK_INT(1, resp_scan(&whole_, bytes, sizeof bytes - 1)); \
        CHECK_INT(want, whole_.at); \
        CHECK_INT(1, scan_pieces(&bits_, bytes, sizeof bytes - 1, 0)); \
        CHECK_INT(want, bits_.at); \
    } while (0)

static void where_a_reply_ends(void)
{
    SCANS(5, "+OK\r\n:1\r\n");
    SCANS(8, "$2\r\nhi\r\n$2\r\nyo\r\n");
    SCANS(4, "*0\r\n+x\r\n");
    SCANS(24, "*2\r\n*2\r\n:1\r\n:2\r\n$2\r\nab\r\n+next\r\n");
    SCANS(20, "*2\r\n*1\r\n*1\r\n*0\r\n:5\r\n:6\r\n");
}

static void lists_only_so_deep(void)
{
    struct resp_scan s = { 0 };
    struct buf b = BUF_EMPTY;

    for (int i = 0; i < RESP_DEEP; i++)
        buf_puts(&b, "*1\r\n");
    buf_puts(&b, ":1\r\n");
    CHECK_INT(1, resp_scan(&s, b.data, b.len));
    CHECK_INT(b.len, s.at);
    b.len = 0;
    for (int i = 0; i <= RESP_DEEP; i++)
        buf_puts(&b, "*1\r\n");
    s = (struct resp_scan){ 0 };
    CHECK_INT(-1, resp_scan(&s, b.data, b.len));
    buf_free(&b);
}

/* Random replies, and random bytes of the alphabet that replies are made of: no cutting changes what is told. */
static void make(struct buf *out, uint64_t *random, int deep)
{
    uint64_t n = check_random(random) % 4;

    switch (check_random(random) % (deep < 4 ? 6 : 5)) {
    case 0: buf_printf(out, "+%.*s\r\n", (int)n, "word"); break;
    case 1: buf_printf(out, "-ERR %llu\r\n", (unsigned long long)n); break;
    case 2: buf_printf(out, ":%lld\r\n", (long long)n - 2); break;
    case 3: buf_puts(out, "$-1\r\n"); break;
    case 4: buf_printf(out, "$%llu\r\n%.*s\r\n", (unsigned long long)n, (int)n, "\r\n:1"); break;
    default:
        buf_printf(out, "*%llu\r\n", (unsigned long long)n);
        for (uint64_t i = 0; i < n; i++)
            make(out, random, deep + 1);
    }
}

static void cuttings_do_not_matter(void)
{
    uint64_t random = 20250102;
    struct buf b = BUF_EMPTY;

    for (int i = 0; i < 3000; i++) {
        struct resp_scan whole = { 0 }, bits = { 0 };
        b.len = 0;
        make(&b, &random, 0);
        size_t len = b.len;
        CHECK_INT(1, resp_scan(&whole, b.data, len));
        CHECK_INT(len, whole.at);
        CHECK_INT(1, scan_pieces(&bits, b.data, len, 0));
        CHECK_INT(len, bits.at);
    }
    for (int i = 0; i < 20000; i++) {
        struct resp_scan whole = { 0 }, bits = { 0 };
        char noise[24];
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = "*$:+-\r\n0123\r\n"[check_random(&random) % 13];
        CHECK_INT(resp_scan(&whole, noise, sizeof noise), scan_pieces(&bits, noise, sizeof noise, 0));
        CHECK_INT(whole.at, bits.at);
    }
    buf_free(&b);
}

static void commands(void)
{
    struct buf out = BUF_EMPTY;

    resp_command(&out, 3);
    resp_word(&out, "SET", 3);
    resp_word(&out, "k", 1);
    resp_word(&out, "a\r\n", 3);
    CHECK_BYTES("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\n", 29, out.data, out.len);
    buf_free(&out);
}

int main(void)
{
    RUN(items);
    RUN(what_is_no_reply);
    RUN(where_a_reply_ends);
    RUN(lists_only_so_deep);
    RUN(cuttings_do_not_matter);
    RUN(commands);
    return check_done();
}
