/* The codec between Lua values and JSON is exact both ways. */
#include <lauxlib.h>
#include <math.h>

#include "check.h"
#include "script/inside.h"
#include "script/value.h"

static struct vm *vm;
static lua_State *L;

static void round_trip(const char *in, size_t len, const char *want, size_t want_len)
{
    struct buf out = BUF_EMPTY;
    const char *wrong = value_decode(L, in, len);

    if (wrong)
        CHECK_FAIL("%.*s: %s", (int)len, in, wrong);
    wrong = value_encode(L, -1, &out);
    if (wrong)
        CHECK_FAIL("%.*s: %s", (int)len, in, wrong);
    CHECK_BYTES(want, want_len, out.data, out.len);
    lua_pop(L, 1);
    CHECK_INT(0, lua_gettop(L));
    buf_free(&out);
}

static void comes_back_as_it_was(void)
{
    static const char *const same[] = {
        "null", "true", "false", "0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808", "0.5", "1e-09", "1.0", "-0.0", "0.1",
        "123456.789", "1e+300", "\"\"", "\"a\"", "[]", "{}", "[[],{}]", "{\"a\":[],\"b\":{}}", "[1,2,3]", "[null,null]", "{\"a\":null}",
        "[1,\"two\",3.5,true,null,{\"k\":[1]}]", "\"\\u0000\"", "{\"\\u0000\":1}", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
    };
    static const struct { const char *in, *out; } as[] = {
        { " [ 1 , 2 ] ", "[1,2]" }, { "{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}" }, { "{\"a\":1,\"a\":2}", "{\"a\":2}" }, { "1e2", "100.0" }, { "-0", "-0.0" },
        { "9223372036854775808", "9.223372036854776e+18" }, { "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"" }, { "\"\\ud83d\"", "\"\xef\xbf\xbd\"" },
        { "\"\\u00e9\"", "\"\xc3\xa9\"" }, { "1.10", "1.1" }, { "100000000000000000000000", "1e+23" },
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        round_trip(same[i], strlen(same[i]), same[i], strlen(same[i]));
    for (size_t i = 0; i < sizeof as / sizeof *as; i++)
        round_trip(as[i].in, strlen(as[i].in), as[i].out, strlen(as[i].out));
}

static void every_float_comes_back(void)
{
    uint64_t seed = 7;

    for (int i = 0; i < 100000; i++) {
        uint64_t bits = check_random(&seed);
        struct buf out = BUF_EMPTY;
        double d, back;

        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d))
            continue;
        lua_pushnumber(L, d);
        CHECK(value_encode(L, -1, &out) == NULL);
        lua_pop(L, 1);
        CHECK(value_decode(L, out.data, out.len) == NULL);
        back = lua_tonumber(L, -1);
        if (memcmp(&d, &back, sizeof d) != 0)
            CHECK_FAIL("%.17g came back as %.17g", d, back);
        CHECK(!lua_isinteger(L, -1));
        lua_pop(L, 1);
        buf_free(&out);
    }
}

static void bad_json_is_a_sentence(void)
{
    static const char *const bad[] = { "", " ", "nul", "[1,]", "{\"a\":}", "{a:1}", "[1] 2", "\"\n\"", "01", "1.", "+1", "[", "{\"a\":1", "1e400", "-1e400", "\"\\x\"", "'a'", "NaN" };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *wrong = value_decode(L, bad[i], strlen(bad[i]));

        if (!wrong)
            CHECK_FAIL("%s was taken", bad[i]);
        CHECK(strlen(wrong) > 3);
        CHECK_INT(0, lua_gettop(L));
    }
}

static void deep_json_is_refused(void)
{
    struct buf deep = BUF_EMPTY;

    for (int i = 0; i < 1000; i++)
        buf_putc(&deep, '[');
    CHECK(value_decode(L, deep.data, deep.len) != NULL);
    CHECK_INT(0, lua_gettop(L));
    buf_free(&deep);
}

