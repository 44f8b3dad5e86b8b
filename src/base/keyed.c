#include "base/keyed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define KEY_MAX 128
#define SLOTS_MIN 16
#define ALLOCATOR 32                                   /* what malloc and a chain add to a record, about */

struct keyed_record {
    struct keyed_record *next;                         /* in its hash chain */
    struct list used;                                  /* in no list: pinned */
    uint64_t hash;
    size_t len, weight;
    _Alignas(16) unsigned char payload[];              /* then the key */
};

void keyed_init(struct keyed *k, size_t payload, void (*drop)(void *payload))
{
    k->payload = payload;
    k->drop = drop;
    for (int i = 0; i < KEYED_SHARDS; i++) {
        struct keyed_shard *s = &k->shards[i];

        pthread_mutex_init(&s->lock, NULL);
        list_init(&s->used);
        s->slots = mem_alloc(SLOTS_MIN * sizeof *s->slots);
        s->n_slots = SLOTS_MIN;
        s->mask = SLOTS_MIN - 1;
    }
}

static size_t chain_of(const struct keyed_shard *s, uint64_t hash)
{
    size_t i = hash / KEYED_SHARDS & s->mask;

    return i < s->n_slots ? i : i & s->mask >> 1;
}

/* Splits one chain in two, so that no insertion pays for a whole new table. */
static void grow(struct keyed_shard *s)
{
    size_t young = s->n_slots++;
    struct keyed_record **p;

    if (young > s->mask) {
        s->mask = 2 * s->mask + 1;
        s->slots = mem_resize(s->slots, (s->mask + 1) * sizeof *s->slots);
    }
    s->slots[young] = NULL;
    p = &s->slots[young & s->mask >> 1];
    while (*p) {
        struct keyed_record *r = *p;

        if (chain_of(s, r->hash) != young) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        r->next = s->slots[young];
        s->slots[young] = r;
    }
}

static void forget(struct keyed *k, struct keyed_shard *s, struct keyed_record *r)
{
    struct keyed_record **p = &s->slots[chain_of(s, r->hash)];

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    list_remove(&r->used);
    s->n--;
    s->bytes -= r->weight + keyed_takes(k, r->len);
    if (k->drop)
        k->drop(r->payload);
    free(r);
}

static void empty(struct keyed *k, struct keyed_shard *s)
{
    for (size_t chain = 0; chain < s->n_slots; chain++)
        while (s->slots[chain])
            forget(k, s, s->slots[chain]);
}

void keyed_free(struct keyed *k)
{
    for (int i = 0; i < KEYED_SHARDS; i++) {
        struct keyed_shard *s = &k->shards[i];

        empty(k, s);
        free(s->slots);
        pthread_mutex_destroy(&s->lock);
    }
}

size_t keyed_takes(const struct keyed *k, size_t len) { return sizeof(struct keyed_record) + k->payload + len + ALLOCATOR; }

static void add(struct keyed *k, struct keyed_shard *s, struct keyed_record *r)
{
    struct keyed_record **chain;

    if (s->n >= s->n_slots)
        grow(s);
    chain = &s->slots[chain_of(s, r->hash)];
    r->next = *chain;
    *chain = r;
    list_append(&s->used, &r->used);
    s->n++;
    s->bytes += keyed_takes(k, r->len);
}

static struct keyed_record *make(struct keyed *k, struct keyed_shard *s, uint64_t hash, const char *key, size_t len)
{
    struct keyed_record *r = mem_alloc(sizeof *r + k->payload + len);

    r->hash = hash;
    r->len = len;
    memcpy(r->payload + k->payload, key, len);
    add(k, s, r);
    return r;
}

static struct keyed_record *oldest(struct keyed_shard *s)
{
    return list_empty(&s->used) ? NULL : list_of(s->used.next, struct keyed_record, used);
}

void *keyed_lock(struct keyed *k, const char *key, size_t len, size_t most, bool *fresh, struct keyed_at *at)
{
    uint64_t hash = hash_bytes(key, len);
    struct keyed_shard *s = &k->shards[hash % KEYED_SHARDS];
    char brief[KEY_MAX + 48];

    if (len > KEY_MAX && !k->whole) {
        memcpy(brief, key, KEY_MAX);
        len = KEY_MAX + (size_t)snprintf(brief + KEY_MAX, 48, "#%zu#%016llx", len, (unsigned long long)hash);
        key = brief;
    }
    pthread_mutex_lock(&s->lock);
    struct keyed_record *r = s->slots[chain_of(s, hash)], *old;
    while (r && !(r->hash == hash && r->len == len && memcmp(r->payload + k->payload, key, len) == 0))
        r = r->next;
    if (fresh)
        *fresh = !r && most > 0;
    if (r && !list_empty(&r->used)) {
        list_remove(&r->used);
        list_append(&s->used, &r->used);
    } else if (!r && most > 0) {
        while (s->n > (most - 1) / KEYED_SHARDS && (old = oldest(s)))   /* more than one when the bound became smaller */
            forget(k, s, old);
        r = make(k, s, hash, key, len);
    }
    *at = (struct keyed_at){ s, r };
    return r ? r->payload : NULL;
}

