#include "script/service.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/exchange_inside.h"
#include "script/reply_value.h"
#include "wire/resp.h"

#define CALLS_MAX 64                                   /* of one call of a hook, under way or not yet looked at */

const char *const service_end_names[] = { "ok", "timeout", "connect", "tls", "broken", "too_large", "protocol", "breaker_open" };

void service_call_free(struct service_call *w)
{
    list_remove(&w->link);
    list_remove(&w->running);
    for (size_t i = 0; i < w->n_headers; i++) {
        free((char *)w->headers[i].name);              /* ours */
        free((char *)w->headers[i].value);
    }
    free(w->headers);
    free(w->method);
    free(w->url);
    free(w->message);
    buf_free(&w->body);
    buf_free(&w->head);
    buf_free(&w->answer);
    free(w);
}

void service_head(struct service_call *w, int status, const struct header *headers, size_t n)
{
    w->status = status;
    w->head.len = w->n_head = 0;
    for (size_t i = 0; i < n; i++, w->n_head++) {
        buf_append(&w->head, headers[i].name, strlen(headers[i].name) + 1);
        buf_append(&w->head, headers[i].value, strlen(headers[i].value) + 1);
    }
}

void service_answer(struct call *c, struct service_call *w)
{
    w->next = c->answers;
    c->answers = w;
    c->news = true;
}

/* ---- as scripts see it */

static struct service *check_service(lua_State *L)
{
    struct gateway *g = vm_of(L)->gateway;
    lua_Integer i = luaL_checkinteger(L, 1);

    luaL_argcheck(L, g && i >= 1 && (size_t)i <= g->n_services, 1, "no such service");
    return &g->services[i - 1];
}

/* (name, value, name, value ...): a value may be a list of texts and secrets. */
static void read_headers(lua_State *L, struct service_call *w)
{
    size_t n = lua_rawlen(L, 4) / 2;

    w->headers = mem_alloc((n + 1) * sizeof *w->headers);
    for (size_t i = 0; i < n; i++) {
        struct buf *value = &vm_of(L)->scratch;

        lua_rawgeti(L, 4, (lua_Integer)i * 2 + 1);
        lua_rawgeti(L, 4, (lua_Integer)i * 2 + 2);     /* ... name value */
        value->len = 0;
        exchange_flatten(L, -1, value, lua_tostring(L, -2));
        w->headers[w->n_headers].name = mem_string(lua_tostring(L, -2));
        w->headers[w->n_headers++].value = mem_copy(value->data ? value->data : "", value->len);
        lua_pop(L, 2);                                 /* ... */
    }
    buf_free(&vm_of(L)->scratch);                      /* a key may have passed through */
}

static unsigned count(const struct call *c)
{
    unsigned n = 0;

    for (const struct service_call *w = c->wants; w; w = w->next)
        n++;
    for (const struct service_call *w = c->answers; w; w = w->next)
        n++;
    return n;
}

/* Belongs to the running call from here on, whatever raises. */
static struct service_call *wanted(lua_State *L, struct service *service, lua_Integer timeout)
{
    struct vm *vm = vm_of(L);
    struct service_call *w, **end = &vm->call->wants;

    if (count(vm->call) >= CALLS_MAX)
        luaL_error(L, "more than %d calls of services at once", CALLS_MAX);
    w = mem_alloc(sizeof *w);
    list_init(&w->link);
    list_init(&w->running);
    while (*end)
        end = &(*end)->next;
    *end = w;
    w->id = ++vm->service_id;
    w->service = service;
    w->timeout_ms = timeout > 0 ? (uint64_t)timeout : service->timeout_ms;
    return w;
}

int service_start(lua_State *L)
{
    struct service *service = check_service(L);
    const char *method = luaL_checkstring(L, 2), *target = luaL_checkstring(L, 3);
    lua_Integer timeout = luaL_optinteger(L, 6, 0);
    struct service_call *w;

    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_argcheck(L, service->url, 1, "no HTTP service");
    w = wanted(L, service, timeout);
    w->method = mem_string(method);
    w->url = mem_format("%s%s", service->url, target);
    read_headers(L, w);
    if (!lua_isnoneornil(L, 5)) {
        size_t len;
        const char *body = luaL_checklstring(L, 5, &len);

        buf_append(&w->body, body, len);
        w->has_body = true;
    }
    lua_pushinteger(L, w->id);
    return 1;
}

int service_command(lua_State *L)
{
    struct service *service = check_service(L);
    struct service_call *w;

    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, service->redis.host, 1, "no Redis server");
    w = wanted(L, service, 0);
    resp_command(&w->body, lua_rawlen(L, 2));
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 2); i++) {
        size_t len;

        lua_rawgeti(L, 2, i);                          /* ... word */
        const char *word = luaL_checklstring(L, -1, &len);
        resp_word(&w->body, word, len);
        lua_pop(L, 1);
    }
    w->has_body = true;
    lua_pushinteger(L, w->id);
    return 1;
}

static int push_answer(lua_State *L, struct service_call *w)   /* -> what service_take returns */
{
    struct header h[128];
    const char *at = w->head.data;
    size_t n = w->n_head < 128 ? w->n_head : 128;

    if (w->end != SERVICE_OK) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, service_end_names[w->end]);
        lua_pushstring(L, w->message ? w->message : "");
        return 3;
    }
    if (w->service->redis.host)
        return reply_push(L, &w->answer);
    for (size_t i = 0; i < n; i++) {
        h[i].name = at;
        at += strlen(at) + 1;
        h[i].value = at;
        at += strlen(at) + 1;
    }
    lua_pushinteger(L, w->status);
    exchange_push_headers(L, h, n);
    lua_pushlstring(L, w->answer.data ? w->answer.data : "", w->answer.len);
    return 3;
}

int service_take(lua_State *L)
{
    struct call *c = vm_of(L)->call;
    lua_Integer id = luaL_checkinteger(L, 1);

    for (struct service_call **at = &c->answers; *at; at = &(*at)->next) {
        struct service_call *w = *at;

        if ((lua_Integer)w->id != id)
            continue;
        int n = push_answer(L, w);                     /* may raise: then it stays where it is */
        *at = w->next;
        service_call_free(w);
        return n;
    }
    return 0;
}

int service_wait(lua_State *L)
{
    struct vm *vm = vm_of(L);

    exchange_check_may_wait(L, luaL_checkstring(L, 1));
    if (vm->call->news) {
        vm->call->news = false;
        return 0;
    }
    vm->wait = WAIT_NEWS;
    vm->wait_ms = (uint64_t)luaL_optinteger(L, 2, 0);
    return lua_yield(L, 0);
}
