/* Logprobs: what a model says of the tokens of its text, { token, logprob, bytes, top_logprobs } each, as OpenAI's chat completions have them. They go beside
 * the text and leave with it, never before: what a check holds back is not told by its tokens. A filter that changes text would be undone by them, so a
 * request for both is refused before a model is asked (`logprobs_changed_by`).
 *
 *     event -> logprobs_add: waits for the end of the text that came with it -> logprobs_leave, when that text leaves -> answer.c
 *
 * Where nobody looks at any text or call, tokens leave as they came. Else they are held to the text: an event may tell tokens of what its server still holds
 * back, or makes a call or a thought of, and no check has seen that. Each token then stands for as many bytes of text as it has, behind those before it and
 * behind the text that came before it, and leaves with the last of these; what stands for no text as its block ends, or was stopped, is not told.
 *
 * Every number of a token is the model's own text; a token is made valid UTF-8, as all text is.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream/inside.h"
#include "wire/json.h"

#define WAITING_MAX ((size_t)8 << 20)                  /* bytes of one stream that wait for their text */

struct batch {                                         /* the tokens of one event */
    size_t text_end;                                   /* so much text must have left; 0: it goes with the next */
    size_t end;                                        /* in `waiting` */
};

struct row {                                           /* of one channel */
    size_t came, left;                                 /* bytes of its text */
    size_t told_for;                                   /* so much of it its tokens stand for */
    bool fresh;                                        /* some came with this event */
    struct buf waiting;                                /* items, a comma between two */
    struct batch *batches;
    size_t n;
};

struct logprobs {
    struct row content, refusal;
    struct buf leaving;
};

static struct row *row_of(struct stream *s, unsigned choice, enum channel channel)
{
    struct choice *c = &s->choices[choice];

    if (!s->logprobs || (channel != CHANNEL_CONTENT && channel != CHANNEL_REFUSAL))
        return NULL;
    if (!c->logprobs)
        c->logprobs = mem_alloc(sizeof *c->logprobs);
    return channel == CHANNEL_CONTENT ? &c->logprobs->content : &c->logprobs->refusal;
}

/* ---- one token */

struct item {                                          /* kind JSON_ERROR: it was not there */
    struct json_token token, logprob, bytes, top;
};

/* The reader stands behind its '{', in JSON that was found valid. */
static void read_item(struct json_reader *r, struct item *ret)
{
    static const struct { const char *name; size_t at; } members[] = {
        { "token", offsetof(struct item, token) }, { "logprob", offsetof(struct item, logprob) },
        { "bytes", offsetof(struct item, bytes) }, { "top_logprobs", offsetof(struct item, top) },
    };
    struct json_token key, value;

    memset(ret, 0, sizeof *ret);
    while (json_next(r, &key) == JSON_KEY) {
        json_next(r, &value);
        if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY) {
            value.bytes = r->pos - 1;
            json_skip(r, &value);
            value.len = (size_t)(r->pos - value.bytes);
        }
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            if (json_key_is(&key, members[i].name))
                memcpy((char *)ret + members[i].at, &value, sizeof value);
    }
}

static void read_token(struct buf *ret, const struct json_token *t)
{
    struct utf8_mender mender = { { 0 }, 0 };
    struct buf plain = BUF_EMPTY;

    json_unescape(&plain, t->bytes, t->len);
    utf8_mend(&mender, ret, plain.data, plain.len);
    utf8_mend_end(&mender, ret);
    buf_free(&plain);
}

static void put_numbers(struct buf *out, const struct json_token *list)
{
    struct json_reader r;
    struct json_token t;
    const char *before = "[";

    json_open(&r, list->bytes, list->len);
    json_next(&r, &t);
    while (json_next(&r, &t) == JSON_NUMBER) {
        buf_puts(out, before);
        buf_append(out, t.bytes, t.len);
        before = ",";
    }
    buf_puts(out, *before == '[' ? "[]" : "]");
}

/* Half a character is a token of its own with some models, and then no text says what its bytes were. */
static bool is_whole(const struct buf *token)
{
    static const char replacement[] = "\xEF\xBF\xBD";

    for (size_t i = 0; i + 3 <= token->len; i++)
        if (memcmp(token->data + i, replacement, 3) == 0)
            return false;
    return true;
}

