#include "wire/percent.h"

#include <string.h>

#include "wire/utf8.h"

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int percent_decode(struct buf *out, const char *s, size_t len, bool plus_is_space)
{
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            int high = len - i > 2 ? hex(s[i + 1]) : -1, low = len - i > 2 ? hex(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == 0)
            return -1;
        buf_putc(out, c);
    }
    return 0;
}

static int decode_part(struct buf *out, const char *s, size_t len)
{
    out->len = 0;
    return percent_decode(out, s, len, true) == 0 && utf8_valid(out->data, out->len) ? 0 : -1;
}

int query_next(const char **cursor, struct buf *name, struct buf *value)
{
    const char *p = *cursor;

    while (*p == '&')
        p++;
    if (*p == 0) {
        *cursor = p;
        return 0;
    }
    size_t len = strcspn(p, "&");
    const char *eq = memchr(p, '=', len);
    size_t name_len = eq ? (size_t)(eq - p) : len;

    *cursor = p + len;
    value->len = 0;
    if (decode_part(name, p, name_len) != 0)
        return -1;
    if (eq && decode_part(value, eq + 1, len - name_len - 1) != 0)
        return -1;
    return 1;
}
