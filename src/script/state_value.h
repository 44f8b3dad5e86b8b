/* State that all workers share (base/limiter.h, base/counter.h, base/semaphore.h), as Lua values. */
#ifndef SLUICE_SCRIPT_STATE_VALUE_H
#define SLUICE_SCRIPT_STATE_VALUE_H

#include <lauxlib.h>
#include <lua.h>

struct exchange;

void state_open(lua_State *L);                         /* makes the metatables, once a VM */
void state_metatable(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);   /* locked; methods behind __index */
int state_limiter(lua_State *L);                       /* host.limiter(name, rate, per_ms, burst) -> limiter */
int state_counter(lua_State *L);                       /* host.counter(name, window_ms) -> counter */
void state_give_back(lua_State *L, struct exchange *x);   /* the exchange is over: what it reserved in counters and never settled */
int state_semaphore(lua_State *L);                     /* host.semaphore(name, limit) -> semaphore */

#endif
