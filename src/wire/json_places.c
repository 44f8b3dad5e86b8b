/* Declared places in a document ("choices[0].delta.content"), read in one pass. The paths make a small trie; each value that a trie node
 * matches is walked with it, all others are skipped (but checked).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/json.h"

struct node {
    char *key;                                         /* member name; NULL: an index */
    size_t key_len;
    size_t index;
    int place;                                         /* which path ends here, -1: none */
    unsigned number;                                   /* of this node, from 0 */
    struct node *child, *next;
};

#define NODES_MAX 512                                  /* a bit each for those that a document has met */

struct json_places {
    struct node root;
    unsigned n_nodes;
    size_t n;
    size_t *same;                                      /* for each path: the first one that names the same place (itself, mostly) */
    bool twice;                                        /* some place is named by two */
};

static void free_nodes(struct node *n)
{
    while (n) {
        struct node *next = n->next;
        free_nodes(n->child);
        free(n->key);
        free(n);
        n = next;
    }
}

void json_places_free(struct json_places *p)
{
    if (!p)
        return;
    free_nodes(p->root.child);
    free(p->same);
    free(p);
}

static struct node *child_of(struct json_places *p, struct node *parent, const char *key, size_t len, size_t index)
{
    struct node **at = &parent->child;

    for (; *at; at = &(*at)->next)
        if (key ? (*at)->key && (*at)->key_len == len && memcmp((*at)->key, key, len) == 0 : !(*at)->key && (*at)->index == index)
            return *at;
    *at = mem_alloc(sizeof **at);
    (*at)->key = key ? mem_copy(key, len) : NULL;
    (*at)->key_len = len;
    (*at)->index = index;
    (*at)->place = -1;
    (*at)->number = p->n_nodes++;
    return *at;
}

/* path := step ('.' name | '[' 0..65535 ']')*; an empty path names nothing and never matches. */
static int add_path(struct json_places *p, const char *path, int place)
{
    struct node *n = &p->root;

    while (*path) {
        if (*path == '[') {
            char *end;
            size_t index = strtoul(path + 1, &end, 10);
            if (path[1] < '0' || path[1] > '9' || *end != ']' || index > 65535)
                return -1;
            n = child_of(p, n, NULL, 0, index);
            path = end + 1;
        } else {
            size_t len = strcspn(path, ".[]");
            if (len == 0)
                return -1;
            n = child_of(p, n, path, len, 0);
            path += len;
        }
        if (*path == '.' && path[1] && path[1] != '.' && path[1] != '[')
            path++;
        else if (*path && *path != '[')
            return -1;
    }
    p->same[place] = (size_t)place;
    if (n->place >= 0) {
        p->same[place] = (size_t)n->place;
        p->twice = true;
    }
    else if (n != &p->root) {
        n->place = place;
    }
    return 0;
}

struct json_places *json_places_compile(const char *const *paths, size_t n, const char **bad)
{
    struct json_places *p = mem_alloc(sizeof *p);

    p->n = n;
    p->same = mem_alloc(n * sizeof *p->same);
    p->root.place = -1;
    p->root.number = p->n_nodes++;
    for (size_t i = 0; i < n; i++) {
        if (add_path(p, paths[i], (int)i) == 0 && p->n_nodes <= NODES_MAX)
            continue;
        *bad = paths[i];
        json_places_free(p);
        return NULL;
    }
    return p;
}

struct walk {
    struct json_reader r;
    struct json_place_found *found;
    uint64_t met[NODES_MAX / 64];                      /* nodes whose value has come */
};

static int walk(struct walk *w, const struct node *at, struct json_token *t);

static const struct node *member(const struct node *at, const struct json_token *key)
{
    const struct node *n = at->child;

    if (key->escaped)
        while (n && !(n->key && json_key_is(key, n->key)))
            n = n->next;
    else
        while (n && !(n->key && n->key_len == key->len && memcmp(n->key, key->bytes, key->len) == 0))
            n = n->next;
    return n;
}

static int walk_object(struct walk *w, const struct node *at)
{
    struct json_token t;

    while (json_next(&w->r, &t) == JSON_KEY) {
        const struct node *n = member(at, &t);
        if (json_next(&w->r, &t) == JSON_ERROR || (n ? walk(w, n, &t) : json_skip(&w->r, &t)) != 0)
            return -1;
    }
    return t.kind == JSON_OBJECT_END ? 0 : -1;
}

static int walk_array(struct walk *w, const struct node *at)
{
    struct json_token t;
    size_t i = 0;

    for (; json_next(&w->r, &t) != JSON_ARRAY_END; i++) {
        const struct node *n = at->child;
        if (t.kind == JSON_ERROR)
            return -1;
        while (n && (n->key || n->index != i))
            n = n->next;
        if ((n ? walk(w, n, &t) : json_skip(&w->r, &t)) != 0)
            return -1;
    }
    return 0;
}

/* What a subtree found before, when its key comes a second time: the last one counts. */
static void unfind(const struct node *at, struct json_place_found *found)
{
    if (at->place >= 0)
        found[at->place].token.kind = JSON_ERROR;
    for (const struct node *n = at->child; n; n = n->next)
        unfind(n, found);
}

/* `t` is the value's first token, already read. */
static int walk(struct walk *w, const struct node *at, struct json_token *t)
{
    const char *from = t->bytes;
    uint64_t *met = &w->met[at->number / 64], bit = 1ull << at->number % 64;
    int failed;

    if (*met & bit)
        unfind(at, w->found);
    *met |= bit;
    if (at->place >= 0)
        w->found[at->place].token = *t;
    if (t->kind == JSON_OBJECT)
        failed = walk_object(w, at);
    else if (t->kind == JSON_ARRAY)
        failed = walk_array(w, at);
    else
        return 0;
    if (at->place >= 0) {
        w->found[at->place].token.bytes = from;
        w->found[at->place].token.len = (size_t)(w->r.pos - from);
    }
    return failed;
}

int json_places_find(const struct json_places *p, const char *bytes, size_t len, struct json_place_found *found)
{
    struct walk w = { .found = found };
    struct json_token t;

    for (size_t i = 0; i < p->n; i++)
        found[i].token = (struct json_token){ .kind = JSON_ERROR };
    json_open(&w.r, bytes, len);
    if (json_next(&w.r, &t) == JSON_ERROR || walk(&w, &p->root, &t) != 0 || json_next(&w.r, &t) != JSON_END)
        return -1;
    for (size_t i = 0; p->twice && i < p->n; i++)
        found[i] = found[p->same[i]];
    return 0;
}
