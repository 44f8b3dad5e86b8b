/* The stream machine among policies that do everything they may, under events in any order: hooks that wait, call services, open gates, fail, fall back,
 * stop; filters that hold; tool calls; monitors; answers held back, gone on with by another model, hedged. Whatever comes, the client gets one end at most, what was begun is ended, and nothing is left. */
#include "stream/stream.h"

#include "base/log.h"
#include "script/service.h"
#include "script_world.h"

#define RUNS 20000

static struct world world;
static struct metrics metrics;

struct chaos {
    struct stream *stream;
    uint64_t now, wake;
    struct list services;                              /* under way (service_call.link) */
    unsigned attempts, ends_of_attempts, heads, ends, closed;
    bool upstream[UPSTREAMS_MAX], headed[UPSTREAMS_MAX], slow, waits, gone, wants_body;
};

/* ---- a host that checks what it is asked for */

static uint64_t h_now(void *o) { return ((struct chaos *)o)->now; }
static void h_read_body(void *o) { ((struct chaos *)o)->wants_body = true; }
static void h_wake(void *o, uint64_t at) { ((struct chaos *)o)->wake = at; }
static void h_flow(void *o, unsigned which) { CHECK(((struct chaos *)o)->upstream[which]); }

static void h_reply(void *o, int status, const struct header *h, size_t n, struct buf *body)
{
    struct chaos *p = o;

    (void)h, (void)n;
    CHECK(!p->gone && p->heads == 0 && p->ends == 0 && status >= 200 && status < 600);
    p->ends++;
    buf_free(body);
}

static void h_head(void *o, int status, const struct header *h, size_t n)
{
    struct chaos *p = o;

    (void)h, (void)n;
    CHECK(!p->gone && p->ends == 0 && status == 200);
    CHECK_INT(1, ++p->heads);
}

static bool h_write(void *o, struct buf *bytes)
{
    struct chaos *p = o;

    CHECK(!p->gone && p->heads == 1 && p->ends == 0);
    buf_free(bytes);
    p->waits = p->slow;
    return !p->slow;
}

static void h_end(void *o)
{
    struct chaos *p = o;

    CHECK(!p->gone && p->heads == 1);
    CHECK_INT(1, ++p->ends);
}

static int h_attempt(void *o, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms)
{
    struct chaos *p = o;

    (void)ca, (void)connect_ms;
    CHECK(!p->upstream[which] && want->target && want->url);
    if (p->now % 13 == 0)
        return -1;
    p->attempts++;
    p->upstream[which] = true;
    p->headed[which] = false;
    return 0;
}

static void end_attempt(struct chaos *p, unsigned which)
{
    CHECK(p->upstream[which]);
    p->upstream[which] = false;
    p->ends_of_attempts++;
}

static void h_cancel(void *o, unsigned which) { end_attempt(o, which); }

static int h_service(void *o, struct service_call *w)
{
    struct chaos *p = o;

    if (p->now % 11 == 0)
        return -1;
    list_append(&p->services, &w->link);
    return 0;
}

static void h_service_cancel(void *o, struct service_call *w)
{
    (void)o;
    CHECK(!list_empty(&w->link));
    list_remove(&w->link);
}

static void h_closed(void *o) { CHECK_INT(1, ++((struct chaos *)o)->closed); }

static const struct stream_host host = {
    .now = h_now, .read_body = h_read_body, .reply = h_reply, .head = h_head, .write = h_write, .end = h_end, .attempt = h_attempt,
    .cancel = h_cancel, .finish = h_cancel, .hold = h_flow, .release = h_flow, .service = h_service, .service_cancel = h_service_cancel,
    .wake = h_wake, .closed = h_closed,
};

/* ---- policies that draw lots */

