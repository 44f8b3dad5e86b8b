#include "script/secret_value.h"

#include <lauxlib.h>
#include <string.h>

#include "base/secret.h"

#define TYPE "secret"

struct secret_value {
    size_t len, name_len;
    char bytes[];                                      /* the value, then the name */
};

static int refuse(lua_State *L)                        /* upvalue: what was tried */
{
    const struct secret_value *s = luaL_testudata(L, 1, TYPE);

    if (!s)
        s = luaL_checkudata(L, 2, TYPE);
    lua_pushlstring(L, s->bytes + s->len, s->name_len);
    return luaL_error(L, "the secret %s cannot be %s: it may only be given as a key or in a header", lua_tostring(L, -1),
                      lua_tostring(L, lua_upvalueindex(1)));
}

static int show(lua_State *L)
{
    const struct secret_value *s = luaL_checkudata(L, 1, TYPE);

    lua_pushliteral(L, "<secret ");
    lua_pushlstring(L, s->bytes + s->len, s->name_len);
    lua_pushliteral(L, ">");
    lua_concat(L, 3);
    return 1;
}

static void refusal(lua_State *L, const char *event, const char *what)   /* mt -> mt */
{
    lua_pushstring(L, what);
    lua_pushcclosure(L, refuse, 1);
    lua_setfield(L, -2, event);
}

void secret_value_open(lua_State *L)
{
    if (luaL_newmetatable(L, TYPE)) {                  /* mt */
        lua_pushcfunction(L, show);
        lua_setfield(L, -2, "__tostring");
        refusal(L, "__concat", "joined to a string");
        refusal(L, "__index", "looked into");
        refusal(L, "__len", "measured");
        refusal(L, "__lt", "compared");
        refusal(L, "__le", "compared");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);                                     /* */
}

void secret_value_push(lua_State *L, const char *name, const char *value, size_t len)
{
    size_t name_len = strlen(name);
    struct secret_value *s = lua_newuserdatauv(L, sizeof *s + len + name_len, 0);   /* secret */

    s->len = len;
    s->name_len = name_len;
    memcpy(s->bytes, value, len);
    memcpy(s->bytes + len, name, name_len);
    luaL_getmetatable(L, TYPE);                        /* secret mt */
    lua_setmetatable(L, -2);                           /* secret */
    secret_add(value, len);
}

const char *secret_value_read(lua_State *L, int idx, size_t *len)
{
    const struct secret_value *s = luaL_testudata(L, idx, TYPE);

    if (!s)
        return NULL;
    *len = s->len;
    return s->bytes;
}
