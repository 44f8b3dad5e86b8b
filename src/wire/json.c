#include "wire/json.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "wire/utf8.h"

enum expect { E_VALUE, E_FIRST_KEY, E_KEY, E_FIRST_ITEM, E_COMMA, E_END };

void json_open(struct json_reader *r, const char *bytes, size_t len)
{
    r->begin = r->pos = bytes;
    r->end = bytes + len;
    r->depth = 0;
    r->state = E_VALUE;
    r->error = NULL;
}

static enum json_kind bad(struct json_reader *r, struct json_token *t, const char *why)
{
    r->error = why;
    r->pos = r->end;
    r->state = E_END;
    t->kind = JSON_ERROR;
    return JSON_ERROR;
}

static bool in_object(const struct json_reader *r)
{
    unsigned top = r->depth - 1;
    return r->stack[top / 8] >> (top % 8) & 1;
}

static void skip_space(struct json_reader *r)
{
    while (r->pos < r->end && (*r->pos == ' ' || *r->pos == '\n' || *r->pos == '\t' || *r->pos == '\r'))
        r->pos++;
}

/* After a value: what may follow. */
static void value_done(struct json_reader *r) { r->state = r->depth ? E_COMMA : E_END; }

static enum json_kind push(struct json_reader *r, struct json_token *t, bool object)
{
    if (r->depth == JSON_MAX_DEPTH)
        return bad(r, t, "nested too deeply");
    unsigned bit = 1u << (r->depth % 8);
    if (object)
        r->stack[r->depth / 8] |= (unsigned char)bit;
    else
        r->stack[r->depth / 8] &= (unsigned char)~bit;
    r->depth++;
    t->bytes = r->pos++;
    t->len = 1;
    r->state = object ? E_FIRST_KEY : E_FIRST_ITEM;
    return t->kind = object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_kind pop(struct json_reader *r, struct json_token *t)
{
    bool object = in_object(r);

    if (*r->pos != (object ? '}' : ']'))
        return bad(r, t, object ? "an object ends with ]" : "an array ends with }");
    t->bytes = r->pos++;
    t->len = 1;
    r->depth--;
    value_done(r);
    return t->kind = object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/* Eight bytes at a time: is there a quote, a backslash or a control among them? (Hacker's Delight, "find first 0-byte") */
static bool is_special(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';

    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w)) & high;
}

/* r->pos stands behind the opening quote. Returns why it is wrong, or NULL. */
static const char *string(struct json_reader *r, struct json_token *t)
{
    const char *p = r->pos;
    uint64_t w;

    t->bytes = p;
    t->escaped = false;
    for (;;) {
        while (r->end - p >= 8 && (memcpy(&w, p, 8), !is_special(w)))
            p += 8;
        if (p >= r->end)
            return "a string does not end";
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            break;
        if (c < 0x20)
            return "a control character in a string";
        p++;
        if (c != '\\')
            continue;
        t->escaped = true;
        if (p >= r->end)
            return "a string does not end";
        c = (unsigned char)*p++;
        if (c == 'u') {
            if (r->end - p < 4 || !is_hex(p[0]) || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]))
                return "\\u wants four hex digits";
            p += 4;
        } else if (!memchr("\"\\/bfnrt", c, 8)) {
            return "an unknown escape in a string";
        }
    }
    t->len = (size_t)(p - t->bytes);
    r->pos = p + 1;
    return NULL;
}

static bool digits(struct json_reader *r)
{
    const char *from = r->pos;

    while (r->pos < r->end && *r->pos >= '0' && *r->pos <= '9')
        r->pos++;
    return r->pos > from;
}

static enum json_kind number(struct json_reader *r, struct json_token *t)
{
    t->bytes = r->pos;
    if (*r->pos == '-')
        r->pos++;
    if (r->pos < r->end && *r->pos == '0')
        r->pos++;
    else if (!digits(r))
        return bad(r, t, "not a JSON value");
    if (r->pos < r->end && *r->pos == '.') {
        r->pos++;
        if (!digits(r))
            return bad(r, t, "a number wants digits behind its point");
    }
    if (r->pos < r->end && (*r->pos == 'e' || *r->pos == 'E')) {
        r->pos++;
        if (r->pos < r->end && (*r->pos == '+' || *r->pos == '-'))
            r->pos++;
        if (!digits(r))
            return bad(r, t, "a number wants digits in its exponent");
    }
    t->len = (size_t)(r->pos - t->bytes);
    value_done(r);
    return t->kind = JSON_NUMBER;
}

static enum json_kind word(struct json_reader *r, struct json_token *t, const char *text, enum json_kind kind)
{
    size_t n = strlen(text);

