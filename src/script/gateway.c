/* Reads what lua/sluice/load.lua made of an operator's file into the structs of gateway.h. The checking is all in Lua; a surprise here is our mistake. */
#include "script/gateway.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "script/inside.h"
#include "script/match_value.h"

#define LOAD_MS 10000                                  /* CPU time a gateway file may use */
#define MEMORY_MIN ((size_t)4 << 20)

const char *const hook_names[HOOK_COUNT] = {
    "accept", "validate", "route", "prompt", "attempt", "fallback", "response", "tool_call", "finish", "error", "log",
};
const char *const channel_names[CHANNEL_COUNT] = { "content", "reasoning", "refusal", "tool_args" };

struct loaded {                                        /* a gateway with all that is freed with it */
    struct gateway g;
    void **owned;
    size_t n_owned;
    struct json_places **places;
    size_t n_places;
    int *refs;
    size_t n_refs;
};

static void *own(struct loaded *o, void *p)
{
    o->owned = mem_resize(o->owned, (o->n_owned + 1) * sizeof *o->owned);
    o->owned[o->n_owned++] = p;
    return p;
}

static void *own_array(struct loaded *o, size_t n, size_t size) { return own(o, mem_alloc(n ? n * size : 1)); }

/* ---- fields of the table at the top of the stack */

static const char *text(struct loaded *o, lua_State *L, const char *name)   /* a copy, or NULL when absent */
{
    const char *ret = NULL;

    if (lua_getfield(L, -1, name) == LUA_TSTRING) {    /* t value */
        size_t len;
        const char *s = lua_tolstring(L, -1, &len);

        ret = own(o, mem_copy(s, len));
    }
    lua_pop(L, 1);                                     /* t */
    return ret;
}

static lua_Integer number(lua_State *L, const char *name)   /* 0 when absent */
{
    lua_Integer n;

    lua_getfield(L, -1, name);                         /* t value */
    n = lua_tointeger(L, -1);
    lua_pop(L, 1);                                     /* t */
    return n;
}

static bool flag(lua_State *L, const char *name)
{
    bool b;

    lua_getfield(L, -1, name);                         /* t value */
    b = lua_toboolean(L, -1);
    lua_pop(L, 1);                                     /* t */
    return b;
}

