#include "tracing.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "control.h"
#include "serve/watches.h"

#define TRACERS_MAX 8
#define COUNT_MAX 100000
#define QUEUED_MAX ((size_t)4 << 20)                   /* bytes of time lines that wait for the main thread; more: lost, and told */

struct tracer {
    struct list link;
    struct tracing *of;
    struct control_client *client;
    unsigned id, left;                                 /* left: so many exchanges are still to come */
    char *route, *key;                                 /* NULL: any */
};

struct told {
    struct list link;
    unsigned id;
    struct buf text;
};

struct tracing {
    struct list tracers;
    unsigned n, last_id;
    void (*changed)(void *owner);
    void *owner;
    uv_async_t news;
    uv_mutex_t lock;                                   /* of: */
    struct list queue;
    size_t queued, lost;
};

/* ---- who waits */

static void forget(struct tracer *r)
{
    struct tracing *t = r->of;

    list_remove(&r->link);
    t->n--;
    free(r->route);
    free(r->key);
    free(r);
    t->changed(t->owner);
}

static void on_gone(void *what) { forget(what); }

/* "COUNT TAB ROUTE TAB KEY": cuts it at its tabs. */
static int read_wish(char *wish, unsigned *count, const char **route, const char **key)
{
    char *first = strchr(wish, '\t'), *second = first ? strchr(first + 1, '\t') : NULL, *end;

    if (!second)
        return -1;
    *first = *second = '\0';
    unsigned long n = strtoul(wish, &end, 10);
    *count = (unsigned)n;
    *route = first[1] ? first + 1 : NULL;
    *key = second[1] ? second + 1 : NULL;
    return end != wish && *end == '\0' && n >= 1 && n <= COUNT_MAX ? 0 : -1;
}

void tracing_command(struct tracing *t, struct control_client *g, const char *wish, struct buf *answer)
{
    char *copy = mem_string(wish);
    const char *route, *key;
    unsigned count;

    if (read_wish(copy, &count, &route, &key) != 0) {
        buf_printf(answer, "- a trace is of 1 to %d exchanges\n", COUNT_MAX);
    } else if (t->n == TRACERS_MAX) {
        buf_printf(answer, "- %d traces are running already: end one first\n", TRACERS_MAX);
    } else {
        struct tracer *r = mem_alloc(sizeof *r);

        *r = (struct tracer){ .of = t, .client = g, .id = ++t->last_id, .left = count, .route = route ? mem_string(route) : NULL, .key = key ? mem_string(key) : NULL };
        list_append(&t->tracers, &r->link);
        t->n++;
        control_stay(g, on_gone, r);
        buf_printf(answer, "~ waits for %u exchange%s that begin%s from now on\n", count, count == 1 ? "" : "s", count == 1 ? "s" : "");
        t->changed(t->owner);
    }
    free(copy);
}

struct watches *tracing_watches(const struct tracing *t)
{
    struct watches *w;

    if (t->n == 0)
        return NULL;
    w = mem_alloc(sizeof *w);
    list_each(it, &t->tracers) {
        const struct tracer *r = list_of(it, struct tracer, link);
        watches_add(w, r->id, r->route, r->key);
    }
    return w;
}

/* ---- what comes */

static struct tracer *tracer_of(struct tracing *t, unsigned id)
{
    list_each(it, &t->tracers) {
        struct tracer *r = list_of(it, struct tracer, link);

        if (r->id == id)
            return r;
    }
    return NULL;
}

static void put_lines(struct buf *to, const struct buf *text)
{
    const char *p = text->data, *end = p + text->len;

    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const char *next = stop ? stop + 1 : end;

        buf_puts(to, "+ ");
        buf_append(to, p, (size_t)(next - p));
        p = next;
    }
}

static void pass_on(struct tracing *t, struct told *d)
{
    struct tracer *r = tracer_of(t, d->id);
    struct control_client *g = r ? r->client : NULL;
    struct buf text = BUF_EMPTY;

    if (!r)
        return;                                        /* it has seen enough, or left */
    put_lines(&text, &d->text);
    if (--r->left > 0) {
        buf_puts(&text, "+ \n");                       /* an empty line between two */
        control_send(g, &text);                        /* perhaps it is gone then */
    } else {
        buf_puts(&text, ".\n");
        forget(r);
        control_answer(g, &text);
    }
}

static void tell_lost(struct tracing *t, size_t lost)
{
    list_each_safe(it, &t->tracers) {
        struct buf text = BUF_EMPTY;

        buf_printf(&text, "~ %zu exchanges are missing: they came faster than they could be told\n", lost);
        control_send(list_of(it, struct tracer, link)->client, &text);
    }
}

static void on_news(uv_async_t *a)
{
    struct tracing *t = a->data;
    struct list come;
    size_t lost;

    list_init(&come);
    uv_mutex_lock(&t->lock);
    while (!list_empty(&t->queue)) {
        struct list *first = t->queue.next;

        list_remove(first);
        list_append(&come, first);
    }
    lost = t->lost;
    t->queued = t->lost = 0;
    uv_mutex_unlock(&t->lock);
    list_each_safe(it, &come) {
        struct told *d = list_of(it, struct told, link);

        list_remove(&d->link);
        pass_on(t, d);
        buf_free(&d->text);
        free(d);
    }
    if (lost)
        tell_lost(t, lost);
}

void tracing_told(struct tracing *t, unsigned id, struct buf *text)
{
    struct told *d = NULL;

    uv_mutex_lock(&t->lock);
    if (t->queued + text->len > QUEUED_MAX) {
        t->lost++;
        buf_free(text);
    } else {
        d = mem_alloc(sizeof *d);
        d->id = id;
        d->text = *text;
        *text = BUF_EMPTY;
        t->queued += d->text.len;
        list_append(&t->queue, &d->link);
    }
    uv_mutex_unlock(&t->lock);
    uv_async_send(&t->news);
}

/* ---- life */

void tracing_open(struct tracing **ret, uv_loop_t *loop, void (*changed)(void *owner), void *owner)
{
    struct tracing *t = mem_alloc(sizeof *t);

    list_init(&t->tracers);
    list_init(&t->queue);
    t->changed = changed;
    t->owner = owner;
    uv_mutex_init(&t->lock);
    uv_async_init(loop, &t->news, on_news);
    t->news.data = t;
    *ret = t;
}

static void on_closed(uv_handle_t *h)
{
    struct tracing *t = h->data;

    list_each_safe(it, &t->queue) {
        struct told *d = list_of(it, struct told, link);
        buf_free(&d->text);
        free(d);
    }
    uv_mutex_destroy(&t->lock);
    free(t);
}

void tracing_close(struct tracing *t) { uv_close((uv_handle_t *)&t->news, on_closed); }
