/* What is served: which reading of the gateway file new requests meet, in all workers. Of the main thread; a reading is made here, so that no stream waits. */
#ifndef SLUICE_SERVING_H
#define SLUICE_SERVING_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "worker.h"

#define WORKERS_MAX 256

struct process_options;
struct gateway;

struct serving {
    const struct process_options *options;
    const struct gateway *checked;                     /* as it was at the start: what a reload cannot change */
    struct worker *workers[WORKERS_MAX];
    int n_workers;
    unsigned generation, current, canary, share;       /* the last one read; what new requests get; canary 0: none, else its share of a thousand */
    char *digest, *canary_digest;                      /* of the files that were read for them */
    struct metrics metrics;                            /* what is no worker's: reloads, rotations */
    bool ended;                                        /* the process drains: nothing changes any more */
};

/* options, checked and workers are set by the caller. */
void serving_begin(struct serving *s);
void serving_end(struct serving *s);
/* The answers: see control.h. share: of a thousand requests for a canary; 0: all. force: does not wait for the oldest streams. */
void serving_reload(struct serving *s, unsigned share, bool force, struct buf *answer);
void serving_end_canary(struct serving *s, bool promote, struct buf *answer);
void serving_status(const struct serving *s, struct buf *answer);
int64_t serving_sum(const struct serving *s, enum metric m);   /* of all workers */
/* A fresh VM for a worker whose own stays full: the same generation again, so nothing that the operator has not loaded yet. */
void serving_rotate(struct serving *s, int worker);

#endif
