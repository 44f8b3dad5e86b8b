/* A circuit breaker: what keeps failing is not asked for a while. Of one thread.
 *
 * Closed: all pass. It opens when at least half of at least 20 calls within 10 s failed. Open: none passes for 10 s. Then half-open: one passes, and
 * its outcome closes or opens it again.
 */
#ifndef SLUICE_BASE_BREAKER_H
#define SLUICE_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker {                                       /* all zero: closed */
    uint64_t since;                                    /* begin of the counted window, ms */
    unsigned calls, failures;                          /* in it */
    uint64_t open_until;                               /* ms; 0: closed */
    bool probing;                                      /* half-open, and its one call is under way */
};

/* May a call be made now? If so its outcome must be told with breaker_told. */
bool breaker_may(struct breaker *b, uint64_t now_ms);
/* True: the breaker has just opened. */
bool breaker_told(struct breaker *b, bool failed, uint64_t now_ms);
/* A call that was allowed has no outcome (it was given up). */
void breaker_untold(struct breaker *b);

#endif
