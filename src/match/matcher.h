/* Finding things in text that is still arriving. A matcher is a regular expression (PCRE2), a Lua pattern, a list of words, a recognizer (e-mail
 * addresses, card numbers, ...) or several of these.
 *
 * The contract: what is found in a text that comes in pieces is what would be found in the whole text, however it is cut. So a matcher says one of
 * three things of the text it has: there is a match, and more text cannot change it; there is none; or it depends on what comes, from here on.
 *
 *     struct scan s = { 0 };
 *     scan_feed(&s, bytes, len);
 *     while ((got = scan_next(&s, m, last, &hit)) == MATCH_HIT) {
 *         ... s.text[s.at .. hit.from) passes, then comes hit ...
 *         scan_pass(&s, hit.to);
 *     }
 *     ... s.text[s.at .. hit.from) passes, the rest waits for more ...
 *     scan_pass(&s, hit.from); scan_trim(&s, m);
 *
 * Text is valid UTF-8 and cut between characters. Matchers are immutable and counted; one thread at a time.
 */
#ifndef SLUICE_MATCH_MATCHER_H
#define SLUICE_MATCH_MATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define MATCH_CAPTURES 32

struct matcher;

/* Each: a new matcher with one reference; or NULL and a sentence in *wrong (constant or of the thread, valid until the next call).
 * `kind`: the word that a match is told by (copied). */
struct matcher *matcher_regex(const char *pattern, size_t len, const char *kind, const char **wrong);
struct matcher *matcher_pattern(const char *pattern, size_t len, const char *kind, const char **wrong);
/* Any of the words, the longest that begins there. `fold`: case does not matter (simple Unicode folding); `whole`: no letter, digit or _ beside it.
 * Zero-width characters within a text are not seen. */
struct words_options { bool fold, whole; };
struct matcher *matcher_words(const char *const *words, const size_t *lens, size_t n, const struct words_options *o, const char *kind, const char **wrong);
struct matcher *matcher_known(const char *name);                             /* a recognizer; NULL: no such */
const char *matcher_known_name(size_t i);                                    /* the names, until NULL */
struct matcher *matcher_any(struct matcher *const *list, size_t n);          /* leftmost; at the same place the first of the list. Keeps its members */
struct matcher *matcher_keep(struct matcher *m);
void matcher_drop(struct matcher *m);

const char *matcher_kind(const struct matcher *m);
const char *matcher_source(const struct matcher *m);                         /* as written, for people */
const char *matcher_form(const struct matcher *m);                           /* "regex", "pattern", "words", "known" or "any" */
size_t matcher_members(const struct matcher *m, struct matcher *const **ret);   /* what an "any" is made of; 0 for the others */

enum match_got {
    MATCH_NONE,                                        /* none begins in this text, whatever comes; hit.from = its end */
    MATCH_HIT,
    MATCH_OPEN,                                        /* from hit.from on it depends on what comes */
    MATCH_TOO_MUCH,                                    /* gave up: too many steps */
};

struct match {
    size_t from, to;                                   /* in the text given */
    const struct matcher *by;                          /* the member that matched; see matcher_kind */
    int n;                                             /* captures */
    struct { ptrdiff_t from, len; } capture[MATCH_CAPTURES];   /* from -1: took no part. len -1: a Lua pattern's position */
};

struct match_text {
    const char *bytes;
    size_t len;
    size_t at;                                         /* matches begin here or later; what is before is only looked at */
    bool starts;                                       /* bytes[0] is the whole text's first */
    bool last;                                         /* nothing follows */
};
enum match_got matcher_find(const struct matcher *m, const struct match_text *t, struct match *ret);

/* ---- a text that arrives */

struct scan {
    struct buf text;                                   /* context that has passed, then what is not decided yet */
    size_t at;                                         /* where the undecided begins */
    size_t gone;                                       /* bytes of the whole text before text.data[0] */
};

void scan_feed(struct scan *s, const char *bytes, size_t len);
enum match_got scan_next(const struct scan *s, const struct matcher *m, bool last, struct match *ret);
void scan_pass(struct scan *s, size_t to);             /* all before `to` is decided */
void scan_trim(struct scan *s, const struct matcher *m);   /* lets go of context that no match can need */
void scan_free(struct scan *s);                        /* ready for another text */

#endif
