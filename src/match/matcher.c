/* What all kinds share, and the kind that is a list of others. */
#include "match/matcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "match/matcher_inside.h"

void matcher_init(struct matcher *m, const struct matcher_class *class, const char *kind, const char *source, size_t len)
{
    m->class = class;
    m->refs = 1;
    m->kind = mem_string(kind);
    m->source = mem_copy(source, len);
}

struct matcher *matcher_keep(struct matcher *m)
{
    m->refs++;
    return m;
}

void matcher_drop(struct matcher *m)
{
    if (!m || --m->refs > 0)
        return;
    m->class->free(m);
    free(m->kind);
    free(m->source);
    free(m);
}

const char *matcher_kind(const struct matcher *m) { return m->kind; }
const char *matcher_source(const struct matcher *m) { return m->source; }
const char *matcher_form(const struct matcher *m) { return m->class->form; }

enum match_got matcher_find(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    enum match_got got;

    ret->by = m;
    ret->n = 0;
    ret->from = ret->to = t->len;
    got = m->class->find(m, t, ret);
    if (got == MATCH_NONE)
        ret->from = ret->to = t->len;
    return got;
}

/* ---- several */

struct any {
    struct matcher base;
    size_t n;
    struct matcher **list;
};

/* The leftmost answer counts; where two begin together, the earlier of the list. An open one to the left of a match comes first: it may still become
 * a match. */
static enum match_got find_any(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    const struct any *a = (const struct any *)m;
    enum match_got best = MATCH_NONE;
    struct match found;

    for (size_t i = 0; i < a->n; i++) {
        enum match_got got = matcher_find(a->list[i], t, &found);

        if (got == MATCH_TOO_MUCH)
            return got;
        if (got != MATCH_NONE && (best == MATCH_NONE || found.from < ret->from)) {
            best = got;
            *ret = found;
        }
    }
    return best;
}

static void free_any(struct matcher *m)
{
    struct any *a = (struct any *)m;

    for (size_t i = 0; i < a->n; i++)
        matcher_drop(a->list[i]);
    free(a->list);
}

struct matcher *matcher_any(struct matcher *const *list, size_t n)
{
    static const struct matcher_class class = { "any", find_any, free_any };
    struct any *a = mem_alloc(sizeof *a);

    matcher_init(&a->base, &class, "any", "any", 3);
    a->n = n;
    a->list = mem_alloc((n ? n : 1) * sizeof *a->list);
    for (size_t i = 0; i < n; i++) {
        a->list[i] = matcher_keep(list[i]);
        if (list[i]->context > a->base.context)
            a->base.context = list[i]->context;
    }
    return &a->base;
}

size_t matcher_members(const struct matcher *m, struct matcher *const **ret)
{
    const struct any *a = (const struct any *)m;

    if (m->class->find != find_any)
        return 0;
    *ret = a->list;
    return a->n;
}

/* ---- a text that arrives */

void scan_feed(struct scan *s, const char *bytes, size_t len)
{
    buf_append(&s->text, bytes, len);
}

enum match_got scan_next(const struct scan *s, const struct matcher *m, bool last, struct match *ret)
{
    struct match_text t = { .bytes = s->text.data ? s->text.data : "", .len = s->text.len, .at = s->at, .starts = s->gone == 0, .last = last };
    return matcher_find(m, &t, ret);
}

void scan_pass(struct scan *s, size_t to)
{
    s->at = to;
}

void scan_trim(struct scan *s, const struct matcher *m)
{
    size_t from = s->at;

    for (size_t chars = m->context; chars > 0 && from > 0; chars--)
        do
            from--;
        while (from > 0 && ((unsigned char)s->text.data[from] & 0xC0) == 0x80);
    if (from == 0)
        return;
    buf_consume(&s->text, from);
    s->at -= from;
    s->gone += from;
}

void scan_free(struct scan *s)
{
    buf_free(&s->text);
    s->at = s->gone = 0;
}
