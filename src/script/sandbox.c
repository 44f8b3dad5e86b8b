/* The basic functions of the sandbox whose stock versions would let a script escape its limits.
 *
 * - pcall and xpcall do not catch the kill, and no message handler runs after it (hooks are off inside a hook: a loop there could not be ended).
 * - coroutine.* publish the running lua_State to the watchdog, pass waits of inner coroutines on to C, and leave base coroutines alone.
 * - setmetatable refuses __gc: finalizers run with hooks off.
 * - rawset leaves our read-only tables alone.
 * - error and assert note what they raise, so that accidents can be told from what a script means.
 *
 * lua/sluice/sandbox.lua puts them into the environment of operators' files.
 */
#include <stdio.h>
#include <string.h>

#include "script/inside.h"

/* ---- the kill */

static const char KILLED = 'k';                        /* its address is the error value of a kill: nothing to allocate */

/* A yield leaves a coroutine at once. Unwinding one that is a hundred thousand pcalls deep takes Lua seconds (it measures the whole
 * stack at each level), so an error is raised only where a C function in between forbids to yield: there the depth is at most 200. */
int vm_end_killed(lua_State *L)
{
    struct vm *vm = vm_of(L);
    char function[80];

    if (!vm->killed_at[0])
        vm_place(L, vm->killed_at, sizeof vm->killed_at, function, sizeof function);
    if (lua_isyieldable(L))
        return lua_yield(L, 0);
    lua_pushlightuserdata(L, (void *)&KILLED);         /* mark */
    return lua_error(L);
}

void vm_not_caught(lua_State *L, int status)
{
    struct vm *vm = vm_of(L);

    if (status == LUA_ERRMEM && vm->killed == KILL_NOT)
        vm->killed = KILL_MEMORY;
    if (vm->killed != KILL_NOT)
        vm_end_killed(L);
}

/* ---- pcall, xpcall (as lbaselib's, with the check) */

static int finish_pcall(lua_State *L, int status, lua_KContext extra)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        vm_not_caught(L, status);
        lua_pushboolean(L, 0);
        lua_pushvalue(L, -2);                          /* ... false error */
        return 2;
    }
    return lua_gettop(L) - (int)extra;
}

static int safe_pcall(lua_State *L)
{
    int status;

    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);                                  /* true f args... */
    status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

static int handler(lua_State *L)                       /* upvalue: the script's own handler */
{
    if (vm_of(L)->killed != KILL_NOT)
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));             /* error h */
    lua_insert(L, 1);                                  /* h error */
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int safe_xpcall(lua_State *L)
{
    int n = lua_gettop(L), status;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handler, 1);                   /* f h args... handler */
    lua_replace(L, 2);                                 /* f handler args... */
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);                               /* f handler args... true f */
    lua_rotate(L, 3, 2);                               /* f handler true f args... */
    status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, finish_pcall);
    return finish_pcall(L, status, 2);
}

/* ---- error, assert (as lbaselib's, with a note of the text that they raise) */

static uint64_t digest(lua_State *L)                   /* of the text on top */
{
    uint64_t h = 1469598103934665603u;
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h | 1;                                      /* 0 is none */
}

static int raise_meant(lua_State *L)                   /* raises what is on top */
{
    struct vm *vm = vm_of(L);

    if (lua_type(L, -1) == LUA_TSTRING)
        vm->meant[vm->n_meant++ % MEANT] = digest(L);
    return lua_error(L);
}

bool vm_meant(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (lua_type(L, -1) != LUA_TSTRING)
        return true;                                   /* Lua itself raises texts only */
    for (int i = 0; i < MEANT; i++)
        if (vm->meant[i] == digest(L))
            return true;
    return false;
}

static int safe_error(lua_State *L)                    /* error(value, level) */
{
    int level = (int)luaL_optinteger(L, 2, 1);

    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING && level > 0) {
        luaL_where(L, level);                          /* text where */
        lua_insert(L, 1);
        lua_concat(L, 2);                              /* where..text */
    }
    return raise_meant(L);
}

static int safe_assert(lua_State *L)                   /* assert(v, value, ...) -> all of them */
{
    if (lua_toboolean(L, 1))
        return lua_gettop(L);
    luaL_checkany(L, 1);
    lua_remove(L, 1);
    lua_pushliteral(L, "assertion failed!");           /* (value ...) text */
    lua_settop(L, 1);                                  /* value, or text */
    return safe_error(L);
}

/* ---- metatables */

static bool locked(lua_State *L, int idx)
{
    bool is = false;

    if (lua_getmetatable(L, idx)) {                    /* ... mt */
        is = lua_rawgetp(L, -1, &KEY_LOCKED) != LUA_TNIL;
        lua_pop(L, 2);                                 /* ... */
    }
    return is;
}

