/* A growing run of bytes, the one way we hold text that moves.
 *
 * Invariant: data[0..len) are the bytes; `data` may be NULL when cap is 0. Never NUL-terminated by itself (buf_cstr does).
 * Who holds the struct owns the bytes; a function that "takes" a buf leaves it BUF_EMPTY.
 */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len;                                        /* bytes in use */
    size_t cap;                                        /* bytes allocated */
};

#define BUF_EMPTY ((struct buf){ NULL, 0, 0 })

void buf_free(struct buf *b);                          /* gives the memory back; b is BUF_EMPTY after */
void buf_reserve(struct buf *b, size_t more);          /* room for `more` bytes beyond len; grows by doubling */
void buf_append(struct buf *b, const char *bytes, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
void buf_consume(struct buf *b, size_t n);             /* drops the first n bytes; gives big memory back when empty */
void buf_move(struct buf *to, struct buf *from);       /* appends from's bytes to `to` (steals them if `to` is empty) */
const char *buf_cstr(struct buf *b);                   /* the bytes with a NUL behind (not counted in len) */

#endif
