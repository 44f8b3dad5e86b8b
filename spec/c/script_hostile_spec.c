/* Scripts that burn, allocate, recurse or reach for what is not theirs: each hurts its own call only, and the VM works on as before. */
#include "script_world.h"

/* Runs `body` as a hook; returns its failure (to be freed) or NULL when it ended well. */
static char *misbehave(struct world *w, const char *body, double *ms)
{
    struct buf text = BUF_EMPTY;
    struct verdict v;
    char *failed = NULL;
    double began;

    buf_printf(&text, "function P.validate(req, ctx)\n%s\nend function P.prompt(req, ctx) req:system 'still alive' end", body);
    world_policy(w, buf_cstr(&text));
    world_ask(w, "q=x");
    began = world_clock();
    v = world_hook(w, HOOK_VALIDATE, 0, &failed);
    *ms = world_clock() - began;
    verdict_free(&v);
    exchange_close(&w->x);

    world_ask(w, "q=y");                               /* a neighbour is served as if nothing had been */
    v = world_hook(w, HOOK_PROMPT, 0, NULL);
    CHECK_INT(VERDICT_PASS, v.kind);
    buf_free(&text);
    return failed;
}

static const char *const burners[] = {
    "while true do end",
    "for i = 1, 1e18 do end",
    "repeat until false",
    "local function f() return f() end f()",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(error) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "xpcall(function() error 'x' end, function() while true do end end)",
    "local co = coroutine.wrap(function() while true do end end) co()",
    "while true do local co = coroutine.create(function() while true do pcall(function() while true do end end) end end) coroutine.resume(co) end",
    "local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) coroutine.yield() end) "
    "coroutine.resume(co) coroutine.close(co)",
    "local t = setmetatable({}, { __index = function(t, k) while true do end end }) return t.x",
    "local a = setmetatable({}, { __add = function() while true do end end }) return a + a",
    "local a = setmetatable({}, { __lt = function() while true do end end }) return a < a",
    "local a = setmetatable({}, { __eq = function() while true do end end }) return a == setmetatable({}, getmetatable(a))",
    "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "for k in pairs(setmetatable({}, { __pairs = function() return function() return 1 end end })) do end",
    "(\"x\"):gsub('.', function() while true do end end)",
    "table.sort({ 1, 2, 3 }, function() while true do end end)",
    "local x <close> = setmetatable({}, { __close = function() while true do end end }) error 'x'",
    "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end",
    "pcall(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end end)",
    "local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
    "table.move({}, 1, 1e15, 2)",
    "table.insert(setmetatable({}, { __len = function() return 1e15 // 1 | 0 end }), 1, 'x')",
    "table.remove(setmetatable({}, { __len = function() return 1e15 // 1 | 0 end }), 1)",
    "table.concat(setmetatable({}, { __index = table.concat }), '', 1, 1e15 // 1 | 0)",
    "while true do (\"x\"):rep(100000):upper() end",
    "local s = ('a'):rep(400) while true do pcall(s.find, s, ('.-'):rep(4) .. 'b$') end",
    "local s = ('a'):rep(2000000) while true do s:find('b') s:find('.-b') end",
    "while true do (('a'):rep(1000)):gsub('a', 'b') end",
    "while true do pcall(string.rep) end",
    "local function f() local ok = pcall(f) while true do end end f()",
    "while true do ctx:tag('x', 1) end",
    "while true do req:map_text(function(t) return t end) end",
    "while true do pcall(sluice.reject, 1) end",
};

static void endless_work_ends(void)
{
    for (size_t i = 0; i < sizeof burners / sizeof burners[0]; i++) {
        struct world w = { 0 };
        double ms;
        char *failed = misbehave(&w, burners[i], &ms);

        if (!failed || !(strstr(failed, "used up its 100 ms of processor time") || strstr(failed, "needed more memory")) || !strstr(failed, "gateway.lua:3: "))
            CHECK_FAIL("%s\n  ended with: %s", burners[i], failed ? failed : "no error");
        if (ms > 1000)
            CHECK_FAIL("%s\n  took %.0f ms", burners[i], ms);
        free(failed);
        world_close(&w);
    }
}

