/* What one event of an upstream means. Hot events are read by the places that their dialect declares, in one pass and without a tree; a rare one is given
 * to the dialect's Lua, which says what it means in steps. Both make pieces.
 *
 *     event_read -> pieces                                        text, the end of a block, the end
 *     event_read (rare) -> s->ops -> event_step, event_step ...    a step at a time, since tool calls before a text must leave first
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

/* ---- places */

struct found {
    const struct event_kind *kind;
    struct json_place_found at[PLACES_MAX];
};

static const struct json_token *token(const struct found *f, enum place p)
{
    static const struct json_token none = { .kind = JSON_ERROR };
    unsigned at = f->kind->at[p];

    return at ? &f->at[at - 1].token : &none;
}

static bool is_there(const struct json_token *t) { return t->kind != JSON_ERROR && t->kind != JSON_NULL; }

/* Some send an empty list beside each text. */
static bool has_items(const struct json_token *t)
{
    size_t at = 1;

    if (t->kind != JSON_ARRAY)
        return is_there(t);
    while (at < t->len && strchr(" \t\r\n", t->bytes[at]))
        at++;
    return at < t->len && t->bytes[at] != ']';
}

static bool has_text(const struct json_token *t) { return t->kind == JSON_STRING && t->len > 0; }

/* NULL: a kind that says nothing to us. */
static const struct event_kind *kind_of(const struct dialect *d, const struct json_place_found *at)
{
    const struct json_token *t;

    if (!d->kind_at)
        return &d->kinds[0];
    t = &at[d->kind_at - 1].token;
    for (size_t i = 0; t->kind == JSON_STRING && i < d->n_kinds; i++)
        if (d->kinds[i].name_len == t->len && memcmp(d->kinds[i].name, t->bytes, t->len) == 0)
            return &d->kinds[i];
    return NULL;
}

static bool is_rare(const struct dialect *d, const struct found *f)
{
    if (f->kind->rare)
        return true;
    for (size_t i = 0; i < d->n_rare; i++)
        if (is_there(&f->at[d->rare_from + i].token))
            return true;
    return false;
}

static int64_t whole_number(const struct json_token *t, int64_t absent)
{
    if (t->kind == JSON_NUMBER && t->len == 1)         /* mostly */
        return *t->bytes - '0';
    return t->kind == JSON_NUMBER ? strtoll(t->bytes, NULL, 10) : absent;
}

#define TOKENS_MAX ((int64_t)1 << 53)                  /* sums of counts stay numbers */

static int64_t count_of(const struct json_token *t, int64_t absent)
{
    int64_t n = whole_number(t, absent);

    return n > TOKENS_MAX ? TOKENS_MAX : n;
}

/* Nobody asked for so many choices: what it says is nobody's. */
static bool is_known(const struct stream *s, int64_t choice) { return choice >= 0 && choice < s->n_choices; }

static void read_channel(struct stream *s, unsigned choice, enum channel c, const struct json_token *t)
{
    struct utf8_mender *mender = &s->choices[choice].mender[c];
    size_t off = s->texts.len;

    if (t->kind != JSON_STRING || (t->len == 0 && mender->n == 0))
        return;
    if (!t->escaped) {
        utf8_mend(mender, &s->texts, t->bytes, t->len);
    } else {
        struct buf plain = BUF_EMPTY;
        json_unescape(&plain, t->bytes, t->len);
        utf8_mend(mender, &s->texts, plain.data, plain.len);
        buf_free(&plain);
    }
    piece_text(s, choice, c, off);
}

/* False: too much of it waits. */
static bool read_logprobs(struct stream *s, unsigned choice, enum channel c, const struct json_token *t)
{
    return t->kind != JSON_ARRAY || logprobs_add(s, choice, c, t->bytes, t->len) == 0;
}

static void read_signature(struct stream *s, unsigned choice, const struct json_token *t)
{
    size_t off = s->texts.len;

    if (!s->signs || !has_text(t))
        return;
    json_unescape(&s->texts, t->bytes, t->len);
    if (utf8_valid(s->texts.data + off, s->texts.len - off))
        piece_signature(s, choice, off);
    else
        s->texts.len = off;
}

