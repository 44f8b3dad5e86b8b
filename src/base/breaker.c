#include "base/breaker.h"

#define WINDOW_MS 10000
#define OPEN_MS 10000
#define CALLS_MIN 20

bool breaker_may(struct breaker *b, uint64_t now_ms)
{
    if (b->open_until == 0)
        return true;
    if (now_ms < b->open_until || b->probing)
        return false;
    b->probing = true;
    return true;
}

static bool open(struct breaker *b, uint64_t now_ms)
{
    *b = (struct breaker){ .open_until = now_ms + OPEN_MS };
    return true;
}

bool breaker_told(struct breaker *b, bool failed, uint64_t now_ms)
{
    if (b->open_until) {
        if (!b->probing)
            return false;                              /* of a call that began before it opened */
        if (failed)
            return open(b, now_ms);
        *b = (struct breaker){ .since = now_ms };
        return false;
    }
    if (now_ms - b->since >= WINDOW_MS) {
        b->since = now_ms;
        b->calls = b->failures = 0;
    }
    b->calls++;
    b->failures += failed;
    return b->calls >= CALLS_MIN && b->failures * 2 >= b->calls ? open(b, now_ms) : false;
}

void breaker_untold(struct breaker *b) { b->probing = false; }
