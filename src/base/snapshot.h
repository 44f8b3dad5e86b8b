/* All counters in a file, so that their sums outlive the process. Written whole or not at all (beside it, synced, renamed); read whole or not at all.
 *
 *     sluice counters 1
 *     counter WINDOW_MS LENGTH NAME
 *     BEGIN SUM LENGTH KEY              a sum of that counter: when its window began (Unix ms), the sum as C writes it in hexadecimal
 *     end RECORDS DIGEST                how many sums there are, and a digest of all before: a file that was cut or bent is no snapshot
 */
#ifndef SLUICE_BASE_SNAPSHOT_H
#define SLUICE_BASE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SNAPSHOT_MOST ((size_t)64 << 20)               /* bytes of a file */

void snapshot_take(struct buf *ret, int64_t unix_ms);  /* sums whose window is over are left out */
/* 0 and how many sums; or -1 and why, and no counter has changed. */
int snapshot_restore(const char *bytes, size_t len, size_t *sums, struct buf *why);

int snapshot_write(const char *path, const struct buf *bytes, struct buf *why);
/* 0; 1: there is no such file; -1 and why. */
int snapshot_read(const char *path, struct buf *ret, struct buf *why);

#endif
