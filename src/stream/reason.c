#include "stream/reason.h"

#include <assert.h>

static const struct reason_text texts[REASON_COUNT] = {
#define X(name, code, status, kind, sentence) [REASON_##name] = { code, status, kind, sentence },
    REASONS(X)
#undef X
};

const struct reason_text *reason_text(enum reason r)
{
    assert(r < REASON_COUNT);
    return &texts[r];
}