/* It is passed on: a word or nothing. The dialect's word becomes OpenAI's. */
static void set_finish(struct stream *s, unsigned choice, const char *bytes, size_t len)
{
    const struct dialect *d = s->reply.on ? NULL : s->model->dialect;   /* a reply says OpenAI's */
    char *to = s->choices[choice].finish;
    size_t word = 0, room = sizeof s->choices[choice].finish;

    s->finish_seen = true;
    while (word < len && (isalnum((unsigned char)bytes[word]) || bytes[word] == '_' || bytes[word] == '-'))
        word++;
    snprintf(to, room, "%.*s", word == len ? (int)word : 0, bytes);
    for (size_t i = 0; d && i < d->n_finish_words; i++)
        if (strlen(d->finish_words[2 * i]) == len && memcmp(d->finish_words[2 * i], bytes, len) == 0)
            snprintf(to, room, "%s", d->finish_words[2 * i + 1]);
}

static void read_usage(struct stream *s, const struct found *f)
{
    s->usage.input = count_of(token(f, PLACE_USAGE_IN), s->usage.input);
    s->usage.output = count_of(token(f, PLACE_USAGE_OUT), s->usage.output);
    s->usage.cached = count_of(token(f, PLACE_USAGE_CACHED), s->usage.cached);
    s->usage.reasoning = count_of(token(f, PLACE_USAGE_REASONING), s->usage.reasoning);
    s->usage.cache_written = count_of(token(f, PLACE_USAGE_CACHE_WRITTEN), s->usage.cache_written);
}

/* ---- an event whose bytes pass as they are */

/* What is in s->texts from `off` on goes on as it is, unless it is no UTF-8. */
static void pass_mended(struct stream *s, size_t off)
{
    struct utf8_mender mender = { { 0 }, 0 };
    struct buf mended = BUF_EMPTY;

    if (s->texts.len == off || utf8_valid(s->texts.data + off, s->texts.len - off))
        return;
    utf8_mend(&mender, &mended, s->texts.data + off, s->texts.len - off);
    utf8_mend_end(&mender, &mended);
    s->texts.len = off;
    buf_append(&s->texts, mended.data, mended.len);
    buf_free(&mended);
}

/* The name that the client knows stands in place of the upstream's; nothing else is touched. */
static void pass_named(struct stream *s, const char *data, size_t len, const struct json_token *model)
{
    const char *name = exchange_public_model(&s->exchange);

    if (!name || model->kind != JSON_STRING || (!model->escaped && strlen(name) == model->len && memcmp(name, model->bytes, model->len) == 0)) {
        buf_append(&s->texts, data, len);
        return;
    }
    buf_append(&s->texts, data, (size_t)(model->bytes - 1 - data));
    json_put_string(&s->texts, name, strlen(name));
    buf_append(&s->texts, model->bytes + model->len + 1, (size_t)(data + len - (model->bytes + model->len + 1)));
}

static bool is_usage_alone(const struct found *f)
{
    return is_there(token(f, PLACE_USAGE_IN)) && !is_there(token(f, PLACE_FINISH)) && token(f, PLACE_CONTENT)->kind == JSON_ERROR &&
           token(f, PLACE_TOOLS)->kind == JSON_ERROR && token(f, PLACE_CHOICE)->kind == JSON_ERROR;
}

/* chars: of text in it. */
static void pass_event(struct stream *s, const char *data, size_t len, const struct json_token *model, size_t chars)
{
    size_t off = s->texts.len;

    if (*s->event_name) {
        buf_puts(&s->texts, "event: ");
        buf_puts(&s->texts, s->event_name);
        buf_puts(&s->texts, "\n");
    }
    buf_puts(&s->texts, "data: ");
    pass_named(s, data, len, model);
    buf_puts(&s->texts, "\n\n");
    pass_mended(s, off);
    piece_add(s, PIECE_PASS, 0, CHANNEL_CONTENT, off, s->texts.len - off);
    s->pieces[s->n_pieces - 1].useful = s->useful;
    s->pieces[s->n_pieces - 1].chars = chars;
}

/* A line end within the data would end the event's line: such an event is none that passes. */
static bool may_pass(const char *data, size_t len) { return !memchr(data, '\n', len) && !memchr(data, '\r', len); }

/* Characters of a JSON string; an escape is one. */
static size_t count_chars(const struct json_token *t)
{
    size_t n = 0;

    for (size_t i = 0; t->kind == JSON_STRING && i < t->len; i++, n++) {
        if (t->bytes[i] == '\\')
            i += i + 1 < t->len && t->bytes[i + 1] == 'u' ? 5 : 1;
        while (i + 1 < t->len && ((unsigned char)t->bytes[i + 1] & 0xC0) == 0x80)
            i++;
    }
    return n;
}

static enum source_got read_passing(struct stream *s, const struct found *f, const char *data, size_t len, enum reason *why)
{
    bool text = has_text(token(f, PLACE_CONTENT)) || has_text(token(f, PLACE_REASONING)) || has_text(token(f, PLACE_REFUSAL));
    bool tool = has_items(token(f, PLACE_TOOLS)) || has_text(token(f, PLACE_TOOL_ARGUMENTS));
    int64_t choice = whole_number(token(f, PLACE_CHOICE), 0);

