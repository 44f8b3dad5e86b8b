/* The calls of filters: raw, on units, on matches. Each is shown text and says what becomes of it. */
#include <stdlib.h>
#include <string.h>

#include "script/exchange_inside.h"
#include "script/match_value.h"
#include "wire/utf8.h"

struct filter_job { struct exchange *x; const struct filter *filter; const char *text; size_t len; int part; };

static int filter_entry(lua_State *L)                  /* (job) */
{
    struct filter_job *job = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->filter->fn_ref);
    lua_pushlstring(L, job->text ? job->text : "", job->len);
    exchange_push_ctx(L, job->x, job->filter->policy);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_parts[job->part]);   /* f text ctx part */
    lua_callk(L, 3, LUA_MULTRET, 0, exchange_results);
    return lua_gettop(L);
}

enum call_state exchange_filter(struct exchange *x, struct call *c, size_t i, const char *text, size_t len, enum channel channel, bool last)
{
    struct filter_job job = { x, &x->route->filters[i], text, len, (int)channel * 2 + last };

    exchange_begin(x, c, FILTER_MS, job.filter->policy, "filter");
    return exchange_start(c, filter_entry, &job);
}

struct glue_job { const char *a, *b; size_t a_len, b_len, move; };

static int glue_entry(lua_State *L)                    /* (job) -> the end of a, and b */
{
    struct glue_job *job = lua_touserdata(L, 1);

    lua_pushlstring(L, job->a + job->a_len - job->move, job->move);
    lua_pushlstring(L, job->b, job->b_len);
    lua_concat(L, 2);
    return 1;
}

/* A filter that cuts by bytes may cut inside a character: then its first bytes are held too. False: the texts are no UTF-8 however one cuts. */
static bool mend_cut(struct call *c, struct filter_result *r)
{
    struct glue_job job = { r->released, r->held, r->released_len, r->held_len, 0 };
    uint32_t cp;

    if (utf8_valid(r->released, r->released_len) && utf8_valid(r->held, r->held_len))
        return true;
    for (size_t k = 1; k <= 3 && k <= r->released_len; k++) {
        const char *from = r->released + r->released_len - k;

        if (((unsigned char)*from & 0xC0) == 0x80)
            continue;                                  /* within a character: its beginning is further left */
        if (utf8_next(from, r->released + r->released_len, &cp) == 0)
            job.move = k;
        break;
    }
    if (job.move == 0 || !lua_checkstack(c->co, 6))
        return false;
    lua_pushcfunction(c->co, glue_entry);
    lua_pushlightuserdata(c->co, &job);
    if (lua_pcall(c->co, 1, 1, 0) != LUA_OK) {         /* error */
        lua_pop(c->co, 1);
        return false;
    }
    r->released_len -= job.move;
    r->held = lua_tolstring(c->co, -1, &r->held_len);  /* held: stays there until call_finish */
    return utf8_valid(r->released, r->released_len) && utf8_valid(r->held, r->held_len);
}

/* What a match is replaced by: replace(m, ctx). */
struct replace_job { struct exchange *x; const struct filter *filter; const char *text; const struct match *hit; size_t gone; };

static int replace_entry(lua_State *L)                 /* (job) */
{
    struct replace_job *job = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->filter->fn_ref);
    match_push(L, job->text, job->hit, job->gone);
    exchange_push_ctx(L, job->x, job->filter->policy); /* f m ctx */
    lua_callk(L, 2, LUA_MULTRET, 0, exchange_results);
    return lua_gettop(L);
}

enum call_state exchange_replace(struct exchange *x, struct call *c, size_t i, const char *text, const struct match *hit, size_t gone)
{
    struct replace_job job = { x, &x->route->filters[i], text, hit, gone };

    exchange_begin(x, c, FILTER_MS, job.filter->policy, "filter");
    return exchange_start(c, replace_entry, &job);
}

/* Asked once a block: does the filter apply, to what unit, what does it look for? */
struct block_job { struct exchange *x; const struct filter *filter; struct filter_block *block; };

