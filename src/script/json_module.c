/* sluice.json: what scripts see of the codec. */
#include <string.h>

#include "script/inside.h"
#include "script/value.h"
#include "wire/json.h"
#include "wire/json_check.h"
#include "wire/utf8.h"

static int json_decode(lua_State *L)                   /* sluice.json.decode(text) -> value | nil, message */
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *wrong = value_decode(L, text, len);    /* text value? */

    if (!wrong)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, wrong);                          /* nil message */
    return 2;
}

static int json_encode(lua_State *L)                   /* sluice.json.encode(value) -> text; a value that JSON cannot say is an error */
{
    struct buf *out = &vm_of(L)->scratch;
    const char *wrong;

    luaL_checkany(L, 1);
    out->len = 0;
    wrong = value_encode(L, 1, out);
    vm_not_caught(L, LUA_OK);
    if (wrong)
        return luaL_error(L, "%s", wrong);
    lua_pushlstring(L, out->data, out->len);           /* text */
    if (out->cap > GROWN)
        buf_free(out);
    return 1;
}

static int json_array(lua_State *L)                    /* sluice.json.array(t) -> t, which is written as [...] even when empty */
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        lua_pop(L, 1);                                 /* an array already, or a table of ours */
    else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
        lua_setmetatable(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}

static int json_is_array(lua_State *L)                 /* sluice.json.is_array(v) -> whether it was decoded from [...] or marked by array */
{
    bool is = false;

    luaL_checkany(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE && lua_getmetatable(L, 1)) {      /* v mt */
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
        is = lua_rawequal(L, -1, -2);
    }
    lua_pushboolean(L, is);
    return 1;
}

static int json_order(lua_State *L)                    /* sluice.json.order(t, names) -> t, whose members are written in that order first */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, 2) <= 100, 2, "at most 100 names");
    luaL_argcheck(L, !lua_getmetatable(L, 1), 1, "this table has a metatable already");
    lua_createtable(L, 0, 2);                          /* t names mt */
    lua_pushvalue(L, 2);
    lua_rawsetp(L, -2, &value_order_key);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* ---- JSON that is written already */

/* A line break stands between its parts alone, and would end the line of an event. */
static void push_on_one_line(lua_State *L, const char *text, size_t len)
{
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, len);

    for (size_t i = 0; i < len; i++)
        to[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    luaL_pushresultsize(&b, len);
}

static int json_raw(lua_State *L)                      /* sluice.json.raw(text) -> a value that encode writes as that text */
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (!utf8_valid(text, len) || !json_valid(text, len))
        return luaL_argerror(L, 1, "it is not the JSON of one value, or is nested too deeply");
    lua_settop(L, 1);
    if (memchr(text, '\n', len) || memchr(text, '\r', len)) {
        push_on_one_line(L, text, len);                /* text line */
        lua_replace(L, 1);
    }
    lua_newuserdatauv(L, 0, 1);                        /* text raw */
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, VALUE_RAW);
    return 1;
}

static int raw_text(lua_State *L)
{
    luaL_checkudata(L, 1, VALUE_RAW);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

static void open_raw(lua_State *L)
{
    luaL_newmetatable(L, VALUE_RAW);                   /* mt */
    lua_pushcfunction(L, raw_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);                                     /* */
}

/* ---- the parts of a document, as they were written */

static const char *trimmed(const char *from, const char *to, size_t *len)   /* without the blanks around it */
{
    while (from < to && strchr(" \t\r\n", *from))
        from++;
    while (to > from && strchr(" \t\r\n", to[-1]))
        to--;
    *len = (size_t)(to - from);
    return from;
}

int value_json_parts(lua_State *L)
{
    size_t len, part_len;
    const char *text = luaL_checklstring(L, 1, &len), *from, *part;
    struct buf *name = &vm_of(L)->scratch;
    struct json_reader r;
    struct json_token t;
    enum json_kind outer;
    lua_Integer n = 0;

    if (!utf8_valid(text, len) || !json_valid(text, len))   /* what is to be mended is not as it was written */
        return 0;
    json_open(&r, text, len);
    outer = json_next(&r, &t);
    if (outer != JSON_OBJECT && outer != JSON_ARRAY)
        return 0;
    lua_newtable(L);                                   /* text parts */
    while (true) {
        from = r.pos;
        if (outer == JSON_OBJECT) {
            if (json_next(&r, &t) != JSON_KEY)
                break;
            name->len = 0;
            json_unescape(name, t.bytes, t.len);
            lua_pushlstring(L, name->data ? name->data : "", name->len);
            lua_rawseti(L, 2, ++n);
            from = r.pos;
            json_skip(&r, &t);
        } else {
            enum json_kind kind = json_next(&r, &t);

            if (kind == JSON_ARRAY_END)
                break;
            if (kind == JSON_OBJECT || kind == JSON_ARRAY)
                json_skip(&r, &t);
        }
        part = from;
        while (part < r.pos && strchr(" \t\r\n,:", *part))   /* what stands between two values */
            part++;
        part = trimmed(part, r.pos, &part_len);
        lua_pushlstring(L, part, part_len);
        lua_rawseti(L, 2, ++n);
    }
    return 1;
}

/* ---- documents that are still arriving */

#define CHECKER "sluice.checker"

static int json_checker(lua_State *L)                  /* sluice.json.checker() -> one that has seen nothing */
{
    json_check_open(lua_newuserdatauv(L, sizeof(struct json_check), 0));
    luaL_setmetatable(L, CHECKER);
    return 1;
}

static int checker_feed(lua_State *L)                  /* checker:feed(text) -> bytes of it that can be JSON: #text, or fewer and never more again */
{
    struct json_check *c = luaL_checkudata(L, 1, CHECKER);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    lua_pushinteger(L, (lua_Integer)json_check_feed(c, text, len));
    return 1;
}

static int checker_complete(lua_State *L)              /* checker:complete() -> whether what was fed is a whole document */
{
    lua_pushboolean(L, json_check_complete(luaL_checkudata(L, 1, CHECKER)));
    return 1;
}

static void open_checker(lua_State *L)
{
    static const luaL_Reg methods[] = { { "feed", checker_feed }, { "complete", checker_complete }, { NULL, NULL } };

    luaL_newmetatable(L, CHECKER);                     /* mt */
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);                                     /* */
}

static int null_text(lua_State *L)
{
    lua_pushstring(L, lua_touserdata(L, 1) ? "userdata" : "null");
    return 1;
}

int value_open_json(lua_State *L)
{
    static const luaL_Reg list[] = { { "decode", json_decode }, { "encode", json_encode }, { "array", json_array }, { "order", json_order },
                                     { "is_array", json_is_array }, { "raw", json_raw }, { "checker", json_checker }, { NULL, NULL } };
    struct vm *vm = vm_of(L);

    open_checker(L);
    open_raw(L);
    luaL_newlib(L, list);                              /* lib */
    lua_pushlightuserdata(L, NULL);                    /* lib null */
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, null_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");                /* lib null mt: of all light userdata */
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "null");                       /* lib */
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");                /* lib mt */
    vm->ref_array_mt = luaL_ref(L, LUA_REGISTRYINDEX); /* lib */
    return 1;
}
