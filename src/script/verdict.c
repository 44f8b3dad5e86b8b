/* Failures, and what a hook's result means. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"
#include "script/exchange_inside.h"
#include "script/frozen.h"
#include "wire/utf8.h"

/* ---- failures */

void failure_free(struct failure *f)
{
    free(f->code);
    free(f->message);
    free(f->type);
    free(f->upstream_code);
    free(f->upstream_param);
    memset(f, 0, sizeof *f);
}

/* A text for clients: valid UTF-8, no secrets. */
static char *clean(const char *s)
{
    struct utf8_mender mender = { { 0 }, 0 };
    struct buf out = BUF_EMPTY;

    utf8_mend(&mender, &out, s, strlen(s));
    utf8_mend_end(&mender, &out);
    secret_scrub(&out);
    buf_cstr(&out);
    return out.data;
}

void failure_set(struct failure *f, int status, const char *code, const char *message)
{
    char *new_code = mem_string(code ? code : "internal_error"), *new_message = clean(message ? message : "Something went wrong.");   /* they may be f's own */

    failure_free(f);
    f->status = status;
    f->code = new_code;
    f->message = new_message;
    f->kind = "gateway";
    f->retry_after = -1;
}

#define UPSTREAM_CODE_MAX 64
#define UPSTREAM_PARAM_MAX 200

/* NULL where it is no word of that length (with ' ' in `also`: several words). */
static char *short_word(const char *s, size_t most, const char *also)
{
    char *word;

    if (!s)
        return NULL;
    word = clean(s);
    for (size_t i = 0; word[i]; i++)
        if (i >= most || !(isalnum((unsigned char)word[i]) || strchr(also, word[i]))) {
            free(word);
            return NULL;
        }
    return word;
}

void failure_set_upstream(struct failure *f, const char *code, const char *param)
{
    free(f->upstream_code);
    free(f->upstream_param);
    f->upstream_code = short_word(code, UPSTREAM_CODE_MAX, "_-.");
    f->upstream_param = short_word(param, UPSTREAM_PARAM_MAX, "_-.[]/ ");
}

void verdict_free(struct verdict *v)
{
    failure_free(&v->failure);
    buf_free(&v->text);
    free(v->finish);
    event_ops_free(&v->ops);
    free(v->wrong);
    memset(v, 0, sizeof *v);
}

/* ---- what was said */

enum { SAID_REJECT = 1, SAID_REPLY, SAID_STOP, SAID_DROP };   /* slot 1 of a verdict; see lua/sluice/verdict.lua */
static const char *const said_names[] = { "", "sluice.reject(...)", "sluice.reply(...)", "sluice.stop(...)", "sluice.drop" };

bool verdict_is(struct vm *vm, lua_State *L, int idx)
{
    bool same;

    if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx))   /* mt */
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->ref_verdict_mt);             /* mt verdict_mt */
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);                                                     /* */
    return same;
}

static void may_list(struct buf *out, const struct sayer *who, bool filter)
{
    const char *names[6];
    size_t n = 0;

    names[n++] = "nothing";
    if (who->may & MAY_ROUTE)
        names[n++] = "the name of a model, a list of names";
    if (who->may & MAY_NEXT)
        names[n++] = "\"next\", \"retry\", \"fail\"";
    if (filter)
        names[n++] = "a text, a text to release and one to hold";
    if (who->may & MAY_REJECT)
        names[n++] = said_names[SAID_REJECT];
    if (who->may & MAY_REPLY)
        names[n++] = said_names[SAID_REPLY];
    if (who->may & MAY_STOP)
        names[n++] = said_names[SAID_STOP];
    if (who->may & MAY_DROP)
        names[n++] = said_names[SAID_DROP];
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", names[i]);
}

/* `file:line: hook "validate" of policy "ask" <finding>; it may return ...` */
void verdict_wrong(struct exchange *x, const struct sayer *who, struct verdict *ret, const char *fmt, ...)
{
    lua_State *L = x->gateway->vm->L;
    struct buf out = BUF_EMPTY;
    lua_Debug ar;
    va_list ap;

    if (who->fn_ref != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, who->fn_ref);    /* f */
        lua_getinfo(L, ">S", &ar);                         /* */
        buf_printf(&out, "%s:%d: ", ar.short_src, ar.linedefined);
    }
    if (who->policy)
        buf_printf(&out, "hook \"%s\" of policy \"%s\" ", who->hook, who->policy);
    else
        buf_printf(&out, "%s ", who->hook);
    va_start(ap, fmt);
    buf_vprintf(&out, fmt, ap);
    va_end(ap);
    buf_puts(&out, "; it may return ");
    may_list(&out, who, who->hook && strcmp(who->hook, "filter") == 0);
    secret_scrub(&out);
    buf_cstr(&out);
    verdict_free(ret);
    ret->kind = VERDICT_WRONG;
    ret->wrong = out.data;
}