static void push_function(lua_State *L, int ref)
{
    if (ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

static int block_entry(lua_State *L)                   /* (job) */
{
    struct block_job *job = lua_touserdata(L, 1);

    exchange_push_function(L, "block");
    push_function(L, job->filter->when_ref);
    push_function(L, job->filter->unit_ref);
    push_function(L, job->filter->match_ref);
    exchange_push_ctx(L, job->x, job->filter->policy);
    lua_pushboolean(L, job->filter->judges);
    lua_call(L, 5, 5);                                 /* job applies kind chars overlap matcher */
    job->block->applies = lua_toboolean(L, 2);
    if (match_value(L, 6))
        job->block->match = matcher_keep(match_value(L, 6));
    if (lua_isinteger(L, 3))
        job->block->unit = (struct unit){ .kind = (int)lua_tointeger(L, 3), .chars = (size_t)lua_tointeger(L, 4), .overlap = (size_t)lua_tointeger(L, 5) };
    return 0;
}

enum call_state exchange_block(struct exchange *x, struct call *c, size_t i, struct filter_block *ret)
{
    const struct filter *f = &x->route->filters[i];
    struct block_job job = { x, f, ret };

    *ret = (struct filter_block){ .applies = true, .unit = f->unit };
    return exchange_run(x, c, block_entry, &job, FILTER_MS, "a filter's when and unit may not wait");
}

void exchange_filter_result(struct exchange *x, struct call *c, size_t i, const char *text, size_t len, struct filter_result *ret)
{
    const struct filter *f = &x->route->filters[i];
    struct sayer who = { x->route->policies[f->policy].name, "filter", f->fn_ref, MAY_REJECT | MAY_STOP | (f->judges ? 0u : MAY_DROP) };
    lua_State *co = c->co;
    int first = lua_gettop(co) - c->n_results + 1;
    int type = c->n_results > 0 ? lua_type(co, first) : LUA_TNIL;
    bool has_held = c->n_results > 1 && !lua_isnil(co, first + 1);
    bool moves = c->n_results > 2 && !lua_isnil(co, first + 2);
    bool dropped = false;

    memset(ret, 0, sizeof *ret);
    ret->kind = FILTER_PASS;
    ret->released = ret->held = ret->moved = "";
    if (type == LUA_TNIL && !has_held && !moves)
        return;
    if (f->kind != FILTER_RAW && (has_held || (f->judges && type == LUA_TSTRING))) {
        ret->kind = FILTER_VERDICT;
        verdict_wrong(x, &who, &ret->verdict, "%s", f->judges ? "returned a text, but a check only judges"
                                                              : "returned a text to hold, which only a filter with the unit \"delta\" may");
        return;
    }
    if (moves && (f->kind != FILTER_RAW || lua_type(co, first + 2) != LUA_TSTRING)) {
        ret->kind = FILTER_VERDICT;
        verdict_wrong(x, &who, &ret->verdict, f->kind != FILTER_RAW ? "returned a text for the reasoning channel, which only a filter with the unit \"delta\" may"
                                                                    : "returned a %s as the text for the reasoning channel", luaL_typename(co, first + 2));
        return;
    }
    if (type != LUA_TNIL && type != LUA_TSTRING) {
        ret->kind = FILTER_VERDICT;
        verdict_read(x, c, first, &who, &ret->verdict, &dropped);
        if (dropped)
            ret->kind = FILTER_TEXT;
        return;
    }
    if (has_held && lua_type(co, first + 1) != LUA_TSTRING) {
        ret->kind = FILTER_VERDICT;
        verdict_wrong(x, &who, &ret->verdict, "returned a %s as the text to hold", luaL_typename(co, first + 1));
        return;
    }
    ret->kind = FILTER_TEXT;
    if (has_held)
        ret->held = lua_tolstring(co, first + 1, &ret->held_len);
    if (type == LUA_TSTRING) {
        ret->released = lua_tolstring(co, first, &ret->released_len);
    } else {
        if (ret->held_len > len || (ret->held_len > 0 && memcmp(text + len - ret->held_len, ret->held, ret->held_len) != 0)) {
            ret->kind = FILTER_VERDICT;
            verdict_wrong(x, &who, &ret->verdict, "returned nil and a text to hold that is no ending of the text it got");
            return;
        }
        ret->released = text;
        ret->released_len = len - ret->held_len;
    }
    if (moves)
        ret->moved = lua_tolstring(co, first + 2, &ret->moved_len);
    if (ret->moved_len == 0 && ret->held_len == 0 && ret->released_len == len && (len == 0 || memcmp(ret->released, text, len) == 0)) {
        ret->kind = FILTER_PASS;
        return;
    }
    if (!mend_cut(c, ret) || !utf8_valid(ret->moved, ret->moved_len)) {
        ret->kind = FILTER_VERDICT;
        verdict_wrong(x, &who, &ret->verdict, "returned a text that is no valid UTF-8");
    }
}
