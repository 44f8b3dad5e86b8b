/* A VM: its cap, its pool of coroutines, waits, cancels, secrets. */
#include <pthread.h>

#include "script/inside.h"
#include "script_world.h"

static void too_small_a_cap_is_said(void)
{
    struct vm_options options = { .memory_cap = 20000 };
    struct vm *vm;

    CHECK_INT(-1, vm_open(&vm, &options));
}

static void every_small_cap_ends_well(void)
{
    for (size_t cap = 30000; cap < 700000; cap += 7001) {
        struct vm_options options = { .memory_cap = cap };
        struct buf complaints = BUF_EMPTY;
        struct gateway *g;
        struct vm *vm;

        if (vm_open(&vm, &options) != 0)
            continue;
        if (gateway_load(&g, vm, "examples/ask/gateway.lua", &complaints) == 0)
            gateway_close(g);
        else
            CHECK(complaints.len > 0);
        vm_close(vm);
        buf_free(&complaints);
    }
}

/* Each allocation in the life of an exchange fails once: it ends in an error or well, and the next one is served. */
static void a_failed_allocation_hurts_one_exchange(void)
{
    struct world w = { 0 };
    struct header headers[] = { { "Host", "x" }, { "Cookie", "a=b" }, { "cookie", "c=d" } };
    size_t cap;
    int failures = 0, successes = 0;

    world_policy(&w, "function P.accept(head, ctx) ctx:header('X-A', 'b') ctx.state.n = head.headers.cookie end\n"
                     "function P.validate(req, ctx) ctx.vars.t = {} if #req.query.q > 100 then return sluice.reject(400, 'long', 'too long') end end\n"
                     "function P.error(err) return { message = err.message .. '!' } end\n"
                     "function P.log(sum, ctx) ctx:tag('n', sum.tokens) end\n"
                     "P.filter = { text = function(text) return text:upper() end }");
    cap = w.vm->cap;
    for (size_t room = 0; room < 40000; room += 97) {
        struct failure f = { 0 };
        struct summary sum = { "done", 200, true, 1, 1, 1, 1, 0, { -1, -1, -1, -1, -1 } };
        struct http_request r = { .method = "GET", .path = "/", .query = "q=hello", .headers = headers, .n_headers = 3, .minor = 1 };
        struct exchange_facts facts = { "x1", &r, "192.0.2.7" };
        struct buf body = BUF_EMPTY;
        struct filter_result fr;
        struct asked asked;
        struct verdict v;
        struct call c;
        bool good = true;

        lua_gc(w.vm->L, LUA_GCCOLLECT);
        w.vm->cap = w.vm->used + room;
        if (exchange_open(&w.x, w.g, &w.g->routes[0], w.g->routes[0].fronts[0], &facts) == 0) {
            enum hook order[] = { HOOK_ACCEPT, HOOK_VALIDATE, HOOK_LOG };

            for (int i = 0; i < 3; i++) {
                if (order[i] == HOOK_VALIDATE && exchange_read(&w.x, NULL, 0, &asked, &f) != 0)
                    good = false;
                if (order[i] == HOOK_LOG)
                    exchange_summary(&w.x, &sum);
                if (exchange_hook(&w.x, &c, order[i], 0) == CALL_FAILED) {
                    good = false;
                } else {
                    exchange_verdict(&w.x, &c, order[i], 0, &v);
                    good = good && v.kind == VERDICT_PASS;
                    verdict_free(&v);
                }
                call_finish(&c);
            }
            if (exchange_filter(&w.x, &c, 0, "abc", 3, CHANNEL_CONTENT, true) == CALL_RETURNED) {
                exchange_filter_result(&w.x, &c, 0, "abc", 3, &fr);
                verdict_free(&fr.verdict);
            } else {
                good = false;
            }
            call_finish(&c);
            failure_set(&f, 500, "x", "why");
            exchange_shape_error(&w.x, &f, NULL, NULL);
            exchange_error_body(&w.x, &f, &body);
            CHECK(body.len > 10);
            exchange_close(&w.x);
        } else {
            good = false;
        }
        failure_free(&f);
        buf_free(&body);
        *(good ? &successes : &failures) += 1;
        w.vm->cap = cap;
    }
    printf("%d exchanges failed, %d did not\n", failures, successes);
    CHECK(failures > 10 && successes > 10);
    world_ask(&w, "q=hi");
    CHECK_INT(VERDICT_PASS, world_hook(&w, HOOK_VALIDATE, 0, NULL).kind);
    world_close(&w);
}

