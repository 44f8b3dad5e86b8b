#include "script/frozen.h"

#include "script/inside.h"

static int refuse(lua_State *L)                        /* __newindex(view, key, value) */
{
    return luaL_error(L, "\"%s\" cannot be set: this table is read-only", luaL_tolstring(L, 2, NULL));
}

bool frozen_behind(lua_State *L, int idx)
{
    if (!lua_getmetatable(L, idx))                     /* mt */
        return false;
    if (lua_rawgetp(L, -1, &KEY_LOCKED) == LUA_TTABLE) {   /* mt real */
        lua_remove(L, -2);                             /* real */
        return true;
    }
    lua_pop(L, 2);                                     /* */
    return false;
}

static int length(lua_State *L)                        /* __len(view) */
{
    frozen_behind(L, 1);
    lua_pushinteger(L, luaL_len(L, -1));
    return 1;
}

static int next_pair(lua_State *L)                     /* (view, key) -> key, value */
{
    luaL_argcheck(L, frozen_behind(L, 1), 1, "not a read-only table");
    lua_insert(L, 1);                                  /* real view key */
    lua_settop(L, 3);
    return lua_next(L, 1) ? 2 : 0;
}

static int pairs(lua_State *L)                         /* __pairs(view) -> next, view, nil */
{
    lua_settop(L, 1);
    lua_pushcfunction(L, next_pair);
    lua_insert(L, 1);                                  /* next view */
    lua_pushnil(L);
    return 3;
}

void frozen_view(lua_State *L)
{
    static const luaL_Reg events[] = { { "__newindex", refuse }, { "__len", length }, { "__pairs", pairs }, { NULL, NULL } };

    luaL_checkstack(L, 4, "tables in tables");
    lua_newtable(L);                                   /* real view */
    lua_createtable(L, 0, 6);                          /* real view mt */
    luaL_setfuncs(L, events, 0);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -3);
    lua_rawsetp(L, -2, &KEY_LOCKED);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);                           /* real view */
    lua_remove(L, -2);                                 /* view */
}

int frozen_lua_view(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    frozen_view(L);
    return 1;
}
