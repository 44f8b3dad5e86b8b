/* The world as specs see it: a gateway file in a VM of its own, exchanges with it, a clock that only the spec moves. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/digest.h"
#include "script/service.h"
#include "testing_world.h"

#define WORLD "sluice.world"
#define HEADERS_MAX 100

struct coverage *testing_coverage;

static struct world *world_of(lua_State *L)
{
    struct world *w = *(struct world **)luaL_checkudata(L, 1, WORLD);

    luaL_argcheck(L, w != NULL, 1, "this world is closed");
    return w;
}

static struct play *play_of(lua_State *L, struct world *w)
{
    lua_Integer id = luaL_checkinteger(L, 2);

    list_each(it, &w->streams) {
        struct play *p = list_of(it, struct play, link);
        if (p->id == id)
            return p;
    }
    luaL_argerror(L, 2, "there is no such exchange");
    return NULL;
}

/* What is logged while an exchange is fed becomes an entry too; log lines of loading belong to nobody. */
static struct play *fed;

static void log_line_of(void *arg, const char *line, size_t len)
{
    struct play *p = fed;                              /* what is pushed below may collect another world, and close it */
    lua_State *L = p ? p->L : NULL;

    (void)arg;
    if (!L || !lua_checkstack(L, 4))
        return;
    lua_createtable(L, 0, 2);                          /* entry */
    lua_pushliteral(L, "log");
    lua_setfield(L, -2, "what");
    lua_pushlstring(L, line, len);
    lua_setfield(L, -2, "line");
    lua_rawseti(L, p->said, (lua_Integer)lua_rawlen(L, p->said) + 1);
}

/* The result of each call: what the stream asked for meanwhile. Also gives the body that it asked for. */
void testing_enter(struct play *p, lua_State *L)
{
    p->L = L;
    lua_newtable(L);
    p->said = lua_gettop(L);
    vm_set_now(p->world->vm, p->world->now, (int64_t)p->world->now);
    fed = p;
}

int testing_leave(struct play *p, lua_State *L)
{
    while (p->stream && p->wants_body) {
        p->wants_body = false;
        stream_body(p->stream, p->body, p->body_len);
    }
    fed = NULL;
    vm_collect(p->world->vm);                          /* as the loop does once a turn */
    lua_settop(L, p->said);
    return 1;
}

static void free_play(struct play *p)
{
    list_remove(&p->link);
    for (size_t i = 0; i < p->request.n_headers; i++) {
        free((char *)p->headers[i].name);
        free((char *)p->headers[i].value);
    }
    free(p->headers);
    free((char *)p->request.method);
    free((char *)p->request.path);
    free((char *)p->request.query);
    free(p->body);
    free(p);
}

/* open(file [, text, root]) -> world, whose inits have not run (world:init) | nil, complaints */
static int world_open(lua_State *L)
{
    const char *file = luaL_checkstring(L, 1), *text = luaL_optstring(L, 2, NULL), *root = luaL_optstring(L, 3, NULL);
    struct world *w = mem_alloc(sizeof *w), **box;
    struct vm_options options = { .metrics = &w->metrics, .coverage = testing_coverage };
    struct buf complaints = BUF_EMPTY;

    list_init(&w->streams);
    w->now = EPOCH_MS;
    if (vm_open(&w->vm, &options) == 0)
        vm_set_now(w->vm, w->now, (int64_t)w->now);
    if (!w->vm || gateway_load_text(&w->gateway, w->vm, file, text, root, &complaints) != 0) {
        if (w->vm)
            vm_close(w->vm);
        free(w);
        lua_pushnil(L);                                /* nil */
        lua_pushlstring(L, complaints.data ? complaints.data : "no memory", complaints.data ? complaints.len : 9);   /* nil text */
        buf_free(&complaints);
        return 2;
    }
    box = lua_newuserdatauv(L, sizeof *box, 0);        /* world */
    *box = w;
    luaL_setmetatable(L, WORLD);
    return 1;
}

