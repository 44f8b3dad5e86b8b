/* The client's request on its way into Lua. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/exchange_inside.h"
#include "wire/percent.h"

/* ---- in */

struct open_job { struct exchange *x; const struct exchange_facts *facts; };

static void set_string(lua_State *L, const char *name, const char *value)   /* t -> t */
{
    lua_pushstring(L, value ? value : "");
    lua_setfield(L, -2, name);
}

/* Names in lower case; what comes twice is joined as RFC 9110 section 5.3 says. */
void exchange_push_headers(lua_State *L, const struct header *headers, size_t n)
{
    struct buf *name = &vm_of(L)->scratch;

    lua_createtable(L, 0, (int)n);                     /* headers */
    for (size_t i = 0; i < n; i++) {
        name->len = 0;
        for (const char *s = headers[i].name; *s; s++)
            buf_putc(name, (char)tolower((unsigned char)*s));
        lua_pushlstring(L, name->data ? name->data : "", name->len);   /* headers name */
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING) {        /* headers name before */
            lua_pushstring(L, strcmp(lua_tostring(L, -2), "cookie") == 0 ? "; " : ", ");
            lua_pushstring(L, headers[i].value);
            lua_concat(L, 3);                          /* headers name value */
        } else {
            lua_pop(L, 1);
            lua_pushstring(L, headers[i].value);       /* headers name value */
        }
        lua_rawset(L, -3);                             /* headers */
    }
}

/* The first value of a name counts. False: bad encoding, and the table holds what came before. */
static bool push_query(lua_State *L, const char *query)
{
    struct vm *vm = vm_of(L);
    const char *cursor = query;
    int got = 0;

    lua_newtable(L);                                   /* query */
    while (*cursor && (got = query_next(&cursor, &vm->scratch, &vm->scratch2)) == 1) {
        lua_pushlstring(L, vm->scratch.data ? vm->scratch.data : "", vm->scratch.len);   /* query name */
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {           /* query name before */
            lua_pop(L, 2);
            continue;
        }
        lua_pop(L, 1);
        lua_pushlstring(L, vm->scratch2.data ? vm->scratch2.data : "", vm->scratch2.len);
        lua_rawset(L, -3);                             /* query */
    }
    if (vm->scratch2.cap > GROWN)
        buf_free(&vm->scratch2);
    return got >= 0;
}

static int open_entry(lua_State *L)                    /* (job) */
{
    struct open_job *job = lua_touserdata(L, 1);
    const struct exchange_facts *facts = job->facts;
    const struct http_request *r = facts->request;
    const struct route *route = job->x->route;
    struct vm *vm = vm_of(L);

    lua_createtable(L, X_CTX - 1 + (int)route->n_policies, 0);   /* job x */
    lua_createtable(L, 0, 6);                          /* job x facts */
    set_string(L, "method", r->method);
    set_string(L, "path", r->path);
    set_string(L, "ip", facts->ip);
    set_string(L, "dialect", job->x->front->name);
    exchange_push_headers(L, r->headers, r->n_headers);
    lua_setfield(L, -2, "headers");
    if (!push_query(L, r->query ? r->query : "")) {    /* job x facts query */
        lua_pushboolean(L, 1);
        lua_rawseti(L, 2, X_BAD_QUERY);
    }
    lua_setfield(L, -2, "query");                      /* job x facts */
    lua_createtable(L, 1, 4);                          /* job x facts req */
    exchange_push_box(L, 3, 1);
    lua_rawseti(L, -2, 1);
    lua_remove(L, 3);                                  /* job x req */
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->ref_head_mt);
    lua_setmetatable(L, -2);
    lua_rawseti(L, 2, X_REQ);                          /* job x */
    lua_rawgeti(L, LUA_REGISTRYINDEX, route->table_ref);
    lua_rawseti(L, 2, X_ROUTE);
    lua_pushstring(L, facts->id);
    lua_rawseti(L, 2, X_ID);
    if (route->n_plan) {
        lua_pushstring(L, route->plan[0]->name);
        lua_rawseti(L, 2, X_TARGET);
    }
    lua_pushinteger(L, (lua_Integer)vm->now_ms);
    lua_rawseti(L, 2, X_OPENED);
    job->x->ref = luaL_ref(L, LUA_REGISTRYINDEX);      /* job */
    return 0;
}

static uint64_t seed_of(const char *id)
{
    static const uint64_t key[2] = { 0x736c756963652e72, 0x616e646f6d2e2e2e };   /* nothing secret: draws repeat where ids do */
    return hash_under(key, id, strlen(id)) | 1;
}

int exchange_open(struct exchange *x, const struct gateway *g, const struct route *r, const struct front *f, const struct exchange_facts *facts)
{
    struct open_job job = { x, facts };
    struct call c;
    enum call_state state;

    *x = (struct exchange){ .gateway = g, .route = r, .front = f, .id = facts->id, .random = seed_of(facts->id), .ref = LUA_NOREF };
    state = exchange_run(x, &c, open_entry, &job, HOOK_MS, NULL);
    call_finish(&c);
    return state == CALL_RETURNED ? 0 : -1;
}

struct copy_job { struct exchange *copy; const struct exchange *x; };

static int copy_entry(lua_State *L)                    /* (job) */
{
    struct copy_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "copy");
    exchange_push(L, job->x);
    lua_call(L, 1, 1);                                 /* job x */
    job->copy->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int copy_shared_entry(lua_State *L)             /* (job) */
{
    struct copy_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "copy_shared");
    exchange_push(L, job->copy);
    exchange_push(L, job->x);
    lua_call(L, 2, 0);
    return 0;
}

