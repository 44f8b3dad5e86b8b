/* Pieces through the filters, from the model to the client. What a filter holds back lives here, in C, a struct held for each filter and channel. A filter
 * that waits stops the piece at that stage; the upstream is paused meanwhile.
 *
 *     piece -> sieve_text -> stage 0: its struct held takes the text; what it decides is appended to sieve_text -> stage 1 -> ... -> answer
 *
 * A stage is entered with the text that the stage before let go, and left with what it lets go itself. No filter on the channel: the text goes straight
 * to the answer. Text that was let go is final; a stop lets what stands before it pass the later filters first.
 */
#include <stdlib.h>

#include "stream/inside.h"

static bool is_skipped(const struct stream *s) { return s->skipped && s->skipped[s->stage]; }

/* What the filter moved to the reasoning channel passes the filters behind first. It is a block of its own, which ends where text of the answer follows. */
static void move_aside(struct stream *s, struct held *h, const struct piece *p)
{
    bool over = s->sieve_text.len > 0 || stage_is_last(s, p) || is_skipped(s);

    if (s->moved_text.len == 0 && !(h->moved && over))
        return;
    h->moved = !over;
    s->later.on = true;
    s->later.piece = s->piece;
    s->later.stage = s->stage;
    s->later.text = s->sieve_text;
    s->sieve_text = s->moved_text;
    s->moved_text = (struct buf)BUF_EMPTY;
    s->moved = (struct piece){ .kind = over ? PIECE_LAST : PIECE_TEXT, .channel = CHANNEL_REASONING, .choice = p->choice };
    s->piece = &s->moved;
}

/* Text that passes a stage must stay text: a byte-wise pattern or replacement may have broken a character. */
static enum pass leave(struct stream *s, struct held *h, const struct piece *p)
{
    size_t rest = h->scan.text.len - h->scan.at - h->ahead;

    s->flushing = false;
    if (s->trace)
        trace_filter_out(s, h, LANE(p->choice, p->channel));
    if (rest > s->held_max)
        s->held_max = rest;
    if (stage_filter(s)->kind == FILTER_RAW)
        move_aside(s, h, p);
    if (p->kind == PIECE_LAST) {
        h->asked = false;
        matcher_drop(h->match);
        h->match = NULL;
    }
    if (stage_filter(s)->kind == FILTER_RAW || utf8_valid(s->sieve_text.data ? s->sieve_text.data : "", s->sieve_text.len))
        return NEXT_STAGE;
    policy_failed(s, stage_filter(s)->policy, "filter", "what it let go is no valid UTF-8: it cuts or replaces parts of characters");
    stream_ended_by(s, s->route->policies[stage_filter(s)->policy].name, "filter");
    stream_fail(s, REASON_POLICY_ERROR);
    return OVER;
}

/* True: it passed them all. */
static bool pass_stages(struct stream *s)
{
    for (; s->stage < s->route->n_filters; s->stage++) {
        const struct piece *p = s->piece;

        if (!(stage_filter(s)->channels & 1u << p->channel) || is_skipped(s))
            continue;
        if (s->sieve_text.len == 0 && !stage_is_last(s, p))
            break;                                     /* the stage before dropped or held it all */
        if (stage_filter(s)->kind == FILTER_SHADOW) {
            shadow_text(s, (size_t)stage_filter(s)->shadow, p, s->sieve_text.data, s->sieve_text.len, stage_is_last(s, p));
            continue;
        }
        enum policy_turn turn = policy_turn(s, stage_filter(s)->policy, FILTER_OPEN, "filter");
        if (turn == POLICY_REFUSES)
            return false;
        if (turn == POLICY_PASSES)
            continue;
        struct held *h = stage_held(s, p);
        if (s->trace)
            trace_filter_in(s);
        if (stage_enter(s, p, h) == OVER || leave(s, h, p) == OVER)
            return false;
    }
    answer_piece(s, s->piece, s->sieve_text.data, s->sieve_text.len);
    buf_consume(&s->sieve_text, s->sieve_text.len);
    return true;
}

