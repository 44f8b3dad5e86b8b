/* Where generations are made: a thread that may block, with a loop and transfers of its own, so that an init waits for services as a visit does.
 *
 * Of the thread that makes them; who opened it may be another, before and afterwards. Only loader_stop may be called meanwhile.
 */
#ifndef SLUICE_SERVE_LOADER_H
#define SLUICE_SERVE_LOADER_H

#include <stdbool.h>

struct buf;
struct gateway;
struct loader;

int loader_open(struct loader **ret);                  /* 0 or a negative uv code */
void loader_close(struct loader *l);
/* Runs the policies' inits to their end. 0; or -1: one failed, or they were stopped; why is in the complaints, a line each. */
int loader_init(struct loader *l, struct gateway *g, struct buf *complaints);
void loader_rest(struct loader *l);                    /* nothing more is made for now: connections are closed, not kept */
/* Any thread: what is made now and what would be made later is given up. */
void loader_stop(struct loader *l);
const _Atomic bool *loader_stopped(const struct loader *l);   /* lives as long as the loader */

#endif
