/* Values of scripts as bytes, for what leaves a VM: text, numbers, booleans, sluice.json.null and plain tables of them. Exact: integers stay integers, floats
 * floats, strings their bytes, JSON arrays keep their mark. For this process only.
 */
#ifndef SLUICE_SCRIPT_PACKED_H
#define SLUICE_SCRIPT_PACKED_H

#include <lua.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends the value at idx; never raises. NULL, or what it is that has no bytes ("a function", "a table that contains itself"), valid until the next call. */
const char *packed_write(lua_State *L, int idx, struct buf *out);
/* Pushes the value; tables are read-only views. Trusts the bytes: they are packed_write's. May raise on memory. */
void packed_read(lua_State *L, const char *bytes, size_t len);

#endif
