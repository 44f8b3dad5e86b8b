/* Matchers (match/matcher.h) as Lua values. */
#ifndef SLUICE_SCRIPT_MATCH_VALUE_H
#define SLUICE_SCRIPT_MATCH_VALUE_H

#include <lua.h>

#include "match/matcher.h"

struct matcher *match_value(lua_State *L, int idx);    /* NULL: it is none. Lives as long as the value */
/* Pushes the table that a replacement function gets. `gone`: bytes of the whole text before text[0], for position captures. */
void match_push(lua_State *L, const char *text, const struct match *hit, size_t gone);
int match_open(lua_State *L);                          /* pushes the library sluice.match */
int match_is_open(lua_State *L);                       /* pushes host.is_matcher */
int match_parts_open(lua_State *L);                    /* pushes host.matcher_parts */

#endif
