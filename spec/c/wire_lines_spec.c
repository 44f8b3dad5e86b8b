/* Newline-delimited JSON: lines whole, byte by byte and at random cuts; ends, blanks, the limit. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "wire/lines.h"

/* All lines of `text` fed in pieces of `step` bytes, each in brackets. */
static char *lines_of(const char *text, size_t len, size_t step, bool ends)
{
    struct lines_reader r = { 0 };
    struct buf out = BUF_EMPTY;
    const char *line;
    size_t n;

    for (size_t at = 0; at < len; at += step) {
        lines_feed(&r, text + at, len - at < step ? len - at : step);
        while (lines_next(&r, &line, &n) == LINES_LINE) {
            buf_putc(&out, '[');
            buf_append(&out, line, n);
            buf_putc(&out, ']');
        }
    }
    if (ends)
        lines_end(&r);
    while (lines_next(&r, &line, &n) == LINES_LINE) {
        buf_putc(&out, '<');
        buf_append(&out, line, n);
        buf_putc(&out, '>');
    }
    buf_cstr(&out);
    lines_fini(&r);
    return out.data ? out.data : calloc(1, 1);
}

static void expect(const char *want, const char *text, bool ends)
{
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        char *got = lines_of(text, strlen(text), step, ends);

        CHECK_STR(want, got);
        free(got);
    }
}

static void lines_do_not_depend_on_the_cut(void)
{
    expect("[a][b]", "a\nb\n", false);
    expect("[a][b]", "a\r\nb\r\n", false);
    expect("[a]", "\n \t\n\r\na\n\n", false);
    expect("[{\"x\":1}][{\"y\":2}]", "{\"x\":1}\n{\"y\":2}\n", true);
}

static void the_rest_is_a_line_when_nothing_more_comes(void)
{
    expect("[a]", "a\nrest", false);
    expect("[a]<rest>", "a\nrest", true);
    expect("[a]", "a\n \t", true);
    expect("", "", true);
}

static void a_line_beyond_the_limit_fails_for_good(void)
{
    struct lines_reader r = { 0 };
    char *much = malloc(LINES_LIMIT + 2);
    const char *line;
    size_t n;

    memset(much, 'x', LINES_LIMIT + 2);
    lines_feed(&r, much, LINES_LIMIT);
    CHECK_INT(LINES_MORE, lines_next(&r, &line, &n));
    lines_feed(&r, much, 1);
    CHECK_INT(LINES_TOO_LONG, lines_next(&r, &line, &n));
    lines_feed(&r, "\nshort\n", 7);
    CHECK_INT(LINES_TOO_LONG, lines_next(&r, &line, &n));
    CHECK(r.in.len <= LINES_LIMIT + 1);
    lines_fini(&r);

    lines_feed(&r, much, LINES_LIMIT);                 /* as long as may be is not too long */
    lines_feed(&r, "\n", 1);
    CHECK_INT(LINES_LINE, lines_next(&r, &line, &n));
    CHECK_INT(LINES_LIMIT, n);
    lines_fini(&r);
    free(much);
}

int main(void)
{
    RUN(lines_do_not_depend_on_the_cut);
    RUN(the_rest_is_a_line_when_nothing_more_comes);
    RUN(a_line_beyond_the_limit_fails_for_good);
    return check_done();
}
