#include "base/keyed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define KEY_MAX 128

struct keyed_record {
    struct keyed_record *next;                         /* in its hash chain */
    struct list used;
    uint64_t hash;
    size_t len, weight;
    _Alignas(16) unsigned char payload[];              /* then the key */
};

static uint64_t hash_of(const char *key, size_t len)    /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

void keyed_init(struct keyed *k, size_t payload, void (*drop)(void *payload))
{
    k->payload = payload;
    k->drop = drop;
    for (int i = 0; i < KEYED_SHARDS; i++) {
        pthread_mutex_init(&k->shards[i].lock, NULL);
        list_init(&k->shards[i].used);
    }
}

static void forget(struct keyed *k, struct keyed_shard *s, struct keyed_record *r)
{
    struct keyed_record **p = &s->slots[r->hash / KEYED_SHARDS % KEYED_SLOTS];

    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    list_remove(&r->used);
    s->n--;
    s->bytes -= r->weight;
    if (k->drop)
        k->drop(r->payload);
    free(r);
}

void keyed_free(struct keyed *k)
{
    for (int i = 0; i < KEYED_SHARDS; i++) {
        list_each_safe(it, &k->shards[i].used)
            forget(k, &k->shards[i], list_of(it, struct keyed_record, used));
        pthread_mutex_destroy(&k->shards[i].lock);
    }
}

static struct keyed_record *make(struct keyed *k, struct keyed_shard *s, uint64_t hash, const char *key, size_t len)
{
    struct keyed_record *r = mem_alloc(sizeof *r + k->payload + len), **slot = &s->slots[hash / KEYED_SHARDS % KEYED_SLOTS];

    r->hash = hash;
    r->len = len;
    memcpy(r->payload + k->payload, key, len);
    r->next = *slot;
    *slot = r;
    list_append(&s->used, &r->used);
    s->n++;
    return r;
}

void *keyed_lock(struct keyed *k, const char *key, size_t len, size_t most, bool *fresh, struct keyed_at *at)
{
    uint64_t hash = hash_of(key, len);
    struct keyed_shard *s = &k->shards[hash % KEYED_SHARDS];
    char brief[KEY_MAX + 48];

    if (len > KEY_MAX) {
        memcpy(brief, key, KEY_MAX);
        len = KEY_MAX + (size_t)snprintf(brief + KEY_MAX, 48, "#%zu#%016llx", len, (unsigned long long)hash);
        key = brief;
    }
    pthread_mutex_lock(&s->lock);
    struct keyed_record *r = s->slots[hash / KEYED_SHARDS % KEYED_SLOTS];
    while (r && !(r->hash == hash && r->len == len && memcmp(r->payload + k->payload, key, len) == 0))
        r = r->next;
    if (fresh)
        *fresh = !r && most > 0;
    if (r) {
        list_remove(&r->used);
        list_append(&s->used, &r->used);
    } else if (most > 0) {
        while (s->n > (most - 1) / KEYED_SHARDS)       /* more than one when the bound became smaller */
            forget(k, s, list_of(s->used.next, struct keyed_record, used));
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

void keyed_remove(struct keyed *k, struct keyed_at *at)
{
    forget(k, at->shard, at->record);
    at->record = NULL;
}

void keyed_weigh(struct keyed *k, struct keyed_at *at, size_t before, size_t bytes, size_t most)
{
    struct keyed_shard *s = at->shard;

    s->bytes += bytes - before;
    at->record->weight = bytes;
    while (s->bytes > most / KEYED_SHARDS && s->used.next != &at->record->used)
        forget(k, s, list_of(s->used.next, struct keyed_record, used));
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
