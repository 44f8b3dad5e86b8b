/* Calls of services for visits: over the worker's transfers, at most max_parallel of a service at once, the others in line. */
#ifndef SLUICE_SERVE_ERRAND_H
#define SLUICE_SERVE_ERRAND_H

struct fetch_pool;
struct service_call;

/* `on_answer(owner, w)` comes once, never from inside a call that you made, unless errand_cancel was called. 0, or -1: it could not be started. */
int errand_start(struct fetch_pool *pool, struct service_call *w, void (*on_answer)(void *owner, struct service_call *w), void *owner);
void errand_cancel(struct service_call *w);

#endif
