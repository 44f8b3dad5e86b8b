#include "base/keyed.h"

#include "base/hash.h"
#include "check.h"

static void the_hash_is_siphash(void)
{
    static const uint64_t zero[2];

    CHECK(hash_under(zero, "", 0) == 0xd1fba762150c532cu);             /* the published SipHash-1-3 of these under a key of zeros */
    CHECK(hash_under(zero, "siphash", 7) == 0x8264ceeccb16bcbeu);
    CHECK(hash_under(zero, "digest-sip_hash", 15) == 0xce31007e34130c0au);
    CHECK(hash_bytes("abc", 3) == hash_bytes("abc", 3));
    CHECK(hash_bytes("abc", 3) != hash_bytes("abd", 3));
    CHECK(hash_bytes("a\0", 2) != hash_bytes("a", 1));
}

static int *number(struct keyed *k, int n, size_t most, struct keyed_at *at)
{
    char key[20];
    int len = sprintf(key, "key%d", n);

    return keyed_lock(k, key, (size_t)len, most, NULL, at);
}

static size_t longest_chain(struct keyed *k, size_t *chains)
{
    size_t longest = 0;

    *chains = 0;
    for (int i = 0; i < KEYED_SHARDS; i++)
        *chains += k->shards[i].n_slots;
    for (int i = 0; i < KEYED_SHARDS; i++) {
        for (size_t s = 0; s < k->shards[i].n_slots; s++) {
            size_t n = 0;
            /* a record's header is its own file's: its first member is the next in its chain */
            for (void *r = k->shards[i].slots[s]; r; r = *(void **)r)
                n++;
            if (n > longest)
                longest = n;
        }
    }
    return longest;
}

static void grows_with_its_records(void)
{
    static struct keyed k;
    struct keyed_at at;
    size_t chains, taken = 0;

    keyed_init(&k, sizeof(int), NULL);
    for (int i = 0; i < 300000; i++) {
        *number(&k, i, SIZE_MAX, &at) = i;
        keyed_unlock(&k, &at);
        if (i % 1000 == 0) {                           /* each is found wherever the splitting stands */
            for (int j = 0; j <= i; j += i / 50 + 1) {
                int *found = number(&k, j, 0, &at);
                CHECK(found != NULL && *found == j);
                keyed_unlock(&k, &at);
            }
        }
    }
    CHECK_INT(300000, keyed_count(&k));
    CHECK(longest_chain(&k, &chains) < 20);
    CHECK(chains >= 290000);
    for (int i = 0; i < 300000; i++) {
        int *found = number(&k, i, 0, &at);
        CHECK(found != NULL && *found == i);
        if (i % 3)
            keyed_remove(&k, &at);
        else
            taken += keyed_takes(&k, 3 + (size_t)snprintf(NULL, 0, "%d", i));
        keyed_unlock(&k, &at);
    }
    CHECK_INT(100000, keyed_count(&k));
    CHECK_INT(keyed_bytes(&k), taken);
    keyed_free(&k);
}

static void long_keys_meet_unless_whole(void)
{
    static struct keyed brief, whole;
    static char a[1000], b[1000];
    struct keyed_at at;
    bool fresh;

    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    b[999] = 'y';
    keyed_init(&brief, 1, NULL);
    keyed_init(&whole, 1, NULL);
    whole.whole = true;
    for (int i = 0; i < 2; i++) {
        struct keyed *k = i ? &whole : &brief;
        keyed_lock(k, a, sizeof a, SIZE_MAX, &fresh, &at);
        keyed_unlock(k, &at);
        CHECK(fresh);
        keyed_lock(k, b, sizeof b, SIZE_MAX, &fresh, &at);
        keyed_unlock(k, &at);
        CHECK(fresh);                                  /* told apart by the hash, or by all of it */
        keyed_lock(k, a, sizeof a, SIZE_MAX, &fresh, &at);
        keyed_unlock(k, &at);
        CHECK(!fresh);
    }
    CHECK(keyed_bytes(&brief) < 2 * keyed_takes(&brief, 200));
    CHECK_INT(2 * keyed_takes(&whole, 1000), keyed_bytes(&whole));
    keyed_free(&brief);
    keyed_free(&whole);
}

static int dropped;
static void drop(void *payload) { (void)payload, dropped++; }

static void what_is_pinned_stays(void)
{
    static struct keyed k;
    struct keyed_at at;

    keyed_init(&k, 1, drop);
    keyed_lock(&k, "pinned", 6, SIZE_MAX, NULL, &at);
    keyed_pin(&at, true);
    keyed_unlock(&k, &at);
    for (int i = 0; i < 5000; i++) {
        number(&k, i, SIZE_MAX, &at);
        keyed_weigh(&k, &at, 1000, 16 * 5000);         /* four or so a shard */
        keyed_unlock(&k, &at);
    }
    CHECK(keyed_bytes(&k) <= 16 * 5000);
    CHECK(dropped > 4900);
    CHECK(keyed_lock(&k, "pinned", 6, 0, NULL, &at) != NULL);
    keyed_unlock(&k, &at);
    keyed_trim(&k, 0);
    CHECK_INT(1, keyed_count(&k));
    keyed_lock(&k, "pinned", 6, 0, NULL, &at);
    keyed_pin(&at, false);
    keyed_unlock(&k, &at);
    keyed_trim(&k, 0);
    CHECK_INT(0, keyed_count(&k));
    CHECK_INT(0, keyed_bytes(&k));
    keyed_free(&k);
}

int main(void)
{
    RUN(the_hash_is_siphash);
    RUN(grows_with_its_records);
    RUN(long_keys_meet_unless_whole);
    RUN(what_is_pinned_stays);
    return check_done();
}
