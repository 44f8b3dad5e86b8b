#include "wire/utf8.h"

#include "check.h"

static int next(const char *bytes, size_t len, uint32_t *cp)
{
    char *p = malloc(len);                             /* a block of its own, so that ASan sees a look behind the end */

    memcpy(p, bytes, len);
    int n = utf8_next(p, p + len, cp);
    free(p);
    return n;
}

static void every_code_point_goes_there_and_back(void)
{
    uint32_t got;
    char text[4];

    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        int n = utf8_put(text, c);
        CHECK_INT(c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, n);
        if (c >= 0xd800 && c < 0xe000) {
            CHECK_INT(-1, utf8_next(text, text + n, &got));
            continue;
        }
        CHECK_INT(n, utf8_next(text, text + n, &got));
        CHECK_INT(c, got);
        for (int i = 1; i < n; i++)
            CHECK_INT(0, utf8_next(text, text + i, &got));
        CHECK(utf8_valid(text, (size_t)n));
        CHECK_INT(1, utf8_count(text, (size_t)n));
    }
}

static void invalid_bytes_are_known_at_the_first_chance(void)
{
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0", "\xc1", "\xf5", "\xf8", "\xfe", "\xff",   /* never begin anything */
        "\xc0\x80", "\xc1\xbf", "\xe0\x80", "\xe0\x9f", "\xe0\x80\x80", "\xf0\x80", "\xf0\x8f", "\xf0\x80\x80\x80",   /* overlong */
        "\xed\xa0", "\xed\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",           /* surrogates */
        "\xf4\x90", "\xf4\x90\x80\x80",                                   /* above U+10FFFF */
        "\xc3" "a", "\xe2\x82" "a", "\xf0\x9f\x98" "a", "\xc3\xc3", "\xe2\xe2", "\xe2\x82\xe2", "\xf0\x9f\xf0",
    };
    static const char *const cut[] = { "\xc2", "\xe0", "\xe0\xa0", "\xed\x9f", "\xef\xbf", "\xf0", "\xf0\x90", "\xf0\x90\x80", "\xf4\x8f\xbf" };
    uint32_t cp;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(-1, next(bad[i], strlen(bad[i]), &cp));
        CHECK(!utf8_valid(bad[i], strlen(bad[i])));
    }
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        CHECK_INT(0, next(cut[i], strlen(cut[i]), &cp));
        CHECK(!utf8_valid(cut[i], strlen(cut[i])));
    }
}

/* One bad byte anywhere in a run that is read eight bytes a step. */
static void one_bad_byte_spoils_any_text(void)
{
    char text[41];

    for (int len = 0; len <= 40; len++) {
        memset(text, 'a', sizeof text);
        CHECK(utf8_valid(text, (size_t)len));
        for (int at = 0; at < len; at++) {
            text[at] = '\xff';
            CHECK(!utf8_valid(text, (size_t)len));
            text[at] = '\x80';
            CHECK(!utf8_valid(text, (size_t)len));
            text[at] = 0;
            CHECK(utf8_valid(text, (size_t)len));
            text[at] = 'a';
        }
    }
    CHECK(utf8_valid(NULL, 0));
    CHECK_INT(0, utf8_count(NULL, 0));
    CHECK_INT(5, utf8_count("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!", 11));
}

/* --- trimming ------------------------------------------------------------------------------------------------------ */

/* Go's unicode.IsSpace, written down from its documentation. */
static const uint32_t spaces[] = { 9, 10, 11, 12, 13, 32, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009,
    0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000 };

static void white_space_is_what_go_says(void)
{
    size_t n = 0;

    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        bool want = n < sizeof spaces / sizeof *spaces && spaces[n] == c;
        n += want;
        if (utf8_is_space(c) != want)
            CHECK_FAIL("U+%04X: space is %d", c, !want);
    }
    CHECK_INT(sizeof spaces / sizeof *spaces, n);
}

static void check_trim(const char *want, const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    const char *p = copy;

    memcpy(copy, text, len);
    utf8_trim(&p, &len);
    CHECK_BYTES(want, strlen(want), p, len);
    free(copy);
}

