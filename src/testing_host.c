/* The virtual host: what the stream asks for becomes an entry { what, ... } in play->said, for the spec to read. */
#include <stdlib.h>
#include <string.h>

#include "script/service.h"
#include "testing_world.h"
#include "wire/resp.h"

static void begin(struct play *p, const char *what)
{
    lua_newtable(p->L);                                /* entry */
    lua_pushstring(p->L, what);
    lua_setfield(p->L, -2, "what");
    lua_pushnumber(p->L, (double)(p->world->now - EPOCH_MS) / 1000);
    lua_setfield(p->L, -2, "at");
}

static void done(struct play *p)
{
    lua_rawseti(p->L, p->said, (lua_Integer)lua_rawlen(p->L, p->said) + 1);
}

static void set_headers(lua_State *L, const struct header *h, size_t n)
{
    lua_newtable(L);
    for (size_t i = 0; i < n; i++) {
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        for (const char *c = h[i].name; *c; c++)
            luaL_addchar(&b, *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c);
        luaL_pushresult(&b);                           /* entry headers name */
        lua_pushstring(L, h[i].value);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

static void set_bytes(lua_State *L, const char *name, struct buf *bytes)
{
    lua_pushlstring(L, bytes->data ? bytes->data : "", bytes->len);
    lua_setfield(L, -2, name);
}

static void say(struct play *p, const char *what)
{
    begin(p, what);
    done(p);
}

/* Of one of its upstreams. */
static void say_of(struct play *p, const char *what, unsigned which)
{
    begin(p, what);
    lua_pushinteger(p->L, which);
    lua_setfield(p->L, -2, "which");
    done(p);
}

static uint64_t host_now(void *owner) { return ((struct play *)owner)->world->now; }
static void host_read_body(void *owner) { ((struct play *)owner)->wants_body = true; }

static void host_reply(void *owner, int status, const struct header *headers, size_t n, struct buf *body)
{
    struct play *p = owner;

    begin(p, "reply");
    lua_pushinteger(p->L, status);
    lua_setfield(p->L, -2, "status");
    set_headers(p->L, headers, n);
    set_bytes(p->L, "body", body);
    buf_free(body);
    done(p);
}

static void host_head(void *owner, int status, const struct header *headers, size_t n)
{
    struct play *p = owner;

    begin(p, "head");
    lua_pushinteger(p->L, status);
    lua_setfield(p->L, -2, "status");
    set_headers(p->L, headers, n);
    done(p);
}

static bool host_write(void *owner, struct buf *bytes)
{
    struct play *p = owner;

    begin(p, "write");
    set_bytes(p->L, "bytes", bytes);
    buf_free(bytes);
    done(p);
    return !p->slow;
}

static int host_attempt(void *owner, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms)
{
    struct play *p = owner;
    struct buf body = want->body;

    (void)ca;
    begin(p, "attempt");
    lua_pushinteger(p->L, which);
    lua_setfield(p->L, -2, "which");
    lua_pushstring(p->L, want->target);
    lua_setfield(p->L, -2, "target");
    lua_pushstring(p->L, want->url);
    lua_setfield(p->L, -2, "url");
    lua_pushinteger(p->L, (lua_Integer)connect_ms);
    lua_setfield(p->L, -2, "connect_ms");
    set_headers(p->L, want->headers, want->n_headers);
    set_bytes(p->L, "body", &body);
    done(p);
    return 0;
}

static void set_command(lua_State *L, const struct buf *command)   /* entry -> entry: its words */
{
    struct resp_item word;
    size_t at = 0;

    lua_newtable(L);                                   /* entry words */
    resp_next(command->data, command->len, &at, &word);   /* how many */
    for (lua_Integer i = 1; resp_next(command->data, command->len, &at, &word) == 1; i++) {
        lua_pushlstring(L, word.text, word.len);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "command");
}

static int host_service(void *owner, struct service_call *w)
{
    struct play *p = owner;

    list_append(&p->errands, &w->link);
    begin(p, "service");
    lua_pushinteger(p->L, w->id);
    lua_setfield(p->L, -2, "id");
    lua_pushstring(p->L, w->service->name);
    lua_setfield(p->L, -2, "service");
    if (w->service->redis.host) {
        set_command(p->L, &w->body);
        done(p);
        return 0;
    }
    lua_pushstring(p->L, w->method);
    lua_setfield(p->L, -2, "method");
    lua_pushstring(p->L, w->url + strlen(w->service->url));
    lua_setfield(p->L, -2, "target");
    set_headers(p->L, w->headers, w->n_headers);
    if (w->has_body) {
        lua_pushlstring(p->L, w->body.data ? w->body.data : "", w->body.len);
        lua_setfield(p->L, -2, "body");
    }
    done(p);
    return 0;
}

static void host_service_cancel(void *owner, struct service_call *w)
{
    struct play *p = owner;

    list_remove(&w->link);
    begin(p, "service_cancel");
    lua_pushinteger(p->L, w->id);
    lua_setfield(p->L, -2, "id");
    done(p);
}

static void host_end(void *owner) { say(owner, "end"); }
static void host_cancel(void *owner, unsigned which) { say_of(owner, "cancel", which); }
static void host_finish(void *owner, unsigned which) { say_of(owner, "finish", which); }
static void host_hold(void *owner, unsigned which) { say_of(owner, "hold", which); }
static void host_release(void *owner, unsigned which) { say_of(owner, "release", which); }
static void host_wake(void *owner, uint64_t at) { ((struct play *)owner)->alarm = at; }

static void set_tag(void *arg, const char *name, const char *value)   /* ... tags -> ... tags */
{
    struct play *p = arg;

    lua_pushstring(p->L, value);
    lua_setfield(p->L, -2, name);
}

static void host_closed(void *owner)
{
    struct play *p = owner;

    begin(p, "closed");                                /* entry */
    lua_newtable(p->L);                                /* entry tags */
    stream_tags(p->stream, set_tag, p);
    lua_setfield(p->L, -2, "tags");                    /* entry */
    lua_pushinteger(p->L, (lua_Integer)stream_held_max(p->stream));
    lua_setfield(p->L, -2, "held_max");
    done(p);
    stream_free(p->stream);
    p->stream = NULL;
    p->alarm = 0;
}

void testing_say_loaded(struct play *p)
{
    begin(p, "closed");                                /* entry */
    if (p->complaints.len) {
        lua_pushlstring(p->L, p->complaints.data, p->complaints.len);
        lua_setfield(p->L, -2, "why");
    }
    done(p);
}

const struct desk_host testing_desk = { host_now, host_service, host_service_cancel, NULL };

const struct stream_host testing_host = {
    .now = host_now, .read_body = host_read_body, .reply = host_reply, .head = host_head, .write = host_write, .end = host_end,
    .attempt = host_attempt, .cancel = host_cancel, .finish = host_finish, .hold = host_hold, .release = host_release,
    .service = host_service, .service_cancel = host_service_cancel,
    .wake = host_wake, .closed = host_closed,
};
