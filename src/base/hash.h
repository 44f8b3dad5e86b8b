/* A hash of bytes for tables whose keys strangers choose: SipHash-1-3 under a key that each process draws anew, so nobody can aim at one chain. */
#ifndef SLUICE_BASE_HASH_H
#define SLUICE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const char *bytes, size_t len);    /* thread-safe; the same within one process only */
uint64_t hash_under(const uint64_t key[2], const char *bytes, size_t len);

#endif
