/* What stands inside JSON strings: escapes read and written. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "wire/json.h"
#include "wire/utf8.h"

static unsigned hex4(const char *p)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* The character of the escape at p (*p is its backslash) goes to `ret`, *n bytes. Returns how long the escape is: 2, 6, or 12 for a
 * surrogate pair. A lone half comes as its three bytes.
 */
static size_t read_escape(const char *p, const char *end, char ret[4], size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t used = 6;

    if (p[1] != 'u') {
        ret[0] = to[strchr(from, p[1]) - from];
        *n = 1;
        return 2;
    }
    uint32_t c = hex4(p + 2);
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        uint32_t low = hex4(p + 8);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            used = 12;
        }
    }
    *n = (size_t)utf8_put(ret, c);
    return used;
}

void json_unescape(struct buf *out, const char *p, size_t len)
{
    const char *end = p + len;

    buf_reserve(out, len);                             /* an escape is never shorter than its character */
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        buf_append(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash)
            return;
        char text[4];
        size_t n;
        p = slash + read_escape(slash, end, text, &n);
        buf_append(out, text, n);
    }
}

bool json_key_is(const struct json_token *t, const char *name)
{
    size_t left = strlen(name);
    const char *p = t->bytes, *end = p + t->len;

    if (!t->escaped)
        return t->len == left && memcmp(p, name, left) == 0;
    while (p < end) {                                  /* compared as it is read: a hostile document makes us allocate nothing */
        char text[4] = { *p };
        size_t n = 1;
        p += *p == '\\' ? read_escape(p, end, text, &n) : 1;
        if (n > left || memcmp(name, text, n) != 0)
            return false;
        name += n;
        left -= n;
    }
    return left == 0;
}

/* How many bytes from p on may stand as they are. */
static size_t plain_run(const char *p, const char *end)
{
    const char *from = p;

    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
            break;
        if (c == 0xe2 && end - p >= 3 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] & 0xfe) == 0xa8)
            break;                                     /* U+2028, U+2029 */
    }
    return (size_t)(p - from);
}

void json_put_string(struct buf *out, const char *p, size_t len)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *end = p + len;

    buf_reserve(out, len + 2);
    buf_putc(out, '"');
    while (p < end) {
        size_t n = plain_run(p, end);
        buf_append(out, p, n);
        p += n;
        if (p == end)
            break;
        const char *known = *p ? strchr(from, *p) : NULL;
        if (known) {
            buf_putc(out, '\\');
            buf_putc(out, to[known - from]);
            p++;
        } else if ((unsigned char)*p == 0xe2) {
            buf_puts(out, (unsigned char)p[2] == 0xa8 ? "\\u2028" : "\\u2029");
            p += 3;
        } else {
            const unsigned char c = (unsigned char)*p++;
            const char hex[6] = { '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15] };
            buf_append(out, hex, sizeof hex);
        }
    }
    buf_putc(out, '"');
}
