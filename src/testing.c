/* `sluice test DIR`: busted in a Lua state of its own, with the module sluice.world beside it. */
#include "testing.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/bundle.h"
#include "testing_world.h"

static const char runner[] =
    "local ok, why = pcall(require, 'busted.runner')\n"
    "if not ok then io.stderr:write('sluice test wants busted (Debian: lua-busted)\\n', why, '\\n') os.exit(2) end\n"
    "require 'busted.runner' { standalone = false }\n";

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

static int run_protected(lua_State *L)
{
    luaL_openlibs(L);
    preload(L);
    if (luaL_loadstring(L, runner) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

int testing_run(const char *dir, int argc, char **argv)
{
    lua_State *L = luaL_newstate();

    if (!L)
        return 2;
    lua_newtable(L);                                   /* arg: what busted's command line would be */
    lua_pushliteral(L, "sluice test");
    lua_rawseti(L, -2, 0);
    lua_pushstring(L, dir);
    lua_rawseti(L, -2, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i + 2);
    }
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, run_protected);
    int failed = lua_pcall(L, 0, 0, 0);
    if (failed)
        fprintf(stderr, "sluice test: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return failed ? 1 : 0;
}
