/* What a gateway file says of models beside what they are: pools, bounds, breakers, probes, retries. The state behind them is all workers' (base/target.h). */
#include "base/target.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/exchange_inside.h"
#include "script/gateway_inside.h"

const struct retry *read_retry(struct loaded *o, lua_State *L)
{
    struct retry *r = NULL;

    if (lua_getfield(L, -1, "retry") == LUA_TTABLE) {  /* t retry */
        r = read_array(o, 1, sizeof *r);
        r->times = (unsigned)read_number(L, "times");
        r->backoff_ms = (uint64_t)read_number(L, "backoff");
        r->max_ms = (uint64_t)read_number(L, "max");
    }
    lua_pop(L, 1);                                     /* t */
    return r;
}

static const struct probe *probe(struct loaded *o, lua_State *L, const struct model *m)   /* model -> model */
{
    struct probe *p = NULL;

    if (lua_getfield(L, -1, "probe") == LUA_TTABLE) {  /* model probe */
        p = read_array(o, 1, sizeof *p);
        p->url = read_text(o, L, "url");
        p->ca = m->ca;
        p->every_ms = (uint64_t)read_number(L, "every");
        p->timeout_ms = (uint64_t)read_number(L, "timeout");
    }
    lua_pop(L, 1);                                     /* model */
    return p;
}

static struct target *target(struct loaded *o, lua_State *L, const struct model *m)   /* model -> model */
{
    struct target *t = NULL;

    if (lua_getfield(L, -1, "target") == LUA_TTABLE) { /* model target */
        struct target_rule rule = {
            .max_parallel = (unsigned)read_number(L, "max_parallel"),
            .breaker = { .failures = (unsigned)read_number(L, "failures"), .in_a_row = (unsigned)read_number(L, "failures"), .window_ms = (uint64_t)read_number(L, "window"), .open_ms = (uint64_t)read_number(L, "open") },
            .healthy = (unsigned)read_number(L, "healthy"),
            .unhealthy = (unsigned)read_number(L, "unhealthy"),
            .back_ms = (uint64_t)read_number(L, "back"),
        };
        t = target_open(m->name, m->url ? m->url : "(Lua)", &rule);
        o->targets = mem_resize(o->targets, (o->n_targets + 1) * sizeof *o->targets);
        o->targets[o->n_targets++] = t;
    }
    lua_pop(L, 1);                                     /* model */
    return t;
}

static const struct pool *pool(struct loaded *o, lua_State *L)   /* model -> model; the members may not have been read yet */
{
    struct pool *p = NULL;

    if (lua_getfield(L, -1, "pool") == LUA_TTABLE) {   /* model pool */
        p = read_array(o, 1, sizeof *p);
        p->n = (unsigned)read_list(L, "members");      /* model pool members */
        for (unsigned i = 0; i < p->n; i++) {
            lua_rawgeti(L, -1, i + 1);                 /* model pool members member */
            p->names[i] = read_text(o, L, "name");
            p->weights[i] = (unsigned)read_number(L, "weight");
            p->members[i] = &o->g.models[read_number(L, "index") - 1];
            lua_pop(L, 1);
        }
        lua_pop(L, 1);                                 /* model pool */
        p->least_busy = read_flag(L, "least_busy");
        p->affinity_ref = read_reference(o, L, "affinity");
        p->balance = balance_open(read_text(o, L, "name"));
        o->balances = mem_resize(o->balances, (o->n_balances + 1) * sizeof *o->balances);
        o->balances[o->n_balances++] = p->balance;
    }
    lua_pop(L, 1);                                     /* model */
    return p;
}

void read_target(struct loaded *o, lua_State *L, struct model *m)
{
    m->pool = pool(o, L);
    m->retry = read_retry(o, L);
    m->probe = probe(o, L, m);
    m->target = target(o, L, m);
}

void targets_close(struct loaded *o)
{
    for (size_t i = 0; i < o->n_targets; i++)
        target_close(o->targets[i]);
    for (size_t i = 0; i < o->n_balances; i++)
        balance_close(o->balances[i]);
    free(o->targets);
    free(o->balances);
}

/* ---- affinity */

struct affinity_job { struct exchange *x; const struct pool *pool; struct buf *out; };

static int affinity_entry(lua_State *L)                /* (job) */
{
    struct affinity_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push_function(L, "affinity");
    exchange_push(L, job->x);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->pool->affinity_ref);
    lua_call(L, 2, 1);                                 /* job text? */
    s = lua_tolstring(L, -1, &len);
    if (s)
        buf_append(job->out, s, len);
    return 0;
}

void exchange_affinity(struct exchange *x, const struct model *pool, struct buf *out)
{
    struct affinity_job job = { x, pool->pool, out };
    struct call c;

    if (exchange_run(x, &c, affinity_entry, &job, HOOK_MS, "an affinity function may not wait") != CALL_RETURNED)
        log_say(LOG_ERROR, "affinity.failed", "pool %s: %s", pool->name, c.message);
    call_finish(&c);
}
