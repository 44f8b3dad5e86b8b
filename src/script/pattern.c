/* The happy path of "%a+(%d)" on "ab1": compile gives SET(letters)+, OPEN 0, SET(digits), CLOSE 0, DONE; `walk` takes items one by one,
 * recursing only where it may have to come back: at a repeated item (to try another count) and at a capture (to forget it).
 */
#include "script/pattern.h"

#include <string.h>

#define DEPTH_MAX 200
#define LOOK_EVERY 4096                                /* steps between two looks at the kill */

enum kind { DONE, BYTE, ANY, CLASS, SET, OPEN, CLOSE, POSITION, BACK, BALANCE, FRONTIER, TEXT_END };
enum repeat { ONCE, MAYBE, MANY, SOME, LAZY };         /* nothing ? * + - */

struct item {
    unsigned char kind, repeat;
    unsigned char a, b;                                /* BYTE: a. CLASS: a, b = 1 for its complement. BALANCE: a, b. OPEN CLOSE POSITION BACK: a = capture */
    uint32_t set;                                      /* CLASS: index of the class. SET FRONTIER: index of the bitmap */
};

struct bitmap;

struct pattern {
    bool anchored;
    int captures;
    size_t n_items, n_sets;
    struct item *items;                                /* both lie behind the struct */
    struct bitmap *sets;
};

/* ---- character classes, ASCII whatever the locale */

struct bitmap { uint64_t bits[4]; };

static const char class_letters[] = "acdglpsuwxz";
static const struct bitmap classes[] = {
    { { 0x0000000000000000u, 0x07fffffe07fffffeu } },    /* %a */
    { { 0x00000000ffffffffu, 0x8000000000000000u } },    /* %c */
    { { 0x03ff000000000000u, 0x0000000000000000u } },    /* %d */
    { { 0xfffffffe00000000u, 0x7fffffffffffffffu } },    /* %g */
    { { 0x0000000000000000u, 0x07fffffe00000000u } },    /* %l */
    { { 0xfc00fffe00000000u, 0x78000001f8000001u } },    /* %p */
    { { 0x0000000100003e00u, 0x0000000000000000u } },    /* %s */
    { { 0x0000000000000000u, 0x0000000007fffffeu } },    /* %u */
    { { 0x03ff000000000000u, 0x07fffffe07fffffeu } },    /* %w */
    { { 0x03ff000000000000u, 0x0000007e0000007eu } },    /* %x */
    { { 0x0000000000000001u, 0x0000000000000000u } },    /* %z */
};

/* The index of the class that %letter names, or -1: then %letter is the letter itself. */
static int class_of(unsigned char letter)
{
    const char *hit = letter >= 'A' ? strchr(class_letters, letter | 32) : NULL;

    return hit && ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')) ? (int)(hit - class_letters) : -1;
}

static bool is_upper(unsigned char c) { return c >= 'A' && c <= 'Z'; }

static void set_add(struct bitmap *m, unsigned char c) { m->bits[c >> 6] |= UINT64_C(1) << (c & 63); }
static bool set_has(const struct bitmap *m, unsigned char c) { return m->bits[c >> 6] >> (c & 63) & 1; }

static void set_add_class(struct bitmap *m, unsigned char letter)
{
    int class = class_of(letter);

    if (class < 0) {
        set_add(m, letter);
        return;
    }
    for (int i = 0; i < 4; i++)
        m->bits[i] |= is_upper(letter) ? ~classes[class].bits[i] : classes[class].bits[i];
}

/* ---- compiling */

static size_t count(const char *text, size_t len, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] == c;
    return n;
}

size_t pattern_size(const char *text, size_t len)
{
    return sizeof(struct pattern) + (count(text, len, '[') + 1) * sizeof(struct bitmap) + (len + 1) * sizeof(struct item);
}

/* Reads "[...]" at *at (behind the bracket) into a new set. */
static const char *compile_set(struct pattern *p, const char **at, const char *end, uint32_t *ret)
{
    struct bitmap *m = &p->sets[p->n_sets];
    const char *s = *at, *stop;
    bool complement = false;

    memset(m, 0, sizeof *m);
    if (s < end && *s == '^') {
        complement = true;
        s++;
    }
    stop = s;
    do {                                               /* the first character always belongs to the set, even ']' */
        if (stop == end)
            return "malformed pattern (missing ']')";
        if (*stop++ == '%') {
            if (stop == end)
                return "malformed pattern (missing ']')";
            stop++;
        }
    } while (stop == end || *stop != ']');
    while (s < stop) {
        if (*s == '%') {                               /* (as stock does, "[a-%%]" reads its last '%' together with the ']') */
            set_add_class(m, (unsigned char)s[1]);
            s += 2;
        } else if (s + 2 < stop && s[1] == '-') {
            for (int c = (unsigned char)s[0]; c <= (unsigned char)s[2]; c++)
                set_add(m, (unsigned char)c);
            s += 3;
        } else {
            set_add(m, (unsigned char)*s++);
        }
    }
    if (complement) {
        for (int i = 0; i < 4; i++)
            m->bits[i] = ~m->bits[i];
    }
    *ret = (uint32_t)p->n_sets++;
    *at = stop + 1;
    return NULL;
}

