/* What the client gets, in its front's dialect: the head, text as events, comments, one terminal error event or the end mark; or one document
 * (whole.c). A simple front says constants around each text; others are asked at the edges of blocks (told.c).
 *
 * The head waits for the first useful text (or heartbeat): until then a failure still has its own status. Events of one feed are
 * gathered in s->out and leave in one write (answer_flush).
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

static size_t own_headers(struct stream *s, struct header *h, size_t n)
{
    struct header more[HEADERS_MAX];
    size_t n_more = s->exchange_ok ? exchange_headers(&s->exchange, more, HEADERS_MAX) : 0, own;

    for (size_t i = 0; i < s->front->n_headers; i++)
        h[n++] = s->front->headers[i];
    if (s->front->request_id)
        h[n++] = (struct header){ s->front->request_id, s->id };
    own = n;

    for (size_t i = 0; i < n_more; i++) {
        size_t k = 0;
        while (k < own && strcasecmp(h[k].name, more[i].name) != 0)
            k++;
        if (k < own)
            h[k] = more[i];                            /* a policy's word instead of our default */
        else if (n < HEADERS_MAX)
            h[n++] = more[i];
    }
    return n;
}

void answer_head(struct stream *s)
{
    if (s->head_sent)
        return;
    struct header h[HEADERS_MAX] = {
        { "Content-Type", "text/event-stream; charset=utf-8" },
        { "Cache-Control", "no-cache" },
        { "X-Accel-Buffering", "no" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Request-Id", s->id },
    };
    size_t n = own_headers(s, h, 5);

    s->head_sent = true;
    s->status = 200;
    s->request = NULL;
    s->host->head(s->owner, 200, h, n);
    if (s->state != FLOW)
        stream_move(s, FLOW);
}

static void leave(struct stream *s, struct buf *bytes)
{
    s->bytes_sent += bytes->len;
    s->last_sent = s->host->now(s->owner);
    if (s->client_gone) {
        buf_free(bytes);
        return;
    }
    if (!s->host->write(s->owner, bytes) && (s->state == CONNECT || s->state == FLOW))
        stream_wait(s, HELD_BY_CLIENT);
}

void answer_flush(struct stream *s)
{
    if (s->out.len && !window_holds(s))
        leave(s, &s->out);
}

/* A Lua model that never sleeps must not pile up: leave for the client's sake as soon as this much is gathered. */
#define OUT_FLUSH (32 * 1024)

static void put_text(struct stream *s, const char *before, const char *after, const char *text, size_t len)
{
    buf_puts(&s->out, before);
    json_put_string(&s->out, text, len);
    buf_puts(&s->out, after);
}

/* Unless a window holds it back, the answer is this try's from here on. */
bool answer_begin(struct stream *s)
{
    bool first = !s->begun;

    s->begun = true;
    if (window_holds(s)) {
        if (first)
            window_begin(s);
        return first;
    }
    answer_head(s);
    if (!s->first_sent)
        s->first_sent = s->host->now(s->owner);
    return first;
}

/* The chars of it are in s->out. */
static void told(struct stream *s, size_t chars)
{
    window_told(s, chars);
    if (s->out.len >= OUT_FLUSH)
        answer_flush(s);
}

static void tell(struct stream *s, const struct said *said)
{
    const struct front *front = s->front;
    enum channel channel = said->channel;
    const char *text = said->text;
    size_t len = said->len;

    if (len == 0 && !said->logprobs)
        return;
    if (s->shadow) {                                   /* nobody hears it */
        shadow_said(s, text, len);
        return;
    }
    if (channel == CHANNEL_TOOL_ARGS) {                /* gathered for tool_whole */
        buf_append(&s->tool_args, text, len);
        return;
    }
    if (!s->streams) {
        whole_text(s, said);
        return;
    }
    if (!front->content_before) {
        told_text(s, said);
    } else if (len == 0) {
        return;
    } else if (channel == CHANNEL_REASONING && !front->reasoning_before) {
        return;                                        /* this front cannot tell it */
    } else {
        answer_begin(s);
        if (channel == CHANNEL_REASONING)
            put_text(s, front->reasoning_before, front->reasoning_after, text, len);
        else
            put_text(s, front->content_before, front->content_after, text, len);
    }
    told(s, utf8_count(text ? text : "", len));
}

void answer_text(struct stream *s, unsigned choice, enum channel channel, const char *text, size_t len)
{
    tell(s, &(struct said){ .choice = choice, .channel = channel, .text = text, .len = len });
}

/* A block of reasoning that policies changed is not what its model signed. */
static void sign(struct stream *s, const struct piece *p, const struct said *said)
{
    struct choice *c = &s->choices[p->choice];
    struct buf signature = BUF_EMPTY;

    c->left = print_of(c->left, said->text, said->len);
    if (p->kind != PIECE_LAST)
        return;
    if (c->left == p->print)
        buf_append(&signature, s->texts.data + p->signature, p->signature_len);
    if (!s->streams)
        whole_block_end(s, said, &signature);
    else if (signature.len && !s->front->content_before)
        told_signature(s, said, &signature);
    buf_free(&signature);
    c->left = 0;
}

void answer_piece(struct stream *s, const struct piece *p, const char *text, size_t len)
{
    struct said said = { .choice = p->choice, .channel = p->channel, .text = text, .len = len, .logprobs = s->logprobs ? logprobs_leave(s, p, len) : NULL };

    tell(s, &said);
    if (s->signs && p->channel == CHANNEL_REASONING && s->state < LOGGING)
        sign(s, p, &said);
    if (p->kind == PIECE_LAST && s->state < LOGGING && s->choices[p->choice].open && s->choices[p->choice].told == p->channel)
        told_block_end(s, p->choice);
}

static void put_tool(struct stream *s, const struct front_call *t)
{
    buf_puts(&s->out, s->front->tool_before);
    put_text(s, "{\"id\":", ",\"name\":", t->id->data ? t->id->data : "", t->id->len);
    json_put_string(&s->out, t->name->data ? t->name->data : "", t->name->len);
    put_text(s, ",\"arguments\":", "}", t->arguments->data ? t->arguments->data : "", t->arguments->len);
    buf_puts(&s->out, s->front->tool_after);
}

void answer_tool(struct stream *s, struct front_call *call)
{
    const struct buf *arguments = call->arguments;

    call->index = s->choices[call->choice].n_tools++;
    if (!s->streams) {
        whole_tool(s, call);
        return;
    }
    if (s->front->tool_before) {
        answer_begin(s);
        put_tool(s, call);
    } else if (s->front->tool_ref != LUA_NOREF) {
        told_tool(s, call);
    } else {
        return;                                        /* this front cannot tell it */
    }
    if (s->state < LOGGING)
        told(s, utf8_count(arguments->data ? arguments->data : "", arguments->len));
}

void answer_pass(struct stream *s, const char *bytes, const struct piece *p)
{
    if (s->document || (!p->useful && !s->begun)) {    /* answer_done sends a document; formalities wait for the first text */
        buf_append(&s->early, bytes, p->len);
        return;
    }
    answer_begin(s);
    buf_move(&s->out, &s->early);
    buf_append(&s->out, bytes, p->len);
    told(s, p->chars);
}

void answer_reset(struct stream *s)
{
    window_drop(s);
    answer_free(s);
    s->n_blocks = 0;
    s->sequence = 0;
}

void answer_free(struct stream *s)
{
    buf_free(&s->early);
    whole_free(s);
}

/* In its place among the events. */
void answer_comment(struct stream *s, const char *text)
{
    buf_puts(&s->out, ": ");
    buf_puts(&s->out, text);
    buf_puts(&s->out, "\n\n");
}

/* What a window holds stays. */
void answer_heartbeat(struct stream *s)
{
    struct buf beat = BUF_EMPTY;

    answer_head(s);
    buf_puts(&beat, ": keep-alive\n\n");
    leave(s, &beat);
}

/* ---- the end, when it is a good one */

static void end_simply(struct stream *s)
{
    const char *told = choice_finish(s, 0), *reason = told ? told : "stop";

    if (s->front->finish_before)
        put_text(s, s->front->finish_before, s->front->finish_after, reason, strlen(reason));
    buf_puts(&s->out, s->front->done);
}

static void end_passing(struct stream *s)
{
    answer_begin(s);
    buf_move(&s->out, &s->early);
    if (*s->model->dialect->done) {
        buf_puts(&s->out, "data: ");
        buf_puts(&s->out, s->model->dialect->done);
        buf_puts(&s->out, "\n\n");
    }
}

void answer_document(struct stream *s, struct buf *body)
{
    struct header h[HEADERS_MAX] = {
        { "Content-Type", "application/json; charset=utf-8" }, { "Cache-Control", "no-store" }, { "X-Content-Type-Options", "nosniff" }, { "X-Request-Id", s->id },
    };
    size_t n = own_headers(s, h, 4);

    s->status = 200;
    s->first_sent = s->last_sent = s->host->now(s->owner);
    s->bytes_sent += body->len;
    s->request = NULL;
    s->host->reply(s->owner, 200, h, n, body);
}

/* The answer is over; false: telling it failed, and so did the stream. */
static bool end_well(struct stream *s)
{
    if (s->document) {
        answer_document(s, &s->early);
        return true;
    }
    if (!s->streams)
        return whole_send(s);
    if (s->pass)
        end_passing(s);
    else if (s->front->finish_ref == LUA_NOREF)
        end_simply(s);
    else if (!told_finish(s))
        return false;
    window_release(s);
    answer_head(s);
    answer_flush(s);
    s->host->end(s->owner);
    return true;
}

void answer_done(struct stream *s, enum reason why)
{
    if (s->state < LOGGING && (s->shadow || end_well(s)))
        stream_close(s, why);
}

bool answer_respond(struct stream *s)
{
    struct failure f = { .retry_after = -1 };
    struct buf body = BUF_EMPTY;

    if (s->front->respond_ref == LUA_NOREF || s->shadow)
        return false;
    if (exchange_front_respond(&s->exchange, &body, &f) != 0) {
        stream_fail_with(s, f.status < 500 ? REASON_REJECTED : REASON_INTERNAL, &f);
    } else {
        answer_document(s, &body);
        stream_close(s, REASON_REPLIED);
    }
    buf_free(&body);
    return true;
}

void answer_complete(struct stream *s)
{
    if (s->reply.on)
        stream_ended_by(s, s->route->policies[s->reply.policy].name, s->reply.hook);
    answer_done(s, s->reply.on ? REASON_REPLIED : REASON_DONE);
}

void answer_stop(struct stream *s, const struct verdict *v)
{
    s->pass = s->document = false;                     /* what ends here is ours */
    answer_text(s, 0, CHANNEL_CONTENT, v->text.data, v->text.len);
    answer_done(s, REASON_STOPPED);
}

void answer_head_only(struct stream *s)
{
    answer_head(s);
    s->host->end(s->owner);
}

void answer_options(struct stream *s)
{
    struct header h[HEADERS_MAX] = { { "Allow", s->front->methods }, { "X-Request-Id", s->id } };
    size_t n = own_headers(s, h, 2);
    struct buf body = BUF_EMPTY;

    s->status = 204;
    s->host->reply(s->owner, 204, h, n, &body);
}

/* A policy's own answer: in the route's dialect when it is a good one, plain otherwise (a preflight's 204, a redirect). */
void answer_reply(struct stream *s, const struct verdict *v)
{
    if ((v->status == 200 || s->head_sent) && !s->head_only) {   /* a status that was told stays */
        answer_text(s, 0, CHANNEL_CONTENT, v->text.data, v->text.len);
        answer_done(s, REASON_REPLIED);
        return;
    }
    struct header h[HEADERS_MAX] = { { "X-Request-Id", s->id } };
    size_t n = own_headers(s, h, 1);
    struct buf body = BUF_EMPTY;

    if (v->text.len)
        h[n < HEADERS_MAX ? n++ : n - 1] = (struct header){ "Content-Type", "text/plain; charset=utf-8" };
    buf_append(&body, v->text.data, v->text.len);
    s->status = v->status;
    s->host->reply(s->owner, v->status, h, n, &body);
    stream_close(s, REASON_REPLIED);
}

/* At once, by a program: not what is the same next time, nor what will not be over in a minute. */
static bool worth_retrying(const struct failure *f)
{
    bool passing = f->status == 408 || f->status == 425 || f->status == 429 || f->status >= 500;

    return passing && f->retry_after <= 60;
}

static void reply_failure(struct stream *s, const struct failure *f, struct buf *body)
{
    char retry[24];
    struct header h[HEADERS_MAX] = {
        { "Content-Type", "application/json; charset=utf-8" },
        { "Cache-Control", "no-store" },
        { "X-Sluice-Error", f->code },
        { "X-Request-Id", s->id },
        { "X-Should-Retry", worth_retrying(f) ? "true" : "false" },   /* as SDKs of OpenAI and Anthropic heed it */
    };
    size_t n = 5;

    if (f->retry_after >= 0) {
        snprintf(retry, sizeof retry, "%lld", (long long)f->retry_after);
        h[n++] = (struct header){ "Retry-After", retry };
    }
    n = own_headers(s, h, n);
    s->status = f->status;
    s->host->reply(s->owner, f->status, h, n, body);
}

void answer_failure(struct stream *s, struct failure *f)
{
    struct buf body = BUF_EMPTY;

    window_drop(s);
    s->released = true;                                /* the failure itself is not held */
    if (s->exchange_ok)
        exchange_shape_error(&s->exchange, f, trace_error_hook, s);
    if (s->head_sent) {
        exchange_front_fault(&s->exchange, f, &s->sequence, &s->out);
        answer_flush(s);
        s->host->end(s->owner);
        return;
    }
    exchange_error_body(&s->exchange, f, &body);
    reply_failure(s, f, &body);
    buf_free(&body);
}
