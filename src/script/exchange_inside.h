/* What exchange.c, request.c and verdict.c share: the record of an exchange in Lua and the ways into it. */
#ifndef SLUICE_SCRIPT_EXCHANGE_INSIDE_H
#define SLUICE_SCRIPT_EXCHANGE_INSIDE_H

#include "script/exchange.h"
#include "script/inside.h"

#define HOOK_MS 100                                    /* CPU time of a hook, of a front's or dialect's function */
#define FILTER_MS 20

/* Fronts and dialects walk all of a body, of an event or of a document: a millisecond more for each KiB. A body of 1 MiB that is nothing but short messages
 * takes them 0.3 s.
 */
static inline unsigned walk_ms(size_t bytes) { return HOOK_MS + (unsigned)(bytes >> 10); }

/* Slots of the record; lua/sluice/record.lua names the same. */
enum { X_REQ = 1, X_ROUTE, X_ID, X_TARGET, X_HEADERS, X_TAGS, X_VARS, X_SHARED, X_SUMMARY, X_EXTRA, X_OPENED, X_BAD_QUERY,
       X_PLAN, X_TRY, X_FAILURE, X_RESPONSE, X_FINISH, X_CALL, X_HELD, X_ANSWER, X_ASKED, X_CTX };

/* Begins a call of a policy's: its log lines can name it. */
void exchange_begin(struct exchange *x, struct call *c, unsigned budget_ms, int policy, const char *hook);
/* Runs entry(job) on the coroutine of a call that was begun; it may wait. */
enum call_state exchange_start(struct call *c, lua_CFunction entry, void *job);
/* Runs entry(job) on a coroutine of its own, to its end: it may not wait. The call stays open. */
enum call_state exchange_run(struct exchange *x, struct call *c, lua_CFunction entry, void *job, unsigned budget_ms, const char *no_wait);

/* Within an entry: each pushes one value. */
void exchange_push(lua_State *L, const struct exchange *x);                        /* the record */
void exchange_push_ctx(lua_State *L, const struct exchange *x, int policy);
void exchange_push_function(lua_State *L, const char *name);                       /* of lua/sluice/exchange.lua */
void exchange_push_headers(lua_State *L, const struct header *headers, size_t n);  /* names in lower case */
void exchange_push_usage(lua_State *L, const struct usage *u);                     /* five values, nil where it was not told: input, output, cached, reasoning, cache_written */
int exchange_push_failure(lua_State *L, const struct failure *f);                  /* the twelve values that exchange.lua's err_of takes; how many */
void failure_take(struct failure *f, struct failure *from);                           /* of a front or a dialect: what its sentence repeats of the client's words is cut */
/* A text, a number, a secret, or a list of these: appended to `out`, as a header's value. Raises what it cannot be. */
void exchange_flatten(lua_State *L, int idx, struct buf *out, const char *name);
void event_ops_read(lua_State *L, int idx, size_t max, struct event_ops *ret);     /* upstream.c: the list of steps at idx, at most `max`; ret: empty */
int exchange_check_may_wait(lua_State *L, const char *what);                       /* raises a sentence when Lua cannot be left here; 0 */
int exchange_results(lua_State *L, int status, lua_KContext below);                /* a continuation: all above `below` are the results */

/* An opaque value around the n values (at most 2) that begin at stack index `first`: scripts may hold it, only host.unbox opens it. */
void exchange_push_box(lua_State *L, int first, int n);
int exchange_of(lua_State *L);                         /* host.exchange() -> the record of the exchange whose policy runs | nil: none does */
int exchange_random(lua_State *L);                     /* host.draw() -> 64 random bits of the exchange that this call is made for; nothing: it is made for none */
int exchange_unbox(lua_State *L);                      /* host.unbox(box) -> the values */
void exchange_box_open(lua_State *L);                  /* makes its metatable, once a VM */

/* verdict.c: reads the verdict at stack index idx of the open call (which has returned) as one that the hook may give. */
enum { MAY_REJECT = 1, MAY_REPLY = 2, MAY_STOP = 4, MAY_DROP = 8, MAY_ROUTE = 16, MAY_NEXT = 32, MAY_ANSWER = 64 };   /* ANSWER: reply with blocks */
struct sayer {                                         /* who said it */
    const char *policy, *hook;                         /* constants of the gateway; NULL: a front */
    int fn_ref;
    unsigned may;
};
bool verdict_is(struct vm *vm, lua_State *L, int idx);
/* PASS also for sluice.drop where it is allowed: then *dropped. */
void verdict_read(struct exchange *x, struct call *c, int idx, const struct sayer *who, struct verdict *ret, bool *dropped);
void verdict_wrong(struct exchange *x, const struct sayer *who, struct verdict *ret, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
