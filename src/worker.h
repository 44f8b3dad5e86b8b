/* One thread with its loop, its listener, its Lua VM, its streams. What crosses threads: the questions below, by a flag and a uv_async. */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/metrics.h"

struct worker;
struct generation;
struct watches;

struct worker_options {
    int port;                                          /* 0: the file's */
    int workers;                                       /* how many there are: they share the address and the process */
    void (*on_full)(void *owner, struct worker *w);    /* the same thread: its Lua stays full; see site_on_full */
    void (*on_trace)(void *owner, unsigned watch, struct buf *text);   /* the same thread: a time line that was asked for; takes the text */
    void (*on_end)(void *owner);                       /* called on the worker's thread, when it has nothing left to do */
    void *owner;
};

/* Starts the thread, which serves `g` (taken), and waits until it listens. 0; or -1: it could not, and said why in the log. */
int worker_open(struct worker **ret, const struct worker_options *options, struct generation *g);
int worker_port(const struct worker *w);
struct metrics *worker_metrics(struct worker *w);
/* What is served from now on; `g` is taken; in the order of these calls, of one thread; not after worker_drain. See serve/site.h. */
enum worker_order { WORKER_RELOAD, WORKER_CANARY, WORKER_PROMOTE, WORKER_ROLLBACK, WORKER_FORCE, WORKER_WATCH };
void worker_tell(struct worker *w, enum worker_order what, struct generation *g, unsigned n);   /* n: a canary's share; force: so many generations */
void worker_watch(struct worker *w, struct watches *wanted);   /* whose time lines are wanted from now on: taken; as worker_tell */
void worker_drain(struct worker *w);                   /* finish what runs, then end; any thread */
void worker_close(struct worker *w);                   /* waits for the thread's end (after worker_drain) and frees */

#endif
