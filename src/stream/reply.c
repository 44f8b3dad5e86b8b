/* A policy answers in place of a model: sluice.reply with blocks, such as a cache's. It is told as a model's answer would be, from the policy's own place in
 * the list: gates are waited for, and the filters, tool_call and finish hooks of the policies nearer to the client see it. Those nearer to the model do not;
 * nor do monitors, as with every reply.
 *
 *     reply_start: its steps -> s->ops; pump -> source_next -> next_known -> pieces -> sieve, tools, finish hooks -> answer_complete
 */
#include <string.h>

#include "stream/inside.h"

bool reply_is_nearer(const struct stream *s, int policy) { return !s->reply.on || policy < s->reply.policy; }

static void take_steps(struct stream *s, struct verdict *v)
{
    s->ops = v->ops;
    memset(&v->ops, 0, sizeof v->ops);
    s->op_at = 0;
    s->ops_end = true;
}

void reply_start(struct stream *s, struct verdict *v, int policy, const char *hook)
{
    if (s->shadow) {                                   /* a monitor's word is only noted */
        stream_ended_by(s, s->route->policies[policy].name, hook);
        answer_done(s, REASON_REPLIED);
        return;
    }
    if (s->head_only) {
        stream_ended_by(s, s->route->policies[policy].name, hook);
        answer_head_only(s);
        stream_close(s, REASON_REPLIED);
        return;
    }
    take_steps(s, v);
    s->reply.on = s->trying = true;
    s->reply.policy = policy;
    s->reply.hook = hook;
    s->due[CLOCK_WAITS] = 0;
    if (s->state == ADMIT) {
        s->model = s->plan[0];                         /* who would have answered; for the log */
        attempts_begin(s);
    }
}
