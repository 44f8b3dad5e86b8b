/* The one way to end, well or not: whatever runs is cancelled, the client is told if there is something to tell, then come the log hooks. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream/inside.h"

void stream_close(struct stream *s, enum reason why)
{
    if (s->state == LOGGING || s->state == CLOSED)
        return;
    answer_flush(s);
    if (s->trace)
        trace_dropped(s);
    services_drop(s, NULL);
    beside_close(s);
    s->checks_awaited = s->checks_ready = false;
    call_cancel(&s->call);
    if (s->held & HELD_BY_POLICY)
        s->waited_ms += s->host->now(s->owner) - s->waiting_since;
    s->held = 0;
    s->sieving = false;
    if (why == REASON_DONE && s->upstream_open) {
        s->host->finish(s->owner, s->which);
        s->upstream_open = false;
    }
    source_stop(s);
    hedge_drop(s);
    exchange_release(&s->exchange);
    if (s->trace)
        trace_try_over(s, why);
    pick_leave(s, why);
    memset(s->due, 0, sizeof s->due);
    s->reason = why;
    if (s->shadow)
        shadow_closes(s, why);
    shadows_end(s, why == REASON_DONE || why == REASON_STOPPED);
    s->closed_at = s->host->now(s->owner);
    s->request = NULL;
    stream_move(s, LOGGING);
    hooks_log(s);
}

void stream_fail_with(struct stream *s, enum reason why, struct failure *f)
{
    assert(s->state != LOGGING && s->state != CLOSED);
    s->failed = true;
    f->headers_sent = s->head_sent;
    if (f->policy)
        stream_ended_by(s, f->policy, f->hook);
    if (!s->client_gone)
        answer_failure(s, f);
    free(s->code);
    s->code = f->code ? mem_string(f->code) : NULL;
    failure_free(f);
    stream_close(s, why);
}

void stream_fail(struct stream *s, enum reason why)
{
    const struct reason_text *text = reason_text(why);
    struct failure f = { .retry_after = -1 };

    failure_set(&f, text->status, text->code, text->sentence);
    f.kind = text->kind;
    f.upstream_status = s->upstream_status;
    if (why == REASON_REFUSED) {                       /* what it finds wrong is the client's to mend */
        failure_set(&f, s->upstream_status, text->code, s->said.message ? s->said.message : text->sentence);
        f.kind = text->kind;
        f.upstream_status = s->upstream_status;
        f.type = s->said.type ? mem_string(s->said.type) : NULL;
        failure_set_upstream(&f, s->said.code, s->said.param);
    }
    if (why == REASON_BAD_STATUS && s->upstream_status >= 500) {
        free(f.message);
        f.message = mem_string("The model service failed.");
    }
    if (why == REASON_RATE_LIMITED || why == REASON_BAD_STATUS || why == REASON_MODEL_BUSY || why == REASON_MODEL_DOWN)
        f.retry_after = s->retry_after;
    stream_fail_with(s, why, &f);
}

void stream_fail_of(struct stream *s, enum reason why, const char *policy, const char *hook)
{
    const struct reason_text *text = reason_text(why);
    struct failure f = { .retry_after = -1 };

    failure_set(&f, text->status, text->code, text->sentence);
    f.kind = text->kind;
    f.policy = policy;
    f.hook = hook;
    stream_fail_with(s, why, &f);
}

enum reason stream_reason_of(const struct call *c)
{
    static const enum reason reasons[] = {
        [CALL_RAISED] = REASON_POLICY_ERROR, [CALL_TIMEOUT] = REASON_POLICY_TIMEOUT, [CALL_MEMORY] = REASON_POLICY_MEMORY,
        [CALL_DEPENDENCY] = REASON_DEPENDENCY_FAILED,
    };
    return reasons[c->failure];
}

void stream_call_failed(struct stream *s, const char *policy, const char *hook)
{
    enum reason why = stream_reason_of(&s->call);

    call_finish(&s->call);
    stream_fail_of(s, why, policy, hook);
}
