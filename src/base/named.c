#include "base/named.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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

void named_each(void (*see)(void *arg, struct named *n), void *arg)
{
    struct named **all = NULL;
    size_t count = 0;

    pthread_mutex_lock(&lock);
    for (struct named *n = registry; n; n = n->next) {
        if (n->opened == 0)
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

void named_forget_idle(void)
{
    pthread_mutex_lock(&lock);
    forget_idle(0);
    pthread_mutex_unlock(&lock);
}
