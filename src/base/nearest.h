/* "did you mean", for words of the command line. (lua/sluice/suggest.lua is the same for all that operators write.) */
#ifndef SLUICE_BASE_NEAREST_H
#define SLUICE_BASE_NEAREST_H

#include <stddef.h>

/* The word of known(0), known(1) ... NULL that is nearest to `word`, or NULL when none is near: a third of its letters may be wrong. */
const char *nearest(const char *word, const char *(*known)(size_t i));

#endif
