/* The string library of the sandbox: nothing that runs away. Pattern functions work within a step budget (pattern.h), results are at most TEXT_MAX. */
#include <lualib.h>
#include <string.h>

#include "script/inside.h"
#include "match/pattern.h"

static int too_large(lua_State *L, const char *what)
{
    return luaL_error(L, "string.%s would make a string of more than 16 MiB", what);
}

static int str_rep(lua_State *L)                       /* s:rep(n, sep) -> string */
{
    size_t l, lsep, total;
    const char *s = luaL_checklstring(L, 1, &l);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *sep = luaL_optlstring(L, 3, "", &lsep);
    luaL_Buffer b;
    char *p;

    if (n <= 0 || l + lsep == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((size_t)n > TEXT_MAX || l + lsep > TEXT_MAX / (size_t)n)
        return too_large(L, "rep");
    total = (size_t)n * l + (size_t)(n - 1) * lsep;
    p = luaL_buffinitsize(L, &b, total);
    memcpy(p, s, l);
    if (n > 1)
        memcpy(p + l, sep, lsep);
    for (size_t have = l + lsep; have < total; have *= 2)      /* what is there already, again */
        memcpy(p + have, p, have < total - have ? have : total - have);
    luaL_pushresultsize(&b, total);
    return 1;
}

static int str_format(lua_State *L)                    /* string.format(fmt, ...), upvalue: the stock one */
{
    size_t total = 0;

    for (int i = 1; i <= lua_gettop(L); i++) {
        size_t len = 128;

        if (lua_type(L, i) == LUA_TSTRING)
            len = lua_rawlen(L, i) * (i == 1 ? 1 : 4); /* %q may write \ddd for a byte */
        total += len;
        if (total > TEXT_MAX * 4)
            return too_large(L, "format");
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);                                  /* format args... */
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- patterns */

#define STEPS_BASE 1000000                             /* about 6 ms */
#define STEPS_PER_BYTE 64

union room { struct pattern_run align; unsigned char bytes[1024]; };   /* for the pattern of one call; larger ones lie in a userdata */

/* May push a userdata that holds the pattern: it stays on the stack while the pattern is used. */
static struct pattern *compile(lua_State *L, int idx, bool anchors, union room *room)
{
    size_t len;
    const char *text = lua_tolstring(L, idx, &len), *wrong;
    size_t size = pattern_size(text, len);
    struct pattern *p = size <= sizeof *room ? (struct pattern *)(void *)room : lua_newuserdatauv(L, size, 0);

    wrong = pattern_compile(p, text, len, anchors);
    if (wrong)
        luaL_error(L, "%s", wrong);
    return p;
}

static void begin(lua_State *L, struct pattern_run *r, const char *s, size_t len)
{
    r->begin = s;
    r->end = s + len;
    r->steps = STEPS_BASE + (int64_t)len * STEPS_PER_BYTE;
    r->kill = &vm_of(L)->killed;
    r->stop = PATTERN_GOES_ON;
    r->touched_end = false;
}

/* After a run that found nothing: did it give up? */
static void check_stop(lua_State *L, const struct pattern_run *r)
{
    switch (r->stop) {
    case PATTERN_GOES_ON:
        break;
    case PATTERN_KILLED:
        vm_end_killed(L);
        break;
    case PATTERN_TOO_COMPLEX:
        luaL_error(L, "pattern too complex");
        break;
    case PATTERN_OUT_OF_STEPS:
        luaL_error(L, "this pattern needs too many steps on a text of %d bytes; use fewer * + - ? items, or anchor it", (int)(r->end - r->begin));
        break;
    }
}

/* Capture i of the match [from, to): the whole match when the pattern has none. */
static void push_capture(lua_State *L, const struct pattern *p, const struct pattern_run *r, int i, const char *from, const char *to)
{
    if (i >= pattern_captures(p)) {
        if (i != 0)
            luaL_error(L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(L, from, (size_t)(to - from));
    } else if (r->capture[i].len == PATTERN_POSITION) {
        lua_pushinteger(L, r->capture[i].at - r->begin + 1);
    } else {
        lua_pushlstring(L, r->capture[i].at, (size_t)r->capture[i].len);
    }
}

static int push_captures(lua_State *L, const struct pattern *p, const struct pattern_run *r, const char *from, const char *to, bool whole)
{
    int n = pattern_captures(p) == 0 && whole ? 1 : pattern_captures(p);

    luaL_checkstack(L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(L, p, r, i, from, to);
    return n;
}

/* The offset that a script's `init` means; beyond the end: len + 1. */
static size_t offset(lua_Integer init, size_t len)
{
    if (init > 0)
        return (size_t)init - 1 > len ? len + 1 : (size_t)init - 1;
    if (init == 0 || init < -(lua_Integer)len)
        return 0;
    return len + (size_t)init;                         /* init is negative: wraps to a subtraction */
}

static bool plain(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] && strchr("^$*+?.([%-", s[i]))
            return false;
    }
    return true;
}

static int find_or_match(lua_State *L, bool find)
{
    union room room;
    struct pattern_run r;
    size_t len, plen, at;
    const char *s = luaL_checklstring(L, 1, &len), *pat = luaL_checklstring(L, 2, &plen), *from, *to;
    const struct pattern *p;

    at = offset(luaL_optinteger(L, 3, 1), len);
    if (at > len) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || plain(pat, plen))) {
        from = plen == 0 ? s + at : memmem(s + at, len - at, pat, plen);
        if (!from) {
            luaL_pushfail(L);
            return 1;
        }
        lua_pushinteger(L, from - s + 1);
        lua_pushinteger(L, from - s + (lua_Integer)plen);
        return 2;
    }
    p = compile(L, 2, true, &room);
    begin(L, &r, s, len);
    from = pattern_find(p, &r, s + at, &to);
    if (!from) {
        check_stop(L, &r);
        luaL_pushfail(L);
        return 1;
    }
    if (!find)
        return push_captures(L, p, &r, from, to, true);
    lua_pushinteger(L, from - s + 1);
    lua_pushinteger(L, to - s);
    return push_captures(L, p, &r, from, to, false) + 2;
}

