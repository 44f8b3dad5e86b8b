/* Reads what lua/sluice/load.lua made of an operator's file into the structs of gateway.h. The checking is all in Lua; a surprise here is our mistake. */
#include "script/gateway.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "script/gateway_inside.h"
#include "script/secret_value.h"
#include "wire/resp.h"

#define LOAD_MS 10000                                  /* CPU time a gateway file may use */
#define MEMORY_MIN ((size_t)4 << 20)

const char *const hook_names[HOOK_COUNT] = {
    "accept", "validate", "route", "prompt", "attempt", "fallback", "response", "tool_call", "finish", "error", "log",
};
const char *const channel_names[CHANNEL_COUNT] = { "content", "reasoning", "refusal", "tool_args" };

void *read_own(struct loaded *o, void *p)
{
    o->owned = mem_resize(o->owned, (o->n_owned + 1) * sizeof *o->owned);
    o->owned[o->n_owned++] = p;
    return p;
}

void *read_array(struct loaded *o, size_t n, size_t size) { return read_own(o, mem_alloc(n ? n * size : 1)); }

/* ---- fields of the table at the top of the stack */

const char *read_text(struct loaded *o, lua_State *L, const char *name)   /* a copy, or NULL when absent */
{
    const char *ret = NULL;

    if (lua_getfield(L, -1, name) == LUA_TSTRING) {    /* t value */
        size_t len;
        const char *s = lua_tolstring(L, -1, &len);

        ret = read_own(o, mem_copy(s, len));
    }
    lua_pop(L, 1);                                     /* t */
    return ret;
}

lua_Integer read_number(lua_State *L, const char *name)   /* 0 when absent */
{
    lua_Integer n;

    lua_getfield(L, -1, name);                         /* t value */
    n = lua_tointeger(L, -1);
    lua_pop(L, 1);                                     /* t */
    return n;
}

bool read_flag(lua_State *L, const char *name)
{
    bool b;

    lua_getfield(L, -1, name);                         /* t value */
    b = lua_toboolean(L, -1);
    lua_pop(L, 1);                                     /* t */
    return b;
}

int read_reference(struct loaded *o, lua_State *L, const char *name)   /* LUA_NOREF when absent */
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

size_t read_list(lua_State *L, const char *name)   /* t -> t list */
{
    lua_getfield(L, -1, name);
    return lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
}

