#include "base/nearest.h"

#include <string.h>

#define LETTERS 32                                     /* of a longer word nothing is near */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Letters to insert, delete, replace or swap with their neighbour. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][LETTERS + 1], n = strlen(b);
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= n; j++)
        last[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[n];
}

const char *nearest(const char *word, const char *(*known)(size_t i))
{
    size_t len = strlen(word), best = len < 3 ? 2 : len / 3 + 1;
    const char *found = NULL;

    if (len > LETTERS)
        return NULL;
    for (size_t i = 0; known(i); i++) {
        size_t d = strlen(known(i)) > LETTERS ? best : distance(word, known(i));

        if (d < best) {
            best = d;
            found = known(i);
        }
    }
    return found;
}
