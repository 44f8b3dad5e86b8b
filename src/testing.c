/* `sluice test DIR`: busted in a Lua state of its own, with the module sluice.world beside it. */
#include "testing.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/bundle.h"
#include "script/coverage.h"
#include "testing_world.h"

/* Specs may require "sluice.testing": that module of lua/ with its own, and the world behind it. */
static void preload(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);   /* preload */
    lua_pushcfunction(L, luaopen_sluice_world);        /* preload f */
    lua_setfield(L, -2, "sluice.world");               /* preload */
    for (const struct bundled *b = bundle; b->module; b++) {
        if (strncmp(b->module, "sluice.testing", strlen("sluice.testing")) != 0)
            continue;
        lua_pushfstring(L, "@lua/%s.lua", luaL_gsub(L, b->module, ".", "/"));   /* preload path name */
        if (luaL_loadbufferx(L, b->text, b->len, lua_tostring(L, -1), "t") != LUA_OK)
            lua_error(L);
        lua_replace(L, -3);                            /* preload f name */
        lua_pop(L, 1);                                 /* preload f */
        lua_setfield(L, -2, b->module);
    }
    lua_pop(L, 1);
}

static int lines_that_ran(lua_State *L)                /* () -> list */
{
    coverage_push(testing_coverage, L);
    return 1;
}

static void push_options(lua_State *L, const struct testing_options *want)
{
    lua_newtable(L);                                   /* options */
    lua_pushinteger(L, want->fuzz);
    lua_setfield(L, -2, "fuzz");
    lua_pushinteger(L, want->seed);
    lua_setfield(L, -2, "seed");
    lua_pushboolean(L, want->update);
    lua_setfield(L, -2, "update");
    if (!want->coverage)
        return;
    lua_pushcfunction(L, lines_that_ran);
    lua_setfield(L, -2, "lines");
}

static void set_arg(lua_State *L, const struct testing_options *want)   /* what busted's command line would be */
{
    lua_newtable(L);                                   /* arg */
    lua_pushliteral(L, "sluice test");
    lua_rawseti(L, -2, 0);
    lua_pushstring(L, want->dir);
    lua_rawseti(L, -2, 1);
    for (int i = 0; i < want->argc; i++) {
        lua_pushstring(L, want->argv[i]);
        lua_rawseti(L, -2, i + 2);
    }
    lua_setglobal(L, "arg");
}

static int run_protected(lua_State *L)                 /* (options) -> exit code */
{
    struct testing_options *want = lua_touserdata(L, 1);

    luaL_openlibs(L);
    preload(L);
    set_arg(L, want);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "sluice.testing.run");
    lua_call(L, 1, 1);                                 /* want run */
    push_options(L, want);                             /* want run options */
    lua_call(L, 1, 1);                                 /* want code */
    return 1;
}

int testing_run(const struct testing_options *want)
{
    lua_State *L = luaL_newstate();
    int code = 1;

    if (!L)
        return 2;
    testing_coverage = want->coverage ? coverage_open() : NULL;
    lua_pushcfunction(L, run_protected);
    lua_pushlightuserdata(L, (void *)want);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        code = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "sluice: test: %s\n", luaL_tolstring(L, -1, NULL));
    lua_close(L);                                      /* and with it the worlds, which note in the coverage */
    if (testing_coverage)
        coverage_close(testing_coverage);
    testing_coverage = NULL;
    return code;
}