struct compiler {
    struct pattern *p;
    const char *at, *end;
    unsigned char open[PATTERN_CAPTURES];              /* captures not yet closed */
    int n_open;
    bool closed[PATTERN_CAPTURES];
};

static struct item *add(struct compiler *c, enum kind kind)
{
    struct item *it = &c->p->items[c->p->n_items++];

    memset(it, 0, sizeof *it);
    it->kind = (unsigned char)kind;
    return it;
}

static const char *compile_capture(struct compiler *c)
{
    bool position = c->at < c->end && *c->at == ')';
    struct item *it;

    if (c->p->captures == PATTERN_CAPTURES)
        return "too many captures";
    it = add(c, position ? POSITION : OPEN);
    it->a = (unsigned char)c->p->captures;
    if (position) {
        c->closed[c->p->captures] = true;
        c->at++;
    } else {
        c->open[c->n_open++] = it->a;
    }
    c->p->captures++;
    return NULL;
}

/* Behind '%' with one of b, f, 0-9. */
static const char *compile_special(struct compiler *c)
{
    char which = *c->at++;
    struct item *it;

    if (which == 'b') {
        if (c->end - c->at < 2)
            return "malformed pattern (missing arguments to '%b')";
        it = add(c, BALANCE);
        it->a = (unsigned char)c->at[0];
        it->b = (unsigned char)c->at[1];
        c->at += 2;
        return NULL;
    }
    if (which == 'f') {
        if (c->at == c->end || *c->at != '[')
            return "missing '[' after '%f' in pattern";
        c->at++;
        it = add(c, FRONTIER);
        return compile_set(c->p, &c->at, c->end, &it->set);
    }
    if (which == '0' || which - '1' >= c->p->captures || !c->closed[which - '1'])
        return "invalid capture index in pattern";
    it = add(c, BACK);
    it->a = (unsigned char)(which - '1');
    return NULL;
}

/* One character, class or set, with what repeats it. */
static const char *compile_single(struct compiler *c)
{
    unsigned char byte = (unsigned char)*c->at++;
    const char *wrong = NULL;
    struct item *it;

    if (byte == '%') {
        unsigned char letter = (unsigned char)*c->at++;
        int class = class_of(letter);

        it = add(c, class >= 0 ? CLASS : BYTE);
        it->a = letter;
        it->b = is_upper(letter);
        it->set = class >= 0 ? (uint32_t)class : 0;
    } else if (byte == '[') {
        it = add(c, SET);
        wrong = compile_set(c->p, &c->at, c->end, &it->set);
    } else {
        it = add(c, byte == '.' ? ANY : BYTE);
        it->a = byte;
    }
    if (wrong)
        return wrong;
    if (c->at < c->end) {
        static const char signs[] = "?*+-";
        const char *sign = *c->at ? strchr(signs, *c->at) : NULL;

        if (sign) {
            it->repeat = (unsigned char)(MAYBE + (sign - signs));
            c->at++;
        }
    }
    return NULL;
}

static const char *compile_item(struct compiler *c)
{
    switch (*c->at) {
    case '(':
        c->at++;
        return compile_capture(c);
    case ')':
        if (c->n_open == 0)
            return "invalid pattern capture";
        c->at++;
        c->n_open--;
        c->closed[c->open[c->n_open]] = true;
        add(c, CLOSE)->a = c->open[c->n_open];
        return NULL;
    case '$':
        if (c->at + 1 != c->end)
            return compile_single(c);
        c->at++;
        add(c, TEXT_END);
        return NULL;
    case '%':
        if (c->at + 1 == c->end)
            return "malformed pattern (ends with '%')";
        if (c->at[1] == 'b' || c->at[1] == 'f' || (c->at[1] >= '0' && c->at[1] <= '9')) {
            c->at++;
            return compile_special(c);
        }
        return compile_single(c);
    default:
        return compile_single(c);
    }
}

const char *pattern_compile(struct pattern *p, const char *text, size_t len, bool anchors)
{
    struct compiler c = { .p = p, .at = text, .end = text + len };

    memset(p, 0, sizeof *p);
    p->sets = (struct bitmap *)(p + 1);
    p->items = (struct item *)(p->sets + count(text, len, '[') + 1);
    if (anchors && len > 0 && *text == '^') {
        p->anchored = true;
        c.at++;
    }
    while (c.at < c.end) {
        const char *wrong = compile_item(&c);

        if (wrong)
            return wrong;
    }
    add(&c, DONE);
    return c.n_open > 0 ? "unfinished capture" : NULL;
}

bool pattern_anchored(const struct pattern *p) { return p->anchored; }
int pattern_captures(const struct pattern *p) { return p->captures; }

/* ---- matching */

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
        return set_has(&classes[it->set], c) != it->b;
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
