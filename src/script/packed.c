/* A value is a kind and what follows it: a varint for an integer (zigzag) or a length, eight bytes for a float, the values of a list, the pairs of a map.
 * Reading and writing walk tables raw.
 */
#include "script/packed.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "script/frozen.h"
#include "script/inside.h"
#include "script/secret_value.h"
#include "wire/json.h"

enum kind { FALSE = 'f', TRUE = 't', NULL_KIND = 'n', INTEGER = 'i', FLOAT = 'd', STRING = 's', LIST = 'l', MAP = 'm', ARRAY = 'a', ARRAY_MAP = 'b' };

#define DEPTH_MAX JSON_MAX_DEPTH                       /* what sluice.json can read can be packed */

/* ---- to bytes */

struct walk {
    lua_State *L;
    struct buf *out;
    size_t start;
    const volatile sig_atomic_t *kill;                 /* a big value takes long: the call's end is looked for */
    const void *path[DEPTH_MAX];                       /* the tables we are in */
    int depth;
};

static _Thread_local char sentence[80];

static const char *put(struct walk *w, int idx);

static void put_varint(struct buf *out, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_putc(out, (char)(n | 0x80));
    buf_putc(out, (char)n);
}

static void put_number(lua_State *L, int idx, struct buf *out)
{
    if (lua_isinteger(L, idx)) {
        lua_Integer i = lua_tointeger(L, idx);

        buf_putc(out, INTEGER);
        put_varint(out, (uint64_t)i << 1 ^ (i < 0 ? UINT64_MAX : 0));
    } else {
        lua_Number d = lua_tonumber(L, idx);

        buf_putc(out, FLOAT);
        buf_append(out, (const char *)&d, sizeof d);
    }
}

/* How many members, and whether they are exactly 1 to n. */
static bool is_list(lua_State *L, int t, uint64_t *n)
{
    lua_Integer highest = 0;
    bool positions = true;

    *n = 0;
    lua_pushnil(L);
    while (lua_next(L, t)) {                           /* key value */
        lua_pop(L, 1);                                 /* key */
        ++*n;
        if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1)
            positions = false;
        else if (lua_tointeger(L, -1) > highest)
            highest = lua_tointeger(L, -1);
    }
    return positions && (uint64_t)highest == *n;
}

static const char *put_list(struct walk *w, int t, uint64_t n)
{
    const char *wrong = NULL;

    for (uint64_t i = 1; i <= n && !wrong; i++) {
        lua_rawgeti(w->L, t, (lua_Integer)i);          /* value */
        wrong = put(w, lua_gettop(w->L));
        lua_pop(w->L, 1);
    }
    return wrong;
}

static const char *put_map(struct walk *w, int t)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);
    const char *wrong = NULL;

    lua_pushnil(L);
    while (!wrong && lua_next(L, t)) {                 /* key value */
        int type = lua_type(L, top + 1);

        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
            snprintf(sentence, sizeof sentence, "a table with a key that is a %s", lua_typename(L, type));
            wrong = sentence;
        } else {
            wrong = put(w, top + 1);
        }
        if (!wrong)
            wrong = put(w, top + 2);
        lua_settop(L, top + 1);                        /* key */
    }
    lua_settop(L, top);
    return wrong;
}

static const char *put_table(struct walk *w, int t)
{
    lua_State *L = w->L;
    bool array = false;
    uint64_t n;

    if (frozen_behind(L, t)) {                         /* real: one of our read-only tables */
        const char *wrong = put(w, lua_gettop(L));

        lua_pop(L, 1);                                 /* */
        return wrong;
    }
    if (lua_getmetatable(L, t)) {                      /* mt */
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
        array = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);                                 /* */
        if (!array)
            return "a table with a metatable";
    }
    if (is_list(L, t, &n)) {
        buf_putc(w->out, array ? ARRAY : LIST);
        put_varint(w->out, n);
        return put_list(w, t, n);
    }
    buf_putc(w->out, array ? ARRAY_MAP : MAP);
    put_varint(w->out, n);
    return put_map(w, t);
}

