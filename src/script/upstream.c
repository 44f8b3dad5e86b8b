/* What the stream asks of a provider's dialect: the request for the upstream, what a rare event means, what an error answer says. The hot events are
 * read in C by the places that the dialect declares (stream/event.c).
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/exchange_inside.h"
#include "script/secret_value.h"

/* ---- the request */

struct request_job { struct exchange *x; const struct model *model; const struct ask *ask; struct upstream_request *ret; struct buf value; };

/* A text, a secret, a number, or a list of these: appended to `out`. */
void exchange_flatten(lua_State *L, int idx, struct buf *out, const char *name)
{
    const char *s;
    size_t len, from = out->len;

    idx = lua_absindex(L, idx);
    s = secret_value_read(L, idx, &len);
    if (s) {
        buf_append(out, s, len);
    } else if (lua_isinteger(L, idx)) {
        buf_printf(out, "%lld", (long long)lua_tointeger(L, idx));
    } else if (lua_type(L, idx) == LUA_TSTRING) {
        s = lua_tolstring(L, idx, &len);
        buf_append(out, s, len);
    } else if (lua_type(L, idx) == LUA_TTABLE) {
        for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, idx); i++) {
            lua_rawgeti(L, idx, i);                    /* part */
            if (lua_istable(L, -1))
                luaL_error(L, "the header %s is a list inside a list", name);
            exchange_flatten(L, -1, out, name);
            lua_pop(L, 1);
        }
    } else {
        luaL_error(L, "the header %s is a %s, not a text", name, luaL_typename(L, idx));
    }
    for (size_t k = from; k < out->len; k++) {
        unsigned char byte = (unsigned char)out->data[k];

        if ((byte < 32 && byte != '\t') || byte == 127)
            luaL_error(L, "the header %s holds control characters", name);
    }
}

static void read_headers(lua_State *L, struct request_job *job)   /* job path headers body ... -> the same */
{
    struct upstream_request *ret = job->ret;
    size_t n = lua_rawlen(L, 3) / 2;

    ret->headers = mem_alloc((n ? n : 1) * sizeof *ret->headers);
    for (size_t i = 0; i < n; i++) {
        struct header *h = &ret->headers[i];
        const char *name;

        lua_rawgeti(L, 3, (lua_Integer)i * 2 + 1);
        lua_rawgeti(L, 3, (lua_Integer)i * 2 + 2);     /* ... name value */
        name = lua_tostring(L, -2);
        job->value.len = 0;
        exchange_flatten(L, -1, &job->value, name);
        h->name = mem_string(name);
        h->value = mem_copy(job->value.data ? job->value.data : "", job->value.len);
        ret->n_headers++;
        lua_pop(L, 2);                                 /* ... */
    }
}

static int request_entry(lua_State *L)                 /* (job) -> nothing, or the verdict of a dialect that cannot say it */
{
    struct request_job *job = lua_touserdata(L, 1);
    const struct dialect *d = job->model->dialect;
    struct upstream_request *ret = job->ret;
    bool embeds = job->x->front->operation == OPERATION_EMBED;
    bool same = job->x->front->speaks && strcmp(job->x->front->speaks, d->name) == 0;
    const char *s;
    size_t len;

    exchange_push_function(L, "request");
    exchange_push(L, job->x);
    if (embeds && d->embed_request_ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, embeds ? d->embed_request_ref : d->request_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->model->table_ref);
    lua_pushboolean(L, same);
    lua_pushboolean(L, job->ask->may_pass);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->x->front->read_ref);
    if (job->ask->so_far)
        lua_pushlstring(L, job->ask->so_far->data, job->ask->so_far->len);
    else
        lua_pushnil(L);
    if (job->model->prefill_ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, job->model->prefill_ref);
    lua_pushstring(L, job->ask->changed_by);
    lua_call(L, 9, 7);                                 /* job path headers body pass stream n logprobs */
    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_settop(L, 2);
        return 1;
    }
    ret->url = mem_format("%s%s", job->model->url, lua_tostring(L, 2));
    ret->pass = lua_toboolean(L, 5);
    ret->stream = lua_toboolean(L, 6);
    ret->n = (unsigned)lua_tointeger(L, 7);
    ret->logprobs = lua_toboolean(L, 8);
    ret->same = same;
    read_headers(L, job);
    s = lua_tolstring(L, 4, &len);
    buf_append(&ret->body, s, len);
    return 0;
}