static void put_bytes(struct buf *out, const struct json_token *bytes, const struct buf *token)
{
    if (bytes->kind == JSON_ARRAY) {
        put_numbers(out, bytes);
    } else if (bytes->kind == JSON_NULL || !is_whole(token)) {
        buf_puts(out, "null");
    } else {
        for (size_t i = 0; i < token->len; i++)
            buf_printf(out, "%c%u", i ? ',' : '[', (unsigned char)token->data[i]);
        buf_puts(out, token->len ? "]" : "[]");
    }
}

/* The token stands in a buffer that ends behind the number with another character. */
static bool is_finite(const struct json_token *number) { return isfinite(strtod(number->bytes, NULL)); }

/* Returns whether it was one: a text and a number. */
static bool put_item(struct buf *out, const struct item *e, bool first)
{
    struct buf token = BUF_EMPTY;

    if (e->token.kind != JSON_STRING || e->logprob.kind != JSON_NUMBER || !is_finite(&e->logprob))
        return false;
    read_token(&token, &e->token);
    buf_puts(out, first ? "{\"token\":" : ",{\"token\":");
    json_put_string(out, token.data ? token.data : "", token.len);
    buf_puts(out, ",\"logprob\":");
    buf_append(out, e->logprob.bytes, e->logprob.len);
    buf_puts(out, ",\"bytes\":");
    put_bytes(out, &e->bytes, &token);
    buf_free(&token);
    return true;
}

static void put_top(struct buf *out, const struct json_token *list)
{
    struct json_reader r;
    struct json_token t;
    struct item e;
    bool first = true;

    json_open(&r, list->bytes, list->len);
    json_next(&r, &t);
    while (json_next(&r, &t) == JSON_OBJECT) {
        read_item(&r, &e);
        if (put_item(out, &e, first)) {
            buf_puts(out, "}");
            first = false;
        }
    }
}

/* ---- the queue */

static size_t count_numbers(const struct json_token *list)
{
    struct json_reader r;
    struct json_token t;
    size_t n = 0;

    json_open(&r, list->bytes, list->len);
    json_next(&r, &t);
    while (json_next(&r, &t) == JSON_NUMBER)
        n++;
    return n;
}

/* Bytes of text that it stands for. Half a character that tells no bytes, or tells them as "\\xf0\\x9f", is taken for one. */
static size_t bytes_of(const struct item *e)
{
    struct buf token = BUF_EMPTY;
    size_t n;

    if (e->bytes.kind == JSON_ARRAY)
        return count_numbers(&e->bytes);
    read_token(&token, &e->token);
    n = !is_whole(&token) || (token.len >= 4 && memmem(token.data, token.len, "\\x", 2)) ? 1 : token.len;
    buf_free(&token);
    return n;
}

/* Returns the bytes of text that its items stand for. */
static size_t put_list(struct buf *out, const char *list, size_t len)
{
    struct json_reader r;
    struct json_token t;
    struct item e;
    size_t n = 0;

    json_open(&r, list, len);
    json_next(&r, &t);
    while (json_next(&r, &t) == JSON_OBJECT) {
        read_item(&r, &e);
        if (!put_item(out, &e, out->len == 0))
            continue;
        buf_puts(out, ",\"top_logprobs\":[");
        if (e.top.kind == JSON_ARRAY)
            put_top(out, &e.top);
        buf_puts(out, "]}");
        n += bytes_of(&e);
    }
    return n;
}

/* Where a batch of so many bytes ends in its text. */
static size_t text_end(const struct stream *s, struct row *r, size_t bytes)
{
    if (!s->logprobs_held)
        return r->fresh ? r->came : 0;
    if (r->fresh)
        r->told_for = r->told_for + bytes > r->came ? r->told_for + bytes : r->came;
    else
        r->told_for = (r->told_for > r->came ? r->told_for : r->came) + bytes;
    return r->told_for;
}

int logprobs_add(struct stream *s, unsigned choice, enum channel channel, const char *list, size_t len)
{
    struct row *r = row_of(s, choice, channel);
    size_t before, bytes;

    if (!r)
        return 0;
    before = r->waiting.len;
    bytes = put_list(&r->waiting, list, len);
    if (r->waiting.len == before)
        return 0;
    r->batches = mem_resize(r->batches, (r->n + 1) * sizeof *r->batches);
    r->batches[r->n++] = (struct batch){ .text_end = text_end(s, r, bytes), .end = r->waiting.len };
    s->logprobs_waiting += r->waiting.len - before;
    return s->logprobs_waiting > WAITING_MAX ? -1 : 0;
}

