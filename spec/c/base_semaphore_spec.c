#include "base/semaphore.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/keyed.h"
#include "base/named.h"
#include "check.h"

#define K "k", 1

struct sight { const char *name; size_t times, keys, held; };

static void look(void *arg, struct named *n)
{
    struct sight *s = arg;

    if (strcmp(n->name, s->name) != 0)
        return;
    s->times++;
    s->keys = keyed_count(n->keys);
    s->held = n->held(n);
}

/* What SIGUSR1 tells of it. */
static struct sight sight_of(const char *name)
{
    struct sight s = { .name = name };

    named_each(look, &s);
    return s;
}

static void gives_out_as_many_as_there_are(void)
{
    struct semaphore *s = semaphore_open("few");
    uint64_t held = 9;

    CHECK_INT(0, semaphore_held(s, K));
    struct slot *a = semaphore_take(s, K, 2, &held);
    CHECK(a);
    CHECK_INT(1, held);
    struct slot *b = semaphore_take(s, K, 2, &held);
    CHECK(b);
    CHECK_INT(2, held);
    CHECK(!semaphore_take(s, K, 2, &held));
    CHECK_INT(2, held);
    struct slot *other = semaphore_take(s, "other", 5, 1, &held);
    CHECK(other);
    CHECK_INT(3, sight_of("few").held);
    CHECK_INT(2, sight_of("few").keys);

    slot_release(a);
    CHECK_INT(1, semaphore_held(s, K));
    a = semaphore_take(s, K, 2, &held);
    CHECK(a);
    CHECK(!semaphore_take(s, K, 2, &held));
    slot_release(a);
    slot_release(b);
    slot_release(other);
    CHECK_INT(0, semaphore_held(s, K));
    CHECK_INT(0, sight_of("few").held);
    CHECK_INT(0, sight_of("few").keys);                /* a key without a slot is nothing to remember */
    semaphore_close(s);
}

static void the_limit_is_of_whoever_asks(void)
{
    struct semaphore *s = semaphore_open("limits");
    struct slot *slots[4];
    uint64_t held;

    CHECK(!semaphore_take(s, K, 0, &held));
    CHECK_INT(0, sight_of("limits").keys);
    for (int i = 0; i < 4; i++)
        CHECK((slots[i] = semaphore_take(s, K, 4, &held)));
    CHECK(!semaphore_take(s, K, 2, &held));            /* it became smaller: those who have one keep it */
    CHECK_INT(4, held);
    for (int i = 0; i < 3; i++)
        slot_release(slots[i]);
    CHECK((slots[0] = semaphore_take(s, K, 2, &held)));
    slot_release(slots[0]);
    slot_release(slots[3]);
    semaphore_close(s);
}

static void a_slot_outlives_the_last_close(void)
{
    struct semaphore *s = semaphore_open("reloaded");
    uint64_t held;
    struct slot *a = semaphore_take(s, K, 1, &held);

    semaphore_close(s);
    named_forget_idle();
    CHECK_INT(1, sight_of("reloaded").held);           /* still listed */
    s = semaphore_open("reloaded");
    CHECK(!semaphore_take(s, K, 1, &held));
    semaphore_close(s);
    slot_release(a);
    CHECK_INT(0, sight_of("reloaded").times);
    named_forget_idle();
}

static void no_crowd_of_keys_pushes_a_slot_out(void)
{
    enum { CROWD = 100000 };
    struct semaphore *s = semaphore_open("crowd");
    static struct slot *slots[CROWD];
    static char big[100000];
    uint64_t held;
    char key[20];

    for (int i = 0; i < CROWD; i++) {
        int len = sprintf(key, "key%d", i);
        CHECK((slots[i] = semaphore_take(s, key, (size_t)len, 1, &held)));
    }
    for (int i = 0; i < CROWD; i++) {
        int len = sprintf(key, "key%d", i);
        CHECK(!semaphore_take(s, key, (size_t)len, 1, &held));
    }
    CHECK_INT(CROWD, sight_of("crowd").held);
    for (int i = 0; i < CROWD; i++)
        slot_release(slots[i]);
    CHECK_INT(0, sight_of("crowd").keys);
    memset(big, 'x', sizeof big);
    CHECK((slots[0] = semaphore_take(s, big, sizeof big, 1, &held)));
    CHECK(!semaphore_take(s, big, sizeof big, 1, &held));
    CHECK((slots[1] = semaphore_take(s, big, sizeof big - 1, 1, &held)));   /* another long key */
    slot_release(slots[0]);
    slot_release(slots[1]);
    semaphore_close(s);
}

static void a_specs_copy_leaves_slots_alone(void)
{
    struct semaphore *s = semaphore_open("copied");
    uint64_t held;
    struct slot *a = semaphore_take(s, K, 5, &held), *b;
    struct named_copy *before = named_copy();

    b = semaphore_take(s, K, 5, &held);
    named_paste(before);
    CHECK_INT(2, semaphore_held(s, K));
    named_paste(NULL);
    CHECK_INT(2, semaphore_held(s, K));
    named_copy_free(before);
    slot_release(a);
    slot_release(b);
    CHECK_INT(0, semaphore_held(s, K));
    semaphore_close(s);
}

/* Four threads crowd at two keys with three slots each; each also closes and opens, as reloads do. */
enum { THREADS = 4, TURNS = 20000, SLOTS = 3 };
static _Atomic int inside[2], refused, crowded;

static void leave(struct slot *slot, int key)
{
    atomic_fetch_sub(&inside[key], 1);                 /* first: who takes the slot next is counted after that */
    slot_release(slot);
}

static void *come_and_go(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg * 7919 + 1, held;
    struct slot *mine[8] = { 0 };
    int key_of[8] = { 0 };
    struct semaphore *s = semaphore_open("threads");

    for (int i = 0; i < TURNS; i++) {
        int at = (int)(check_random(&seed) % 8), key = (int)(check_random(&seed) % 2);

        if (mine[at]) {
            leave(mine[at], key_of[at]);
            mine[at] = NULL;
        } else if ((mine[at] = semaphore_take(s, key ? "a" : "b", 1, SLOTS, &held))) {
            key_of[at] = key;
            if (atomic_fetch_add(&inside[key], 1) >= SLOTS || held > SLOTS)
                atomic_fetch_add(&crowded, 1);
        } else {
            atomic_fetch_add(&refused, 1);
        }
        if (i % 100 == 0) {
            semaphore_close(s);
            s = semaphore_open("threads");
        }
    }
    for (int at = 0; at < 8; at++)
        if (mine[at])
            leave(mine[at], key_of[at]);
    semaphore_close(s);
    return NULL;
}

static void threads_never_crowd(void)
{
    struct semaphore *s = semaphore_open("threads");
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(0, pthread_create(&t[i], NULL, come_and_go, (void *)(uintptr_t)i));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(0, atomic_load(&crowded));
    CHECK(atomic_load(&refused) > 0);                  /* there was a crowd */
    CHECK_INT(0, sight_of("threads").held);
    CHECK_INT(0, sight_of("threads").keys);
    semaphore_close(s);
}

int main(void)
{
    RUN(gives_out_as_many_as_there_are);
    RUN(the_limit_is_of_whoever_asks);
    RUN(a_slot_outlives_the_last_close);
    RUN(no_crowd_of_keys_pushes_a_slot_out);
    RUN(a_specs_copy_leaves_slots_alone);
    RUN(threads_never_crowd);
    named_forget_idle();
    return check_done();
}