void keyed_unlock(struct keyed *k, const struct keyed_at *at)
{
    (void)k;
    pthread_mutex_unlock(&at->shard->lock);
}

void *keyed_relock(const struct keyed_at *at)
{
    pthread_mutex_lock(&at->shard->lock);
    return at->record->payload;
}

void keyed_remove(struct keyed *k, struct keyed_at *at)
{
    forget(k, at->shard, at->record);
    at->record = NULL;
}

void keyed_weigh(struct keyed *k, struct keyed_at *at, size_t bytes, size_t most)
{
    struct keyed_shard *s = at->shard;
    struct keyed_record *old;

    s->bytes += bytes - at->record->weight;
    at->record->weight = bytes;
    while (s->bytes > most / KEYED_SHARDS && (old = oldest(s)) && old != at->record)
        forget(k, s, old);
}

void keyed_pin(struct keyed_at *at, bool pinned)
{
    list_remove(&at->record->used);
    if (!pinned)
        list_append(&at->shard->used, &at->record->used);
}

void keyed_trim(struct keyed *k, size_t most)
{
    for (int i = 0; i < KEYED_SHARDS; i++) {
        struct keyed_shard *s = &k->shards[i];
        struct keyed_record *old;

        pthread_mutex_lock(&s->lock);
        while (s->bytes > most / KEYED_SHARDS && (old = oldest(s)))
            forget(k, s, old);
        pthread_mutex_unlock(&s->lock);
    }
}

size_t keyed_bytes(struct keyed *k)
{
    size_t bytes = 0;

    for (int i = 0; i < KEYED_SHARDS; i++) {
        pthread_mutex_lock(&k->shards[i].lock);
        bytes += k->shards[i].bytes;
        pthread_mutex_unlock(&k->shards[i].lock);
    }
    return bytes;
}

size_t keyed_count(struct keyed *k)
{
    size_t n = 0;

    for (int i = 0; i < KEYED_SHARDS; i++) {
        pthread_mutex_lock(&k->shards[i].lock);
        n += k->shards[i].n;
        pthread_mutex_unlock(&k->shards[i].lock);
    }
    return n;
}

static void show(const struct keyed *k, const struct keyed_record *r, void (*see)(void *arg, const char *key, size_t len, const void *payload, size_t bytes), void *arg)
{
    see(arg, (const char *)r->payload + k->payload, r->len, r->payload, r->weight + keyed_takes(k, r->len));
}

void keyed_each(struct keyed *k, void (*see)(void *arg, const char *key, size_t len, const void *payload, size_t bytes), void *arg)
{
    for (int i = 0; i < KEYED_SHARDS; i++) {
        struct keyed_shard *s = &k->shards[i];

        pthread_mutex_lock(&s->lock);
        for (size_t chain = 0; chain < s->n_slots; chain++)
            for (const struct keyed_record *r = s->slots[chain]; r; r = r->next)
                if (list_empty(&r->used))              /* pinned */
                    show(k, r, see, arg);
        list_each(it, &s->used)
            show(k, list_of(it, struct keyed_record, used), see, arg);
        pthread_mutex_unlock(&s->lock);
    }
}

/* ---- copies */

struct keyed_copy {
    size_t n;
    struct keyed_record **records;
};

static struct keyed_record *twin(const struct keyed *k, const struct keyed_record *r)
{
    struct keyed_record *t = (struct keyed_record *)mem_copy((const char *)r, sizeof *r + k->payload + r->len);

    list_init(&t->used);
    if (k->copy)
        k->copy(t->payload);
    return t;
}

struct keyed_copy *keyed_copy(struct keyed *k)
{
    struct keyed_copy *c = mem_alloc(sizeof *c);

    for (int i = 0; i < KEYED_SHARDS; i++) {
        struct keyed_shard *s = &k->shards[i];

        pthread_mutex_lock(&s->lock);
        c->records = mem_resize(c->records, (c->n + s->n + 1) * sizeof(struct keyed_record *));
        list_each(it, &s->used)
            c->records[c->n++] = twin(k, list_of(it, struct keyed_record, used));
        pthread_mutex_unlock(&s->lock);
    }
    return c;
}

void keyed_copy_free(struct keyed *k, struct keyed_copy *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (k->drop)
            k->drop(c->records[i]->payload);
        free(c->records[i]);
    }
    free(c->records);
    free(c);
}

void keyed_paste(struct keyed *k, const struct keyed_copy *c)
{
    for (int i = 0; i < KEYED_SHARDS; i++) {
        pthread_mutex_lock(&k->shards[i].lock);
        empty(k, &k->shards[i]);
        pthread_mutex_unlock(&k->shards[i].lock);
    }
    for (size_t i = 0; c && i < c->n; i++) {
        struct keyed_record *r = twin(k, c->records[i]);
        struct keyed_shard *s = &k->shards[r->hash % KEYED_SHARDS];

        pthread_mutex_lock(&s->lock);
        add(k, s, r);
        s->bytes += r->weight;
        pthread_mutex_unlock(&s->lock);
    }
}
