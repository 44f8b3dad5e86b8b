// What operators' scripts do to a live stream: filters that change, hold, wait, stop and fail; verdicts of the early hooks; parts on the wire.
// Rows 8 and 16.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { ROOT, delta, event, play } from "./play.mjs";

const policy = (lua) => ({ code: `local P = sluice.policy { name = "p" }\n${lua}`, policies: "P" });

play("held text is not sent until it is let go, and never lost (row 16)", async (stage) => {
  const { up, g } = await stage.pair(policy(`P.filter = { text = function(text, ctx, part)
    local clean = text:gsub("secret", "******")
    if part.last then return clean end
    local keep = #clean
    for n = math.min(5, #clean), 1, -1 do
      if ("secret"):sub(1, n) == clean:sub(-n) then keep = #clean - n break end
    end
    return clean:sub(1, keep), clean:sub(keep + 1)
  end }`));
  const whole = "the secret is sec and secretsecre";
  for (let cut = 1; cut < whole.length; cut++) {
    const a = await g.ask();
    const call = await up.call();
    await call.stream();
    await call.token(whole.slice(0, cut));
    await call.token(whole.slice(cut));
    await call.complete();
    assert.equal((await a.all()).text, "the ****** is sec and ******secre", `cut at ${cut}`);
  }
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("a sec");
  assert.equal(await a.token(), "a ");
  await g.turn();
  assert.equal(a.events.length, 1, "the rest is held");
  await call.token("ond");
  await call.complete();
  assert.deepEqual((await a.all()).tokens, ["a ", "second"]);
});

play("the filter that the README shows: no cut lets the word through, no character is broken", async (stage) => {
  const readme = fs.readFileSync(path.join(ROOT, "README.md"), "utf8");
  const [, lua] = /```lua\n(ask\.filter = \{[^]*?\n\}\n)```/.exec(readme);
  const { up, g } = await stage.pair({ code: `local ask = sluice.policy { name = "ask" }\n${lua}`, policies: "ask" });
  const whole = "é secret 日本 secre 😀secretsecret é";
  const points = [...whole];
  for (let cut = 1; cut < points.length; cut++) {
    const a = await g.ask();
    const call = await up.call();
    await call.stream();
    await call.token(points.slice(0, cut).join(""));
    for (const c of points.slice(cut)) await call.token(c);
    await call.complete();
    assert.equal((await a.all()).text, whole.replaceAll("secret", "******"), `cut at ${cut}`);
  }
});

play("a filter that waits: order is kept, the upstream is not read ahead without bound", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(text) if text == "" then return end if text == "wait" then sluice.sleep "300ms" end return "<" .. text .. ">" end }'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(["a", "wait", "b"].map((t) => event(delta(t))).join(""));
  assert.equal(await a.token(), "<a>");
  await g.turn();
  assert.equal(a.events.length, 1, "what comes after the waiting token waits too");
  await call.token("c");
  await call.complete();
  assert.deepEqual((await a.all()).tokens, ["<a>", "<wait>", "<b>", "<c>"]);
});

for (const hook of ["accept", "validate", "route", "prompt"])
  play(`the client leaves while ${hook} waits: the wait ends, its variables are closed, no model is asked`, async (stage) => {
    const { up, g } = await stage.pair(policy(`function P.${hook}(req, ctx)
      local guard <close> = setmetatable({}, { __close = function() print "closed at the wait" end })
      sluice.sleep "20s"
    end`));
    const a = await g.ask();
    await g.turn();
    a.client.reset();
    assert.equal((await g.request(0)).end, "client_closed");
    await g.logged((l) => JSON.stringify(l).includes("closed at the wait"), "the close");
    assert.equal(up.calls.length, 0);
  });

play("the client leaves while a filter waits: the upstream is cancelled", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(text) if text == "wait" then sluice.sleep "20s" end end }'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("x");
  assert.equal(await a.token(), "x");
  await call.token("wait");
  await g.turn();
  a.client.reset();
  await call.gone();
  const line = await g.request(0);
  assert.equal(line.end, "client_closed");
  assert.equal(line.tokens, 2, "the model gave two");
});

