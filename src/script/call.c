/* A call on a pooled coroutine. The happy path is call_begin, one lua_resume, call_finish: no table, no thread is made. */
#include "script/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "script/cache_value.h"
#include "script/inside.h"
#include "script/service.h"

void call_begin(struct call *c, struct vm *vm, unsigned budget_ms)
{
    memset(c, 0, sizeof *c);
    c->vm = vm;
    c->budget_ms = budget_ms;
    c->co = vm_take_coroutine(vm, &c->co_ref);
}

static bool has_place(const char *message)
{
    const char *colon = strchr(message, ':');

    return colon && colon > message && colon[1] >= '0' && colon[1] <= '9';
}

/* The sentence about an error value that lies on top of `co`; its stack still stands. Allocates nothing in Lua. */
static char *explain(struct call *c, lua_State *co)
{
    char where[160] = "", function[80] = "";
    const char *said = lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : NULL;
    bool placed = vm_place(co, where, sizeof where, function, sizeof function);
    struct buf text = BUF_EMPTY;

    (void)c;
    if (said && has_place(said)) {
        buf_puts(&text, said);
        if (placed && strncmp(said, where, strlen(where)) != 0 && strncmp(said, "lua/", 4) == 0)
            buf_printf(&text, " (called from %s)", where);
    } else {
        if (placed)
            buf_printf(&text, "%s: ", where);
        if (said)
            buf_puts(&text, said);
        else
            buf_printf(&text, "an error that is no text was raised: a %s", lua_typename(co, lua_type(co, -1)));
    }
    if (placed && function[0])
        buf_printf(&text, " (in %s)", function);
    secret_scrub(&text);
    buf_cstr(&text);
    return text.data;
}

static char *explain_kill(struct call *c)
{
    const char *at = c->failure == CALL_MEMORY ? c->vm->short_at : c->vm->killed_at;
    const char *sep = at[0] ? ": " : "";

    if (c->failure == CALL_MEMORY)
        return mem_format("%s%sthis call needed more memory than a call may have", at, sep);
    return mem_format("%s%sthis call used up its %u ms of processor time", at, sep, c->budget_ms);
}

static bool has_metatable(lua_State *co, int ref)
{
    bool same;

    if (lua_type(co, -1) != LUA_TTABLE || !lua_getmetatable(co, -1))   /* error mt */
        return false;
    lua_rawgeti(co, LUA_REGISTRYINDEX, ref);           /* error mt wanted */
    same = lua_rawequal(co, -1, -2);
    lua_pop(co, 2);                                    /* error */
    return same;
}

/* A service's error (lua/sluice/service.lua): its sentence is the array's first item, a string. */
static char *explain_service(struct call *c)
{
    char *text;

    lua_rawgeti(c->co, -1, 1);                         /* error sentence */
    text = mem_string(lua_type(c->co, -1) == LUA_TSTRING ? lua_tostring(c->co, -1) : "a service failed");
    lua_pop(c->co, 1);                                 /* error */
    return text;
}

/* The failed coroutine is unwound here, still inside the call, since to-be-closed variables are scripts too. A killed one is not: its
 * hooks may be off for good, so that a loop in a __close would never end; it is dropped whole instead. */
static enum call_state failed(struct call *c, int status)
{
    struct vm *vm = c->vm;
    lua_State *L = vm->L;
    bool verdict = status == LUA_ERRRUN && has_metatable(c->co, vm->ref_verdict_mt);
    char function[80];

    if (status == LUA_ERRRUN && has_metatable(c->co, vm->ref_service_error_mt)) {
        if (!vm_place(c->co, vm->failed_at, sizeof vm->failed_at, function, sizeof function))
            vm->failed_at[0] = '\0';
        c->failure = CALL_DEPENDENCY;
        c->message = explain_service(c);
    } else if (!verdict) {
        c->failure = CALL_RAISED;
        if (vm->metrics && !vm_meant(c->co))
            metrics_add(vm->metrics, METRIC_lua_accidents, 1);
        c->message = explain(c, c->co);
    }
    lua_xmove(c->co, L, 1);                            /* main: error */
    lua_resetthread(c->co);
    lua_settop(c->co, 0);
    lua_xmove(L, c->co, 1);                            /* main: */
    c->n_results = 1;
    return verdict ? CALL_RETURNED : CALL_FAILED;
}

static enum call_state killed(struct call *c)
{
    c->failure = c->vm->killed == KILL_MEMORY ? CALL_MEMORY : CALL_TIMEOUT;
    free(c->message);
    c->message = explain_kill(c);
    c->n_results = 0;
    luaL_unref(c->vm->L, LUA_REGISTRYINDEX, c->co_ref);
    c->co = NULL;
    return CALL_FAILED;
}

