#include "base/named.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyed.h"
#include "base/mem.h"

#define IDLE_MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct named *registry;

struct named *named_open(const char *kind, const char *name, struct named *(*create)(void))
{
    pthread_mutex_lock(&lock);
    struct named *n = registry;
    while (n && (strcmp(n->kind, kind) != 0 || strcmp(n->name, name) != 0))
        n = n->next;
    if (!n) {
        n = create();
        n->kind = kind;
        n->name = mem_string(name);
        n->next = registry;
        registry = n;
    }
    n->opened++;
    pthread_mutex_unlock(&lock);
    return n;
}

void named_hold(struct named *n)
{
    pthread_mutex_lock(&lock);
    n->opened++;
    pthread_mutex_unlock(&lock);
}

/* Of those that nobody has open, the ones closed longest ago go until `keep` are left. The registry is locked. */
static void forget_idle(size_t keep)
{
    for (;;) {
        struct named **oldest = NULL;
        size_t idle = 0;

        for (struct named **p = &registry; *p; p = &(*p)->next) {
            if ((*p)->opened > 0)
                continue;
            idle++;
            if (!oldest || (*p)->closed < (*oldest)->closed)
                oldest = p;
        }
        if (idle <= keep)
            return;
        struct named *gone = *oldest;
        *oldest = gone->next;
        free(gone->name);
        gone->destroy(gone);
    }
}

void named_close(struct named *n)
{
    static uint64_t closings;

    pthread_mutex_lock(&lock);
    if (--n->opened == 0) {
        n->closed = ++closings;
        forget_idle(IDLE_MAX);
    }
    pthread_mutex_unlock(&lock);
}

static void see_all(const char *kind, void (*see)(void *arg, struct named *n), void *arg)   /* kind NULL: those that are open, of any */
{
    struct named **all = NULL;
    size_t count = 0;

    pthread_mutex_lock(&lock);
    for (struct named *n = registry; n; n = n->next) {
        if (kind ? strcmp(kind, n->kind) != 0 : n->opened == 0)
            continue;
        n->opened++;
        all = mem_resize(all, (count + 1) * sizeof(struct named *));
        all[count++] = n;
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++) {
        see(arg, all[i]);
        named_close(all[i]);
    }
    free(all);
}

void named_each(void (*see)(void *arg, struct named *n), void *arg) { see_all(NULL, see, arg); }

void named_every(const char *kind, void (*see)(void *arg, struct named *n), void *arg) { see_all(kind, see, arg); }

void named_forget_idle(void)
{
    pthread_mutex_lock(&lock);
    forget_idle(0);
    pthread_mutex_unlock(&lock);
}

/* ---- copies */

struct named_copy {
    struct named_copy *next;
    struct named *of;                                  /* kept open by the copy */
    struct keyed_copy *keys;
    void *saved;                                       /* of what has no keys */
};

static void copy_one(void *arg, struct named *n)
{
    struct named_copy **list = arg, *c;

    if (n->held)
        return;
    c = mem_alloc(sizeof *c);
    *c = (struct named_copy){ .next = *list, .of = named_open(n->kind, n->name, NULL) };   /* it is open, so none is made */
    if (n->keys)
        c->keys = keyed_copy(n->keys);
    else
        c->saved = n->save(n);
    *list = c;
}

static void paste_one(void *arg, struct named *n)
{
    const struct named_copy *c = arg;

    if (n->held)
        return;
    while (c && c->of != n)
        c = c->next;
    if (n->keys)
        keyed_paste(n->keys, c ? c->keys : NULL);
    else
        n->restore(n, c ? c->saved : NULL);
}

struct named_copy *named_copy(void)
{
    struct named_copy *first = mem_alloc(sizeof *first);   /* of nothing: a copy is never NULL */

    named_each(copy_one, &first->next);
    return first;
}

void named_paste(const struct named_copy *c) { named_each(paste_one, (void *)c); }

void named_copy_free(struct named_copy *c)
{
    while (c) {
        struct named_copy *next = c->next;

        if (c->of) {
            if (c->of->keys)
                keyed_copy_free(c->of->keys, c->keys);
            free(c->saved);
            named_close(c->of);
        }
        free(c);
        c = next;
    }
}
