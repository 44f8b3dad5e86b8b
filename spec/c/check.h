/* A small test bench for the floors' C specs. A spec is a list of functions; the first failing check ends the program with a line.
 *
 *     static void trims_unicode_space(void) { CHECK_STR("a", trimmed); }
 *     int main(void) { RUN(trims_unicode_space); return check_done(); }
 */
#ifndef SPEC_CHECK_H
#define SPEC_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_ran;

#define CHECK_FAIL(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define CHECK(cond) do { if (!(cond)) CHECK_FAIL("not so: %s", #cond); } while (0)
#define CHECK_INT(want, got) do { long long w_ = (long long)(want), g_ = (long long)(got); if (w_ != g_) CHECK_FAIL("%s: wanted %lld, got %lld", #got, w_, g_); } while (0)
#define CHECK_STR(want, got) do { const char *w_ = (want), *g_ = (got); if (!g_ || strcmp(w_, g_) != 0) CHECK_FAIL("%s: wanted \"%s\", got \"%s\"", #got, w_, g_ ? g_ : "(null)"); } while (0)
#define CHECK_BYTES(want, want_len, got, got_len) do { size_t wl_ = (want_len), gl_ = (got_len); if (wl_ != gl_ || (wl_ && memcmp((want), (got), wl_) != 0)) CHECK_FAIL("%s: wanted %zu bytes \"%.*s\", got %zu bytes \"%.*s\"", #got, wl_, (int)wl_, (const char *)(want), gl_, (int)gl_, (const char *)(got)); } while (0)
#define RUN(test) do { test(); check_ran++; printf("ok %s\n", #test); fflush(stdout); } while (0)

static inline int check_done(void)
{
    printf("%d passed, 0 failed\n", check_ran);
    return check_ran ? 0 : 1;
}

/* A repeatable stream of random numbers (xorshift64*); print the seed when a check depends on it. */
static inline uint64_t check_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

#endif
