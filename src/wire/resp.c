#include "wire/resp.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_MOST ((int64_t)512 << 20)                 /* what a server of today can hold in one value */
#define LIST_MOST ((int64_t)1 << 31)

/* A whole number, all of it. */
static bool number(const char *s, size_t len, int64_t *ret)
{
    size_t i = len > 0 && s[0] == '-';
    uint64_t n = 0;

    if (i == len || len - i > 19)
        return false;
    for (; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s[i] - '0');
    }
    if (n > (uint64_t)INT64_MAX + (s[0] == '-'))
        return false;
    *ret = (int64_t)(s[0] == '-' ? 0 - n : n);
    return true;
}

/* What stands behind the `$` or `*`: a length, or -1 for nothing at all. */
static int counted(struct resp_item *ret, const char *s, size_t len, enum resp_kind kind, int64_t most)
{
    int64_t n;

    if (!number(s, len, &n) || n < -1 || n > most)
        return -1;
    *ret = (struct resp_item){ .kind = n < 0 ? RESP_NULL : kind, .number = n };
    return 1;
}

/* The bytes behind a `$` line, whose end is at *at. */
static int text(const char *bytes, size_t len, size_t *at, struct resp_item *ret)
{
    size_t n = (size_t)ret->number;

    if (len - *at < n + 2)
        return 0;
    if (bytes[*at + n] != '\r' || bytes[*at + n + 1] != '\n')
        return -1;
    ret->text = bytes + *at;
    ret->len = n;
    *at += n + 2;
    return 1;
}

int resp_next(const char *bytes, size_t len, size_t *at, struct resp_item *ret)
{
    const char *line = bytes + *at, *end = len > *at ? memchr(line, '\n', len - *at) : NULL;
    struct resp_item item = { 0 };
    int got = 1;

    if (!end)
        return len > *at && !memchr("+-:$*", line[0], 5) ? -1 : 0;
    if (end == line || end[-1] != '\r')
        return -1;
    size_t behind = (size_t)(end + 1 - bytes), n = end == line + 1 ? 0 : (size_t)(end - 1 - (line + 1));
    switch (line[0]) {
    case '+':
    case '-':
        item = (struct resp_item){ .kind = line[0] == '+' ? RESP_TEXT : RESP_ERROR, .text = line + 1, .len = n };
        break;
    case ':':
        item.kind = RESP_INTEGER;
        got = number(line + 1, n, &item.number) ? 1 : -1;
        break;
    case '*':
        got = counted(&item, line + 1, n, RESP_LIST, LIST_MOST);
        break;
    case '$':
        got = counted(&item, line + 1, n, RESP_TEXT, TEXT_MOST);
        if (got == 1 && item.kind == RESP_TEXT)
            got = text(bytes, len, &behind, &item);
        break;
    default:
        return -1;
    }
    if (got == 1) {
        *at = behind;
        *ret = item;
    }
    return got;
}

int resp_scan(struct resp_scan *s, const char *bytes, size_t len)
{
    struct resp_item item;

    do {
        int got = resp_next(bytes, len, &s->at, &item);
        if (got != 1)
            return got;
        if (item.kind == RESP_LIST && item.number > 0) {
            if (s->deep == RESP_DEEP)
                return -1;
            s->left[s->deep++] = item.number;
            continue;                                  /* its first item ends it no more than any other */
        }
        while (s->deep > 0 && --s->left[s->deep - 1] == 0)
            s->deep--;
    } while (s->deep > 0);
    return 1;
}

void resp_command(struct buf *out, size_t words) { buf_printf(out, "*%zu\r\n", words); }

void resp_word(struct buf *out, const char *bytes, size_t len)
{
    buf_printf(out, "$%zu\r\n", len);
    buf_append(out, bytes, len);
    buf_append(out, "\r\n", 2);
}
