/* Newline-delimited JSON, reading side: each line that is not blank is an event (LF or CRLF; what stands behind the last LF when the stream ends is a line, too).
 *
 * Pulled as sse.h is: feed bytes, then ask for lines until there is none. The state survives any split.
 */
#ifndef SLUICE_WIRE_LINES_H
#define SLUICE_WIRE_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum lines_got { LINES_MORE, LINES_LINE, LINES_TOO_LONG };

struct lines_reader {
    struct buf in;                                     /* fed, not yet read */
    size_t pos, scan;                                  /* read so far; searched so far: no byte is searched twice */
    bool ended, failed;
};

#define LINES_LIMIT ((size_t)1 << 20)                  /* bytes that a line may have */

void lines_fini(struct lines_reader *r);               /* {0} is an open one */
void lines_feed(struct lines_reader *r, const char *bytes, size_t len);
void lines_end(struct lines_reader *r);                /* no more comes: the rest is a line */
/* LINE: *line is valid until the next lines_next or lines_feed, without its end. TOO_LONG: the reader stays in this state. */
enum lines_got lines_next(struct lines_reader *r, const char **line, size_t *len);

#endif
