// help, types and explain: what they print, what they write, and that the reference they are made from tells of everything there is.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { place } from "./command.mjs";
import { ROOT } from "./play.mjs";

const p = place("tools");

// ---- help

test("help: without a name every chapter and every owner", () => {
  const r = p.sluice("help");
  assert.equal(r.code, 0, r.err);
  for (const title of ["The module", "Verdicts", "Policies", "Hooks", "Filters", "The request and its context", "What hooks are told", "Services", "Shared state", "Matching", "Configuration", "Ready parts", "Dialects"])
    assert.match(r.out, new RegExp(`^${title}$`, "m"));
  assert.match(r.out, /^ {2}ctx: +header gate tag/m);
  assert.match(r.out, /^ {2}P\. +prepare init accept validate/m);
});

test("help: one name, in every form that a person may write it", () => {
  for (const [names, said] of [
    [["sluice.reject", "reject", "sluice.reject()"], [/^sluice\.reject\(status, code, message\)\n/, /^ {2}status +integer +From 400 to 599/m, /^ {2}also +sluice\.reject\(refusal/m, /^ {2}example\n\n {4}function P\.validate/m]],
    [["ctx:header", "ctx.header"], [/^ctx:header\(name, value\)\n/, /^ {2}error +a header that belongs to the gateway/m]],
    [["filter.max_hold", "max_hold"], [/^filter\.max_hold\n/, /"64kb" by default/, /^ {2}type +sluice\.Size, may be left out/m]],
    [["validate", "P.validate", "hook.validate"], [/^P\.validate\(req, ctx\)\n/, /^ {2}returns +sluice\.Verdict\?: nothing to go on/m]],
    [["parts.redact", "sluice.parts.redact"], [/^parts\.redact\(options\?\)\n/, /^ {2}parts\.redact\.restore +Put the user's own data back/m]],
    [["parts.rate_limit.per"], [/^parts\.rate_limit\.per\n/, /^ {2}default +"1m"/m]],
    [["ctx"], [/^ctx\n/, /^ {2}ctx\.id +The request's id/m, /^ {2}ctx:tag\(name, value\) +Adds/m]],
    [["sluice.Request"], [/^req\n/, /^ {2}req:map_text\(fn, roles\?\)/m]],
    [["sluice.Duration"], [/^sluice\.Duration\n/, /"800ms"/]],
    [["sluice.has"], [/^ {2}values +.*filter\.match/m]],
    [["text"], [/^Several are called "text":\n/, /^ {2}filter\.text\(/m, /^ {2}req:text\(/m, /^ {2}out:text\(/m]],
  ])
    for (const name of names) {
      const r = p.sluice("help", name);
      assert.equal(r.code, 0, `${name}: ${r.err}`);
      for (const s of said) assert.match(r.out, s, name);
      assert.equal(r.err, "");
    }
});

test("help: a name that is not there: what was meant, exit 1", () => {
  for (const [name, meant] of [["filter.mx_hold", "filter.max_hold"], ["sluice.rejct", "sluice.reject"], ["valdate", "validate"], ["ctx:hedder", "ctx:header"]]) {
    const r = p.sluice("help", name);
    assert.equal(r.code, 1);
    assert.equal(r.out, "");
    assert.ok(r.err.startsWith(`sluice: help: there is nothing called "${name}"; did you mean "${meant}"?\n`), r.err);
  }
  assert.match(p.sluice("help", "zzzzzzzzzzzz").err, /nothing called "zzzzzzzzzzzz"\nTry: sluice help/);
});

test("help --markdown: one heading for each entry", () => {
  const r = p.sluice("help", "--markdown");
  assert.equal(r.code, 0);
  const [, entries] = /^(\d+) entries/.exec(p.sluice("help", "--audit").out);
  assert.equal([...r.out.matchAll(/^### `/gm)].length, Number(entries));
  assert.equal([...r.out.matchAll(/^```/gm)].length % 2, 0);
});

// ---- the reference tells of everything there is, of nothing else, and this would be noticed

test("the reference is complete", () => {
  const r = p.sluice("help", "--audit");
  assert.equal(r.err, "");
  assert.equal(r.code, 0);
  assert.ok(Number(/^(\d+)/.exec(r.out)[1]) > 250);
});

test("the audit finds what has no entry, entries of nothing, and entries that are wrong", () => {
  for (const [file, from, to, ...said] of [
    ["init.lua", "M.trim = host.trim", "M.trim = host.trim\nM.brand_new = host.trim", "sluice.brand_new has no entry"],
    ["policy.lua", '"error", "log" }', '"error", "log", "later_on" }', "later_on has no entry"],
    ["policy.lua", "local filter_fields = { text = true,", "local filter_fields = { text = true, speed = true,", "filter.speed has no entry"],
    ["policy.lua", "local UNITS = { delta = 0,", "local UNITS = { page = 9, delta = 0,", "unit.page has no entry"],
    ["option.lua", "  string = function(v)", "  date = function(v) return v end,\n  string = function(v)", "type.date has no entry"],
    ["context.lua", "function ctx_methods.tag(", "function ctx_methods.shout() end\nfunction ctx_methods.tag(", "ctx:shout has no entry"],
    ["context.lua", "  vars = function(x)", "  mood = function() return 1 end,\n  vars = function(x)", "ctx.mood has no entry"],
    ["exchange.lua", '"request_id", "extra" }', '"retryable", "extra", "blame" }', "err.blame has no entry"],
    ["verdict.lua", "local stop_fields = {", "local stop_fields = { loud = true,", "stop.loud has no entry"],
    ["config.lua", "local limits = schema.record({", "local limits = schema.record({ cookies = { schema.size },", "limits.cookies has no entry"],
    ["config.lua", 'heartbeat = { schema.duration }, policies', 'heartbeat = { schema.duration, required = "x" }, policies', "route.heartbeat must be given"],
    ["reference/parts.lua", '"parts.cors"', '"parts.corse"', "parts.cors has no entry", "parts.corse has an entry"],
    ["reference/state.lua", '"limiter:take"', '"limiter:grab"', "limiter:take has no entry", "limiter:grab has an entry"],
    ["reference/match.lua", '"words.fold?"', '"words.folded?"', "words.fold has no entry", "words.folded has an entry"],
    ["reference/match.lua", '"m.kind"', '"m.sort"', "m.kind has no entry"],
    ["reference/request.lua", 'params = { name = "A word.",', 'params = { nam = "A word.",', "ctx:tag: its parameter name", "ctx:tag has no parameter nam"],
    ["reference/hook.lua", "head: sluice.Head", "head: sluice.Hat", "accept: the type sluice.Hat"],
    ["reference/hook.lua", 'P.filter = { match = { sluice.match.email }', "P.filter = { match = { sluice.match.emial }", "filter: ", 'did you mean "email"'],
    ["reference/hook.lua", "`shape.status`", "`shape.stats`", "error: `shape.stats` is told of nowhere"],
  ]) {
    fs.rmSync(path.join(p.dir, "lua"), { recursive: true, force: true });
    p.copy("lua", "lua");
    const name = path.join("lua/sluice", file);
    const text = p.read(name);
    assert.ok(text.includes(from), `${file} has no ${from}`);
    p.write(name, text.replace(from, () => to));
    const r = p.sluice("help", "--audit", "--lua", "lua");
    assert.equal(r.code, 1, `${file}: ${to}`);
    for (const s of said) assert.ok(r.err.includes(s), `${s} in\n${r.err}`);
  }
});

// ---- types

test("types: three files, written once, ours renewed, a person's left alone", () => {
  p.write("t/x", "");
  const first = p.sluice("types", "t");
  assert.equal(first.code, 0, first.err);
  assert.deepEqual(first.out.trim().split("\n"), ["t/sluice.d.lua: written", "t/.luarc.json: written", "t/.luacheckrc: written"]);
  assert.equal(p.sluice("types", "t/").out.match(/already as it should be/g).length, 3);

  p.write("t/sluice.d.lua", "---@meta sluice\n-- of an older version\n");
  p.write("t/.luarc.json", "{}");
  p.write("t/.luacheckrc", "std = 'lua54'\n");
  const again = p.sluice("types", "t");
  assert.equal(again.code, 0);
  assert.match(again.out, /^t\/sluice\.d\.lua: written\nt\/\.luarc\.json: left alone, it differs \(sluice types --force writes over it\)\nt\/\.luacheckrc: left alone/);
  assert.equal(p.read("t/.luarc.json"), "{}");
  assert.match(p.sluice("types", "t", "--force").out, /\.luarc\.json: written\nt\/\.luacheckrc: written/);
  assert.match(p.read("t/.luacheckrc"), /stds\.sluice/);

  p.write("t/sluice.d.lua", "-- somebody's own\n");
  assert.match(p.sluice("types", "t").out, /^t\/sluice\.d\.lua: left alone/);
});

test("types: a directory that is not there is a sentence and exit 1", () => {
  const r = p.sluice("types", "nowhere");
  assert.equal(r.code, 1);
  assert.match(r.err, /^sluice: types: cannot write nowhere\/sluice\.d\.lua: No such file or directory\n/);
});

test("types: an empty name is no directory", () => {
  const r = p.sluice("types", "");
  assert.deepEqual([r.code, r.out, r.err], [1, "", "sluice: types: which directory? its name is empty\n"]);
});

test("types: the annotations are Lua, name every hook as a field and every function as a stub", () => {
  p.write("u/x", "");
  p.sluice("types", "u");
  const r = p.run("lua5.4", "-e", 'local s = dofile "u/sluice.d.lua" for k in pairs(s) do print(k) end');
  assert.equal(r.code, 0, r.err);
  const text = p.read("u/sluice.d.lua");
  const overview = p.sluice("help").out;
  const stubs = r.out.trim().split("\n");
  for (const name of ["config", "policy", "reject", "reply", "stop", "env", "secret", "sleep", "limiter", "counter"]) assert.ok(stubs.includes(name), name);
  for (const hook of /^ {2}P\. +(.*)$/m.exec(overview)[1].split(" ").filter((h) => !["filter", "init", "prepare"].includes(h)))
    assert.match(text, new RegExp(`^---@field ${hook}\\? (async )?fun\\(.*ctx: sluice\\.Context\\)`, "m"));
  for (const method of /^ {2}ctx: +(.*)$/m.exec(overview)[1].split(" ")) assert.match(text, new RegExp(`^---@field ${method} fun\\(self: sluice\\.Context`, "m"));
  for (const word of ["sluice.Filter", "sluice.Request", "sluice.parts.redact"]) assert.match(text, new RegExp(`^---@class (\\(exact\\) )?${word.replaceAll(".", "\\.")}\\b`, "m"));
  assert.deepEqual(JSON.parse(p.read("u/.luarc.json"))["runtime.builtin"], { debug: "disable", io: "disable", os: "disable" });
});

test("types: luacheck with the written standard accepts the examples and finds what the sandbox lacks", () => {
  p.copy("examples/ask", "ask");
  p.sluice("types", "ask");
  const good = p.run("luacheck", "--config", "ask/.luacheckrc", "ask");
  assert.equal(good.code, 0, good.out + good.err);
  p.write("ask/bad.lua", 'local f = io.open "x"\nos.exit(1)\nload "x"\nstring.dump(f)\nmath.randomseed(1)\nhits = 1\nprint(debug)\n');
  const bad = p.run("luacheck", "--no-color", "--config", "ask/.luacheckrc", "ask/bad.lua");
  for (const [line, name] of [[1, "io"], [2, "os"], [3, "load"], [4, "dump"], [5, "randomseed"], [6, "hits"], [7, "debug"]])
    assert.match(bad.out, new RegExp(`bad\\.lua:${line}:\\d+: .*${name}`), bad.out);
});

// ---- explain

const GATEWAY = `local sluice = require "sluice"
local tone = sluice.policy { name = "tone", doc = "Keeps the tone.", on_error = { filter = "open" },
  options = { strict = { type = "boolean", default = false }, key = { type = "secret" }, note = { type = "string" } } }
tone.filter = {
  { unit = "sentence", on = "content", check = function() end },
  { match = { sluice.match.email, "%d%d" }, replace = "[x]", max_hold = "8kb", overflow = "release" },
}
function tone.route() return "slow" end
function tone.prompt(req) req:system "Be nice." end
function tone.error() end
function tone.log() end
local seen = sluice.policy { name = "seen" }
function seen.prompt() end
seen.filter = { when = function() return true end, text = function(text) return text end }
return sluice.config {
  api = 1, listen = "[::1]:4001",
  models = {
    fast = { provider = "openai", model = "gpt-4o-mini", key = sluice.secret "SOME_KEY", timeout = { gap = "5s" } },
    slow = { answer = function(_, out) out:text "slow" end },
  },
  routes = {
    chat = { path = { "/a", "/b" }, front = "token", target = "fast", heartbeat = "5s", timeout = { total = "90s", connect = "500ms" },
      policies = { seen, { tone, name = "tone_strict", strict = true, key = sluice.secret "SOME_KEY" }, { tone, mode = "off" } } },
    plain = { path = "/plain", front = "token", target = "slow" },
    page = { path = "/", files = "." },
  },
}
`;

const CHAT = `g.lua listens at [::1]:4001

route chat
  paths      /a, /b
  front      token (GET, HEAD, OPTIONS)
  model      fast: openai, gpt-4o-mini at https://api.openai.com/v1, key <secret SOME_KEY>
             connect 500ms, first token 60s, gap 5s, total 90s
  heartbeat  a comment after 5s of silence
  off        tone

  policies, client side first
    1. seen, g.lua:12
    2. tone_strict (policy tone), g.lua:2
       Keeps the tone.
       key     <secret SOME_KEY>
       note    not set
       strict  true

  a request passes: hook, policy, when it fails, where
    route   tone_strict  closed  g.lua:8
    prompt  seen         closed  g.lua:13
    prompt  tone_strict  closed  g.lua:9

  then the model answers: fast

  its text passes the filters, in this order
    1. tone_strict: check, unit sentence, g.lua:5
       on     content
       holds  up to 64kb, then the answer ends
       fails  open: unfiltered text goes on
    2. tone_strict: match email, pattern "%d%d", replace by "[x]"
       on     content, reasoning, refusal
       holds  up to 8kb, then what is held is let go
       fails  open: unfiltered text goes on
    3. seen: raw, unit delta, g.lua:14
       on     content, reasoning, refusal
       when   the function at g.lua:14 says so
       holds  up to 64kb, then the answer ends
       fails  closed

  a failure passes
    error  tone_strict  closed  g.lua:10

  afterwards
    log  tone_strict  open  g.lua:11
`;

test("explain: a route as it runs", () => {
  p.write("g.lua", GATEWAY);
  const r = p.sluice("explain", "g.lua", "chat", { SOME_KEY: "sk-very-secret-value" });
  assert.equal(r.err, "");
  assert.equal(r.code, 0);
  assert.equal(r.out, CHAT);
});

test("explain: all routes; files; a Lua model; the example of the README", () => {
  p.write("g.lua", GATEWAY);
  const all = p.sluice("explain", "g.lua", { SOME_KEY: "sk-very-secret-value" });
  assert.deepEqual([...all.out.matchAll(/^route (\w+)$/gm)].map((m) => m[1]), ["chat", "page", "plain"]);
  assert.match(all.out, /^route page\n {2}paths +\/ and below\n {2}files +\/.*\n/m);
  assert.match(all.out, /^ {2}model +slow: Lua at g\.lua:19$/m);
  assert.ok(!all.out.includes("sk-very"));
  const ask = p.sluice("explain", path.join(ROOT, "examples/ask/gateway.lua"), "ask");
  assert.match(ask.out, /2\. rate_limit, sluice\.parts\.rate_limit\n[^]*?rate +10\n/);
  assert.match(ask.out, /burst +not set\n/);
  assert.match(ask.out, /cost +1 \(default\)\n/);
});

test("explain --json: the same as data", () => {
  p.write("g.lua", GATEWAY);
  const r = p.sluice("explain", "g.lua", "chat", "--json", { SOME_KEY: "sk-very-secret-value" });
  const { file, listen, routes } = JSON.parse(r.out);
  assert.deepEqual([file, listen, routes.length], ["g.lua", "[::1]:4001", 1]);
  const [chat] = routes;
  assert.deepEqual(chat.hooks.request.map((h) => `${h.hook} ${h.policy} ${h.on_error} ${h.at}`), ["route tone_strict closed g.lua:8", "prompt seen closed g.lua:13", "prompt tone_strict closed g.lua:9"]);
  assert.deepEqual(chat.models, [{ name: "fast", provider: "openai", model: "gpt-4o-mini", url: "https://api.openai.com/v1", key: "<secret SOME_KEY>",
    timeouts: { connect: "500ms", first_token: "60s", gap: "5s", total: "90s" } }]);
  assert.deepEqual(chat.filters.map((f) => [f.policy, f.kind, f.unit ?? f.match, f.channels.length, f.max_hold, f.overflow, f.on_error]), [
    ["tone_strict", "check", "sentence", 1, "64kb", "stop", "open"], ["tone_strict", "match", 'email, pattern "%d%d"', 3, "8kb", "release", "open"],
    ["seen", "raw", "delta", 3, "64kb", "stop", "closed"]]);
  assert.deepEqual(chat.policies[1].options, [{ name: "key", value: "<secret SOME_KEY>", default: false }, { name: "note", default: true }, { name: "strict", value: "true", default: false }]);
  assert.deepEqual(chat.off, ["tone"]);
});

test("explain: a file is named, not shown; prepare stands where it runs", () => {
  p.write("k/keys.txt", `ann sha256:${"0".repeat(64)}\n`);
  p.write("k/k.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":4001", models = { m = function() end },
  routes = { r = { path = "/r", front = "token", target = "m", policies = { sluice.parts.api_keys { file = "keys.txt" } } } } }
`);
  const r = p.sluice("explain", "k/k.lua");
  assert.equal(r.err, "");
  assert.match(r.out, /^ +file +"k\/keys\.txt"$/m);
  assert.match(r.out, /^ {2}once, when the file is loaded\n {4}prepare +api_keys +closed +lua\/sluice\/parts\/api_keys\.lua:\d+$/m);
  assert.doesNotMatch(r.out, /sha256/);
});

test("explain: several models, services, conditions, monitor mode, hooks of every time", () => {
  p.write("w.lua", `local sluice = require "sluice"
local judge = sluice.service "judge"
local P = sluice.policy { name = "p" }
function P.init() end
function P.prompt() judge:get "/x" end
function P.attempt() end
function P.fallback() return "next" end
function P.response() end
function P.tool_call() end
function P.finish() end
local W = sluice.policy { name = "w", mode = "monitor" }
function W.validate() end
W.filter = { match = "x", replace = "y" }
return sluice.config { api = 1, listen = ":4001",
  services = { judge = { url = "http://127.0.0.1:8000", max_parallel = 5 } },
  models = { a = function(_, out) out:text "a" end, b = { provider = "openai", model = "x", url = "http://127.0.0.1:1" } },
  routes = { r = { path = "/r", front = "token", target = { "a", "b" }, policies = { sluice.chain { sluice.parts.hide_reasoning(), sluice.only_if(function() return true end, P) }, W } } } }
`);
  const r = p.sluice("explain", "w.lua");
  assert.equal(r.err, "");
  const lines = r.out.split("\n").map((l) => l.trim().replace(/ {2,}/g, " | "));
  const order = ["service judge at http://127.0.0.1:8000, 1500ms, 5 calls of a worker at once", "model | a: Lua at w.lua:16", "or | b: openai, x at http://127.0.0.1:1, no key", "1. hide_reasoning, sluice.parts.hide_reasoning",
    "2. p, w.lua:3", "only if the function at w.lua:17 says so", "3. w, w.lua:11", "mode monitor: runs beside the answer and changes nothing", "init | p | closed | w.lua:4", "prompt | p | closed | w.lua:5",
    "attempt | p | closed | w.lua:6", "fallback | p | closed | w.lua:7", "then the model answers: a, or if that fails b", "1. w: watches the text as it is here (see below)", "2. hide_reasoning: raw, unit delta, lua/sluice/parts/hide_reasoning.lua:8",
    "response | p | closed | w.lua:8", "tool_call | p | closed | w.lua:9", "finish | p | closed | w.lua:10", "beside the answer, only watched: w", "validate | w | closed | w.lua:12", '1. w: match pattern "x", replace by "y"'];
  let at = -1;
  for (const line of order) {
    const next = lines.indexOf(line, at + 1);
    assert.ok(next > at, `${line} in its place in\n${r.out}`);
    at = next;
  }
  const data = JSON.parse(p.sluice("explain", "w.lua", "--json").out);
  assert.deepEqual(data.services, [{ name: "judge", url: "http://127.0.0.1:8000", timeout: "1500ms", max_parallel: 5 }]);
  assert.deepEqual(data.routes[0].monitored.map((m) => [m.policy, m.hooks.request.length, m.filters.length]), [["w", 1, 1]]);
  assert.deepEqual(data.routes[0].policies.map((x) => x.mode), ["enforce", "enforce", "monitor"]);
});

test("explain: second tries", () => {
  p.write("t.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":4001", models = { a = { provider = "anthropic", model = "x" } },
  routes = { r = { path = "/r", front = "token", target = "a", prerelease = { chars = 400, time = "500ms" }, on_death = "continue", hedge = { after = "800ms" } } } }
`);
  const r = p.sluice("explain", "t.lua");
  assert.equal(r.err, "");
  const lines = r.out.split("\n").map((l) => l.trim().replace(/ {2,}/g, " | "));
  for (const line of ["held back | the beginning of an answer, until it has 400 characters or 500ms have passed", "on death | the next model goes on with the text so far",
    "hedge | a second try after 800ms without text, for at most 10% of the requests"]) assert.ok(lines.includes(line), `${line} in\n${r.out}`);
  const [route] = JSON.parse(p.sluice("explain", "t.lua", "--json").out).routes;
  assert.deepEqual([route.prerelease, route.on_death, route.hedge], [{ chars: 400, time: "500ms" }, "continue", { after: "800ms", budget: "10%" }]);
});

test("explain: a route that is not there, a file with mistakes, no file", () => {
  p.write("g.lua", GATEWAY);
  const r = p.sluice("explain", "g.lua", "chta", { SOME_KEY: "x1234" });
  assert.deepEqual([r.code, r.out, r.err], [1, "", 'sluice: explain: g.lua has no route "chta"; did you mean "chat"? (it has chat, page, plain)\n']);
  const bad = p.sluice("explain", "g.lua");
  assert.equal(bad.code, 1);
  assert.match(bad.err, /g\.lua:18: the secret SOME_KEY is missing/);
  assert.match(p.sluice("explain", "none.lua").err, /none\.lua: No such file/);
});

test("misuse of the tools: a sentence, their usage, exit 2", () => {
  for (const [args, said] of [
    [["explain"], /explain needs a gateway file\nUsage: sluice explain FILE \[ROUTE\]/], [["explain", "a", "b", "c"], /explain takes no more words: c/], [["help", "a", "b"], /help takes no more words: b/],
    [["types", "a", "b"], /types takes no more words: b/], [["help", "--force"], /help has no option --force\nUsage: sluice help/], [["run", "x", "--strict"], /run has no option --strict/],
    [["types", "--json"], /types has no option --json/],
  ]) {
    const r = p.sluice(...args);
    assert.equal(r.code, 2, args.join(" "));
    assert.match(r.err, said);
    assert.equal(r.out, "");
  }
});
