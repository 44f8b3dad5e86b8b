/* One Lua world: a lua_State with the sandbox, a memory cap, a pool of coroutines and a CPU watchdog.
 *
 * A VM belongs to one thread at a time: who loads it, then its worker (vm_give). It knows no loop and no socket; time is told to it by
 * vm_set_now. Privileged modules (lua/sluice/, compiled in; a directory may override them while developing) see the full libraries; operators'
 * files run in the sandbox: allow-list of globals, own _ENV, text chunks only, locked string metatable, bounded string functions (match/pattern.h).
 */
#ifndef SLUICE_SCRIPT_VM_H
#define SLUICE_SCRIPT_VM_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"

struct vm;
struct coverage;

struct vm_options {                                    /* 0/NULL: the default in brackets */
    size_t memory_cap;                                 /* bytes for the whole VM [64 MiB] */
    const char *lua_dir;                               /* read lua/ modules from here instead of the compiled-in ones [NULL] */
    struct metrics *metrics;                           /* lua_calls, lua_killed are counted here [NULL: nowhere] */
    const _Atomic bool *stop;                          /* set by another thread: a call that runs here, or any later one, ends within milliseconds; until vm_give [NULL] */
    struct coverage *coverage;                         /* the lines that run are noted there; calls then have ten times their CPU budget [NULL: nowhere] */
};

int vm_open(struct vm **ret, const struct vm_options *options);    /* 0, or -1: not even the libraries fit the cap */
void vm_close(struct vm *vm);
void vm_give(struct vm *vm);                           /* this thread is done with it: it belongs to the next that calls into it. No call is open */
lua_State *vm_lua(struct vm *vm);                      /* the main thread of the VM */
struct vm *vm_of(lua_State *L);                        /* from any coroutine of it */
void vm_set_now(struct vm *vm, uint64_t now_ms, int64_t unix_ms);  /* before calls; a monotonic clock and the wall clock */
uint64_t vm_now(const struct vm *vm);
size_t vm_memory(const struct vm *vm);                 /* bytes in use */
void vm_count_in(struct vm *vm, struct metrics *metrics);   /* lua_calls and lua_killed are counted there from now on; NULL: nowhere */
void vm_collect(struct vm *vm);                        /* a bounded step of garbage collection, sized by what was allocated since; call once per loop turn */

void vm_collect_all(struct vm *vm);                    /* a whole cycle at once: nobody waits for this VM */
bool vm_is_full(const struct vm *vm);                  /* more than 80 % of its memory stayed in use after a whole cycle of collection */

/* The watchdog: one thread for the process that looks each millisecond whether a VM's current call has outlasted its budget; then it signals
 * (SIGURG) the VM's thread, whose handler arms a hook that ends the call. Start before any vm_open, stop after the last vm_close. Without it calls have no CPU bound. */
int watchdog_start(void);
void watchdog_stop(void);

#endif