static const char file[] =
    "local sluice = require 'sluice'\n"
    "local judge = sluice.service 'judge'\n"
    "local state = 42\n"
    "local function random(n) state = (state * 1103515245 + 12345) % 2147483648 return (state >> 8) % n + 1 end\n"
    "local act\n"
    "function act(name, may, ctx)\n"
    "  local n = random(14)\n"
    "  if n == 1 then sluice.sleep '5ms' elseif n == 2 then sluice.sleep '700ms'\n"
    "  elseif n == 3 then judge:get '/' elseif n == 4 then local res, err = judge:get('/', { timeout = '50ms' }) if not res then error(err) end\n"
    "  elseif n == 5 then sluice.all { function() judge:get '/a' end, function() sluice.sleep '20ms' end, function() judge:get '/b' end }\n"
    "  elseif n == 6 and ctx and may.gate then ctx:gate(function() act('gate', { reject = true, reply = true }) return may.said end)\n"
    "  elseif n == 7 and random(4) == 1 then error 'oops'\n"
    "  elseif n == 8 and may.reject and random(4) == 1 then return sluice.reject(403, 'no', 'No.')\n"
    "  elseif n == 9 and may.reply and random(4) == 1 then return sluice.reply 'canned'\n"
    "  elseif n == 10 and may.stop and random(2) == 1 then return sluice.stop '[cut]'\n"
    "  elseif n == 11 and may.drop then return sluice.drop\n"
    "  elseif n == 12 and may.words then return random(2) == 1 and 'next' or 'retry'\n"
    "  elseif n == 13 and may.route then return { 'a', 'lua', 'b' }\n"
    "  elseif n == 14 and random(3) == 1 then return 7 end\n"
    "end\n"
    "local may = {\n"
    "  accept = { reject = true, reply = true }, validate = { reject = true, reply = true, gate = true }, route = { reject = true, route = true, gate = true },\n"
    "  prompt = { reject = true, reply = true, gate = true }, attempt = { reject = true, gate = true }, fallback = { reject = true, reply = true, words = true },\n"
    "  response = { reject = true }, tool_call = { reject = true, stop = true, drop = true }, finish = { stop = true }, log = {},\n"
    "}\n"
    "local function hooks_of(P)\n"
    "  for hook, m in pairs(may) do P[hook] = function(_, ctx) return act(hook, m, ctx) end end\n"
    "  return P\n"
    "end\n"
    "local function policy(name, more)\n"
    "  more.name = name\n"
    "  local P = hooks_of(sluice.policy(more))\n"
    "  P.filter = {\n"
    "    { match = sluice.match.email, replace = function() return act('filter', { reject = true, stop = true, drop = true }) end },\n"
    "    { unit = 'word', text = function(s) local v = act('filter', { reject = true, stop = true, drop = true }) if v == 7 then v = nil end return v end },\n"
    "    { unit = 'word', parallel = 3, check = function() return act('filter', { reject = true, stop = true }) end },\n"
    "    { unit = 'sentence', optimistic = true, check = function() return act('filter', { reject = true, stop = true }) end },\n"
    "    { on = 'content', text = function(s, ctx, part) if random(4) == 1 then return '', nil, s end return s end },\n"
    "    { on = { 'content', 'tool_args' }, unit = 'all', check = function() return act('filter', { reject = true, stop = true }) end },\n"
    "    { text = function(s, ctx, part) if part.last then return s end return s:sub(1, #s // 2), s:sub(#s // 2 + 1) end },\n"
    "  }\n"
    "  return P\n"
    "end\n"
    "local front = { name = 'f', methods = 'GET', done = 'done\\n\\n', content = { before = 'data: ', after = '\\n\\n' }, reasoning = { before = 'data: ', after = '\\n\\n' },\n"
    "  tool = { before = 'data: ', after = '\\n\\n' }, finish = { before = 'data: ', after = '\\n\\n' },\n"
    "  read = function(req) req.messages = { { role = 'user', content = 'x' } } end, error = function(err) return { code = err.code } end }\n"
    "local lean = hooks_of(sluice.policy { name = 'lean', on_error = 'open' })\n"
    "lean.filter = { { text = function(s, ctx, part) if part.last then return s end return s:sub(1, -3), s:sub(-2) end },\n"
    "  { unit = 'word', parallel = 3, check = function() return act('filter', { reject = true, stop = true }) end } }\n"
    "local policies = { policy('one', { on_error = 'open' }), policy('two', { mode = 'monitor' }),\n"
    "  sluice.only_if(function() return random(2) == 1 end, policy('three', {})), policy('four', { on_error = { filter = 'open', prompt = 'open' } }) }\n"
    "local function route(path, more)\n"
    "  more.path, more.front, more.target, more.heartbeat, more.policies = path, front, { 'a', 'b' }, '300ms', more.policies or policies\n"
    "  more.timeout = { total = '20s', first_token = '2s', gap = '2s' }\n"
    "  return more\n"
    "end\n"
    "return sluice.config { api = 1, listen = ':0', services = { judge = { url = 'http://j.test' } },\n"
    "  models = { a = { provider = 'openai', url = 'http://a.test/v1', model = 'x', prefill = true }, b = { provider = 'openai', url = 'http://b.test/v1', model = 'x', prefill = { go_on = true } },\n"
    "    lua = { answer = function(req, out) out:text 'hello ' act('model', {}) out:text 'you@example.com' return act('model', { reject = true }) end } },\n"
    "  routes = { r = route('/r', {}), w = route('/w', { prerelease = { chars = 12, time = '400ms' } }),\n"
    "    c = route('/c', { prerelease = { chars = 3 }, on_death = 'continue', policies = { lean, policies[2] } }),\n"
    "    h = route('/h', { hedge = { after = '20ms', budget = '100%' }, prerelease = { chars = 20 }, policies = { lean, policies[2] } }),\n"
    "    i = route('/i', { hedge = { after = '20ms', budget = '100%' }, on_death = 'continue' }) } }\n";

