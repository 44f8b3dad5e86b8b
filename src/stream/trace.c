/* The time line of one stream, for `sluice trace`: which hooks, filters, gates, services and models ran, when, how long, and what they said. Never any text of
 * questions, answers or error messages.
 *
 * Kept only where the host asked for it (stream_facts.trace); elsewhere s->trace is NULL, and all that it costs is the test for that. A line is noted when what
 * it tells of is over. A filter has one line for all its calls, since there may be thousands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "script/service.h"
#include "stream/inside.h"
#include "wire/utf8.h"

#define LINES_MAX 200
#define DID_MAX 120

struct line {
    uint64_t at;                                       /* when it began, ms */
    unsigned order;
    char what[16];
    const char *who;                                   /* a constant of the gateway, which outlives the stream */
    bool called, waited;                               /* called: cpu_ns is told */
    uint64_t cpu_ns, waited_ms;
    char did[DID_MAX];
};

struct filter_line {                                   /* of one filter, all channels together */
    bool seen;
    uint64_t at, waits_since, waited_ms, cpu_ns;
    uint64_t calls, matches;
    size_t in, out, held;                              /* characters; held: at most, of one channel */
    char did[DID_MAX];                                 /* its verdict or failure; "": none */
};

struct trace {
    struct line *lines;
    size_t n, left_out;
    uint64_t call_began;                               /* of s->call, when it is a hook's */
    struct line try;                                   /* the try under way */
    bool tries;
    uint64_t first_text;                               /* when its first piece came; 0: not yet */
    struct filter_line *filters;                       /* [route->n_filters] */
};

static uint64_t now(const struct stream *s) { return s->host->now(s->owner); }

void trace_open(struct stream *s)
{
    s->trace = mem_alloc(sizeof *s->trace);
    s->trace->filters = mem_alloc((s->route->n_filters + 1) * sizeof *s->trace->filters);
    s->exchange.metered = true;
}

void trace_free(struct stream *s)
{
    if (!s->trace)
        return;
    free(s->trace->lines);
    free(s->trace->filters);
    free(s->trace);
}

/* ---- noting */

static void note(struct trace *t, const struct line *line)
{
    if (t->n == LINES_MAX) {
        t->left_out++;
        return;
    }
    t->lines = mem_resize(t->lines, (t->n + 1) * sizeof *t->lines);
    t->lines[t->n] = *line;
    t->lines[t->n].order = (unsigned)t->n;
    t->n++;
}

static void put_plan(const struct verdict *v, char *out)
{
    size_t n = (size_t)snprintf(out, DID_MAX, "route");

    for (size_t i = 0; i < v->n_plan && n < DID_MAX; i++)
        n += (size_t)snprintf(out + n, DID_MAX - n, "%s %s", i ? "," : "", v->plan[i]->name);
}

static void put_verdict(const struct verdict *v, char *out)
{
    switch (v->kind) {
    case VERDICT_PASS:
        snprintf(out, DID_MAX, "pass");
        break;
    case VERDICT_REJECT:
        snprintf(out, DID_MAX, "reject %d %s", v->failure.status, v->failure.code ? v->failure.code : "");
        break;
    case VERDICT_REPLY:
        snprintf(out, DID_MAX, "reply %d", v->status ? v->status : 200);
        break;
    case VERDICT_STOP:
        snprintf(out, DID_MAX, "stop %s", v->finish ? v->finish : "");
        break;
    case VERDICT_ROUTE:
        put_plan(v, out);
        break;
    case VERDICT_NEXT:
        snprintf(out, DID_MAX, "next model");
        break;
    case VERDICT_RETRY:
        snprintf(out, DID_MAX, "the same model again");
        break;
    case VERDICT_GIVE_UP:
        snprintf(out, DID_MAX, "no other model");
        break;
    case VERDICT_DROP:
        snprintf(out, DID_MAX, "drop the tool call");
        break;
    case VERDICT_WRONG:
        snprintf(out, DID_MAX, "failed: returned what it may not");
        break;
    }
}

