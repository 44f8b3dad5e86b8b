/* Values that must not leave by accident: keys, tokens. Process-wide, thread-safe, grows only.
 *
 * Whoever writes a text for people (log lines, error sentences) passes it through secret_scrub.
 */
#ifndef SLUICE_BASE_SECRET_H
#define SLUICE_BASE_SECRET_H

#include "base/buf.h"

void secret_add(const char *value, size_t len);        /* values shorter than 4 bytes are ignored; the same value twice is one */
void secret_scrub(struct buf *text);                   /* every run of bytes that known values cover becomes "***" */

#endif
