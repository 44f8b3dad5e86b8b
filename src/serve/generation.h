/* One reading of the operator's file: a VM, the gateway in it, its directories. A reload makes a new one; requests that began stay with theirs, which is
 * closed when the last of them has ended.
 */
#ifndef SLUICE_SERVE_GENERATION_H
#define SLUICE_SERVE_GENERATION_H

#include "base/buf.h"
#include "base/list.h"
#include "base/metrics.h"
#include "script/gateway.h"

struct files;
struct loader;

struct generation {
    struct list link;                                  /* in site->retired */
    struct vm *vm;
    struct gateway *gateway;
    struct files **files;                              /* [gateway->n_routes]; NULL where the route has none */
    unsigned users;                                    /* requests that began with it and have not ended */
};

/* Reads the file and runs its inits, which may take long; the generation may then be given to another thread. 0; or -1 and every mistake in `complaints`,
 * a line each. */
int generation_load(struct generation **ret, struct loader *loader, const char *file, const char *lua_dir, unsigned number, struct buf *complaints);
void generation_close(struct generation *g);           /* NULL: nothing */

#endif
