#include "loading.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "serve/generation.h"
#include "serve/loader.h"

struct loading {
    uv_async_t over;                                   /* the thread is at its end */
    void (*on_loaded)(void *owner, struct generation **made, struct buf *complaints);
    void *owner;
    struct loader *loader;                             /* the thread's, while it runs */
    uv_thread_t thread;
    bool runs, stopped;

    struct loading_want want;                          /* the thread's, while it runs: */
    struct generation **made;
    int n;
    struct buf complaints;
};

static void load(void *arg)
{
    struct loading *l = arg;
    const struct loading_want *w = &l->want;

    while (l->n < w->n && generation_load(&l->made[l->n], l->loader, w->file, w->lua_dir, w->number, &l->complaints) == 0)
        l->n++;
    loader_rest(l->loader);
    uv_async_send(&l->over);
}

static void on_over(uv_async_t *a)
{
    struct loading *l = a->data;
    struct generation **made = l->made;
    struct buf complaints = l->complaints;
    bool good = l->n == l->want.n && !l->stopped;

    uv_thread_join(&l->thread);
    l->runs = false;
    l->made = NULL;
    l->complaints = BUF_EMPTY;
    while (!good && l->n > 0)
        generation_close(made[--l->n]);
    if (l->stopped)
        complaints.len = 0;                            /* of calls that were ended for it */
    l->on_loaded(l->owner, good ? made : NULL, &complaints);
    buf_free(&complaints);
    free(made);
}

int loading_start(struct loading *l, const struct loading_want *want)
{
    int failed;

    assert(!l->runs);
    l->want = *want;
    l->made = mem_alloc((size_t)want->n * sizeof *l->made);
    l->n = 0;
    failed = uv_thread_create(&l->thread, load, l);
    if (failed)
        free(l->made);
    l->runs = !failed;
    return failed;
}

void loading_stop(struct loading *l)
{
    l->stopped = true;
    loader_stop(l->loader);
}

int loading_open(struct loading **ret, uv_loop_t *loop, void (*on_loaded)(void *owner, struct generation **made, struct buf *complaints), void *owner)
{
    struct loading *l = mem_alloc(sizeof *l);
    int failed = loader_open(&l->loader);

    if (failed) {
        free(l);
        return failed;
    }
    uv_async_init(loop, &l->over, on_over);
    l->over.data = l;
    l->on_loaded = on_loaded;
    l->owner = owner;
    *ret = l;
    return 0;
}

static void on_closed(uv_handle_t *h) { free(h->data); }

void loading_close(struct loading *l)
{
    assert(!l->runs);
    loader_close(l->loader);
    uv_close((uv_handle_t *)&l->over, on_closed);
}
