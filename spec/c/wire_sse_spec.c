/* Every stream is read whole, byte by byte and at random cuts, and must mean the same. Random streams are compared with a second reader that is
 * written down from the standard's words, line by line, without any thought of speed.
 */
#include "wire/sse.h"

#include "check.h"

/* Events as text: [name|data] each, with TOO_LONG at the end if it came to that. */
static void drain(struct sse_reader *r, struct buf *out)
{
    struct sse_event ev;
    enum sse_got got;

    while ((got = sse_next(r, &ev)) == SSE_EVENT) {
        buf_printf(out, "[%s|", ev.name);
        buf_append(out, ev.data, ev.len);
        buf_putc(out, ']');
    }
    if (got == SSE_TOO_LONG && (out->len < 8 || memcmp(out->data + out->len - 8, "TOO_LONG", 8) != 0))
        buf_puts(out, "TOO_LONG");
}

static struct sse_reader reader;

/* `cut`: how many bytes next, by its state. 0: all, 1: one, else random from this seed. The bytes lie in a block of their own, for ASan. */
static void read_cut(struct buf *out, const char *bytes, size_t len, size_t limit, uint64_t cut)
{
    sse_fini(&reader);
    sse_init(&reader, limit);
    out->len = 0;
    for (size_t at = 0, n; at < len; at += n) {
        n = cut == 0 ? len : cut == 1 ? 1 : check_random(&cut) % 40;
        if (n > len - at)
            n = len - at;
        char *piece = malloc(n ? n : 1);
        memcpy(piece, bytes + at, n);
        sse_feed(&reader, piece, n);
        free(piece);
        drain(&reader, out);
    }
}

static void check_stream(int line, const char *want, size_t want_len, const char *bytes, size_t len, size_t limit)
{
    struct buf got = BUF_EMPTY;

    for (uint64_t cut = 0; cut < 30; cut++) {
        read_cut(&got, bytes, len, limit, cut);
        if (got.len != want_len || memcmp(got.data ? got.data : "", want, want_len) != 0)
            CHECK_FAIL("line %d, cut %d: wanted \"%.*s\", got \"%.*s\"", line, (int)cut, (int)want_len, want, (int)got.len, got.data ? got.data : "");
    }
    buf_free(&got);
}

#define READS(want, bytes) check_stream(__LINE__, want, sizeof want - 1, bytes, sizeof bytes - 1, 0)

