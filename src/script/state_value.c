/* Limiters, counters and semaphores as scripts hold them. None of their methods waits. */
#include "script/state_value.h"

#include <math.h>
#include <string.h>

#include "base/counter.h"
#include "base/limiter.h"
#include "base/semaphore.h"
#include "script/exchange.h"
#include "script/inside.h"

/* ---- limiters */

#define LIMITER "sluice.limiter"

static int limiter_gc(lua_State *L)
{
    struct limiter **l = luaL_checkudata(L, 1, LIMITER);

    if (*l)
        limiter_close(*l);
    *l = NULL;
    return 0;
}

static lua_Integer seconds_up(uint64_t ms) { return (lua_Integer)((ms + 999) / 1000); }

static int limiter_lua_take(lua_State *L)              /* l:take(key [, cost]) -> ok, retry_in s, left, reset_in s */
{
    struct limiter **l = luaL_checkudata(L, 1, LIMITER);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    lua_Number cost = luaL_optnumber(L, 3, 1);
    struct limiter_answer a;

    luaL_argcheck(L, cost >= 0 && isfinite(cost), 3, "a cost is a number of 0 or more");
    a = limiter_take(*l, key, len, cost, vm_now(vm_of(L)));
    lua_pushboolean(L, a.ok);
    lua_pushinteger(L, a.ok ? 0 : seconds_up(a.retry_ms));
    lua_pushinteger(L, (lua_Integer)floor(a.left));
    lua_pushinteger(L, seconds_up(a.reset_ms));        /* ok retry left reset */
    return 4;
}

int state_limiter(lua_State *L)                        /* host.limiter(name, rate, per_ms, burst) -> limiter */
{
    const char *name = luaL_checkstring(L, 1);
    struct limiter_rule rule = { .rate = luaL_checknumber(L, 2), .per_ms = (uint64_t)luaL_checkinteger(L, 3), .burst = luaL_checknumber(L, 4) };
    struct limiter **l = lua_newuserdatauv(L, sizeof *l, 0);   /* ... limiter */

    *l = NULL;
    luaL_setmetatable(L, LIMITER);
    *l = limiter_open(name, &rule);
    return 1;
}

/* ---- counters */

#define COUNTER "sluice.counter"
#define RESERVED "sluice.reservation"

static int counter_gc(lua_State *L)
{
    struct counter **c = luaL_checkudata(L, 1, COUNTER);

    if (*c)
        counter_close(*c);
    *c = NULL;
    return 0;
}

static struct counter *check_counter(lua_State *L)
{
    return *(struct counter **)luaL_checkudata(L, 1, COUNTER);
}

static double check_amount(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);

    luaL_argcheck(L, isfinite(n), arg, "must be a number that is not infinite");
    return n;
}

static int64_t unix_now(lua_State *L) { return vm_of(L)->unix_ms; }

static int counter_lua_add(lua_State *L)               /* c:add(key, n = 1) -> the sum of this window */
{
    struct counter *c = check_counter(L);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);

    lua_pushnumber(L, counter_add(c, key, len, lua_isnoneornil(L, 3) ? 1 : check_amount(L, 3), unix_now(L)));
    return 1;
}

static int counter_lua_get(lua_State *L)               /* c:get(key) -> the sum of this window */
{
    struct counter *c = check_counter(L);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);

    lua_pushnumber(L, counter_get(c, key, len, unix_now(L)));
    return 1;
}

struct reserved {
    struct counter *counter;                           /* NULL: settled. Kept open by the user value beside it */
    struct reserved *next, **at;                       /* among those of its exchange; at NULL: in none */
    struct reservation r;
    size_t len;
    char key[];
};

static void note(struct exchange *x, struct reserved *r)
{
    r->next = x->reserved;
    r->at = &x->reserved;
    if (r->next)
        r->next->at = &r->next;
    x->reserved = r;
}

/* c:reserve(key, n, limit) -> reservation | nil, seconds until it might fit (absent: never) */
static int counter_lua_reserve(lua_State *L)
{
    struct counter *c = check_counter(L);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    double n = check_amount(L, 3), limit = check_amount(L, 4);
    struct call *call = vm_of(L)->call;
    struct reserved *r;
    int64_t retry;

    luaL_argcheck(L, n >= 0, 3, "a reservation is 0 or more");
    r = lua_newuserdatauv(L, sizeof *r + len, 1);
    r->counter = NULL;
    r->at = NULL;
    r->len = len;
    memcpy(r->key, key, len);
    luaL_setmetatable(L, RESERVED);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    if (counter_reserve(c, key, len, n, limit, unix_now(L), &r->r, &retry)) {
        r->counter = c;
        if (call && call->exchange)
            note(call->exchange, r);
        return 1;
    }
    lua_pushnil(L);
    if (retry == INT64_MAX)
        return 1;
    lua_pushinteger(L, (retry + 999) / 1000);
    return 2;
}

