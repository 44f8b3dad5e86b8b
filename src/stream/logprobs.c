/* Logprobs: what a model says of the tokens of its text, { token, logprob, bytes, top_logprobs } each, as OpenAI's chat completions have them. They go beside
 * the text and leave with it, never before: what a check holds back is not told by its tokens. A filter that changes text would be undone by them, so a
 * request for both is refused before a model is asked (`logprobs_changed_by`).
 *
 *     event -> logprobs_text, logprobs_add: each token finds its place in the text -> logprobs_leave, when that text leaves -> answer.c
 *
 * Where nobody looks at any text or call, tokens leave with the text of their event, or with the next. Else an event may tell tokens of what its server still
 * holds back, or makes a call or a thought of, and no check has seen that: a token is told only where the text says the same, and with it. One that the text
 * goes on without is forgotten. What was stopped is not told.
 *
 * Every number of a token is the model's own text; a token is made valid UTF-8, as all text is.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream/inside.h"
#include "wire/json.h"

#define WAITING_MAX ((size_t)8 << 20)                  /* bytes of one stream that wait for their text */

struct token {
    struct buf json, bytes;                            /* bytes: that it stands for, where the text is compared */
    size_t seen;                                       /* so many of these the text has said */
    size_t text_end;                                   /* of the placed: when so much text has left */
};