static void trims_unicode_space_and_nothing_else(void)
{
    check_trim("", "", 0);
    check_trim("", " \t\r\n", 4);
    check_trim("a b", "a b", 3);
    check_trim("a \n b", "\v\f a \n b \n", 10);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        char text[32], space[5] = "";
        utf8_put(space, spaces[i]);
        int n = snprintf(text, sizeof text, "%s%s\xc3\xa9%sx%s%s", space, space, space, space, space);
        char want[16];
        snprintf(want, sizeof want, "\xc3\xa9%sx", space);
        check_trim(want, text, (size_t)n);
        check_trim("", text, strlen(space) * 2);
    }
    check_trim("\xe2\x80\x8b" "a\xef\xbb\xbf", " \xe2\x80\x8b" "a\xef\xbb\xbf ", 9);   /* U+200B and U+FEFF are no space */
    check_trim("\xff", " \xff ", 3);                  /* what is invalid stays */
    check_trim("\xa0", "\xa0 ", 2);
    check_trim("a\x80\x80\x80\x80\x80", "a\x80\x80\x80\x80\x80", 6);
}

/* --- mending ------------------------------------------------------------------------------------------------------- */

#define BAD "\xef\xbf\xbd"

static void mend_cut(struct buf *out, const char *bytes, size_t len, uint64_t cut)
{
    struct utf8_mender m = { { 0 }, 0 };

    out->len = 0;
    for (size_t at = 0, n; at < len; at += n) {
        n = cut == 0 ? len : cut == 1 ? 1 : check_random(&cut) % 6;
        if (n > len - at)
            n = len - at;
        char *piece = malloc(n ? n : 1);
        memcpy(piece, bytes + at, n);
        utf8_mend(&m, out, piece, n);
        free(piece);
        CHECK(utf8_valid(out->data, out->len));        /* at every moment: what is out is sent */
        CHECK(m.n < sizeof m.wait);
    }
    utf8_mend_end(&m, out);
    CHECK_INT(0, m.n);
}

static void check_mend(int line, const char *want, size_t want_len, const char *bytes, size_t len)
{
    struct buf got = BUF_EMPTY;

    for (uint64_t cut = 0; cut < 40; cut++) {
        mend_cut(&got, bytes, len, cut);
        if (got.len != want_len || memcmp(got.data ? got.data : "", want, want_len) != 0)
            CHECK_FAIL("line %d, cut %d: wanted \"%.*s\", got \"%.*s\"", line, (int)cut, (int)want_len, want, (int)got.len, got.data);
    }
    for (size_t split = 0; split <= len; split++) {    /* every single split */
        struct utf8_mender m = { { 0 }, 0 };
        got.len = 0;
        utf8_mend(&m, &got, bytes, split);
        utf8_mend(&m, &got, bytes + split, len - split);
        utf8_mend_end(&m, &got);
        CHECK_BYTES(want, want_len, got.data, got.len);
    }
    buf_free(&got);
}

#define MENDS(want, bytes) check_mend(__LINE__, want, sizeof want - 1, bytes, sizeof bytes - 1)

