// sluice state and sluice trace: what a running gateway shows of itself, and that who looks changes nothing for anybody.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { stageOf } from "./operator.mjs";
import { ROOT, eventually, file, play } from "./play.mjs";

// ---- state

const COUNTED = `
local spend, hits = sluice.counter("spend", { window = "365d" }), sluice.counter("hits", { window = "1h" })
local seen = sluice.cache("tenants", { ttl = "60s" })
local rate = sluice.limiter("rpm", { rate = 60, per = "1m", burst = 10 })
local P = sluice.policy { name = "p" }
function P.accept(head)
  local n = tonumber(head.query.n) or 1
  spend:add(head.query.k, n)
  if head.query.h then hits:add(head.query.h) end
  if head.query.c then seen:set(head.query.k, "what nobody may see") end
  if head.query.r then rate:take(head.query.k, n) end
end
`;
const counted = (more = {}) => file({ code: COUNTED, policies: "P", models: `mine = function(req, out) out:text "x" end,`, routes: 'mine = { path = "/mine", front = "token", target = "mine", policies = { P } },', ...more });

async function hit(g, query) {
  const a = await g.get(`/mine?q=x&${query}`);
  assert.equal((await a.all()).end, "[DONE]");
  a.client.close();
}

play("state: what there is, by name; a key's numbers; nothing of a cache's values", async (stage) => {
  const { g, sluice } = await stageOf(stage, counted());
  await hit(g, "k=alice&n=2.5&c=1");
  await hit(g, "k=bob&n=7&r=1");
  const all = await sluice("state");
  assert.equal(all.code, 0, all.err);
  assert.deepEqual(all.out.split("\n").map((l) => l.split(/ {2,}/).filter((w) => !/^\d+$/.test(w))), [
    ["kind", "name", "keys", "bytes", "settings"], ["cache", "tenants", "max bytes 16777216"], ["counter", "hits", "window 1h"],
    ["counter", "spend", "window 365d"], ["limiter", "rpm", "rate 60, per 1m, burst 10"], [""]]);
  const spend = (await sluice("state", "spend")).out.split("\n");
  assert.match(spend[0], /^counter spend: 2 keys, \d+ bytes; window 365d$/);
  assert.deepEqual(spend.slice(1).map((l) => l.trim().split(/ {2,}/)).map((w) => [w[0], w.at(-1)]), [["value", "key"], ["7", "bob"], ["2.5", "alice"], ["", ""]]);
  assert.match((await sluice("state", "rpm")).out, /^limiter rpm: 1 key, .*\n +left +full in +key\n +3(\.\d+)? +[\d.]+s +bob\n$/);
  for (const args of [[], ["--json"]]) assert.doesNotMatch((await sluice("state", "tenants", ...args)).out, /nobody may see/);
  const [tenants] = JSON.parse((await sluice("state", "tenants", "--json")).out);
  assert.deepEqual([tenants.kind, tenants.name, tenants.keys, tenants.settings, tenants.left_out], ["cache", "tenants", 1, { max_bytes: 16777216 }, 0]);
  assert.equal(tenants.rows[0].key, "alice");
  assert.ok(tenants.rows[0].bytes > 10 && tenants.rows[0].age_ms < 60000 && tenants.rows[0].ends_in_ms <= 60000);
  assert.deepEqual(JSON.parse((await sluice("state", "--json")).out).map((t) => `${t.kind} ${t.name} ${t.keys} ${t.rows}`),
    ["cache tenants 1 undefined", "counter hits 0 undefined", "counter spend 2 undefined", "limiter rpm 1 undefined"]);
});

play("state: slots that are held, by key, while they are", async (stage) => {
  const up = await stage.upstream();
  const { g, sluice } = await stageOf(stage, file({ upstream: up.url, policies: "P",
    code: 'local jobs = sluice.semaphore("jobs", { limit = 5 })\nlocal P = sluice.policy { name = "p" }\nfunction P.accept(head) jobs:take(head.query.q) end' }));
  const running = [];
  for (const who of ["a", "b", "b"]) {
    const answer = await g.ask(who), call = await up.call();
    running.push({ answer, call });
    await call.stream();
    await call.token("x");
    await answer.token();
  }
  assert.match((await sluice("state", "jobs")).out, /^semaphore jobs: 2 keys, \d+ bytes; held 3\n +taken +key\n +2 +b\n +1 +a\n$/);
  for (const { answer, call } of running) {
    await call.complete();
    await answer.all();
  }
  await g.turn();
  assert.match((await sluice("state", "jobs")).out, /^semaphore jobs: 0 keys, 0 bytes; held 0\n$/);
});

