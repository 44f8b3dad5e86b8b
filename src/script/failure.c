/* Failures on their way to a client: the error hooks may change them, the front writes their body. Neither can make things worse: when Lua fails
 * here, the failure goes out as it was, in the token front's words.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/exchange_inside.h"
#include "wire/json.h"

struct error_job { struct exchange *x; struct failure *f; const struct hook_entry *entry; struct buf *out; };

static void push_text(lua_State *L, const char *s)
{
    if (s)
        lua_pushstring(L, s);
    else
        lua_pushnil(L);
}

int exchange_push_failure(lua_State *L, const struct failure *f)
{
    lua_pushinteger(L, f->status);
    push_text(L, f->code ? f->code : "internal_error");
    push_text(L, f->message ? f->message : "something went wrong");
    push_text(L, f->kind ? f->kind : "gateway");
    lua_pushboolean(L, f->headers_sent);
    push_text(L, f->type);
    push_text(L, f->policy);
    push_text(L, f->hook);
    if (f->retry_after >= 0)
        lua_pushinteger(L, f->retry_after);
    else
        lua_pushnil(L);
    if (f->upstream_status)
        lua_pushinteger(L, f->upstream_status);
    else
        lua_pushnil(L);
    push_text(L, f->upstream_code);
    push_text(L, f->upstream_param);
    return 12;
}

#define SENTENCE_MAX 500                               /* bytes of a front's or a dialect's sentence */

void failure_take(struct failure *f, struct failure *from)
{
    char *end;

    failure_free(f);
    *f = *from;
    memset(from, 0, sizeof *from);
    if (!f->message || strlen(f->message) <= SENTENCE_MAX)
        return;
    end = f->message + SENTENCE_MAX - 3;
    while (((unsigned char)*end & 0xC0) == 0x80)       /* within a character */
        end--;
    memcpy(end, "...", 4);
}

static void take_text(lua_State *L, int idx, char **to)
{
    if (lua_type(L, idx) == LUA_TSTRING) {
        free(*to);
        *to = mem_string(lua_tostring(L, idx));
    }
}

static int error_entry(lua_State *L)                   /* (job) */
{
    struct error_job *job = lua_touserdata(L, 1);
    struct failure *f = job->f;

    exchange_push_function(L, "error_hook");
    exchange_push(L, job->x);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->entry->fn_ref);
    exchange_push_ctx(L, job->x, job->entry->policy);
    exchange_push_failure(L, f);
    lua_call(L, 15, 5);                                /* job status code message type retry_after */
    if (!lua_isnil(L, 3) || !lua_isnil(L, 4))          /* the hook says it in its own words */
        failure_set_upstream(f, NULL, NULL);
    if (lua_isinteger(L, 2))
        f->status = (int)lua_tointeger(L, 2);
    take_text(L, 3, &f->code);
    take_text(L, 4, &f->message);
    take_text(L, 5, &f->type);
    if (lua_isinteger(L, 6))
        f->retry_after = lua_tointeger(L, 6);
    return 0;
}

void exchange_shape_error(struct exchange *x, struct failure *f, void (*ran)(void *arg, int policy, const struct call *c, bool failed), void *arg)
{
    if (x->ref == LUA_NOREF)
        return;
    for (size_t i = 0; i < x->route->n_hooks[HOOK_ERROR]; i++) {
        const struct hook_entry *entry = &x->route->hooks[HOOK_ERROR][i];
        struct error_job job = { x, f, entry, NULL };
        struct call c;

        if (x->off & 1ull << entry->policy)
            continue;
        bool failed = exchange_run(x, &c, error_entry, &job, HOOK_MS, "the hook error may not wait") == CALL_FAILED || c.n_results > 0;
        if (ran)
            ran(arg, entry->policy, &c, failed);
        if (failed)
            log_say(LOG_ERROR, "policy.error", "hook \"error\" of policy \"%s\": %s", x->route->policies[entry->policy].name,
                    c.message ? c.message : "raised a verdict, which it may not");
        call_finish(&c);
    }
}

static int body_entry(lua_State *L)                    /* (job) */
{
    struct error_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push_function(L, "error_body");
    exchange_push(L, job->x);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->x->front->error_ref);
    exchange_push_failure(L, job->f);
    lua_call(L, 14, 1);                                /* job json */
    s = lua_tolstring(L, -1, &len);
    buf_append(job->out, s, len);
    return 0;
}

void exchange_error_body(struct exchange *x, const struct failure *f, struct buf *out)
{
    struct failure copy = *f;                          /* only read */
    struct error_job job = { x, &copy, NULL, out };
    const char *message = f->message ? f->message : "something went wrong";
    struct call c;
    bool good = false;

    if (x->ref != LUA_NOREF) {
        good = exchange_run(x, &c, body_entry, &job, HOOK_MS, "a front may not wait") == CALL_RETURNED && c.n_results == 0;
        if (!good)
            log_say(LOG_ERROR, "front.failed", "%s", c.message ? c.message : "the front's error raised a verdict");
        call_finish(&c);
    }
    if (good)
        return;
    buf_puts(out, "{\"error\":");
    json_put_string(out, message, strlen(message));
    buf_puts(out, ",\"code\":");
    json_put_string(out, f->code ? f->code : "internal_error", strlen(f->code ? f->code : "internal_error"));
    buf_putc(out, '}');
}