void logprobs_event(struct stream *s)
{
    for (unsigned i = 0; s->logprobs && i < s->n_choices; i++)
        if (s->choices[i].logprobs)
            s->choices[i].logprobs->content.fresh = s->choices[i].logprobs->refusal.fresh = false;
}

void logprobs_text(struct stream *s, unsigned choice, enum channel channel, size_t len)
{
    struct row *r = row_of(s, choice, channel);

    if (!r)
        return;
    r->came += len;
    r->fresh = true;
}

/* The first `n` batches leave: their items to `to`. */
static void take(struct stream *s, struct row *r, size_t n, struct buf *to)
{
    size_t end = r->batches[n - 1].end, comma = end < r->waiting.len ? 1 : 0;

    s->logprobs_waiting -= end + comma;
    buf_append(to, r->waiting.data, end);
    buf_consume(&r->waiting, end + comma);
    r->n -= n;
    memmove(r->batches, r->batches + n, r->n * sizeof *r->batches);
    for (size_t i = 0; i < r->n; i++)
        r->batches[i].end -= end + comma;
}

static void forget(struct stream *s, struct row *r)
{
    s->logprobs_waiting -= r->waiting.len;
    r->waiting.len = 0;
    r->n = 0;
    r->told_for = r->came;
}

const struct buf *logprobs_leave(struct stream *s, const struct piece *p, size_t len)
{
    struct row *r = row_of(s, p->choice, p->channel);
    bool last = p->kind == PIECE_LAST;
    struct buf *leaving;
    size_t n = 0;

    if (!r || s->stop.kind == VERDICT_STOP)            /* then the words behind the text are the policy's, and the rest is withheld */
        return NULL;
    r->left += len;
    while (n < r->n && (r->batches[n].text_end ? r->batches[n].text_end <= r->left : len > 0 || last))
        n++;
    leaving = &s->choices[p->choice].logprobs->leaving;
    leaving->len = 0;
    if (n > 0)
        take(s, r, n, leaving);
    if (last)
        forget(s, r);
    return n > 0 ? leaving : NULL;
}

/* Tokens whose text has not come. */
static void forget_unsaid(struct stream *s, struct row *r)
{
    while (r->n > 0 && (r->batches[r->n - 1].text_end > r->came || r->batches[r->n - 1].text_end == 0)) {
        size_t from = --r->n > 0 ? r->batches[r->n - 1].end : 0;

        s->logprobs_waiting -= r->waiting.len - from;
        r->waiting.len = from;
    }
    r->told_for = r->came;
}

void logprobs_unsaid(struct stream *s)
{
    for (unsigned i = 0; s->logprobs && i < s->n_choices; i++) {
        if (!s->choices[i].logprobs)
            continue;
        forget_unsaid(s, &s->choices[i].logprobs->content);
        forget_unsaid(s, &s->choices[i].logprobs->refusal);
    }
}

static void free_row(struct row *r)
{
    buf_free(&r->waiting);
    free(r->batches);
}

void logprobs_free(struct choice *c)
{
    if (!c->logprobs)
        return;
    free_row(&c->logprobs->content);
    free_row(&c->logprobs->refusal);
    buf_free(&c->logprobs->leaving);
    free(c->logprobs);
    c->logprobs = NULL;
}

/* ---- with filters */

bool logprobs_are_held(const struct stream *s)
{
    for (size_t i = 0; i < s->route->n_filters; i++)
        if (s->route->filters[i].kind != FILTER_SHADOW)
            return true;
    return s->route->n_hooks[HOOK_TOOL_CALL] > 0;
}

const char *logprobs_changed_by(const struct stream *s)
{
    for (size_t i = 0; i < s->route->n_filters; i++) {
        const struct filter *f = &s->route->filters[i];
        bool of_text = f->channels & (1u << CHANNEL_CONTENT | 1u << CHANNEL_REFUSAL);

        if (of_text && f->kind != FILTER_SHADOW && !f->judges && !f->keeps && !(s->exchange.off & 1ull << f->policy))
            return s->route->policies[f->policy].name;
    }
    return NULL;
}