play("state: at most 50 rows, those with the largest values, and how many were left out; keys are made harmless", async (stage) => {
  const { g, sluice } = await stageOf(stage, counted());
  for (let i = 1; i <= 120; i++) await hit(g, `k=key${i}&n=${i}`);
  await hit(g, `k=${encodeURIComponent('a\x1b[31m"\n\u202e')}&n=1000`);
  await hit(g, `k=${"L".repeat(150)}&n=2000`);
  const lines = (await sluice("state", "spend")).out.trimEnd().split("\n");
  assert.equal(lines.length, 1 + 1 + 50 + 1);
  assert.match(lines[2], /^ +2000 .*  L{128}#150#[0-9a-f]{16}$/);
  assert.ok(lines[3].endsWith('  a\\u001b[31m\\"\\n\\u202e'), lines[3]);
  assert.match(lines[4], / key120$/);
  assert.match(lines[51], / key73$/);
  assert.match(lines[52], /^ +\(72 more left out\)$/);
  const [t] = JSON.parse((await sluice("state", "spend", "--json")).out);
  assert.deepEqual([t.rows.length, t.left_out, t.rows[1].key], [50, 72, 'a\x1b[31m"\n\u202e']);
});

play("state and trace: bad words are told before anything is asked", async (stage) => {
  const { g, sluice } = await stageOf(stage, counted());
  for (const [args, code, said] of [
    [["state", "nope"], 1, /^there is no limiter, counter, semaphore or cache named "nope": sluice state FILE lists those there are\n$/],
    [["state", "a\nb"], 2, /one line/], [["state", "x".repeat(300)], 2, /at most about 180 bytes/],
    [["state", "a", "b"], 2, /takes no more words: b\nUsage: sluice state FILE \[NAME\] \[--json\]/], [["state", "--count", "1"], 2, /has no option --count/],
    [["trace", "--count", "0"], 2, /--count must be a whole number from 1, is "0"/], [["trace", "--count", "1x"], 2, /is "1x"/], [["trace", "--count", "100001"], 1, /^a trace is of 1 to 100000 exchanges\n$/],
    [["trace", "--key", "a\tb"], 2, /no tab/], [["trace", "--key", "a\nb"], 2, /one line/], [["trace", "--json"], 2, /has no option --json/],
    [["trace", "more"], 2, /takes no more words/], [["reload", "--key", "a"], 2, /has no option --key/],
  ]) {
    const r = await sluice(...args);
    assert.equal(r.code, code, `${args}: ${r.err}`);
    assert.match(r.err, said, `${args}`);
    assert.equal(r.out, "");
  }
  g.signal("SIGTERM");
  await g.ended();
  for (const name of ["state", "trace"]) {
    const r = await sluice(name);
    assert.deepEqual([r.code, /no gateway of this user runs/.test(r.err)], [1, true]);
  }
});

// ---- trace

const SECRETIVE = "the quick brown question";
const PARTS = `
local judge = sluice.service "judge"
local A = sluice.policy { name = "a" }
function A.accept(head, ctx) if head.query.k then ctx.key = { id = head.query.k } end end
function A.validate(req) if req.query.bad then return sluice.reject(422, "no_such_thing", "because " .. req.query.q) end end
function A.prompt(req, ctx)
  if req.query.boom then error("quoting " .. req.query.q) end
  ctx:gate(function() judge:get "/gate" end)
end
function A.fallback() return "next" end
function A.log() end
function A.error() end
A.filter = { match = "%d+", replace = "#" }
local B = sluice.policy { name = "b" }
B.filter = { unit = "word", text = function(word) if word:find "wait" then sluice.sleep "5ms" end end }
local C = sluice.policy { name = "c" }
function C.validate() end
`;
const traced = (up, more = {}) => file({
  code: PARTS, policies: "A, B, sluice.only_if(function() return false end, C)", route: "", upstream: up.url,
  models: 'down = { provider = "openai", url = "http://127.0.0.1:9/v1", model = "x" },',
  top: 'services = { judge = { answer = function() return "fine" end } },', ...more,
}).replace('target = "m", policies', 'target = { "down", "m" }, policies');

// "what whose" of each line, in order, and the lines themselves.
const table = (text) => text.trimEnd().split("\n").map((line) => ({ line, what: line.slice(11, 20).trim(), whose: line.slice(22, 38).trim(), did: line.slice(62) }));

async function begun(g, begin, ...args) {
  const t = begin("trace", ...args);
  await t.said(/waits for \d+ exchanges? that begins? from now on\n/);
  await g.turn();                                          // its worker knows
  return t;
}

async function tell(up, tokens) {
  const call = await up.call();
  await call.tell(tokens);
}

play("a trace tells each hook, gate, try and filter of the next exchange, in time, without a word of its text", async (stage) => {
  const up = await stage.upstream();
  const { g, begin } = await stageOf(stage, traced(up));
  const t = await begun(g, begin);
  const a = await g.ask(SECRETIVE, {});
  await tell(up, ["über 12 ", "34 wait", " end 5"]);
  assert.equal((await a.all()).text, "über # # wait end #");
  assert.deepEqual(await t.ended(), { code: 0, signal: null });
  const rows = table(t.out);
  assert.match(rows[0].line, /^exchange [0-9a-f]{24}  route ask  generation 1$/);
  assert.equal(rows[0].line.split(" ")[1], a.headers.get("x-request-id"));
  assert.equal(rows[1].line.replace(/ +/g, " "), " at what whose cpu waited did");
  const seen = rows.slice(2).map((r) => `${r.what} ${r.whose}`.trim());
  assert.deepEqual(seen.toSorted(), ["policy c", "accept a", "validate a", "prompt a", "gate a", "fallback a", "try 1 down", "try 2 m", "filter a", "filter b", "log a", "end done: status 20"].toSorted()
    .map((s) => (s.startsWith("end") ? seen.find((x) => x.startsWith("end")) : s)).filter((s) => s !== "validate c"));
  const row = (what, whose) => rows.find((r) => r.what === what && (!whose || r.whose === whose));
  assert.match(row("try 1").did, /^upstream_connect_failed after \d+ ms$/);
  assert.match(row("try 2").did, /^answered; 3 pieces, the first after \d+ ms$/);
  assert.match(row("filter", "b").did, /^in 21, out 21, held [1-9]\d* at most; \d+ calls$/);
  assert.match(row("filter", "a").did, /^in 21, out 19, held [0-9]+ at most; 3 matches$/);
  assert.match(row("filter", "b").line, / \d+ us +\d+ ms  in /);
  assert.match(row("policy", "c").did, /takes no part \(only_if\)/);
  assert.match(row("fallback").did, /^next model$/);
  assert.match(rows.at(-1).line, /end +done: status 200, 3 pieces came, \d+ bytes sent, the first text after \d+ ms$/);
  const times = rows.slice(2, -1).map((r) => /^ *(\d+) ms/.exec(r.line)?.[1]).filter(Boolean).map(Number);
  assert.deepEqual(times, times.toSorted((x, y) => x - y));     // the last line sums up; the hook log begins after the end that it tells
  for (const word of ["quick", "question", "wait ", "über"]) assert.ok(!t.out.slice(t.out.indexOf("\n", 100)).replaceAll("waited", "").includes(word), word);
});

play("a trace of a hedge: both tries, each with its own beginning and end", async (stage) => {
  const up = await stage.upstream();
  const { g, begin } = await stageOf(stage, file({ upstream: up.url, route: 'hedge = { after = "50ms", budget = "100%" }' }));
  for (const winner of [0, 1]) {
    const t = await begun(g, begin);
    const a = await g.ask("x", {});
    const calls = [await up.call(), await up.call()];
    await calls[winner].tell(["a", "b"]);
    assert.equal((await a.all()).text, "ab");
    await t.ended();
    const rows = table(t.out), did = (what) => rows.find((r) => r.what === what).did;
    assert.match(did(`try ${winner + 1}`), /^answered; 2 pieces, the first after \d+ ms$/);
    assert.match(did(`try ${2 - winner}`), winner === 0 ? /^hedge, cancelled after \d+ ms$/ : /^gave way to try 2 after \d+ ms$/);
  }
});

play("a trace of a refusal and of an error: the code or the kind, never the message", async (stage) => {
  const up = await stage.upstream();
  const { g, begin } = await stageOf(stage, traced(up));
  const t = await begun(g, begin, "--count", "2");
  const refused = await g.get(`/api/stream?q=${encodeURIComponent(SECRETIVE)}&bad=1`);
  await refused.json();
  const failed = await g.get(`/api/stream?q=${encodeURIComponent(SECRETIVE)}&boom=1`);
  await failed.json();
  assert.equal((await t.ended()).code, 0);
  const [first, second] = t.out.split("\n\n");
  assert.match(first, /validate +a .* reject 422 no_such_thing\n/);
  assert.match(first, /error +a .* pass\n/);
  assert.match(first, /end +no_such_thing by a\.validate: status 422, 0 pieces came/);
  assert.match(second, /prompt +a .* failed: raised an error\n/);
  assert.match(second, /end +policy_error by a\.prompt: status 500/);
  assert.doesNotMatch(t.out, /quick|quoting|because/);
});

play("--key and --route choose, --count counts; two who look see the same, and who leaves in the middle is missed by nobody", async (stage) => {
  const up = await stage.upstream();
  const { g, begin } = await stageOf(stage, traced(up, { routes: 'other = { path = "/other", front = "token", target = "mine" },', models: 'down = { provider = "openai", url = "http://127.0.0.1:9/v1", model = "x" }, mine = function(req, out) out:text "m" end,' }));
  const both = await begun(g, begin, "--count", "3"), bob = await begun(g, begin, "--key", "bob"), other = await begun(g, begin, "--route", "other"), leaver = await begun(g, begin, "--count", "9");
  const ask = async (query) => {
    const a = await g.get(`/api/stream?q=x&${query}`);
    return (await a.all()).end;
  };
  const one = ask("k=alice");
  await tell(up, ["a"]);
  assert.equal(await one, "[DONE]");
  await leaver.said(/key alice/);
  leaver.signal("SIGINT");
  assert.deepEqual(await leaver.ended(), { code: 130, signal: null });
  assert.equal(bob.out + other.out, "", "neither is theirs");
  const two = ask("k=bob");
  await tell(up, ["b"]);
  assert.equal(await two, "[DONE]");
  assert.equal((await bob.ended()).code, 0);
  assert.match(bob.out, /^exchange \w+  route ask  generation 1  key bob\n/);
  assert.equal(bob.out.match(/^exchange /gm).length, 1);
  assert.equal((await (await g.get("/other?q=x")).all()).end, "[DONE]");
  assert.equal((await other.ended()).code, 0);
  assert.equal((await both.ended()).code, 0);
  assert.deepEqual(both.out.match(/^exchange .*$/gm).map((l) => l.replace(/^exchange \w+ +/, "")), ["route ask  generation 1  key alice", "route ask  generation 1  key bob", "route other  generation 1"]);
  assert.ok(both.out.includes(bob.out.trimEnd()) && both.out.includes(other.out.trimEnd()));
  assert.equal(g.requests.length, 3);
});

play("a gateway that goes away ends a trace with a sentence; one that drains takes none", async (stage) => {
  const up = await stage.upstream();
  const { g, begin, sluice } = await stageOf(stage, traced(up, { drain: "20s" }));
  const t = await begun(g, begin);
  const a = await g.ask("x"), call = await up.call();
  await call.stream();
  await call.token("a b ");
  await a.token();
  g.signal("SIGTERM");
  await g.logged((l) => l.event === "stop", "that it drains");
  assert.match((await sluice("trace")).err, /shutting down/);
  await call.complete();
  await a.all();
  assert.equal((await t.ended()).code, 0, "what it waited for came in the drain");
  await g.ended();
  const { g: second, begin: again } = await stageOf(stage, counted());
  const u = await begun(second, again);
  second.signal("SIGTERM");
  assert.equal((await u.ended()).code, 1);
  assert.match(u.err, /sluice: trace: the gateway has gone/);
  await second.ended();
});

play("fifty streams that are looked at, four who look, one who reads nothing: the bytes of all are as ever", async (stage) => {
  const words = (n) => Array.from({ length: 20 }, (_, i) => `${n}:${i} `);
  const up = await stage.upstream();
  up.serve((call) => call.tell(words(call.question)));
  const { g, begin, socket } = await stageOf(stage, file({
    upstream: up.url, policies: "W", top: "workers = 2,",
    code: 'local W = sluice.policy { name = "w" }\nW.filter = { unit = "word", text = function(word) if word:find "7" then sluice.sleep "1ms" end end }',
  }));
  const look = [];
  for (let i = 0; i < 4; i++) {
    const t = begin("trace", "--count", "50");
    await t.said(/waits/);
    look.push(t);
  }
  const deaf = net.connect(socket());
  deaf.pause();
  deaf.on("error", () => {});
  deaf.write("trace 100000\t\t\n");
  const asked = async (n) => {
    const a = await g.ask(`${n}`);
    const { text, end } = await a.all();
    assert.equal(end, "[DONE]");
    assert.equal(text, words(n).join(""));
  };
  // Two workers hear of it at their own time: those before are not looked at. Each who looks sees fifty of a hundred and twenty at most.
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 40 }, (_, n) => asked(n)));
  for (const t of look) {
    assert.equal((await t.ended()).code, 0);
    const ids = t.out.match(/^exchange \w+/gm);
    assert.equal(new Set(ids).size, 50);
    assert.ok(ids.every((id) => g.requests.some((r) => `exchange ${r.id}` === id)));
  }
  deaf.destroy();
  await eventually(async () => (await g.metrics()).streams_open === 0, "all to end");
});