/* Why, not what it said: an error's message may quote what the client wrote. The log has it. */
static const char *failure_of(const struct call *c)
{
    static const char *const words[] = { [CALL_RAISED] = "failed: raised an error", [CALL_TIMEOUT] = "failed: used up its processor time",
                                         [CALL_MEMORY] = "failed: out of memory", [CALL_DEPENDENCY] = "failed: a service failed" };
    return words[c->failure];
}

static void note_call(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began, struct line *line)
{
    line->at = began;
    line->who = s->route->policies[policy].name;
    line->called = true;
    line->cpu_ns = c->meter.cpu_ns;
    line->waited = c->meter.waited;
    if (c->meter.waited)
        line->waited_ms = now(s) - began;
    snprintf(line->what, sizeof line->what, "%s", what);
    note(s->trace, line);
}

void trace_begins(struct stream *s) { s->trace->call_began = now(s); }

uint64_t trace_began(const struct stream *s) { return s->trace->call_began; }

void trace_returned(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began, const struct verdict *v)
{
    struct line line = { 0 };

    put_verdict(v, line.did);
    note_call(s, what, policy, c, began, &line);
}

void trace_failed(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began)
{
    struct line line = { 0 };

    snprintf(line.did, sizeof line.did, "%s", failure_of(c));
    note_call(s, what, policy, c, began, &line);
}

void trace_given_up(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began)
{
    struct line line = { .did = "given up while it waited" };

    note_call(s, what, policy, c, began, &line);
}

/* The hook or filter that waits is not waited for any longer. */
void trace_dropped(struct stream *s)
{
    if (!call_open(&s->call))
        return;
    if (s->sieving) {
        trace_filter_called(s, s->stage, &s->call);
        trace_filter_did(s, s->stage, "given up while it waited");
    } else {
        trace_given_up(s, hook_names[s->hook], s->route->hooks[s->hook][s->hook_at].policy, &s->call, s->trace->call_began);
    }
}

/* An error hook; it did not wait. */
void trace_error_hook(void *stream, int policy, const struct call *c, bool failed)
{
    struct stream *s = stream;
    struct line line = { 0 };

    if (!s->trace)
        return;
    snprintf(line.did, sizeof line.did, "%s", failed ? "failed" : "pass");
    note_call(s, hook_names[HOOK_ERROR], policy, c, now(s), &line);
}

void trace_service(struct stream *s, const struct service_call *w, bool given_up)
{
    uint64_t began = w->due - w->timeout_ms;
    struct line line = { .at = began, .what = "service", .who = w->service->name, .waited = true, .waited_ms = now(s) - began };

    if (given_up)
        snprintf(line.did, sizeof line.did, "%.8s, given up", w->method);
    else if (w->end == SERVICE_OK)
        snprintf(line.did, sizeof line.did, "%.8s %d", w->method, w->status);
    else
        snprintf(line.did, sizeof line.did, "%.8s failed: %s", w->method, service_end_names[w->end]);
    note(s->trace, &line);
}

/* ---- tries */

static struct line try_line(const struct model *m, unsigned number, uint64_t at)
{
    struct line line = { .at = at, .who = m->name };

    snprintf(line.what, sizeof line.what, "try %u", number);
    return line;
}

void trace_try(struct stream *s)
{
    struct trace *t = s->trace;

    t->try = try_line(s->model, s->number, now(s));
    t->tries = true;
    t->first_text = 0;
}

void trace_first(struct stream *s) { s->trace->first_text = now(s); }

void trace_model_called(struct stream *s, const struct call *c)
{
    s->trace->try.called = true;
    s->trace->try.cpu_ns += c->meter.cpu_ns;
}

static void put_came(const struct stream *s, char *out, size_t room)
{
    const struct trace *t = s->trace;

    if (t->first_text)
        snprintf(out, room, "; %llu pieces, the first after %llu ms", (unsigned long long)s->tokens, (unsigned long long)(t->first_text - t->try.at));
    else
        out[0] = '\0';
}

