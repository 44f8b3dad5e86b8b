/* The calls of an exchange's hooks, filters and answers. Each is a C function run on a pooled coroutine: it pushes the hook and its arguments
 * and calls it, so that whatever raises in between (memory above all) ends this call and nothing else.
 */
#include "script/exchange.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/semaphore.h"
#include "script/exchange_inside.h"
#include "script/state_value.h"
#include "wire/json.h"
#include "wire/utf8.h"

/* ---- ways into Lua */

int exchange_results(lua_State *L, int status, lua_KContext below)
{
    (void)status;
    return lua_gettop(L) - (int)below;
}

void exchange_push(lua_State *L, const struct exchange *x)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, x->ref);         /* x */
}

void exchange_push_function(lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_exchange);
    lua_getfield(L, -1, name);                         /* module f */
    lua_remove(L, -2);                                 /* f */
}

int exchange_of(lua_State *L)
{
    const struct call *c = vm_of(L)->call;

    if (!c || !c->exchange)
        return 0;
    exchange_push(L, c->exchange);
    return 1;
}

int exchange_random(lua_State *L)                      /* xorshift64* */
{
    const struct call *c = vm_of(L)->call;
    uint64_t *state;

    if (!c || !c->exchange)
        return 0;
    state = &c->exchange->random;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    lua_pushinteger(L, (lua_Integer)(*state * 0x2545F4914F6CDD1DULL));
    return 1;
}

#define BOX "sluice.box"

void exchange_push_box(lua_State *L, int first, int n)
{
    lua_newuserdatauv(L, 0, n);
    luaL_setmetatable(L, BOX);
    for (int i = 0; i < n; i++) {
        lua_pushvalue(L, first + i);
        lua_setiuservalue(L, -2, i + 1);
    }
}

int exchange_unbox(lua_State *L)
{
    luaL_checkudata(L, 1, BOX);
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    if (lua_getiuservalue(L, 1, 2) == LUA_TNONE)
        lua_pop(L, 1);
    return lua_gettop(L) - 1;
}

void exchange_box_open(lua_State *L)
{
    luaL_newmetatable(L, BOX);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void exchange_push_ctx(lua_State *L, const struct exchange *x, int policy)
{
    exchange_push(L, x);                               /* x */
    if (lua_rawgeti(L, -1, X_CTX + policy) == LUA_TTABLE) {   /* x ctx */
        lua_remove(L, -2);                             /* ctx */
        return;
    }
    lua_pop(L, 1);                                     /* x */
    lua_createtable(L, 1, 0);                          /* x ctx */
    lua_pushvalue(L, -2);
    lua_pushinteger(L, policy);                        /* x ctx x policy */
    exchange_push_box(L, lua_absindex(L, -2), 2);
    lua_rawseti(L, -4, 1);
    lua_pop(L, 2);                                     /* x ctx */
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_ctx_mt);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, X_CTX + policy);                /* x ctx */
    lua_remove(L, -2);                                 /* ctx */
}

void exchange_begin(struct exchange *x, struct call *c, unsigned budget_ms, int policy, const char *hook)
{
    call_begin(c, x->gateway->vm, budget_ms);
    c->exchange = x;
    c->by = (struct call_by){ x->id, x->route->name, x->route->policies[policy].name, hook };
    c->meter.on = x->metered;
}

enum call_state exchange_start(struct call *c, lua_CFunction entry, void *job)
{
    if (c->co) {
        lua_pushcfunction(c->co, entry);
        lua_pushlightuserdata(c->co, job);             /* entry job */
    }
    return call_run(c, 1);
}

enum call_state exchange_run(struct exchange *x, struct call *c, lua_CFunction entry, void *job, unsigned budget_ms, const char *no_wait)
{
    enum call_state state;

    call_begin(c, x->gateway->vm, budget_ms);
    c->exchange = x;
    c->meter.on = x->metered;
    c->no_wait = no_wait ? no_wait : "this is no hook";
    state = exchange_start(c, entry, job);
    assert(state != CALL_WAITS);
    return state;
}

/* ---- close */

static int close_entry(lua_State *L)                   /* (exchange) */
{
    struct exchange *x = lua_touserdata(L, 1);

    exchange_push(L, x);                               /* p x */
    for (size_t p = 0; p < x->route->n_policies; p++) {
        if (lua_rawgeti(L, 2, X_CTX + (lua_Integer)p) == LUA_TTABLE) {   /* p x ctx */
            lua_pushnil(L);
            while (lua_next(L, 3)) {                   /* p x ctx key value */
                lua_pop(L, 1);
                lua_pushvalue(L, -1);
                lua_pushnil(L);
                lua_rawset(L, 3);                      /* p x ctx key */
            }
            lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_over_mt);
            lua_setmetatable(L, 3);
        }
        lua_settop(L, 2);                              /* p x */
    }
    return 0;
}

void exchange_release(struct exchange *x)
{
    while (x->slots) {
        struct slot *slot = x->slots;

        x->slots = slot->next;
        slot_release(slot);
    }
    x->n_slots = 0;
}

