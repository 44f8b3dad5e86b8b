/* Counters shared by all workers: a number per key and window of time, with reservations for costs that are known only afterwards. Named (base/named.h),
 * bounded to 65,536 keys (the longest unused goes first), thread-safe, never waits. Windows begin at multiples of their length since 1970 (UTC days, hours).
 */
#ifndef SLUICE_BASE_COUNTER_H
#define SLUICE_BASE_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counter;

struct counter *counter_open(const char *name, uint64_t window_ms);   /* 0: no window, counts for ever; the latest open's window holds for all */
void counter_close(struct counter *c);
double counter_add(struct counter *c, const char *key, size_t len, double n, int64_t unix_ms);   /* the new sum */
double counter_get(struct counter *c, const char *key, size_t len, int64_t unix_ms);

/* Adds `n` if the sum then is at most `limit`. Else false, and *retry_ms until the window ends (INT64_MAX: never). */
struct reservation { double n; uint64_t born; };        /* born: of the sum that it is in */
bool counter_reserve(struct counter *c, const char *key, size_t len, double n, double limit, int64_t unix_ms, struct reservation *ret, int64_t *retry_ms);
/* What it really was: counts `actual` in place of what was reserved; when that window is over, or the key was forgotten meanwhile, on top of what
 * is there now. */
void counter_settle(struct counter *c, const char *key, size_t len, const struct reservation *r, double actual, int64_t unix_ms);
size_t counter_keys(struct counter *c);

/* For snapshots: the counter of that name, whose window stays as it is when somebody has opened it before; all its sums; one sum back. */
struct counter *counter_resume(const char *name, uint64_t window_ms);
uint64_t counter_window(struct counter *c);
void counter_each(struct counter *c, void (*see)(void *arg, const char *key, size_t len, int64_t window, double sum), void *arg);   /* locked: brief */
void counter_put(struct counter *c, const char *key, size_t len, int64_t window, double sum);

#endif
