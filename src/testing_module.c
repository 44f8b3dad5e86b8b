/* sluice/core.so: the world of specs for a plain busted. require "sluice.testing" finds it by itself (see README.md). */
#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "script/vm.h"
#include "testing_world.h"

__attribute__((visibility("default"))) int luaopen_sluice_core(lua_State *L);

int luaopen_sluice_core(lua_State *L)                  /* -> the module sluice.world */
{
    static bool started;

    if (!started && watchdog_start() != 0)
        return luaL_error(L, "cannot start the watchdog thread");
    if (!started) {
        log_setup(LOG_WARN, LOG_TEXT, STDERR_FILENO);
        atexit(watchdog_stop);
    }
    started = true;
    return luaopen_sluice_world(L);
}
