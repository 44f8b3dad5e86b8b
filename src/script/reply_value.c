#include "script/reply_value.h"

#include <lauxlib.h>

#include "script/inside.h"
#include "wire/resp.h"

static void push_item(lua_State *L, const struct resp_item *item, bool in_list)
{
    switch (item->kind) {
    case RESP_TEXT:
    case RESP_ERROR:
        lua_pushlstring(L, item->text, item->len);
        break;
    case RESP_INTEGER:
        lua_pushinteger(L, item->number);
        break;
    case RESP_NULL:
        if (in_list)
            lua_pushboolean(L, 0);
        else
            lua_pushnil(L);
        break;
    case RESP_LIST:                                    /* what the length promises is not believed: it grows as items come */
        lua_newtable(L);
        break;
    }
}

static void wrong(lua_State *L)
{
    luaL_error(L, "a reply was handed over that is none");   /* net/redis.c reads whole ones only; a spec may err */
}

/* Pushes the value; -> true: it is an error, whose text is at the top. Lists within lists are what stands on the stack below. */
static bool push_value(lua_State *L, const struct buf *reply)
{
    int64_t left[RESP_DEEP];
    int deep = 0;
    size_t at = 0;

    do {
        struct resp_item item;

        if (resp_next(reply->data, reply->len, &at, &item) != 1)
            wrong(L);
        push_item(L, &item, deep > 0);                 /* lists... value */
        if (item.kind == RESP_ERROR)
            return true;
        if (item.kind == RESP_LIST && item.number > 0) {
            if (deep == RESP_DEEP)
                wrong(L);
            left[deep++] = item.number;
            continue;
        }
        while (deep > 0) {                             /* lists... list value */
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
            if (--left[deep - 1] > 0)
                break;
            deep--;                                    /* lists... list: which is an item of the one before */
        }
    } while (deep > 0);
    return false;
}

int reply_push(lua_State *L, const struct buf *reply)
{
    int top = lua_gettop(L);

    luaL_checkstack(L, RESP_DEEP + 4, "a reply");
    lua_pushinteger(L, 200);
    if (!push_value(L, reply)) {                       /* 200 value */
        lua_settop(L, top + 2);
        return 2;
    }
    lua_pushboolean(L, 0);
    lua_pushliteral(L, "reply");
    lua_pushvalue(L, -3);                              /* ... text false "reply" text */
    return 3;
}