void trace_try_over(struct stream *s, enum reason why)
{
    struct line *try = &s->trace->try;
    char came[DID_MAX / 2];

    if (!s->trace->tries)
        return;
    s->trace->tries = false;
    put_came(s, came, sizeof came);
    if (why == REASON_DONE)
        snprintf(try->did, sizeof try->did, "answered%s", came);
    else if (why == REASON_BAD_STATUS || why == REASON_REFUSED || why == REASON_RATE_LIMITED)
        snprintf(try->did, sizeof try->did, "%s (%d) after %llu ms", reason_text(why)->code, s->upstream_status, (unsigned long long)(now(s) - try->at));
    else
        snprintf(try->did, sizeof try->did, "%s after %llu ms%s", reason_text(why)->code, (unsigned long long)(now(s) - try->at), came);
    note(s->trace, try);
}

void trace_rival_over(struct stream *s, const char *how)
{
    const struct rival *r = &s->rival;
    struct line line = try_line(r->model, r->number, r->began);

    snprintf(line.did, sizeof line.did, "hedge, %s after %llu ms", how, (unsigned long long)(now(s) - r->began));
    note(s->trace, &line);
}

void trace_rival_takes_over(struct stream *s, const struct rival *r, enum reason why)
{
    struct trace *t = s->trace;

    if (why != REASON_DONE) {
        trace_try_over(s, why);
    } else {
        snprintf(t->try.did, sizeof t->try.did, "gave way to try %u after %llu ms", r->number, (unsigned long long)(now(s) - t->try.at));
        note(t, &t->try);
    }
    t->try = try_line(r->model, r->number, r->began);
    t->tries = true;
    t->first_text = 0;
}

/* ---- filters */

static struct filter_line *line_of(struct stream *s, size_t stage)
{
    struct filter_line *f = &s->trace->filters[stage];

    if (!f->seen)
        f->at = now(s);
    f->seen = true;
    return f;
}

static size_t characters(const char *text, size_t len) { return len && utf8_valid(text, len) ? utf8_count(text, len) : len; }

void trace_filter_in(struct stream *s) { line_of(s, s->stage)->in += characters(s->sieve_text.data, s->sieve_text.len); }

void trace_filter_out(struct stream *s, const struct held *h, lane_t lane)
{
    struct filter_line *f = line_of(s, s->stage);
    size_t from = h->scan.at + h->ahead, held = 0;

    if (h->scan.text.len > from)
        held = characters(h->scan.text.data + from, h->scan.text.len - from);
    held += check_held(s, s->stage, lane);
    if (held > f->held)
        f->held = held;
    f->out += characters(s->sieve_text.data, s->sieve_text.len) + characters(s->moved_text.data, s->moved_text.len);
}

void trace_filter_matched(struct stream *s) { line_of(s, s->stage)->matches++; }

void trace_filter_waits(struct stream *s)
{
    struct filter_line *f = line_of(s, s->stage);

    if (!f->waits_since)
        f->waits_since = now(s);
}

void trace_filter_called(struct stream *s, size_t stage, const struct call *c)
{
    struct filter_line *f = line_of(s, stage);

    f->calls++;
    f->cpu_ns += c->meter.cpu_ns;
    if (f->waits_since)
        f->waited_ms += now(s) - f->waits_since;
    f->waits_since = 0;
    if (c->failure || c->message)
        snprintf(f->did, sizeof f->did, "%s", failure_of(c));
}

/* A check: it ran beside the text, which waited for it or did not. */
void trace_filter_checked(struct stream *s, size_t stage, const struct call *c, uint64_t began)
{
    trace_filter_called(s, stage, c);
    if (c->meter.waited)
        line_of(s, stage)->waited_ms += now(s) - began;
}

void trace_filter_did(struct stream *s, size_t stage, const char *what)
{
    struct filter_line *f = line_of(s, stage);

    if (!f->did[0])                                    /* the first word is the reason */
        snprintf(f->did, sizeof f->did, "%s", what);
}

void trace_filter_judged(struct stream *s, const struct verdict *v)
{
    char word[DID_MAX];

    put_verdict(v, word);
    trace_filter_did(s, s->stage, word);
}

/* ---- telling */