static void line_ends(void)
{
    READS("[|a][|b]", "data: a\n\ndata: b\n\n");
    READS("[|a][|b]", "data: a\r\n\r\ndata: b\r\n\r\n");
    READS("[|a][|b]", "data: a\r\rdata: b\r\r");
    READS("[|a][|b][|c]", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n");
    READS("[|a][|b]", "data: a\n\rdata: b\r\n\n");
    READS("[|a\nb]", "data: a\rdata: b\n\r");
    READS("[|a]", "\n\n\r\r\r\n\r\ndata: a\n\n\n\n\r\n");
}

static void the_bom_counts_once(void)
{
    READS("[|a]", "\xef\xbb\xbf" "data: a\n\n");
    READS("", "\xef\xbb\xbf\xef\xbb\xbf" "data: a\n\n");   /* the second is part of the field's name */
    READS("[|a]", "data: a\n\n\xef\xbb\xbf" "data: b\n\n");
    READS("[|b]", "\xef\xbb" "data: a\n\ndata: b\n\n");
    READS("[|a]", "\xef\xbb\xbf\ndata: a\n\n");
    READS("[|a]", "\xef\xbb\xbf: c\ndata: a\n\n");
    READS("", "\xef\xbb\xbf");
    READS("", "\n\xef\xbb\xbf" "data: a\n\n");             /* only at the very beginning */
}

static void spaces_and_colons(void)
{
    READS("[|a]", "data:a\n\n");
    READS("[| a]", "data:  a\n\n");
    READS("[|\ta]", "data:\ta\n\n");
    READS("[|a ]", "data: a \n\n");
    READS("[|a: b:c]", "data: a: b:c\n\n");
    READS("[|:]", "data::\n\n");
    READS("", "data : a\n\n");
    READS("", " data: a\n\n");
    READS("", "Data: a\nDATA: a\ndat: a\ndatax: a\n\n");
}

static void comments_and_unknown_fields(void)
{
    READS("[|a]", ": ping\n\n:\n\n:data: x\ndata: a\n: more\n\n: end\n\n");
    READS("[|a]", "id: 7\nretry: 10\nfoo\nfoo: bar\ndata: a\n\n");
    READS("", ": ping\n\n: ping\n\nid: 1\n\nretry: 5\n\n");
}

/* The standard's own examples among them. */
static void data_lines(void)
{
    READS("[|YHOO\n+2\n10]", "data: YHOO\ndata: +2\ndata: 10\n\n");
    READS("[|first event][|second event][| third event]", ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n");
    READS("[|][|\n]", "data\n\ndata\ndata\n\ndata:");
    READS("[|test][|test]", "data:test\n\ndata: test\n\n");
    READS("[|]", "data:\n\n");
    READS("[|]", "data: \n\n");
    READS("[|\na\n]", "data\ndata: a\ndata\n\n");
    READS("[|\n\n\n]", "data\ndata:\ndata: \ndata\n\n");
    READS("[|a\0b]", "data: a\0b\n\n");
    READS("[|{\"x\":1}][|[DONE]]", "data: {\"x\":1}\n\ndata: [DONE]\n\n");
}

static void names(void)
{
    READS("[ping|a]", "event: ping\ndata: a\n\n");
    READS("[ping|a]", "data: a\nevent:ping\n\n");
    READS("[two|a]", "event: one\nevent: two\ndata: a\n\n");
    READS("[|a]", "event: one\nevent\ndata: a\n\n");
    READS("[one|a][|b]", "event: one\ndata: a\n\ndata: b\n\n");
    READS("[|b]", "event: lost\n\ndata: b\n\n");           /* no data: no event, and its name is forgotten */
    READS("[123456789012345678901234567890123456789012345678901234567890123|a]",
          "event: 1234567890123456789012345678901234567890123456789012345678901234567\ndata: a\n\n");
}

static void the_end_dispatches_nothing(void)
{
    READS("", "data: a");
    READS("", "data: a\n");
    READS("", "data: a\r\n");
    READS("[|a]", "data: a\n\ndata: b\n");
    READS("", "");
}

/* What the gateway asks when the upstream closes. */
static void clean_means_nothing_half(void)
{
    static const struct { const char *bytes; bool clean; } cases[] = {
        { "", true }, { "data: a\n\n", true }, { "data: a\r\r", true }, { "data: a\r\n\r", true }, { "data: a\r\n\r\n", true }, { ": c\n", true },
        { "data: a", false }, { "data: a\n", false }, { "data", false }, { "data: a\n\nda", false }, { "data: a\n\ndata: b\r\n", false },
        { ": c", false },
    };
    struct buf out = BUF_EMPTY;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t cut = 0; cut < 10; cut++) {
            read_cut(&out, cases[i].bytes, strlen(cases[i].bytes), 0, cut);
            if (sse_clean(&reader) != cases[i].clean)
                CHECK_FAIL("\"%s\", cut %d: clean is %d", cases[i].bytes, (int)cut, !cases[i].clean);
        }
    buf_free(&out);
}

static void a_cr_ends_the_event_at_once(void)
{
    struct sse_reader r;
    struct sse_event ev;

    sse_init(&r, 0);
    sse_feed(&r, "data: a\r\n\r", 10);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));               /* not held back to see whether an LF follows */
    CHECK_BYTES("a", 1, ev.data, ev.len);
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    sse_feed(&r, "\n", 1);
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));                /* the LF belonged to that CR */
    sse_feed(&r, "data: b\n\n", 9);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK_BYTES("b", 1, ev.data, ev.len);
    sse_fini(&r);
}

static void asking_late_changes_nothing(void)
{
    struct sse_reader r;
    struct buf out = BUF_EMPTY;

    sse_init(&r, 0);
    sse_feed(&r, "data: a\n", 8);                          /* fed three times before the first question */
    sse_feed(&r, "data: b\n\nevent: x\r", 18);
    sse_feed(&r, "\ndata: c\n\n", 10);
    drain(&r, &out);
    CHECK_BYTES("[|a\nb][x|c]", 11, out.data, out.len);
    buf_free(&out);
    sse_fini(&r);
}

/* A single line is given out where it lies; asking takes no memory. */
static void a_single_line_is_not_copied(void)
{
    struct sse_reader r;
    struct sse_event ev;

    sse_init(&r, 0);
    sse_feed(&r, "data: hello\n\ndata: x\ndata: y\n\n", 31);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK(ev.data == r.in.data + 6);
    CHECK(r.data.data == NULL);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK(ev.data == r.data.data);
    sse_fini(&r);
}

/* The one data line of an event is a span into `in`, which moves when more is fed before the event's end. */
static void a_span_follows_its_buffer(void)
{
    struct sse_reader r;
    struct sse_event ev;
    char filler[200];

    sse_init(&r, 0);
    memset(filler, 'x', sizeof filler);
    filler[0] = ':';
    filler[sizeof filler - 1] = '\n';
    sse_feed(&r, "data: gone\n\ndata: kept\n", 23);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    for (int i = 0; i < 500; i++) {
        sse_feed(&r, filler, sizeof filler);
        CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    }
    sse_feed(&r, "\n", 1);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK_BYTES("kept", 4, ev.data, ev.len);
    sse_fini(&r);
}

