/* `sluice test DIR`: busted, embedded, with a virtual world for streams: the second host of stream/ (the first is serve/).
 *
 * Specs run in a Lua state of their own with the full libraries; policies run in the real sandbox on the real stream machine. Time stands still
 * until a spec moves it.
 */
#ifndef SLUICE_TESTING_H
#define SLUICE_TESTING_H

#include <stdbool.h>
#include <stdint.h>

struct testing_options {
    const char *dir;                                   /* with specs, or one of them */
    int argc;                                          /* words for busted */
    char **argv;
    bool coverage;                                     /* tell which lines of policies ran */
    bool update;                                       /* write golden answers */
    int64_t fuzz, seed;                                /* so many random runs of each exchange; the first one's seed */
};

int testing_run(const struct testing_options *want);   /* exit code: 0, 1 when a spec failed, 2 without busted */

#endif