/* What the dialect returned instead of a request. */
static void refused(struct exchange *x, struct call *c, const struct model *m, struct failure *f)
{
    struct sayer who = { NULL, "a dialect's request", m->dialect->request_ref, MAY_REJECT };
    struct verdict v;

    verdict_read(x, c, -1, &who, &v, NULL);
    if (v.kind == VERDICT_REJECT) {
        failure_take(f, &v.failure);
    } else {
        log_say(LOG_ERROR, "dialect.failed", "%s", v.wrong ? v.wrong : "the dialect's request returned something odd");
        failure_set(f, 500, "internal_error", "the gateway could not make the request for the model");
    }
    verdict_free(&v);
}

int exchange_request(struct exchange *x, const struct model *m, const struct ask *ask, struct upstream_request *ret, struct failure *f)
{
    struct request_job job = { x, m, ask, ret, BUF_EMPTY };
    struct call c;
    int result = -1;

    memset(ret, 0, sizeof *ret);
    ret->target = m->name;
    if (exchange_run(x, &c, request_entry, &job, walk_ms(x->body_len), "a dialect may not wait") != CALL_RETURNED) {
        log_say(LOG_ERROR, "dialect.failed", "%s", c.message ? c.message : "no memory");
        failure_set(f, 500, c.failure == CALL_MEMORY ? "policy_memory" : "internal_error", "the gateway could not make the request for the model");
    } else if (c.n_results > 0) {
        refused(x, &c, m, f);
    } else {
        result = 0;
    }
    if (result)
        upstream_request_free(ret);
    if (job.value.data)
        memset(job.value.data, 0, job.value.cap);      /* a key may have passed through */
    buf_free(&job.value);
    call_finish(&c);
    return result;
}

void upstream_request_free(struct upstream_request *r)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        free((char *)r->headers[i].name);              /* ours: see upstream_request */
        free((char *)r->headers[i].value);
    }
    free(r->headers);
    free(r->url);
    buf_free(&r->body);
    memset(r, 0, sizeof *r);
}

/* ---- rare events */

#define OPS_MAX 1024                                   /* of one event */

struct event_job { const struct dialect *d; const char *bytes; size_t len; struct event_ops *ret; bool unreadable; };

static void take_buf(lua_State *L, int slot, struct buf *to)   /* op -> op */
{
    if (lua_rawgeti(L, -1, slot) == LUA_TSTRING) {
        size_t len;
        const char *s = lua_tolstring(L, -1, &len);

        buf_append(to, s, len);
    }
    lua_pop(L, 1);
}

static int64_t take_count(lua_State *L, int slot, int64_t absent)   /* op -> op */
{
    int64_t n = lua_rawgeti(L, -1, slot) == LUA_TNUMBER ? (int64_t)lua_tointeger(L, -1) : absent;

    lua_pop(L, 1);
    return n;
}

/* One that no answer has is nobody's, whatever its number becomes in C. */
static unsigned take_choice(lua_State *L)              /* op -> op */
{
    int64_t n = take_count(L, 2, 0);

    return n >= 0 && n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

void event_ops_read(lua_State *L, int idx, size_t max, struct event_ops *ret)
{
    size_t n = lua_rawlen(L, idx);

    idx = lua_absindex(L, idx);
    ret->ops = mem_alloc((n ? n : 1) * sizeof *ret->ops);
    for (size_t i = 0; i < n && i < max; i++) {
        struct event_op *op = &ret->ops[i];

        lua_rawgeti(L, idx, (lua_Integer)i + 1);       /* op */
        ret->n++;
        op->kind = (int)take_count(L, 1, 0);
        op->choice = take_choice(L);
        op->channel = (enum channel)take_count(L, 3, 0);
        take_buf(L, 4, &op->text);
        take_buf(L, 5, &op->name);
        take_buf(L, 6, &op->id);
        take_buf(L, 13, &op->signature);
        op->index = (long)take_count(L, 7, -1);
        for (int k = 0; k < 5; k++)
            op->usage[k] = take_count(L, 8 + k, -1);
        lua_pop(L, 1);                                 /* */
    }
}

static int event_entry(lua_State *L)                   /* (job) */
{
    struct event_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "event");
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->d->event_ref);
    lua_pushlstring(L, job->bytes, job->len);
    lua_call(L, 2, 1);                                 /* job ops? */
    job->unreadable = lua_isnil(L, -1);
    if (!job->unreadable)
        event_ops_read(L, -1, OPS_MAX, job->ret);
    return 0;
}

