/* Caches as scripts hold them. Values go in and out as bytes (packed.h), so each reader has a copy of its own.
 *
 * fetch: one call gets the lease for a key and runs its loader; all others, on whatever worker, sleep a little and look again. The lease is a to-be-closed
 * value on the stack of that call and a link in its list, so it ends when the loader raises, when the call is cancelled, and when it is killed.
 */
#include "script/cache_value.h"

#include <string.h>

#include "base/cache.h"
#include "base/log.h"
#include "script/exchange_inside.h"
#include "script/inside.h"
#include "script/packed.h"
#include "script/state_value.h"
#include "script/units.h"

#define CACHE "sluice.cache"
#define LOAD "sluice.load"
#define PAUSE_MIN 2                                    /* ms between looks of one that waits: twice as long each time ... */
#define PAUSE_MAX 50                                   /* ... up to this */

struct cache_value {
    struct cache *cache;                               /* NULL: closed */
    uint64_t ttl_ms;                                   /* of values that say no other; 0: for ever */
};

struct load {                                          /* a value that this call loads for all; its user value keeps the cache open */
    struct load *next;                                 /* of the same call */
    struct call *call;                                 /* NULL: over */
    const lua_State *task;                             /* of sluice.all, within which it began; NULL: none */
    struct cache *cache;
    uint64_t lease;
    size_t len;
    char key[];
};

/* ---- arguments */

static struct cache_value *check_cache(lua_State *L, const char *method)
{
    struct cache_value *v = luaL_testudata(L, 1, CACHE);

    if (!v)
        luaL_error(L, "%s belongs to a cache: write cache:%s(...) with a colon", method, method);
    return v;
}

static const char *check_key(lua_State *L, size_t *len)
{
    if (!lua_isstring(L, 2))
        luaL_error(L, "the key of a cached value is text, not %s", luaL_typename(L, 2));
    return lua_tolstring(L, 2, len);
}

/* The options at idx: { ttl = "5s" } or nothing. */
static uint64_t check_ttl(lua_State *L, int idx, uint64_t usual)
{
    char why[UNITS_SENTENCE];
    const char *text;
    uint64_t ms;
    size_t len;

    if (lua_isnoneornil(L, idx))
        return usual;
    if (!lua_istable(L, idx))
        luaL_error(L, "the options of a cached value are a table such as { ttl = \"5s\" }, not a %s", luaL_typename(L, idx));
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "ttl") != 0)
            luaL_error(L, "a cached value has no option \"%s\" (it has ttl)", luaL_tolstring(L, -2, NULL));
    }
    if (lua_getfield(L, idx, "ttl") == LUA_TNIL) {     /* ttl */
        lua_pop(L, 1);                                 /* */
        return usual;
    }
    text = luaL_tolstring(L, -1, &len);                /* ttl text */
    if (units_duration(text, len, &ms, why) != 0)
        luaL_error(L, "ttl: %s", why);
    if (ms == 0)
        luaL_error(L, "ttl must be longer than nothing; cache:delete(key) forgets a value");
    lua_pop(L, 2);                                     /* */
    return ms;
}

static uint64_t end_of(lua_State *L, uint64_t ttl_ms) { return ttl_ms ? vm_now(vm_of(L)) + ttl_ms : CACHE_FOR_EVER; }

/* ---- values as bytes: in the VM's scratch buffer, since pushing may raise */

static struct buf *scratch(lua_State *L)
{
    struct buf *b = &vm_of(L)->scratch;

    b->len = 0;
    return b;
}

static struct buf *pack(lua_State *L, int idx)
{
    struct buf *b = scratch(L);
    const char *wrong = packed_write(L, idx, b);

    vm_not_caught(L, LUA_OK);
    if (wrong)
        luaL_error(L, "%s cannot be kept in a cache (it keeps text, numbers, booleans and plain tables of them)", wrong);
    return b;
}

static int unpack(lua_State *L)                        /* -> 1: the value of the scratch buffer is on top */
{
    struct buf *b = &vm_of(L)->scratch;

    packed_read(L, b->data, b->len);
    if (b->cap > GROWN)
        buf_free(b);
    return 1;
}

