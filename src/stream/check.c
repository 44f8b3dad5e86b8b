/* Checks that run beside the text: filters with `optimistic` or with `parallel` > 1. sieve.c cuts the units and starts a check of each here.
 *
 * What a check judges is kept with it until the check and all before it are over (optimistic: it has left already, and nothing is kept). The stage then
 * collects what is over, in order. Whoever is over wakes the sieve when that waits at this stage; else the pump lets the stage collect between two pieces.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/utf8.h"

#define CHECK_WAIT_MS 2000                             /* one check, all its waits together; as a filter's call */

struct check {
    struct beside beside;
    size_t stage;
    lane_t lane;
    struct buf text;                                   /* what leaves when it is over */
    bool ready;                                        /* it may be collected: */
    enum reason failed;                                /* REASON_DONE: it did not fail */
    char *message;
    struct filter_result said;
};

static struct check *check_of(struct beside *b) { return list_of(b, struct check, beside); }
static const struct filter *filter_of(const struct stream *s, const struct check *c) { return &s->route->filters[c->stage]; }

static void end_check(struct stream *s, struct beside *b)
{
    struct check *c = check_of(b);

    beside_end(s, b);
    s->n_checks--;
    verdict_free(&c->said.verdict);
    buf_free(&c->text);
    free(c->message);
    free(c);
}

static void ready(struct stream *s, struct check *c)
{
    c->ready = true;
    s->checks_ready = true;
    sieve_checked(s, c->stage, c->lane);
}

static void took(struct stream *s, struct beside *b, enum call_state got)
{
    struct check *c = check_of(b);

    c->failed = REASON_DONE;
    if (s->trace)
        trace_filter_checked(s, c->stage, &b->call, b->began);
    if (got == CALL_FAILED) {
        c->failed = stream_reason_of(&b->call);
        c->message = mem_string(b->call.message ? b->call.message : "");
    } else {
        exchange_filter_result(&s->exchange, &b->call, c->stage, "", 0, &c->said);
    }
    call_finish(&b->call);
    ready(s, c);
}

static void late(struct stream *s, struct beside *b)
{
    struct check *c = check_of(b);

    if (s->trace)
        trace_filter_checked(s, c->stage, &b->call, b->began);
    call_cancel(&b->call);
    c->failed = REASON_POLICY_TIMEOUT;
    c->message = mem_string("a check waited longer than it may");
    ready(s, c);
}

static const struct beside_kind kind = { took, late, end_check };

void check_start(struct stream *s, lane_t lane, const char *text, size_t len, size_t own, bool last)
{
    struct check *c = mem_alloc(sizeof *c);

    c->stage = s->stage;
    c->lane = lane;
    if (!filter_of(s, c)->optimistic)
        buf_append(&c->text, text + len - own, own);
    s->n_checks++;
    beside_begin(s, &c->beside, &kind, CHECK_WAIT_MS);
    beside_started(s, &c->beside, exchange_filter(&s->exchange, &c->beside.call, s->stage, text, len, lane % CHANNEL_COUNT, last));
}

static bool is_here(const struct check *c, size_t stage, lane_t lane) { return c->stage == stage && c->lane == lane; }

static struct check *first_of(struct stream *s, size_t stage, lane_t lane)
{
    list_each(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->kind == &kind && is_here(check_of(b), stage, lane) && (check_of(b)->ready || !filter_of(s, check_of(b))->optimistic))
            return check_of(b);
    }
    return NULL;
}

enum check_got check_collect(struct stream *s, size_t stage, lane_t lane, struct buf *text, struct check_failure *failure, struct verdict *verdict)
{
    struct check *c;

    while ((c = first_of(s, stage, lane)) != NULL && c->ready) {
        enum check_got got = CHECK_PASSED;

        if (c->failed != REASON_DONE) {
            *failure = (struct check_failure){ c->failed, c->message };
            c->message = NULL;
            got = CHECK_FAILED;
        } else if (c->said.kind == FILTER_VERDICT) {
            *verdict = c->said.verdict;
            c->said.verdict = (struct verdict){ .kind = VERDICT_PASS };
            got = CHECK_JUDGED;
        }
        if (got == CHECK_JUDGED) {                     /* what it judged stays here */
            end_check(s, &c->beside);
            return got;
        }
        if (got == CHECK_PASSED && c->said.kind == FILTER_PASS)
            buf_append(text, c->text.data, c->text.len);
        else if (got == CHECK_FAILED)
            check_release(s, stage, lane, text);    /* should the stage be taken out: what all of them judged, as it was */
        if (got == CHECK_FAILED)
            return got;
        end_check(s, &c->beside);
    }
    return CHECK_PASSED;
}

void check_release(struct stream *s, size_t stage, lane_t lane, struct buf *text)
{
    list_each_safe(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->kind != &kind || !is_here(check_of(b), stage, lane))
            continue;
        buf_append(text, check_of(b)->text.data, check_of(b)->text.len);
        end_check(s, b);
    }
}

size_t check_count(const struct stream *s, size_t stage, lane_t lane, size_t *held)
{
    size_t n = 0;

    *held = 0;
    list_each(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->kind != &kind || !is_here(check_of(b), stage, lane))
            continue;
        n++;
        *held += check_of(b)->text.len;
    }
    return n;
}

size_t check_held(const struct stream *s, size_t stage, lane_t lane)
{
    size_t n = 0;

    list_each(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->kind == &kind && is_here(check_of(b), stage, lane) && check_of(b)->text.len)
            n += utf8_count(check_of(b)->text.data, check_of(b)->text.len);
    }
    return n;
}

bool check_find_ready(struct stream *s, size_t *stage, lane_t *lane)
{
    if (!s->checks_ready)
        return false;
    list_each(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);
        struct check *c = check_of(b);

        if (b->kind != &kind || first_of(s, c->stage, c->lane) != c || !c->ready)
            continue;
        *stage = c->stage;
        *lane = c->lane;
        return true;
    }
    s->checks_ready = false;
    return false;
}

void check_await(struct stream *s)
{
    s->checks_awaited = true;
    stream_wait(s, HELD_BY_POLICY);
}

void checks_close(struct stream *s)
{
    list_each_safe(it, &s->beside) {
        struct beside *b = list_of(it, struct beside, link);

        if (b->kind == &kind)
            end_check(s, b);
    }
    s->checks_ready = false;
}
