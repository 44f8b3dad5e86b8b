#include "script/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit { const char *name; double factor; };

static const struct unit durations[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60e3 }, { "h", 3600e3 }, { "d", 86400e3 }, { NULL, 0 } };
static const struct unit sizes[] = { { "b", 1 }, { "kb", 1024 }, { "mb", 1048576 }, { "gb", 1073741824 }, { NULL, 0 } };

/* digits, perhaps a point and digits, then a unit; nothing else: no sign, no exponent, no blanks. */
static int parse(const struct unit *units, const char *text, size_t len, uint64_t *ret, const char *kind, const char *small, const char *big, char *why)
{
    size_t digits = 0, points = 0;
    char number[32];
    double value;

    while (digits < len && ((text[digits] >= '0' && text[digits] <= '9') || text[digits] == '.')) {
        points += text[digits] == '.';
        digits++;
    }
    if (digits == 0 || points > 1 || digits >= sizeof number || text[0] == '.' || text[digits - 1] == '.') {
        snprintf(why, UNITS_SENTENCE, "\"%.*s\" is no %s: write one like \"800%s\"", (int)(len > 40 ? 40 : len), text, kind, small);
        return -1;
    }
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (digits == len) {
        snprintf(why, UNITS_SENTENCE, "ambiguous %s %s: write \"%s%s\" or \"%s%s\"", kind, number, number, small, number, big);
        return -1;
    }
    value = strtod(number, NULL);
    for (const struct unit *u = units; u->name; u++) {
        if (strlen(u->name) == len - digits && strncmp(u->name, text + digits, len - digits) == 0) {
            value *= u->factor;
            if (value > 9e15) {
                snprintf(why, UNITS_SENTENCE, "the %s \"%.*s\" is too large", kind, (int)len, text);
                return -1;
            }
            *ret = (uint64_t)llround(value);
            return 0;
        }
    }
    snprintf(why, UNITS_SENTENCE, "\"%.*s\" has an unknown unit: known for a %s are %s", (int)(len > 40 ? 40 : len), text, kind,
             units == durations ? "ms, s, m, h, d" : "b, kb, mb, gb");
    return -1;
}

int units_duration(const char *text, size_t len, uint64_t *ret_ms, char why[UNITS_SENTENCE])
{
    return parse(durations, text, len, ret_ms, "duration", "ms", "s", why);
}

int units_size(const char *text, size_t len, uint64_t *ret_bytes, char why[UNITS_SENTENCE])
{
    return parse(sizes, text, len, ret_bytes, "size", "kb", "mb", why);
}