void exchange_close(struct exchange *x)
{
    lua_State *L = x->gateway->vm->L;

    exchange_release(x);
    state_give_back(L, x);
    if (x->ref == LUA_NOREF)
        return;
    lua_pushcfunction(L, close_entry);
    lua_pushlightuserdata(L, x);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)               /* error */
        lua_pop(L, 1);                                 /* */
    luaL_unref(L, LUA_REGISTRYINDEX, x->ref);
    x->ref = LUA_NOREF;
}

/* ---- hooks */

static const int hook_shows[HOOK_COUNT] = {            /* a hook's first argument */
    [HOOK_ACCEPT] = X_REQ, [HOOK_VALIDATE] = X_REQ, [HOOK_ROUTE] = X_REQ, [HOOK_PROMPT] = X_REQ, [HOOK_ATTEMPT] = X_TRY, [HOOK_FALLBACK] = X_FAILURE,
    [HOOK_RESPONSE] = X_RESPONSE, [HOOK_TOOL_CALL] = X_CALL, [HOOK_FINISH] = X_FINISH, [HOOK_LOG] = X_SUMMARY,
};

struct hook_job { struct exchange *x; enum hook hook; const struct hook_entry *entry; };

static int hook_entry(lua_State *L)                    /* (job) */
{
    struct hook_job *job = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->entry->fn_ref);
    exchange_push(L, job->x);
    lua_rawgeti(L, 2, hook_shows[job->hook]);
    lua_remove(L, 2);                                  /* f req */
    exchange_push_ctx(L, job->x, job->entry->policy);  /* f req ctx */
    lua_callk(L, 2, LUA_MULTRET, 0, exchange_results);
    return lua_gettop(L);
}

enum call_state exchange_hook(struct exchange *x, struct call *c, enum hook h, size_t i)
{
    struct hook_job job = { x, h, &x->route->hooks[h][i] };

    assert(h != HOOK_ERROR && i < x->route->n_hooks[h]);
    exchange_begin(x, c, HOOK_MS, job.entry->policy, hook_names[h]);
    c->may_gate = h >= HOOK_VALIDATE && h <= HOOK_ATTEMPT;
    return exchange_start(c, hook_entry, &job);
}

static const unsigned hook_may[HOOK_COUNT] = {
    [HOOK_ACCEPT] = MAY_REJECT | MAY_REPLY, [HOOK_VALIDATE] = MAY_REJECT | MAY_REPLY | MAY_ANSWER,
    [HOOK_ROUTE] = MAY_REJECT | MAY_REPLY | MAY_ANSWER | MAY_ROUTE,
    [HOOK_PROMPT] = MAY_REJECT | MAY_REPLY | MAY_ANSWER, [HOOK_ATTEMPT] = MAY_REJECT,
    [HOOK_FALLBACK] = MAY_REJECT | MAY_REPLY | MAY_ANSWER | MAY_NEXT,
    [HOOK_RESPONSE] = MAY_REJECT, [HOOK_TOOL_CALL] = MAY_REJECT | MAY_STOP | MAY_DROP, [HOOK_FINISH] = MAY_STOP,
};

/* What a call that has returned said; nothing is a pass. */
static void read_result(struct exchange *x, struct call *c, const struct sayer *who, struct verdict *ret)
{
    int first = lua_gettop(c->co) - c->n_results + 1;

    memset(ret, 0, sizeof *ret);
    if (c->n_results > 0 && !lua_isnil(c->co, first))
        verdict_read(x, c, first, who, ret, NULL);
}

void exchange_verdict(struct exchange *x, struct call *c, enum hook h, size_t i, struct verdict *ret)
{
    const struct hook_entry *entry = &x->route->hooks[h][i];
    struct sayer who = { x->route->policies[entry->policy].name, hook_names[h], entry->fn_ref, hook_may[h] };

    read_result(x, c, &who, ret);
}

/* ---- what is reserved elsewhere */

bool exchange_owes(const struct exchange *x)
{
    lua_State *L = x->gateway->vm->L;

    int top = lua_gettop(L);

    if (x->ref == LUA_NOREF)
        return false;
    exchange_push(L, x);                               /* x */
    bool owes = false;
    if (lua_rawgeti(L, -1, X_HELD) == LUA_TTABLE) {    /* x held? */
        lua_pushnil(L);
        owes = lua_next(L, -2) != 0;                   /* x held (reservation true)? */
    }
    lua_settop(L, top);
    return owes;
}

static int give_back_entry(lua_State *L)               /* (exchange) */
{
    struct exchange *x = lua_touserdata(L, 1);

    lua_settop(L, 0);
    exchange_push_function(L, "give_back");            /* f */
    exchange_push(L, x);                               /* f x */
    lua_callk(L, 1, 0, 0, exchange_results);
    return 0;
}