static const char *put(struct walk *w, int idx)
{
    lua_State *L = w->L;
    const char *s, *wrong;
    size_t len;

    if (w->out->len - w->start > TEXT_MAX)
        return "a value of more than 16 MiB";
    if (*w->kill != KILL_NOT)
        return "a value of a call that was ended";
    switch (lua_type(L, idx)) {
    case LUA_TBOOLEAN:
        buf_putc(w->out, lua_toboolean(L, idx) ? TRUE : FALSE);
        return NULL;
    case LUA_TNUMBER:
        put_number(L, idx, w->out);
        return NULL;
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        buf_putc(w->out, STRING);
        put_varint(w->out, len);
        buf_append(w->out, s, len);
        return NULL;
    case LUA_TTABLE:
        if (w->depth == DEPTH_MAX || !lua_checkstack(L, 8))
            return "a table that is nested too deeply";
        for (int i = 0; i < w->depth; i++) {
            if (w->path[i] == lua_topointer(L, idx))
                return "a table that contains itself";
        }
        w->path[w->depth++] = lua_topointer(L, idx);
        wrong = put_table(w, idx);
        w->depth--;
        return wrong;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, idx) != NULL)
            return "a userdata";
        buf_putc(w->out, NULL_KIND);
        return NULL;
    case LUA_TUSERDATA:
        return secret_value_read(L, idx, &len) ? "a secret" : "a userdata";
    default:
        snprintf(sentence, sizeof sentence, "a %s", luaL_typename(L, idx));
        return sentence;
    }
}

const char *packed_write(lua_State *L, int idx, struct buf *out)
{
    struct walk w = { .L = L, .out = out, .start = out->len, .kill = &vm_of(L)->killed, .depth = 0 };
    const char *wrong;

    if (!lua_checkstack(L, 8))
        return "a table that is nested too deeply";
    wrong = put(&w, lua_absindex(L, idx));
    if (wrong)
        out->len = w.start;
    return wrong;
}

/* ---- from bytes */

static uint64_t take_varint(const char **at)
{
    uint64_t n = 0;

    for (int shift = 0;; shift += 7) {
        unsigned char c = (unsigned char)*(*at)++;

        n |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return n;
    }
}

static void push(lua_State *L, const char **at);

static void push_table(lua_State *L, const char **at, bool list, bool array)
{
    uint64_t n = take_varint(at);

    vm_not_caught(L, LUA_OK);
    luaL_checkstack(L, 6, "tables in tables");
    lua_createtable(L, list ? (int)n : 0, list ? 0 : (int)n);   /* table */
    for (uint64_t i = 1; i <= n; i++) {
        push(L, at);                                   /* table value-or-key */
        if (list) {
            lua_rawseti(L, -2, (lua_Integer)i);
        } else {
            push(L, at);                               /* table key value */
            lua_rawset(L, -3);
        }
    }
    if (array) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
        lua_setmetatable(L, -2);
    }
    frozen_view(L);                                    /* view */
}

static void push(lua_State *L, const char **at)
{
    enum kind kind = (unsigned char)*(*at)++;
    lua_Number d;
    uint64_t n;

    switch (kind) {
    case FALSE:
    case TRUE:
        lua_pushboolean(L, kind == TRUE);
        break;
    case NULL_KIND:
        lua_pushlightuserdata(L, NULL);
        break;
    case INTEGER:
        n = take_varint(at);
        lua_pushinteger(L, (lua_Integer)(n >> 1 ^ (n & 1 ? UINT64_MAX : 0)));
        break;
    case FLOAT:
        memcpy(&d, *at, sizeof d);
        *at += sizeof d;
        lua_pushnumber(L, d);
        break;
    case STRING:
        n = take_varint(at);
        lua_pushlstring(L, *at, n);
        *at += n;
        break;
    case LIST:
    case MAP:
        push_table(L, at, kind == LIST, false);
        break;
    case ARRAY:
    case ARRAY_MAP:
        push_table(L, at, kind == ARRAY, true);
        break;
    }
}

void packed_read(lua_State *L, const char *bytes, size_t len)
{
    const char *at = bytes;

    luaL_checkstack(L, 2, "a value");
    push(L, &at);
    assert(at == bytes + len);
}
