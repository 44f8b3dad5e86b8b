/* Pieces: what an event (or a Lua model) gave, on its way to the filters. s->texts holds their bytes; a piece is of one choice and channel, and where the
 * channel changes the block before it ends. What the try has given so far is noted here, too: the first text or tool call of all is when it begins to answer.
 */
#include "stream/inside.h"

void piece_add(struct stream *s, int kind, unsigned choice, enum channel c, size_t off, size_t len)
{
    s->pieces[s->n_pieces++] = (struct piece){ .kind = kind, .choice = (unsigned char)choice, .channel = c, .off = off, .len = len };
}

void pieces_begin(struct stream *s)
{
    s->n_pieces = s->piece_at = 0;
    s->texts.len = 0;
}

void piece_block_end(struct stream *s, unsigned choice)
{
    struct choice *c = &s->choices[choice];

    if (c->in_block)
        piece_add(s, PIECE_LAST, choice, c->block, 0, 0);
    c->in_block = false;
    c->came = 0;
}

/* A change of channel ends the block before it: what filters hold of that must leave first. */
static void enter_block(struct stream *s, unsigned choice, enum channel channel)
{
    struct choice *c = &s->choices[choice];

    if (c->in_block && c->block != channel)
        piece_block_end(s, choice);
    c->in_block = true;
    c->block = channel;
}

/* More than a formality came: the gap clock takes over from the first-token clock. */
void piece_useful(struct stream *s)
{
    s->due[CLOCK_FIRST_TOKEN] = s->due[CLOCK_HEDGE] = 0;
    if (!s->useful)
        pick_answers(s);
    s->useful = true;
    hedge_useful(s);
    continue_useful(s);
}

/* Of a tool call. */
void piece_of_call(struct stream *s)
{
    piece_useful(s);
    continue_not(s);
}

void piece_of_text(struct stream *s)
{
    if (!s->useful && s->trace)
        trace_first(s);
    piece_useful(s);
    s->tokens++;
    metrics_add(s->metrics, METRIC_tokens_total, 1);
}

void piece_text(struct stream *s, unsigned choice, enum channel c, size_t off)
{
    size_t len;

    if (off == s->texts.len)
        return;
    continue_note(s, c, &off);
    len = s->texts.len - off;
    if (len == 0)
        return;
    enter_block(s, choice, c);
    piece_add(s, PIECE_TEXT, choice, c, off, len);
    logprobs_text(s, choice, c, s->texts.data + off, len);
    if (s->signs && c == CHANNEL_REASONING)
        s->choices[choice].came = print_of(s->choices[choice].came, s->texts.data + off, len);
    piece_of_text(s);
}

uint64_t print_of(uint64_t so_far, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        so_far = so_far * 1099511628211u + (unsigned char)text[i] + 1;
    return so_far;
}

void piece_signature(struct stream *s, unsigned choice, size_t off)
{
    struct choice *c = &s->choices[choice];
    size_t len = s->texts.len - off;
    uint64_t print = c->came;

    if (c->in_block && c->block == CHANNEL_REASONING)
        c->in_block = false;
    else
        piece_block_end(s, choice);
    piece_add(s, PIECE_LAST, choice, CHANNEL_REASONING, 0, 0);
    s->pieces[s->n_pieces - 1].signature = off;
    s->pieces[s->n_pieces - 1].signature_len = len;
    s->pieces[s->n_pieces - 1].print = print;
    c->came = 0;
    piece_useful(s);
    continue_not(s);
}

static void end_choice(struct stream *s, unsigned choice)
{
    struct choice *c = &s->choices[choice];

    for (enum channel channel = 0; channel < CHANNEL_COUNT; channel++) {   /* half a character at the end of the text */
        size_t off = s->texts.len;

        if (c->mender[channel].n == 0)
            continue;
        utf8_mend_end(&c->mender[channel], &s->texts);
        enter_block(s, choice, channel);
        piece_add(s, PIECE_TEXT, choice, channel, off, s->texts.len - off);
        logprobs_text(s, choice, channel, s->texts.data + off, s->texts.len - off);
    }
    piece_block_end(s, choice);
}

enum source_got pieces_complete(struct stream *s)
{
    if (tools_waiting(s)) {                            /* they leave first: source_next comes back here */
        s->tools_due = s->ending = true;
        return SOURCE_PIECES;
    }
    s->ending = true;
    while (s->ended_choices < s->n_choices) {          /* a choice at a time: there is room for the pieces of one */
        if (s->n_pieces + 2 * CHANNEL_COUNT + 2 > PIECES_MAX)
            return SOURCE_PIECES;
        end_choice(s, s->ended_choices++);
    }
    if (s->usage.output >= 0)
        s->usage.output += (int64_t)s->tokens_before;  /* of a model that died, only its pieces are known */
    piece_add(s, PIECE_DONE, 0, CHANNEL_CONTENT, 0, 0);
    s->source_done = true;
    return SOURCE_PIECES;
}