    if ((size_t)(r->end - r->pos) < n || memcmp(r->pos, text, n) != 0)
        return bad(r, t, "not a JSON value");
    t->bytes = r->pos;
    t->len = n;
    r->pos += n;
    value_done(r);
    return t->kind = kind;
}

static enum json_kind value(struct json_reader *r, struct json_token *t)
{
    const char *why;

    switch (*r->pos) {
    case '{':
        return push(r, t, true);
    case '[':
        return push(r, t, false);
    case '"':
        r->pos++;
        why = string(r, t);
        if (why)
            return bad(r, t, why);
        value_done(r);
        return t->kind = JSON_STRING;
    case 't':
        return word(r, t, "true", JSON_TRUE);
    case 'f':
        return word(r, t, "false", JSON_FALSE);
    case 'n':
        return word(r, t, "null", JSON_NULL);
    default:
        return number(r, t);
    }
}

static enum json_kind key(struct json_reader *r, struct json_token *t)
{
    if (*r->pos != '"')
        return bad(r, t, "an object wants a string as key");
    r->pos++;
    const char *why = string(r, t);
    if (why)
        return bad(r, t, why);
    skip_space(r);
    if (r->pos >= r->end || *r->pos != ':')
        return bad(r, t, "a key wants a colon behind it");
    r->pos++;
    r->state = E_VALUE;
    return t->kind = JSON_KEY;
}

enum json_kind json_next(struct json_reader *r, struct json_token *t)
{
    t->escaped = false;
    if (r->error)
        return t->kind = JSON_ERROR;
    skip_space(r);
    if (r->state == E_END) {
        if (r->pos < r->end)
            return bad(r, t, "bytes behind the document");
        return t->kind = JSON_END;
    }
    if (r->pos >= r->end)
        return bad(r, t, "the document ends early");
    switch (r->state) {
    case E_FIRST_KEY:
        return *r->pos == '}' ? pop(r, t) : key(r, t);
    case E_FIRST_ITEM:
        return *r->pos == ']' ? pop(r, t) : value(r, t);
    case E_COMMA:
        if (*r->pos == '}' || *r->pos == ']')
            return pop(r, t);
        if (*r->pos != ',')
            return bad(r, t, "a comma is missing");
        r->pos++;
        skip_space(r);
        if (r->pos >= r->end)
            return bad(r, t, "the document ends early");
        return in_object(r) ? key(r, t) : value(r, t);
    default:
        return value(r, t);
    }
}

int json_skip(struct json_reader *r, const struct json_token *at)
{
    struct json_token t = *at;
    unsigned depth = 0;

    if (at->kind == JSON_OBJECT || at->kind == JSON_ARRAY)
        depth = 1;
    else if (at->kind != JSON_KEY)
        return 0;                                      /* a scalar is all there is */
    do {
        switch (json_next(r, &t)) {
        case JSON_ERROR:
            return -1;
        case JSON_OBJECT:
        case JSON_ARRAY:
            depth++;
            break;
        case JSON_OBJECT_END:
        case JSON_ARRAY_END:
            depth--;
            break;
        default:
            break;
        }
    } while (depth > 0);
    return 0;
}

bool json_valid(const char *bytes, size_t len)
{
    struct json_reader r;
    struct json_token t;

    json_open(&r, bytes, len);
    do {
        json_next(&r, &t);
    } while (t.kind != JSON_ERROR && t.kind != JSON_END);
    return t.kind == JSON_END;
}

static unsigned hex4(const char *p)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

void json_unescape(struct buf *out, const char *p, size_t len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *end = p + len;
    char four[4];

    buf_reserve(out, len);
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        buf_append(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash)
            return;
        p = slash + 2;
        if (slash[1] != 'u') {
            buf_putc(out, to[strchr(from, slash[1]) - from]);
            continue;
        }
        uint32_t c = hex4(p);
        p += 4;
        if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
            uint32_t low = hex4(p + 2);
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                p += 6;
            }
        }
        buf_append(out, four, (size_t)utf8_put(four, c));   /* a lone surrogate: its three bytes */
    }
}

bool json_key_is(const struct json_token *t, const char *name)
{
    size_t n = strlen(name);

    if (!t->escaped)
        return t->len == n && memcmp(t->bytes, name, n) == 0;
    struct buf plain = BUF_EMPTY;
    json_unescape(&plain, t->bytes, t->len);
    bool same = plain.len == n && memcmp(plain.data, name, n) == 0;
    buf_free(&plain);
    return same;
}

/* --- out -------------------------------------------------------------------------------------------------------- */

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
            buf_printf(out, "\\u%04x", (unsigned char)*p++);
        }
    }
    buf_putc(out, '"');
}