static int run_copy(lua_CFunction entry, struct copy_job *job)
{
    struct call c;
    enum call_state state = exchange_run(job->copy, &c, entry, job, HOOK_MS, NULL);

    call_finish(&c);
    return state == CALL_RETURNED ? 0 : -1;
}

int exchange_copy(struct exchange *ret, const struct exchange *x, const struct route *r)
{
    struct copy_job job = { ret, x };

    *ret = (struct exchange){ .gateway = x->gateway, .route = r, .front = x->front, .id = x->id, .random = x->random, .off = ~(1ull << r->watches), .ref = LUA_NOREF };
    return run_copy(copy_entry, &job);
}

int exchange_copy_shared(struct exchange *copy, const struct exchange *x)
{
    struct copy_job job = { copy, x };
    return run_copy(copy_shared_entry, &job);
}

struct only_if_job { struct exchange *x; size_t policy; bool yes; };

static int only_if_entry(lua_State *L)                 /* (job) */
{
    struct only_if_job *job = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, job->x->route->policies[job->policy].only_if_ref);
    exchange_push_ctx(L, job->x, (int)job->policy);
    exchange_push(L, job->x);
    lua_rawgeti(L, -1, X_REQ);
    lua_remove(L, -2);                                 /* job f ctx head */
    lua_call(L, 2, 1);
    job->yes = lua_toboolean(L, -1);
    return 0;
}

int exchange_only_if(struct exchange *x, size_t *policy)
{
    for (size_t p = 0; p < x->route->n_policies; p++) {
        struct only_if_job job = { x, p, false };
        struct call c;
        enum call_state state;

        if (x->route->policies[p].only_if_ref == LUA_NOREF)
            continue;
        state = exchange_run(x, &c, only_if_entry, &job, HOOK_MS, "the function of sluice.only_if may not wait");
        if (state != CALL_RETURNED || c.n_results > 0)
            log_say(LOG_ERROR, "policy.failed", "policy %s: only_if: %s", x->route->policies[p].name, c.message ? c.message : "it raised a verdict");
        bool good = state == CALL_RETURNED && c.n_results == 0;
        call_finish(&c);
        *policy = p;
        if (!good)
            return -1;
        if (!job.yes)
            x->off |= 1ull << p;
    }
    return 0;
}

struct read_job { struct exchange *x; const char *body; size_t len; bool bad_query; struct asked *asked; };

static int read_entry(lua_State *L)                    /* (job) -> verdict or plan? */
{
    struct read_job *job = lua_touserdata(L, 1);
    const struct front *front = job->x->front;

    exchange_push(L, job->x);                          /* job x */
    lua_rawgeti(L, 2, X_BAD_QUERY);
    job->bad_query = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (job->bad_query)
        return 0;
    lua_rawgeti(L, 2, X_REQ);                          /* job x req */
    if (job->body) {
        lua_pushliteral(L, "body");
        lua_pushlstring(L, job->body, job->len);
        lua_rawset(L, 3);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_req_mt);
    lua_setmetatable(L, 3);
    exchange_push_function(L, "read");
    lua_pushvalue(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, front->read_ref);
    lua_pushboolean(L, front->whole_ref != LUA_NOREF || front->open_ref != LUA_NOREF || front->finish_ref != LUA_NOREF);   /* job x req read x front_read answers */
    lua_call(L, 3, 1);                                 /* job x req verdict? */
    lua_pushliteral(L, "stream");
    lua_rawget(L, 3);                                  /* job x req verdict? stream? */
    job->asked->stream = front->whole_ref == LUA_NOREF || lua_toboolean(L, -1);
    lua_pop(L, 1);
    return 1;
}

int exchange_read(struct exchange *x, const char *body, size_t len, struct asked *ret, struct failure *f)
{
    struct read_job job = { x, body, len, false, ret };
    struct sayer who = { NULL, "the front's read", x->front->read_ref, MAY_REJECT | MAY_ROUTE };
    struct verdict v = { 0 };
    struct call c;
    int result = 0;

    *ret = (struct asked){ .stream = true };
    x->body_len = len + x->front->beside;
    if (exchange_run(x, &c, read_entry, &job, walk_ms(x->body_len), "a front may not wait") != CALL_RETURNED) {
        log_say(LOG_ERROR, "front.failed", "%s", c.message);
        failure_set(f, 500, c.failure == CALL_MEMORY ? "policy_memory" : "internal_error", "the gateway could not read this request");
        result = -1;
    } else if (job.bad_query) {
        failure_set(f, 400, "bad_query", "the query is not valid: it must be percent-encoded UTF-8");
        f->kind = "client";
        result = -1;
    } else if (c.n_results > 0 && !lua_isnil(c.co, -1)) {
        verdict_read(x, &c, -1, &who, &v, NULL);
        if (v.kind == VERDICT_ROUTE) {
            memcpy(ret->plan, v.plan, sizeof ret->plan);
            ret->n_plan = v.n_plan;
        } else if (v.kind == VERDICT_REJECT) {
            result = -1;
            failure_take(f, &v.failure);
        } else {
            result = -1;
            log_say(LOG_ERROR, "front.failed", "%s", v.wrong ? v.wrong : "the front's read returned something odd");
            failure_set(f, 500, "internal_error", "the gateway could not read this request");
        }
        verdict_free(&v);
    }
    call_finish(&c);
    return result;
}
