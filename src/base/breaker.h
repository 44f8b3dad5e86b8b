/* A circuit breaker: what keeps failing is not asked for a while. Of one thread, or under its owner's lock.
 *
 * Closed: all pass. It opens by its rule: when at least half of at least 20 calls within 10 s failed, unless another is given. Open: none passes for 10 s.
 * Then half-open: one passes, and its outcome closes or opens it again.
 */
#ifndef SLUICE_BASE_BREAKER_H
#define SLUICE_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_rule {                                  /* opens when within the window at least half of all calls failed ... */
    unsigned calls, failures;                          /* ... of at least so many, and at least so many of them; or when ... */
    unsigned in_a_row;                                 /* ... so many failed one after another; 0: that alone is no reason */
    uint64_t window_ms, open_ms;
};

struct breaker {                                       /* all zero: closed */
    uint64_t since;                                    /* begin of the counted window, ms */
    unsigned calls, failures, in_a_row;                /* in it; the last ones that failed */
    uint64_t open_until;                               /* ms; 0: closed */
    bool probing;                                      /* half-open, and its one call is under way */
};

/* May a call be made now? If so its outcome must be told with breaker_told. */
bool breaker_may(struct breaker *b, uint64_t now_ms);
bool breaker_would(const struct breaker *b, uint64_t now_ms);   /* what breaker_may would say */
/* True: the breaker has just opened. */
bool breaker_told(struct breaker *b, bool failed, uint64_t now_ms);
bool breaker_told_by(struct breaker *b, const struct breaker_rule *rule, bool failed, uint64_t now_ms);
/* A call that was allowed has no outcome (it was given up). */
void breaker_untold(struct breaker *b);

#endif
