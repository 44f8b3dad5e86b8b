/* What a Redis server speaks (RESP, version 2): commands out, replies in.
 *
 * A reply is pulled item by item: a list is an item that says how many items follow. resp_scan tells where a reply ends while it is still arriving; nothing is
 * believed beyond the bytes that are there, and lists in lists only to RESP_DEEP.
 */
#ifndef SLUICE_WIRE_RESP_H
#define SLUICE_WIRE_RESP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define RESP_DEEP 8

enum resp_kind { RESP_TEXT, RESP_ERROR, RESP_INTEGER, RESP_NULL, RESP_LIST };

struct resp_item {
    enum resp_kind kind;
    const char *text;                                  /* TEXT, ERROR: within the bytes that were read */
    size_t len;
    int64_t number;                                    /* INTEGER; LIST: so many items follow */
};

/* The item at bytes[*at], which moves behind it. 1: there it is; 0: its end is not there yet; -1: these bytes are no RESP. */
int resp_next(const char *bytes, size_t len, size_t *at, struct resp_item *ret);

struct resp_scan {                                     /* all zero: at the beginning of a reply */
    size_t at;                                         /* bytes that are known to be of it; all, once it is whole */
    unsigned deep;
    int64_t left[RESP_DEEP];                           /* items that each open list still misses */
};

/* Goes on with the same reply; `bytes` are all of it that have come. 1: it is whole, s->at bytes long; 0: it goes on; -1: no RESP, or too deep. */
int resp_scan(struct resp_scan *s, const char *bytes, size_t len);

/* A command: how many words it has, then each of them. */
void resp_command(struct buf *out, size_t words);
void resp_word(struct buf *out, const char *bytes, size_t len);

#endif