const answers = {
  "accept rejects": ['function P.accept() return sluice.reject(403, "no_entry", "Not you.") end', 403, "no_entry"],
  "validate raises a verdict": ['function P.validate() error(sluice.reject(422, "bad", "No.")) end', 422, "bad"],
  "route rejects": ['function P.route() return sluice.reject(404, "no_model", "No.") end', 404, "no_model"],
  "prompt rejects": ['function P.prompt() return sluice.reject(400, "bad_prompt", "No.") end', 400, "bad_prompt"],
  "a hook that raises fails closed": ['function P.validate() error "oops" end', 500, "policy_error"],
  "a hook with a wrong verdict fails closed": ["function P.validate() return 17 end", 500, "policy_error"],
  "a hook that eats memory": ['function P.validate() local t = {} for i = 1, 100 do t[i] = ("x"):rep(5000):rep(200) .. i end end', 500, "policy_memory", 'memory = "4mb",'],
  "the error hook shapes": ['function P.validate() return sluice.reject(400, "a", "b") end function P.error(err) return { code = "shaped", status = 418 } end', 418, "shaped"],
};
for (const [name, [lua, status, code, top]] of Object.entries(answers))
  play(`${name}: ${status} ${code}`, async (stage) => {
    const { up, g } = await stage.pair({ ...policy(lua), top });
    const a = await g.ask();
    assert.equal((await a.json()).code, code);
    assert.equal(a.status, status);
    assert.equal(up.calls.length, 0, "the model was not asked");
    const b = await g.get("/healthz");
    assert.equal(b.status, 200);
  });

play("reply answers without a model; route picks one; log hears of the end and tags it", async (stage) => {
  const { up, g } = await stage.pair({
    ...policy(`function P.validate(req) if req.query.q == "hello" then return sluice.reply "Hello yourself." end end
function P.route(req) if req.query.q == "lua" then return "lua" end end
function P.log(sum, ctx) ctx:tag("seen", sum.tokens) end`),
    models: 'lua = { answer = function(req, out) for i = 1, 3 do out:text(i .. ";") sluice.sleep "5ms" end end },',
  });
  const hello = await g.ask("hello");
  assert.deepEqual((await hello.all()).tokens, ["Hello yourself."]);
  const lua = await g.ask("lua");
  assert.deepEqual((await lua.all()).tokens, ["1;", "2;", "3;"]);
  const line = await g.request(lua);
  assert.equal(line.model, "lua");
  assert.equal(String(line.seen), "3");
  assert.equal((await g.request(hello)).end, "replied");
  assert.equal(up.calls.length, 0);
});

play("a filter may stop the answer: the upstream is cancelled, the end is clean", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(text) if text == "bad" then return sluice.stop { reason = "content_filter", text = "[cut]" } end end }'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(["good", "bad", "worse"].map((t) => event(delta(t))).join(""));
  const { tokens, end } = await a.all();
  assert.deepEqual(tokens, ["good", "[cut]"]);
  assert.equal(end, "[DONE]");
  await call.gone();
  assert.equal((await g.request(a)).end, "stopped");
});

play("a filter that raises: what it held is discarded, one error; other streams go on", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(text) if text:find "bang" then error "boom" end return "", text end }'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("held");
  await call.token("bang");
  assert.equal((await a.json()).code, "policy_error");
  assert.equal(a.status, 500, "nothing had been sent");
  assert.ok(!a.body.includes("held"));
  await call.gone();
  const failed = await g.logged((l) => l.event === "policy.failed", "the failure's line");
  assert.match(failed.message, /gateway\.lua:\d+: boom/);
  assert.ok(!JSON.stringify(await g.request(a)).includes("boom"));
});

play("monitor mode: the bytes are those of no policy at all, the log line tells what it would have done", async (stage) => {
  const { up, g } = await stage.pair({ ...policy(`P.filter = { match = "se%a+", replace = function() return sluice.stop { reason = "content_filter" } end }
    function P.log(sum, ctx) sluice.sleep "50ms" ctx:tag("seen", sum.finish) end`), policies: '{ P, mode = "monitor" }' });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  for (const t of ["a se", "cret", " word"]) {
    await call.token(t);
    assert.equal(await a.token(), t, "nothing is held");
  }
  await call.complete();
  assert.equal((await a.all()).end, "[DONE]");
  const line = await g.request(a);
  assert.equal(line.end, "done");
  assert.equal(line.monitor, "p:would_stop:content_filter");
  assert.equal(line.seen, "content_filter");
});

play("a hook that takes a tenth of its processor time is told in the log, with its place, and runs on", async (stage) => {
  const { g } = await stage.pair(policy(`local function work(n) local x = 0
    for i = 1, n do x = x + i % 7 end
    return x end
  function P.validate(req) return sluice.reply("x" .. work(tonumber(req.query.q))) end`));
  let slow;
  for (let n = 20_000; !slow; n *= 2) {                  // somewhere between a tenth and the whole
    const a = await g.ask(String(n));
    assert.equal((await a.all()).end, "[DONE]", `the budget was used up before it was found slow (${n} rounds)`);
    await g.request(a);
    slow = g.log.find((l) => l.event === "policy.slow");
  }
  assert.deepEqual([slow.route, slow.policy, slow.hook, slow.in], ["ask", "p", "validate", "work"]);
  assert.match(slow.at, /gateway\.lua:\d+$/);
  assert.ok((await g.metrics()).lua_slow >= 1);
});

