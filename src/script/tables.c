/* The table library of the sandbox. Stock insert, remove, move and concat loop in C over whatever length a metamethod claims, where no hook
 * fires; these look at the kill in their loops. sort goes through a comparator that does.
 */
#include <lualib.h>

#include "script/inside.h"

static void check_table(lua_State *L, int i)
{
    luaL_checktype(L, i, LUA_TTABLE);
}

/* One turn of a loop that may be long. */
static void turn(lua_State *L)
{
    if (vm_of(L)->killed != KILL_NOT)
        vm_end_killed(L);
}

static int tab_insert(lua_State *L)                    /* table.insert(t, [pos,] v) */
{
    lua_Integer pos, e;

    check_table(L, 1);
    e = (lua_Integer)((lua_Unsigned)luaL_len(L, 1) + 1);
    switch (lua_gettop(L)) {
    case 2:
        pos = e;
        break;
    case 3:
        pos = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)pos - 1u < (lua_Unsigned)e, 2, "position out of bounds");
        for (lua_Integer i = e; i > pos; i--) {
            lua_geti(L, 1, i - 1);
            lua_seti(L, 1, i);
            turn(L);
        }
        break;
    default:
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, pos);
    return 0;
}

static int tab_remove(lua_State *L)                    /* table.remove(t [, pos]) -> v */
{
    lua_Integer size, pos;

    check_table(L, 1);
    size = luaL_len(L, 1);
    pos = luaL_optinteger(L, 2, size);
    if (pos != size)
        luaL_argcheck(L, (lua_Unsigned)pos - 1u <= (lua_Unsigned)size, 2, "position out of bounds");
    lua_geti(L, 1, pos);                               /* ... v */
    for (; pos < size; pos++) {
        lua_geti(L, 1, pos + 1);
        lua_seti(L, 1, pos);
        turn(L);
    }
    lua_pushnil(L);
    lua_seti(L, 1, pos);
    return 1;
}

static int tab_move(lua_State *L)                      /* table.move(a1, f, e, t [, a2]) -> a2 */
{
    lua_Integer f = luaL_checkinteger(L, 2), e = luaL_checkinteger(L, 3), t = luaL_checkinteger(L, 4);
    int tt = lua_isnoneornil(L, 5) ? 1 : 5;

    check_table(L, 1);
    check_table(L, tt);
    if (e >= f) {
        lua_Integer n;

        luaL_argcheck(L, f > 0 || e < LUA_MAXINTEGER + f, 3, "too many elements to move");
        n = e - f + 1;
        luaL_argcheck(L, t <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        if (t > e || t <= f || (tt != 1 && !lua_compare(L, 1, tt, LUA_OPEQ))) {
            for (lua_Integer i = 0; i < n; i++) {
                lua_geti(L, 1, f + i);
                lua_seti(L, tt, t + i);
                turn(L);
            }
        } else {
            for (lua_Integer i = n - 1; i >= 0; i--) {
                lua_geti(L, 1, f + i);
                lua_seti(L, tt, t + i);
                turn(L);
            }
        }
    }
    lua_pushvalue(L, tt);
    return 1;
}

static int tab_concat(lua_State *L)                    /* table.concat(t [, sep [, i [, j]]]) -> string */
{
    size_t lsep, total = 0;
    const char *sep;
    lua_Integer i, last;
    luaL_Buffer b;

    check_table(L, 1);
    last = luaL_len(L, 1);
    sep = luaL_optlstring(L, 2, "", &lsep);
    i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    luaL_buffinit(L, &b);
    for (; i <= last; i++) {
        size_t len;

        lua_geti(L, 1, i);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)i);
        lua_tolstring(L, -1, &len);
        total += len + lsep;
        if (total > TEXT_MAX)
            return luaL_error(L, "table.concat would make a string of more than 16 MiB");
        luaL_addvalue(&b);
        if (i == last)
            break;                                     /* i++ could wrap around */
        luaL_addlstring(&b, sep, lsep);
        turn(L);
    }
    luaL_pushresult(&b);
    return 1;
}

static int less(lua_State *L)                          /* upvalue: the script's comparator or nil */
{
    turn(L);
    if (lua_isnil(L, lua_upvalueindex(1))) {
        lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
        return 1;
    }
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);                                  /* f a b */
    lua_call(L, 2, 1);
    return 1;
}

static int tab_sort(lua_State *L)                      /* table.sort(t [, less]), upvalue: the stock one */
{
    check_table(L, 1);
    lua_settop(L, 2);
    if (!lua_isnil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushcclosure(L, less, 1);                      /* t less */
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);                                  /* sort t less */
    lua_call(L, 2, 0);
    return 0;
}

int tables_open(lua_State *L)
{
    static const luaL_Reg list[] = { { "insert", tab_insert }, { "remove", tab_remove }, { "move", tab_move }, { "concat", tab_concat }, { NULL, NULL } };

    luaL_newlib(L, list);                              /* lib */
    lua_getglobal(L, "table");                         /* lib stock */
    lua_getfield(L, -1, "pack");
    lua_setfield(L, -3, "pack");
    lua_getfield(L, -1, "unpack");
    lua_setfield(L, -3, "unpack");
    lua_getfield(L, -1, "sort");                       /* lib stock sort */
    lua_pushcclosure(L, tab_sort, 1);
    lua_setfield(L, -3, "sort");                       /* lib stock */
    lua_pop(L, 1);                                     /* lib */
    return 1;
}
