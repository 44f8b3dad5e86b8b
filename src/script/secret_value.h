/* A secret as Lua holds it: an opaque userdata that C alone can read. */
#ifndef SLUICE_SCRIPT_SECRET_VALUE_H
#define SLUICE_SCRIPT_SECRET_VALUE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

void secret_value_open(lua_State *L);                   /* once per VM */
void secret_value_push(lua_State *L, const char *name, const char *value, size_t len);   /* registers it with base/secret.h too */
const char *secret_value_read(lua_State *L, int idx, size_t *len);                       /* NULL: not a secret */

#endif