play("why a policy ended an answer stands in its log line, and total_ms is the client's time, not the log hook's", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(text) return sluice.stop { reason = "content_filter" } end } function P.log() sluice.sleep "400ms" end'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("bad");
  await a.all();
  const line = await g.request(a);
  assert.equal(line.end, "stopped");
  assert.equal(line.finish, "content_filter");
  assert.ok(line.total_ms < Date.parse(line.time) - 390 - Date.parse((await g.logged((l) => l.event === "listening")).time), "the log hook's wait is not in it");
});

play("a filter's waits count together: two seconds a call", async (stage) => {
  const { up, g } = await stage.pair(policy('P.filter = { text = function(t) while true do sluice.sleep "700ms" end end }'));
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("x");
  assert.equal((await a.json()).code, "policy_timeout");
  assert.ok((await g.request(a)).total_ms < 6000);
});

const meddlers = {
  "a verdict cannot be changed": 'local v = sluice.reject(400, "a", "b") v.message = 5 return v',
  "not by rawset": 'local v = sluice.reject(400, "a", "b") rawset(v, "status", 99) return v',
  "sluice.drop cannot be changed": "sluice.drop[1] = 1",
  "what the client sent cannot be changed": 'req.ip = "6.6.6.6"',
  "nor the path": "req.path = 7",
  "ctx is closed": 'ctx[1][5] = { {}, {} } return sluice.reply "x"',
  "the gateway's own headers stay": 'ctx:header("X-Request-Id", "mine")',
  "the log's own words stay": 'ctx:tag("end", "forged")',
  "a header has a size": 'ctx:header("X-A", ("x"):rep(9000))',
  "a code has a size": 'return sluice.reject(400, ("c"):rep(100), "m")',
  "a metatable cannot be taken": "getmetatable(ctx).__index = nil",
};
for (const [name, lua] of Object.entries(meddlers))
  play(`${name}: policy_error, and the gateway lives`, async (stage) => {
    const { g } = await stage.pair(policy(`function P.validate(req, ctx) ${lua} end`));
    const a = await g.ask();
    assert.equal((await a.json()).code, "policy_error");
    assert.equal((await g.get("/healthz")).status, 200);
  });

play("a policy's header replaces our default, never doubles it", async (stage) => {
  const { up, g } = await stage.pair(policy('function P.validate(req, ctx) ctx:header("cache-control", "no-store") end'));
  up.serve((call) => call.tell(["x"]));
  const a = await g.ask();
  await a.all();
  assert.equal(a.headers.get("cache-control"), "no-store");
});

play("rate limit and CORS on the wire", async (stage) => {
  const { up, g } = await stage.pair({ policies: 'sluice.parts.cors { origins = { "*" } }, sluice.parts.rate_limit { key = "ip", rate = 2, per = "1m" }' });
  up.serve((call) => call.tell(["x"]));
  const origin = { Origin: "https://a.example" };
  const preflight = await g.get("/api/stream", { method: "OPTIONS", headers: { ...origin, "Access-Control-Request-Method": "GET" } });
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers.get("access-control-allow-methods"), /GET/);
  for (const left of ["1", "0"]) {
    const a = await g.ask("x", { headers: origin });
    await a.all();
    assert.equal(a.headers.get("ratelimit-remaining"), left);
    assert.equal(a.headers.get("access-control-allow-origin"), "*");
  }
  const over = await g.ask("x", { headers: origin });
  assert.equal((await over.json()).code, "rate_limited");
  assert.equal(over.status, 429);
  assert.equal(over.headers.get("access-control-allow-origin"), "*", "a page may read why");
  assert.ok(Number(over.headers.get("retry-after")) > 0);
  const other = await g.ask("x", { from: "127.0.0.2" });
  await other.all();                                    // another address has its own allowance
});

for (const [name, trusted, forwarded, key] of [
  ["nobody is trusted: the header is ignored", "", "198.51.100.7", "127.0.0.1"],
  ["a trusted proxy tells the client's address", "127.0.0.0/8", "198.51.100.7", "198.51.100.7"],
  ["the right-most address that is no proxy counts, not what the client made up", "127.0.0.0/8, 10.0.0.0/8", "6.6.6.6, 198.51.100.7, 10.1.2.3", "198.51.100.7"],
  ["nonsense in the header is no address", "127.0.0.0/8", "6.6.6.6, bogus", "127.0.0.1"],
])
  play(`X-Forwarded-For: ${name}`, async (stage) => {
    const { up, g } = await stage.pair({ top: `trusted_proxies = "${trusted}",`, ...policy("function P.accept(head, ctx) ctx:tag('ip', head.ip) end") });
    up.serve((call) => call.tell(["x"]));
    const a = await g.ask("x", { headers: { "X-Forwarded-For": forwarded } });
    await a.all();
    assert.equal((await g.request(a)).ip, key);
  });
