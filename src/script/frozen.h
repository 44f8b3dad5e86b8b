/* Read-only views of tables: reading goes to the table behind, writing is an error at the script's line. lua/sluice/frozen.lua makes them deep. */
#ifndef SLUICE_SCRIPT_FROZEN_H
#define SLUICE_SCRIPT_FROZEN_H

#include <lua.h>
#include <stdbool.h>

void frozen_view(lua_State *L);                        /* table -> view; may raise on memory */
bool frozen_behind(lua_State *L, int idx);             /* pushes the table behind the view at idx; or pushes nothing */
int frozen_lua_view(lua_State *L);                     /* host.view(table) -> view */

#endif