static int str_find(lua_State *L) { return find_or_match(L, true); }     /* s:find(pattern, init, plain) */
static int str_match(lua_State *L) { return find_or_match(L, false); }   /* s:match(pattern, init) */

struct walk {                                          /* gmatch's: the pattern lies behind it */
    struct pattern_run r;
    const char *at, *last;                             /* where to look on; the end of the last match */
};

static int gmatch_next(lua_State *L)                   /* upvalues: text, walk */
{
    struct walk *w = lua_touserdata(L, lua_upvalueindex(2));
    const struct pattern *p = (const struct pattern *)(const void *)(w + 1);
    const char *from, *to;

    begin(L, &w->r, w->r.begin, (size_t)(w->r.end - w->r.begin));
    while (w->at <= w->r.end) {
        from = pattern_find(p, &w->r, w->at, &to);
        if (!from) {
            check_stop(L, &w->r);
            w->at = w->r.end + 1;
            break;
        }
        w->at = to;
        if (to != w->last) {
            w->last = to;
            return push_captures(L, p, &w->r, from, to, true);
        }
        w->at = from + 1;                              /* empty, where the last one ended */
    }
    return 0;
}

static int str_gmatch(lua_State *L)                    /* s:gmatch(pattern, init) -> iterator */
{
    size_t len, plen, at;
    const char *s = luaL_checklstring(L, 1, &len), *pat = luaL_checklstring(L, 2, &plen), *wrong;
    struct walk *w;

    at = offset(luaL_optinteger(L, 3, 1), len);
    lua_settop(L, 2);
    w = lua_newuserdatauv(L, sizeof *w + pattern_size(pat, plen), 0);   /* s pattern walk */
    wrong = pattern_compile((struct pattern *)(void *)(w + 1), pat, plen, false);
    if (wrong)
        return luaL_error(L, "%s", wrong);
    begin(L, &w->r, s, len);
    w->at = s + at;
    w->last = NULL;
    lua_remove(L, 2);                                  /* s walk */
    lua_pushcclosure(L, gmatch_next, 2);               /* iterator */
    return 1;
}

