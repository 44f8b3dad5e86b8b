/* One worker's gateway on the network: a server, an upstream pool, and the visits between them. Host of streams.
 *
 * Knows routes and streams; does not know signals, threads or how many workers there are. Belongs to one loop.
 */
#ifndef SLUICE_SERVE_SITE_H
#define SLUICE_SERVE_SITE_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "script/gateway.h"

struct site;
struct generation;
struct watches;

/* Listens where the gateway says, or at `port` when that is not 0; `workers`: how many share the address and the process. 0 or a negative uv code. Takes the generation, also when it fails; after a failure the loop must run once. */
int site_open(struct site **ret, uv_loop_t *loop, struct generation *g, int port, int workers, struct metrics *metrics);
/* Requests from now on begin with `g` (taken); what runs goes on with what it began with. Address, limits and drain time stay. */
void site_reload(struct site *s, struct generation *g);
/* A canary: `share` of a thousand requests begin with `g` (taken) from now on, the others as before. Then it is promoted to all, or rolled back; either
 * without one does nothing. */
void site_canary(struct site *s, struct generation *g, unsigned share);
void site_promote(struct site *s);
void site_rollback(struct site *s);
/* Once `generations` are in use, the streams of the oldest end now, each with one error event. */
void site_force(struct site *s, unsigned generations);
/* Is called when the current generation's Lua stays full (vm_is_full), again at times while it does: site_reload with a fresh one of the same number helps. */
void site_on_full(struct site *s, void (*on_full)(void *owner), void *owner);
/* Time lines of streams that begin from now on, for each watch that matches them, by on_trace (takes the text). `w`: taken; NULL: of none. */
void site_watch(struct site *s, struct watches *w);
void site_on_trace(struct site *s, void (*on_trace)(void *owner, unsigned watch, struct buf *text), void *owner);
int site_port(const struct site *s);
/* Accept no more, let streams finish until the gateway's drain time, then end each with one error event; calls on_drained once, when all is gone. */
void site_drain(struct site *s, void (*on_drained)(void *owner), void *owner);
/* After on_drained (or right after site_open). The loop must still run until its handles are closed. */
void site_close(struct site *s);

#endif
