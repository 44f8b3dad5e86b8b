/* Durations and sizes as people write them: "800ms", "60s", "64kb". A number without its unit is refused with a sentence. */
#ifndef SLUICE_SCRIPT_UNITS_H
#define SLUICE_SCRIPT_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_SENTENCE 160

int units_duration(const char *text, size_t len, uint64_t *ret_ms, char why[UNITS_SENTENCE]);   /* ms s m h d; 0, or -1 and a sentence */
int units_size(const char *text, size_t len, uint64_t *ret_bytes, char why[UNITS_SENTENCE]);    /* b kb mb gb, of 1024 */

#endif
