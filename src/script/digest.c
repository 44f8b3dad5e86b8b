/* sluice.sha256 and sluice.equal, by OpenSSL's libcrypto (which libcurl brings along); and bytes that nobody can guess. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include "script/inside.h"

#define SHA256_BYTES 32

int digest_sha256(lua_State *L)                        /* sluice.sha256(text) -> 64 hex digits */
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_BYTES];
    char hex[2 * SHA256_BYTES];
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (!EVP_Digest(text, len, sum, NULL, EVP_sha256(), NULL))
        return luaL_error(L, "this system's libcrypto does not give SHA-256");
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    lua_pushlstring(L, hex, sizeof hex);               /* text hex */
    return 1;
}

int digest_equal(lua_State *L)                         /* sluice.equal(a, b) -> whether they are; its time tells only their lengths */
{
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);

    lua_pushboolean(L, a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0);
    return 1;
}

int digest_random(lua_State *L)                        /* host.random(n) -> n bytes of the kernel's, at most 256: so many come whole */
{
    unsigned char bytes[256];
    lua_Integer n = luaL_checkinteger(L, 1);

    luaL_argcheck(L, n >= 1 && n <= (lua_Integer)sizeof bytes, 1, "from 1 to 256");
    if (getrandom(bytes, (size_t)n, 0) != n)
        return luaL_error(L, "the kernel gives no random bytes");
    lua_pushlstring(L, (const char *)bytes, (size_t)n);
    return 1;
}
