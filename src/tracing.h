/* `sluice trace`: who waits for time lines, and how they come there. Of the main thread, but for tracing_told.
 *
 *     a client of control.h asks: tracing_command -> `changed`: each worker is told (worker_watch, a copy of its own)
 *     a stream that somebody looks for ends: its worker calls tracing_told -> a queue and a uv_async -> the clients who asked
 */
#ifndef SLUICE_TRACING_H
#define SLUICE_TRACING_H

#include <uv.h>

#include "base/buf.h"

struct control_client;
struct tracing;
struct watches;

void tracing_open(struct tracing **ret, uv_loop_t *loop, void (*changed)(void *owner), void *owner);
void tracing_close(struct tracing *t);                 /* after control_close and the workers' ends; the loop must still run for its handle */
/* "COUNT TAB ROUTE TAB KEY" (empty: any): the client stays until that many have come; or the answer is a mistake. */
void tracing_command(struct tracing *t, struct control_client *g, const char *wish, struct buf *answer);
struct watches *tracing_watches(const struct tracing *t);   /* for one worker, which owns it; NULL: nobody looks */
/* Any thread. The time line for who has this id; takes the text. */
void tracing_told(struct tracing *t, unsigned id, struct buf *text);

#endif
