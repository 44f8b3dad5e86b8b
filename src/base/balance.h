/* Which of several comes next: a count that all workers share, so that shares are exact over all of them. Named (base/named.h); thread-safe. */
#ifndef SLUICE_BASE_BALANCE_H
#define SLUICE_BASE_BALANCE_H

#include <stddef.h>

#define BALANCE_MAX 16                                 /* members; a set of them is a bit each */

struct balance;

struct balance *balance_open(const char *name);        /* the name tells the members too: others begin anew */
void balance_close(struct balance *b);
/* Smooth weighted round robin: while the same members are free, of so many picks in a row as their weights add up to each gets exactly its weight, spread
 * evenly. `among` is not empty. */
unsigned balance_next(struct balance *b, const unsigned *weights, unsigned among);
/* The one with the fewest running for its weight; of equals by balance_next. */
unsigned balance_least(struct balance *b, const unsigned *weights, const unsigned *running, unsigned among);
/* The same for the same key, on every worker and after every restart. A member that comes or goes moves only its own keys (rendezvous hashing); a weight is
 * so many chances. */
unsigned balance_by_key(const char *const *names, const unsigned *weights, unsigned among, const char *key, size_t len);

#endif
