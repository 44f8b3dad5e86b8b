/* Replies of Redis servers (wire/resp.h) as Lua values. */
#ifndef SLUICE_SCRIPT_REPLY_VALUE_H
#define SLUICE_SCRIPT_REPLY_VALUE_H

#include <lua.h>

struct buf;

/* -> 200, value; or false, "reply", sentence when it is an error, or holds one. `reply` is one whole reply. Texts, integers, lists; nothing is nil, in a list
 * false, so that lists have no holes. */
int reply_push(lua_State *L, const struct buf *reply);

#endif
