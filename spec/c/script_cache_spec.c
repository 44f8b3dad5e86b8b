/* Values as bytes come back as they were; whatever ends a call, nobody waits for what it was loading. */
#include "base/cache.h"
#include "base/named.h"
#include "script/inside.h"
#include "script/packed.h"
#include "script_world.h"

static int trip(lua_State *L)                          /* (value) -> the value packed and read again, its bytes */
{
    struct buf b = BUF_EMPTY;
    const char *wrong = packed_write(L, 1, &b);

    if (wrong) {
        buf_free(&b);
        return luaL_error(L, "%s", wrong);
    }
    packed_read(L, b.data, b.len);
    lua_pushinteger(L, (lua_Integer)b.len);
    buf_free(&b);
    return 2;
}

static const char random_values[] =
    "local trip = ...\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' then return rawequal(a, b) and math.type(a) == math.type(b) or a ~= a and b ~= b end\n"
    "  if type(b) ~= 'table' then return false end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "local scalars = { 0, 1, -1, 127, 128, -64, -65, 1 << 14, math.maxinteger, math.mininteger, 0.0, 1.0, -0.5, 2^53, 1e308, 1/0, -1/0, 0/0, true, false, '', '\\0', 'text', ('long'):rep(100) }\n"
    "local function value(depth)\n"
    "  if depth == 0 or math.random(3) == 1 then return scalars[math.random(#scalars)] end\n"
    "  local t = {}\n"
    "  for i = 1, math.random(0, 5) do t[i] = value(depth - 1) end\n"
    "  if math.random(2) == 1 then\n"
    "    for _ = 1, math.random(5) do\n"
    "      local k = scalars[math.random(#scalars)]\n"
    "      if k == k then t[k] = value(depth - 1) end\n"
    "    end\n"
    "  end\n"
    "  return t\n"
    "end\n"
    "math.randomseed(7)\n"
    "for _ = 1, 20000 do\n"
    "  local v = value(4)\n"
    "  assert(same(v, (trip(v))), 'not the same')\n"
    "end\n"
    "local z = trip(-0.0)\n"
    "assert(1 / z == -1/0)\n"
    "assert(select(2, trip({ 1, 2, 3 })) == 8 and select(2, trip 'abc') == 5)\n"
    "for _, t in ipairs { { [1] = 1, [3] = 3, [7] = 7 }, { [2] = 2, [3] = 3 }, { [0] = 0, 1 }, { [1 << 40] = 1 } } do assert(same(t, (trip(t)))) end\n";

static void values_come_back_as_they_were(void)
{
    struct vm *vm;

    CHECK_INT(0, vm_open(&vm, NULL));
    lua_State *L = vm_lua(vm);
    CHECK_INT(LUA_OK, luaL_loadstring(L, random_values));
    lua_pushcfunction(L, trip);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        CHECK_FAIL("%s", lua_tostring(L, -1));
    vm_close(vm);
}

static bool awaited(const char *key)                   /* does somebody load it? */
{
    struct cache *c = cache_open("spec", CACHE_BYTES_MIN);
    struct buf value = BUF_EMPTY;
    uint64_t lease;
    enum cache_answer answer = cache_fetch(c, key, strlen(key), 1000, &value, &lease);

    if (answer == CACHE_LEASED)
        cache_give_up(c, key, strlen(key), lease);
    buf_free(&value);
    cache_close(c);
    return answer == CACHE_LOADING;
}

/* Each allocation of a fetch fails once. */
static void a_failed_allocation_leaves_no_lease(void)
{
    struct world w = { 0 };
    size_t cap;
    int failures = 0, successes = 0;

    world_policy(&w, "local c = sluice.cache 'spec'\n"
                     "function P.validate(req)\n"
                     "  local v = c:fetch(req.query.q, function() return { name = req.query.q, list = { 1, 2, 3, { 4 } }, { sluice.json.null } } end)\n"
                     "  assert(v.list[4][1] == 4 and c:get(req.query.q).name == req.query.q)\n"
                     "end");
    cap = w.vm->cap;
    for (size_t room = 0; room < 30000; room += 61) {
        char query[20], *failed;
        struct verdict v;

        snprintf(query, sizeof query, "q=%zu", room);
        world_ask(&w, query);
        lua_gc(w.vm->L, LUA_GCCOLLECT);
        w.vm->cap = w.vm->used + room;
        v = world_hook(&w, HOOK_VALIDATE, 0, &failed);
        w.vm->cap = cap;
        failures += failed != NULL;
        successes += failed == NULL;
        CHECK(!awaited(query + 2));
        free(failed);
        verdict_free(&v);
        exchange_close(&w.x);
    }
    CHECK(failures > 10 && successes > 10);
    world_close(&w);
}

static void a_call_that_ends_leaves_no_lease(void)
{
    static const char *const ends[] = {                /* of loaders; what they do to their call */
        "error 'x'", "error(sluice.reject(400, 'no', 'No.'))", "while true do end", "local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) end",
        "return nil", "return print", "coroutine.wrap(function() while true do end end)()", "local x <close> = setmetatable({}, { __close = function() while true do end end }) error 'x'",
        "pcall(function() while true do end end)", "return c:fetch('k', print)", "return c:fetch('l', function() while true do end end)",
    };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct world w = { 0 };
        struct buf text = BUF_EMPTY;
        char *failed;

        buf_printf(&text, "local c = sluice.cache 'spec'\nfunction P.validate(req) c:fetch('k', function() %s end) end", ends[i]);
        world_policy(&w, buf_cstr(&text));
        world_ask(&w, "q=x");
        struct verdict v = world_hook(&w, HOOK_VALIDATE, 0, &failed);
        if (awaited("k") || awaited("l"))
            CHECK_FAIL("%s\n  left its lease behind", ends[i]);
        free(failed);
        verdict_free(&v);
        buf_free(&text);
        world_close(&w);
    }
}

static void a_cancelled_call_leaves_no_lease(void)
{
    static const char *const waits[] = {
        "sluice.sleep '1h'", "c:fetch('l', function() sluice.sleep '1h' end)", "coroutine.wrap(function() sluice.sleep '1h' end)()",
        "pcall(sluice.sleep, '1h')", "local x <close> = setmetatable({}, { __close = function() while true do end end }) sluice.sleep '1h'",
    };

    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        struct world w = { 0 };
        struct buf text = BUF_EMPTY;
        struct call c;

        buf_printf(&text, "local c = sluice.cache 'spec'\nfunction P.validate(req) c:fetch('k', function() %s end) end", waits[i]);
        world_policy(&w, buf_cstr(&text));
        world_ask(&w, "q=x");
        CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
        CHECK(awaited("k"));
        call_cancel(&c);
        if (awaited("k") || awaited("l"))
            CHECK_FAIL("%s\n  left its lease behind", waits[i]);
        buf_free(&text);
        world_close(&w);
    }
}

int main(void)
{
    CHECK_INT(0, watchdog_start());
    RUN(values_come_back_as_they_were);
    RUN(a_failed_allocation_leaves_no_lease);
    RUN(a_call_that_ends_leaves_no_lease);
    RUN(a_cancelled_call_leaves_no_lease);
    watchdog_stop();
    named_forget_idle();
    return check_done();
}
