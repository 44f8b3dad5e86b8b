#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p)
{
    if (p)
        return p;
    fputs("sluice: out of memory\n", stderr);
    abort();
}

void *mem_alloc(size_t size) { return or_die(calloc(1, size ? size : 1)); }

void *mem_resize(void *old, size_t size) { return or_die(realloc(old, size ? size : 1)); }

char *mem_copy(const char *bytes, size_t len)
{
    char *copy = or_die(malloc(len + 1));

    if (len)
        memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

char *mem_string(const char *s) { return s ? mem_copy(s, strlen(s)) : NULL; }

char *mem_format(const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    return or_die(n < 0 ? NULL : text);
}