static void coroutines_are_used_again(void)
{
    struct world w = { 0 };
    lua_State *first = NULL;

    world_policy(&w, "function P.validate(req, ctx) end");
    world_ask(&w, "q=x");
    for (int i = 0; i < 100; i++) {
        struct call c;

        CHECK_INT(CALL_RETURNED, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
        if (!first)
            first = c.co;
        CHECK(c.co == first);
        call_finish(&c);
        call_finish(&c);                               /* harmless */
        CHECK(!call_open(&c));
    }
    world_close(&w);
}

static void at_most_the_pool_is_kept_and_grown_ones_are_not(void)
{
    struct world w = { 0 };
    struct call calls[POOL_SIZE + 20];
    struct call c;
    int before;

    world_policy(&w, "function P.validate(req, ctx) sluice.sleep '5ms' end\n"
                     "function P.prompt(req, ctx) local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end f(20000) end");
    world_ask(&w, "q=x");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &calls[i], HOOK_VALIDATE, 0));
        CHECK_INT(WAIT_SLEEP, calls[i].wait);
        CHECK_INT(5, calls[i].wait_ms);
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        CHECK_INT(CALL_RETURNED, call_resume(&calls[i], 0));
        call_finish(&calls[i]);
    }
    CHECK_INT(POOL_SIZE, w.vm->n_pool);
    before = w.vm->n_pool;
    CHECK_INT(CALL_RETURNED, exchange_hook(&w.x, &c, HOOK_PROMPT, 0));
    call_finish(&c);
    CHECK_INT(before - 1, w.vm->n_pool);
    world_close(&w);
}

static const char closing[] =
    "local log = {}\n"
    "function P.validate(req, ctx)\n"
    "  local x <close> = setmetatable({}, { __close = function() log[#log + 1] = 'closed' end })\n"
    "  sluice.sleep '1s'\n"
    "  log[#log + 1] = 'not reached'\n"
    "end\n"
    "function P.prompt(req, ctx) return sluice.reject(400, 'log', table.concat(log, ',')) end";

static void a_cancelled_wait_closes_its_variables(void)
{
    struct world w = { 0 };
    struct verdict v;
    struct call c;

    world_policy(&w, closing);
    world_ask(&w, "q=x");
    CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
    call_cancel(&c);
    CHECK(!call_open(&c));
    v = world_hook(&w, HOOK_PROMPT, 0, NULL);
    CHECK_STR("closed", v.failure.message);
    verdict_free(&v);
    world_close(&w);
}

static void a_cancel_cannot_be_held_up(void)
{
    struct world w = { 0 };
    struct call c;
    double began;

    world_policy(&w, "function P.validate(req, ctx)\n"
                     "  local x <close> = setmetatable({}, { __close = function() while true do end end })\n"
                     "  local y <close> = setmetatable({}, { __close = function() sluice.sleep '1s' end })\n"
                     "  sluice.sleep '1s'\nend");
    world_ask(&w, "q=x");
    CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
    began = world_clock();
    call_cancel(&c);
    CHECK(world_clock() - began < 1000);
    CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
    call_cancel(&c);
    world_close(&w);
}

static void values_of_a_resume_reach_inner_coroutines(void)
{
    struct world w = { 0 };
    struct call c;

    world_policy(&w, "function P.validate(req, ctx)\n"
                     "  local function three() sluice.sleep '1ms' return 1, 2, 3 end\n"
                     "  local a, b, c2, d = coroutine.wrap(three)()\n"
                     "  assert(a == 1 and b == 2 and c2 == 3 and d == nil)\n"
                     "  local ok, x = coroutine.resume(coroutine.create(function() sluice.sleep '1ms' error 'after the wait' end))\n"
                     "  assert(not ok and x:find 'after the wait')\nend");
    world_ask(&w, "q=x");
    CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
    CHECK_INT(CALL_WAITS, call_resume(&c, 0));
    if (call_resume(&c, 0) != CALL_RETURNED)
        CHECK_FAIL("%s", c.message);
    call_finish(&c);
    world_close(&w);
}

