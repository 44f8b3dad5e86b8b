/* Rate limits shared by all workers: a token bucket per key, sharded, a mutex each, bounded.
 *
 * A limiter is named: two opens with one name give the same limiter (the first one's numbers hold until the last is closed; a later open with
 * other numbers changes them). A key's bucket holds at most `burst` tokens and refills at rate/per. When a shard is full, the bucket that was
 * used longest ago goes first. Time is an argument.
 */
#ifndef SLUICE_BASE_LIMITER_H
#define SLUICE_BASE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limiter;

struct limiter_rule {
    double rate;                                       /* tokens ... */
    uint64_t per_ms;                                   /* ... per this many milliseconds */
    double burst;                                      /* most tokens a key can save up; 0: same as rate */
    size_t max_keys;                                   /* 0: 65536 */
};

struct limiter_answer {
    bool ok;
    double left;                                       /* whole tokens left after this take: floor(left) >= 0 */
    uint64_t retry_ms;                                 /* 0 when ok, else when `cost` would fit */
    uint64_t reset_ms;                                 /* until the bucket is full again */
};

struct limiter *limiter_open(const char *name, const struct limiter_rule *rule);
void limiter_close(struct limiter *l);
struct limiter_answer limiter_take(struct limiter *l, const char *key, size_t len, double cost, uint64_t now_ms);
size_t limiter_keys(struct limiter *l);                /* for tests and metrics */

#endif