static int reference(struct loaded *o, lua_State *L, const char *name)   /* LUA_NOREF when absent */
{
    int ref;

    if (lua_getfield(L, -1, name) == LUA_TNIL) {       /* t value */
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    ref = luaL_ref(L, LUA_REGISTRYINDEX);              /* t */
    o->refs = mem_resize(o->refs, (o->n_refs + 1) * sizeof *o->refs);
    o->refs[o->n_refs++] = ref;
    return ref;
}

static size_t open_list(lua_State *L, const char *name)   /* t -> t list */
{
    lua_getfield(L, -1, name);
    return lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
}

static void clocks(lua_State *L, struct clocks *ret)
{
    uint64_t v[4] = { 0, 0, 0, 0 };
    size_t n = open_list(L, "clocks");                 /* t clocks */

    for (size_t i = 0; i < n && i < 4; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        v[i] = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    *ret = (struct clocks){ .connect = v[0], .first_token = v[1], .gap = v[2], .total = v[3] };
}

/* ---- the parts */

static struct json_places *places(struct loaded *o, lua_State *L, const char *list, int n, const char *dialect_name)   /* dialect -> dialect */
{
    const char *paths[PLACE_COUNT], *bad = NULL;
    struct json_places *p;

    open_list(L, list);                                /* dialect places */
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);                     /* dialect places path */
        paths[i] = own(o, mem_string(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* dialect */
    p = json_places_compile(paths, (size_t)n, &bad);
    if (!p)
        luaL_error(L, "the dialect \"%s\" names a place that cannot be read: \"%s\"", dialect_name, bad ? bad : "?");
    o->places = mem_resize(o->places, (o->n_places + 1) * sizeof *o->places);
    o->places[o->n_places++] = p;
    return p;
}

static const struct dialect *dialect(struct loaded *o, lua_State *L)   /* model -> model */
{
    struct dialect *d = NULL;

    if (lua_getfield(L, -1, "dialect") == LUA_TTABLE) {   /* model dialect */
        d = own_array(o, 1, sizeof *d);
        d->name = text(o, L, "name");
        d->done = text(o, L, "done");
        d->request_ref = reference(o, L, "request");
        d->places = places(o, L, "places", PLACE_COUNT, d->name);
        d->tool_places = places(o, L, "tool_places", TOOL_PLACE_COUNT, d->name);
    }
    lua_pop(L, 1);                                     /* model */
    return d;
}

static void model(struct loaded *o, lua_State *L, struct model *m)
{
    m->name = text(o, L, "name");
    m->url = text(o, L, "url");
    m->ca = text(o, L, "ca");
    clocks(L, &m->clocks);
    m->answer_ref = reference(o, L, "answer");
    m->table_ref = reference(o, L, "table");
    m->dialect = dialect(o, L);
}

static const struct front *front(struct loaded *o, lua_State *L)   /* route -> route */
{
    struct front *f = NULL;

    if (lua_getfield(L, -1, "front") == LUA_TTABLE) {  /* route front */
        f = own_array(o, 1, sizeof *f);
        f->name = text(o, L, "name");
        f->methods = text(o, L, "methods");
        f->content_before = text(o, L, "content_before");
        f->content_after = text(o, L, "content_after");
        f->reasoning_before = text(o, L, "reasoning_before");
        f->reasoning_after = text(o, L, "reasoning_after");
        f->tool_before = text(o, L, "tool_before");
        f->tool_after = text(o, L, "tool_after");
        f->finish_before = text(o, L, "finish_before");
        f->finish_after = text(o, L, "finish_after");
        f->done = text(o, L, "done");
        f->read_ref = reference(o, L, "read");
        f->error_ref = reference(o, L, "error");
    }
    lua_pop(L, 1);                                     /* route */
    return f;
}

static void policies(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_policies = open_list(L, "policies");          /* route policies */
    r->policies = own_array(o, r->n_policies, sizeof *r->policies);
    for (size_t i = 0; i < r->n_policies; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route policies policy */
        r->policies[i].name = text(o, L, "name");
        r->policies[i].open_hooks = (unsigned)number(L, "open_hooks");
        r->policies[i].only_if_ref = reference(o, L, "only_if");
        r->conditional |= r->policies[i].only_if_ref != LUA_NOREF;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static void hooks(struct loaded *o, lua_State *L, struct route *r)
{
    size_t n = open_list(L, "hooks");                  /* route hooks */

    for (size_t h = 0; h < n && h < HOOK_COUNT; h++) {
        lua_rawgeti(L, -1, (lua_Integer)h + 1);        /* route hooks list */
        r->n_hooks[h] = lua_rawlen(L, -1);
        r->hooks[h] = own_array(o, r->n_hooks[h], sizeof *r->hooks[h]);
        for (size_t i = 0; i < r->n_hooks[h]; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);    /* route hooks list entry */
            r->hooks[h][i].fn_ref = reference(o, L, "fn");
            r->hooks[h][i].policy = (int)number(L, "policy");
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static const struct matcher *matcher(struct loaded *o, lua_State *L)   /* filter -> filter; the reference keeps it alive */
{
    const struct matcher *m;

    lua_getfield(L, -1, "match");                      /* filter matcher? */
    m = match_value(L, -1);
    lua_pop(L, 1);                                     /* filter */
    if (m)
        reference(o, L, "match");
    return m;
}

static void filters(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_filters = open_list(L, "filters");            /* route filters */
    r->filters = own_array(o, r->n_filters, sizeof *r->filters);
    for (size_t i = 0; i < r->n_filters; i++) {
        struct filter *f = &r->filters[i];

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route filters filter */
        f->kind = number(L, "kind");
        f->fn_ref = reference(o, L, "fn");
        f->policy = (int)number(L, "policy");
        f->shadow = (int)number(L, "shadow");
        f->match = matcher(o, L);
        f->match_ref = reference(o, L, "match_fn");
        f->replace = text(o, L, "replace");
        f->unit = (struct unit){ .kind = number(L, "unit"), .chars = (size_t)number(L, "chars"), .overlap = (size_t)number(L, "overlap") };
        f->unit_ref = reference(o, L, "unit_fn");
        f->when_ref = reference(o, L, "when");
        f->judges = flag(L, "judges");
        f->channels = (unsigned)number(L, "channels");
        f->max_hold = (size_t)number(L, "max_hold");
        f->overflow_release = flag(L, "overflow_release");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

/* Its policies in monitor mode, each as a route of its own, which shares what it does not change. */
static void shadows(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_shadows = open_list(L, "shadows");            /* route shadows */
    r->shadows = own_array(o, r->n_shadows, sizeof *r->shadows);
    for (size_t i = 0; i < r->n_shadows; i++) {
        struct route *w = &r->shadows[i];

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route shadows shadow */
        *w = (struct route){ .name = r->name, .front = r->front, .policies = r->policies, .n_policies = r->n_policies, .table_ref = r->table_ref };
        w->watches = (int)number(L, "policy");
        hooks(o, L, w);
        filters(o, L, w);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static void route(struct loaded *o, lua_State *L, struct route *r)
{
    r->name = text(o, L, "name");
    r->files = text(o, L, "files");
    r->heartbeat = (uint64_t)number(L, "heartbeat");
    r->table_ref = reference(o, L, "table");
    r->n_plan = open_list(L, "plan");                  /* route plan */
    for (size_t i = 0; i < r->n_plan; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route plan name */
        r->plan[i] = gateway_model(&o->g, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
    r->front = front(o, L);
    clocks(L, &r->clocks);
    r->n_paths = open_list(L, "paths");                /* route paths */
    r->paths = own_array(o, r->n_paths, sizeof *r->paths);
    for (size_t i = 0; i < r->n_paths; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route paths path */
        r->paths[i] = own(o, mem_string(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
    policies(o, L, r);
    hooks(o, L, r);
    filters(o, L, r);
    shadows(o, L, r);
}

static void service(struct loaded *o, lua_State *L, struct service *s)
{
    s->name = text(o, L, "name");
    s->url = text(o, L, "url");
    s->ca = text(o, L, "ca");
    s->timeout_ms = (uint64_t)number(L, "timeout");
    s->connect_ms = (uint64_t)number(L, "connect");
    s->max_parallel = (unsigned)number(L, "max_parallel");
    s->max_body = (size_t)number(L, "max_body");
    list_init(&s->waiting);
}

static void limits(lua_State *L, struct gateway *g)    /* t -> t */
{
    lua_getfield(L, -1, "limits");                     /* t limits */
    g->limits.head_bytes = (size_t)number(L, "head_bytes");
    g->limits.body_bytes = (size_t)number(L, "body_bytes");
    g->limits.connections = (unsigned)number(L, "connections");
    g->limits.head_ms = (uint64_t)number(L, "head_ms");
    g->limits.body_ms = (uint64_t)number(L, "body_ms");
    g->limits.idle_ms = (uint64_t)number(L, "idle_ms");
    g->limits.stall_ms = (uint64_t)number(L, "stall_ms");
    lua_pop(L, 1);                                     /* t */
}

static void whole(struct loaded *o, lua_State *L)
{
    struct gateway *g = &o->g;

    g->host = text(o, L, "host");
    g->port = (int)number(L, "port");
    g->workers = (int)number(L, "workers");
    g->drain = (uint64_t)number(L, "drain");
    g->memory = (size_t)number(L, "memory");
    limits(L, g);
    g->n_trusted = open_list(L, "trusted");            /* t trusted */
    g->trusted = own_array(o, g->n_trusted, sizeof *g->trusted);
    for (size_t i = 0; i < g->n_trusted; i++) {
        int failed;

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t trusted cidr */
        failed = cidr_parse(&g->trusted[i], lua_tostring(L, -1));
        assert(!failed);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_models = open_list(L, "models");              /* t models */
    g->models = own_array(o, g->n_models, sizeof *g->models);
    for (size_t i = 0; i < g->n_models; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t models model */
        model(o, L, &g->models[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_routes = open_list(L, "routes");              /* t routes */
    g->routes = own_array(o, g->n_routes, sizeof *g->routes);
    for (size_t i = 0; i < g->n_routes; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t routes route */
        route(o, L, &g->routes[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_services = open_list(L, "services");          /* t services */
    g->services = own_array(o, g->n_services, sizeof *g->services);
    for (size_t i = 0; i < g->n_services; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t services service */
        service(o, L, &g->services[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_inits = open_list(L, "inits");                /* t inits */
    g->inits = own_array(o, g->n_inits, sizeof *g->inits);
    for (size_t i = 0; i < g->n_inits; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t inits init */
        g->inits[i].fn_ref = reference(o, L, "fn");
        g->inits[i].policy = text(o, L, "policy");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
}

/* ---- load, close */

struct job { struct loaded *o; struct buf *complaints; const char *file; };

static int load_entry(lua_State *L)                    /* (job) */
{
    struct job *job = lua_touserdata(L, 1);

    vm_push_module(L, "sluice.load");                  /* job module */
    lua_getfield(L, -1, "load");
    lua_pushstring(L, job->file);
    lua_call(L, 1, 2);                                 /* job module gateway? complaints? */
    if (lua_isnil(L, -2)) {
        for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
            lua_rawgeti(L, -1, i);
            buf_puts(job->complaints, lua_tostring(L, -1));
            buf_putc(job->complaints, '\n');
            lua_pop(L, 1);
        }
        return 0;
    }
    lua_pop(L, 1);                                     /* job module gateway */
    whole(job->o, L);
    lua_pushboolean(L, 1);                             /* ... true */
    return 1;
}

static bool run(struct vm *vm, struct job *job)
{
    struct call c;
    bool good = false;

    call_begin(&c, vm, LOAD_MS);
    c.no_wait = "the gateway file is being loaded";
    if (c.co) {
        lua_pushcfunction(c.co, load_entry);
        lua_pushlightuserdata(c.co, job);
    }
    switch (call_run(&c, 1)) {
    case CALL_RETURNED:
        good = c.n_results == 1;
        break;
    case CALL_WAITS:
        assert(!"a loading gateway cannot wait");
        break;
    case CALL_FAILED:
        buf_printf(job->complaints, "%s\n", c.message);
        break;
    }
    call_cancel(&c);
    secret_scrub(job->complaints);
    vm->loading = false;
    return good;
}

int gateway_load(struct gateway **ret, struct vm *vm, const char *file, struct buf *complaints)
{
    struct loaded *o = mem_alloc(sizeof *o);
    struct job job = { o, complaints, file };

    o->g.vm = vm;
    o->g.file = own(o, mem_string(file));
    if (!run(vm, &job)) {
        gateway_close(&o->g);
        return -1;
    }
    if (o->g.memory)
        vm->cap = o->g.memory < MEMORY_MIN ? MEMORY_MIN : o->g.memory;
    vm->gateway = &o->g;
    lua_gc(vm->L, LUA_GCCOLLECT);                      /* what loading left behind */
    vm->collecting = false;
    vm->collect_at = vm->used + vm->used / 2;
    *ret = &o->g;
    return 0;
}

void gateway_close(struct gateway *g)
{
    struct loaded *o = (struct loaded *)g;             /* its first member */

    g->vm->gateway = NULL;
    for (size_t i = 0; i < o->n_refs; i++)
        luaL_unref(g->vm->L, LUA_REGISTRYINDEX, o->refs[i]);
    for (size_t i = 0; i < o->n_places; i++)
        json_places_free(o->places[i]);
    for (size_t i = 0; i < o->n_owned; i++)
        free(o->owned[i]);
    free(o->refs);
    free(o->places);
    free(o->owned);
    free(o);
}

const struct model *gateway_model(const struct gateway *g, const char *name)
{
    for (size_t i = 0; i < g->n_models; i++) {
        if (strcmp(g->models[i].name, name) == 0)
            return &g->models[i];
    }
    return NULL;
}
