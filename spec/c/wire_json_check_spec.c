/* The checker that is fed in pieces, against json_valid, which sees the whole. */
#include "wire/json_check.h"

#include "base/buf.h"
#include "check.h"

static unsigned seed = 1;

static unsigned dice(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

/* Bytes taken when the text is cut into pieces of up to `most` bytes. */
static size_t taken(struct json_check *c, const char *text, size_t len, unsigned most)
{
    size_t at = 0;

    json_check_open(c);
    while (at < len) {
        size_t n = 1 + dice(most), got;

        if (n > len - at)
            n = len - at;
        got = json_check_feed(c, text + at, n);
        at += got;
        if (got < n)
            break;
    }
    return at;
}

#define TAKES(n, text) do { struct json_check c_; CHECK_INT(n, taken(&c_, text, sizeof text - 1, 100)); CHECK(!json_check_complete(&c_)); } while (0)
#define WHOLE(text) do { struct json_check c_; CHECK_INT(sizeof text - 1, taken(&c_, text, sizeof text - 1, 100)); CHECK(json_check_complete(&c_)); } while (0)

static void the_first_wrong_byte_is_found(void)
{
    TAKES(0, "Sure! {}");
    TAKES(0, "```json");
    TAKES(2, "{ a");
    TAKES(1, "{,");
    TAKES(5, "{\"a\" 1");
    TAKES(7, "{\"a\":1,}");
    TAKES(3, "[1,]");
    TAKES(2, "[1}");
    TAKES(3, "tru");
    TAKES(3, "trux");
    TAKES(1, "-x");
    TAKES(1, "01");
    TAKES(2, "1.x");
    TAKES(2, "1e]");
    TAKES(1, "\"\n\"");
    TAKES(2, "\"\\x\"");
    TAKES(5, "\"\\u12g\"");
    TAKES(2, "{}{");
    TAKES(0, "\xef\xbb\xbf{}");
}

static void what_is_whole_is_complete(void)
{
    WHOLE("{}");
    WHOLE(" [1, -0.5e+10, \"\\u00e9\\n\", true, null, {\"a\": {}}] \n");
    WHOLE("12");
    WHOLE("\"\"");
    WHOLE("\"\xe2\x82\xac\"");
    TAKES(0, "");
    TAKES(3, "  [");
    TAKES(2, "1.");
}

static void depth_is_bounded_as_in_json_h(void)
{
    char text[2 * JSON_MAX_DEPTH + 2];
    struct json_check c;

    memset(text, '[', JSON_MAX_DEPTH + 1);
    CHECK_INT(JSON_MAX_DEPTH, taken(&c, text, JSON_MAX_DEPTH + 1, 7));
    memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    CHECK_INT(2 * JSON_MAX_DEPTH, taken(&c, text, 2 * JSON_MAX_DEPTH, 7));
    CHECK(json_check_complete(&c));
    CHECK(json_valid(text, 2 * JSON_MAX_DEPTH));
}

/* ---- random texts: mostly JSON, then a byte or two changed */

static void put_value(struct buf *b, int depth)
{
    static const char *const leaves[] = { "0", "-1", "3.25", "1e9", "2E-7", "true", "false", "null", "\"\"", "\"a\\\"b\"", "\"\\u12aF\"", "\"\xc3\xa9\"" };
    unsigned n = dice(4);

    if (depth == 0 || dice(3) == 0) {
        buf_puts(b, leaves[dice(sizeof leaves / sizeof leaves[0])]);
        return;
    }
    bool object = dice(2);
    buf_putc(b, object ? '{' : '[');
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            buf_puts(b, dice(2) ? "," : " , ");
        if (object)
            buf_puts(b, dice(2) ? "\"k\":" : "\"\\n\" : ");
        put_value(b, depth - 1);
    }
    buf_putc(b, object ? '}' : ']');
}

static void spoil(struct buf *b)
{
    static const char bytes[] = "{}[]:,\"\\ \n0123.eE+-tfnulrsa\x01\x80";

    for (unsigned n = dice(3); n > 0 && b->len > 0; n--)
        b->data[dice((unsigned)b->len)] = bytes[dice(sizeof bytes - 1)];
    if (dice(4) == 0)
        b->len = dice((unsigned)b->len + 1);
}

/* Whether some document begins with these bytes: an end is found for what is open. */
static bool has_an_end(const char *text, size_t len)
{
    static const char *const ends[] = { "", "0", "\"", "n\"", "0\"", "00\"", "000\"", "0000\"", "rue", "ue", "e", "alse", "lse", "se", "ull", "ll", "l" };
    static const char *const then[] = { "", ":0", "0", "\"\":0" };
    struct buf b = BUF_EMPTY;
    char closers[JSON_MAX_DEPTH];
    size_t depth = 0;
    bool string = false, found = false;

    for (size_t i = 0; i < len; i++) {
        if (string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            string = !string;
        else if (!string && (text[i] == '{' || text[i] == '['))
            closers[depth++] = text[i] == '{' ? '}' : ']';
        else if (!string && depth > 0 && (text[i] == '}' || text[i] == ']'))
            depth--;
    }
    for (size_t e = 0; e < sizeof ends / sizeof ends[0] && !found; e++)
        for (size_t t = 0; t < sizeof then / sizeof then[0] && !found; t++) {
            b.len = 0;
            buf_append(&b, text, len);
            buf_puts(&b, ends[e]);
            buf_puts(&b, then[t]);
            for (size_t i = depth; i > 0; i--)
                buf_putc(&b, closers[i - 1]);
            found = json_valid(b.data ? b.data : "", b.len);
        }
    buf_free(&b);
    return found;
}

static void random_texts_are_judged_as_json_valid_does(void)
{
    unsigned whole = 0, broken = 0;

    for (int round = 0; round < 40000; round++) {
        struct json_check c, again;
        struct buf b = BUF_EMPTY;

        put_value(&b, 3);
        spoil(&b);
        size_t n = taken(&c, b.data, b.len, 5);
        CHECK_INT(n, taken(&again, b.data, b.len, 1));
        bool complete = n == b.len && json_check_complete(&c), valid = json_valid(b.data, b.len);
        if (complete != valid)
            CHECK_FAIL("\"%.*s\": complete %d, valid %d", (int)b.len, b.data, complete, valid);
        if (!has_an_end(b.data, n))
            CHECK_FAIL("took \"%.*s\", which no document begins with", (int)n, b.data);
        if (n < b.len && has_an_end(b.data, n + 1))
            CHECK_FAIL("refused the last byte of \"%.*s\", which a document begins with", (int)n + 1, b.data);
        whole += valid;
        broken += n < b.len;
        buf_free(&b);
    }
    CHECK(whole > 5000 && broken > 5000);
}

int main(void)
{
    RUN(the_first_wrong_byte_is_found);
    RUN(what_is_whole_is_complete);
    RUN(depth_is_bounded_as_in_json_h);
    RUN(random_texts_are_judged_as_json_valid_does);
    return check_done();
}