static int world_close(lua_State *L)
{
    struct world **box = luaL_checkudata(L, 1, WORLD), *w = *box;
    struct play *before = fed;                         /* this may be a collection in the middle of another world's feed */

    if (!w)
        return 0;
    *box = NULL;
    list_each_safe(it, &w->streams) {
        struct play *p = list_of(it, struct play, link);
        testing_enter(p, L);
        if (p->stream)
            stream_client_gone(p->stream);
        testing_init_give_up(p);
        if (p->stream) {                               /* a log hook that waits: its time is over */
            w->now += 60000;
            stream_tick(p->stream);
        }
        fed = before;
        lua_settop(L, p->said - 1);
        free_play(p);
    }
    gateway_close(w->gateway);
    vm_close(w->vm);
    free(w);
    return 0;
}

struct play *testing_play(struct world *w, int id)
{
    struct play *p = mem_alloc(sizeof *p);

    p->world = w;
    p->id = id;
    list_init(&p->errands);
    list_append(&w->streams, &p->link);
    return p;
}

static char *string_field(lua_State *L, const char *name, const char *fallback)
{
    lua_getfield(L, 2, name);
    char *value = mem_string(lua_isstring(L, -1) ? lua_tostring(L, -1) : fallback);
    lua_pop(L, 1);
    return value;
}

static void read_headers(lua_State *L, struct play *p)
{
    p->headers = mem_alloc(HEADERS_MAX * sizeof *p->headers);
    lua_getfield(L, 2, "headers");                     /* headers */
    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2) && p->request.n_headers < HEADERS_MAX; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
                continue;
            p->headers[p->request.n_headers++] = (struct header){ mem_string(lua_tostring(L, -2)), mem_string(lua_tostring(L, -1)) };
        }
    }
    lua_pop(L, 1);
    p->request.headers = p->headers;
}

static int world_ask(lua_State *L)                      /* world:ask { method, path, query, headers, ip, body } -> said, id */
{
    struct world *w = world_of(L);
    char id[32];

    luaL_checktype(L, 2, LUA_TTABLE);
    struct play *p = testing_play(w, ++w->next_id);
    p->request.method = string_field(L, "method", "GET");
    p->request.path = string_field(L, "path", "/");
    p->request.query = string_field(L, "query", "");
    p->request.minor = 1;
    char *ip = string_field(L, "ip", "127.0.0.1");
    snprintf(p->request.ip, sizeof p->request.ip, "%s", ip);
    free(ip);
    p->body = string_field(L, "body", "");
    p->body_len = strlen(p->body);
    read_headers(L, p);

    const struct front *front = NULL;
    const struct route *route = gateway_route(w->gateway, p->request.path, &front);
    if (!route) {
        free_play(p);
        return luaL_error(L, "no route has this path");
    }
    snprintf(id, sizeof id, "test-%u", ++w->asked);
    testing_enter(p, L);
    struct stream_facts facts = { .id = id, .ip = p->request.ip, .front = front, .request = &p->request };
    stream_open(&p->stream, &testing_host, p, w->gateway, route, &facts, &w->metrics);
    testing_leave(p, L);
    lua_pushinteger(L, p->id);
    return 2;
}

static unsigned which_of(lua_State *L)                  /* upstream number: 0 or 1 */
{
    lua_Integer which = luaL_checkinteger(L, 3);

    luaL_argcheck(L, which >= 0 && which < UPSTREAMS_MAX, 3, "there is no such upstream");
    return (unsigned)which;
}

static int world_head(lua_State *L)                     /* world:head(id, which, status, headers) -> said */
{
    struct world *w = world_of(L);
    struct play *p = play_of(L, w);
    unsigned which = which_of(L);
    int status = (int)luaL_checkinteger(L, 4);
    struct header h[HEADERS_MAX];
    size_t n = 0;

    if (lua_istable(L, 5))
        for (lua_pushnil(L); lua_next(L, 5) && n < HEADERS_MAX; lua_pop(L, 1))
            h[n++] = (struct header){ lua_tostring(L, -2), lua_tostring(L, -1) };   /* the table keeps them */
    testing_enter(p, L);
    if (p->stream)
        stream_upstream_head(p->stream, which, status, h, n);
    return testing_leave(p, L);
}