static int safe_setmetatable(lua_State *L)             /* setmetatable(t, mt) -> t */
{
    int t = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, t == LUA_TNIL || t == LUA_TTABLE, 2, "nil or table");
    if (t == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");                    /* t mt "__gc" */
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "a metatable with __gc is not allowed here; use a to-be-closed variable (__close)");
        lua_pop(L, 1);                                 /* t mt */
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);                            /* t */
    return 1;
}

static int safe_rawset(lua_State *L)                   /* rawset(t, k, v) -> t */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (locked(L, 1))
        return luaL_error(L, "this table is read-only");
    lua_rawset(L, 1);                                  /* t */
    return 1;
}

int sandbox_open_base(lua_State *L)
{
    static const luaL_Reg base[] = {
        { "pcall", safe_pcall }, { "xpcall", safe_xpcall }, { "setmetatable", safe_setmetatable }, { "rawset", safe_rawset },
        { "error", safe_error }, { "assert", safe_assert }, { NULL, NULL },
    };

    luaL_newlib(L, base);
    return 1;
}

/* ---- coroutines */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

/* Runs co with n arguments that lie on its stack; the watchdog sees it meanwhile. */
static int run(lua_State *L, lua_State *co, int n, int *n_results)
{
    struct vm *vm = vm_of(L);
    lua_State *outer = atomic_load_explicit(&vm->running, memory_order_relaxed);
    bool stuck = !lua_isyieldable(L);
    int status;

    vm->no_wait += stuck;
    atomic_store_explicit(&vm->running, co, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (vm->killed != KILL_NOT) {
        atomic_store_explicit(&vm->running, outer, memory_order_relaxed);
        vm_end_killed(L);
    }
    status = lua_resume(co, L, n, n_results);
    atomic_store_explicit(&vm->running, outer, memory_order_relaxed);
    vm->no_wait -= stuck;
    if (status != LUA_OK && status != LUA_YIELD)
        vm_not_caught(L, status);
    else if (vm->killed != KILL_NOT)
        vm_end_killed(L);
    return status;
}

static int resumed(lua_State *L, lua_State *co, int status, int n, bool wrapped);

/* The wait of an inner coroutine is over: hand it the values and let it run on. The context says where the values begin. */
static int after_wait(lua_State *L, int status, lua_KContext k)
{
    bool wrapped = k & 1;
    int base = (int)(k >> 1), n = lua_gettop(L) - base, got = 0;
    lua_State *co = lua_tothread(L, wrapped ? lua_upvalueindex(1) : 1);

    lua_xmove(L, co, n);
    status = run(L, co, n, &got);
    return resumed(L, co, status, got, wrapped);
}

static int fail(lua_State *L, lua_State *co, int status, bool wrapped)
{
    lua_xmove(co, L, 1);                               /* ... error */
    if (!wrapped) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);                             /* ... false error */
        return 2;
    }
    if (status != LUA_OK && status != LUA_YIELD && lua_status(co) == status) {
        struct vm *vm = vm_of(L);                      /* as coroutine.wrap does: its to-be-closed variables run */
        lua_State *outer = atomic_load_explicit(&vm->running, memory_order_relaxed);

        lua_pushvalue(L, -1);
        lua_xmove(L, co, 1);
        atomic_store_explicit(&vm->running, co, memory_order_relaxed);
        vm->no_wait++;
        lua_resetthread(co);
        vm->no_wait--;
        atomic_store_explicit(&vm->running, outer, memory_order_relaxed);
        if (vm->killed != KILL_NOT)
            vm_end_killed(L);
        lua_xmove(co, L, 1);                           /* ... error error2 */
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        bool meant = vm_meant(L);

        luaL_where(L, 1);                              /* ... error where */
        lua_insert(L, -2);
        lua_concat(L, 2);                              /* ... where..error */
        if (meant)
            return raise_meant(L);
    }
    return lua_error(L);
}

static int resumed(lua_State *L, lua_State *co, int status, int n, bool wrapped)
{
    struct vm *vm = vm_of(L);

    if (status != LUA_OK && status != LUA_YIELD)
        return fail(L, co, status, wrapped);
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        return luaL_error(L, "too many results to resume");
    }
    if (status == LUA_YIELD && vm->wait != WAIT_NOTHING) {   /* it waits for C, not for us: so do we */
        int base = lua_gettop(L);

        lua_xmove(co, L, n);                           /* ... values */
        return lua_yieldk(L, n, (lua_KContext)base << 1 | wrapped, after_wait);
    }
    if (!wrapped)
        lua_pushboolean(L, 1);
    lua_xmove(co, L, n);                               /* ... (true) values */
    return wrapped ? n : n + 1;
}

static int start(lua_State *L, lua_State *co, int n, bool wrapped)
{
    int got = 0, status;

    if (vm_is_base(co))
        return luaL_error(L, "this coroutine belongs to the gateway: only those that you created can be resumed");
    if (!lua_checkstack(co, n))
        return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, co, n);
    status = run(L, co, n, &got);
    return resumed(L, co, status, got, wrapped);
}

