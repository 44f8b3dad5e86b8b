/* Lua patterns as matchers: the result is string.gsub's on the whole text. The pattern's own matcher tells whether a run looked at the text's end. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "match/matcher_inside.h"
#include "match/pattern.h"

#define STEPS 1000000                                  /* of one search */

struct lua_pattern {
    struct matcher base;
    struct pattern *pattern;
};

static void take_captures(const struct lua_pattern *p, const struct pattern_run *run, struct match *ret)
{
    ret->n = pattern_captures(p->pattern);
    for (int i = 0; i < ret->n; i++) {
        ret->capture[i].from = run->capture[i].at - run->begin;
        ret->capture[i].len = run->capture[i].len == PATTERN_POSITION ? -1 : run->capture[i].len;
    }
}

static enum match_got find_pattern(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    const struct lua_pattern *p = (const struct lua_pattern *)m;
    struct pattern_run run = { .begin = t->bytes, .end = t->bytes + t->len, .steps = STEPS };
    bool anchored = pattern_anchored(p->pattern);

    for (size_t at = t->at; at < t->len; at++) {       /* by bytes, as string.gsub goes; an empty match is none */
        const char *end;

        if (anchored && !(t->starts && at == 0))
            return MATCH_NONE;
        run.touched_end = false;
        end = pattern_match(p->pattern, &run, t->bytes + at);
        if (run.stop != PATTERN_GOES_ON)
            return MATCH_TOO_MUCH;
        ret->from = at;
        if (run.touched_end && !t->last) {
            while (ret->from > t->at && ((unsigned char)t->bytes[ret->from] & 0xC0) == 0x80)
                ret->from--;                           /* what passes is cut between characters */
            return MATCH_OPEN;
        }
        if (end && end > t->bytes + at) {
            ret->to = (size_t)(end - t->bytes);
            take_captures(p, &run, ret);
            return MATCH_HIT;
        }
    }
    return MATCH_NONE;
}

static void free_pattern(struct matcher *m)
{
    free(((struct lua_pattern *)m)->pattern);
}

/* Tried on the empty text, where only what can be empty matches. (%f[set] at the end of a text is caught by it, too.) */
static bool matches_nothing(const struct pattern *p)
{
    struct pattern_run run = { .begin = "", .end = "", .steps = STEPS };

    run.end = run.begin;
    return pattern_match(p, &run, run.begin) != NULL;
}

struct matcher *matcher_pattern(const char *pattern, size_t len, const char *kind, const char **wrong)
{
    static const struct matcher_class class = { "pattern", find_pattern, free_pattern };
    struct pattern *compiled = mem_alloc(pattern_size(pattern, len));

    *wrong = pattern_compile(compiled, pattern, len, true);
    if (!*wrong && matches_nothing(compiled))
        *wrong = "it can match nothing at all, so it would match everywhere";
    if (*wrong) {
        free(compiled);
        return NULL;
    }
    struct lua_pattern *p = mem_alloc(sizeof *p);
    matcher_init(&p->base, &class, kind, pattern, len);
    p->base.context = 1;                               /* %f looks at the character before */
    p->pattern = compiled;
    return &p->base;
}
