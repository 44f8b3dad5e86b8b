/* What the kinds of matchers share. Each kind is a struct that begins with struct matcher. */
#ifndef SLUICE_MATCH_MATCHER_INSIDE_H
#define SLUICE_MATCH_MATCHER_INSIDE_H

#include "match/matcher.h"

struct matcher_class {
    const char *form;                                  /* "regex", "pattern", ...: see matcher_form */
    enum match_got (*find)(const struct matcher *m, const struct match_text *t, struct match *ret);
    void (*free)(struct matcher *m);                   /* what the kind owns; then the block is freed */
};

struct matcher {
    const struct matcher_class *class;
    int refs;
    size_t context;                                    /* characters before a match that decide on it */
    char *kind, *source;
};

void matcher_init(struct matcher *m, const struct matcher_class *class, const char *kind, const char *source, size_t len);

/* The byte behind the character at `at`. */
static inline size_t match_step(const struct match_text *t, size_t at)
{
    do
        at++;
    while (at < t->len && ((unsigned char)t->bytes[at] & 0xC0) == 0x80);
    return at;
}

#endif
