/* What `sluice state` tells: the limiters, counters, semaphores and caches of this process, and of those with one name the keys that count most. */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/named.h"

/* Appends the answer's lines (see control.h); json: one line. name: NULL for the list of all, else the keys of what has it: at most 50, the most important first,
 * and how many were left out. Never a cache's values. */
void state_tell(const char *name, bool json, const struct named_times *now, struct buf *answer);

#endif
