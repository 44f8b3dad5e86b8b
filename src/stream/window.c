/* The pre-release window of a route (prerelease = { chars =, time = }): the beginning of an answer is told, as ever, but stays here. Until it leaves, nothing
 * but comments was sent: a model that dies is replaced unseen, and a policy's refusal has its own status.
 *
 *     first text told -> window_begin: the clock of `time`; each text -> window_told: `chars`; the answer's end -> window_release
 *     the try fails, or the answer is refused -> window_drop
 */
#include "stream/inside.h"

#define HELD_MAX (256 * 1024)                          /* bytes; an answer that is larger leaves, whatever the window says */

static bool has_window(const struct stream *s) { return s->streams && (s->route->prerelease.chars || s->route->prerelease.ms); }

bool window_holds(const struct stream *s) { return !s->released && has_window(s); }

void window_begin(struct stream *s)
{
    if (s->route->prerelease.ms)
        stream_clock(s, CLOCK_WINDOW, s->route->prerelease.ms);
}

void window_told(struct stream *s, size_t chars)
{
    size_t most = s->route->prerelease.chars;

    if (!window_holds(s))
        return;
    s->window_chars += chars;
    if ((most && s->window_chars >= most) || s->out.len >= HELD_MAX)
        window_release(s);
}

void window_release(struct stream *s)
{
    if (!window_holds(s))
        return;
    s->released = true;
    s->due[CLOCK_WINDOW] = 0;
    answer_head(s);
    if (s->begun && !s->first_sent)
        s->first_sent = s->host->now(s->owner);
}

void window_drop(struct stream *s)
{
    if (!window_holds(s) || !s->begun)
        return;
    s->due[CLOCK_WINDOW] = 0;
    s->unreleased += s->window_chars;
    s->window_chars = 0;
    s->begun = false;
    s->sequence = 0;
    s->n_blocks = 0;
    buf_free(&s->out);
    metrics_add(s->metrics, METRIC_prerelease_drops, 1);
    exchange_front_again(&s->exchange);
}
