/* Rate limits shared by all workers: a token bucket per key, sharded, a mutex each, bounded.
 *
 * A limiter is named: two opens with one name give the same limiter (see base/named.h); the latest open's numbers hold for all. A key's bucket holds at most `burst` tokens and refills at rate/per. When a shard is full, the bucket that was used longest ago goes
 * first. Time is an argument.
 */
#ifndef SLUICE_BASE_LIMITER_H
#define SLUICE_BASE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITER_NEVER ((uint64_t)INT64_MAX)            /* retry_ms of a cost above the burst */

struct limiter;

struct limiter_rule {
    double rate;                                       /* tokens, more than 0 ... */
    uint64_t per_ms;                                   /* ... per this many milliseconds, at least 1 */
    double burst;                                      /* most tokens a key can save up; 0: same as rate, but at least 1 */
    size_t max_keys;                                   /* 0: 65536; rounded up to a multiple of the 16 shards */
};

struct limiter_answer {
    bool ok;
    double left;                                       /* whole tokens left after this take: floor(left) >= 0 */
    uint64_t retry_ms;                                 /* 0 when ok, else when `cost` would fit, or LIMITER_NEVER */
    uint64_t reset_ms;                                 /* until the bucket is full again */
};

struct limiter *limiter_open(const char *name, const struct limiter_rule *rule);
void limiter_close(struct limiter *l);
/* A cost that is not above 0 (or no number) takes nothing and is ok. */
struct limiter_answer limiter_take(struct limiter *l, const char *key, size_t len, double cost, uint64_t now_ms);
size_t limiter_keys(struct limiter *l);                /* for tests and metrics */

#endif
