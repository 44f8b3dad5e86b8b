/* Policies in monitor mode. Each runs as a stream of its own beside the one it watches: the same hooks, filters and rules, on a copy of the request and of
 * the text as it passes its place in the chain, after the bytes for the client were written. What it would have done is noted; nothing of it reaches anyone.
 *
 *     stream_body -> shadows_open: copies of the request; attempts_start -> shadows_start: their hooks may run
 *     sieve at the policy's place -> shadow_text; end of the answer -> shadows_end; settle -> shadows_run: they get their turn
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/service.h"
#include "stream/inside.h"

#define QUEUE_MAX (1024 * 1024)                        /* text that waits for a shadow, bytes; more: it is given up */
#define AFTER_MS 10000                                 /* after the answer's end */

#define AGAIN (-1)                                     /* an item's kind: forget the text so far */
#define HASH_BEGIN 0xcbf29ce484222325ULL

struct item {                                          /* a piece on its way to a shadow */
    struct item *next;
    int kind;
    enum channel channel;
    unsigned char choice;
    size_t len;
    char text[];
};

struct shadow {
    struct stream *parent, *stream;                    /* stream NULL: over */
    struct item *first, **last;
    size_t queued;
    uint64_t alarm, in, out;                           /* in, out: hashes of the text as it came and as it would have left */
    bool started;
    char outcome[96];
};

static const char *name_of(const struct shadow *w) { return w->parent->route->policies[w->stream->route->watches].name; }

/* ---- the host of a shadow: nobody listens */

static uint64_t host_now(void *owner)
{
    struct shadow *w = owner;
    return w->parent->host->now(w->parent->owner);
}

static void host_nothing(void *owner) { (void)owner; }
static void host_nothing_of(void *owner, unsigned which) { (void)owner, (void)which; }

static void host_reply(void *owner, int status, const struct header *headers, size_t n, struct buf *body)
{
    (void)owner, (void)status, (void)headers, (void)n;
    buf_free(body);
}

static void host_head(void *owner, int status, const struct header *headers, size_t n) { (void)owner, (void)status, (void)headers, (void)n; }

static bool host_write(void *owner, struct buf *bytes)
{
    (void)owner;
    buf_consume(bytes, bytes->len);
    return true;
}

static int host_attempt(void *owner, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms)
{
    (void)owner, (void)which, (void)want, (void)ca, (void)connect_ms;
    return -1;
}

static int host_service(void *owner, struct service_call *call)
{
    struct shadow *w = owner;
    return w->parent->host->service(w->parent->owner, call);
}

static void host_service_cancel(void *owner, struct service_call *call)
{
    struct shadow *w = owner;
    w->parent->host->service_cancel(w->parent->owner, call);
}

static void host_wake(void *owner, uint64_t at) { ((struct shadow *)owner)->alarm = at; }

static void drop_items(struct shadow *w)
{
    while (w->first) {
        struct item *i = w->first;

        w->first = i->next;
        free(i);
    }
    w->last = &w->first;
    w->queued = 0;
}

static void host_closed(void *owner)
{
    struct shadow *w = owner;

    stream_free(w->stream);
    w->stream = NULL;
    w->alarm = 0;
    drop_items(w);
}

static const struct stream_host nobody = {
    .now = host_now, .read_body = host_nothing, .reply = host_reply, .head = host_head, .write = host_write, .end = host_nothing,
    .attempt = host_attempt, .cancel = host_nothing_of, .finish = host_nothing_of, .hold = host_nothing_of, .release = host_nothing_of,
    .service = host_service, .service_cancel = host_service_cancel, .wake = host_wake, .closed = host_closed,
};

/* ---- what it would have done */

static uint64_t hash(uint64_t h, const char *text, size_t len)   /* FNV-1a */
{
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3ULL;
    return h;
}

void shadow_said(struct stream *s, const char *text, size_t len) { s->shadow->out = hash(s->shadow->out, text, len); }

void shadow_closes(struct stream *s, enum reason why)
{
    struct shadow *w = s->shadow;
    const char *word = s->code ? s->code : s->finish ? s->finish : NULL, *what = NULL;

    if (why == REASON_REJECTED)
        what = "would_reject";
    else if (why == REASON_STOPPED)
        what = "would_stop";
    else if (why == REASON_REPLIED)
        what = "would_reply";
    else if (why == REASON_DONE)
        what = w->in != w->out ? "would_change" : NULL;
    else if (why != REASON_CLIENT_CLOSED && why != REASON_SHUTTING_DOWN)
        what = "failed", word = reason_text(why)->code;
    if (!what)
        return;
    snprintf(w->outcome, sizeof w->outcome, "%s:%s%s%s", name_of(w), what, word ? ":" : "", word ? word : "");
    metrics_add(w->parent->metrics, METRIC_monitor_findings, 1);
}