static void waiting_counts_what_is_held(void)
{
    struct sse_reader r;
    struct sse_event ev;

    sse_init(&r, 0);
    CHECK_INT(0, sse_waiting(&r));
    sse_feed(&r, "data: abc\n", 10);
    CHECK_INT(10, sse_waiting(&r));
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    CHECK_INT(3, sse_waiting(&r));                         /* the data, no more its field */
    sse_feed(&r, "data: de\ndat", 12);
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    CHECK_INT(3 + 1 + 2 + 3, sse_waiting(&r));             /* abc LF de, and "dat" */
    sse_feed(&r, "a\n\n", 3);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK_INT(0, sse_waiting(&r));
    CHECK_BYTES("abc\nde\n", 7, ev.data, ev.len);
    sse_fini(&r);
}

static size_t held(const struct sse_reader *r) { return r->in.cap + r->data.cap; }

static void an_idle_reader_holds_almost_nothing(void)
{
    struct sse_reader r;
    struct sse_event ev;
    static char big[100000];

    sse_init(&r, 0);
    memset(big, 'x', sizeof big);
    sse_feed(&r, "data: a\n\n", 9);
    CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
    CHECK_INT(SSE_MORE, sse_next(&r, &ev));
    CHECK_INT(0, held(&r));
    for (int lines = 1; lines <= 2; lines++) {             /* by the span, and joined */
        for (int i = 0; i < lines; i++) {
            sse_feed(&r, "data: ", 6);
            sse_feed(&r, big, sizeof big);
            sse_feed(&r, "\n", 1);
        }
        sse_feed(&r, "\ndata: half", 11);
        CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
        CHECK_INT(lines * (sizeof big + 1) - 1, ev.len);
        CHECK_INT(SSE_MORE, sse_next(&r, &ev));
        CHECK_INT(10, sse_waiting(&r));
        CHECK(held(&r) <= 4096);                           /* a cut line does not keep the burst's memory */
        sse_feed(&r, "\n\n", 2);
        CHECK_INT(SSE_EVENT, sse_next(&r, &ev));
        CHECK_BYTES("half", 4, ev.data, ev.len);
        CHECK_INT(SSE_MORE, sse_next(&r, &ev));
        CHECK(held(&r) <= 4096);
    }
    sse_fini(&r);
}

static void an_endless_line_is_refused_in_bounded_memory(void)
{
    struct sse_reader r;
    struct sse_event ev;
    enum sse_got got = SSE_MORE;
    static char junk[10000];
    size_t fed = 0;

    memset(junk, 'x', sizeof junk);
    sse_init(&r, 0);
    for (; got == SSE_MORE; fed += sizeof junk) {
        sse_feed(&r, junk, sizeof junk);
        got = sse_next(&r, &ev);
        CHECK(held(&r) <= 4 << 20);
    }
    CHECK_INT(SSE_TOO_LONG, got);
    CHECK(fed > 1 << 20 && fed <= (1 << 20) + sizeof junk);
    CHECK_INT(0, held(&r));
    sse_feed(&r, "\n\ndata: a\n\n", 11);
    CHECK_INT(SSE_TOO_LONG, sse_next(&r, &ev));            /* it stays so */
    CHECK_INT(0, held(&r));
    CHECK_INT(0, sse_waiting(&r));
    CHECK(!sse_clean(&r));
    sse_fini(&r);
}