static const char *const pieces[] = {
    "data: {\"choices\":[{\"delta\":{\"content\":\"hello you@exam\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"ple.com and on\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm \"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
    "data: [DONE]\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\xff",
    "data: {\"error\":{\"message\":\"no\"}}\n\n",
    ": ping\n\n",
};

/* ---- one run: events in any order until all is over */

static void answer_service(struct chaos *p, uint64_t *lot)
{
    struct service_call *w = list_of(p->services.next, struct service_call, link);
    struct header h = { "Content-Type", "text/plain" };

    list_remove(&w->link);
    w->end = check_random(lot) % 4 ? SERVICE_OK : (enum service_end)(check_random(lot) % SERVICE_BREAKER_OPEN);
    service_head(w, check_random(lot) % 2 ? 200 : 503, &h, 1);
    buf_puts(&w->answer, "{}");
    stream_service_answer(p->stream, w);
}

static void upstream_says(struct chaos *p, unsigned which, uint64_t *lot)
{
    static const enum reason ends[] = { REASON_DONE, REASON_RESET, REASON_CONNECT_FAILED, REASON_CONNECT_TIMEOUT };
    struct header type = { "Content-Type", "text/event-stream" };
    const char *bytes = pieces[check_random(lot) % (sizeof pieces / sizeof pieces[0])];
    unsigned what = (unsigned)(check_random(lot) % 20);

    if (what == 0) {
        end_attempt(p, which);
        stream_upstream_end(p->stream, which, ends[check_random(lot) % 4], "");
    } else if (!p->headed[which]) {
        p->headed[which] = true;
        stream_upstream_head(p->stream, which, check_random(lot) % 4 ? 200 : 503, &type, 1);
    } else {
        stream_upstream_bytes(p->stream, which, bytes, strlen(bytes));
    }
}

static void tick(struct chaos *p)
{
    if (p->wake > p->now)
        p->now = p->wake;
    vm_set_now(world.vm, p->now, 1700000000000);
    stream_tick(p->stream);
}