struct job {
    struct exchange *x;
    const struct sayer *who;
    struct verdict *ret;
    bool dropped;
    char wrong[200];                                   /* set: the finding of a wrong verdict */
};

static const char *field(lua_State *L, const char *name, size_t *len)   /* job verdict -> the same; the string stays in the verdict */
{
    const char *s = NULL;

    lua_pushstring(L, name);                           /* job verdict name */
    if (lua_rawget(L, 2) == LUA_TSTRING)               /* job verdict value */
        s = lua_tolstring(L, -1, len);
    lua_pop(L, 1);                                     /* job verdict */
    return s;
}

static lua_Integer whole(lua_State *L, const char *name, lua_Integer absent)
{
    lua_Integer n = absent;

    lua_pushstring(L, name);
    if (lua_rawget(L, 2) == LUA_TNUMBER)
        n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static void read_reject(lua_State *L, struct job *job)
{
    struct failure *f = &job->ret->failure;
    size_t len;

    failure_set(f, (int)whole(L, "status", 500), field(L, "code", &len), field(L, "message", &len));
    f->type = mem_string(field(L, "type", &len));
    f->kind = job->who->policy ? "policy" : "client";
    f->policy = job->who->policy;
    f->hook = job->who->policy ? job->who->hook : NULL;
    f->retry_after = whole(L, "retry_after", -1);
    job->ret->kind = VERDICT_REJECT;
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, 2) == LUA_TTABLE) {              /* job verdict headers */
        exchange_push_function(L, "verdict_headers");
        exchange_push(L, job->x);
        lua_pushvalue(L, 3);                           /* job verdict headers f x headers */
        lua_call(L, 2, 1);                             /* job verdict headers retry? */
        if (lua_isinteger(L, -1) && f->retry_after < 0)
            f->retry_after = lua_tointeger(L, -1);
    }
    lua_settop(L, 2);                                  /* job verdict */
}

static void read_answer(lua_State *L, struct job *job, enum verdict_kind kind)
{
    struct verdict *v = job->ret;
    size_t len = 0;
    const char *s = field(L, "text", &len);

    v->kind = kind;
    v->status = (int)whole(L, "status", 200);
    buf_append(&v->text, s ? s : "", len);
    s = field(L, "finish", &len);
    v->finish = mem_string(s ? s : "stop");
    lua_pushliteral(L, "steps");
    if (lua_rawget(L, 2) == LUA_TTABLE) {              /* job verdict steps */
        if (job->who->may & MAY_ANSWER)
            event_ops_read(L, -1, lua_rawlen(L, -1), &v->ops);
        else
            snprintf(job->wrong, sizeof job->wrong, "returned sluice.reply with blocks, which only the hooks validate, route, prompt and fallback may");
    }
    lua_settop(L, 2);                                  /* job verdict */
}

/* An option's table is a read-only view: the table behind it. */
static void look_behind(lua_State *L, int idx)
{
    if (frozen_behind(L, idx))
        lua_replace(L, idx);
}

/* job value -> job names: { "a", "b" }, { models = { "a", "b" } } and "a" all become a list */
static void push_names(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TTABLE) {
        look_behind(L, 2);
        lua_pushliteral(L, "models");
        if (lua_rawget(L, 2) != LUA_TTABLE) {          /* job plan models? */
            lua_settop(L, 2);
            lua_pushvalue(L, 2);                       /* job list list */
        }
        look_behind(L, 3);
    } else {
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, 2);
        lua_rawseti(L, -2, 1);                         /* job name list */
    }
    lua_replace(L, 2);                                 /* job names */
}