static void settle(lua_State *L, struct reserved *r, double actual)
{
    if (r->counter)
        counter_settle(r->counter, r->key, r->len, &r->r, actual, unix_now(L));
    r->counter = NULL;
    if (r->at) {
        *r->at = r->next;
        if (r->next)
            r->next->at = r->at;
        r->at = NULL;
    }
}

void state_give_back(lua_State *L, struct exchange *x)
{
    while (x->reserved)
        settle(L, x->reserved, 0);
}

static int reserved_settle(lua_State *L)               /* r:settle(actual): counts that in place of what was reserved; once */
{
    struct reserved *r = luaL_checkudata(L, 1, RESERVED);
    double actual = check_amount(L, 2);

    luaL_argcheck(L, actual >= 0, 2, "a cost is 0 or more");
    settle(L, r, actual);
    return 0;
}

static int reserved_gc(lua_State *L)                   /* of no exchange and never settled: given back */
{
    settle(L, luaL_checkudata(L, 1, RESERVED), 0);
    return 0;
}

int state_counter(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    uint64_t window_ms = (uint64_t)luaL_checkinteger(L, 2);
    struct counter **c = lua_newuserdatauv(L, sizeof *c, 0);

    *c = NULL;
    luaL_setmetatable(L, COUNTER);
    *c = counter_open(name, window_ms);
    return 1;
}

/* ---- semaphores */

#define SEMAPHORE "sluice.semaphore"
#define SLOTS_MAX 64                                   /* of one exchange: they are not in the VM's memory */

struct semaphore_value { struct semaphore *semaphore; lua_Integer limit; };

static int semaphore_gc(lua_State *L)
{
    struct semaphore_value *v = luaL_checkudata(L, 1, SEMAPHORE);

    if (v->semaphore)
        semaphore_close(v->semaphore);
    v->semaphore = NULL;
    return 0;
}

/* s:take(key [, limit]) -> ok, left. The slot is the exchange's, which gives it back when its answer is over, however that ends. */
static int semaphore_lua_take(lua_State *L)
{
    struct semaphore_value *v = luaL_checkudata(L, 1, SEMAPHORE);
    struct call *call = vm_of(L)->call;
    struct exchange *x = call ? call->exchange : NULL;
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);
    lua_Integer limit = luaL_optinteger(L, 3, v->limit);
    uint64_t held;

    luaL_argcheck(L, limit >= 0, 3, "a limit is 0 or more");
    if (!x)
        return luaL_error(L, "a slot is held until a request's answer is over: take it in a hook");
    if (x->n_slots == SLOTS_MAX)
        return luaL_error(L, "a request may hold %d slots", SLOTS_MAX);
    struct slot *slot = semaphore_take(v->semaphore, key, len, (uint64_t)limit, &held);
    if (slot) {                                        /* nothing may raise before it is the exchange's */
        slot->next = x->slots;
        x->slots = slot;
        x->n_slots++;
    }
    lua_pushboolean(L, slot != NULL);
    lua_pushinteger(L, held < (uint64_t)limit ? limit - (lua_Integer)held : 0);   /* ok left */
    return 2;
}

static int semaphore_lua_held(lua_State *L)            /* s:held(key) -> how many are taken */
{
    struct semaphore_value *v = luaL_checkudata(L, 1, SEMAPHORE);
    size_t len;
    const char *key = luaL_checklstring(L, 2, &len);

    lua_pushinteger(L, (lua_Integer)semaphore_held(v->semaphore, key, len));
    return 1;
}

int state_semaphore(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_Integer limit = luaL_checkinteger(L, 2);
    struct semaphore_value *v = lua_newuserdatauv(L, sizeof *v, 0);

    *v = (struct semaphore_value){ NULL, limit };
    luaL_setmetatable(L, SEMAPHORE);
    v->semaphore = semaphore_open(name);
    return 1;
}

void state_metatable(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);                        /* mt */
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);                                     /* */
}

void state_open(lua_State *L)
{
    static const luaL_Reg limiter[] = { { "take", limiter_lua_take }, { NULL, NULL } };
    static const luaL_Reg counter[] = { { "add", counter_lua_add }, { "get", counter_lua_get }, { "reserve", counter_lua_reserve }, { NULL, NULL } };
    static const luaL_Reg semaphore[] = { { "take", semaphore_lua_take }, { "held", semaphore_lua_held }, { NULL, NULL } };
    static const luaL_Reg reserved[] = { { "settle", reserved_settle }, { NULL, NULL } };

    state_metatable(L, LIMITER, limiter, limiter_gc);
    state_metatable(L, COUNTER, counter, counter_gc);
    state_metatable(L, RESERVED, reserved, reserved_gc);
    state_metatable(L, SEMAPHORE, semaphore, semaphore_gc);
}
