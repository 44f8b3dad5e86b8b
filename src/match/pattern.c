/* Compiling: "%a+(%d)" becomes SET(letters)+, OPEN 0, SET(digits), CLOSE 0, DONE. */
#include "match/pattern_inside.h"

#include <string.h>


/* ---- character classes, ASCII whatever the locale */

static const char class_letters[] = "acdglpsuwxz";
const struct bitmap pattern_classes[] = {
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

static void set_add_class(struct bitmap *m, unsigned char letter)
{
    int class = class_of(letter);

    if (class < 0) {
        set_add(m, letter);
        return;
    }
    for (int i = 0; i < 4; i++)
        m->bits[i] |= is_upper(letter) ? ~pattern_classes[class].bits[i] : pattern_classes[class].bits[i];
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