static int co_resume(lua_State *L)                     /* coroutine.resume(co, ...) */
{
    lua_State *co = check_coroutine(L);

    return start(L, co, lua_gettop(L) - 1, false);
}

static int co_wrapped(lua_State *L)
{
    return start(L, lua_tothread(L, lua_upvalueindex(1)), lua_gettop(L), true);
}

/* step(co) -> "done", first result | "failed", error | "sleep", ms | "news", ms or nil. For sluice.all: here an inner coroutine's wait ends. */
int sandbox_step(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_State *co = check_coroutine(L);
    unsigned outer = vm->n_tasks++;
    int n = 0, status;

    if (outer < TASKS_DEEP)
        vm->tasks[outer] = co;
    status = run(L, co, 0, &n);
    vm->n_tasks = outer;
    enum call_wait wait = vm->wait;

    vm->wait = WAIT_NOTHING;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushliteral(L, "failed");
        lua_xmove(co, L, 1);                           /* co "failed" error */
        return 2;
    }
    if (status == LUA_OK) {
        lua_settop(co, lua_gettop(co) - n + (n > 0));
        lua_pushliteral(L, "done");
        if (n > 0)
            lua_xmove(co, L, 1);
        else
            lua_pushnil(L);                            /* co "done" result */
        return 2;
    }
    lua_pop(co, n);
    if (wait != WAIT_SLEEP && wait != WAIT_NEWS) {
        lua_pushliteral(L, "failed");
        lua_pushstring(L, wait == WAIT_OUTPUT ? "cannot send text inside sluice.all" : "a function given to sluice.all yielded");
        return 2;
    }
    lua_pushstring(L, wait == WAIT_SLEEP ? "sleep" : "news");
    if (wait == WAIT_SLEEP || vm->wait_ms)
        lua_pushinteger(L, (lua_Integer)vm->wait_ms);
    else
        lua_pushnil(L);                                /* co state ms */
    return 2;
}

static int co_create(lua_State *L)                     /* coroutine.create(f) -> co */
{
    lua_State *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = lua_newthread(L);                             /* f co */
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int co_wrap(lua_State *L)                       /* coroutine.wrap(f) -> function */
{
    co_create(L);                                      /* f co */
    lua_pushcclosure(L, co_wrapped, 1);                /* f wrapped */
    return 1;
}

static int co_yield(lua_State *L)                      /* coroutine.yield(...) */
{
    if (vm_is_base(L))
        return luaL_error(L, "coroutine.yield outside of a coroutine that you created; to wait, call sluice.sleep");
    return lua_yield(L, lua_gettop(L));
}

static const char *state_of(lua_State *L, lua_State *co)
{
    lua_Debug ar;

    if (L == co)
        return "running";
    switch (lua_status(co)) {
    case LUA_YIELD:
        return "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar))
            return "normal";
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

static int co_status(lua_State *L)                     /* coroutine.status(co) -> string */
{
    lua_State *co = check_coroutine(L);

    lua_pushstring(L, state_of(L, co));
    return 1;
}

static int co_close(lua_State *L)                      /* coroutine.close(co) -> true | false, error */
{
    lua_State *co = check_coroutine(L);
    const char *state = state_of(L, co);
    struct vm *vm = vm_of(L);
    lua_State *outer;
    int status;

    if (vm_is_base(co))
        return luaL_error(L, "this coroutine belongs to the gateway: only those that you created can be closed");
    if (strcmp(state, "suspended") != 0 && strcmp(state, "dead") != 0)
        return luaL_error(L, "cannot close a %s coroutine", state);
    outer = atomic_load_explicit(&vm->running, memory_order_relaxed);
    vm->no_wait++;
    atomic_store_explicit(&vm->running, co, memory_order_relaxed);
    status = lua_resetthread(co);
    atomic_store_explicit(&vm->running, outer, memory_order_relaxed);
    vm->no_wait--;
    vm_not_caught(L, status == LUA_OK ? LUA_OK : status);
    if (status == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);                               /* co false error */
    return 2;
}

static int co_running(lua_State *L)                    /* coroutine.running() -> co, is_main */
{
    lua_pushthread(L);
    lua_pushboolean(L, vm_is_base(L));                 /* co main */
    return 2;
}

static int co_isyieldable(lua_State *L)
{
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;

    lua_pushboolean(L, !vm_is_base(co) && lua_isyieldable(co));
    return 1;
}

int sandbox_open_coroutine(lua_State *L)
{
    static const luaL_Reg list[] = {
        { "create", co_create }, { "wrap", co_wrap }, { "resume", co_resume }, { "yield", co_yield }, { "status", co_status },
        { "close", co_close }, { "running", co_running }, { "isyieldable", co_isyieldable }, { NULL, NULL },
    };

    luaL_newlib(L, list);
    return 1;
}