static const char *const gluttons[] = {
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "local s = 'x' while true do s = s .. s end",
    "while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) end",
    "local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = ('x'):rep(1000000) .. #t end end) end",
    "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "local co = coroutine.wrap(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) while true do pcall(co) end",
    "local t = {} for i = 1, 1e9 do t[i] = function() return i end end",
    "local function f() return 1 + f() end f()",
    "local function f() pcall(f) pcall(f) end f()",
    "local t = {} for i = 1, 1e6 do t = { t } end sluice.json.encode(t)",
    "local s = ('['):rep(1e6 // 1 | 0) assert(not sluice.json.decode(s)) local t = {} for i = 1, 60 do t = { t, t } end sluice.json.encode(t)",
};

static void boundless_memory_ends(void)
{
    for (size_t i = 0; i < sizeof gluttons / sizeof gluttons[0]; i++) {
        struct world w = { 0 };
        double ms;
        char *failed = misbehave(&w, gluttons[i], &ms);

        if (ms > 2000)
            CHECK_FAIL("%s\n  took %.0f ms", gluttons[i], ms);

        if (!failed || !(strstr(failed, "needed more memory") || strstr(failed, "processor time") || strstr(failed, "stack overflow") || strstr(failed, "JSON")))
            CHECK_FAIL("%s\n  ended with: %s", gluttons[i], failed ? failed : "no error");
        CHECK(vm_memory(w.vm) <= (size_t)64 << 20);
        exchange_close(&w.x);
        for (int n = 0; n < 10000 && vm_memory(w.vm) > 2 << 20; n++)
            vm_collect(w.vm);
        if (vm_memory(w.vm) > 2 << 20)
            CHECK_FAIL("%s\n  left %zu bytes", gluttons[i], vm_memory(w.vm));
        free(failed);
        world_close(&w);
    }
}

