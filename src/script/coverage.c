#include "script/coverage.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"

enum { THERE = 1, RAN = 2 };

struct file {
    struct list link;
    char *path;                                        /* absolute: one file by whatever name it was loaded */
    uint8_t *lines;                                    /* THERE, RAN, by number */
    int n_lines;
};

struct name {                                          /* as chunks are called: "policies/pii.lua" */
    struct list link;
    char *text;
    struct file *file;
};

struct coverage {
    struct list files, names;
    const struct name *last;                           /* that was looked up: the next line is mostly of the same file */
};

struct coverage *coverage_open(void)
{
    struct coverage *c = mem_alloc(sizeof *c);

    list_init(&c->files);
    list_init(&c->names);
    return c;
}

void coverage_close(struct coverage *c)
{
    list_each_safe(it, &c->names) {
        struct name *n = list_of(it, struct name, link);

        free(n->text);
        free(n);
    }
    list_each_safe(it, &c->files) {
        struct file *f = list_of(it, struct file, link);

        free(f->path);
        free(f->lines);
        free(f);
    }
    free(c);
}

static const struct name *named(const struct coverage *c, const char *text)
{
    if (c->last && strcmp(c->last->text, text) == 0)
        return c->last;
    list_each(it, &c->names) {
        struct name *n = list_of(it, struct name, link);

        if (strcmp(n->text, text) == 0)
            return n;
    }
    return NULL;
}

static struct file *file_at(struct coverage *c, const char *path)
{
    list_each(it, &c->files) {
        struct file *f = list_of(it, struct file, link);

        if (strcmp(f->path, path) == 0)
            return f;
    }
    struct file *f = mem_alloc(sizeof *f);
    f->path = mem_string(path);
    list_append(&c->files, &f->link);
    return f;
}

static struct file *file_named(struct coverage *c, const char *path)
{
    const struct name *known = named(c, path);
    char *real;

    if (known)
        return known->file;
    real = realpath(path, NULL);
    struct name *n = mem_alloc(sizeof *n);
    n->text = mem_string(path);
    n->file = file_at(c, real ? real : path);
    list_append(&c->names, &n->link);
    free(real);
    return n->file;
}

bool coverage_lacks(const struct coverage *c, const char *path) { return !named(c, path); }

void coverage_know(struct coverage *c, const char *path, int line)
{
    struct file *f = file_named(c, path);

    if (line >= f->n_lines) {
        int n = line + 64;

        f->lines = mem_resize(f->lines, (size_t)n);
        memset(f->lines + f->n_lines, 0, (size_t)(n - f->n_lines));
        f->n_lines = n;
    }
    if (line > 0)
        f->lines[line] |= THERE;
}

void coverage_note(struct coverage *c, lua_State *L, lua_Debug *ar)
{
    const struct name *n;

    lua_getinfo(L, "Sl", ar);
    if (ar->source[0] != '@')
        return;
    n = named(c, ar->source + 1);
    if (!n)
        return;                                        /* one of ours, or a text that stands in a spec */
    c->last = n;
    if (ar->currentline > 0 && ar->currentline < n->file->n_lines)
        n->file->lines[ar->currentline] |= RAN;
}

void coverage_push(const struct coverage *c, lua_State *L)
{
    lua_newtable(L);                                   /* list */
    list_each(it, &c->files) {
        const struct file *f = list_of(it, struct file, link);

        if (access(f->path, F_OK) != 0)
            continue;
        lua_createtable(L, 0, 2);                      /* list file */
        lua_pushstring(L, f->path);
        lua_setfield(L, -2, "path");
        lua_newtable(L);                               /* list file lines */
        for (int i = 1; i < f->n_lines; i++) {
            if (!(f->lines[i] & THERE))
                continue;
            lua_pushboolean(L, f->lines[i] & RAN);
            lua_rawseti(L, -2, i);
        }
        lua_setfield(L, -2, "lines");                  /* list file */
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);   /* list */
    }
}
