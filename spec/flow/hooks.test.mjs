// What operators' scripts do to a live stream.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, chunk, DONE, events, gateway, get, HEAD, LAST, parse, token, tokenGateway, upstream } from "./ground.mjs";

async function stage(lua, extra = "", more = "workers = 1,") {
  const up = await upstream();
  const g = await tokenGateway(up, { before: `local P = sluice.policy { name = "p" }\n${lua}`, extra: `policies = { P }, ${extra}`, more });
  return { up, g, async close() { assert.equal(await g.stop(), 0); await up.close(); } };
}
const texts = (body) => events(body).filter((e) => e.startsWith("{")).map((e) => JSON.parse(e).token);

test("a filter changes each piece before the next one is sent (row 8)", async () => {
  const s = await stage("P.filter = { text = function(text) return text:upper() end }");
  const c = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD);
  for (const word of ["one", "two"]) { await r.send(chunk(token(word))); await c.until(`"${word.toUpperCase()}"`); }
  await r.send(chunk(DONE) + LAST);
  await c.until("[DONE]");
  c.socket.destroy();
  await s.close();
});

test("held text is not sent until it is let go, and never lost (row 16)", async () => {
  const s = await stage(`P.filter = { text = function(text, ctx, part)
    local clean = text:gsub("secret", "******")
    if part.last then return clean end
    local keep = #clean
    for n = math.min(5, #clean), 1, -1 do
      if ("secret"):sub(1, n) == clean:sub(-n) then keep = #clean - n break end
    end
    return clean:sub(1, keep), clean:sub(keep + 1)
  end }`);
  const whole = "the secret is sec and secretsecre";
  for (let cut = 1; cut < whole.length; cut++) {
    const answered = ask(s.g.port, "/api/stream?q=hi");
    const r = await s.up.next();
    await r.send(HEAD + chunk(token(whole.slice(0, cut)) + token(whole.slice(cut)) + DONE) + LAST);
    const got = texts((await answered).body).join("");
    assert.equal(got, "the ****** is sec and ******secre");
  }
  const c = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("a sec")));
  await c.until('"a "');
  assert.ok(!c.received.includes("sec\""));
  await r.send(chunk(token("ond") + DONE) + LAST);
  await c.until("[DONE]");
  assert.deepEqual(texts(parse(c.received).body), ["a ", "second"]);
  c.socket.destroy();
  await s.close();
});

test("a filter that waits: order is kept, the upstream is paused, other streams go on", async () => {
  const s = await stage('P.filter = { text = function(text) if text == "" then return end if text == "wait" then sluice.sleep "300ms" end return "<" .. text .. ">" end }');
  const c = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("a") + token("wait") + token("b")));
  await c.until('"<a>"');
  const other = ask(s.g.port, "/api/stream?q=other");
  const r2 = await s.up.next();
  await r2.send(HEAD + chunk(token("x") + DONE) + LAST);
  assert.deepEqual(texts((await other).body), ["<x>"]);
  assert.ok(!c.received.includes("<b>"));
  await r.send(chunk(token("c") + DONE) + LAST);
  await c.until("[DONE]");
  assert.deepEqual(texts(parse(c.received).body), ["<a>", "<wait>", "<b>", "<c>"]);
  c.socket.destroy();
  await s.close();
});

test("the client leaves while a hook waits: it is cancelled at the wait", async () => {
  const s = await stage(`function P.validate(req, ctx)
    local guard <close> = setmetatable({}, { __close = function() print "closed" end })
    sluice.sleep "4s"
  end`);
  const c = get(s.g.port, "/api/stream?q=hi");
  await new Promise((resolve) => c.socket.on("connect", resolve));
  await c.socket.write("");
  c.reset();
  const line = await s.g.log("request");
  assert.equal(line.end, "client_closed");
  await s.close();
});

for (const [name, lua, status, code] of [
  ["accept rejects", 'function P.accept() return sluice.reject(403, "no_entry", "Not you.") end', 403, "no_entry"],
  ["validate raises a verdict", 'function P.validate() error(sluice.reject(422, "bad", "No.")) end', 422, "bad"],
  ["a hook that raises fails closed", 'function P.validate() error "oops" end', 500, "policy_error"],
  ["a hook with a wrong verdict fails closed", "function P.validate() return 17 end", 500, "policy_error"],
  ["a hook that burns", "function P.validate() while true do end end", 500, "policy_timeout"],
  ["a hook that burns inside pcall", "function P.validate() while true do pcall(function() while true do end end) end end", 500, "policy_timeout"],
  ["a hook that eats memory", 'function P.validate() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000000) .. i end end', 500, "policy_memory"],
  ["the error hook shapes", 'function P.validate() return sluice.reject(400, "a", "b") end function P.error(err) return { code = "shaped", status = 418 } end', 418, "shaped"],
]) {
  test(name, async () => {
    const s = await stage(lua);
    const a = await ask(s.g.port, "/api/stream?q=hi");
    assert.equal(a.status, status, a.body);
    assert.equal(JSON.parse(a.body).code, code);
    assert.equal((await ask(s.g.port, "/healthz")).status, 200);
    await s.close();
  });
}

