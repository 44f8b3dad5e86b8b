/* A model that dies behind text that was sent (on_death = "continue"): the next try is asked with the text so far as a last message of the assistant, and
 * what it says is appended to the same answer. The text is kept as models gave it, before the filters, which go on with what they hold as if nothing had
 * happened. Only text can be gone on with: reasoning and tool calls cannot be handed to another model half said.
 *
 *     text comes: continue_note -> attempt_failed: continue_possible, continue_prepare -> next_try: continue_begin -> source_start: continue_text -> its first text: continue_useful
 */
#include <string.h>

#include "stream/inside.h"

#define CONTINUES_MAX 3                                  /* in one answer */
#define TEXT_MAX ((size_t)256 * 1024)                  /* bytes that are kept for it */

static bool is_wanted(const struct stream *s) { return s->route->continues && s->streams && !s->shadow; }

/* A pool can when each of its members can. */
static bool goes_on(const struct model *m)
{
    for (unsigned i = 0; m->pool && i < m->pool->n; i++)
        if (!m->pool->members[i]->prefill)
            return false;
    return m->pool || m->prefill;
}

bool continue_possible(const struct stream *s, size_t *at)
{
    if (!is_wanted(s) || !s->text_alone || s->n_choices > 1 || s->finish_seen || s->continued == CONTINUES_MAX || s->sieving || s->piece_at < s->n_pieces)
        return false;
    for (*at = s->plan_at + 1; *at < s->n_plan; (*at)++)
        if (goes_on(s->plan[*at]))
            return true;
    *at = s->plan_at;                                  /* none is left: once more the same */
    return s->model->prefill;
}

void continue_prepare(struct stream *s)
{
    s->trying = false;
    s->tokens_before = s->tokens;
    source_renew(s);
}

void continue_begin(struct stream *s)
{
    size_t end = s->so_far.len;

    while (end > 0 && strchr(" \t\r\n", s->so_far.data[end - 1]))
        end--;
    s->trimmed.len = 0;
    buf_append(&s->trimmed, s->so_far.data + end, s->so_far.len - end);
    s->continuing = true;
    s->continued++;
    metrics_add(s->metrics, METRIC_upstream_continues, 1);
}

/* White space at the end is refused by some and misleads the others. */
bool continue_text(const struct stream *s, struct buf *view)
{
    *view = s->so_far;
    if (s->continued)
        view->len -= s->trimmed.len;
    return s->continued && view->len > 0;
}

/* What the model says again of the white space that it was not shown was sent already. */
static void skip_trimmed(struct stream *s, size_t *off)
{
    size_t n = 0;

    while (n < s->trimmed.len && *off < s->texts.len && s->texts.data[*off] == s->trimmed.data[n]) {
        n++;
        (*off)++;
    }
    if (*off < s->texts.len)
        s->trimmed.len = 0;
    else
        buf_consume(&s->trimmed, n);
}

void continue_note(struct stream *s, enum channel c, size_t *off)
{
    if (!is_wanted(s))
        return;
    if (c != CHANNEL_CONTENT) {
        continue_not(s);
        return;
    }
    if (s->trimmed.len)
        skip_trimmed(s, off);
    if (s->so_far.len == 0 && !s->useful)
        s->text_alone = true;
    if (s->text_alone && s->so_far.len + s->texts.len - *off > TEXT_MAX)
        continue_not(s);
    if (s->text_alone)
        buf_append(&s->so_far, s->texts.data + *off, s->texts.len - *off);
}

void continue_not(struct stream *s)
{
    s->text_alone = false;
    buf_free(&s->so_far);
}

void continue_useful(struct stream *s)
{
    if (!s->continuing)
        return;
    s->continuing = false;
    answer_comment(s, "continued");
}