    if (!may_pass(data, len)) {
        *why = REASON_BAD_JSON;
        return SOURCE_FAILED;
    }
    if (text)
        piece_of_text(s);
    if (tool)
        piece_useful(s);
    if (token(f, PLACE_FINISH)->kind == JSON_STRING && is_known(s, choice))
        set_finish(s, (unsigned)choice, token(f, PLACE_FINISH)->bytes, token(f, PLACE_FINISH)->len);
    read_usage(s, f);
    if (!is_usage_alone(f) || s->usage_wanted)
        pass_event(s, data, len, token(f, PLACE_MODEL),
                   count_chars(token(f, PLACE_CONTENT)) + count_chars(token(f, PLACE_REASONING)) + count_chars(token(f, PLACE_REFUSAL)));
    return f->kind->ends || token(f, PLACE_DONE)->kind == JSON_TRUE ? pieces_complete(s) : SOURCE_PIECES;
}

/* ---- a rare event */

static void apply_usage(struct stream *s, const int64_t usage[5])
{
    int64_t *to[] = { &s->usage.input, &s->usage.output, &s->usage.cached, &s->usage.reasoning, &s->usage.cache_written };

    for (int i = 0; i < 5; i++)
        if (usage[i] >= 0)
            *to[i] = usage[i] > TOKENS_MAX ? TOKENS_MAX : usage[i];
}

/* What the model says of its own failure, for the log. */
static void note_error(struct stream *s, const struct event_op *op)
{
    if (op->text.len == 0)
        return;
    free(s->detail);
    s->detail = mem_copy(op->text.data, op->text.len);
}

/* False: it failed, *why. */
static bool apply(struct stream *s, const struct event_op *op, enum reason *why)
{
    unsigned choice = op->choice;
    size_t off = s->texts.len;

    if (!is_known(s, choice))
        return true;
    switch (op->kind) {
    case OP_TEXT:
        utf8_mend(&s->choices[choice].mender[op->channel], &s->texts, op->text.data, op->text.len);
        piece_text(s, choice, op->channel, off);
        return true;
    case OP_TOOL:
        piece_of_call(s);
        s->choices[choice].called = !s->tools_wanted;
        *why = REASON_EVENT_TOO_LARGE;
        return !s->tools_wanted || tools_add(s, op) == 0;
    case OP_FINISH:
        set_finish(s, choice, op->text.data ? op->text.data : "", op->text.len);
        if (op->name.len) {
            free(s->choices[choice].stop_sequence);
            s->choices[choice].stop_sequence = mem_copy(op->name.data, op->name.len);
        }
        s->tools_due = tools_waiting(s);
        return true;
    case OP_USAGE:
        apply_usage(s, op->usage);
        return true;
    case OP_ERROR:
        note_error(s, op);
        *why = REASON_UPSTREAM_ERROR;
        return false;
    case OP_LOGPROBS:
        *why = REASON_EVENT_TOO_LARGE;
        return logprobs_add(s, choice, op->channel, op->text.data, op->text.len) == 0;
    case OP_SIGNATURE:
        if (!s->signs)
            return true;
        if (op->text.len == 0) {
            if (s->choices[choice].in_block && s->choices[choice].block == CHANNEL_REASONING)
                piece_block_end(s, choice);
            return true;
        }
        buf_append(&s->texts, op->text.data, op->text.len);
        piece_signature(s, choice, off);
        return true;
    case OP_MODEL:
    case OP_DONE:
        return true;
    }
    return true;
}

enum source_got event_step(struct stream *s, enum reason *why)
{
    while (s->op_at < s->ops.n) {
        const struct event_op *op = &s->ops.ops[s->op_at];

        if (s->n_pieces + 3 > PIECES_MAX)
            return SOURCE_PIECES;
        if ((op->kind == OP_TEXT || (op->kind == OP_SIGNATURE && s->signs)) && tools_waiting(s)) {   /* the calls before it leave first */
            s->tools_due = true;
            return SOURCE_PIECES;
        }
        s->op_at++;
        bool ends = op->kind == OP_DONE;
        if (!apply(s, op, why))
            return SOURCE_FAILED;
        if (ends) {
            event_ops_free(&s->ops);
            s->op_at = 0;
            return pieces_complete(s);
        }
    }
    event_ops_free(&s->ops);
    s->op_at = 0;
    return s->ops_end ? pieces_complete(s) : SOURCE_PIECES;
}

