/* Values between Lua and JSON, exact: 64-bit integers, \u0000, valid UTF-8 out, sluice.json.null, empty arrays by sluice.json.array. */
#ifndef SLUICE_SCRIPT_VALUE_H
#define SLUICE_SCRIPT_VALUE_H

#include <lua.h>
#include <stddef.h>

#include "base/buf.h"

/* Pushes the decoded document; or pushes nothing and returns a sentence (constant). Objects are plain tables; arrays keep a mark so that [] stays []. May raise on memory. */
const char *value_decode(lua_State *L, const char *json, size_t len);
/* Appends the value at idx as JSON. NULL, or a sentence (valid until the next call): a function, a cycle, depth, NaN, bad UTF-8, mixed keys. Members in sorted order. */
const char *value_encode(lua_State *L, int idx, struct buf *out);
extern const char value_order_key;                     /* its address, in a metatable: the list of names that sluice.json.order was given */
#define VALUE_RAW "sluice.raw"                         /* the metatable of what sluice.json.raw makes: a userdata whose value is the text */
int value_json_parts(lua_State *L);                    /* host.json_parts(text) -> { name, raw, ... } of an object, { raw, ... } of an array; nil: neither, or no JSON */
int value_open_json(lua_State *L);                     /* pushes the library sluice.json { decode, encode, null, array } */

#endif
