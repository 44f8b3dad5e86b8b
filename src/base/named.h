/* State that all workers share under a name: limiters, counters, semaphores, caches, targets. Two opens of one kind and name give the
 * same; after the last close it is kept for the next open (a reload closes before it opens), as long as it is among the 64 of all closed last. Thread-safe.
 */
#ifndef SLUICE_BASE_NAMED_H
#define SLUICE_BASE_NAMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keyed;
struct named;

/* How an operator is shown one, in numbers by name ("rate", "ends_in_ms"). A name that ends in _ms is a time, where -1 is for ever. */
#define NAMED_FIGURES 4
struct named_figure {
    const char *name;                                  /* constant; NULL: no more */
    double value;
};
struct named_times { uint64_t now_ms; int64_t unix_ms; };
struct named_view {
    void (*settings)(struct named *n, struct named_figure ret[NAMED_FIGURES]);
    /* One key's, under its shard's lock. False: it is over, only not forgotten yet. *rank: those with the highest are shown first. */
    bool (*figures)(const struct named_figure *settings, const void *payload, const struct named_times *t, struct named_figure ret[NAMED_FIGURES], double *rank);
};

struct named {                                         /* the first member of what is shared */
    struct named *next;
    const char *kind;                                  /* constant */
    char *name;
    unsigned opened;
    uint64_t closed;                                   /* when nobody has it open: the how-manieth closing that was */
    void (*destroy)(struct named *n);                  /* frees it; not its name */
    struct keyed *keys;                                /* what it holds; NULL: no table of keys but what `save` copies */
    size_t (*held)(struct named *n);                   /* how much of it requests hold that run now, so that no copy may change it; NULL: it is not held */
    void *(*save)(struct named *n);                    /* to be freed */
    void (*restore)(struct named *n, const void *saved);   /* NULL: as when it was new */
    const struct named_view *view;                     /* NULL: `sluice state` does not tell of it */
};

/* `create` makes an empty one when there is none yet; it is told nothing and fills `destroy`, and `keys` and `view`, or `save` and `restore`. */
struct named *named_open(const char *kind, const char *name, struct named *(*create)(void));
void named_hold(struct named *n);                      /* one more close is needed; it is open */
void named_close(struct named *n);
void named_each(void (*see)(void *arg, struct named *n), void *arg);   /* those that somebody has open; each is open while it is seen, nothing is locked */
void named_every(const char *kind, void (*see)(void *arg, struct named *n), void *arg);    /* of that kind; also those kept for the next open */
void named_forget_idle(void);                          /* those that nobody has open */

/* What all that somebody has open hold; and back: what is open then and was not there is emptied (NULL: all is). For specs. */
struct named_copy;
struct named_copy *named_copy(void);
void named_paste(const struct named_copy *c);
void named_copy_free(struct named_copy *c);

#endif
