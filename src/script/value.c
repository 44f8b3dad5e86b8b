/* The codec between Lua values and JSON. Decoding pulls tokens and builds tables; encoding walks tables raw and never raises. */
#include "script/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/frozen.h"
#include "script/inside.h"
#include "script/secret_value.h"
#include "wire/json.h"
#include "wire/utf8.h"

const char value_order_key = 'o';

/* ---- from JSON */

static void push_string(lua_State *L, const struct json_token *t)
{
    struct vm *vm = vm_of(L);
    struct utf8_mender mender = { { 0 }, 0 };
    struct buf *out = &vm->scratch;

    if (!t->escaped && utf8_valid(t->bytes, t->len)) {
        lua_pushlstring(L, t->bytes, t->len);          /* ... string */
        return;
    }
    out->len = 0;
    json_unescape(out, t->bytes, t->len);
    if (!utf8_valid(out->data, out->len)) {
        size_t raw = out->len;

        buf_reserve(out, raw * 3 + 8);
        utf8_mend(&mender, out, out->data, raw);       /* behind itself: the room is there, nothing moves */
        utf8_mend_end(&mender, out);
        lua_pushlstring(L, out->data + raw, out->len - raw);
    } else {
        lua_pushlstring(L, out->data ? out->data : "", out->len);      /* ... string */
    }
    if (out->cap > GROWN)
        buf_free(out);
}

static const char *push_number(lua_State *L, const struct json_token *t)
{
    struct buf *text = &vm_of(L)->scratch;
    const char *s;

    text->len = 0;
    buf_append(text, t->bytes, t->len);
    s = buf_cstr(text);
    if (strcmp(s, "-0") == 0)
        lua_pushnumber(L, -0.0);
    else if (lua_stringtonumber(L, s) == 0)
        return "a number that cannot be read";
    if (lua_type(L, -1) == LUA_TNUMBER && !lua_isinteger(L, -1) && isinf(lua_tonumber(L, -1))) {
        lua_pop(L, 1);
        return "a number that is too large";
    }
    return NULL;
}

static const char *push_value(lua_State *L, struct json_reader *r, struct json_token *t);

static const char *push_object(lua_State *L, struct json_reader *r)
{
    struct json_token t;
    const char *wrong;

    lua_newtable(L);                                   /* object */
    while (json_next(r, &t) == JSON_KEY) {
        push_string(L, &t);                            /* object key */
        json_next(r, &t);
        wrong = push_value(L, r, &t);                  /* object key value */
        if (wrong) {
            lua_pop(L, 2);
            return wrong;
        }
        lua_rawset(L, -3);                             /* object */
    }
    if (t.kind == JSON_OBJECT_END)
        return NULL;
    lua_pop(L, 1);                                     /* */
    return r->error ? r->error : "not JSON";
}

static const char *push_array(lua_State *L, struct json_reader *r)
{
    struct json_token t;
    lua_Integer n = 0;

    lua_newtable(L);                                   /* array */
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
    lua_setmetatable(L, -2);                           /* array */
    while (json_next(r, &t) != JSON_ARRAY_END) {
        const char *wrong = push_value(L, r, &t);      /* array value */

        if (wrong) {
            lua_pop(L, 1);
            return wrong;
        }
        lua_rawseti(L, -2, ++n);                       /* array */
    }
    return NULL;
}

/* Pushes the value that begins with token t; or pushes nothing and returns what is wrong. */
static const char *push_value(lua_State *L, struct json_reader *r, struct json_token *t)
{
    luaL_checkstack(L, 4, "JSON is nested too deeply");
    vm_not_caught(L, LUA_OK);
    switch (t->kind) {
    case JSON_OBJECT:
        return push_object(L, r);
    case JSON_ARRAY:
        return push_array(L, r);
    case JSON_STRING:
        push_string(L, t);
        return NULL;
    case JSON_NUMBER:
        return push_number(L, t);
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, t->kind == JSON_TRUE);
        return NULL;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        return NULL;
    default:
        return r->error ? r->error : "not JSON";
    }
}