/* A line counts with its end; 30 bytes are allowed here. */
static void the_limit_is_exact(void)
{
    struct { const char *want, *bytes; } cases[] = {
        { "[|12345678901234567890123][|a]", "data: 12345678901234567890123\n\ndata: a\n\n" },
        { "TOO_LONG", "data: 123456789012345678901234\n\ndata: a\n\n" },
        { "[|b]TOO_LONG", "data: b\n\ndata: 123456789012345678901234\n\n" },
        { "[|12345678901234567890123][|a]", "data: 12345678901234567890123\r\n\r\ndata: a\r\n\r\n" },
        { "[|12345678\n90123456]", "data: 12345678\ndata: 90123456\n\n" },
        { "TOO_LONG", "data: 12345678\ndata: 901234567\n\n" },
        { "TOO_LONG", "data: 1\n: 2345678\nid: 90\ndata: 12\n\n" },
        { "TOO_LONG", ": 345678901234567890123456789012\n" },
        { "[|a][|b][|c][|d]", "data: a\n\ndata: b\n\ndata: c\n\ndata: d\n\n" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_stream((int)i, cases[i].want, strlen(cases[i].want), cases[i].bytes, strlen(cases[i].bytes), 30);
}

/* --- against the standard's words ---------------------------------------------------------------------------------- */

struct model { struct buf data, name, out; };

static void model_line(struct model *m, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name = colon ? (size_t)(colon - line) : len, at = colon ? name + 1 : len;

    if (len == 0) {
        if (m->data.len > 0) {
            buf_puts(&m->out, "[");
            buf_append(&m->out, m->name.data, m->name.len);
            buf_puts(&m->out, "|");
            buf_append(&m->out, m->data.data, m->data.len - 1);   /* without the last LF */
            buf_puts(&m->out, "]");
        }
        m->data.len = m->name.len = 0;
        return;
    }
    if (colon && at < len && line[at] == ' ')
        at++;
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        buf_append(&m->data, line + at, len - at);
        buf_putc(&m->data, '\n');
    } else if (name == 5 && memcmp(line, "event", 5) == 0) {
        m->name.len = 0;
        buf_append(&m->name, line + at, len - at);
    }
}

static void model_read(struct model *m, const char *bytes, size_t len)
{
    size_t at = len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    m->data.len = m->name.len = m->out.len = 0;
    for (size_t i = at; i < len; i++) {
        if (bytes[i] != '\r' && bytes[i] != '\n')
            continue;
        model_line(m, bytes + at, i - at);
        if (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n')
            i++;
        at = i + 1;
    }
}

static void random_streams_mean_what_the_standard_says(void)
{
    static const char *const parts[] = { "data", "data:", "data: ", "event", "event:", "event: ", "id: 1", "retry: 2", ":", ": c", " ", "x", "yy", "\xef\xbb\xbf",
        "\n", "\n", "\n", "\n\n", "\r", "\r", "\r\n", "\r\n", "\r\n\r\n", "{\"a\":\"b\"}", "\xf0\x9f\x98\x80", "data: z\n\n" };
    uint64_t seed = 92;
    struct model m = { BUF_EMPTY, BUF_EMPTY, BUF_EMPTY };
    struct buf bytes = BUF_EMPTY, got = BUF_EMPTY;

    printf("seed %d\n", (int)seed);
    for (int round = 0; round < 4000; round++) {
        bytes.len = 0;
        for (size_t n = check_random(&seed) % 60; n > 0; n--)
            buf_puts(&bytes, parts[check_random(&seed) % (sizeof parts / sizeof *parts)]);
        if (bytes.len == 0)
            continue;
        model_read(&m, bytes.data, bytes.len);
        for (int i = 0; i < 4; i++) {
            read_cut(&got, bytes.data, bytes.len, 0, i < 2 ? (uint64_t)i : check_random(&seed) | 2);
            CHECK_BYTES(m.out.data, m.out.len, got.data, got.len);
        }
    }
    buf_free(&bytes);
    buf_free(&got);
    buf_free(&m.data);
    buf_free(&m.name);
    buf_free(&m.out);
}

/* Half a million lines that end with CR alone, in one piece: with one search for LF a line this would take minutes. */
static void cr_alone_is_as_quick_as_lf(void)
{
    enum { LINES = 500000 };
    struct sse_reader r;
    struct sse_event ev;
    struct buf bytes = BUF_EMPTY;
    int events = 0;

    for (int i = 0; i < LINES; i++)
        buf_puts(&bytes, "data:x\r\r");
    sse_init(&r, 0);
    sse_feed(&r, bytes.data, bytes.len);
    while (sse_next(&r, &ev) == SSE_EVENT)
        events++;
    CHECK_INT(LINES, events);
    buf_free(&bytes);
    sse_fini(&r);
}

int main(void)
{
    RUN(line_ends);
    RUN(the_bom_counts_once);
    RUN(spaces_and_colons);
    RUN(comments_and_unknown_fields);
    RUN(data_lines);
    RUN(names);
    RUN(the_end_dispatches_nothing);
    RUN(clean_means_nothing_half);
    RUN(a_cr_ends_the_event_at_once);
    RUN(asking_late_changes_nothing);
    RUN(a_single_line_is_not_copied);
    RUN(a_span_follows_its_buffer);
    RUN(waiting_counts_what_is_held);
    RUN(an_idle_reader_holds_almost_nothing);
    RUN(an_endless_line_is_refused_in_bounded_memory);
    RUN(the_limit_is_exact);
    RUN(random_streams_mean_what_the_standard_says);
    RUN(cr_alone_is_as_quick_as_lf);
    sse_fini(&reader);
    return check_done();
}