#define SLOW_EVERY_MS 1000                             /* at most one such line of a VM */

static void tell_slow(const struct call *c)
{
    struct vm *vm = c->vm;
    struct log_line line;

    if (!c->by.policy || (vm->slow_told_ms && vm->now_ms - vm->slow_told_ms < SLOW_EVERY_MS) || !log_begin(&line, LOG_WARN, "policy.slow"))
        return;
    vm->slow_told_ms = vm->now_ms;
    log_str(&line, "id", c->by.id);
    log_str(&line, "route", c->by.route);
    log_str(&line, "policy", c->by.policy);
    log_str(&line, "hook", c->by.hook);
    log_str(&line, "at", vm->slow_at);
    log_str(&line, "in", vm->slow_in[0] ? vm->slow_in : NULL);
    log_int(&line, "budget_ms", c->budget_ms);
    log_str(&line, "message", "took more than a tenth of the processor time that it may have");
    log_end(&line);
}

static uint64_t cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static enum call_state go(struct call *c, int nargs)
{
    struct vm *vm = c->vm;
    enum call_state state = CALL_RETURNED;
    int status, n = 0;

    if (!c->co) {
        vm->killed = KILL_MEMORY;
        vm->short_at[0] = '\0';
        c->failure = CALL_MEMORY;
        c->message = explain_kill(c);
        return CALL_FAILED;
    }
    c->wait = WAIT_NOTHING;
    vm->call = c;
    vm->n_tasks = 0;
    c->news = false;
    vm->may_output = c->may_output;
    vm->no_wait = c->no_wait != NULL;
    vm->no_wait_why = c->no_wait;
    vm_enter(vm, c->co, c->budget_ms);
    uint64_t began = c->meter.on ? cpu_now() : 0;
    status = lua_resume(c->co, NULL, nargs, &n);
    if (c->meter.on)
        c->meter.cpu_ns += cpu_now() - began;
    c->n_results = n;
    if (status == LUA_ERRMEM)
        vm->killed = KILL_MEMORY;
    if (status == LUA_YIELD && vm->killed == KILL_NOT) {
        c->wait = vm->wait;
        c->wait_ms = vm->wait_ms;
        c->meter.waited = true;
        state = CALL_WAITS;
    } else if (status != LUA_OK && vm->killed == KILL_NOT) {
        state = failed(c, status);
    }
    vm_leave(vm);
    vm->call = NULL;
    if (vm->slow == SLOW_SEEN && vm->killed == KILL_NOT)
        tell_slow(c);
    return vm->killed != KILL_NOT ? killed(c) : state;
}

enum call_state call_run(struct call *c, int nargs)
{
    return go(c, nargs);
}

enum call_state call_resume(struct call *c, int nvalues)
{
    for (int i = 0; i < c->n_results; i++)             /* what the wait left there, such as out:text's string */
        lua_remove(c->co, -(nvalues + 1));
    return go(c, nvalues);
}

static void free_wishes(struct call *c)
{
    while (c->wants || c->answers) {
        struct service_call **from = c->wants ? &c->wants : &c->answers, *w = *from;

        *from = w->next;
        service_call_free(w);
    }
    while (c->gates) {
        struct gate_want *g = c->gates;

        c->gates = g->next;
        luaL_unref(c->vm->L, LUA_REGISTRYINDEX, g->fn_ref);
        free(g);
    }
}

void call_finish(struct call *c)
{
    if (!c->vm)
        return;
    cache_value_leave(c);
    free_wishes(c);
    if (c->co)
        vm_give_coroutine(c->vm, c->co, c->co_ref, true);
    free(c->message);
    memset(c, 0, sizeof *c);
}

void call_cancel(struct call *c)
{
    struct vm *vm = c->vm;

    if (!vm)
        return;
    if (c->co && lua_status(c->co) == LUA_YIELD) {
        vm->no_wait = 1;
        vm->no_wait_why = "this call is being cancelled";
        vm->call = c;
        vm->n_tasks = 0;
        vm_enter(vm, c->co, c->budget_ms ? c->budget_ms : 100);
        lua_resetthread(c->co);
        vm_leave(vm);
        vm->call = NULL;
        if (vm->killed != KILL_NOT) {
            luaL_unref(vm->L, LUA_REGISTRYINDEX, c->co_ref);
            c->co = NULL;
        }
    }
    call_finish(c);
}