static int world_bytes(lua_State *L)                    /* world:bytes(id, which, bytes) -> said */
{
    struct play *p = play_of(L, world_of(L));
    size_t len;
    unsigned which = which_of(L);
    const char *bytes = luaL_checklstring(L, 4, &len);

    testing_enter(p, L);
    if (p->stream)
        stream_upstream_bytes(p->stream, which, bytes, len);
    return testing_leave(p, L);
}

static int world_finish(lua_State *L)                   /* world:finish(id, which, code) -> said; code: "done" or an error's code */
{
    struct play *p = play_of(L, world_of(L));
    unsigned which = which_of(L);
    const char *code = luaL_checkstring(L, 4);
    enum reason r = 0;

    while (r < REASON_COUNT && strcmp(reason_text(r)->code, code) != 0)
        r++;
    luaL_argcheck(L, r < REASON_COUNT, 4, "there is no such code");
    testing_enter(p, L);
    if (p->stream)
        stream_upstream_end(p->stream, which, r, "");
    return testing_leave(p, L);
}

static enum service_end end_named(lua_State *L, int idx)
{
    static const char *const names[] = { "ok", "timeout", "connect", "tls", "broken", "too_large", "protocol", "breaker_open", NULL };
    return (enum service_end)luaL_checkoption(L, idx, "ok", names);
}

/* world:answer(id, call, end, status, headers, body) -> said; the body of a Redis server is its reply as it travels; a call that is not waited for any more is left alone */
static int world_answer(lua_State *L)
{
    struct play *p = play_of(L, world_of(L));
    lua_Integer id = luaL_checkinteger(L, 3);
    struct service_call *w = NULL;
    struct header h[HEADERS_MAX];
    size_t n = 0, len;

    lua_settop(L, 7);
    list_each(it, &p->errands)
        if (list_of(it, struct service_call, link)->id == id)
            w = list_of(it, struct service_call, link);
    testing_enter(p, L);
    if (!w)
        return testing_leave(p, L);
    list_remove(&w->link);
    w->end = end_named(L, 4);
    if (lua_istable(L, 6))
        for (lua_pushnil(L); lua_next(L, 6) && n < HEADERS_MAX; lua_pop(L, 1))
            h[n++] = (struct header){ lua_tostring(L, -2), lua_tostring(L, -1) };   /* the table keeps them */
    service_head(w, (int)luaL_optinteger(L, 5, 200), h, n);
    const char *body = luaL_optlstring(L, 7, "", &len);
    buf_append(&w->answer, body, len);
    if (p->inits)
        testing_init_answered(p, w);
    else
        stream_service_answer(p->stream, w);
    return testing_leave(p, L);
}

static int world_gone(lua_State *L)                     /* world:gone(id) -> said */
{
    struct play *p = play_of(L, world_of(L));

    testing_enter(p, L);
    if (p->stream)
        stream_client_gone(p->stream);
    return testing_leave(p, L);
}

static int world_slow(lua_State *L)                     /* world:slow(id, is_slow) -> said; false drains what waits */
{
    struct play *p = play_of(L, world_of(L));

    p->slow = lua_toboolean(L, 3);
    testing_enter(p, L);
    if (p->stream && !p->slow)
        stream_drained(p->stream);
    return testing_leave(p, L);
}

static int world_shutdown(lua_State *L)                 /* world:shutdown(id) -> said */
{
    struct play *p = play_of(L, world_of(L));

    testing_enter(p, L);
    if (p->stream)
        stream_shutdown(p->stream, REASON_SHUTTING_DOWN);
    return testing_leave(p, L);
}

