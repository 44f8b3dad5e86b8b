/* Regular expressions: PCRE2 with partial matching (pcre2partial(3)). PCRE2_PARTIAL_HARD says "open" as soon as the end of the text was looked at, also
 * when there is a match already that could become longer.
 *
 * What makes the pieces equal to the whole: matches begin where the search is, never anew (no \K, \G or control verbs); what stands before is kept as far
 * as look-behinds reach, and two characters more, so that the text's beginning is never mistaken; no start optimizations, with which PCRE2 10.42 itself
 * misses matches behind a leading look-ahead.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "match/matcher_inside.h"

#define STEPS 1000000                                  /* of one search (pcre2_set_match_limit) */
#define DEPTH 10000
#define HEAP_KIB 4096

struct regex {
    struct matcher base;
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static _Thread_local char sentence[320];

static enum match_got find_regex(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    const struct regex *r = (const struct regex *)m;
    uint32_t options = PCRE2_NO_UTF_CHECK | (t->last ? 0 : PCRE2_PARTIAL_HARD) | (t->starts ? 0 : PCRE2_NOTBOL);
    int rc = pcre2_match(r->code, (PCRE2_SPTR)t->bytes, t->len, t->at, options, r->data, r->limits);
    const size_t *o = pcre2_get_ovector_pointer(r->data);

    if (rc == PCRE2_ERROR_NOMATCH)
        return MATCH_NONE;
    if (rc == PCRE2_ERROR_PARTIAL) {
        ret->from = o[0];
        return MATCH_OPEN;
    }
    if (rc < 0)
        return MATCH_TOO_MUCH;
    ret->from = o[0];
    ret->to = o[1];
    ret->n = rc - 1 < MATCH_CAPTURES ? rc - 1 : MATCH_CAPTURES;
    for (int i = 0; i < ret->n; i++) {
        bool took_part = o[2 * i + 2] != PCRE2_UNSET;
        ret->capture[i].from = took_part ? (ptrdiff_t)o[2 * i + 2] : -1;
        ret->capture[i].len = took_part ? (ptrdiff_t)(o[2 * i + 3] - o[2 * i + 2]) : 0;
    }
    return MATCH_HIT;
}

static void free_regex(struct matcher *m)
{
    struct regex *r = (struct regex *)m;

    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->limits);
    pcre2_code_free(r->code);
}

/* What would make the pieces differ from the whole. NULL: nothing of that. */
static const char *not_for_streams(const char *p, size_t len)
{
    bool in_class = false;

    for (size_t i = 0; i < len; i++) {
        if (p[i] == '\\' && i + 1 < len) {
            i++;
            if (!in_class && p[i] == 'K')
                return "\\K is not allowed: it moves the match's beginning, and what was before may have been sent";
            if (!in_class && p[i] == 'G')
                return "\\G is not allowed: where a search begins depends on how the text is cut";
            if (p[i] == 'Q')
                return "\\Q is not allowed here: escape the characters one by one";
        } else if (p[i] == '[' && !in_class) {
            in_class = true;
            if (i + 1 < len && p[i + 1] == '^')
                i++;
            if (i + 1 < len && p[i + 1] == ']')
                i++;                                   /* stands for itself */
        } else if (p[i] == ']') {
            in_class = false;
        } else if (p[i] == '(' && !in_class && i + 1 < len && p[i + 1] == '*') {
            return "control verbs such as (*COMMIT) are not allowed: they act on one search, and a text in pieces is searched several times";
        }
    }
    return NULL;
}

struct matcher *matcher_regex(const char *pattern, size_t len, const char *kind, const char **wrong)
{
    static const struct matcher_class class = { "regex", find_regex, free_regex };
    uint32_t options = PCRE2_UTF | PCRE2_NO_START_OPTIMIZE | PCRE2_NEVER_BACKSLASH_C, empty = 0, behind = 0;
    PCRE2_SIZE where;
    int error;

    *wrong = not_for_streams(pattern, len);
    if (*wrong)
        return NULL;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &error, &where, NULL);
    if (!code) {
        char why[200];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        snprintf(sentence, sizeof sentence, "%s (at character %zu)", why, where + 1);
        *wrong = sentence;
        return NULL;
    }
    pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty);
    pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
    if (empty) {
        pcre2_code_free(code);
        *wrong = "it can match nothing at all, so it would match everywhere";
        return NULL;
    }
    struct regex *r = mem_alloc(sizeof *r);
    matcher_init(&r->base, &class, kind, pattern, len);
    r->base.context = behind + 2;
    r->code = code;
    r->data = pcre2_match_data_create_from_pattern(code, NULL);
    r->limits = pcre2_match_context_create(NULL);
    if (!r->data || !r->limits)
        abort();                                       /* as mem_alloc does */
    pcre2_set_match_limit(r->limits, STEPS);
    pcre2_set_depth_limit(r->limits, DEPTH);
    pcre2_set_heap_limit(r->limits, HEAP_KIB);
    return &r->base;
}