static void go_on(struct stream *s)
{
    while (true) {
        if (!pass_stages(s))
            return;
        if (!s->later.on)
            break;
        s->later.on = false;                           /* the moved piece is through: the one it came from */
        if (s->stop.kind == VERDICT_STOP)              /* ... ends here, too: only what the filters behind hold of it leaves */
            s->later.text.len = 0;
        buf_free(&s->sieve_text);
        s->sieve_text = s->later.text;
        s->later.text = (struct buf)BUF_EMPTY;
        s->piece = s->later.piece;
        s->stage = s->later.stage + 1;
    }
    s->sieving = false;
    if (s->piece != &s->collected)
        s->piece_at++;
    if (s->stop.kind == VERDICT_STOP) {
        stream_finish_word(s, &s->stop);
        answer_stop(s, &s->stop);
    }
}

void sieve_piece(struct stream *s)
{
    const struct piece *p = &s->pieces[s->piece_at];

    if (p->kind == PIECE_DONE && s->n_checks > 0) {    /* optimistic ones: the text has left, the end has not */
        check_await(s);
        return;
    }
    if (p->kind == PIECE_DONE) {
        s->piece_at++;
        if (s->route->n_hooks[HOOK_FINISH] == 0)
            answer_complete(s);
        else if (exchange_finish(&s->exchange, choice_finish(s, 0), s->tokens, &s->usage) != 0)
            stream_fail(s, REASON_POLICY_MEMORY);
        else
            hooks_begin(s, HOOK_FINISH);
        return;
    }
    if (p->kind == PIECE_PASS) {
        s->piece_at++;
        answer_pass(s, s->texts.data + p->off, p);
        return;
    }
    if (p->kind == PIECE_TOOL) {
        s->piece_at++;
        tool_whole(s);
        return;
    }
    if (s->route->n_filters == 0) {
        s->piece_at++;
        answer_piece(s, p, s->texts.data + p->off, p->len);
        return;
    }
    s->sieving = true;
    s->piece = p;
    s->stage = 0;
    s->sieve_text.len = 0;
    buf_append(&s->sieve_text, s->texts.data + p->off, p->len);
    go_on(s);
}

/* The stage at work goes on by itself, and if it is done, those behind it. */
static void work_on(struct stream *s)
{
    const struct piece *p = s->piece;
    struct held *h = stage_held(s, p);

    if (stage_work(s, p, h) == OVER || leave(s, h, p) == OVER)
        return;
    s->stage++;
    go_on(s);
}

void sieve_collect(struct stream *s, size_t stage, lane_t lane)
{
    s->collected = (struct piece){ .kind = PIECE_TEXT, .channel = lane % CHANNEL_COUNT, .choice = (unsigned char)(lane / CHANNEL_COUNT) };
    s->piece = &s->collected;
    s->sieving = true;
    s->stage = stage;
    s->sieve_text.len = 0;
    work_on(s);
}

void sieve_checked(struct stream *s, size_t stage, lane_t lane)
{
    if (!s->checks_awaited || (s->sieving && (s->stage != stage || LANE(s->piece->choice, s->piece->channel) != lane)))
        return;
    s->checks_awaited = false;
    stream_go(s, HELD_BY_POLICY);
    if (s->sieving)
        work_on(s);
}

void sieve_resume(struct stream *s, enum call_state got)
{
    const struct piece *p = s->piece;
    struct held *h = stage_held(s, p);
    enum pass pass;

    stream_go(s, HELD_BY_POLICY);
    pass = stage_took(s, p, h, got);
    if (pass == WORK_ON)
        pass = stage_work(s, p, h);
    if (pass == OVER || leave(s, h, p) == OVER)
        return;
    s->stage++;
    go_on(s);
}

void sieve_reset(struct stream *s)
{
    stages_free(s);
    checks_close(s);
    s->sieving = s->checks_awaited = s->later.on = false;
    s->sieve_text.len = s->moved_text.len = 0;
    buf_free(&s->later.text);
}

void sieve_free(struct stream *s)
{
    stages_free(s);
    free(s->skipped);
    verdict_free(&s->stop);
    buf_free(&s->sieve_text);
    buf_free(&s->moved_text);
    buf_free(&s->later.text);
}