void shadows_tell(const struct stream *s, struct buf *out)
{
    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++)
        if (s->shadows[i].outcome[0])
            buf_printf(out, "%s%s", out->len ? "," : "", s->shadows[i].outcome);
}

/* ---- life */

void shadows_open(struct stream *s)
{
    if (s->route->n_shadows == 0 || s->head_only)
        return;
    s->shadows = mem_alloc(s->route->n_shadows * sizeof *s->shadows);
    for (size_t i = 0; i < s->route->n_shadows; i++) {
        const struct route *r = &s->route->shadows[i];
        struct shadow *w = &s->shadows[i];

        w->parent = s;
        w->last = &w->first;
        w->in = w->out = HASH_BEGIN;
        if (!(s->exchange.off & 1ull << r->watches))
            w->stream = stream_shadow(s, r, &nobody, w);
    }
}

void shadows_start(struct stream *s)
{
    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++) {
        struct shadow *w = &s->shadows[i];

        if (!w->stream || w->started)
            continue;
        w->started = true;
        stream_shadow_begin(w->stream);
    }
}

static void queue(struct shadow *w, int kind, const struct piece *p, const char *text, size_t len)
{
    struct item *i;

    if (!w->stream || !w->started)
        return;
    if (w->queued + len > QUEUE_MAX) {
        stream_client_gone(w->stream);
        snprintf(w->outcome, sizeof w->outcome, "overrun");
        return;
    }
    i = mem_alloc(sizeof *i + len);
    i->kind = kind;
    i->channel = p->channel;
    i->choice = p->choice;
    i->len = len;
    memcpy(i->text, text ? text : "", len);
    *w->last = i;
    w->last = &i->next;
    w->queued += len;
}

void shadow_text(struct stream *s, size_t i, const struct piece *p, const char *text, size_t len, bool last)
{
    struct shadow *w = s->shadows ? &s->shadows[i] : NULL;

    if (!w)
        return;
    if (w->stream && w->stream->n_choices != s->n_choices)   /* of this try, before its first text */
        source_choices(w->stream, s->n_choices);
    w->in = hash(w->in, text, len);
    if (len)
        queue(w, PIECE_TEXT, p, text, len);
    if (last)
        queue(w, PIECE_LAST, p, NULL, 0);
}

void shadows_again(struct stream *s)
{
    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++) {
        struct shadow *w = &s->shadows[i];

        if (w->in != HASH_BEGIN)
            queue(w, AGAIN, &(struct piece){ 0 }, NULL, 0);
        w->in = HASH_BEGIN;
    }
}

/* As a source of pieces: what was queued, one at a time. */
enum source_got shadow_next(struct stream *s)
{
    struct shadow *w = s->shadow;
    struct item *i = w->first;

    if (!i)
        return SOURCE_MORE;
    w->first = i->next;
    if (!w->first)
        w->last = &w->first;
    w->queued -= i->len;
    if (i->kind == AGAIN) {
        free(i);
        s->n_pieces = s->piece_at = 0;
        sieve_reset(s);
        w->out = HASH_BEGIN;
        return SOURCE_PIECES;
    }
    s->n_pieces = 1;
    s->piece_at = 0;
    s->texts.len = 0;
    buf_append(&s->texts, i->text, i->len);
    s->pieces[0] = (struct piece){ .kind = i->kind, .channel = i->channel, .choice = i->choice, .len = i->len };
    s->tokens += i->kind == PIECE_TEXT;
    free(i);
    return SOURCE_PIECES;
}

void shadows_end(struct stream *s, bool complete)
{
    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++) {
        struct shadow *w = &s->shadows[i];

        if (!w->stream)
            continue;
        if (complete && w->started)
            queue(w, PIECE_DONE, &(struct piece){ 0 }, NULL, 0);
        else
            stream_client_gone(w->stream);
        if (w->stream)
            stream_clock(w->stream, CLOCK_TOTAL, AFTER_MS);
    }
}

void shadows_shutdown(struct stream *s, enum reason why)
{
    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++)
        if (s->shadows[i].stream)
            stream_shutdown(s->shadows[i].stream, why);
}

bool shadows_run(struct stream *s)
{
    uint64_t t = s->host->now(s->owner), first = 0;
    bool open = false;

    for (size_t i = 0; s->shadows && i < s->route->n_shadows; i++) {
        struct shadow *w = &s->shadows[i];

        if (w->stream && w->alarm && w->alarm <= t) {
            w->alarm = 0;
            stream_tick(w->stream);
        } else if (w->stream) {
            stream_shadow_turn(w->stream);
        }
        if (w->alarm && (!first || w->alarm < first))
            first = w->alarm;
        open |= w->stream != NULL;
    }
    s->due[CLOCK_SHADOW] = first;
    return open;
}

void shadows_free(struct stream *s) { free(s->shadows); }
