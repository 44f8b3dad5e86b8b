/* The gateway file read once for each VM that is wanted, on a thread of its own, one after another; one such load at a time. Of the main thread, whose loop
 * hears of its end: meanwhile signals and operators are answered, however long an init waits.
 */
#ifndef SLUICE_LOADING_H
#define SLUICE_LOADING_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"

struct generation;
struct loading;

struct loading_want {
    const char *file, *lua_dir;                        /* constants of the process */
    unsigned number;                                   /* of the generation */
    int n;                                             /* so many VMs */
};

/* made: the n generations, all of them yours; NULL: it failed, or it was stopped and `complaints` is empty. 0 or a negative uv code. */
int loading_open(struct loading **ret, uv_loop_t *loop, void (*on_loaded)(void *owner, struct generation **made, struct buf *complaints), void *owner);
void loading_close(struct loading *l);                 /* nothing is loaded any more; the handle closes with the loop's next turns */
/* on_loaded comes once, later. 0 or a negative uv code; not while one runs. */
int loading_start(struct loading *l, const struct loading_want *want);
void loading_stop(struct loading *l);                  /* for good: what is loaded now is given up, and on_loaded comes soon */

#endif