enum call_state exchange_give_back(struct exchange *x, struct call *c)
{
    call_begin(c, x->gateway->vm, HOOK_MS);
    c->exchange = x;
    return exchange_start(c, give_back_entry, x);
}

/* ---- gates */

enum call_state exchange_gate(struct exchange *x, struct call *c, int policy, enum hook hook, int fn_ref)
{
    exchange_begin(x, c, HOOK_MS, policy, hook_names[hook]);
    if (c->co)
        lua_rawgeti(c->co, LUA_REGISTRYINDEX, fn_ref);
    return call_run(c, 0);
}

void exchange_gate_verdict(struct exchange *x, struct call *c, int policy, enum hook hook, int fn_ref, struct verdict *ret)
{
    struct sayer who = { x->route->policies[policy].name, hook_names[hook], fn_ref, MAY_REJECT | MAY_REPLY };

    read_result(x, c, &who, ret);
}

void exchange_gate_over(struct exchange *x, int fn_ref) { luaL_unref(x->gateway->vm->L, LUA_REGISTRYINDEX, fn_ref); }

/* ---- Lua models */

struct answer_job { struct exchange *x; const struct model *model; };

static int answer_entry(lua_State *L)                  /* (job) */
{
    struct answer_job *job = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->model->answer_ref);
    exchange_push(L, job->x);
    if (lua_rawgeti(L, 2, X_TRY) == LUA_TNIL) {        /* f x try? */
        lua_pop(L, 1);
        lua_rawgeti(L, 2, X_REQ);
    }
    lua_remove(L, 2);                                  /* f req */
    exchange_push_function(L, "out");                  /* f req out */
    lua_callk(L, 2, LUA_MULTRET, 0, exchange_results);
    return lua_gettop(L);
}

enum call_state exchange_answer(struct exchange *x, struct call *c, const struct model *m)
{
    struct answer_job job = { x, m };

    call_begin(c, x->gateway->vm, HOOK_MS);
    c->exchange = x;
    c->may_output = true;
    c->meter.on = x->metered;
    return exchange_start(c, answer_entry, &job);
}

void exchange_answer_verdict(struct exchange *x, struct call *c, const struct model *m, struct verdict *ret)
{
    struct sayer who = { NULL, "a model's answer(req, out)", m->answer_ref, MAY_REJECT };

    read_result(x, c, &who, ret);
}

const char *exchange_output(struct call *c, size_t *len)
{
    assert(c->wait == WAIT_OUTPUT);
    return lua_tolstring(c->co, -1, len);
}

/* ---- what policies left for C to read: lists of name, value, name, value of strings, so nothing here can raise */

static size_t pairs_of(struct exchange *x, int slot, void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    lua_State *L = x->gateway->vm->L;
    size_t n = 0;

    if (x->ref == LUA_NOREF)
        return 0;
    exchange_push(L, x);                               /* x */
    if (lua_rawgeti(L, -1, slot) == LUA_TTABLE) {      /* x list */
        n = lua_rawlen(L, -1) / 2;
        for (size_t i = 0; i < n; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i * 2 + 1);
            lua_rawgeti(L, -2, (lua_Integer)i * 2 + 2);   /* x list name value */
            fn(arg, lua_tostring(L, -2), lua_tostring(L, -1));
            lua_pop(L, 2);                             /* x list */
        }
    }
    lua_pop(L, 2);                                     /* */
    return n;
}

struct header_list { struct header *h; size_t n, max; };

static void add_header(void *arg, const char *name, const char *value)
{
    struct header_list *list = arg;

    if (list->n < list->max)
        list->h[list->n++] = (struct header){ name, value };
}

size_t exchange_headers(struct exchange *x, struct header *ret, size_t max)
{
    struct header_list list = { ret, 0, max };

    pairs_of(x, X_HEADERS, add_header, &list);
    return list.n;
}

void exchange_tags(struct exchange *x, void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    pairs_of(x, X_TAGS, fn, arg);
}

/* ---- whom it is for */

struct key_job { struct exchange *x; struct buf *ret; };

static int key_entry(lua_State *L)                     /* (job) */
{
    struct key_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push(L, job->x);
    if (lua_rawgeti(L, -1, X_SHARED) != LUA_TTABLE)
        return 0;
    if (lua_getfield(L, -1, "key") == LUA_TTABLE)
        lua_getfield(L, -1, "id");                     /* a script's table: perhaps its function */
    s = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER ? lua_tolstring(L, -1, &len) : NULL;
    if (s)
        buf_append(job->ret, s, len);
    lua_settop(L, 0);
    lua_pushboolean(L, s != NULL);
    return 1;
}

bool exchange_key(struct exchange *x, struct buf *ret)
{
    struct key_job job = { x, ret };
    struct call c;
    bool found;

    if (x->ref == LUA_NOREF)
        return false;
    found = exchange_run(x, &c, key_entry, &job, HOOK_MS, "this is no hook") == CALL_RETURNED && c.n_results == 1 && lua_toboolean(c.co, -1);
    call_finish(&c);
    return found;
}