static void memory_is_flat(void)
{
    struct world w = { 0 };
    size_t after_1000 = 0;

    world_policy(&w, "function P.validate(req, ctx) ctx.state.x = { ('x'):rep(1000) } sluice.sleep '1ms' end P.filter = { text = function(t) return t .. '!' end }");
    for (int i = 0; i < 20000; i++) {
        struct call c;

        world_ask(&w, "q=x");
        CHECK_INT(CALL_WAITS, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
        if (i % 2)
            call_cancel(&c);
        else
            CHECK_INT(CALL_RETURNED, call_resume(&c, 0));
        call_finish(&c);
        exchange_close(&w.x);
        vm_collect(w.vm);
        if (i == 1000)
            after_1000 = vm_memory(w.vm);
    }
    if (vm_memory(w.vm) > after_1000 * 2)
        CHECK_FAIL("%zu bytes after 1,000 exchanges, %zu after 20,000", after_1000, vm_memory(w.vm));
    world_close(&w);
}

/* What is kept grows in small steps, so that some cycle of collection ends just above any bound; that is not to be the last one. */
static void fullness_is_seen(void)
{
    struct world w = { 0 };
    bool full = false;
    int kept = 0;

    world_file(&w, "gateway.lua", "local sluice = require 'sluice' local kept, P = {}, sluice.policy { name = 'p' } function P.validate() kept[#kept + 1] = ('x'):rep(20000) end\n"
                                  "return sluice.config { api = 1, listen = ':0', memory = '4mb', models = { m = { answer = print } }, routes = { r = { path = '/', front = 'token', target = 'm', policies = { P } } } }");
    CHECK_INT(0, world_load(&w, NULL));
    for (enum call_state state = CALL_RETURNED; state == CALL_RETURNED; kept++) {
        struct call c;

        world_ask(&w, "q=x");
        state = exchange_hook(&w.x, &c, HOOK_VALIDATE, 0);
        call_finish(&c);
        exchange_close(&w.x);
        for (int i = 0; i < 50; i++)
            vm_collect(w.vm);
        full = full || vm_is_full(w.vm);
    }
    CHECK(kept > 100 && kept < 210);
    CHECK(full);
    world_close(&w);
}

static void metrics_are_counted(void)
{
    struct metrics m = { 0 };
    struct vm_options options = { .metrics = &m };
    struct world w = { 0 };
    struct call c;

    world_file(&w, "gateway.lua", "local sluice = require 'sluice' local P = sluice.policy { name = 'p' } function P.validate() while true do end end\n"
                                  "return sluice.config { api = 1, listen = ':0', models = { m = { answer = print } }, routes = { r = { path = '/', front = 'token', target = 'm', policies = { P } } } }");
    CHECK_INT(0, world_load(&w, &options));
    CHECK_INT(1, metrics_get(&m, METRIC_lua_calls));
    world_ask(&w, "q=x");
    CHECK_INT(CALL_FAILED, exchange_hook(&w.x, &c, HOOK_VALIDATE, 0));
    CHECK_INT(CALL_TIMEOUT, c.failure);
    call_finish(&c);
    CHECK_INT(1, metrics_get(&m, METRIC_lua_killed));
    CHECK_INT(4, metrics_get(&m, METRIC_lua_calls));   /* load, open, read, hook */
    world_close(&w);
}

static void *one_request(void *arg)                    /* a thread's: whether its validate is quick or endless says the query */
{
    struct world *w = arg;
    struct call c;

    world_ask(w, w->complaints.len ? "q=endless" : "q=quick");
    enum call_state state = exchange_hook(&w->x, &c, HOOK_VALIDATE, 0);
    CHECK_INT(w->complaints.len ? CALL_FAILED : CALL_RETURNED, state);
    if (state == CALL_FAILED)
        CHECK_INT(CALL_TIMEOUT, c.failure);
    call_finish(&c);
    exchange_close(&w->x);
    w->x.gateway = NULL;
    return NULL;
}

/* The second thread has the first one's pthread_t, as libc uses stacks again, but a clock of its own: without vm_give the watchdog would look at the first's. */
static void a_vm_that_is_given_to_another_thread_keeps_its_budgets(void)
{
    struct world w = { 0 };
    pthread_t thread;

    world_policy(&w, "function P.validate(req) while req.query.q == 'endless' do end end");
    CHECK_INT(0, pthread_create(&thread, NULL, one_request, &w));
    CHECK_INT(0, pthread_join(thread, NULL));
    vm_give(w.vm);
    buf_puts(&w.complaints, "endless");
    CHECK_INT(0, pthread_create(&thread, NULL, one_request, &w));
    CHECK_INT(0, pthread_join(thread, NULL));
    world_close(&w);
}

static void a_call_ends_when_its_vm_is_stopped_whatever_its_budget(void)
{
    _Atomic bool stop = false;
    struct vm_options options = { .stop = &stop };
    struct vm *vm;
    struct call c;

    CHECK_INT(0, vm_open(&vm, &options));
    stop = true;
    call_begin(&c, vm, 0);
    CHECK_INT(LUA_OK, luaL_loadstring(c.co, "while true do end"));
    CHECK_INT(CALL_FAILED, call_run(&c, 0));
    CHECK_INT(CALL_TIMEOUT, c.failure);
    call_finish(&c);
    vm_close(vm);
}

int main(void)
{
    CHECK_INT(0, watchdog_start());
    RUN(too_small_a_cap_is_said);
    RUN(every_small_cap_ends_well);
    RUN(a_failed_allocation_hurts_one_exchange);
    RUN(coroutines_are_used_again);
    RUN(at_most_the_pool_is_kept_and_grown_ones_are_not);
    RUN(a_cancelled_wait_closes_its_variables);
    RUN(a_cancel_cannot_be_held_up);
    RUN(values_of_a_resume_reach_inner_coroutines);
    RUN(memory_is_flat);
    RUN(fullness_is_seen);
    RUN(metrics_are_counted);
    RUN(a_vm_that_is_given_to_another_thread_keeps_its_budgets);
    RUN(a_call_ends_when_its_vm_is_stopped_whatever_its_budget);
    watchdog_stop();
    return check_done();
}