struct row {                                           /* of one channel */
    size_t came, left;                                 /* bytes of its text */
    bool fresh;                                        /* some came with this event: */
    struct buf text;                                   /* that ... */
    size_t at;                                         /* ... up to here stands for tokens; where the text is compared */
    struct token *tokens;
    size_t n, n_placed;                                /* those that have their place come first */
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

/* ---- the bytes that a token stands for */

static void append_numbers(struct buf *ret, const struct json_token *list)
{
    struct json_reader r;
    struct json_token t;

    json_open(&r, list->bytes, list->len);
    json_next(&r, &t);
    while (json_next(&r, &t) == JSON_NUMBER)
        buf_putc(ret, (char)strtol(t.bytes, NULL, 10));
}

static int hex_of(char c) { return isdigit((unsigned char)c) ? c - '0' : (isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1); }

/* Half a character is told as "\xf0\x9f", some write "bytes:" before it. */
static void append_unescaped(struct buf *ret, const struct buf *token)
{
    size_t i = token->len > 6 && memcmp(token->data, "bytes:", 6) == 0 ? 6 : 0;

    while (i < token->len) {
        bool escape = i + 3 < token->len && token->data[i] == '\\' && token->data[i + 1] == 'x' && hex_of(token->data[i + 2]) >= 0 && hex_of(token->data[i + 3]) >= 0;

        buf_putc(ret, (char)(escape ? hex_of(token->data[i + 2]) * 16 + hex_of(token->data[i + 3]) : token->data[i]));
        i += escape ? 4 : 1;
    }
}

static bool is_escaped(const struct buf *token)
{
    return token->len >= 4 && (memcmp(token->data, "\\x", 2) == 0 || memcmp(token->data, "bytes:", token->len < 6 ? token->len : 6) == 0 ||
                               (token->len >= 5 && memcmp(token->data + 1, "\\x", 2) == 0));
}

static void read_bytes(struct buf *ret, const struct item *e)
{
    struct buf token = BUF_EMPTY;

    if (e->bytes.kind == JSON_ARRAY)
        append_numbers(ret, &e->bytes);
    if (ret->len > 0)
        return;
    read_token(&token, &e->token);
    if (is_escaped(&token))
        append_unescaped(ret, &token);
    else
        buf_append(ret, token.data, token.len);
    buf_free(&token);
}

/* ---- the queue */

static void free_token(struct stream *s, struct token *t)
{
    s->logprobs_waiting -= t->json.len;
    buf_free(&t->json);
    buf_free(&t->bytes);
}

static void drop(struct stream *s, struct row *r, size_t at)
{
    free_token(s, &r->tokens[at]);
    r->n--;
    memmove(r->tokens + at, r->tokens + at + 1, (r->n - at) * sizeof *r->tokens);
}

static void place(struct row *r, size_t text_end)
{
    r->tokens[r->n_placed++].text_end = text_end;
}

/* The tokens without a place and the text of this event that stands for none yet. */
static void compare(struct stream *s, struct row *r)
{
    while (r->n_placed < r->n) {
        struct token *t = &r->tokens[r->n_placed];
        size_t wants = t->bytes.len - t->seen, rest = r->text.len - r->at, n = wants < rest ? wants : rest;

        if (wants > 0 && rest == 0)
            return;
        if (n > 0 && memcmp(t->bytes.data + t->seen, r->text.data + r->at, n) != 0) {
            drop(s, r, r->n_placed);                   /* the text goes on without it */
            continue;
        }
        t->seen += n;
        r->at += n;
        if (t->seen == t->bytes.len)
            place(r, r->came - (r->text.len - r->at));
    }
}

static void add_token(struct stream *s, struct row *r, const struct item *e)
{
    struct token t = { .seen = 0 };

    if (!put_item(&t.json, e, true))
        return;
    buf_puts(&t.json, ",\"top_logprobs\":[");
    if (e->top.kind == JSON_ARRAY)
        put_top(&t.json, &e->top);
    buf_puts(&t.json, "]}");
    if (s->logprobs_held)
        read_bytes(&t.bytes, e);
    s->logprobs_waiting += t.json.len;
    if ((r->n & (r->n - 1)) == 0)                      /* room for twice as many at 1, 2, 4 ... */
        r->tokens = mem_resize(r->tokens, (r->n ? 2 * r->n : 1) * sizeof *r->tokens);
    r->tokens[r->n++] = t;
}

int logprobs_add(struct stream *s, unsigned choice, enum channel channel, const char *list, size_t len)
{
    struct row *r = row_of(s, choice, channel);
    struct json_reader reader;
    struct json_token t;
    struct item e;

    if (!r)
        return 0;
    json_open(&reader, list, len);
    json_next(&reader, &t);
    while (json_next(&reader, &t) == JSON_OBJECT) {
        read_item(&reader, &e);
        add_token(s, r, &e);
    }
    if (s->logprobs_held)
        compare(s, r);
    else
        while (r->fresh && r->n_placed < r->n)
            place(r, r->came);
    return s->logprobs_waiting > WAITING_MAX ? -1 : 0;
}

static void begin_event(struct row *r)
{
    r->fresh = false;
    r->text.len = r->at = 0;
}

void logprobs_event(struct stream *s)
{
    for (unsigned i = 0; s->logprobs && i < s->n_choices; i++) {
        if (!s->choices[i].logprobs)
            continue;
        begin_event(&s->choices[i].logprobs->content);
        begin_event(&s->choices[i].logprobs->refusal);
    }
}

void logprobs_text(struct stream *s, unsigned choice, enum channel channel, const char *text, size_t len)
{
    struct row *r = row_of(s, choice, channel);

    if (!r)
        return;
    r->came += len;
    r->fresh = true;
    if (!s->logprobs_held)
        return;
    buf_append(&r->text, text, len);
    compare(s, r);
}

const struct buf *logprobs_leave(struct stream *s, const struct piece *p, size_t len)
{
    struct row *r = row_of(s, p->choice, p->channel);
    struct buf *leaving;
    size_t n = 0;

    if (!r || s->stop.kind == VERDICT_STOP)            /* then the words behind the text are the policy's, and the rest is withheld */
        return NULL;
    r->left += len;
    while (n < r->n_placed && r->tokens[n].text_end <= r->left)
        n++;
    if (!s->logprobs_held && n == r->n_placed && (len > 0 || p->kind == PIECE_LAST))
        n = r->n_placed = r->n;                        /* those without a text of their own */
    if (n == 0)
        return NULL;
    leaving = &s->choices[p->choice].logprobs->leaving;
    leaving->len = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(leaving, ',');
        buf_append(leaving, r->tokens[i].json.data, r->tokens[i].json.len);
        free_token(s, &r->tokens[i]);
    }
    r->n -= n;
    r->n_placed -= n;
    memmove(r->tokens, r->tokens + n, r->n * sizeof *r->tokens);
    return leaving;
}

static void forget_unplaced(struct stream *s, struct row *r)
{
    while (r->n > r->n_placed)
        drop(s, r, r->n - 1);
}

void logprobs_renew(struct stream *s)
{
    for (unsigned i = 0; s->logprobs && i < s->n_choices; i++) {
        if (!s->choices[i].logprobs)
            continue;
        forget_unplaced(s, &s->choices[i].logprobs->content);
        forget_unplaced(s, &s->choices[i].logprobs->refusal);
    }
}

static void free_row(struct row *r)
{
    for (size_t i = 0; i < r->n; i++) {
        buf_free(&r->tokens[i].json);
        buf_free(&r->tokens[i].bytes);
    }
    free(r->tokens);
    buf_free(&r->text);
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