void read_clocks(lua_State *L, struct clocks *ret)
{
    uint64_t v[4] = { 0, 0, 0, 0 };
    size_t n = read_list(L, "clocks");                 /* t clocks */

    for (size_t i = 0; i < n && i < 4; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        v[i] = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    *ret = (struct clocks){ .connect = v[0], .first_token = v[1], .gap = v[2], .total = v[3] };
}

/* ---- the parts */

static struct json_places *places(struct loaded *o, lua_State *L, const char *list, const char *dialect_name, size_t *n)   /* dialect -> dialect */
{
    const char *paths[PLACES_MAX], *bad = NULL;
    struct json_places *p;
    size_t len = read_list(L, list);                   /* dialect places */

    assert(len <= PLACES_MAX);
    for (size_t i = 0; i < len; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* dialect places path */
        paths[i] = read_own(o, mem_string(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* dialect */
    p = json_places_compile(paths, len, &bad);
    if (!p)
        luaL_error(L, "the dialect \"%s\" names a place that cannot be read: \"%s\"", dialect_name, bad ? bad : "?");
    o->places = mem_resize(o->places, (o->n_places + 1) * sizeof *o->places);
    o->places[o->n_places++] = p;
    *n = len;
    return p;
}

static void event_kinds(struct loaded *o, lua_State *L, struct dialect *d)   /* dialect -> dialect */
{
    d->n_kinds = read_list(L, "kinds");                /* dialect kinds */
    d->kinds = read_array(o, d->n_kinds, sizeof *d->kinds);
    for (size_t i = 0; i < d->n_kinds; i++) {
        struct event_kind *k = &d->kinds[i];

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* dialect kinds kind */
        k->name = read_text(o, L, "name");
        k->name_len = strlen(k->name);
        k->rare = read_flag(L, "rare");
        k->ends = read_flag(L, "ends");
        d->ends_said = d->ends_said || k->ends;
        read_list(L, "at");                            /* dialect kinds kind at */
        for (int p = 0; p < PLACE_COUNT; p++) {
            lua_rawgeti(L, -1, p + 1);
            k->at[p] = (unsigned char)lua_tointeger(L, -1);
            lua_pop(L, 1);
        }
        d->ends_said = d->ends_said || k->at[PLACE_DONE];
        lua_pop(L, 2);                                 /* dialect kinds */
    }
    lua_pop(L, 1);                                     /* dialect */
}

static const struct dialect *dialect(struct loaded *o, lua_State *L)   /* model -> model */
{
    struct dialect *d = NULL;
    size_t n;

    if (lua_getfield(L, -1, "dialect") == LUA_TTABLE) {   /* model dialect */
        d = read_array(o, 1, sizeof *d);
        d->name = read_text(o, L, "name");
        d->ndjson = read_flag(L, "ndjson");
        d->done = read_text(o, L, "done");
        d->request_ref = read_reference(o, L, "request");
        d->event_ref = read_reference(o, L, "event");
        d->error_ref = read_reference(o, L, "error");
        d->embed_request_ref = read_reference(o, L, "embed_request");
        d->embed_answer_ref = read_reference(o, L, "embed_answer");
        d->kind_at = (unsigned)read_number(L, "kind_at");
        d->rare_from = (size_t)read_number(L, "rare_from");
        d->n_rare = (size_t)read_number(L, "n_rare");
        d->places = places(o, L, "paths", d->name, &d->n_places);
        d->whole = places(o, L, "whole", d->name, &n);
        d->tool_places = places(o, L, "tool", d->name, &n);
        event_kinds(o, L, d);
        n = read_list(L, "tool");                      /* model dialect tool */
        lua_rawgeti(L, -1, TOOL_INDEX + 1);
        d->tools_numbered = lua_rawlen(L, -1) > 0;
        lua_pop(L, 2);                                 /* model dialect */
        n = read_list(L, "finish_words");              /* model dialect words */
        d->n_finish_words = n / 2;
        d->finish_words = read_array(o, n, sizeof *d->finish_words);
        for (size_t i = 0; i < n; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            d->finish_words[i] = read_own(o, mem_string(lua_tostring(L, -1)));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);                                 /* model dialect */
    }
    lua_pop(L, 1);                                     /* model */
    return d;
}

static void model(struct loaded *o, lua_State *L, struct model *m)
{
    m->name = read_text(o, L, "name");
    m->url = read_text(o, L, "url");
    m->ca = read_text(o, L, "ca");
    read_clocks(L, &m->clocks);
    m->prefill = read_flag(L, "prefill");
    m->prefill_ref = read_reference(o, L, "prefill_with");
    m->answer_ref = read_reference(o, L, "answer");
    m->table_ref = read_reference(o, L, "table");
    m->dialect = dialect(o, L);
    read_target(o, L, m);
}

static void word_of(struct buf *out, const char *word) { resp_word(out, word, strlen(word)); }

/* What begins each connection to a Redis server. The password is in C from here on. */
static void redis_login(struct loaded *o, lua_State *L, struct service *s)   /* service -> service */
{
    const char *user = read_text(o, L, "user"), *db = read_text(o, L, "db");
    struct buf login = BUF_EMPTY;
    size_t len;

    lua_getfield(L, -1, "auth");                       /* service secret? */
    const char *password = secret_value_read(L, -1, &len);
    if (password) {
        resp_command(&login, user ? 3 : 2);
        word_of(&login, "AUTH");
        if (user)
            word_of(&login, user);
        resp_word(&login, password, len);
        s->redis.login_replies++;
    }
    lua_pop(L, 1);                                     /* service */
    if (db) {
        resp_command(&login, 2);
        word_of(&login, "SELECT");
        word_of(&login, db);
        s->redis.login_replies++;
    }
    s->redis.login = read_own(o, login.data);
    s->redis.login_len = login.len;
}

static void service(struct loaded *o, lua_State *L, struct service *s)
{
    s->name = read_text(o, L, "name");
    s->url = read_text(o, L, "url");
    s->ca = read_text(o, L, "ca");
    s->timeout_ms = (uint64_t)read_number(L, "timeout");
    s->connect_ms = (uint64_t)read_number(L, "connect");
    s->max_parallel = (unsigned)read_number(L, "max_parallel");
    s->max_body = (size_t)read_number(L, "max_body");
    s->redis.host = read_text(o, L, "redis");
    if (s->redis.host) {
        s->redis.port = (int)read_number(L, "port");
        redis_login(o, L, s);
    }
    list_init(&s->waiting);
}

static void limits(lua_State *L, struct gateway *g)    /* t -> t */
{
    lua_getfield(L, -1, "limits");                     /* t limits */
    g->limits.head_bytes = (size_t)read_number(L, "head_bytes");
    g->limits.body_bytes = (size_t)read_number(L, "body_bytes");
    g->limits.connections = (unsigned)read_number(L, "connections");
    g->limits.head_ms = (uint64_t)read_number(L, "head_ms");
    g->limits.body_ms = (uint64_t)read_number(L, "body_ms");
    g->limits.idle_ms = (uint64_t)read_number(L, "idle_ms");
    g->limits.stall_ms = (uint64_t)read_number(L, "stall_ms");
    lua_pop(L, 1);                                     /* t */
}

static void whole(struct loaded *o, lua_State *L)
{
    struct gateway *g = &o->g;

    g->host = read_text(o, L, "host");
    g->port = (int)read_number(L, "port");
    g->workers = (int)read_number(L, "workers");
    g->drain = (uint64_t)read_number(L, "drain");
    g->memory = (size_t)read_number(L, "memory");
    g->generations = (unsigned)read_number(L, "generations");
    g->digest = read_text(o, L, "digest");
    g->snapshot = read_text(o, L, "snapshot");
    g->snapshot_ms = (uint64_t)read_number(L, "snapshot_every");
    limits(L, g);
    g->n_trusted = read_list(L, "trusted");            /* t trusted */
    g->trusted = read_array(o, g->n_trusted, sizeof *g->trusted);
    for (size_t i = 0; i < g->n_trusted; i++) {
        int failed;

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t trusted cidr */
        failed = cidr_parse(&g->trusted[i], lua_tostring(L, -1));
        assert(!failed);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_models = read_list(L, "models");              /* t models */
    g->models = read_array(o, g->n_models, sizeof *g->models);
    for (size_t i = 0; i < g->n_models; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t models model */
        model(o, L, &g->models[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_routes = read_list(L, "routes");              /* t routes */
    g->routes = read_array(o, g->n_routes, sizeof *g->routes);
    for (size_t i = 0; i < g->n_routes; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t routes route */
        read_route(o, L, &g->routes[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_services = read_list(L, "services");          /* t services */
    g->services = read_array(o, g->n_services, sizeof *g->services);
    for (size_t i = 0; i < g->n_services; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t services service */
        service(o, L, &g->services[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
    g->n_inits = read_list(L, "inits");                /* t inits */
    g->inits = read_array(o, g->n_inits, sizeof *g->inits);
    for (size_t i = 0; i < g->n_inits; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* t inits init */
        g->inits[i].fn_ref = read_reference(o, L, "fn");
        g->inits[i].policy = read_text(o, L, "policy");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* t */
}

/* ---- load, close */

struct job { struct loaded *o; struct buf *complaints; const char *file, *text, *root; };   /* text, root: NULL for a file */

static int load_entry(lua_State *L)                    /* (job) */
{
    struct job *job = lua_touserdata(L, 1);

    vm_push_module(L, "sluice.load");                  /* job module */
    lua_getfield(L, -1, "load");
    lua_pushstring(L, job->file);
    lua_pushstring(L, job->text);                      /* nil when there is none */
    lua_pushstring(L, job->root);
    lua_call(L, 3, 2);                                 /* job module gateway? complaints? */
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
    return gateway_load_text(ret, vm, file, NULL, NULL, complaints);
}

int gateway_load_text(struct gateway **ret, struct vm *vm, const char *file, const char *text, const char *root, struct buf *complaints)
{
    struct loaded *o = mem_alloc(sizeof *o);
    struct job job = { o, complaints, file, text, root };

    o->g.vm = vm;
    o->g.file = read_own(o, mem_string(file));
    if (!run(vm, &job)) {
        gateway_close(&o->g);
        return -1;
    }
    if (o->g.memory)
        vm->cap = o->g.memory < MEMORY_MIN ? MEMORY_MIN : o->g.memory;
    vm->gateway = &o->g;
    vm_collect_all(vm);                                /* what loading left behind */
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
    targets_close(o);
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

/* A path that ends with / and a star stands for all below it. */
static bool lies_below(const char *path, const char *pattern)
{
    size_t n = strlen(pattern);

    return n >= 2 && pattern[n - 2] == '/' && pattern[n - 1] == '*' && strncmp(path, pattern, n - 1) == 0 && path[n - 1];
}

/* A path that is said whole counts before one that stands for many. */
const struct route *gateway_route(const struct gateway *g, const char *path, const struct front **front)
{
    const struct route *found = NULL;

    for (size_t i = 0; i < g->n_routes; i++)
        for (size_t k = 0; !g->routes[i].files && k < g->routes[i].n_paths; k++) {
            bool same = strcmp(g->routes[i].paths[k], path) == 0;

            if (same || (!found && lies_below(path, g->routes[i].paths[k]))) {
                found = &g->routes[i];
                *front = found->fronts[k];
            }
            if (same)
                return found;
        }
    return found;
}
