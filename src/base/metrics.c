#include "base/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char *const names[METRIC_COUNT] = {
#define X(name, help) #name,
    METRICS(X)
#undef X
};

static const char *const helps[METRIC_COUNT] = {
#define X(name, help) help,
    METRICS(X)
#undef X
};

const char *metrics_name(enum metric which) { return names[which]; }

void metrics_print(struct buf *out, struct metrics *const *blocks, int n)
{
    for (int m = 0; m < METRIC_COUNT; m++) {
        int64_t sum = 0;
        size_t len = strlen(names[m]);
        int gauge = len > 5 && strcmp(names[m] + len - 5, "_open") == 0;

        for (int i = 0; i < n; i++)
            sum += metrics_get(blocks[i], m);
        buf_printf(out, "# HELP sluice_%s %s\n", names[m], helps[m]);
        buf_printf(out, "# TYPE sluice_%s %s\n", names[m], gauge ? "gauge" : "counter");
        buf_printf(out, "sluice_%s %" PRId64 "\n", names[m], sum);
    }
}
