/* Percent-encoding (RFC 3986 section 2.1; in queries '+' is a space as in application/x-www-form-urlencoded). */
#ifndef SLUICE_WIRE_PERCENT_H
#define SLUICE_WIRE_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends the decoded bytes. 0, or -1 at a '%' without two hex digits or a NUL, plain or decoded (out keeps what came before). */
int percent_decode(struct buf *out, const char *s, size_t len, bool plus_is_space);

/* The next name=value of a query string; both are decoded and checked (UTF-8). Returns 1 (one was read), 0 (the end), -1 (bad
 * encoding or bad UTF-8). `cursor` starts at the query. Empty parts ("&&") are skipped. name and value are replaced each time. */
int query_next(const char **cursor, struct buf *name, struct buf *value);

#endif
