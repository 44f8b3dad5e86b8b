/* What pattern.c (compiling) and pattern_match.c share: a pattern's items and sets. */
#ifndef SLUICE_MATCH_PATTERN_INSIDE_H
#define SLUICE_MATCH_PATTERN_INSIDE_H

#include "match/pattern.h"

enum kind { DONE, BYTE, ANY, CLASS, SET, OPEN, CLOSE, POSITION, BACK, BALANCE, FRONTIER, TEXT_END };
enum repeat { ONCE, MAYBE, MANY, SOME, LAZY };         /* nothing ? * + - */

struct item {
    unsigned char kind, repeat;
    unsigned char a, b;                                /* BYTE: a. CLASS: a, b = 1 for its complement. BALANCE: a, b. OPEN CLOSE POSITION BACK: a = capture */
    uint32_t set;                                      /* CLASS: index of the class. SET FRONTIER: index of the bitmap */
};

struct bitmap { uint64_t bits[4]; };

struct pattern {
    bool anchored;
    int captures;
    size_t n_items, n_sets;
    struct item *items;                                /* both lie behind the struct */
    struct bitmap *sets;
};

extern const struct bitmap pattern_classes[];          /* ASCII whatever the locale; indexed by item.set of a CLASS */

static inline bool set_has(const struct bitmap *m, unsigned char c) { return m->bits[c >> 6] >> (c & 63) & 1; }

#endif