static void valid_text_passes(void)
{
    MENDS("", "");
    MENDS("plain ascii that is longer than eight", "plain ascii that is longer than eight");
    MENDS("a\0b", "a\0b");
    MENDS("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    MENDS("\xe4\xbd\xa0\xe5\xa5\xbd, \xe4\xb8\x96\xe7\x95\x8c", "\xe4\xbd\xa0\xe5\xa5\xbd, \xe4\xb8\x96\xe7\x95\x8c");
    MENDS("\xef\xbf\xbd\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80", "\xef\xbf\xbd\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80");
}

/* One U+FFFD for each maximal subpart: Unicode 15, table 3-8 and its neighbours. */
static void invalid_bytes_become_replacement_characters(void)
{
    MENDS("a" BAD "b", "a\xff" "b");
    MENDS(BAD BAD BAD, "\xc0\x80\xff");
    MENDS(BAD BAD BAD, "\xe0\x80\x80");
    MENDS("a" BAD BAD BAD "b" BAD "c" BAD BAD "d", "a\xf1\x80\x80\xe1\x80\xc2" "b\x80" "c\x80\xbf" "d");
    MENDS(BAD BAD BAD BAD "A", "\xf4\x90\x80\x80" "A");
    MENDS(BAD BAD BAD BAD BAD "A", "\xf0\x80\x80\x80\xe0\x41");
    MENDS(BAD "\xe2\x82\xac", "\xe2\x82\xe2\x82\xac");
    MENDS(BAD "a", "\xf0\x9f\x98" "a");
}

static void a_cut_end_is_one_replacement(void)
{
    MENDS("a" BAD, "a\xc3");
    MENDS("a" BAD, "a\xe2\x82");
    MENDS("a" BAD, "a\xf0\x9f\x98");
    MENDS("a" BAD, "a\xed");
}

static void surrogate_halves_find_each_other(void)
{
    MENDS("\xf0\x9f\x98\x80", "\xed\xa0\xbd\xed\xb8\x80");
    MENDS("a\xf0\x9f\x98\x80" "b", "a\xed\xa0\xbd\xed\xb8\x80" "b");
    MENDS("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80\xed\xaf\xbf\xed\xbf\xbf");
}

static void a_lone_half_is_one_replacement(void)
{
    MENDS("a" BAD "b", "a\xed\xa0\xbd" "b");
    MENDS("a" BAD "b", "a\xed\xb8\x80" "b");
    MENDS(BAD, "\xed\xa0\xbd");
    MENDS(BAD, "\xed\xb8\x80");
    MENDS(BAD "\xf0\x9f\x98\x80", "\xed\xa0\xbd\xed\xa0\xbd\xed\xb8\x80");
    MENDS(BAD BAD, "\xed\xb8\x80\xed\xa0\xbd");
    MENDS(BAD "\xed\x9f\xbf", "\xed\xa0\xbd\xed\x9f\xbf");
    MENDS(BAD BAD, "\xed\xa0\xbd\xe2\x82");
}

/* Halves that are themselves cut are only invalid bytes. */
static void half_halves(void)
{
    MENDS(BAD BAD, "\xed\xa0");
    MENDS(BAD BAD "a", "\xed\xa0" "a");
    MENDS(BAD BAD "a", "\xed\xb8" "a");
    MENDS(BAD BAD BAD, "\xed\xa0\xbd\xed\xb8");
    MENDS(BAD BAD BAD "a", "\xed\xa0\xbd\xed\xb8" "a");
    MENDS(BAD BAD "a", "\xed\xa0\xbd\xed" "a");
}

/* Random bytes of the kind that hurts: every cut gives the same text, and valid text in between comes through. */
static void no_cut_changes_the_text(void)
{
    static const unsigned char kinds[] = { 'a', 'b', 0x80, 0xa0, 0xbd, 0xb8, 0xbf, 0xc2, 0xc0, 0xe0, 0xe2, 0xed, 0xed, 0xed, 0xee, 0xf0, 0xf4, 0x90, 0x9f, 0xff };
    uint64_t seed = 77;
    struct buf want = BUF_EMPTY, got = BUF_EMPTY;
    char bytes[40];

    printf("seed %d\n", (int)seed);
    for (int round = 0; round < 30000; round++) {
        size_t len = 1 + check_random(&seed) % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)kinds[check_random(&seed) % sizeof kinds];
        mend_cut(&want, bytes, len, 0);
        for (int i = 0; i < 3; i++) {
            mend_cut(&got, bytes, len, i == 0 ? 1 : check_random(&seed) | 2);
            CHECK_BYTES(want.data, want.len, got.data, got.len);
        }
        if (utf8_valid(bytes, len))
            CHECK_BYTES(bytes, len, want.data, want.len);
    }
    buf_free(&want);
    buf_free(&got);
}

int main(void)
{
    RUN(every_code_point_goes_there_and_back);
    RUN(invalid_bytes_are_known_at_the_first_chance);
    RUN(one_bad_byte_spoils_any_text);
    RUN(white_space_is_what_go_says);
    RUN(trims_unicode_space_and_nothing_else);
    RUN(valid_text_passes);
    RUN(invalid_bytes_become_replacement_characters);
    RUN(a_cut_end_is_one_replacement);
    RUN(surrogate_halves_find_each_other);
    RUN(a_lone_half_is_one_replacement);
    RUN(half_halves);
    RUN(no_cut_changes_the_text);
    return check_done();
}