static enum source_got read_rare(struct stream *s, const struct event_kind *kind, const char *data, size_t len, enum reason *why)
{
    s->ops_end = kind->ends;
    if (exchange_event(&s->exchange, s->model, data, len, &s->ops) != 0) {
        *why = REASON_BAD_JSON;
        return SOURCE_FAILED;
    }
    s->op_at = 0;
    return event_step(s, why);
}

/* Its bytes pass; what it means is only noted. */
static enum source_got read_passing_rare(struct stream *s, const struct found *f, const char *data, size_t len, enum reason *why)
{
    struct event_ops ops;
    size_t chars = 0;
    bool ends = f->kind->ends, good = may_pass(data, len);

    *why = REASON_BAD_JSON;
    if (!good || exchange_event(&s->exchange, s->model, data, len, &ops) != 0)
        return SOURCE_FAILED;
    for (size_t i = 0; i < ops.n && good; i++) {
        const struct event_op *op = &ops.ops[i];

        if (op->kind == OP_TEXT && op->text.len) {
            piece_of_text(s);
            chars += utf8_count(op->text.data, op->text.len);
        } else if (op->kind == OP_TOOL) {
            piece_useful(s);
        } else {
            good = apply(s, op, why);
        }
        ends = ends || op->kind == OP_DONE;
    }
    event_ops_free(&ops);
    if (!good)
        return SOURCE_FAILED;
    pass_event(s, data, len, token(f, PLACE_MODEL), chars);
    return ends ? pieces_complete(s) : SOURCE_PIECES;
}

/* ---- an event */

static bool is_done_mark(const struct stream *s, const char *data, size_t len)
{
    const char *mark = s->model->dialect->done;

    return *mark && len == strlen(mark) && memcmp(data, mark, len) == 0;
}

/* Else its logprobs are of thoughts or of a call, too, which policies of other channels judge. */
static bool is_text_alone(const struct found *f)
{
    return !has_text(token(f, PLACE_REASONING)) && !has_items(token(f, PLACE_TOOLS)) && !is_there(token(f, PLACE_TOOL_ARGUMENTS));
}

static enum source_got read_hot(struct stream *s, const struct found *f, enum reason *why)
{
    int64_t number = whole_number(token(f, PLACE_CHOICE), 0);
    unsigned choice = (unsigned)number;

    if (!is_known(s, number))
        return SOURCE_PIECES;
    if (has_items(token(f, PLACE_TOOLS)) || is_there(token(f, PLACE_TOOL_ARGUMENTS))) {
        piece_of_call(s);
        s->choices[choice].called = !s->tools_wanted;
        if (s->tools_wanted && (tools_read(s, choice, token(f, PLACE_TOOLS)) != 0 ||
                                tools_piece(s, choice, whole_number(token(f, PLACE_TOOL_INDEX), 0), token(f, PLACE_TOOL_ARGUMENTS)) != 0)) {
            *why = REASON_EVENT_TOO_LARGE;
            return SOURCE_FAILED;
        }
    }
    read_channel(s, choice, CHANNEL_REASONING, token(f, PLACE_REASONING));
    read_channel(s, choice, CHANNEL_CONTENT, token(f, PLACE_CONTENT));
    read_channel(s, choice, CHANNEL_REFUSAL, token(f, PLACE_REFUSAL));
    if (s->logprobs && is_text_alone(f) &&
        (!read_logprobs(s, choice, CHANNEL_CONTENT, token(f, PLACE_LOGPROBS)) || !read_logprobs(s, choice, CHANNEL_REFUSAL, token(f, PLACE_REFUSAL_LOGPROBS)))) {
        *why = REASON_EVENT_TOO_LARGE;
        return SOURCE_FAILED;
    }
    read_signature(s, choice, token(f, PLACE_SIGNATURE));
    if (token(f, PLACE_FINISH)->kind == JSON_STRING)
        set_finish(s, choice, token(f, PLACE_FINISH)->bytes, token(f, PLACE_FINISH)->len);
    if (s->finish_seen)
        s->tools_due = tools_waiting(s);
    read_usage(s, f);
    if (f->kind->ends || token(f, PLACE_DONE)->kind == JSON_TRUE)
        return pieces_complete(s);
    return SOURCE_PIECES;
}

enum source_got event_read(struct stream *s, const char *data, size_t len, enum reason *why)
{
    const struct dialect *d = s->model->dialect;
    struct found f;

