/* Digests, by OpenSSL's libcrypto (which libcurl brings along), and bytes that nobody can guess: functions of sluice.host. */
#ifndef SLUICE_SCRIPT_DIGEST_H
#define SLUICE_SCRIPT_DIGEST_H

#include <lua.h>

int digest_sha256(lua_State *L);                       /* sluice.sha256(text) -> 64 hex digits */
int digest_sha1(lua_State *L);                         /* host.sha1(text) -> 40 hex digits: what Redis calls a script by. For nothing that must be safe */
int digest_random(lua_State *L);                       /* host.random(n) -> n bytes of the kernel's, at most 256: so many come whole */
int digest_equal(lua_State *L);                        /* sluice.equal(a, b) -> whether they are; its time tells only their lengths */

#endif
