/* Which policies take part in a stream, and what becomes of one that fails: told in the log, counted by its breaker. */
#include "base/log.h"
#include "stream/inside.h"

static uint64_t bit(int policy) { return 1ull << policy; }

static uint64_t now(const struct stream *s) { return s->host->now(s->owner); }

/* Those that run beside the stream, not in it. */
static uint64_t monitored(const struct stream *s)
{
    uint64_t all = 0;

    for (size_t i = 0; i < s->route->n_shadows; i++)
        all |= bit(s->route->shadows[i].watches);
    return all;
}

bool policies_admit(struct stream *s)
{
    uint64_t others;

    size_t wrong = 0;

    if (s->route->conditional && exchange_only_if(&s->exchange, &wrong) != 0) {
        stream_fail_of(s, REASON_POLICY_ERROR, s->route->policies[wrong].name, "only_if");
        return false;
    }
    others = s->exchange.off | monitored(s);
    for (size_t p = 0; p < s->route->n_policies; p++)
        if (!(others & bit((int)p)) && !breaker_may(&s->route->policies[p].breaker, now(s)))
            s->tripped |= bit((int)p);
    return true;
}

enum policy_turn policy_turn(struct stream *s, int policy, unsigned open_bit, const char *hook)
{
    const struct policy *p = &s->route->policies[policy];

    if ((s->exchange.off & bit(policy)) || (s->state < LOGGING && !reply_is_nearer(s, policy)))
        return POLICY_PASSES;
    if (!(s->tripped & bit(policy))) {
        s->ran |= bit(policy);
        return POLICY_RUNS;
    }
    if ((p->open_hooks & open_bit) || s->state == LOGGING)
        return POLICY_PASSES;
    stream_fail_of(s, REASON_POLICY_ERROR, p->name, hook);
    return POLICY_REFUSES;
}

void policy_failed(struct stream *s, int policy, const char *hook, const char *what)
{
    struct log_line line;

    s->broke |= bit(policy);
    if (!log_begin(&line, LOG_ERROR, "policy.failed"))
        return;
    log_str(&line, "id", s->id);
    log_str(&line, "route", s->route->name);
    log_str(&line, "policy", s->route->policies[policy].name);
    log_str(&line, "hook", hook);
    log_str(&line, "message", what);
    log_end(&line);
}

static void tell_tripped(const struct stream *s, const struct policy *p)
{
    struct log_line line;

    if (!log_begin(&line, LOG_ERROR, "policy.tripped"))
        return;
    log_str(&line, "route", s->route->name);
    log_str(&line, "policy", p->name);
    log_str(&line, "message", "keeps failing: for 10 s it is not run (hooks with on_error = \"open\" are passed over, all others refuse)");
    log_end(&line);
}

void policies_settle(struct stream *s)
{
    uint64_t others = s->exchange.off | s->tripped | monitored(s);

    for (size_t i = 0; i < s->route->n_policies; i++) {
        struct policy *p = &s->route->policies[i];

        if (others & bit((int)i))
            continue;
        if (!(s->ran & bit((int)i)))
            breaker_untold(&p->breaker);
        else if (breaker_told(&p->breaker, s->broke & bit((int)i), now(s)))
            tell_tripped(s, p);
    }
}