/* Moves time to the next alarm of this exchange, at most `ms` on. */
static int world_advance(lua_State *L)                  /* world:advance(id, ms) -> said */
{
    struct world *w = world_of(L);
    struct play *p = play_of(L, w);
    uint64_t until = w->now + (uint64_t)luaL_checkinteger(L, 3);

    testing_enter(p, L);
    while (p->alarm && p->alarm <= until) {
        if (p->alarm > w->now)
            w->now = p->alarm;
        p->alarm = 0;
        vm_set_now(w->vm, w->now, (int64_t)w->now);
        if (p->inits)
            testing_init_go(p);
        else
            stream_tick(p->stream);
    }
    w->now = until;
    return testing_leave(p, L);
}

static int world_alarm(lua_State *L)                    /* world:alarm(id) -> ms until the next alarm | nil */
{
    struct world *w = world_of(L);
    struct play *p = play_of(L, w);

    if (p->alarm)
        lua_pushinteger(L, p->alarm > w->now ? (lua_Integer)(p->alarm - w->now) : 0);
    else
        lua_pushnil(L);
    return 1;
}

static int world_now(lua_State *L)                      /* world:now() -> virtual ms */
{
    lua_pushinteger(L, (lua_Integer)world_of(L)->now);
    return 1;
}

static int world_skip(lua_State *L)                     /* world:skip(ms): time passes between exchanges */
{
    world_of(L)->now += (uint64_t)luaL_checkinteger(L, 2);
    return 0;
}

static int world_count(lua_State *L)                    /* world:count(name) -> a counter of base/metrics.h */
{
    struct world *w = world_of(L);
    const char *name = luaL_checkstring(L, 2);

    for (int m = 0; m < METRIC_COUNT; m++) {
        if (strcmp(metrics_name(m), name) != 0)
            continue;
        lua_pushinteger(L, metrics_get(&w->metrics, m));
        return 1;
    }
    return luaL_argerror(L, 2, "there is no such counter");
}

static int world_init(lua_State *L) { return testing_init(L, world_of(L)); }
static int world_save(lua_State *L) { return testing_save(L, world_of(L)); }
static int world_restore(lua_State *L) { return testing_restore(L, world_of(L)); }

static int world_setenv(lua_State *L)                   /* setenv(name, value | nil): what sluice.env and sluice.secret see */
{
    const char *name = luaL_checkstring(L, 1);

    if (lua_isnoneornil(L, 2))
        unsetenv(name);
    else
        setenv(name, luaL_checkstring(L, 2), 1);
    return 0;
}

static int world_directory(lua_State *L)                /* directory() -> the path of a new, empty one */
{
    char path[] = "/tmp/sluice_XXXXXX";

    if (!mkdtemp(path))
        return luaL_error(L, "cannot make a directory in /tmp");
    lua_pushstring(L, path);
    return 1;
}

static int world_mute(lua_State *L)                     /* mute(on): whether log lines are only told, not written */
{
    log_mute(lua_toboolean(L, 1));
    return 0;
}

int luaopen_sluice_world(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "ask", world_ask },     { "head", world_head },         { "bytes", world_bytes },     { "finish", world_finish }, { "gone", world_gone },
        { "slow", world_slow },   { "shutdown", world_shutdown }, { "advance", world_advance }, { "alarm", world_alarm },   { "count", world_count },
        { "close", world_close }, { "answer", world_answer },     { "now", world_now },         { "skip", world_skip },
        { "save", world_save },   { "restore", world_restore },   { "init", world_init },       { NULL, NULL },
    };
    static const luaL_Reg functions[] = {
        { "open", world_open },   { "setenv", world_setenv },     { "directory", world_directory }, { "forget", testing_forget }, { "mute", world_mute },
        { "sha1", digest_sha1 },  { NULL, NULL },
    };

    luaL_newmetatable(L, WORLD);                       /* mt */
    luaL_newlib(L, methods);                           /* mt methods */
    lua_setfield(L, -2, "__index");                    /* mt */
    lua_pushcfunction(L, world_close);                 /* mt close */
    lua_setfield(L, -2, "__gc");                       /* mt */
    lua_pop(L, 1);
    luaL_newlib(L, functions);                         /* module */
    log_tap(LOG_INFO, log_line_of, NULL);
    return 1;
}
