/* The tokenizer. What may come next is one of the states below; whether we are in an object or in an array is a bit a level. What stands
 * inside strings is json_text.c's.
 */
#include "wire/json.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum expect { E_VALUE, E_FIRST_KEY, E_FIRST_ITEM, E_COMMA, E_END };

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
    *t = (struct json_token){ .kind = JSON_ERROR };
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

/* The first quote, backslash or control at or behind p, eight bytes a step (Hacker's Delight, "find first 0-byte"). */
static const char *find_special(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t w;

    for (; end - p >= 8; p += 8) {
        memcpy(&w, p, 8);
        w = le64toh(w);                                /* p[0] is the lowest byte */
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        uint64_t hit = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w)) & high;
        if (hit)
            return p + __builtin_ctzll(hit) / 8;       /* the lowest is true; a borrow spoils only those above it */
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* p stands behind a backslash. NULL: fine, and *p is behind the escape. */
static const char *escape(const char **p, const char *end)
{
    const char *q = *p;

    if (q >= end)
        return "a string does not end";
    if (*q != 'u') {
        *p = q + 1;
        return memchr("\"\\/bfnrt", *q, 8) ? NULL : "an unknown escape in a string";
    }
    if (end - q < 5 || !is_hex(q[1]) || !is_hex(q[2]) || !is_hex(q[3]) || !is_hex(q[4]))
        return "\\u wants four hex digits";
    *p = q + 5;
    return NULL;
}

/* r->pos stands behind the opening quote. Returns why it is wrong, or NULL. */
static const char *string(struct json_reader *r, struct json_token *t)
{
    const char *p = r->pos, *why;

    t->bytes = p;
    t->escaped = false;
    while ((p = find_special(p, r->end)) < r->end && *p != '"') {
        if (*p != '\\')
            return "a control character in a string";
        p++;
        t->escaped = true;
        why = escape(&p, r->end);
        if (why)
            return why;
    }
    if (p >= r->end)
        return "a string does not end";
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
        return bad(r, t, r->error);
    skip_space(r);
    if (r->state == E_END) {
        if (r->pos < r->end)
            return bad(r, t, "bytes behind the document");
        *t = (struct json_token){ .kind = JSON_END };
        return JSON_END;
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