static const char *push_too_large(lua_State *L, const struct cache *c, size_t key_len, size_t len)
{
    return lua_pushfstring(L, "the value takes %I bytes with its key, more than the %I that one may take in the cache \"%s\" (a sixteenth of max_bytes, at most 1 MiB)",
                           (LUAI_UACINT)cache_takes(c, key_len, len), (LUAI_UACINT)cache_room(c), cache_name(c));
}

/* ---- get, set, delete */

static int lua_get(lua_State *L)                       /* c:get(key) -> value | nil */
{
    struct cache_value *v = check_cache(L, "get");
    size_t len;
    const char *key = check_key(L, &len);

    if (cache_get(v->cache, key, len, vm_now(vm_of(L)), scratch(L)))
        return unpack(L);
    lua_pushnil(L);
    return 1;
}

static int lua_set(lua_State *L)                       /* c:set(key, value [, { ttl }]) -> true | nil, why: too large */
{
    struct cache_value *v = check_cache(L, "set");
    size_t len;
    const char *key = check_key(L, &len);
    uint64_t ttl = check_ttl(L, 4, v->ttl_ms);
    struct buf *b;

    if (lua_isnoneornil(L, 3))
        return luaL_error(L, "a cache keeps no nil; cache:delete(key) forgets a value");
    b = pack(L, 3);
    if (cache_set(v->cache, key, len, b->data, b->len, end_of(L, ttl), vm_of(L)->now_ms)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    push_too_large(L, v->cache, len, b->len);          /* nil why */
    return 2;
}

static int lua_delete(lua_State *L)                    /* c:delete(key) */
{
    struct cache_value *v = check_cache(L, "delete");
    size_t len;
    const char *key = check_key(L, &len);

    cache_delete(v->cache, key, len);
    return 0;
}

/* ---- fetch */

static void unlink_load(struct load *load)
{
    struct load **p = &load->call->loads;

    while (*p != load)
        p = &(*p)->next;
    *p = load->next;
    load->call = NULL;
}

static void give_up(struct load *load)
{
    if (!load->call)
        return;
    unlink_load(load);
    cache_give_up(load->cache, load->key, load->len, load->lease);
}

static int load_over(lua_State *L)                     /* __close, __gc */
{
    give_up(luaL_checkudata(L, 1, LOAD));
    return 0;
}

void cache_value_leave(struct call *c)
{
    while (c->loads)
        give_up(c->loads);
}

static struct load *new_load(lua_State *L, struct cache *cache, const char *key, size_t len)   /* ... load */
{
    struct load *load = lua_newuserdatauv(L, sizeof *load + len, 1);

    memset(load, 0, sizeof *load);
    load->cache = cache;
    load->len = len;
    memcpy(load->key, key, len);
    luaL_setmetatable(L, LOAD);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return load;
}

/* cache key loader options load value why: the loader has returned. */
static int loaded(lua_State *L, int status, lua_KContext k)
{
    struct cache_value *v = lua_touserdata(L, 1);
    struct load *load = lua_touserdata(L, 5);
    uint64_t ttl = check_ttl(L, 4, v->ttl_ms);
    struct buf *b;

    (void)status, (void)k;
    if (lua_isnil(L, 6))
        return 2;                                      /* nil why; __close gives the lease up */
    b = pack(L, 6);
    if (load->call) {
        unlink_load(load);
        if (!cache_keep(v->cache, load->key, load->len, load->lease, b->data, b->len, end_of(L, ttl), vm_of(L)->now_ms))
            log_say(LOG_WARN, "cache.too_large", "%s", push_too_large(L, v->cache, load->len, b->len));
    }
    return unpack(L);
}

/* Whether the loader of that key is what we are inside of: to wait for it would never end. Another task of the same sluice.all is not. */
static bool ours(const struct vm *vm, const struct cache *c, const char *key, size_t len)
{
    for (const struct load *load = vm->call->loads; load; load = load->next) {
        bool inside = !load->task;

        for (unsigned i = 0; i < vm->n_tasks && i < TASKS_DEEP; i++)
            inside = inside || vm->tasks[i] == load->task;
        if (inside && load->cache == c && load->len == len && memcmp(load->key, key, len) == 0)
            return true;
    }
    return false;
}

static const lua_State *task_of(const struct vm *vm)
{
    return vm->n_tasks == 0 ? NULL : vm->tasks[vm->n_tasks <= TASKS_DEEP ? vm->n_tasks - 1 : TASKS_DEEP - 1];
}

static int look(lua_State *L, int status, lua_KContext pause);

/* cache key loader options load: found missing, and this call has the lease. */
static int run_loader(lua_State *L, struct load *load, uint64_t lease)
{
    load->lease = lease;
    load->task = task_of(vm_of(L));
    load->call = vm_of(L)->call;
    load->next = load->call->loads;
    load->call->loads = load;
    lua_toclose(L, 5);
    lua_pushvalue(L, 3);
    lua_callk(L, 0, 2, 0, loaded);                     /* cache key loader options load value why */
    return loaded(L, LUA_OK, 0);
}

static int wait(lua_State *L, lua_KContext pause)
{
    struct vm *vm = vm_of(L);

    vm->wait = WAIT_SLEEP;
    vm->wait_ms = (uint64_t)pause;
    return lua_yieldk(L, 0, pause < PAUSE_MAX / 2 ? 2 * pause : PAUSE_MAX, look);
}

static int look(lua_State *L, int status, lua_KContext pause)
{
    struct vm *vm = vm_of(L);
    struct cache *c = ((struct cache_value *)lua_touserdata(L, 1))->cache;
    struct load *load;
    uint64_t lease;
    size_t len;
    const char *key = lua_tolstring(L, 2, &len);

    (void)status;
    lua_settop(L, 4);
    if (cache_get(c, key, len, vm->now_ms, scratch(L)))
        return unpack(L);
    if (ours(vm, c, key, len))
        return luaL_error(L, "this call is loading that key of the cache \"%s\" already: its loader would wait for itself", cache_name(c));
    load = new_load(L, c, key, len);                   /* before the lease: this may raise */
    switch (cache_fetch(c, key, len, vm->now_ms, scratch(L), &lease)) {
    case CACHE_VALUE:
        return unpack(L);
    case CACHE_LEASED:
        return run_loader(L, load, lease);
    case CACHE_LOADING:
        lua_settop(L, 4);
        return wait(L, pause);
    }
    return 0;
}

static int lua_fetch(lua_State *L)                     /* c:fetch(key, loader [, { ttl }]) -> value | nil, why: the loader's */
{
    struct cache_value *v = check_cache(L, "fetch");
    size_t len;

    check_key(L, &len);
    if (!lua_isfunction(L, 3))
        return luaL_error(L, "cache:fetch takes a function that loads the value, not %s", luaL_typename(L, 3));
    check_ttl(L, 4, v->ttl_ms);
    exchange_check_may_wait(L, "fetch");                     /* whether or not the value is there: nothing works by luck */
    return look(L, LUA_OK, PAUSE_MIN);
}

/* ---- open, close */

static int close_cache(lua_State *L)                   /* __gc */
{
    struct cache_value *v = luaL_checkudata(L, 1, CACHE);

    if (v->cache)
        cache_close(v->cache);
    v->cache = NULL;
    return 0;
}

static int no_method(lua_State *L)                     /* __index of the methods: (methods, name) */
{
    return luaL_error(L, "a cache has no \"%s\" (it has delete, fetch, get, set)", luaL_tolstring(L, 2, NULL));
}

int cache_value_new(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    uint64_t max_bytes = (uint64_t)luaL_checkinteger(L, 2), ttl = (uint64_t)luaL_checkinteger(L, 3);
    struct cache_value *v = lua_newuserdatauv(L, sizeof *v, 0);   /* ... cache */

    *v = (struct cache_value){ NULL, ttl };
    luaL_setmetatable(L, CACHE);
    v->cache = cache_open(name, max_bytes);
    return 1;
}

void cache_value_open(lua_State *L)
{
    static const luaL_Reg methods[] = { { "get", lua_get }, { "set", lua_set }, { "delete", lua_delete }, { "fetch", lua_fetch }, { NULL, NULL } };
    static const luaL_Reg none[] = { { NULL, NULL } };

    state_metatable(L, CACHE, methods, close_cache);
    luaL_getmetatable(L, CACHE);
    lua_getfield(L, -1, "__index");                    /* mt methods */
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, no_method);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 2);                                     /* */
    state_metatable(L, LOAD, none, load_over);
    luaL_getmetatable(L, LOAD);
    lua_pushcfunction(L, load_over);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);                                     /* */
}
