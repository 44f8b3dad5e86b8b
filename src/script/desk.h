/* Calls of services that are under way for one owner, a stream or a gateway whose inits run: who asked, when their time is up, what the breakers hear.
 *
 * A call into Lua that waits hands in its wants (desk_take); its host has them made and brings the answers (desk_answered), or their time is up first
 * (desk_expire). The asker finds them in its `answers` and is resumed by the owner.
 */
#ifndef SLUICE_SCRIPT_DESK_H
#define SLUICE_SCRIPT_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct call;
struct service_call;

struct desk_host {
    uint64_t (*now)(void *owner);                      /* ms, never 0 */
    int (*service)(void *owner, struct service_call *w);   /* 0: its answer comes once, later; -1: not even started */
    void (*service_cancel)(void *owner, struct service_call *w);
    void (*over)(void *owner, const struct service_call *w, bool given_up);   /* told of each that is; NULL: not wanted */
};

struct desk {
    const struct desk_host *host;
    void *owner;
    struct list running;                               /* service_call.running */
};

void desk_init(struct desk *d, const struct desk_host *host, void *owner);
/* Has made what the waiting call wants. True: some of it is over already (its breaker is open, it could not be started), so that the call has news. */
bool desk_take(struct desk *d, struct call *c);
uint64_t desk_due(const struct desk *d);               /* when the time of the first is up; 0: none is under way */
struct call *desk_answered(struct desk *d, struct service_call *w);   /* the host has filled it in. Who asked */
void desk_expire(struct desk *d);                      /* those whose time is up are over */
void desk_drop(struct desk *d, const struct call *c);  /* gives up what this call asked for, or all (NULL) */

#endif