    logprobs_event(s);
    if (len == 0)
        return SOURCE_PIECES;                          /* an event without data says nothing */
    if (is_done_mark(s, data, len))
        return pieces_complete(s);
    if (json_places_find(d->places, data, len, f.at) != 0) {
        *why = REASON_BAD_JSON;
        return SOURCE_FAILED;
    }
    f.kind = kind_of(d, f.at);
    if (!f.kind) {
        if (s->pass && may_pass(data, len))
            pass_event(s, data, len, &(struct json_token){ .kind = JSON_ERROR }, 0);
        return SOURCE_PIECES;
    }
    if (is_there(token(&f, PLACE_ERROR))) {
        *why = REASON_UPSTREAM_ERROR;
        return SOURCE_FAILED;
    }
    if (s->pass)
        return is_rare(d, &f) ? read_passing_rare(s, &f, data, len, why) : read_passing(s, &f, data, len, why);
    if (is_rare(d, &f))
        return read_rare(s, f.kind, data, len, why);
    if (tools_waiting(s) && (has_text(token(&f, PLACE_CONTENT)) || has_text(token(&f, PLACE_REASONING)) || has_text(token(&f, PLACE_REFUSAL)) ||
                             (s->signs && has_text(token(&f, PLACE_SIGNATURE))))) {
        buf_append(&s->deferred, data, len);           /* the calls before it leave first */
        s->tools_due = true;
        return SOURCE_PIECES;
    }
    return read_hot(s, &f, why);
}

/* ---- an event of a rival: only whether it has begun to answer */

static int peek_rare(struct stream *s, const struct model *m, const char *data, size_t len)
{
    struct event_ops ops;
    int got = 0;

    if (exchange_event(&s->exchange, m, data, len, &ops) != 0)
        return -1;
    for (size_t i = 0; i < ops.n && got == 0; i++)
        got = ops.ops[i].kind == OP_ERROR ? -1 : (ops.ops[i].kind == OP_TEXT && ops.ops[i].text.len) || ops.ops[i].kind == OP_TOOL;
    event_ops_free(&ops);
    return got;
}

int event_peek(struct stream *s, const struct model *m, const char *data, size_t len)
{
    const struct dialect *d = m->dialect;
    struct found f;

    if (len == 0 || (*d->done && len == strlen(d->done) && memcmp(data, d->done, len) == 0))
        return 0;
    if (json_places_find(d->places, data, len, f.at) != 0)
        return -1;
    f.kind = kind_of(d, f.at);
    if (!f.kind)
        return 0;
    if (is_there(token(&f, PLACE_ERROR)))
        return -1;
    if (is_rare(d, &f))
        return peek_rare(s, m, data, len);
    return has_text(token(&f, PLACE_CONTENT)) || has_text(token(&f, PLACE_REASONING)) || has_text(token(&f, PLACE_REFUSAL)) || has_items(token(&f, PLACE_TOOLS)) ||
           has_text(token(&f, PLACE_TOOL_ARGUMENTS));
}

/* ---- an answer that is one document */

enum source_got event_document(struct stream *s, enum reason *why)
{
    const struct dialect *d = s->model->dialect;
    const char *data = s->body.data ? s->body.data : "";
    struct event_kind whole = { .name = "" };
    struct found f = { .kind = &whole };

    pieces_begin(s);
    for (int p = 0; p < PLACE_COUNT; p++)
        whole.at[p] = (unsigned char)(p + 1);
    if (json_places_find(d->whole, data, s->body.len, f.at) != 0) {
        *why = REASON_BAD_JSON;
        return SOURCE_FAILED;
    }
    if (is_there(token(&f, PLACE_ERROR))) {
        *why = REASON_UPSTREAM_ERROR;
        return SOURCE_FAILED;
    }
    read_usage(s, &f);
    if (token(&f, PLACE_FINISH)->kind == JSON_STRING)
        set_finish(s, 0, token(&f, PLACE_FINISH)->bytes, token(&f, PLACE_FINISH)->len);
    piece_of_text(s);
    if (s->front->operation == OPERATION_EMBED && d->embed_answer_ref != LUA_NOREF) {
        if (exchange_embedded(&s->exchange, s->model, data, s->body.len, &s->texts) != 0) {
            *why = REASON_BAD_JSON;
            return SOURCE_FAILED;
        }
    } else {
        pass_named(s, data, s->body.len, token(&f, PLACE_MODEL));
        pass_mended(s, 0);
    }
    piece_add(s, PIECE_PASS, 0, CHANNEL_CONTENT, 0, s->texts.len);
    piece_add(s, PIECE_DONE, 0, CHANNEL_CONTENT, 0, 0);
    s->source_done = true;
    return SOURCE_PIECES;
}
