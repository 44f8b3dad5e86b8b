#include "script/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <lauxlib.h>

static int push_hex(lua_State *L, const unsigned char *bytes, size_t n)   /* -> hex */
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * EVP_MAX_MD_SIZE];

    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    lua_pushlstring(L, hex, 2 * n);
    return 1;
}

static int digest(lua_State *L, const EVP_MD *by, const char *name)   /* (text) -> hex */
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (!EVP_Digest(text, len, sum, &n, by, NULL))
        return luaL_error(L, "this system's libcrypto does not give %s", name);
    return push_hex(L, sum, n);
}

int digest_sha256(lua_State *L) { return digest(L, EVP_sha256(), "SHA-256"); }
int digest_sha1(lua_State *L) { return digest(L, EVP_sha1(), "SHA-1"); }

int digest_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);

    lua_pushboolean(L, a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0);
    return 1;
}

int digest_random(lua_State *L)
{
    unsigned char bytes[256];
    lua_Integer n = luaL_checkinteger(L, 1);

    luaL_argcheck(L, n >= 1 && n <= (lua_Integer)sizeof bytes, 1, "from 1 to 256");
    if (getrandom(bytes, (size_t)n, 0) != n)
        return luaL_error(L, "the kernel gives no random bytes");
    lua_pushlstring(L, (const char *)bytes, (size_t)n);
    return 1;
}
