#include "wire/lines.h"

#include <string.h>

void lines_fini(struct lines_reader *r)
{
    buf_free(&r->in);
    *r = (struct lines_reader){ 0 };
}

void lines_feed(struct lines_reader *r, const char *bytes, size_t len)
{
    if (r->failed)
        return;
    if (r->pos) {                                      /* what was given out is not needed any more */
        buf_consume(&r->in, r->pos);
        r->scan -= r->pos;
        r->pos = 0;
    }
    buf_append(&r->in, bytes, len);
}

void lines_end(struct lines_reader *r) { r->ended = true; }

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t')
            return false;
    return true;
}

enum lines_got lines_next(struct lines_reader *r, const char **line, size_t *len)
{
    while (!r->failed && r->pos < r->in.len) {
        const char *from = r->in.data + r->pos, *lf = memchr(r->in.data + r->scan, '\n', r->in.len - r->scan);
        size_t n = lf ? (size_t)(lf - from) : r->in.len - r->pos;

        r->scan = lf ? (size_t)(lf - r->in.data) + 1 : r->in.len;
        if (n > LINES_LIMIT) {
            r->failed = true;
            break;
        }
        if (!lf && !r->ended)
            return LINES_MORE;
        r->pos = r->scan;
        if (n && from[n - 1] == '\r')
            n--;
        if (is_blank(from, n))
            continue;
        *line = from;
        *len = n;
        return LINES_LINE;
    }
    return r->failed ? LINES_TOO_LONG : LINES_MORE;
}
