/* Values that all workers share, bytes in and bytes out: each until its time is over, all of them bounded in bytes (the longest unused goes first).
 * Named (base/named.h), thread-safe, never waits.
 *
 * What is missing one caller loads while the others come again later:
 *
 *     switch (cache_fetch(c, key, len, now, &value, &lease)) {
 *     case CACHE_VALUE:   it was there
 *     case CACHE_LEASED:  load it, then cache_keep(... lease ...) or, when that failed, cache_give_up(... lease)
 *     case CACHE_LOADING: another loads it: ask again in a moment
 *     }
 *
 * A lease that was given up or is older than CACHE_LEASE_MS goes to the next who asks. A set or delete ends it too: what was loaded from an older state of the
 * world is not kept.
 */
#ifndef SLUICE_BASE_CACHE_H
#define SLUICE_BASE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define CACHE_FOR_EVER UINT64_MAX
#define CACHE_BYTES_MIN ((size_t)64 << 10)
#define CACHE_ENTRY_MAX ((size_t)1 << 20)
#define CACHE_LEASE_MS 30000

struct cache;
enum cache_answer { CACHE_VALUE, CACHE_LEASED, CACHE_LOADING };

struct cache *cache_open(const char *name, uint64_t max_bytes);   /* at least CACHE_BYTES_MIN; the latest open's bound holds for all */
void cache_close(struct cache *c);
const char *cache_name(const struct cache *c);
/* The most bytes one entry may take with its key: a sixteenth of the bound, at most CACHE_ENTRY_MAX. cache_takes: what one takes. */
size_t cache_room(const struct cache *c);
size_t cache_takes(const struct cache *c, size_t key_len, size_t value_len);

bool cache_get(struct cache *c, const char *key, size_t len, uint64_t now_ms, struct buf *ret);   /* appends the value; false: none, or its time is over */
bool cache_set(struct cache *c, const char *key, size_t len, const char *value, size_t n, uint64_t until_ms, uint64_t now_ms);   /* false: too large; then there is none */
void cache_delete(struct cache *c, const char *key, size_t len);

/* A key that is itself too large is leased to everyone. */
enum cache_answer cache_fetch(struct cache *c, const char *key, size_t len, uint64_t now_ms, struct buf *ret, uint64_t *ret_lease);
bool cache_keep(struct cache *c, const char *key, size_t len, uint64_t lease, const char *value, size_t n, uint64_t until_ms, uint64_t now_ms);   /* false: too large */
void cache_give_up(struct cache *c, const char *key, size_t len, uint64_t lease);   /* harmless when it is no longer held */

size_t cache_keys(struct cache *c);
size_t cache_bytes(struct cache *c);

#endif
