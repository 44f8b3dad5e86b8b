/* Fronts with functions: Lua is asked where a block of text begins and ends, for a tool call and at the end; the deltas between pass here, between the
 * bytes that the front gave for its block. "\1" in these bytes is the number of the event.
 */
#include <stdlib.h>
#include <string.h>

#include "stream/inside.h"
#include "wire/json.h"

static void begin(struct stream *s)
{
    if (answer_begin(s) && exchange_front_begin(&s->exchange, &s->sequence, &s->out) != 0)
        stream_fail(s, REASON_INTERNAL);
}

static void forget_block(struct choice *c)
{
    free(c->before);
    free(c->after);
    c->before = c->after = NULL;
    c->open = false;
}

void told_block_end(struct stream *s, unsigned choice)
{
    struct choice *c = &s->choices[choice];
    struct front_block b = { .choice = choice, .channel = c->told, .index = c->index, .text = s->front->gather ? &c->said : NULL };
    bool told = c->before != NULL;

    if (!c->open)
        return;
    forget_block(c);
    if (told && exchange_front_close(&s->exchange, &b, &s->sequence, &s->out) != 0)
        stream_fail(s, REASON_INTERNAL);
    buf_free(&c->said);
}

/* False: the stream has failed. */
static bool open_block(struct stream *s, unsigned choice, enum channel channel)
{
    struct choice *c = &s->choices[choice];
    struct front_block b = { .choice = choice, .channel = channel, .index = s->n_blocks };

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
    if (exchange_front_open(&s->exchange, &b, &s->sequence, &s->out, &c->before, &c->after) != 0) {
        stream_fail(s, REASON_INTERNAL);
        return false;
    }
    s->n_blocks += c->before != NULL;
    return true;
}

static void put_framing(struct stream *s, const char *bytes)
{
    const char *mark;

    while ((mark = strchr(bytes, '\1')) != NULL) {
        buf_append(&s->out, bytes, (size_t)(mark - bytes));
        buf_printf(&s->out, "%llu", (unsigned long long)s->sequence++);
        bytes = mark + 1;
    }
    buf_puts(&s->out, bytes);
}

void told_text(struct stream *s, unsigned choice, enum channel channel, const char *text, size_t len)
{
    if (!open_block(s, choice, channel) || !s->choices[choice].before)
        return;
    if (s->front->gather)
        buf_append(&s->choices[choice].said, text, len);
    put_framing(s, s->choices[choice].before);
    json_put_string(&s->out, text, len);
    put_framing(s, s->choices[choice].after);
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
    const char *words[CHOICES_MAX];
    struct front_end end;

    for (unsigned i = 0; i < s->n_choices && s->state < LOGGING; i++)
        told_block_end(s, i);
    if (s->state < LOGGING)
        begin(s);
    if (s->state >= LOGGING)
        return false;
    end = whole_end(s, words);
    if (exchange_front_finish(&s->exchange, &end, &s->sequence, &s->out) == 0)
        return true;
    stream_fail(s, REASON_INTERNAL);
    return false;
}
