/* Counting semaphores shared by all workers: per key, so many slots may be taken at a time. Named (base/named.h), thread-safe, never waits.
 *
 * A key is remembered only while one of its slots is taken, so what this holds is bounded by those who hold slots. Nobody's slot is ever forgotten.
 */
#ifndef SLUICE_BASE_SEMAPHORE_H
#define SLUICE_BASE_SEMAPHORE_H

#include <stddef.h>
#include <stdint.h>

struct semaphore;
struct slot {                                          /* one that is taken; it keeps its semaphore, also when that is closed meanwhile */
    struct slot *next;                                 /* for whoever holds it */
};

struct semaphore *semaphore_open(const char *name);
void semaphore_close(struct semaphore *s);

/* A slot, to be given back with slot_release, once; or NULL when `limit` of this key's, or more, are taken. *held is how many are taken then. The limit is
 * of the one who asks: when it becomes smaller, those who have slots keep them. */
struct slot *semaphore_take(struct semaphore *s, const char *key, size_t len, uint64_t limit, uint64_t *held);
void slot_release(struct slot *slot);
uint64_t semaphore_held(struct semaphore *s, const char *key, size_t len);

#endif
