/* An answer for a client that does not stream: its text and tool calls are gathered, in their order, and become one document at the end. Until then
 * nothing was sent, so a failure has its own status and another model may still be tried.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream/inside.h"

#define WHOLE_MAX ((size_t)16 << 20)                   /* bytes of text and arguments */

static struct gathered *add(struct stream *s, unsigned choice, enum channel channel)
{
    struct gathered *g;

    s->gathered = mem_resize(s->gathered, (s->n_gathered + 1) * sizeof *s->gathered);
    g = &s->gathered[s->n_gathered++];
    *g = (struct gathered){ .choice = choice, .channel = channel };
    return g;
}

/* The block of that channel that its choice is in; NULL: it is in another, or in none. */
static struct gathered *current(struct stream *s, unsigned choice, enum channel channel)
{
    for (size_t i = s->n_gathered; i-- > 0;)
        if (s->gathered[i].choice == choice)
            return s->gathered[i].channel == channel && !s->gathered[i].over ? &s->gathered[i] : NULL;
    return NULL;
}

static struct gathered *block(struct stream *s, unsigned choice, enum channel channel)
{
    struct gathered *g = current(s, choice, channel);

    return g ? g : add(s, choice, channel);
}

static bool has_room(struct stream *s, size_t len)
{
    s->gathered_bytes += len;
    if (s->gathered_bytes <= WHOLE_MAX)
        return true;
    stream_fail(s, REASON_EVENT_TOO_LARGE);
    return false;
}

void whole_text(struct stream *s, const struct said *said)
{
    struct gathered *g;

    if (!has_room(s, said->len + (said->logprobs ? said->logprobs->len : 0)))
        return;
    g = block(s, said->choice, said->channel);
    buf_append(&g->text, said->text, said->len);
    if (said->logprobs && g->logprobs.len)
        buf_putc(&g->logprobs, ',');
    if (said->logprobs)
        buf_append(&g->logprobs, said->logprobs->data, said->logprobs->len);
}

void whole_block_end(struct stream *s, const struct said *said, const struct buf *signature)
{
    struct gathered *g = signature->len ? block(s, said->choice, said->channel) : current(s, said->choice, said->channel);

    if (!g || !has_room(s, signature->len))
        return;
    buf_append(&g->signature, signature->data, signature->len);
    g->over = true;
}

void whole_tool(struct stream *s, const struct front_call *call)
{
    struct gathered *g;

    if (!has_room(s, call->arguments->len + call->name->len + call->id->len + call->signature->len))
        return;
    g = add(s, call->choice, CHANNEL_TOOL_ARGS);
    buf_append(&g->text, call->arguments->data, call->arguments->len);
    buf_append(&g->name, call->name->data, call->name->len);
    buf_append(&g->id, call->id->data, call->id->len);
    buf_append(&g->signature, call->signature->data, call->signature->len);
}

const char *choice_finish(const struct stream *s, unsigned choice)
{
    const struct choice *c = &s->choices[choice];

    if (s->finish)
        return s->finish;
    if ((c->n_tools > 0 || c->called) && strcmp(c->finish, "stop") == 0)   /* some say it of an answer that calls tools, too */
        return "tool_calls";
    if (s->tools_wanted && !s->reply.on && c->n_tools == 0 && strcmp(c->finish, "tool_calls") == 0)   /* policies dropped them all: the client has nothing to answer */
        return "stop";
    return c->finish[0] ? c->finish : NULL;
}

struct front_end whole_end(const struct stream *s, struct ended choices[CHOICES_MAX])
{
    for (unsigned i = 0; i < s->n_choices; i++) {
        choices[i].finish = choice_finish(s, i) ? choice_finish(s, i) : "stop";
        choices[i].stop_sequence = s->finish ? NULL : s->choices[i].stop_sequence;
    }
    return (struct front_end){ .choices = choices, .n = s->n_choices, .usage = s->usage, .tokens = s->tokens,
                               .bytes = s->gathered_bytes + s->bytes_sent + s->out.len };
}

bool whole_send(struct stream *s)
{
    struct ended choices[CHOICES_MAX];
    struct front_end end = whole_end(s, choices);
    struct buf body = BUF_EMPTY;
    bool good = exchange_front_whole(&s->exchange, &end, s->gathered, s->n_gathered, &body) == 0;

    if (good)
        answer_document(s, &body);
    else
        stream_fail(s, REASON_INTERNAL);
    buf_free(&body);
    return good;
}

void whole_free(struct stream *s)
{
    for (size_t i = 0; i < s->n_gathered; i++) {
        buf_free(&s->gathered[i].text);
        buf_free(&s->gathered[i].logprobs);
        buf_free(&s->gathered[i].signature);
        buf_free(&s->gathered[i].name);
        buf_free(&s->gathered[i].id);
    }
    free(s->gathered);
    s->gathered = NULL;
    s->n_gathered = s->gathered_bytes = 0;
}
