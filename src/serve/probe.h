/* Health probes: one prober a process asks each model that has a probe, at times, whether it lives. What it finds is all workers' (base/target.h).
 *
 * An answer in time with a status below 500 is good. No key is sent: what refuses a stranger lives. Belongs to one loop, which no worker runs.
 */
#ifndef SLUICE_SERVE_PROBE_H
#define SLUICE_SERVE_PROBE_H

#include <stdbool.h>
#include <uv.h>

#include "base/metrics.h"
#include "script/gateway.h"

struct prober;

struct prober *prober_open(uv_loop_t *loop, struct metrics *metrics);
/* From now on the models of `g` are probed, in place of those before; `canary`: beside them. Nothing of `g` is kept. */
void prober_serve(struct prober *p, const struct gateway *g, bool canary);
void prober_end_canary(struct prober *p, bool promote);
void prober_close(struct prober *p);                   /* the loop must still run until its handles are closed */

#endif