static void what_json_cannot_say_is_a_sentence(void)
{
    static const struct { const char *lua, *words; } bad[] = {
        { "return print", "a function cannot be written" }, { "return { f = function() end }", "a function cannot be written" },
        { "local t = {} t.t = t return t", "contains itself" }, { "local t = {} for i = 1, 200 do t = { t } end return t", "too deeply" },
        { "return 0/0", "not finite" }, { "return 1/0", "not finite" }, { "return '\\xff'", "no valid UTF-8" }, { "return { ['\\xff'] = 1 }", "no valid UTF-8" },
        { "return { 1, 2, a = 3 }", "both named members and positions" }, { "return { 1, nil, 3 }", "holes" }, { "return { [1.5] = 1 }", "neither text nor a position" },
        { "return { [0] = 1 }", "neither text nor a position" }, { "return coroutine.create(print)", "a thread cannot be written" },
        { "return require('sluice.host').secret('K', 'hidden-value')", "a secret cannot be written" },
        { "return { require('sluice.host').secret('K', 'hidden-value') }", "a secret cannot be written" },
    };
    struct buf out = BUF_EMPTY;

    buf_puts(&out, "before");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *wrong;

        CHECK_INT(LUA_OK, luaL_dostring(L, bad[i].lua));
        wrong = value_encode(L, -1, &out);
        if (!wrong || !strstr(wrong, bad[i].words))
            CHECK_FAIL("%s: %s", bad[i].lua, wrong ? wrong : "was written");
        CHECK_BYTES("before", 6, out.data, out.len);
        lua_pop(L, 1);
    }
    buf_free(&out);
}

static void says(const char *lua, const char *json)
{
    struct buf out = BUF_EMPTY;

    if (luaL_dostring(L, lua) != LUA_OK)
        CHECK_FAIL("%s: %s", lua, lua_tostring(L, -1));
    CHECK(value_encode(L, -1, &out) == NULL);
    CHECK_STR(json, buf_cstr(&out));
    lua_settop(L, 0);
    buf_free(&out);
}

static void the_library_says_what_lua_cannot(void)
{
    says("return {}", "{}");
    says("local j = require('sluice.host').json return j.array {}", "[]");
    says("local j = require('sluice.host').json return j.array()", "[]");
    says("local j = require('sluice.host').json return { j.null, 1 }", "[null,1]");
    says("local j = require('sluice.host').json local t = j.decode '[]' t[1] = 'x' return t", "[\"x\"]");
    says("local j = require('sluice.host').json local t = j.decode '[1]' t[1] = nil return t", "[]");
    says("local j = require('sluice.host').json return j.order({ a = 1, z = 2, m = 3 }, { 'z', 'm' })", "{\"z\":2,\"m\":3,\"a\":1}");
    says("local j = require('sluice.host').json return j.encode { a = 'x' }", "\"{\\\"a\\\":\\\"x\\\"}\"");
    says("local j = require('sluice.host').json local v, why = j.decode '{' return { v == nil, type(why) }", "[true,\"string\"]");
    says("return require('sluice.frozen').freeze { a = { 1, 2 }, b = 'x' }", "{\"a\":[1,2],\"b\":\"x\"}");
    says("return 'a\"b\\\\c\\n\\u{2028}\\u{7f}</script>'", "\"a\\\"b\\\\c\\n\\u2028\\u007f</script>\"");
}

int main(void)
{
    CHECK_INT(0, vm_open(&vm, NULL));
    L = vm_lua(vm);
    RUN(comes_back_as_it_was);
    RUN(every_float_comes_back);
    RUN(bad_json_is_a_sentence);
    RUN(deep_json_is_refused);
    RUN(what_json_cannot_say_is_a_sentence);
    RUN(the_library_says_what_lua_cannot);
    vm_close(vm);
    return check_done();
}
