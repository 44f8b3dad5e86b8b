#include "serve/generation.h"

#include <stdlib.h>
#include <uv.h>

#include "base/mem.h"
#include "net/files.h"
#include "script/vm.h"
#include "serve/loader.h"

static int open_files(struct generation *g, struct buf *complaints)
{
    g->files = mem_alloc((g->gateway->n_routes + 1) * sizeof *g->files);
    for (size_t i = 0; i < g->gateway->n_routes; i++) {
        const struct route *r = &g->gateway->routes[i];
        int failed = r->files ? files_open(&g->files[i], r->files, r->n_paths ? r->paths[0] : "/") : 0;

        if (failed) {
            buf_printf(complaints, "route %s: cannot serve the directory %s: %s\n", r->name, r->files, uv_strerror(failed));
            return -1;
        }
    }
    return 0;
}

int generation_load(struct generation **ret, struct loader *loader, const char *file, const char *lua_dir, unsigned number, struct buf *complaints)
{
    struct vm_options options = { .lua_dir = lua_dir, .stop = loader_stopped(loader) };
    struct generation *g = mem_alloc(sizeof *g);

    list_init(&g->link);
    if (vm_open(&g->vm, &options) != 0)
        buf_puts(complaints, "no memory for a Lua state\n");
    else if (gateway_load(&g->gateway, g->vm, file, complaints) == 0 && open_files(g, complaints) == 0 && loader_init(loader, g->gateway, complaints) == 0) {
        g->gateway->generation = number;
        vm_give(g->vm);
        *ret = g;
        return 0;
    }
    generation_close(g);
    return -1;
}

void generation_close(struct generation *g)
{
    if (!g)
        return;
    list_remove(&g->link);
    for (size_t i = 0; g->files && i < g->gateway->n_routes; i++)
        if (g->files[i])
            files_close(g->files[i]);
    free(g->files);
    if (g->gateway)
        gateway_close(g->gateway);
    if (g->vm)
        vm_close(g->vm);
    free(g);
}
