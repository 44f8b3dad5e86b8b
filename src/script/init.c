/* The policies' init(): once a VM, before its first request. One that fails refuses the whole generation. */
#include "script/exchange_inside.h"

#define INIT_CPU_MS 5000
#define INIT_WAIT_MS 10000                             /* all waits of one init together */

/* Runs to its end on one coroutine. True: it returned nothing. */
static bool run_one(const struct gateway *g, const struct init_entry *e, void (*pass)(void *arg, uint64_t ms), void *arg, struct buf *complaints)
{
    struct call c;
    uint64_t waited = 0;
    enum call_state state;
    bool good = false;

    call_begin(&c, g->vm, INIT_CPU_MS);
    if (c.co)
        lua_rawgeti(c.co, LUA_REGISTRYINDEX, e->fn_ref);
    state = call_run(&c, 0);
    while (state == CALL_WAITS && waited + c.wait_ms <= INIT_WAIT_MS) {
        waited += c.wait_ms;
        pass(arg, c.wait_ms);
        state = call_resume(&c, 0);
    }
    if (state == CALL_WAITS)
        buf_printf(complaints, "policy \"%s\": init waited longer than %d s\n", e->policy, INIT_WAIT_MS / 1000);
    else if (state == CALL_FAILED)
        buf_printf(complaints, "%s (init of policy \"%s\")\n", c.message, e->policy);
    else if (c.n_results > 0 && !lua_isnil(c.co, -c.n_results))
        buf_printf(complaints, "policy \"%s\": init returned a %s; it may return nothing\n", e->policy, luaL_typename(c.co, -c.n_results));
    else
        good = true;
    call_cancel(&c);
    return good;
}

int gateway_init(struct gateway *g, void (*pass)(void *arg, uint64_t ms), void *arg, struct buf *complaints)
{
    bool good = true;

    for (size_t i = 0; i < g->n_inits; i++)
        good = run_one(g, &g->inits[i], pass, arg, complaints) && good;
    return good ? 0 : -1;
}
