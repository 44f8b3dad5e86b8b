/* An upstream as all workers see it together: how many requests run on it, its breaker, what the prober found. Named (base/named.h) by its model and
 * address, so a reload keeps it; the latest open's rule holds for all. Thread-safe, never waits. What changes is told in the log once.
 */
#ifndef SLUICE_BASE_TARGET_H
#define SLUICE_BASE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breaker.h"

struct target;

struct target_rule {
    unsigned max_parallel;                             /* requests at a time; 0: no bound */
    struct breaker_rule breaker;                       /* failures 0: it has none */
    unsigned healthy, unhealthy;                       /* probes in a row that bring it back, that take it out */
    uint64_t back_ms;                                  /* how long probes take to bring it back, at least */
};

enum target_state { TARGET_UP, TARGET_FULL, TARGET_OPEN, TARGET_HALF_OPEN, TARGET_UNHEALTHY };
extern const char *const target_state_names[];         /* "up" "full" "open" "half_open" "unhealthy" */

struct target *target_open(const char *model, const char *url, const struct target_rule *rule);
struct target *target_share(struct target *t);         /* the same once more: closed once more */
void target_close(struct target *t);

unsigned target_running(const struct target *t);
/* May a request go there now? Else how it is, and when one may: *wait_ms from now. */
bool target_free(struct target *t, uint64_t now_ms, enum target_state *state, uint64_t *wait_ms);

/* One request's place on a target. All zero: none. Each that was taken is left once, whatever became of it. */
struct target_place {
    struct target *of;
    bool trial;                                        /* the one that a half-open breaker lets pass */
    bool told;                                         /* it has answered */
};
bool target_take(struct target *t, uint64_t now_ms, struct target_place *ret);   /* false: it is not free */
bool target_told(struct target_place *p, bool failed, uint64_t now_ms);          /* true: the breaker has just opened */
void target_leave(struct target_place *p);

void target_probed(struct target *t, bool well);

struct target_facts { const char *model, *url; enum target_state state; unsigned running; uint64_t failures; };
void target_each(void (*see)(void *arg, const struct target_facts *f), void *arg, uint64_t now_ms);   /* those that some gateway has open */

#endif