/* Models to be tried, best first. What ctx.plan shows is our own copy of the list. */
static void read_plan(lua_State *L, struct job *job)
{
    struct verdict *v = job->ret;
    size_t n;

    push_names(L);
    n = lua_rawlen(L, 2);
    if (n == 0 || n > PLAN_MAX) {
        snprintf(job->wrong, sizeof job->wrong, n ? "returned more than %d models" : "returned a table that names no model", PLAN_MAX);
        return;
    }
    lua_createtable(L, (int)n, 0);                     /* job names plan */
    for (size_t i = 0; i < n; i++) {
        const struct model *m;

        if (lua_rawgeti(L, 2, (lua_Integer)i + 1) != LUA_TSTRING) {   /* job names plan name */
            snprintf(job->wrong, sizeof job->wrong, "returned a list with a %s among the names of models", luaL_typename(L, -1));
            return;
        }
        m = gateway_model(job->x->gateway, lua_tostring(L, -1));
        if (!m) {
            snprintf(job->wrong, sizeof job->wrong, "returned \"%.60s\", but there is no model of that name", lua_tostring(L, -1));
            return;
        }
        v->plan[v->n_plan++] = m;
        lua_rawseti(L, 3, (lua_Integer)i + 1);         /* job names plan */
    }
    v->kind = VERDICT_ROUTE;
    exchange_push(L, job->x);                          /* job names plan x */
    lua_insert(L, 3);                                  /* job names x plan */
    lua_rawgeti(L, 4, 1);
    lua_rawseti(L, 3, X_TARGET);
    lua_rawseti(L, 3, X_PLAN);                         /* job names x */
    lua_settop(L, 2);
}

static void read_next(lua_State *L, struct job *job)   /* job word */
{
    const char *word = lua_tostring(L, 2);

    if (strcmp(word, "next") == 0)
        job->ret->kind = VERDICT_NEXT;
    else if (strcmp(word, "retry") == 0)
        job->ret->kind = VERDICT_RETRY;
    else if (strcmp(word, "fail") == 0)
        job->ret->kind = VERDICT_GIVE_UP;
    else
        snprintf(job->wrong, sizeof job->wrong, "returned the text \"%.60s\"", word);
}

static void read_verdict(lua_State *L, struct job *job)   /* job verdict */
{
    static const unsigned needs[] = { 0, MAY_REJECT, MAY_REPLY, MAY_STOP, MAY_DROP };
    lua_Integer said;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_said);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);                                 /* job verdict all fields */
    lua_replace(L, 2);
    lua_settop(L, 2);                                  /* job fields */
    lua_rawgeti(L, 2, 1);                              /* job fields said */
    said = lua_tointeger(L, -1);
    lua_pop(L, 1);                                     /* job verdict */
    if (said < SAID_REJECT || said > SAID_DROP || !(job->who->may & needs[said])) {
        snprintf(job->wrong, sizeof job->wrong, "returned %s", said >= SAID_REJECT && said <= SAID_DROP ? said_names[said] : "a verdict of no kind");
        return;
    }
    switch (said) {
    case SAID_REJECT:
        read_reject(L, job);
        break;
    case SAID_REPLY:
        read_answer(L, job, VERDICT_REPLY);
        break;
    case SAID_STOP:
        read_answer(L, job, VERDICT_STOP);
        break;
    default:
        job->dropped = true;
        break;
    }
}

static int read_entry(lua_State *L)                    /* (job, value) */
{
    struct job *job = lua_touserdata(L, 1);
    struct vm *vm = vm_of(L);
    int type = lua_type(L, 2);

    if (verdict_is(vm, L, 2)) {
        read_verdict(L, job);
    } else if ((type == LUA_TSTRING || type == LUA_TTABLE) && (job->who->may & MAY_ROUTE)) {
        read_plan(L, job);
    } else if (type == LUA_TSTRING && (job->who->may & MAY_NEXT)) {
        read_next(L, job);
    } else if (type == LUA_TSTRING) {
        snprintf(job->wrong, sizeof job->wrong, "returned the text \"%.60s\"", lua_tostring(L, 2));
    } else if (type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
        snprintf(job->wrong, sizeof job->wrong, "returned %s", luaL_tolstring(L, 2, NULL));
    } else {
        snprintf(job->wrong, sizeof job->wrong, "returned a %s", lua_typename(L, type));
    }
    return 0;
}

void verdict_read(struct exchange *x, struct call *c, int idx, const struct sayer *who, struct verdict *ret, bool *dropped)
{
    struct job job = { x, who, ret, false, "" };
    lua_State *L = c->co;

    memset(ret, 0, sizeof *ret);
    idx = lua_absindex(L, idx);
    if (!lua_checkstack(L, 10)) {
        verdict_wrong(x, who, ret, "returned something that no memory was left to read");
        return;
    }
    lua_pushcfunction(L, read_entry);                  /* f */
    lua_pushlightuserdata(L, &job);
    lua_pushvalue(L, idx);                             /* f job value */
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {             /* error */
        snprintf(job.wrong, sizeof job.wrong, "returned something that cannot be read: %.120s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error");
        lua_pop(L, 1);                                 /* */
    }
    if (job.wrong[0])
        verdict_wrong(x, who, ret, "%s", job.wrong);
    if (dropped)
        *dropped = job.dropped;
    else if (job.dropped)
        ret->kind = VERDICT_DROP;
}
