/* Who wants to see the time lines of streams, as one worker is told: a list that is never changed, only replaced. */
#ifndef SLUICE_SERVE_WATCHES_H
#define SLUICE_SERVE_WATCHES_H

#include <stdbool.h>
#include <stddef.h>

struct watch {
    unsigned id;
    char *route, *key;                                 /* owned; NULL: any */
};

struct watches {
    size_t n;
    struct watch *all;
};

void watches_add(struct watches *w, unsigned id, const char *route, const char *key);   /* copies */
void watches_free(struct watches *w);                  /* NULL: nothing */
/* Might a stream of this route be looked for? w NULL: no. */
bool watches_may(const struct watches *w, const char *route);
bool watch_matches(const struct watch *w, const char *route, const char *key, size_t key_len);   /* key NULL: the stream has none */

#endif