int exchange_event(struct exchange *x, const struct model *m, const char *bytes, size_t len, struct event_ops *ret)
{
    struct event_job job = { m->dialect, bytes, len, ret, false };
    struct call c;
    bool good;

    memset(ret, 0, sizeof *ret);
    good = exchange_run(x, &c, event_entry, &job, walk_ms(len), "a dialect may not wait") == CALL_RETURNED && c.n_results == 0;
    if (!good) {
        log_say(LOG_ERROR, "dialect.failed", "dialect %s: event: %s", m->dialect->name, c.message ? c.message : "raised a verdict, which it may not");
        event_ops_free(ret);
    }
    call_finish(&c);
    return good && !job.unreadable ? 0 : -1;
}

void event_ops_free(struct event_ops *o)
{
    for (size_t i = 0; i < o->n; i++) {
        buf_free(&o->ops[i].text);
        buf_free(&o->ops[i].name);
        buf_free(&o->ops[i].id);
        buf_free(&o->ops[i].signature);
    }
    free(o->ops);
    memset(o, 0, sizeof *o);
}

/* ---- answers that are one document */

struct document_job { const struct dialect *d; int status; const char *bytes; size_t len; struct exchange *x; struct upstream_error *error; struct buf *out; bool unreadable; };

static char *take_word(lua_State *L, int idx) { return lua_type(L, idx) == LUA_TSTRING ? mem_string(lua_tostring(L, idx)) : NULL; }

static int error_entry(lua_State *L)                   /* (job) */
{
    struct document_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "upstream_error");
    if (job->d->error_ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, job->d->error_ref);
    lua_pushinteger(L, job->status);
    lua_pushlstring(L, job->bytes ? job->bytes : "", job->len);
    lua_call(L, 3, 4);                                 /* job message code type param */
    job->error->message = take_word(L, 2);
    job->error->code = take_word(L, 3);
    job->error->type = take_word(L, 4);
    job->error->param = take_word(L, 5);
    return 0;
}

void exchange_upstream_error(struct exchange *x, const struct model *m, int status, const char *body, size_t len, struct upstream_error *ret)
{
    struct document_job job = { m->dialect, status, body, len, x, ret, NULL, false };
    struct call c;

    memset(ret, 0, sizeof *ret);
    if (exchange_run(x, &c, error_entry, &job, HOOK_MS, "a dialect may not wait") != CALL_RETURNED)
        log_say(LOG_ERROR, "dialect.failed", "dialect %s: error: %s", m->dialect->name, c.message);
    call_finish(&c);
}

void upstream_error_free(struct upstream_error *e)
{
    free(e->message);
    free(e->code);
    free(e->type);
    free(e->param);
    memset(e, 0, sizeof *e);
}

static int embedded_entry(lua_State *L)                /* (job) */
{
    struct document_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push_function(L, "embedded");
    exchange_push(L, job->x);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->d->embed_answer_ref);
    lua_pushlstring(L, job->bytes, job->len);
    lua_call(L, 3, 1);                                 /* job json? */
    s = lua_tolstring(L, -1, &len);
    job->unreadable = !s;
    if (s)
        buf_append(job->out, s, len);
    return 0;
}

int exchange_embedded(struct exchange *x, const struct model *m, const char *body, size_t len, struct buf *out)
{
    struct document_job job = { m->dialect, 200, body, len, x, NULL, out, false };
    struct call c;
    bool good = exchange_run(x, &c, embedded_entry, &job, walk_ms(len), "a dialect may not wait") == CALL_RETURNED && c.n_results == 0;

    if (!good)
        log_say(LOG_ERROR, "dialect.failed", "dialect %s: embed.answer: %s", m->dialect->name, c.message ? c.message : "raised a verdict, which it may not");
    call_finish(&c);
    return good && !job.unreadable ? 0 : -1;
}
