/* sluice.match: matchers as scripts hold them, opaque values with a few methods on whole texts. Filters run them in C, on text that arrives. */
#include <lauxlib.h>
#include <string.h>

#include "script/frozen.h"
#include "script/inside.h"
#include "script/match_value.h"

#define MATCHER "sluice.matcher"

struct matcher *match_value(lua_State *L, int idx)
{
    struct matcher **m = luaL_testudata(L, idx, MATCHER);
    return m ? *m : NULL;
}

static struct matcher **new_value(lua_State *L)        /* pushes it; empty until the matcher is made, so that nothing leaks when memory is short */
{
    struct matcher **m = lua_newuserdatauv(L, sizeof *m, 0);

    *m = NULL;
    luaL_setmetatable(L, MATCHER);
    return m;
}

static int free_value(lua_State *L)
{
    struct matcher **m = lua_touserdata(L, 1);

    matcher_drop(*m);
    *m = NULL;
    return 0;
}

static struct matcher *check(lua_State *L, int arg)
{
    struct matcher *m = match_value(L, arg);

    if (!m)
        luaL_argerror(L, arg, lua_pushfstring(L, "a matcher expected (call its methods with a colon), got %s", luaL_typename(L, arg)));
    return m;
}

static int value_text(lua_State *L)
{
    struct matcher *m = check(L, 1);
    lua_pushfstring(L, "<match %s: %s>", matcher_kind(m), matcher_source(m));
    return 1;
}

/* ---- making */

static int match_regex(lua_State *L)                   /* regex(pattern, kind) -> matcher: PCRE2 */
{
    size_t len;
    const char *pattern = luaL_checklstring(L, 1, &len), *kind = luaL_optstring(L, 2, "regex"), *wrong;
    struct matcher **m = new_value(L);

    *m = matcher_regex(pattern, len, kind, &wrong);
    return *m ? 1 : luaL_error(L, "sluice.match.regex \"%s\": %s", pattern, wrong);
}

static int match_pattern(lua_State *L)                 /* pattern(pattern, kind) -> matcher: a Lua pattern */
{
    size_t len;
    const char *pattern = luaL_checklstring(L, 1, &len), *kind = luaL_optstring(L, 2, "pattern"), *wrong;
    struct matcher **m = new_value(L);

    *m = matcher_pattern(pattern, len, kind, &wrong);
    return *m ? 1 : luaL_error(L, "sluice.match.pattern \"%s\": %s", pattern, wrong);
}

static bool option(lua_State *L, const char *name)
{
    bool set;

    lua_getfield(L, 2, name);
    set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static int match_words(lua_State *L)                   /* words(list, { fold, whole, kind }) -> matcher */
{
    struct words_options o = { 0 };
    const char *kind = "word", *wrong, **words;
    size_t n, *lens;
    struct matcher **m;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (frozen_behind(L, 1))                           /* an option's list */
        lua_replace(L, 1);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
            const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
            if (strcmp(key, "fold") != 0 && strcmp(key, "whole") != 0 && strcmp(key, "kind") != 0)
                return luaL_error(L, "sluice.match.words has no option \"%s\" (it has fold, whole and kind)", key);
        }
        o.fold = option(L, "fold");
        o.whole = option(L, "whole");
        if (lua_getfield(L, 2, "kind") == LUA_TSTRING)
            kind = lua_tostring(L, -1);                /* stays in the options' table */
        lua_pop(L, 1);
    }
    n = lua_rawlen(L, 1);
    words = lua_newuserdatauv(L, (n + 1) * sizeof *words, 0);
    lens = lua_newuserdatauv(L, (n + 1) * sizeof *lens, 0);
    for (size_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) != LUA_TSTRING)
            return luaL_error(L, "sluice.match.words: entry %d is no text", (int)i + 1);
        words[i] = lua_tolstring(L, -1, &lens[i]);     /* stays in the list */
        lua_pop(L, 1);
    }
    m = new_value(L);
    *m = matcher_words(words, lens, n, &o, kind, &wrong);
    return *m ? 1 : luaL_error(L, "sluice.match.words: %s", wrong);
}

static int match_any(lua_State *L)                     /* any { matcher, ... } -> matcher: the leftmost match; at the same place the first of the list */
{
    struct matcher **list, **m;
    size_t n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_rawlen(L, 1);
    luaL_argcheck(L, n > 0, 1, "an empty list never matches");
    list = lua_newuserdatauv(L, n * sizeof *list, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        list[i] = match_value(L, -1);
        if (!list[i])
            return luaL_error(L, "sluice.match.any: entry %d is a %s, not a matcher", (int)i + 1, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    m = new_value(L);
    *m = matcher_any(list, n);
    return 1;
}

static int match_is(lua_State *L)                      /* is(value) -> boolean */
{
    lua_pushboolean(L, match_value(L, 1) != NULL);
    return 1;
}

/* parts(matcher) -> { { form, kind, source }, ... }: what it looks for, for the tools */
static void add_parts(lua_State *L, struct matcher *m)      /* list -> list */
{
    struct matcher *const *members;
    size_t n = matcher_members(m, &members);

    luaL_checkstack(L, 4, "matchers within matchers");
    for (size_t i = 0; i < n; i++)
        add_parts(L, members[i]);
    if (n > 0)
        return;
    lua_createtable(L, 0, 3);                          /* list part */
    lua_pushstring(L, matcher_form(m));
    lua_setfield(L, -2, "form");
    lua_pushstring(L, matcher_kind(m));
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, matcher_source(m));
    lua_setfield(L, -2, "source");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);   /* list */
}

