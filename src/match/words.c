/* Lists of words: a trie of characters, walked from each place of the text. The longest word that begins there counts, and where a longer one could
 * still come, the place is open. Thousands of words cost a binary search a character.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "base/mem.h"
#include "match/matcher_inside.h"
#include "wire/utf8.h"

struct node {
    uint32_t c;                                        /* the character that leads here */
    bool word;                                         /* a word ends here */
    uint32_t first, n;                                 /* its children, sorted by character, in words.nodes */
};

struct words {
    struct matcher base;
    struct words_options options;
    struct node *nodes;                                /* nodes[0] is the root */
};

/* Unicode's simple case folding, as far as upper and lower case tell it. The C library's tables, whatever locale the process runs in. */
static uint32_t folded(uint32_t c)
{
    static locale_t utf8;

    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if (!utf8)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    return utf8 ? (uint32_t)towlower_l(towupper_l((wint_t)c, utf8), utf8) : c;
}

static bool is_invisible(uint32_t c)
{
    return c == 0xAD || c == 0x200B || c == 0x200C || c == 0x200D || c == 0x2060 || c == 0xFEFF;
}

static bool is_word_character(uint32_t c)
{
    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    return c >= 0xC0 && c != 0xD7 && c != 0xF7 && (c < 0x2000 || c > 0x206F) && (c < 0x3000 || c > 0x303F) && (c < 0xFF00 || c > 0xFF0F);
}

static const struct node *child(const struct words *w, const struct node *parent, uint32_t c)
{
    size_t low = parent->first, high = low + parent->n;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (w->nodes[mid].c == c)
            return &w->nodes[mid];
        if (w->nodes[mid].c < c)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static uint32_t at_char(const struct match_text *t, size_t at, size_t *next)
{
    uint32_t c;
    int n = utf8_next(t->bytes + at, t->bytes + t->len, &c);

    *next = at + (n > 0 ? (size_t)n : 1);
    return n > 0 ? c : 0xFFFD;
}

static bool joined_before(const struct match_text *t, size_t at)
{
    size_t next;

    if (at == 0)
        return false;
    do
        at--;
    while (at > 0 && ((unsigned char)t->bytes[at] & 0xC0) == 0x80);
    return is_word_character(at_char(t, at, &next));
}

/* From this place: the end of the longest word, 0 for none; *open: more text could change that. */
static size_t longest(const struct words *w, const struct match_text *t, size_t from, bool *open)
{
    const struct node *n = &w->nodes[0];
    size_t best = 0, at = from, next;

    *open = false;
    if (w->options.whole && joined_before(t, from))
        return 0;
    while (at < t->len) {
        uint32_t c = at_char(t, at, &next);
        if (at > from && is_invisible(c)) {
            at = next;
            continue;
        }
        n = child(w, n, w->options.fold ? folded(c) : c);
        if (!n)
            return best;
        at = next;
        if (!n->word)
            continue;
        if (!w->options.whole) {
            best = at;
        } else if (at < t->len) {
            if (!is_word_character(at_char(t, at, &next)))
                best = at;
        } else if (t->last) {
            best = at;
        } else {
            *open = true;                              /* who knows what stands beside it */
            return best;
        }
    }
    *open = !t->last && at > from && n->n > 0;          /* a longer word may be coming */
    return best;
}

static enum match_got find_words(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    const struct words *w = (const struct words *)m;

    for (size_t at = t->at; at < t->len; at = match_step(t, at)) {
        bool open;
        size_t end = longest(w, t, at, &open);

        ret->from = at;
        if (open)
            return MATCH_OPEN;
        if (end) {
            ret->to = end;
            return MATCH_HIT;
        }
    }
    return MATCH_NONE;
}

static void free_words(struct matcher *m)
{
    free(((struct words *)m)->nodes);
}

/* ---- building: the words as folded characters, sorted, then level by level */

struct word { uint32_t *c; size_t n; };

static int by_characters(const void *a, const void *b)
{
    const struct word *x = a, *y = b;

    for (size_t i = 0; i < x->n && i < y->n; i++)
        if (x->c[i] != y->c[i])
            return x->c[i] < y->c[i] ? -1 : 1;
    return x->n < y->n ? -1 : x->n > y->n;
}

struct builder { struct words *w; size_t n, room; };

static uint32_t add_node(struct builder *b, uint32_t c)
{
    if (b->n == b->room) {
        b->room = b->room ? b->room * 2 : 64;
        b->w->nodes = mem_resize(b->w->nodes, b->room * sizeof *b->w->nodes);
    }
    b->w->nodes[b->n] = (struct node){ .c = c };
    return (uint32_t)b->n++;
}

/* The children of `parent`: what follows the first `depth` characters in list[from..to). Words are short, so this recurses. */
static void add_children(struct builder *b, uint32_t parent, const struct word *list, size_t from, size_t to, size_t depth)
{
    uint32_t first = (uint32_t)b->n, n = 0;

    while (from < to && list[from].n == depth) {
        b->w->nodes[parent].word = true;
        from++;
    }
    for (size_t i = from; i < to; i++)
        if (i == from || list[i].c[depth] != list[i - 1].c[depth]) {
            add_node(b, list[i].c[depth]);
            n++;
        }
    b->w->nodes[parent].first = first;
    b->w->nodes[parent].n = n;
    for (uint32_t k = 0; k < n; k++) {
        size_t end = from;
        while (end < to && list[end].c[depth] == list[from].c[depth])
            end++;
        add_children(b, first + k, list, from, end, depth + 1);
        from = end;
    }
}

static bool read_word(struct word *w, const char *s, size_t len, bool fold)
{
    const char *end = s + len;

    w->c = mem_alloc((len + 1) * sizeof *w->c);
    w->n = 0;
    while (s < end) {
        uint32_t c;
        int n = utf8_next(s, end, &c);
        if (n <= 0)
            return false;
        s += n;
        if (!is_invisible(c))
            w->c[w->n++] = fold ? folded(c) : c;
    }
    return w->n > 0 && w->n <= 200;
}

struct matcher *matcher_words(const char *const *words, const size_t *lens, size_t n, const struct words_options *o, const char *kind, const char **wrong)
{
    static const struct matcher_class class = { "words", find_words, free_words };
    static _Thread_local char sentence[200];
    struct word *list = mem_alloc((n ? n : 1) * sizeof *list);
    struct words *w = mem_alloc(sizeof *w);
    struct builder b = { .w = w };
    char source[60];

    *wrong = n ? NULL : "the list of words is empty, so it would never match";
    for (size_t i = 0; i < n && !*wrong; i++)
        if (!read_word(&list[i], words[i], lens[i], o->fold)) {
            snprintf(sentence, sizeof sentence, "word %zu is empty, longer than 200 characters or no UTF-8", i + 1);
            *wrong = sentence;
        }
    if (!*wrong) {
        qsort(list, n, sizeof *list, by_characters);
        snprintf(source, sizeof source, "%zu words", n);
        matcher_init(&w->base, &class, kind, source, strlen(source));
        w->base.context = o->whole ? 1 : 0;
        w->options = *o;
        add_node(&b, 0);
        add_children(&b, 0, list, 0, n, 0);
    }
    for (size_t i = 0; i < n; i++)
        free(list[i].c);
    free(list);
    if (!*wrong)
        return &w->base;
    free(w);
    return NULL;
}
