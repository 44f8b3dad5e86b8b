#include "base/secret.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SHORTEST 4

struct secret {
    struct secret *next;
    size_t len;
    char *value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret *all;                             /* grows only */

void secret_add(const char *value, size_t len)
{
    if (len < SHORTEST)
        return;
    pthread_mutex_lock(&lock);
    struct secret *s = all;
    while (s && !(s->len == len && memcmp(s->value, value, len) == 0))
        s = s->next;
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->value = mem_copy(value, len);
        s->len = len;
        s->next = all;
        all = s;
    }
    pthread_mutex_unlock(&lock);
}

static void mask(struct buf *text, const struct secret *s)
{
    struct buf out = BUF_EMPTY;
    const char *p = text->data, *end = p + text->len;

    for (char *hit; (hit = memmem(p, (size_t)(end - p), s->value, s->len)); p = hit + s->len) {
        buf_append(&out, p, (size_t)(hit - p));
        buf_puts(&out, "***");
    }
    if (p == text->data)
        return;
    buf_append(&out, p, (size_t)(end - p));
    buf_free(text);
    *text = out;
}

void secret_scrub(struct buf *text)
{
    pthread_mutex_lock(&lock);
    for (const struct secret *s = all; s && text->len; s = s->next)
        mask(text, s);
    pthread_mutex_unlock(&lock);
}
