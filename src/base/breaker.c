#include "base/breaker.h"

static const struct breaker_rule usual = { .calls = 20, .failures = 1, .window_ms = 10000, .open_ms = 10000 };

bool breaker_would(const struct breaker *b, uint64_t now_ms)
{
    return b->open_until == 0 || (now_ms >= b->open_until && !b->probing);
}

bool breaker_may(struct breaker *b, uint64_t now_ms)
{
    if (!breaker_would(b, now_ms))
        return false;
    b->probing = b->open_until != 0;
    return true;
}

static bool open(struct breaker *b, const struct breaker_rule *rule, uint64_t now_ms)
{
    *b = (struct breaker){ .open_until = now_ms + rule->open_ms };
    return true;
}

bool breaker_told(struct breaker *b, bool failed, uint64_t now_ms) { return breaker_told_by(b, &usual, failed, now_ms); }

bool breaker_told_by(struct breaker *b, const struct breaker_rule *rule, bool failed, uint64_t now_ms)
{
    if (b->open_until) {
        if (!b->probing)
            return false;                              /* of a call that began before it opened */
        if (failed)
            return open(b, rule, now_ms);
        *b = (struct breaker){ .since = now_ms };
        return false;
    }
    if (now_ms - b->since >= rule->window_ms) {
        b->since = now_ms;
        b->calls = b->failures = b->in_a_row = 0;
    }
    b->calls++;
    b->failures += failed;
    b->in_a_row = failed ? b->in_a_row + 1 : 0;
    bool half = b->calls >= rule->calls && b->failures >= rule->failures && b->failures * 2 >= b->calls;
    if (!half && !(rule->in_a_row && b->in_a_row >= rule->in_a_row))
        return false;
    return open(b, rule, now_ms);
}

void breaker_untold(struct breaker *b) { b->probing = false; }