static void filter_text(const struct stream *s, size_t i, struct line *line)
{
    const struct filter_line *f = &s->trace->filters[i];
    int n;

    *line = (struct line){ .at = f->at, .who = s->route->policies[s->route->filters[i].policy].name, .called = f->calls > 0, .cpu_ns = f->cpu_ns,
                           .waited = f->waited_ms > 0, .waited_ms = f->waited_ms, .what = "filter" };
    n = snprintf(line->did, sizeof line->did, "in %zu, out %zu, held %zu at most", f->in, f->out, f->held);
    if (f->calls)
        n += snprintf(line->did + n, sizeof line->did - (size_t)n, "; %llu call%s", (unsigned long long)f->calls, f->calls == 1 ? "" : "s");
    if (f->matches)
        n += snprintf(line->did + n, sizeof line->did - (size_t)n, "; %llu match%s", (unsigned long long)f->matches, f->matches == 1 ? "" : "es");
    if (f->did[0] && n < DID_MAX)
        snprintf(line->did + n, sizeof line->did - (size_t)n, "; %.*s", DID_MAX / 3, f->did);
}

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void put_safe(struct buf *out, const char *text)
{
    struct buf clean = BUF_EMPTY;

    buf_puts(&clean, text);
    secret_scrub(&clean);
    log_escape(out, clean.data ? clean.data : "", clean.len, LOG_TEXT);
    buf_free(&clean);
}

static void put_line(const struct stream *s, const struct line *l, struct buf *out)
{
    char cpu[24] = "", waited[24] = "";

    if (l->called)
        snprintf(cpu, sizeof cpu, "%llu us", (unsigned long long)(l->cpu_ns / 1000));
    if (l->waited)
        snprintf(waited, sizeof waited, "%llu ms", (unsigned long long)l->waited_ms);
    buf_printf(out, "%6llu ms  %-9s  %-16s  %9s  %9s  ", (unsigned long long)(l->at > s->began ? l->at - s->began : 0), l->what, l->who ? l->who : "", cpu, waited);
    put_safe(out, l->did);
    buf_putc(out, '\n');
}

static void put_absent(const struct stream *s, struct buf *out)
{
    for (size_t i = 0; i < s->route->n_policies; i++) {
        bool off = s->exchange.off & 1ull << i, tripped = s->tripped & 1ull << i;

        if (off || tripped)
            buf_printf(out, "           %-9s  %-16s  %9s  %9s  %s\n", "policy", s->route->policies[i].name, "", "",
                       off ? "takes no part (only_if)" : "is not run: it kept failing");
    }
}

static void put_end(const struct stream *s, struct buf *out)
{
    struct buf monitor = BUF_EMPTY;

    buf_printf(out, "%6llu ms  end        ", (unsigned long long)(s->closed_at - s->began));
    put_safe(out, stream_end_word(s));
    if (s->finish)
        buf_puts(out, " "), put_safe(out, s->finish);
    if (s->by_policy)
        buf_printf(out, " by %s.%s", s->by_policy, s->by_hook);
    buf_printf(out, ": status %d, %llu pieces came, %llu bytes sent", s->status ? s->status : 499, (unsigned long long)s->tokens, (unsigned long long)s->bytes_sent);
    if (s->first_sent)
        buf_printf(out, ", the first text after %llu ms", (unsigned long long)(s->first_sent - s->began));
    shadows_tell(s, &monitor);
    if (monitor.len)
        buf_puts(out, "; monitor "), put_safe(out, buf_cstr(&monitor));
    buf_free(&monitor);
    buf_putc(out, '\n');
}

void stream_trace(struct stream *s, const char *key, struct buf *out)
{
    struct trace *t = s->trace;

    for (size_t i = 0; i < s->route->n_filters; i++)
        if (t->filters[i].seen) {
            struct line line;

            filter_text(s, i, &line);
            note(t, &line);
        }
    if (t->n)
        qsort(t->lines, t->n, sizeof *t->lines, by_time);
    buf_printf(out, "exchange %s  route %s  generation %u", s->id, s->route->name, s->generation);
    if (key)
        buf_puts(out, "  key "), put_safe(out, key);
    buf_printf(out, "\n%9s  %-9s  %-16s  %9s  %9s  %s\n", "at", "what", "whose", "cpu", "waited", "did");
    put_absent(s, out);
    for (size_t i = 0; i < t->n; i++)
        put_line(s, &t->lines[i], out);
    if (t->left_out)
        buf_printf(out, "           (%zu more left out)\n", t->left_out);
    put_end(s, out);
}