play("a trace is bounded: what is too much is counted, not kept", async (stage) => {
  const up = await stage.upstream();
  up.serve((call) => call.reply(200, {}, "fine"));
  const { g, begin } = await stageOf(stage, file({
    top: `services = { s = { url = "${up.url}" } },`, code: 'local s = sluice.service "s"',
    models: 'mine = function(req, out) for i = 1, 250 do s:get("/x", { query = { q = req:last_user() } }) out:text "x " end end,', routes: 'mine = { path = "/mine", front = "token", target = "mine" },',
  }));
  const t = await begun(g, begin);
  assert.equal((await (await g.get(`/mine?q=${encodeURIComponent(SECRETIVE)}`)).all()).end, "[DONE]");
  await t.ended();
  assert.equal(t.out.match(/^ +\d+ ms  service    s +\d+ ms  GET 200$/gm).length, 200);
  assert.match(t.out, /\n +\(51 more left out\)\n +\d+ ms  end        done: /);
  assert.doesNotMatch(t.out, /quick/);
});

// ---- the README

play("the README's samples of state and trace are what the example's gateway says, but for its numbers", async (stage) => {
  const text = fs.readFileSync(path.join(ROOT, "README.md"), "utf8");
  const [state, trace] = [/^limiter [^]*?(?=```)/m, /^exchange [0-9a-f]{24} [^]*?(?=```)/m].map((r) => r.exec(text)[0]);
  const { sluice, begin, g } = await stageOf(stage, { path: path.join(ROOT, "examples/ask/gateway.lua") }, { env: { SLUICE_LISTEN: "127.0.0.1:0" } });
  const t = await begun(g, begin);
  const a = await g.get("/api/stream?q=What+is+Sluice%3F");
  await a.all();
  assert.equal((await t.ended()).code, 0);
  const plain = (s) => s.replace(/exchange \w+/, "exchange").replace(/[\d.]+m?s?/g, "N").replace(/ +/g, " ");
  assert.equal(plain(t.out), plain(trace));
  assert.equal(plain((await sluice("state", "rate_limit/questions")).out), plain(state));
});
