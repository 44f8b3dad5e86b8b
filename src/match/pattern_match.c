/* Matching: `walk` takes items one by one, recursing only where it may have to come back: at a repeated item (to try another count) and at a
 * capture (to forget it).
 */
#include <string.h>

#include "match/pattern_inside.h"

#define DEPTH_MAX 200
#define LOOK_EVERY 4096                                /* steps between two looks at the kill */

/* One step. False: the run gives up. */
static bool spend(struct pattern_run *r, int64_t n)
{
    int64_t before = r->steps;

    r->steps -= n;
    if (r->steps < 0) {
        r->stop = PATTERN_OUT_OF_STEPS;
        return false;
    }
    if (before / LOOK_EVERY != r->steps / LOOK_EVERY && r->kill && *r->kill) {
        r->stop = PATTERN_KILLED;
        return false;
    }
    return true;
}

static bool fits(const struct pattern *p, const struct item *it, unsigned char c)
{
    switch (it->kind) {
    case BYTE:
        return c == it->a;
    case ANY:
        return true;
    case CLASS:
        return set_has(&pattern_classes[it->set], c) != it->b;
    default:
        return set_has(&p->sets[it->set], c);
    }
}

/* Whether the item fits the character at s; the end of the text fits nothing. */
static bool fits_at(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s)
{
    if (s == r->end) {
        r->touched_end = true;
        return false;
    }
    return fits(p, it, (unsigned char)*s);
}

static const char *walk(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s);

/* Walks on from a place that one may come back to. */
static const char *deeper(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s)
{
    const char *end;

    if (r->depth == DEPTH_MAX) {
        r->stop = PATTERN_TOO_COMPLEX;
        return NULL;
    }
    r->depth++;
    end = walk(p, r, it, s);
    r->depth--;
    return end;
}

static const char *greedy(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s, size_t least)
{
    size_t n = 0;

    while (fits_at(p, r, it, s + n))
        n++;
    if (!spend(r, (int64_t)n + 1))
        return NULL;
    for (; n + 1 > least; n--) {
        const char *end = deeper(p, r, it + 1, s + n);

        if (end || r->stop || n == 0)
            return end;
    }
    return NULL;
}

static const char *lazy(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s)
{
    for (;;) {
        const char *end = deeper(p, r, it + 1, s);

        if (end || r->stop || !spend(r, 1) || !fits_at(p, r, it, s))
            return end;
        s++;
    }
}

static const char *balance(struct pattern_run *r, const struct item *it, const char *s)
{
    size_t open = 1;

    if (s == r->end) {
        r->touched_end = true;
        return NULL;
    }
    if ((unsigned char)*s != it->a)
        return NULL;
    while (++s < r->end) {
        if (!spend(r, 1))
            return NULL;
        if ((unsigned char)*s == it->b) {
            if (--open == 0)
                return s + 1;
        } else if ((unsigned char)*s == it->a) {
            open++;
        }
    }
    r->touched_end = true;
    return NULL;
}

static bool frontier(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s)
{
    unsigned char before = s == r->begin ? 0 : (unsigned char)s[-1];
    unsigned char after = s == r->end ? 0 : (unsigned char)*s;

    r->touched_end |= s == r->end;
    return !set_has(&p->sets[it->set], before) && set_has(&p->sets[it->set], after);
}

/* The text of an earlier capture again. A position capture has no text, so nothing equals it (as in stock Lua). */
static const char *again(struct pattern_run *r, const struct item *it, const char *s)
{
    ptrdiff_t len = r->capture[it->a].len;
    size_t left = (size_t)(r->end - s);

    if (len < 0 || !spend(r, len))
        return NULL;
    if (left < (size_t)len) {
        if (memcmp(r->capture[it->a].at, s, left) == 0)
            r->touched_end = true;
        return NULL;
    }
    return memcmp(r->capture[it->a].at, s, (size_t)len) == 0 ? s + len : NULL;
}

static const char *walk(const struct pattern *p, struct pattern_run *r, const struct item *it, const char *s)
{
    for (;; it++) {
        if (!spend(r, 1))
            return NULL;
        switch (it->kind) {
        case DONE:
            return s;
        case TEXT_END:
            r->touched_end |= s == r->end;
            if (s != r->end)
                return NULL;
            break;
        case OPEN:
            r->capture[it->a].at = s;
            break;
        case POSITION:
            r->capture[it->a].at = s;
            r->capture[it->a].len = PATTERN_POSITION;
            break;
        case CLOSE:
            r->capture[it->a].len = s - r->capture[it->a].at;
            break;
        case BACK:
            s = again(r, it, s);
            break;
        case BALANCE:
            s = balance(r, it, s);
            break;
        case FRONTIER:
            if (!frontier(p, r, it, s))
                return NULL;
            break;
        default:
            switch (it->repeat) {
            case ONCE:
                s = fits_at(p, r, it, s) ? s + 1 : NULL;
                break;
            case MAYBE:
                if (fits_at(p, r, it, s)) {
                    const char *end = deeper(p, r, it + 1, s + 1);

                    if (end || r->stop)
                        return end;
                }
                break;
            case MANY:
                return greedy(p, r, it, s, 0);
            case SOME:
                return greedy(p, r, it, s, 1);
            default:
                return lazy(p, r, it, s);
            }
        }
        if (!s)
            return NULL;
    }
}

const char *pattern_match(const struct pattern *p, struct pattern_run *r, const char *s)
{
    r->depth = 0;
    r->stop = PATTERN_GOES_ON;
    return walk(p, r, p->items, s);
}

const char *pattern_find(const struct pattern *p, struct pattern_run *r, const char *s, const char **ret_end)
{
    const struct item *first = p->items;
    bool skip = first->kind == BYTE && (first->repeat == ONCE || first->repeat == SOME);

    for (;; s++) {
        const char *end;

        if (skip && !p->anchored) {                    /* straight to where it can begin */
            const char *next = s == r->end ? NULL : memchr(s, first->a, (size_t)(r->end - s));

            if (!next) {
                r->touched_end = true;
                return NULL;
            }
            s = next;
        }
        end = pattern_match(p, r, s);
        if (end) {
            *ret_end = end;
            return s;
        }
        if (r->stop || p->anchored || s == r->end)
            return NULL;
    }
}
