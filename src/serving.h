/* What is served: which reading of the gateway file new requests meet, in all workers. Of the main thread; the file is read on another (loading.h), so that
 * neither streams nor operators wait for it.
 */
#ifndef SLUICE_SERVING_H
#define SLUICE_SERVING_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "worker.h"

#define WORKERS_MAX 256

struct control_client;
struct gateway;
struct loading;
struct process_options;
struct prober;

struct serving_events {
    void (*on_first)(void *owner, struct generation **made);   /* one for each worker, all yours; NULL: none could be read, and the log says why */
    void (*on_answer)(void *owner, struct control_client *asker, struct buf *answer);   /* of a serving_reload that gave none; takes it */
    void (*on_idle)(void *owner);                      /* nothing is loaded any more; last of these */
};

struct serving_load {                                  /* what is loaded, and for whom */
    enum { LOADS_NOTHING, LOADS_FIRST, LOADS_RELOAD, LOADS_ROTATION } what;
    unsigned share;                                    /* RELOAD: as in serving_reload */
    struct control_client *asker;                      /* RELOAD: NULL: nobody waits for the answer */
    int worker;                                        /* ROTATION */
};

struct serving {
    const struct process_options *options;
    const struct gateway *checked;                     /* as it was at the start: what a reload cannot change */
    const struct serving_events *events;
    void *owner;
    struct worker *workers[WORKERS_MAX];
    int n_workers;
    struct loading *loading;
    struct serving_load load;
    unsigned generation, current, canary, share;       /* the last one read; what new requests get; canary 0: none, else its share of a thousand */
    char *digest, *canary_digest;                      /* of the files that were read for them */
    struct metrics metrics;                            /* what is no worker's: reloads, rotations, probes */
    struct prober *prober;                             /* set by the caller too */
    bool ended;                                        /* the process drains: nothing changes any more */
};

/* options, checked, events and owner are set by the caller, and workers when on_first comes. */
int serving_begin(struct serving *s, uv_loop_t *loop, int n_workers);   /* 0: on_first comes; or a negative uv code */
bool serving_loads(const struct serving *s);
void serving_stop(struct serving *s);                  /* nothing changes any more; what is loaded is given up */
void serving_close(struct serving *s);                 /* its handle closes with the loop's next turns; not while it loads */
void serving_end(struct serving *s);
/* The answers: see control.h; none means that it comes by on_answer. share: of a thousand requests for a canary; 0: all. force: does not wait for the
 * oldest streams. */
void serving_reload(struct serving *s, unsigned share, bool force, struct control_client *asker, struct buf *answer);
void serving_end_canary(struct serving *s, bool promote, struct buf *answer);
void serving_status(const struct serving *s, struct buf *answer);
int64_t serving_sum(const struct serving *s, enum metric m);   /* of all workers */
/* A fresh VM for a worker whose own stays full: the same generation again, so nothing that the operator has not loaded yet. */
void serving_rotate(struct serving *s, int worker);

#endif