test("reply answers without a model; route picks one; log hears of the end", async () => {
  const up = await upstream();
  const g = await gateway(`
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.validate(req, ctx)
  if req.query.q == "hello" then return sluice.reply "Hello yourself." end
end
function P.route(req) if req.query.q == "lua" then return "lua" end end
function P.log(sum, ctx) ctx:tag("finish_seen", sum.finish) end
return sluice.config { api = 1, listen = "127.0.0.1:0",
  models = { up = { provider = "openai", url = "${up.url}", model = "m" },
             lua = { answer = function(req, out) for i = 1, 3 do out:text(i .. ";") sluice.sleep "5ms" end end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "up", policies = { P } } } }`);
  assert.deepEqual(events((await ask(g.port, "/api/stream?q=hello")).body), ['{"token":"Hello yourself."}', "[DONE]"]);
  assert.equal((await g.log("request")).finish_seen !== undefined, true);
  assert.deepEqual(texts((await ask(g.port, "/api/stream?q=lua")).body), ["1;", "2;", "3;"]);
  assert.equal((await g.log("request")).model, "lua");
  await g.stop();
  await up.close();
});

test("a filter may stop the answer: the upstream is cancelled, the end is clean", async () => {
  const s = await stage('P.filter = { text = function(text) if text == "bad" then return sluice.stop { reason = "content_filter", text = "[cut]" } end end }');
  const c = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("good") + token("bad") + token("worse")));
  await c.until("[DONE]");
  assert.deepEqual(texts(parse(c.received).body), ["good", "[cut]"]);
  await r.closed;
  c.socket.destroy();
  await s.close();
});

test("a filter that raises: what it held is discarded, one error event", async () => {
  const s = await stage('P.filter = { text = function(text) if text:find "bang" then error "boom" end return "", text end }');
  const c = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("held") + token("bang")));
  const a = parse(await (async () => { await c.until("}"); return c.received; })());
  assert.equal(a.status, 500);                                           // nothing was sent yet: a status
  assert.ok(!c.received.includes("held"));
  await r.closed;
  c.socket.destroy();
  await s.close();
});

test("a script that burns its budget: other streams' bytes and order are untouched, the lag is counted (row 32)", async () => {
  const s = await stage('P.filter = { text = function(text) if text == "burn" then while true do end end end }');
  const others = [];
  for (let i = 0; i < 20; i++) {
    const c = get(s.g.port, `/api/stream?q=n${i}`);
    const r = await s.up.next();
    await r.send(HEAD + chunk(token("before")));
    await c.until('"before"');
    others.push({ c, r });
  }
  const burning = ask(s.g.port, "/api/stream?q=burn");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("x") + token("burn")));
  for (const o of others) await o.r.send(chunk(token("after") + DONE) + LAST);
  const got = events((await burning).body);
  assert.equal(JSON.parse(got[1]).code, "policy_timeout");
  for (const o of others) {
    await o.c.until("[DONE]");
    assert.deepEqual(texts(parse(o.c.received).body), ["before", "after"]);
    o.c.socket.destroy();
  }
  s.g.child.kill("SIGUSR1");
  const m = await s.g.log("metrics");
  assert.ok(m.lua_killed >= 1);
  assert.ok(m.loop_lag_events >= 1);
  await s.close();
});

test("each clock alone (row 25), heartbeats from time zero (row 10)", async () => {
  const s = await stage("", 'timeout = { first_token = "400ms", gap = "300ms", total = "2s" }, heartbeat = "100ms"');
  const late = get(s.g.port, "/api/stream?q=hi");                        // a heartbeat, then the first-token clock
  await s.up.next();
  await late.until(": keep-alive\n\n");
  const got = events(parse(await late.until("0\r\n\r\n")).body);
  assert.equal(JSON.parse(got.at(-1)).code, "first_token_timeout");
  late.socket.destroy();

  const gap = get(s.g.port, "/api/stream?q=hi");
  const r = await s.up.next();
  await r.send(HEAD + chunk(token("one")));
  await gap.until("gap_timeout");
  await r.closed;
  gap.socket.destroy();

  const total = get(s.g.port, "/api/stream?q=hi");
  const r3 = await s.up.next();
  await r3.send(HEAD);
  const drip = setInterval(() => r3.socket.writable && r3.socket.write(chunk(token("d"))), 50);
  await total.until("total_timeout");
  clearInterval(drip);
  await r3.closed;
  total.socket.destroy();
  await s.close();
});

test("rate limit and CORS on the wire", async () => {
  const up = await upstream();
  const g = await tokenGateway(up, { extra: 'policies = { sluice.parts.cors { origins = { "*" } }, sluice.parts.rate_limit { key = "ip", rate = 2, per = "1m" } }' });
  const preflight = await ask(g.port, "/api/stream", { method: "OPTIONS", headers: "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n" });
  assert.equal(preflight.status, 204);
  assert.ok(preflight.headers["access-control-allow-methods"].includes("GET"));
  for (let i = 0; i < 2; i++) {
    const answered = ask(g.port, "/api/stream?q=hi", { headers: "Origin: https://a.example\r\n" });
    await (await up.next()).send(HEAD + chunk(token("x") + DONE) + LAST);
    const a = await answered;
    assert.equal(a.headers["ratelimit-remaining"], String(1 - i));
    assert.equal(a.headers["access-control-allow-origin"], "*");
  }
  const over = await ask(g.port, "/api/stream?q=hi", { headers: "Origin: https://a.example\r\n" });
  assert.equal(over.status, 429);
  assert.equal(over.headers["access-control-allow-origin"], "*");
  assert.ok(Number(over.headers["retry-after"]) > 0);
  await g.stop();
  await up.close();
});
