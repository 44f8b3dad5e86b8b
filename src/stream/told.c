/* Fronts with functions: Lua is asked where a block of text begins and ends, for a tool call and at the end; the deltas between pass here, between the
 * bytes that the front gave for its block. "\1" in these bytes is the number of the event, "\2" the list of the delta's logprobs.
 */
#include <stdlib.h>
#include <string.h>

#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

static void begin(struct stream *s)
{
    if (answer_begin(s) && exchange_front_begin(&s->exchange, &s->usage, &s->sequence, &s->out) != 0)
        stream_fail(s, REASON_INTERNAL);
}

static void forget_block(struct choice *c)
{
    free(c->before);
    free(c->after);
    free(c->after_logprobs);
    c->before = c->after = c->after_logprobs = NULL;
    c->open = false;
}

static void end_block(struct stream *s, unsigned choice, const struct buf *signature)
{
    struct choice *c = &s->choices[choice];
    struct front_block b = { .choice = choice, .channel = c->told, .index = c->index, .signature = signature };
    bool told = c->before != NULL;

    if (!c->open)
        return;
    if (s->front->gather) {
        b.text = &c->said;
        b.logprobs = &c->said_logprobs;
    }
    forget_block(c);
    if (told && exchange_front_close(&s->exchange, &b, &s->sequence, &s->out) != 0)
        stream_fail(s, REASON_INTERNAL);
    buf_free(&c->said);
    buf_free(&c->said_logprobs);
    c->long_logprobs = false;
}

void told_block_end(struct stream *s, unsigned choice) { end_block(s, choice, NULL); }

/* signature: of a block that has no text. False: the stream has failed. */
static bool open_block(struct stream *s, unsigned choice, enum channel channel, const struct buf *signature)
{
    struct choice *c = &s->choices[choice];
    struct front_block b = { .choice = choice, .channel = channel, .index = s->n_blocks, .signature = signature };

    if (c->open && c->told == channel)
        return true;
    told_block_end(s, choice);
    if (s->state >= LOGGING)
        return false;
    begin(s);
    if (s->state >= LOGGING)
        return false;
    c->open = true;
    c->told = channel;
    c->index = b.index;
    if (exchange_front_open(&s->exchange, &b, &s->sequence, &s->out, &c->before, &c->after, &c->after_logprobs) != 0) {
        stream_fail(s, REASON_INTERNAL);
        return false;
    }
    s->n_blocks += c->before != NULL;
    return true;
}

static void put_framing(struct stream *s, const char *bytes, const struct buf *logprobs)
{
    const char *mark;

    while ((mark = strpbrk(bytes, "\1\2")) != NULL) {
        buf_append(&s->out, bytes, (size_t)(mark - bytes));
        if (*mark == '\1')
            buf_printf(&s->out, "%llu", (unsigned long long)s->sequence++);
        else if (logprobs)
            buf_append(&s->out, logprobs->data, logprobs->len);
        bytes = mark + 1;
    }
    buf_puts(&s->out, bytes);
}

/* As the front writes them: a list, or what its `logprobs` makes of one. False: the stream has failed. */
static bool shape_logprobs(struct stream *s, const struct said *said, struct buf *to)
{
    struct front_block b = { .choice = said->choice, .channel = said->channel, .index = s->choices[said->choice].index };

    buf_putc(to, '[');
    buf_append(to, said->logprobs->data, said->logprobs->len);
    buf_putc(to, ']');
    if (s->front->logprobs_ref == LUA_NOREF)
        return true;
    b.logprobs = to;
    if (exchange_front_logprobs(&s->exchange, &b, to) == 0)
        return true;
    stream_fail(s, REASON_INTERNAL);
    return false;
}

#define SAID_LOGPROBS_MAX ((size_t)1 << 20)            /* bytes of a block's that are said again as it ends; of more, none: the deltas have told them */

static void gather(struct choice *c, const struct said *said)
{
    buf_append(&c->said, said->text, said->len);
    c->long_logprobs = c->long_logprobs || (said->logprobs && c->said_logprobs.len + said->logprobs->len > SAID_LOGPROBS_MAX);
    if (c->long_logprobs)
        buf_free(&c->said_logprobs);
    if (!said->logprobs || c->long_logprobs)
        return;
    if (c->said_logprobs.len)
        buf_putc(&c->said_logprobs, ',');
    buf_append(&c->said_logprobs, said->logprobs->data, said->logprobs->len);
}

void told_text(struct stream *s, const struct said *said)
{
    struct choice *c = &s->choices[said->choice];
    struct buf list = BUF_EMPTY;
    bool with;

    if (!open_block(s, said->choice, said->channel, NULL) || !c->before)
        return;
    if (s->front->gather)
        gather(c, said);
    with = said->logprobs && c->after_logprobs;
    if (with ? shape_logprobs(s, said, &list) : said->len > 0) {
        put_framing(s, c->before, NULL);
        json_put_string(&s->out, said->text ? said->text : "", said->len);
        put_framing(s, with ? c->after_logprobs : c->after, &list);
    }
    buf_free(&list);
}

void told_signature(struct stream *s, const struct said *said, const struct buf *signature)
{
    if (open_block(s, said->choice, said->channel, signature))
        end_block(s, said->choice, signature);
}

void told_tool(struct stream *s, const struct front_call *call)
{
    told_block_end(s, call->choice);
    if (s->state < LOGGING)
        begin(s);
    if (s->state < LOGGING && exchange_front_tool(&s->exchange, call, &s->sequence, &s->out) != 0)
        stream_fail(s, REASON_INTERNAL);
    s->n_blocks++;
}

bool told_finish(struct stream *s)
{
    struct ended choices[CHOICES_MAX];
    struct front_end end;

    for (unsigned i = 0; i < s->n_choices && s->state < LOGGING; i++)
        told_block_end(s, i);
    if (s->state < LOGGING)
        begin(s);
    if (s->state >= LOGGING)
        return false;
    end = whole_end(s, choices);
    if (exchange_front_finish(&s->exchange, &end, &s->sequence, &s->out) == 0)
        return true;
    stream_fail(s, REASON_INTERNAL);
    return false;
}
