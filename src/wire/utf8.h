/* UTF-8 (RFC 3629): shortest form, no surrogates, at most U+10FFFF. */
#ifndef SLUICE_WIRE_UTF8_H
#define SLUICE_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Reads one code point at p (< end). Returns its length 1..4, 0 if the bytes up to `end` are a proper but incomplete beginning,
 * -1 if they are invalid. */
int utf8_next(const char *p, const char *end, uint32_t *ret);
int utf8_put(char out[4], uint32_t cp);                             /* returns the length */
bool utf8_valid(const char *bytes, size_t len);
size_t utf8_count(const char *bytes, size_t len);                   /* code points; the bytes must be valid */

/* White space as Go's strings.TrimSpace (Unicode White_Space): what lies between comes back as a span of the input. */
bool utf8_is_space(uint32_t cp);
void utf8_trim(const char **bytes, size_t *len);

/* Mends model text that arrives in pieces: `feed` appends valid UTF-8 to `out`; invalid bytes become U+FFFD (one per maximal subpart), a
 * beginning cut at the end of a piece waits for the next one, a surrogate pair that came as two 3-byte halves (from JSON "\ud83d" and
 * "\ude00" in two events) becomes its character, a half without its partner one U+FFFD. `end` appends U+FFFD for what still waits.
 * Invariant: the text does not depend on how the bytes were cut. */
struct utf8_mender {
    unsigned char wait[6];
    unsigned char n;                                                /* bytes waiting */
};
void utf8_mend(struct utf8_mender *m, struct buf *out, const char *bytes, size_t len);
void utf8_mend_end(struct utf8_mender *m, struct buf *out);

#endif
