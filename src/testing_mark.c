/* world:save() and world:restore(mark): the world as it was between two exchanges: its clock, its counts, its breakers, and what workers share. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/named.h"
#include "testing_world.h"

#define MARK "sluice.world.mark"

struct mark {
    uint64_t now;
    unsigned asked;
    int64_t metrics[METRIC_COUNT];
    struct breaker *breakers;                          /* of all policies, then of all services */
    struct named_copy *shared;
};

static size_t count_breakers(const struct gateway *g)
{
    size_t n = g->n_services;

    for (size_t r = 0; r < g->n_routes; r++)
        n += g->routes[r].n_policies;
    return n;
}

static struct breaker *breaker_at(struct gateway *g, size_t i)
{
    for (size_t r = 0; r < g->n_routes; i -= g->routes[r++].n_policies)
        if (i < g->routes[r].n_policies)
            return &g->routes[r].policies[i].breaker;
    return &g->services[i].breaker;
}

/* What no exchange uses any more gives back what it reserved now, not into a state that is restored later. */
static void collect(struct world *w)
{
    vm_set_now(w->vm, w->now, (int64_t)w->now);
    lua_gc(vm_lua(w->vm), LUA_GCCOLLECT);
}

static int free_mark(lua_State *L)
{
    struct mark *m = luaL_checkudata(L, 1, MARK);

    named_copy_free(m->shared);
    free(m->breakers);
    m->shared = NULL;
    m->breakers = NULL;
    return 0;
}

int testing_save(lua_State *L, struct world *w)        /* -> mark */
{
    struct mark *m = lua_newuserdatauv(L, sizeof *m, 0);
    size_t n = count_breakers(w->gateway);

    memset(m, 0, sizeof *m);
    if (luaL_newmetatable(L, MARK)) {                  /* mark mt */
        lua_pushcfunction(L, free_mark);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);                           /* mark */
    collect(w);
    m->now = w->now;
    m->asked = w->asked;
    for (int i = 0; i < METRIC_COUNT; i++)
        m->metrics[i] = metrics_get(&w->metrics, i);
    m->breakers = mem_alloc((n + 1) * sizeof *m->breakers);
    for (size_t i = 0; i < n; i++)
        m->breakers[i] = *breaker_at(w->gateway, i);
    m->shared = named_copy();
    return 1;
}

int testing_restore(lua_State *L, struct world *w)     /* (world, mark) */
{
    struct mark *m = luaL_checkudata(L, 2, MARK);

    collect(w);
    w->now = m->now;
    w->asked = m->asked;
    for (int i = 0; i < METRIC_COUNT; i++)
        metrics_add(&w->metrics, i, m->metrics[i] - metrics_get(&w->metrics, i));
    for (size_t i = 0; i < count_breakers(w->gateway); i++)
        *breaker_at(w->gateway, i) = m->breakers[i];
    named_paste(m->shared);
    return 0;
}

int testing_forget(lua_State *L)                        /* forget(): counters, limiters and caches forget everything; slots stay with those who hold them */
{
    (void)L;
    named_paste(NULL);
    named_forget_idle();
    return 0;
}
