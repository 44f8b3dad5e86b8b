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

/* Marks where the value stands: a byte of `hit` for each byte of the text, made when first needed. Values may overlap or hold one another
 * (an old key and its longer sister), so all are looked up in the untouched text; masking one after the other would leave tails.
 */
static char *mark(const struct buf *text, const struct secret *s, char *hit)
{
    const char *p = text->data, *end = p + text->len;

    while ((p = memmem(p, (size_t)(end - p), s->value, s->len))) {
        if (!hit)
            hit = mem_alloc(text->len);
        memset(hit + (p - text->data), 1, s->len);
        p++;
    }
    return hit;
}

static void mask(struct buf *text, const char *hit)
{
    struct buf out = BUF_EMPTY;

    for (size_t i = 0; i < text->len; i++) {
        if (!hit[i])
            buf_putc(&out, text->data[i]);
        else if (i == 0 || !hit[i - 1])
            buf_puts(&out, "***");
    }
    buf_free(text);
    *text = out;
}

void secret_scrub(struct buf *text)
{
    char *hit = NULL;

    if (text->len == 0)
        return;
    pthread_mutex_lock(&lock);
    for (const struct secret *s = all; s; s = s->next)
        hit = mark(text, s, hit);
    pthread_mutex_unlock(&lock);
    if (hit)
        mask(text, hit);
    free(hit);
}
