/* The module "sluice.host": what the privileged Lua files (lua/sluice/) get from C. Few raw functions; Lua makes them pleasant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/cache_value.h"
#include "script/coverage.h"
#include "script/digest.h"
#include "script/exchange_inside.h"
#include "script/frozen.h"
#include "script/inside.h"
#include "script/match_value.h"
#include "script/service.h"
#include "script/state_value.h"
#include "script/secret_value.h"
#include "script/units.h"
#include "script/value.h"
#include "wire/ip.h"
#include "wire/utf8.h"

/* ---- functions that scripts see, behind C so that error positions name the script's line even in `return f(...)` */

static int sealed_done(lua_State *L, int status, lua_KContext k)
{
    (void)status, (void)k;
    return lua_gettop(L);
}

static int sealed(lua_State *L)                        /* upvalue: the Lua function */
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);                                  /* f args... */
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, sealed_done);
    return lua_gettop(L);
}

static int host_seal(lua_State *L)                     /* seal(f) -> the same as a C function; in f, error(message, 3) blames the caller */
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, sealed, 1);
    return 1;
}

/* ---- waiting */

int exchange_check_may_wait(lua_State *L, const char *what)
{
    struct vm *vm = vm_of(L);

    if (vm->no_wait_why)
        return luaL_error(L, "cannot %s here: %s", what, vm->no_wait_why);
    if (vm->no_wait > 0 || !lua_isyieldable(L))
        return luaL_error(L, "cannot %s inside string.gsub, table.sort, tostring or another function that cannot be left in the middle; "
                             "collect first, then wait", what);
    return 0;
}

static int api_sleep(lua_State *L)                     /* sluice.sleep "50ms" */
{
    struct vm *vm = vm_of(L);
    char why[UNITS_SENTENCE];
    uint64_t ms;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (units_duration(text, len, &ms, why) != 0)
        return luaL_error(L, "%s", why);
    exchange_check_may_wait(L, "sleep");
    vm->wait = WAIT_SLEEP;
    vm->wait_ms = ms;
    return lua_yield(L, 0);
}

static int out_text(lua_State *L)                      /* out:text(s): waits until the text was taken */
{
    struct vm *vm = vm_of(L);
    struct utf8_mender mender = { { 0 }, 0 };
    size_t len;

    if (!lua_istable(L, 1))
        return luaL_error(L, "write out:text(...) with a colon, not a dot");
    const char *s = luaL_checklstring(L, 2, &len);
    if (!vm->may_output)
        return luaL_error(L, "out:text works only inside the answer of a Lua model");
    exchange_check_may_wait(L, "send text");
    if (len == 0)
        return 0;
    if (!utf8_valid(s, len)) {
        vm->scratch.len = 0;
        utf8_mend(&mender, &vm->scratch, s, len);
        utf8_mend_end(&mender, &vm->scratch);
        lua_pushlstring(L, vm->scratch.data, vm->scratch.len);
    } else {
        lua_pushvalue(L, 2);                           /* out s s */
    }
    vm->wait = WAIT_OUTPUT;
    return lua_yield(L, 1);
}

/* ---- text */

static int api_trim(lua_State *L)                      /* sluice.trim(s) -> s without Unicode white space at its ends */
{
    size_t len, was;
    const char *s = luaL_checklstring(L, 1, &len);

    was = len;
    utf8_trim(&s, &len);
    if (len == was)
        lua_settop(L, 1);
    else
        lua_pushlstring(L, s, len);
    return 1;
}

static int host_utf8(lua_State *L)                     /* utf8(s) -> whether it is valid */
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);

    lua_pushboolean(L, utf8_valid(s, len));
    return 1;
}

static int units(lua_State *L, int (*parse)(const char *, size_t, uint64_t *, char *))
{
    char why[UNITS_SENTENCE];
    uint64_t n;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (parse(text, len, &n, why) == 0) {
        lua_pushinteger(L, (lua_Integer)n);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, why);                            /* nil why */
    return 2;
}

static int host_duration(lua_State *L) { return units(L, units_duration); }   /* duration("60s") -> 60000 | nil, sentence */
static int host_size(lua_State *L) { return units(L, units_size); }           /* size("64kb") -> 65536 | nil, sentence */

/* ---- addresses */

static int host_ip(lua_State *L)                       /* ip(s) -> its canonical text | nil */
{
    struct ip ip;
    char text[46];

    if (ip_parse(&ip, luaL_checkstring(L, 1)) != 0)
        return 0;
    ip_print(&ip, text);
    lua_pushstring(L, text);
    return 1;
}