static void step(struct chaos *p, uint64_t *lot)
{
    unsigned what = (unsigned)(check_random(lot) % 40), which = (unsigned)(check_random(lot) % UPSTREAMS_MAX);

    vm_set_now(world.vm, p->now, 1700000000000);
    if (p->wants_body) {
        p->wants_body = false;
        stream_body(p->stream, "", 0);
    } else if (what < 20 && p->upstream[which]) {
        upstream_says(p, which, lot);
    } else if (what < 26 && !list_empty(&p->services)) {
        answer_service(p, lot);
    } else if (what == 26) {
        p->slow = !p->slow;
    } else if (what == 27 && p->waits) {
        p->waits = false;
        stream_drained(p->stream);
    } else if (what == 28 && check_random(lot) % 8 == 0 && !p->gone && p->ends == 0) {
        p->gone = true;
        stream_client_gone(p->stream);
    } else if (what == 29 && check_random(lot) % 16 == 0) {
        stream_shutdown(p->stream, REASON_SHUTTING_DOWN);
    } else if (p->wake) {
        tick(p);
    }
}

static void run(uint64_t seed)
{
    struct http_request r = { .method = seed % 17 ? "GET" : seed % 2 ? "HEAD" : "OPTIONS", .path = "/r", .query = "q=x", .minor = 1, .ip = "192.0.2.7" };
    const struct route *route = &world.g->routes[seed % world.g->n_routes];
    struct stream_facts facts = { .id = "s", .ip = "192.0.2.7", .front = route->fronts[0], .request = &r, .trace = seed % 2 };
    struct chaos p = { .now = 1000 + seed * 100000 };
    uint64_t lot = seed * 2654435761u + 1;

    list_init(&p.services);
    vm_set_now(world.vm, p.now, 1700000000000);
    stream_open(&p.stream, &host, &p, world.g, route, &facts, &metrics);
    for (int i = 0; i < 20000 && !p.closed; i++)
        step(&p, &lot);
    if (!p.closed)
        CHECK_FAIL("run %llu does not come to its end", (unsigned long long)seed);
    CHECK(p.gone || p.ends == 1);
    CHECK_INT(p.attempts, p.ends_of_attempts);
    CHECK(list_empty(&p.services));
    if (facts.trace) {
        struct buf text = BUF_EMPTY;

        stream_trace(p.stream, NULL, &text);
        CHECK(strstr(buf_cstr(&text), " ms  end  ") != NULL);
        buf_free(&text);
    }
    stream_free(p.stream);
}

static void whatever_comes_ends_once(void)
{
    size_t before = 0;

    world_open(&world, file);
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        run(seed);
        vm_collect(world.vm);
        if (seed == RUNS / 2) {
            lua_gc(vm_lua(world.vm), LUA_GCCOLLECT);
            before = vm_memory(world.vm);
        }
    }
    lua_gc(vm_lua(world.vm), LUA_GCCOLLECT);
    printf("   %d runs: %lld killed, %lld dropped, %lld went on, %lld of %lld hedges won, %lld bytes in Lua, %lld after half of them\n", RUNS,
           (long long)metrics_get(&metrics, METRIC_lua_killed), (long long)metrics_get(&metrics, METRIC_prerelease_drops),
           (long long)metrics_get(&metrics, METRIC_upstream_continues), (long long)metrics_get(&metrics, METRIC_hedges_won),
           (long long)metrics_get(&metrics, METRIC_hedges_started), (long long)vm_memory(world.vm), (long long)before);
    CHECK(vm_memory(world.vm) < before + before / 4);
    CHECK_INT(0, metrics_get(&metrics, METRIC_streams_open));
    CHECK(metrics_get(&metrics, METRIC_prerelease_drops) > 0);   /* it was what it says it is */
    CHECK(metrics_get(&metrics, METRIC_upstream_continues) > 0);
    CHECK(metrics_get(&metrics, METRIC_hedges_won) > 0);
    CHECK(metrics_get(&metrics, METRIC_hedges_won) < metrics_get(&metrics, METRIC_hedges_started));
    world_close(&world);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_TEXT, -1);
    CHECK_INT(0, watchdog_start());
    RUN(whatever_comes_ends_once);
    watchdog_stop();
    return check_done();
}
