/* Caches as scripts hold them (base/cache.h): sluice.cache(name, { ttl, max_bytes }) with get, set, delete and fetch. */
#ifndef SLUICE_SCRIPT_CACHE_VALUE_H
#define SLUICE_SCRIPT_CACHE_VALUE_H

#include <lua.h>

struct call;

void cache_value_open(lua_State *L);                   /* makes the metatables, once a VM */
int cache_value_new(lua_State *L);                     /* host.cache(name, max_bytes, ttl_ms; 0: for ever) -> cache */
void cache_value_leave(struct call *c);                /* the call ends: what it was loading, the next loads */

#endif
