/* SipHash (Aumasson and Bernstein, 2012) with one round a word and three at the end. */
#include "base/hash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t process_key[2];

static void draw_key(void)
{
    if (getrandom(process_key, sizeof process_key, 0) == sizeof process_key)
        return;
    fputs("sluice: the kernel gives no random bytes\n", stderr);
    abort();
}

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

static uint64_t word_at(const char *bytes, size_t n)   /* little-endian, n <= 8 */
{
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    return word;
}

uint64_t hash_under(const uint64_t key[2], const char *bytes, size_t len)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
    size_t i = 0;

    for (; i + 8 <= len; i += 8)
        take(v, word_at(bytes + i, 8));
    take(v, word_at(bytes + i, len - i) | (uint64_t)len << 56);
    v[2] ^= 0xff;
    mix(v);
    mix(v);
    mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes(const char *bytes, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, draw_key);
    return hash_under(process_key, bytes, len);
}
