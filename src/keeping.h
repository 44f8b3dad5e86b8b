/* Counters that survive the process: read from a file at the start, written to it now and then and at the end. Of the main thread. */
#ifndef SLUICE_KEEPING_H
#define SLUICE_KEEPING_H

#include <uv.h>

struct gateway;
struct keeping;

struct keeping *keeping_open(uv_loop_t *loop, const struct gateway *g);   /* reads; NULL: the gateway keeps nothing. Does not keep the loop alive */
void keeping_close(struct keeping *k);                 /* when no worker runs any more; writes; its handle closes with the loop's next turn, and frees it. NULL: nothing */

#endif