static int host_cidr(lua_State *L)                     /* cidr(s) -> whether it is one */
{
    struct cidr c;

    lua_pushboolean(L, cidr_parse(&c, luaL_checkstring(L, 1)) == 0);
    return 1;
}

static int api_ip_key(lua_State *L)                    /* sluice.ip_key(ip) -> what a limit is keyed by: IPv4 whole, IPv6 by /64 */
{
    const char *s = luaL_checkstring(L, 1);
    struct ip ip;
    char text[46];

    if (ip_parse(&ip, s) != 0) {
        lua_settop(L, 1);
        return 1;
    }
    ip_key(&ip, text);
    lua_pushstring(L, text);
    return 1;
}

/* ---- the rest */

static int host_secret(lua_State *L)                   /* secret(name, value) -> opaque */
{
    const char *name = luaL_checkstring(L, 1);
    size_t len;
    const char *value = luaL_checklstring(L, 2, &len);

    secret_value_push(L, name, value, len);
    return 1;
}

static int host_is_secret(lua_State *L)
{
    size_t len;

    lua_pushboolean(L, secret_value_read(L, 1, &len) != NULL);
    return 1;
}

static int host_log(lua_State *L)                      /* log(level, event, message) */
{
    enum log_level level;
    const char *event = luaL_checkstring(L, 2), *message = luaL_checkstring(L, 3);

    if (log_level_parse(luaL_checkstring(L, 1), &level) != 0)
        level = LOG_INFO;
    log_say(level, event, "%s", message);
    return 0;
}

static void log_value(lua_State *L, struct log_line *line, const char *name)   /* ... value -> ... value */
{
    size_t len;
    const char *s;

    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            log_int(line, name, lua_tointeger(L, -1));
        else
            log_double(line, name, lua_tonumber(L, -1));
        break;
    case LUA_TBOOLEAN:
        log_bool(line, name, lua_toboolean(L, -1));
        break;
    default:
        s = lua_tolstring(L, -1, &len);
        log_bytes(line, name, s, len);
        break;
    }
}

static int host_log_fields(lua_State *L)               /* log_fields(level, event, { name, value, name, value ... }), all checked: sluice/log.lua */
{
    enum log_level level;
    struct log_line line;

    luaL_checktype(L, 3, LUA_TTABLE);
    if (log_level_parse(luaL_checkstring(L, 1), &level) != 0 || !log_begin(&line, level, luaL_checkstring(L, 2)))
        return 0;
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, 3); i < n; i += 2) {
        lua_rawgeti(L, 3, i);
        lua_rawgeti(L, 3, i + 1);                      /* level event list name value */
        log_value(L, &line, lua_tostring(L, -2));
        lua_pop(L, 2);
    }
    log_end(&line);
    return 0;
}

static int host_now(lua_State *L)                      /* now() -> monotonic ms, wall clock ms */
{
    struct vm *vm = vm_of(L);

    lua_pushinteger(L, (lua_Integer)vm->now_ms);
    lua_pushinteger(L, (lua_Integer)vm->unix_ms);
    return 2;
}

static int host_loading(lua_State *L)                  /* loading([bool]) -> whether the gateway file is being read */
{
    struct vm *vm = vm_of(L);

    if (!lua_isnone(L, 1))
        vm->loading = lua_toboolean(L, 1);
    lua_pushboolean(L, vm->loading);
    return 1;
}

static int host_module(lua_State *L)                   /* module(name) -> text, path | nil: a file of lua/ for the sandbox to load */
{
    char path[256], *owned;
    size_t len;
    const char *text = vm_module_text(vm_of(L), luaL_checkstring(L, 1), &len, path, &owned);

    if (!text)
        return 0;
    lua_pushlstring(L, text, len);
    free(owned);
    lua_pushstring(L, path);                           /* text path */
    return 2;
}

/* keep(name, value): C finds these again by reference. */
static int host_keep(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const struct { const char *name; int *ref; } known[] = {
        { "verdict", &vm->ref_verdict_mt }, { "head", &vm->ref_head_mt }, { "req", &vm->ref_req_mt }, { "ctx", &vm->ref_ctx_mt },
        { "over", &vm->ref_over_mt }, { "service_error", &vm->ref_service_error_mt }, { "said", &vm->ref_said }, { "exchange", &vm->ref_exchange },
    };
    const char *name = luaL_checkstring(L, 1);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) {
            lua_settop(L, 2);
            *known[i].ref = luaL_ref(L, LUA_REGISTRYINDEX);
            return 0;
        }
    }
    return luaL_error(L, "nothing called %s is kept", name);
}

