/* Lua patterns (reference manual 6.4.1), our own matcher: the stock one cannot be stopped, and no hook fires inside it.
 *
 * A pattern is compiled once into items and then run at positions of a text, within a budget of steps shared by all runs. It also tells
 * whether a run looked at the end of the text: if it did not, more text could not change the outcome (what streaming needs).
 * Same results as string.find of Lua 5.4, but what is malformed is always refused, not only when matching comes that far.
 */
#ifndef SLUICE_MATCH_PATTERN_H
#define SLUICE_MATCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_CAPTURES 32
#define PATTERN_POSITION ((ptrdiff_t)-2)               /* a capture's len for `()` */

struct pattern;                                        /* lies in memory of the caller, pattern_size bytes */

size_t pattern_size(const char *text, size_t len);
/* NULL, or a sentence about what is malformed. `anchors`: a leading '^' anchors (not so in gmatch). */
const char *pattern_compile(struct pattern *p, const char *text, size_t len, bool anchors);
bool pattern_anchored(const struct pattern *p);
int pattern_captures(const struct pattern *p);

enum pattern_stop { PATTERN_GOES_ON, PATTERN_TOO_COMPLEX, PATTERN_OUT_OF_STEPS, PATTERN_KILLED };

struct pattern_run {
    const char *begin, *end;                           /* the text; %f sees begin as its start */
    int64_t steps;                                     /* left; what is spent is gone for later runs too */
    const volatile int *kill;                          /* looked at now and then: nonzero ends the run; NULL: never */
    enum pattern_stop stop;                            /* why a run gave up: then it returned NULL */
    bool touched_end;                                  /* set when the end of the text was looked at; reset it yourself */
    int depth;
    struct { const char *at; ptrdiff_t len; } capture[PATTERN_CAPTURES];   /* valid after a match */
};

/* The end of the match that begins exactly at s, or NULL. */
const char *pattern_match(const struct pattern *p, struct pattern_run *r, const char *s);
/* The first match at s or behind it: its beginning, and its end in *ret_end; or NULL. */
const char *pattern_find(const struct pattern *p, struct pattern_run *r, const char *s, const char **ret_end);

#endif
