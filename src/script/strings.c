/* The string library of the sandbox: nothing that runs away. Pattern functions work within a step budget (pattern.h), results are at most TEXT_MAX. */
#include <lualib.h>
#include <string.h>

#include "script/inside.h"

static int too_large(lua_State *L, const char *what)
{
    return luaL_error(L, "string.%s would make a string of more than 16 MiB", what);
}

static int str_rep(lua_State *L)                       /* s:rep(n, sep) -> string */
{
    size_t l, lsep, total;
    const char *s = luaL_checklstring(L, 1, &l);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *sep = luaL_optlstring(L, 3, "", &lsep);
    luaL_Buffer b;
    char *p;

    if (n <= 0 || l + lsep == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((size_t)n > TEXT_MAX || l + lsep > TEXT_MAX / (size_t)n)
        return too_large(L, "rep");
    total = (size_t)n * l + (size_t)(n - 1) * lsep;
    p = luaL_buffinitsize(L, &b, total);
    while (n-- > 0) {
        memcpy(p, s, l);
        p += l;
        if (n > 0) {
            memcpy(p, sep, lsep);
            p += lsep;
        }
    }
    luaL_pushresultsize(&b, total);
    return 1;
}

static int str_format(lua_State *L)                    /* string.format(fmt, ...), upvalue: the stock one */
{
    size_t total = 0;

    for (int i = 1; i <= lua_gettop(L); i++) {
        size_t len = 128;

        if (lua_type(L, i) == LUA_TSTRING)
            len = lua_rawlen(L, i) * (i == 1 ? 1 : 4); /* %q may write \ddd for a byte */
        total += len;
        if (total > TEXT_MAX * 4)
            return too_large(L, "format");
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);                                  /* format args... */
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

int strings_open(lua_State *L)
{
    static const char *const kept[] = { "byte", "char", "len", "lower", "pack", "packsize", "reverse", "sub", "unpack", "upper", "find", "match", "gmatch", "gsub", NULL };

    lua_newtable(L);                                   /* lib */
    lua_getglobal(L, "string");                        /* lib stock */
    for (int i = 0; kept[i]; i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_getfield(L, -1, "format");                     /* lib stock format */
    lua_pushcclosure(L, str_format, 1);
    lua_setfield(L, -3, "format");                     /* lib stock */
    lua_pop(L, 1);                                     /* lib */
    lua_pushcfunction(L, str_rep);
    lua_setfield(L, -2, "rep");

    /* Methods on strings are these too, and no script sees the metatable. */
    lua_pushliteral(L, "");                            /* lib "" */
    lua_getmetatable(L, -1);                           /* lib "" mt */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);                                     /* lib */
    return 1;
}