/* Each must fail with an error that holds the words behind it. */
static const struct { const char *body, *words; } refused[] = {
    { "return io.open('/etc/passwd')", "\"io\" is not available" },
    { "os.execute('true')", "\"os\" is not available" },
    { "return debug.getregistry()", "\"debug\" is not available" },
    { "return load('return 1')()", "\"load\" is not available" },
    { "return package.loaded", "\"package\" is not available" },
    { "collectgarbage()", "\"collectgarbage\" is not available" },
    { "return _G.x", "\"_G\" is not available" },
    { "return string.dump(print)", "no string.dump here" },
    { "string.upper = print", "read-only" },
    { "rawset(string, 'upper', print)", "read-only" },
    { "rawset(_ENV, 'x', 1)", "read-only" },
    { "math.floor = nil", "read-only" },
    { "oops = 1", "write \"local oops\"" },
    { "return pritn", "did you mean \"print\"" },
    { "return math.randomseed", "no math.randomseed here" },
    { "setmetatable({}, { __gc = function() end })", "__gc" },
    { "setmetatable(req, {})", "protected metatable" },
    { "setmetatable(ctx, {})", "protected metatable" },
    { "setmetatable(string, {})", "protected metatable" },
    { "('x'):rep(1e9 // 1 | 0)", "more than 16 MiB" },
    { "('x'):rep(1e18 // 1 | 0)", "more than 16 MiB" },
    { "table.concat({ ('x'):rep(10000000), ('x'):rep(10000000) })", "more than 16 MiB" },
    { "return (('a'):rep(400)):find(('.-'):rep(4) .. 'b$')", "too many steps" },
    { "return (('a'):rep(400)):gsub(('.-'):rep(4) .. 'b$', '')", "too many steps" },
    { "return (('a'):rep(400)):match(('.-'):rep(4) .. 'b$')", "too many steps" },
    { "for _ in (('a'):rep(400)):gmatch(('.-'):rep(4) .. 'b$') do end", "too many steps" },
    { "return ('x'):find(('a*'):rep(1000) .. 'y')", "pattern too complex" },
    { "return (('x'):rep(1000000)):gsub('x', ('y'):rep(100))", "more than 16 MiB" },
    { "coroutine.yield()", "coroutine.yield outside" },
    { "local co = coroutine.running() coroutine.resume(co)", "belongs to the gateway" },
    { "local co = coroutine.running() coroutine.close(co)", "belongs to the gateway" },
    { "require 'policies.nothing'", "belongs at the top of a file" },
    { "(\"x\"):gsub('.', function() sluice.sleep '1ms' end)", "inside string.gsub" },
    { "table.sort({ 2, 1 }, function() sluice.sleep '1ms' end)", "inside string.gsub, table.sort" },
    { "local co = coroutine.wrap(function() sluice.sleep '1ms' end); (\"x\"):gsub('.', co)", "inside string.gsub" },
    { "sluice.sleep(5)", "ambiguous duration 5" },
    { "sluice.env 'HOME'", "works only while the gateway file loads" },
    { "sluice.secret 'HOME'", "works only while the gateway file loads" },
    { "local t = {} t[1] = t return sluice.json.encode(t)", "contains itself" },
    { "sluice.reject(200, 'x', 'y')", "status must be" },
    { "sluice.rejct(400, 'x', 'y')", "did you mean \"reject\"" },
    { "error()", "raised" },
    { "error({})", "raised" },
    { "local t = ctx.optons", "did you mean \"options\"" },
    { "return req.q", "did you mean req.query.q?" },
    { "return req.mesages", "did you mean \"messages\"" },
    { "req.system 'x'", "write req:system(...) with a colon, not a dot" },
    { "ctx.tag('x', 'y')", "write ctx:tag(...) with a colon, not a dot" },
    { "ctx:header('Bad Name', 'x')", "no header name" },
    { "ctx:header('x', 'a\\r\\nb: c')", "control characters" },
    { "ctx:header('Content-Length', '3')", "belongs to the gateway" },
};

static void what_is_out_of_reach_is_refused_with_a_sentence(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct world w = { 0 };
        double ms;
        char *failed = misbehave(&w, refused[i].body, &ms);

        if (failed && strstr(failed, "processor time") && ms > 90) {
            free(failed);                              /* a slow build: its time was over first */
            world_close(&w);
            continue;
        }
        if (!failed || !strstr(failed, refused[i].words))
            CHECK_FAIL("%s\n  ended with: %s", refused[i].body, failed ? failed : "no error");
        if (strncmp(failed, "/tmp/sluice-spec-", 17) != 0 || !strstr(failed, "gateway.lua:3: "))
            CHECK_FAIL("%s\n  has no place: %s", refused[i].body, failed);
        free(failed);
        world_close(&w);
    }
}

