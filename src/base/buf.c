#include "base/buf.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SMALLEST 64
#define KEEP 4096                                      /* an empty buf does not hold on to more */

void buf_free(struct buf *b)
{
    free(b->data);
    *b = BUF_EMPTY;
}

/* Seldom, and so kept out of those that are called for every few bytes. */
__attribute__((noinline, cold)) static void grow(struct buf *b, size_t more)
{
    size_t want = b->len + more, cap = b->cap ? b->cap : SMALLEST;

    assert(more < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);     /* else the doubling would wrap around */
    while (cap < want)
        cap *= 2;
    b->data = mem_resize(b->data, cap);
    b->cap = cap;
}

static inline void make_room(struct buf *b, size_t more)
{
    if (more > b->cap - b->len)
        grow(b, more);
}

void buf_reserve(struct buf *b, size_t more) { make_room(b, more); }

void buf_append(struct buf *b, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    make_room(b, len);
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

void buf_puts(struct buf *b, const char *s) { buf_append(b, s, strlen(s)); }

void buf_putc(struct buf *b, char c)
{
    make_room(b, 1);
    b->data[b->len++] = c;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n <= 0)
        return;
    buf_reserve(b, (size_t)n + 1);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n < b->len) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
        return;
    }
    b->len = 0;
    if (b->cap > KEEP)
        buf_free(b);
}

void buf_move(struct buf *to, struct buf *from)
{
    if (to->len == 0 && from->len > 0) {
        struct buf swap = *to;
        *to = *from;
        *from = swap;
    } else {
        buf_append(to, from->data, from->len);
    }
    buf_free(from);
}

const char *buf_cstr(struct buf *b)
{
    buf_reserve(b, 1);
    b->data[b->len] = 0;
    return b->data;
}
