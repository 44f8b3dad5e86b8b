/* Calls of services for visits: over the worker's transfers, or its connections to Redis servers; at most max_parallel of a service at once, the others in line. */
#ifndef SLUICE_SERVE_ERRAND_H
#define SLUICE_SERVE_ERRAND_H

struct fetch_pool;
struct redis_pool;
struct service_call;

struct errand_ways { struct fetch_pool *fetch; struct redis_pool *redis; };   /* what calls go over; lives as long as they do */

/* `on_answer(owner, w)` comes once, never from inside a call that you made, unless errand_cancel was called. 0, or -1: it could not be started. */
int errand_start(const struct errand_ways *ways, struct service_call *w, void (*on_answer)(void *owner, struct service_call *w), void *owner);
void errand_cancel(struct service_call *w);

#endif