static void what_is_harmless_works(void)
{
    static const char *const fine[] = {
        "assert(getmetatable('') == false)",
        "assert(('x'):rep(0) == '' and (''):rep(1e18 // 1 | 0) == '')",
        "local n = 0 for k, v in pairs(string) do n = n + 1 end assert(n >= 16)",
        "local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) assert(co(1) == 2 and co(4) == 8)",
        "local co = coroutine.create(function() error 'x' end) local ok, err = coroutine.resume(co) assert(not ok and err:find 'x' and coroutine.status(co) == 'dead')",
        "local ok, err = pcall(coroutine.wrap(function() error { code = 1 } end)) assert(not ok and err.code == 1)",
        "local log = {} local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() log[1] = 'closed' end }) coroutine.yield() end) "
        "coroutine.resume(co) assert(coroutine.close(co) and log[1] == 'closed')",
        "local a = select('#', pcall(function() return 1, 2, 3 end)) assert(a == 4)",
        "local ok, msg = xpcall(function() error 'deep' end, function(m) return 'handled: ' .. m end) assert(msg:find '^handled: .*deep')",
        "assert(select(2, pcall(error, setmetatable({}, { __tostring = function() return 'me' end }))) ~= nil)",
        "local t = table.move({ 1, 2, 3 }, 1, 3, 2) assert(table.concat(t, ',') == '1,1,2,3')",
        "local t = { 3, 1, 2 } table.sort(t) assert(t[1] == 1 and t[3] == 3) table.sort(t, function(a, b) return a > b end) assert(t[1] == 3)",
        "assert(table.unpack({ 1, 2 }) == 1 and table.pack(1, nil).n == 2)",
        "assert(string.format('%5.1f|%q|%s', 2.25, 'a\\n', {} ~= nil) ~= nil)",
        "sluice.sleep '1ms'",
        "pcall(function() sluice.sleep '1ms' end)",
        "for _ in (function() sluice.sleep '1ms' end) do end",
        "local co = coroutine.wrap(function(a) sluice.sleep '1ms' return a + 1 end) assert(co(4) == 5)",
        "local co = coroutine.wrap(function() local in_ = coroutine.wrap(function() sluice.sleep '1ms' coroutine.yield(7) sluice.sleep '2ms' return 8 end) "
        "coroutine.yield(in_()) coroutine.yield(in_()) end) assert(co() == 7 and co() == 8)",
        "local ok, co = coroutine.resume(coroutine.create(function() sluice.sleep '1ms' return 'slept' end)) assert(ok and co == 'slept')",
        "local t = setmetatable({}, { __index = function(_, k) sluice.sleep '1ms' return k end }) assert(t.abc == 'abc')",
        "assert(require 'sluice' == sluice)",
        "assert(tostring(sluice.json.null) == 'null')",
        "assert(rawset({}, 1, 2)[1] == 2)",
        "assert(sluice.trim '\\u{a0} x\\u{3000}' == 'x')",
    };

    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        struct world w = { 0 };
        double ms;
        char *failed = misbehave(&w, fine[i], &ms);

        if (failed)
            CHECK_FAIL("%s\n  ended with: %s", fine[i], failed);
        world_close(&w);
    }
}

static void a_kill_names_the_line(void)
{
    struct world w = { 0 };
    double ms;
    char *failed = misbehave(&w, "\n\nwhile true do end", &ms);

    CHECK(failed != NULL);
    if (!strstr(failed, "gateway.lua:5: this call used up"))
        CHECK_FAIL("%s", failed);
    free(failed);
    world_close(&w);
}

static void a_filter_has_less_time(void)
{
    struct world w = { 0 };
    struct call c;
    double began;

    world_policy(&w, "P.filter = { text = function() while true do end end }");
    world_ask(&w, "q=x");
    began = world_clock();
    CHECK_INT(CALL_FAILED, exchange_filter(&w.x, &c, 0, "abc", 3, CHANNEL_CONTENT, false));
    CHECK_INT(CALL_TIMEOUT, c.failure);
    CHECK(world_clock() - began < 200);
    call_finish(&c);
    world_close(&w);
}

static void a_loading_file_cannot_loop_for_ever(void)
{
    struct world w = { 0 };

    world_file(&w, "gateway.lua", "local t = {} for i = 1, 1e9 do t[i] = {} end");
    CHECK_INT(-1, world_load(&w, NULL));
    CHECK(strstr(w.complaints.data, "gateway.lua:1: this call needed more memory") != NULL);
    world_close(&w);
}

int main(void)
{
    CHECK_INT(0, watchdog_start());
    RUN(endless_work_ends);
    RUN(boundless_memory_ends);
    RUN(what_is_out_of_reach_is_refused_with_a_sentence);
    RUN(what_is_harmless_works);
    RUN(a_kill_names_the_line);
    RUN(a_filter_has_less_time);
    RUN(a_loading_file_cannot_loop_for_ever);
    watchdog_stop();
    return check_done();
}
