#include "serve/watches.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void watches_add(struct watches *w, unsigned id, const char *route, const char *key)
{
    w->all = mem_resize(w->all, (w->n + 1) * sizeof *w->all);
    w->all[w->n++] = (struct watch){ id, route ? mem_string(route) : NULL, key ? mem_string(key) : NULL };
}

void watches_free(struct watches *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++) {
        free(w->all[i].route);
        free(w->all[i].key);
    }
    free(w->all);
    free(w);
}

static bool is_route(const struct watch *w, const char *route) { return !w->route || strcmp(w->route, route) == 0; }

bool watches_may(const struct watches *w, const char *route)
{
    for (size_t i = 0; w && i < w->n; i++)
        if (is_route(&w->all[i], route))
            return true;
    return false;
}

bool watch_matches(const struct watch *w, const char *route, const char *key, size_t key_len)
{
    if (!is_route(w, route))
        return false;
    return !w->key || (key && strlen(w->key) == key_len && memcmp(w->key, key, key_len) == 0);
}