static int match_parts(lua_State *L)
{
    struct matcher *m = check(L, 1);

    lua_newtable(L);
    add_parts(L, m);
    return 1;
}

/* ---- a match as scripts see it: text, kind, and its captures by number */

void match_push(lua_State *L, const char *text, const struct match *hit, size_t gone)
{
    lua_createtable(L, hit->n, 2);
    lua_pushlstring(L, text + hit->from, hit->to - hit->from);
    lua_setfield(L, -2, "text");
    lua_pushstring(L, matcher_kind(hit->by));
    lua_setfield(L, -2, "kind");
    for (int i = 0; i < hit->n; i++) {
        if (hit->capture[i].from < 0)
            lua_pushboolean(L, 0);                     /* took no part */
        else if (hit->capture[i].len < 0)
            lua_pushinteger(L, (lua_Integer)gone + hit->capture[i].from + 1);
        else
            lua_pushlstring(L, text + hit->capture[i].from, (size_t)hit->capture[i].len);
        lua_rawseti(L, -2, i + 1);
    }
}

/* ---- methods, on whole texts */

static enum match_got next_match(lua_State *L, const struct matcher *m, struct match_text *t, struct match *hit)
{
    enum match_got got = matcher_find(m, t, hit);

    if (got == MATCH_TOO_MUCH)
        luaL_error(L, "the pattern \"%s\" needs too many steps on this text", matcher_source(m));
    return got;
}

static int value_find(lua_State *L)                    /* m:find(text, init) -> from, to | nil */
{
    struct matcher *m = check(L, 1);
    struct match_text t = { .starts = true, .last = true };
    struct match hit;

    t.bytes = luaL_checklstring(L, 2, &t.len);
    lua_Integer init = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, init >= 1, 3, "must be at least 1");
    t.at = (size_t)init - 1 < t.len ? (size_t)init - 1 : t.len;
    if (next_match(L, m, &t, &hit) != MATCH_HIT)
        return 0;
    lua_pushinteger(L, (lua_Integer)hit.from + 1);
    lua_pushinteger(L, (lua_Integer)hit.to);
    return 2;
}

static int value_gsub(lua_State *L)                    /* m:gsub(text, replacement) -> text, count; replacement: a text, or function(match) -> text | nil */
{
    struct matcher *m = check(L, 1);
    struct match_text t = { .starts = true, .last = true };
    struct match hit;
    luaL_Buffer b;
    lua_Integer n = 0;

    t.bytes = luaL_checklstring(L, 2, &t.len);
    luaL_argexpected(L, lua_isstring(L, 3) || lua_isfunction(L, 3), 3, "string or function");
    lua_settop(L, 3);
    luaL_buffinit(L, &b);
    while (next_match(L, m, &t, &hit) == MATCH_HIT) {
        luaL_addlstring(&b, t.bytes + t.at, hit.from - t.at);
        if (lua_isfunction(L, 3)) {
            lua_pushvalue(L, 3);
            match_push(L, t.bytes, &hit, 0);
            lua_call(L, 1, 1);
            vm_not_caught(L, LUA_OK);
            if (!lua_toboolean(L, -1)) {
                lua_pop(L, 1);
                lua_pushlstring(L, t.bytes + hit.from, hit.to - hit.from);
            } else if (!lua_isstring(L, -1)) {
                return luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
            }
        } else {
            lua_pushvalue(L, 3);
        }
        luaL_addvalue(&b);
        t.at = hit.to;
        n++;
    }
    luaL_addlstring(&b, t.bytes + t.at, t.len - t.at);
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

static int value_kind(lua_State *L)                    /* m:kind() -> the word that its matches are told by */
{
    lua_pushstring(L, matcher_kind(check(L, 1)));
    return 1;
}

int match_open(lua_State *L)
{
    static const luaL_Reg make[] = { { "regex", match_regex }, { "pattern", match_pattern }, { "words", match_words }, { "any", match_any }, { NULL, NULL } };
    static const luaL_Reg methods[] = { { "find", value_find }, { "gsub", value_gsub }, { "kind", value_kind }, { NULL, NULL } };
    const char *name;

    luaL_newmetatable(L, MATCHER);                     /* mt */
    lua_pushcfunction(L, free_value);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, value_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, make);                              /* lib */
    for (size_t i = 0; (name = matcher_known_name(i)) != NULL; i++) {
        *new_value(L) = matcher_known(name);
        lua_setfield(L, -2, name);
    }
    return 1;
}

int match_is_open(lua_State *L)
{
    lua_pushcfunction(L, match_is);
    return 1;
}

int match_parts_open(lua_State *L)
{
    lua_pushcfunction(L, match_parts);
    return 1;
}
