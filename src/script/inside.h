/* What the files of this floor know about a VM; nobody above includes it. */
#ifndef SLUICE_SCRIPT_INSIDE_H
#define SLUICE_SCRIPT_INSIDE_H

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "script/call.h"
#include "script/vm.h"

#define POOL_SIZE 64                                   /* idle coroutines that are kept */
#define GROWN (64 * 1024)                              /* a coroutine whose call moved a block of more bytes than this is not kept */
#define MEANT 8                                        /* so many raised texts are remembered */
#define TASKS_DEEP 8                                   /* sluice.all within sluice.all: so many are told apart */
#define TEXT_MAX ((size_t)16 << 20)                    /* longest string that rep, format and concat make */

enum kill { KILL_NOT, KILL_CPU, KILL_MEMORY };
enum { SLOW_NOT, SLOW_FOUND, SLOW_SEEN };              /* found: by the watchdog; seen: the place is known */

/* Keys in the registry; their addresses are the keys. */
extern const char KEY_LOCKED;                          /* in a metatable: the table behind it is ours and read-only (rawset refuses); its value may be the real table */

struct vm {
    lua_State *L;
    size_t used, cap;                                  /* bytes */
    uint64_t allocated;                                /* bytes ever asked for */
    uint64_t churn_limit;                              /* `allocated` may not pass this during the current call */
    size_t churn_cap;
    bool grew;                                         /* a block passed GROWN since the call began */
    struct metrics *metrics;
    struct coverage *coverage;                         /* where lines are noted, or NULL */
    struct gateway *gateway;                           /* that was loaded here */
    struct call *call;                                 /* that runs now, or NULL */
    lua_State *tasks[TASKS_DEEP];                      /* of sluice.all: those that run now, each inside the one before; only compared, never looked into */
    unsigned n_tasks;                                  /* may be more than are noted */
    unsigned service_id;                               /* of the last call of a service */
    char *lua_dir;
    uint64_t now_ms;
    int64_t unix_ms;

    struct { lua_State *co; int ref; } pool[POOL_SIZE];
    int n_pool;

    /* The call that runs now. `running` is the innermost lua_State: every switch of states publishes itself here. */
    struct lua_State *_Atomic running;
    volatile sig_atomic_t killed;                      /* enum kill, sticky until the call is left */
    lua_State *volatile armed;                         /* the state whose hook the handler set last */
    volatile sig_atomic_t slow;                        /* SLOW_...: of the running call */
    char slow_at[160], slow_in[80];                    /* where it stood when it was found slow: file:line, function; "" before */
    uint64_t slow_told_ms;                             /* when a slow call was last told in the log */
    char killed_at[160];                               /* file:line where the kill struck, "" before */
    char short_at[160];                                /* file:line where memory was last refused in this call */
    char failed_at[160];                               /* file:line where a service's error was raised, "" when that is not known */
    uint64_t meant[MEANT];                             /* digests of the texts that scripts raised last, by error or assert: those are no accidents */
    unsigned n_meant;
    int no_wait;                                       /* > 0: this call may not wait ... */
    const char *no_wait_why;                           /* ... because (constant; NULL: because of a C function in between) */
    bool may_output;                                   /* out:text may be used */
    enum call_wait wait;                               /* set by who yields to C */
    uint64_t wait_ms;
    bool loading;                                      /* the gateway file is being read: env, secret, require may be used */

    /* Between this thread and the watchdog. */
    _Atomic uint64_t seq;                              /* odd: a call runs */
    _Atomic uint64_t slow_seq;                         /* the seq that the watchdog found slow */
    _Atomic uint64_t kill_seq;                         /* the seq that the watchdog wants ended */
    _Atomic unsigned budget_ms;                        /* of the running call; 0: none */
    _Atomic unsigned long thread;                      /* pthread_t that runs the call */
    _Atomic int clock;                                 /* its CPU clock */

    struct buf scratch, scratch2;                      /* for text on its way into Lua: owned here, since pushing may raise */

    struct list link;                                  /* in the watchdog's list; the rest belongs to the watchdog */
    const _Atomic bool *stop;                          /* changed under the watchdog's lock; NULL: nobody may stop it */
    uint64_t seen_seq;
    int64_t seen_cpu_ns;

    /* Garbage collection. */
    bool collecting;                                   /* within a cycle */
    size_t kept;                                       /* bytes in use after the last whole cycle */
    size_t collect_at;                                 /* bytes in use that start the next cycle */
    uint64_t collected_until;                          /* `allocated` at the last step */

    /* References into the registry; LUA_NOREF until made. */
    int ref_verdict_mt, ref_said, ref_array_mt, ref_require;
    int ref_exchange;                                  /* the module sluice.exchange */
    int ref_parts[2 * 8];                              /* the frozen `part` tables by channel and last */
    int ref_head_mt, ref_req_mt, ref_ctx_mt, ref_over_mt, ref_service_error_mt;
};

/* watchdog.c */
void watchdog_add(struct vm *vm);
void watchdog_remove(struct vm *vm);
void vm_enter(struct vm *vm, lua_State *co, unsigned budget_ms);
void vm_leave(struct vm *vm);                          /* the hook is taken off; vm->killed stays to be read until the next enter */
void vm_rest(struct vm *vm, lua_State *L);             /* the hook of a state that nobody wants to end: none, or the one that notes lines; new coroutines have their maker's */

/* Ends the running call: L is left for good by a yield, or where that is not possible by an error that our pcall does not catch. Does not
 * return, but within a hook, which then must return. */
int vm_end_killed(lua_State *L);
/* Whether the text on top of L's stack was raised by a script itself, not by something that went wrong in it. */
bool vm_meant(lua_State *L);
/* After a protected call inside Lua: raises again what may not be caught (the kill, memory). */
void vm_not_caught(lua_State *L, int status);

/* Where an operator's code stands: the innermost Lua function on the stack of `co` that is not ours, as file:line, and its name or "". Allocates nothing. */
bool vm_place(lua_State *co, char *out, size_t room, char *function, size_t function_room);

lua_State *vm_take_coroutine(struct vm *vm, int *ref); /* NULL: out of memory */
void vm_give_coroutine(struct vm *vm, lua_State *co, int ref, bool clean);

/* A base coroutine (one that C resumes) has bit 0 set in its extra space, so that scripts cannot resume or close it. */
bool vm_is_base(lua_State *co);

/* sandbox.c, strings.c, tables.c, host.c, value.c: each pushes one table of functions for lua/sluice/sandbox.lua and init.lua. */
int sandbox_open_base(lua_State *L);
int sandbox_open_coroutine(lua_State *L);
int sandbox_step(lua_State *L);
int strings_open(lua_State *L);
int tables_open(lua_State *L);
int host_open(lua_State *L);

/* files.c: functions of sluice.host. */
int files_directory(lua_State *L);
int files_read(lua_State *L);

/* vm.c: pushes the privileged module (require). */
void vm_push_module(lua_State *L, const char *name);
/* The text of a bundled module (or of the file that overrides it). NULL: none. `*owned` is to be freed. */
const char *vm_module_text(struct vm *vm, const char *name, size_t *len, char path[256], char **owned);

#endif