static int host_keep_part(lua_State *L)                /* keep_part(index, part) */
{
    struct vm *vm = vm_of(L);
    lua_Integer i = luaL_checkinteger(L, 1);

    luaL_argcheck(L, i >= 0 && (size_t)i < sizeof vm->ref_parts / sizeof vm->ref_parts[0], 1, "no such part");
    lua_settop(L, 2);
    vm->ref_parts[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int host_may_wait(lua_State *L)                 /* may_wait(what): raises when not */
{
    return exchange_check_may_wait(L, luaL_checkstring(L, 1));
}

/* gate(fn, policy): the exchange takes it when the hook has returned or waits. */
static int host_gate(lua_State *L)
{
    struct call *c = vm_of(L)->call;
    struct gate_want *g, **end = &c->gates;
    unsigned n = 0;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (!c->may_gate)
        return luaL_error(L, "ctx:gate works only in the hooks before the model answers (validate, route, prompt, attempt)");
    for (; *end; end = &(*end)->next)
        if (++n == GATES_MAX)
            return luaL_error(L, "more than %d gates at once", GATES_MAX);
    lua_pushvalue(L, 1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    g = mem_alloc(sizeof *g);
    g->fn_ref = ref;
    g->policy = (int)luaL_checkinteger(L, 2);
    *end = g;
    return 0;
}

/* ---- coverage */

static int host_covers(lua_State *L)                   /* covers(path) -> whether it is wanted which lines this file has */
{
    const char *path = luaL_checkstring(L, 1);
    struct coverage *c = vm_of(L)->coverage;

    lua_pushboolean(L, c && coverage_lacks(c, path));
    return 1;
}

static int host_cover(lua_State *L)                    /* cover(path, lines): it has these, a list of numbers */
{
    const char *path = luaL_checkstring(L, 1);
    struct coverage *c = vm_of(L)->coverage;
    lua_Integer n = luaL_len(L, 2);

    coverage_know(c, path, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, 2, i);                             /* path lines line */
        coverage_know(c, path, (int)luaL_checkinteger(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

int host_open(lua_State *L)
{
    static const luaL_Reg list[] = {
        { "seal", host_seal }, { "sleep", api_sleep }, { "out_text", out_text }, { "trim", api_trim }, { "utf8", host_utf8 },
        { "duration", host_duration }, { "size", host_size }, { "ip", host_ip }, { "cidr", host_cidr }, { "ip_key", api_ip_key },
        { "limiter", state_limiter }, { "counter", state_counter }, { "semaphore", state_semaphore }, { "cache", cache_value_new },
        { "view", frozen_lua_view }, { "secret", host_secret }, { "is_secret", host_is_secret }, { "log", host_log },
        { "log_fields", host_log_fields }, { "now", host_now },
        { "loading", host_loading }, { "directory", files_directory }, { "read_file", files_read }, { "sha256", digest_sha256 }, { "sha1", digest_sha1 },
        { "equal", digest_equal }, { "random", digest_random }, { "module", host_module }, { "keep", host_keep },
        { "keep_part", host_keep_part }, { "service_start", service_start }, { "service_command", service_command },
        { "service_take", service_take },
        { "wait", service_wait }, { "may_wait", host_may_wait }, { "step", sandbox_step }, { "gate", host_gate },
        { "covers", host_covers }, { "cover", host_cover },
        { "unbox", exchange_unbox }, { "exchange", exchange_of }, { "draw", exchange_random }, { "json_parts", value_json_parts }, { NULL, NULL },
    };

    secret_value_open(L);
    state_open(L);
    cache_value_open(L);
    exchange_box_open(L);
    luaL_newlib(L, list);                              /* host */
    lua_pushlightuserdata(L, (void *)&KEY_LOCKED);
    lua_setfield(L, -2, "locked");
    sandbox_open_base(L);
    lua_setfield(L, -2, "base");
    sandbox_open_coroutine(L);
    lua_setfield(L, -2, "coroutine");
    strings_open(L);
    lua_setfield(L, -2, "string");
    tables_open(L);
    lua_setfield(L, -2, "table");
    value_open_json(L);
    lua_setfield(L, -2, "json");
    match_open(L);
    lua_setfield(L, -2, "match");
    match_is_open(L);
    lua_setfield(L, -2, "is_matcher");
    match_parts_open(L);
    lua_setfield(L, -2, "matcher_parts");              /* host */
    return 1;
}