const char *value_decode(lua_State *L, const char *json, size_t len)
{
    struct json_reader r;
    struct json_token t;
    const char *wrong;

    json_open(&r, json, len);
    json_next(&r, &t);
    wrong = push_value(L, &r, &t);                     /* value */
    if (wrong)
        return wrong;
    if (json_next(&r, &t) == JSON_END)
        return NULL;
    lua_pop(L, 1);                                     /* */
    return r.error ? r.error : "text behind the end of the JSON document";
}

/* ---- to JSON */

static _Thread_local char sentence[200];

static const char *cannot(const char *what)
{
    snprintf(sentence, sizeof sentence, "%s cannot be written as JSON", what);
    return sentence;
}

struct walk {
    lua_State *L;
    struct buf *out;
    size_t start;
    const volatile sig_atomic_t *kill;                 /* a big value takes long: the call's end is looked for */
    const void *path[JSON_MAX_DEPTH];                  /* the tables we are in */
    int depth;
};

static const char *put(struct walk *w, int idx);

static void put_float(struct buf *out, double d)
{
    char text[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    buf_puts(out, text);
    if (!strpbrk(text, ".e"))
        buf_puts(out, ".0");
}

static const char *put_array(struct walk *w, int t, lua_Integer n)
{
    const char *wrong = NULL;

    buf_putc(w->out, '[');
    for (lua_Integer i = 1; i <= n && !wrong; i++) {
        if (i > 1)
            buf_putc(w->out, ',');
        lua_rawgeti(w->L, t, i);                       /* ... value */
        wrong = put(w, lua_gettop(w->L));
        lua_pop(w->L, 1);
    }
    buf_putc(w->out, ']');
    return wrong;
}

struct member { const char *name; size_t len; int idx; lua_Integer rank; };

/* In the order that sluice.json.order gave, then by name. */
static int by_name(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t shorter = x->len < y->len ? x->len : y->len;
    int order;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    order = memcmp(x->name, y->name, shorter);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void rank_members(lua_State *L, int t, struct member *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        members[i].rank = LUA_MAXINTEGER;
    if (!lua_getmetatable(L, t))
        return;
    if (lua_rawgetp(L, -1, &value_order_key) == LUA_TTABLE) {    /* mt order */
        lua_Integer known = (lua_Integer)lua_rawlen(L, -1);

        for (lua_Integer k = 1; k <= known; k++) {
            const char *name = lua_rawgeti(L, -1, k) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;   /* mt order name */

            for (size_t i = 0; name && i < n; i++) {
                if (strcmp(members[i].name, name) == 0)
                    members[i].rank = k;
            }
            lua_pop(L, 1);                             /* mt order */
        }
    }
    lua_pop(L, 2);                                     /* */
}

/* The keys are put on the stack (nothing is allocated in Lua by that), sorted by an array beside it. */
static const char *put_object(struct walk *w, int t, size_t n)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);
    struct member *members;
    const char *wrong = NULL;
    size_t i = 0;

    if (n > 100000 || !lua_checkstack(L, (int)n + 8))
        return "a table has too many members to be written as JSON";
    members = mem_alloc((n ? n : 1) * sizeof *members);
    lua_pushnil(L);
    while (i < n && lua_next(L, t)) {                  /* keys... key value */
        lua_pop(L, 1);                                 /* keys... key */
        members[i].name = lua_tolstring(L, -1, &members[i].len);
        members[i].idx = lua_gettop(L);
        i++;
        lua_pushvalue(L, -1);                          /* keys... key key */
    }
    lua_settop(L, top + (int)n);                       /* keys... */
    rank_members(L, t, members, n);
    qsort(members, n, sizeof *members, by_name);
    buf_putc(w->out, '{');
    for (i = 0; i < n && !wrong; i++) {
        if (!utf8_valid(members[i].name, members[i].len)) {
            wrong = cannot("a key that is no valid UTF-8");
            break;
        }
        if (i > 0)
            buf_putc(w->out, ',');
        json_put_string(w->out, members[i].name, members[i].len);
        buf_putc(w->out, ':');
        lua_pushvalue(L, members[i].idx);
        lua_rawget(L, t);                              /* keys... value */
        wrong = put(w, lua_gettop(L));
        lua_pop(L, 1);
    }
    buf_putc(w->out, '}');
    lua_settop(L, top);
    free(members);
    return wrong;
}

