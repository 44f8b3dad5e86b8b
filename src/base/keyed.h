/* A bounded table from keys to small records, shared by all threads: sharded, a mutex a shard. When a shard is full the record that was used longest ago
 * goes first. Keys may come from clients: of long ones (over 128 bytes) a part and a hash are kept, unless `whole` is set.
 */
#ifndef SLUICE_BASE_KEYED_H
#define SLUICE_BASE_KEYED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define KEYED_SHARDS 16

struct keyed_record;                                   /* a header, then the payload */

struct keyed_shard {
    pthread_mutex_t lock;
    struct keyed_record **slots;                       /* linear hashing: one chain more with each record that finds more records than chains */
    size_t n_slots, mask;                              /* chains; the smallest power of two that is not below, less 1 */
    struct list used;                                  /* the longest unused first; without those that are pinned */
    size_t n, bytes;                                   /* records; what they take, with all that their owner said they hold */
};

struct keyed {
    size_t payload;                                    /* bytes a record */
    void (*drop)(void *payload);                       /* before a record goes; NULL: nothing to do */
    void (*copy)(void *payload);                       /* makes a copied record own what it points to; NULL: nothing to do */
    bool whole;                                        /* long keys are kept as they are: two never meet in one record */
    struct keyed_shard shards[KEYED_SHARDS];
};

void keyed_init(struct keyed *k, size_t payload, void (*drop)(void *payload));
void keyed_free(struct keyed *k);                      /* what is in it, not itself */

/* Locks the key's shard and finds its payload. With `most` > 0 a missing one is made (zeroed, *fresh = true), and others go until the shard holds no more
 * than most / 16 (rounded up); with 0 a missing one is NULL. Between lock and unlock the payload is the caller's. */
struct keyed_at { struct keyed_shard *shard; struct keyed_record *record; };
void *keyed_lock(struct keyed *k, const char *key, size_t len, size_t most, bool *fresh, struct keyed_at *at);
void keyed_unlock(struct keyed *k, const struct keyed_at *at);
void *keyed_relock(const struct keyed_at *at);         /* a pinned record once more: its payload; then unlock again */
void keyed_remove(struct keyed *k, struct keyed_at *at);   /* the record that is locked; unlock all the same */
/* The record that is locked holds `bytes` beside itself now; others of the shard go, the longest unused first, until it holds at most most / 16. */
void keyed_weigh(struct keyed *k, struct keyed_at *at, size_t bytes, size_t most);
void keyed_pin(struct keyed_at *at, bool pinned);      /* a pinned record does not go for others */
void keyed_trim(struct keyed *k, size_t most);         /* a smaller bound of bytes */
size_t keyed_takes(const struct keyed *k, size_t len); /* what a record with a key of that length takes by itself: its memory, the allocator's, its chain */
size_t keyed_count(struct keyed *k);
size_t keyed_bytes(struct keyed *k);
/* Calls `see` for each record, one shard locked at a time (pinned ones first, then those unused longest): it must be quick, and may not come back
 * here. bytes: all that it takes. */
void keyed_each(struct keyed *k, void (*see)(void *arg, const char *key, size_t len, const void *payload, size_t bytes), void *arg);

/* All records but the pinned ones, in order; and back, in place of what the table holds then (NULL: it is emptied). */
struct keyed_copy;
struct keyed_copy *keyed_copy(struct keyed *k);
void keyed_paste(struct keyed *k, const struct keyed_copy *c);
void keyed_copy_free(struct keyed *k, struct keyed_copy *c);   /* k: the table that it is of, or one that is made alike */

#endif
