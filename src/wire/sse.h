/* Server-sent events, reading side (WHATWG HTML 9.2, "parsing an event stream").
 *
 * Pulled, not pushed: feed bytes, then ask for events until there is none. Waiting is only not asking. The state survives any split.
 *
 *     sse_feed(&r, bytes, len);
 *     while ((got = sse_next(&r, &ev)) == SSE_EVENT) ...
 *
 * As the standard says, `data` without a value is an event with empty data, and an event without any data line is none. What stands behind
 * the last empty line when the stream ends is no event. `id` and `retry` are read over: nobody here reconnects.
 *
 * Invariant: the events do not depend on how the bytes were cut.
 */
#ifndef SLUICE_WIRE_SSE_H
#define SLUICE_WIRE_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum sse_got {
    SSE_MORE,                                          /* nothing complete; feed more */
    SSE_EVENT,                                         /* `ev` is filled */
    SSE_TOO_LONG,                                      /* a line or event passed the limit; the reader stays in this state */
};

struct sse_event {
    const char *data;                                  /* joined data lines; valid until the next sse_next or sse_feed */
    size_t len;
    const char *name;                                  /* the event: field, "" if absent ("message"); NUL-terminated */
};

struct sse_reader {
    struct buf in;                                     /* fed, not yet read */
    size_t pos;                                        /* read so far in `in` */
    size_t scan;                                       /* searched so far for CR: no byte is searched twice */
    size_t lf;                                         /* the next LF in `in`, or searched so far */
    struct buf data;                                   /* data lines of the event in the making, when more than one */
    char name[64];                                     /* longer event names are cut */
    size_t limit;                                      /* bytes an event or line may have */
    size_t event_bytes;                                /* bytes of this event so far */
    const char *span;                                  /* the single data line of the event, in `in` (spares a copy) */
    size_t span_len;
    unsigned data_lines;
    bool bom_done, skip_lf, failed;
};

void sse_init(struct sse_reader *r, size_t limit);     /* limit 0: 1 MiB */
void sse_fini(struct sse_reader *r);
void sse_feed(struct sse_reader *r, const char *bytes, size_t len);
enum sse_got sse_next(struct sse_reader *r, struct sse_event *ret);
size_t sse_waiting(const struct sse_reader *r);        /* bytes held: fed but not given out */
/* True when everything fed was dispatched: no half line, no event in the making. */
bool sse_clean(const struct sse_reader *r);

#endif
