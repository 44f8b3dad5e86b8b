/* What the hooks of an answer are shown: the try, its failure, the upstream's head, the end, the summary. Each is made once a phase by
 * lua/sluice/shown.lua and kept in its slot of the exchange's record.
 */
#include "base/log.h"
#include "script/exchange_inside.h"

static int run(struct exchange *x, lua_CFunction entry, void *job)
{
    struct call c;
    enum call_state state;

    if (x->ref == LUA_NOREF)
        return -1;
    state = exchange_run(x, &c, entry, job, walk_ms(x->body_len), NULL);
    if (state == CALL_FAILED)
        log_say(LOG_ERROR, "lua.failed", "%s", c.message);
    call_finish(&c);
    return state == CALL_RETURNED ? 0 : -1;
}

static void push_count(lua_State *L, int64_t n)
{
    if (n >= 0)
        lua_pushinteger(L, n);
    else
        lua_pushnil(L);
}

void exchange_push_usage(lua_State *L, const struct usage *u)
{
    push_count(L, u->input);
    push_count(L, u->output);
    push_count(L, u->cached);
    push_count(L, u->reasoning);
    push_count(L, u->cache_written);
}

/* ---- a try */

struct try_job { struct exchange *x; const struct tried *t; bool copy; const struct header *headers; size_t n; };

static int try_entry(lua_State *L)                     /* (job) */
{
    struct try_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "try");
    exchange_push(L, job->x);
    lua_pushstring(L, job->t->model->name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->t->model->table_ref);
    lua_pushinteger(L, job->t->number);
    lua_pushboolean(L, job->copy);
    lua_pushboolean(L, job->t->continues);
    lua_call(L, 6, 0);
    return 0;
}

int exchange_try(struct exchange *x, const struct tried *t, bool copy)
{
    struct try_job job = { .x = x, .t = t, .copy = copy };
    return run(x, try_entry, &job);
}

static int failed_entry(lua_State *L)                  /* (job) */
{
    struct try_job *job = lua_touserdata(L, 1);
    const struct tried *t = job->t;

    exchange_push_function(L, "failure");
    exchange_push(L, job->x);
    lua_pushstring(L, t->model->name);
    lua_pushinteger(L, t->number);
    lua_pushstring(L, t->code);
    lua_pushstring(L, t->message);
    push_count(L, t->status ? t->status : -1);
    push_count(L, t->retry_after);
    lua_call(L, 7, 0);
    return 0;
}

int exchange_failed(struct exchange *x, const struct tried *t)
{
    struct try_job job = { .x = x, .t = t };
    return run(x, failed_entry, &job);
}

static int response_entry(lua_State *L)                /* (job) */
{
    struct try_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "response");
    exchange_push(L, job->x);
    lua_pushstring(L, job->t->model->name);
    lua_pushinteger(L, job->t->number);
    lua_pushinteger(L, job->t->status);
    exchange_push_headers(L, job->headers, job->n);
    lua_call(L, 5, 0);
    return 0;
}

int exchange_response(struct exchange *x, const struct tried *t, const struct header *headers, size_t n)
{
    struct try_job job = { .x = x, .t = t, .headers = headers, .n = n };
    return run(x, response_entry, &job);
}

/* ---- a tool call */

struct tool_job { struct exchange *x; const struct buf *id, *name, *args; struct buf *out; };

static void push_buf(lua_State *L, const struct buf *b) { lua_pushlstring(L, b->data ? b->data : "", b->len); }

static int tool_entry(lua_State *L)                    /* (job) */
{
    struct tool_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "tool");
    exchange_push(L, job->x);
    push_buf(L, job->id);
    push_buf(L, job->name);
    push_buf(L, job->args);
    lua_call(L, 4, 0);
    return 0;
}

int exchange_tool(struct exchange *x, const struct buf *id, const struct buf *name, const struct buf *args)
{
    struct tool_job job = { x, id, name, args, NULL };
    return run(x, tool_entry, &job);
}

static int tool_args_entry(lua_State *L)               /* (job) */
{
    struct tool_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push_function(L, "tool_args");
    exchange_push(L, job->x);
    lua_call(L, 1, 1);                                 /* job json? */
    s = lua_tolstring(L, -1, &len);
    if (s) {
        job->out->len = 0;
        buf_append(job->out, s, len);
    }
    return 0;
}

int exchange_tool_args(struct exchange *x, struct buf *args)
{
    struct tool_job job = { .x = x, .out = args };
    return run(x, tool_args_entry, &job);
}

/* ---- the end */

struct finish_job { struct exchange *x; const char *reason; uint64_t tokens; const struct usage *usage; };

static int finish_entry(lua_State *L)                  /* (job) */
{
    struct finish_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "finish");
    exchange_push(L, job->x);
    lua_pushstring(L, job->reason);                    /* nil for NULL */
    lua_pushinteger(L, (lua_Integer)job->tokens);
    exchange_push_usage(L, job->usage);
    lua_call(L, 8, 0);
    return 0;
}

int exchange_finish(struct exchange *x, const char *reason, uint64_t tokens, const struct usage *u)
{
    struct finish_job job = { x, reason, tokens, u };
    return run(x, finish_entry, &job);
}

struct summary_job { struct exchange *x; const struct summary *s; };

static int summary_entry(lua_State *L)                 /* (job) */
{
    struct summary_job *job = lua_touserdata(L, 1);
    const struct summary *s = job->s;

    exchange_push_function(L, "summary");
    exchange_push(L, job->x);
    lua_pushstring(L, s->finish);
    lua_pushinteger(L, s->status);
    lua_pushinteger(L, (lua_Integer)s->tokens);
    lua_pushinteger(L, (lua_Integer)s->bytes);
    push_count(L, s->first_token_ms);
    push_count(L, s->total_ms);
    push_count(L, s->held_ms);
    exchange_push_usage(L, &s->usage);
    lua_pushboolean(L, s->complete);
    lua_call(L, 14, 0);
    return 0;
}

void exchange_summary(struct exchange *x, const struct summary *s)
{
    struct summary_job job = { x, s };
    run(x, summary_entry, &job);
}