/* The replacement text: %0 to %9, %%. */
static void add_text(lua_State *L, luaL_Buffer *b, const struct pattern *p, const struct pattern_run *r, const char *from, const char *to)
{
    size_t len;
    const char *s = lua_tolstring(L, 3, &len), *end = s + len;

    while (s < end) {
        const char *percent = memchr(s, '%', (size_t)(end - s));

        if (!percent) {
            luaL_addlstring(b, s, (size_t)(end - s));
            return;
        }
        luaL_addlstring(b, s, (size_t)(percent - s));
        s = percent + 1;
        if (s < end && *s == '%') {
            luaL_addchar(b, '%');
        } else if (s < end && *s == '0') {
            luaL_addlstring(b, from, (size_t)(to - from));
        } else if (s < end && *s >= '1' && *s <= '9') {
            if (*s - '1' >= pattern_captures(p) && *s != '1')
                luaL_error(L, "invalid capture index %%%d in replacement string", *s - '0');
            push_capture(L, p, r, *s - '1', from, to);
            luaL_tolstring(L, -1, NULL);               /* a position becomes its digits */
            lua_remove(L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
        s++;
    }
}

/* Appends what stands for the match. False: it stays as it was. */
static bool add_replacement(lua_State *L, luaL_Buffer *b, const struct pattern *p, const struct pattern_run *r, const char *from, const char *to)
{
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, p, r, from, to, true), 1);
        break;
    case LUA_TTABLE:
        push_capture(L, p, r, 0, from, to);
        lua_gettable(L, 3);
        break;
    default:
        add_text(L, b, p, r, from, to);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, from, (size_t)(to - from));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int str_gsub(lua_State *L)                      /* s:gsub(pattern, replacement, n) -> string, count */
{
    union room room;
    struct pattern_run r;
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len), *at = s, *last = NULL;
    const struct pattern *p;
    lua_Integer most, n = 0;
    bool changed = false;
    luaL_Buffer b;
    int type = lua_type(L, 3);

    luaL_checkstring(L, 2);
    most = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3, "string/function/table");
    p = compile(L, 2, true, &room);
    begin(L, &r, s, len);
    luaL_buffinit(L, &b);
    while (n < most) {
        const char *to, *from = pattern_find(p, &r, at, &to);

        if (!from) {
            check_stop(L, &r);
            break;
        }
        luaL_addlstring(&b, at, (size_t)(from - at));
        if (to != last) {
            n++;
            changed |= add_replacement(L, &b, p, &r, from, to);
            at = last = to;
        } else {                                       /* empty, where the last one ended */
            at = from;
            if (at == r.end)
                break;
            luaL_addchar(&b, *at++);
        }
        if (luaL_bufflen(&b) > TEXT_MAX)
            return too_large(L, "gsub");
        if (pattern_anchored(p))
            break;
    }
    if (!changed) {
        lua_pushvalue(L, 1);
    } else {
        luaL_addlstring(&b, at, (size_t)(r.end - at));
        luaL_pushresult(&b);
    }
    lua_pushinteger(L, n);
    return 2;
}

int strings_open(lua_State *L)
{
    static const char *const kept[] = { "byte", "char", "len", "lower", "pack", "packsize", "reverse", "sub", "unpack", "upper", NULL };
    static const luaL_Reg own[] = { { "rep", str_rep }, { "find", str_find }, { "match", str_match }, { "gmatch", str_gmatch }, { "gsub", str_gsub }, { NULL, NULL } };

    lua_newtable(L);                                   /* lib */
    lua_getglobal(L, "string");                        /* lib stock */
    for (int i = 0; kept[i]; i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_getfield(L, -1, "format");                     /* lib stock format */
    lua_pushcclosure(L, str_format, 1);
    lua_setfield(L, -3, "format");                     /* lib stock */
    lua_pop(L, 1);                                     /* lib */
    luaL_setfuncs(L, own, 0);

    /* Methods on strings are these too, and no script sees the metatable. */
    lua_pushliteral(L, "");                            /* lib "" */
    lua_getmetatable(L, -1);                           /* lib "" mt */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);                                     /* lib */
    return 1;
}
