/* One call from C into Lua that may wait: a hook, a filter, a Lua model. Runs on a pooled coroutine.
 *
 *     call_begin(&c, vm, budget_ms);                  c.co has an empty stack: push the function and its arguments there
 *     switch (call_run(&c, nargs)) {
 *     case CALL_RETURNED: read c.n_results results at the top of c.co; call_finish(&c); break;
 *     case CALL_WAITS:    look at c.wait; later call_resume(&c, nvalues) with the values pushed on c.co, or call_cancel(&c); break;
 *     case CALL_FAILED:   look at c.failure, c.message; call_finish(&c); break;
 *     }
 *
 * A verdict that was raised (error(sluice.reject(...))) counts as returned: it is the one result. The budget is CPU time between waits; once spent,
 * the call is over whatever pcall says. A stream that is not waiting owns no coroutine.
 */
#ifndef SLUICE_SCRIPT_CALL_H
#define SLUICE_SCRIPT_CALL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
struct exchange;
struct service_call;
struct load;

#define GATES_MAX 16                                   /* of one exchange */

struct gate_want {
    struct gate_want *next;
    int fn_ref, policy;
};

enum call_state { CALL_RETURNED, CALL_WAITS, CALL_FAILED };
enum call_wait { WAIT_NOTHING, WAIT_SLEEP, WAIT_OUTPUT, WAIT_NEWS };
enum call_failure { CALL_RAISED, CALL_TIMEOUT, CALL_MEMORY, CALL_DEPENDENCY };   /* DEPENDENCY: a service's error was raised */

struct call_by {                                       /* whose call it is, for the log; NULL: not told */
    const char *id, *route, *policy, *hook;
};

struct call_meter {                                    /* what a call cost, where somebody wants to know */
    bool on, waited;
    uint64_t cpu_ns;                                   /* of this thread, over all its runs */
};

struct call {
    struct call_by by;
    struct vm *vm;                                     /* NULL: no call is open */
    struct exchange *exchange;                         /* that it is made for; NULL: for none (the file is read, init runs) */
    lua_State *co;
    int co_ref;
    int n_results;
    unsigned budget_ms;
    bool may_gate;                                     /* ctx:gate is allowed: a hook before the model answers */
    bool may_output;                                   /* out:text is allowed: a Lua model's answer */
    const char *no_wait;                               /* constant: why the next run may not wait; NULL: it may */
    enum call_wait wait;                               /* after CALL_WAITS: why */
    uint64_t wait_ms;                                  /* WAIT_SLEEP, WAIT_NEWS: for how long; 0 with NEWS: no bound. (WAIT_OUTPUT: the text is at the top of co) */
    struct service_call *wants, *answers;              /* calls of services that it wants made; those that are over. Freed with the call */
    struct gate_want *gates;                           /* gates that it opened (ctx:gate), to be taken by whom it belongs to; freed with the call */
    struct call_meter meter;
    bool news;                                         /* an answer came that it has not been resumed for */
    enum call_failure failure;
    struct load *loads;                                /* values that others wait for and this call loads (cache_value.h) */
    char *message;                                     /* after CALL_FAILED: with file:line and traceback's first line; freed by call_finish */
};

void call_begin(struct call *c, struct vm *vm, unsigned budget_ms);   /* out of memory: c.co is NULL, and call_run says CALL_FAILED */
enum call_state call_run(struct call *c, int nargs);
enum call_state call_resume(struct call *c, int nvalues);
void call_finish(struct call *c);                      /* the coroutine goes back to the pool; harmless when none is open */
void call_cancel(struct call *c);                      /* a waiting call is given up: to-be-closed variables run; then as call_finish */
static inline bool call_open(const struct call *c) { return c->vm != 0; }

#endif
