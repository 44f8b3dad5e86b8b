#include "keeping.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/snapshot.h"
#include "script/gateway.h"

struct keeping {
    uv_timer_t timer;
    char *path;
    struct buf last;                                   /* as the file is, if we wrote it: what has not changed is not written again */
    bool failed;                                       /* the last try: a full disk is told once */
};

static int64_t unix_ms(void)
{
    struct timeval t;

    gettimeofday(&t, NULL);
    return (int64_t)t.tv_sec * 1000 + t.tv_usec / 1000;
}

/* What cannot be read is no reason to refuse people, but one to tell the operator. */
static void restore(struct keeping *k)
{
    struct buf bytes = BUF_EMPTY, why = BUF_EMPTY;
    size_t sums = 0;
    int got = snapshot_read(k->path, &bytes, &why);

    if (got == 0)
        got = snapshot_restore(bytes.data ? bytes.data : "", bytes.len, &sums, &why);
    if (got == 0)
        log_say(LOG_INFO, "counters.read", "%s: %zu sums", k->path, sums);
    else if (got < 0)
        log_say(LOG_ERROR, "counters.refused", "%s: %s; all counters begin at nothing, and the file will be overwritten", k->path, buf_cstr(&why));
    buf_free(&bytes);
    buf_free(&why);
}

static bool same(const struct buf *a, const struct buf *b) { return a->len == b->len && memcmp(a->data, b->data, a->len) == 0; }

static void save(struct keeping *k)
{
    struct buf bytes = BUF_EMPTY, why = BUF_EMPTY;

    snapshot_take(&bytes, unix_ms());
    if (k->last.len && same(&bytes, &k->last)) {
        buf_free(&bytes);
        return;
    }
    bool failed = snapshot_write(k->path, &bytes, &why) != 0;
    if (failed && !k->failed)
        log_say(LOG_ERROR, "counters.unwritten", "%s", buf_cstr(&why));
    k->failed = failed;
    buf_free(&k->last);
    if (!failed)
        buf_move(&k->last, &bytes);
    buf_free(&bytes);
    buf_free(&why);
}

static void on_time(uv_timer_t *t) { save(t->data); }

struct keeping *keeping_open(uv_loop_t *loop, const struct gateway *g)
{
    if (!g->snapshot)
        return NULL;
    struct keeping *k = mem_alloc(sizeof *k);
    k->path = mem_string(g->snapshot);
    restore(k);
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    uv_timer_start(&k->timer, on_time, g->snapshot_ms, g->snapshot_ms);
    uv_unref((uv_handle_t *)&k->timer);
    return k;
}

static void on_closed(uv_handle_t *h)
{
    struct keeping *k = h->data;

    buf_free(&k->last);
    free(k->path);
    free(k);
}

void keeping_close(struct keeping *k)
{
    if (!k)
        return;
    save(k);
    uv_close((uv_handle_t *)&k->timer, on_closed);
}