static const char *put_table(struct walk *w, int t)
{
    lua_State *L = w->L;
    bool array = false, strings = true, numbers = true;
    lua_Integer highest = 0;
    size_t n = 0;

    if (frozen_behind(L, t)) {                         /* real: one of our read-only tables */
        const char *wrong = put(w, lua_gettop(L));

        lua_pop(L, 1);                                 /* */
        return wrong;
    }
    if (lua_getmetatable(L, t)) {                      /* mt */
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->ref_array_mt);
        array = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);                                 /* */
    }
    lua_pushnil(L);
    while (lua_next(L, t)) {                           /* key value */
        lua_pop(L, 1);                                 /* key */
        n++;
        if (lua_type(L, -1) == LUA_TSTRING) {
            numbers = false;
        } else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1) {
            strings = false;
            if (lua_tointeger(L, -1) > highest)
                highest = lua_tointeger(L, -1);
        } else {
            lua_pop(L, 1);
            return cannot("a table with a key that is neither text nor a position");
        }
    }
    if (array && !numbers)
        return cannot("a list with named members");
    if (array || (numbers && n > 0)) {
        if ((size_t)highest != n)
            return cannot("a list with holes");
        return put_array(w, t, highest);
    }
    if (!strings)
        return cannot("a table with both named members and positions");
    return put_object(w, t, n);
}

static const char *put(struct walk *w, int idx)
{
    lua_State *L = w->L;
    const char *s, *wrong;
    size_t len;

    if (w->out->len - w->start > TEXT_MAX)
        return "the value makes more than 16 MiB of JSON";
    if (*w->kill != KILL_NOT)
        return "the call was ended";
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
        buf_puts(w->out, "null");
        return NULL;
    case LUA_TBOOLEAN:
        buf_puts(w->out, lua_toboolean(L, idx) ? "true" : "false");
        return NULL;
    case LUA_TNUMBER:
        if (lua_isinteger(L, idx)) {
            buf_printf(w->out, "%lld", (long long)lua_tointeger(L, idx));
            return NULL;
        }
        if (!isfinite(lua_tonumber(L, idx)))
            return cannot("a number that is not finite");
        put_float(w->out, lua_tonumber(L, idx));
        return NULL;
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        if (!utf8_valid(s, len))
            return cannot("a string that is no valid UTF-8");
        json_put_string(w->out, s, len);
        return NULL;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, idx) == NULL) {
            buf_puts(w->out, "null");
            return NULL;
        }
        return cannot("a userdata");
    case LUA_TTABLE:
        if (w->depth == JSON_MAX_DEPTH || !lua_checkstack(L, 8))
            return "the value is nested too deeply for JSON";
        for (int i = 0; i < w->depth; i++) {
            if (w->path[i] == lua_topointer(L, idx))
                return cannot("a table that contains itself");
        }
        w->path[w->depth++] = lua_topointer(L, idx);
        wrong = put_table(w, idx);
        w->depth--;
        return wrong;
    case LUA_TUSERDATA:
        if (luaL_testudata(L, idx, VALUE_RAW)) {
            lua_getiuservalue(L, idx, 1);              /* ... text */
            s = lua_tolstring(L, -1, &len);
            buf_append(w->out, s, len);
            lua_pop(L, 1);
            return NULL;
        }
        return cannot(secret_value_read(L, idx, &len) ? "a secret" : "a userdata");
    default:
        snprintf(sentence, sizeof sentence, "a %s cannot be written as JSON", luaL_typename(L, idx));
        return sentence;
    }
}

const char *value_encode(lua_State *L, int idx, struct buf *out)
{
    struct walk w = { .L = L, .out = out, .start = out->len, .kill = &vm_of(L)->killed, .depth = 0 };
    const char *wrong;

    if (!lua_checkstack(L, 8))
        return "the value is nested too deeply for JSON";
    wrong = put(&w, lua_absindex(L, idx));
    if (wrong)
        out->len = w.start;
    return wrong;
}
