// `sluice test` beside running specs: coverage, fuzzing, golden answers; `check --spec`.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { place } from "./command.mjs";

const p = place("testing");
const T = 'local t = require "sluice.testing"\n';

// Runs one spec about policies/p.lua, in a folder of its own; what it printed, and its exit code.
let folders = 0;
function specs(policy, spec, ...options) {
  const dir = `d${++folders}`;
  p.write(`${dir}/policies/p.lua`, policy);
  p.write(`${dir}/spec/p_spec.lua`, T + spec);
  return { dir, ...p.sluice("test", `${dir}/spec`, ...options) };
}

const it = (body) => `describe("p", function() it("does", function()\n${body}\nend) end)\n`;

// ---- coverage

// The line numbers that a mark stands behind.
const marked = (text, mark) => text.split("\n").flatMap((line, i) => (line.includes(mark) ? [i + 1] : []));
// "4, 7-9" as numbers, of those lines that hold code (all but blank ones and comments).
function listed(text, list) {
  const code = text.split("\n").map((line) => /\S/.test(line.replace(/--.*/, "")));
  return list.split(", ").flatMap((range) => {
    const [from, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((n) => code[n - 1]);
  });
}

const COVERED = `local sluice = require "sluice"
local P = sluice.policy { name = "p" }
local list = {}
for i = 1, 3 do
  if i == 2 then
    list[#list + 1] = "two"
  elseif i == 9 then
    list[#list + 1] = "nine" -- NOT
  end
end
for _ in pairs({}) do
  list[1] = nil -- NOT
end
while #list > 5 do
  table.remove(list) -- NOT
end
local function outer(x)
  local function inner(y)
    if y then
      return "yes"
    else
      return "no" -- NOT
    end
  end
  local function never()
    return 1 -- NOT
  end
  return inner(x), never
end
local function unused(a) -- a comment

  local b = a -- NOT

  -- another
  return b -- NOT
end
local function many(...)
  local n = select("#", ...)
  return n
end
function P.validate(req, ctx)
  local co = coroutine.wrap(function(a)
    local b = coroutine.yield(a)
    if b then
      many(b)
      return "b"
    end
    return "no b" -- NOT
  end)
  co(1)
  co(2)
  local ok = pcall(function()
    local nothing
    nothing.at = 1
    many(nothing) -- NOT
  end)
  if ok then
    unused(1) -- NOT
  end
  local results = sluice.all {
    function()
      sluice.sleep "10ms"
      return outer(true)
    end,
    function()
      sluice.sleep "20ms"
    end,
  }
  goto done
  ::done::
  return nil
end
P.filter = {
  { match = "x+", replace = function(m)
    if m.text == "xx" then
      return "2"
    end
    return nil -- NOT
  end },
  { text = function(text, ctx, part)
    local out = part.last
      and "." or
      text
    return out
  end },
}
function P.error(err)
  local code = err.code -- NOT
  return code and nil -- NOT
end
function P.log(sum)
  repeat
    local n = sum.tokens
  until n
end
return P
`;

test("coverage: exact in loops, branches, functions in functions, coroutines, hooks, filters and what runs at load", () => {
  const r = specs(COVERED, it('assert.equal("a2b.", t.load({ policies = { "policies.p" } }):chat({ upstream = { "ax", "xb" } }).text)'), "--coverage");
  assert.equal(r.code, 0, r.out + r.err);
  const [, percent, list] = /^ +(\d+\.\d) % {2}\S*policies\/p\.lua {2}not: (.*)$/m.exec(r.out) ?? assert.fail(r.out);
  assert.deepEqual(listed(COVERED, list), marked(COVERED, "NOT"));
  assert.ok(Number(percent) > 80 && Number(percent) < 100, r.out);
  assert.match(r.out, /^ +\d+\.\d % {2}of \d+ lines in 1 file$/m);
});

test("coverage: a watchdog that looks or kills takes no line away, and coverage none of its kills", () => {
  const policy = `local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.validate(req)
  if req.params.how == "loop" then
    while true do
    end
  elseif req.params.how == "co" then
    coroutine.wrap(function()
      repeat
        local _ = 1
      until false
    end)()
    return "never" -- NOT
  end
  local n = 0
  for i = 1, 300000 do
    n = n + 1
  end
  local done = n
  return done and nil
end
return P
`;
  const r = specs(policy, it(`local g = t.load { policies = { "policies.p" } }
for _, how in ipairs { "loop", "co" } do assert.equal("policy_timeout", g:chat({ params = { how = how }, upstream = { "a" }, no_shake = true }).error.code) end
assert.equal("a", g:chat({ upstream = { "a" }, no_shake = true }).text)`), "--coverage");
  assert.equal(r.code, 0, r.out + r.err);
  const [, list] = /p\.lua {2}not: (.*)$/m.exec(r.out) ?? assert.fail(r.out);
  assert.deepEqual(listed(policy, list), marked(policy, "NOT"));
});

test("coverage: files of the sandbox only, each once, whole ones without a list; also when a spec fails", () => {
  p.write("cov/policies/a.lua", 'local sluice = require "sluice"\nlocal words = require "lua.words"\nreturn sluice.policy { name = words.name }\n');
  p.write("cov/lua/words.lua", 'return { name = "a" }\n');
  p.write("cov/gateway.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = function(_, out)
  out:text "x"
end }, routes = { r = { path = "/r", front = "token", target = "m", policies = { "policies.a", sluice.parts.cors { origins = { "*" } } } } } }
`);
  p.write("cov/spec/a_spec.lua", `${T}describe("a", function()
  it("is loaded twice, and from texts that are no files", function()
    t.load "gateway.lua"
    t.load { policies = { "policies.a", t.lua "sluice.policy { name = 'b' }" } }
    t.load { source = "local sluice = require 'sluice'\\nerror 'not a gateway'" }
    assert.equal(1, 2)
  end)
end)
`);
  const r = p.sluice("test", "cov/spec", "--coverage");
  assert.equal(r.code, 1);
  const report = r.out.slice(r.out.indexOf("coverage:"));
  assert.equal(report, `coverage: lines that ran
   75.0 %  cov/gateway.lua     not: 3
  100.0 %  cov/lua/words.lua
  100.0 %  cov/policies/a.lua
   87.5 %  of 8 lines in 3 files
`);
  assert.ok(!p.sluice("test", "cov/spec").out.includes("coverage"));
});

// ---- fuzz

const ASKS = (body) => `local sluice = require "sluice"
local judge = sluice.service "judge"
local P = sluice.policy { name = "p" }
function P.validate(req, ctx)
  local res, err = judge:get "/"
${body}
end
return P
`;
const ASK = it('t.load({ policies = { "policies.p" }, services = { judge = { json = { ok = true } } } }):chat { user = "4111", upstream = { "ab", "cd" }, secrets = { "4111" } }');

// The command that a failure names finds the same failure.
function again(r, said) {
  const [, dir, seed] = /the same again: sluice test (\S+) --fuzz 1 --seed (\d+)$/m.exec(r.out) ?? assert.fail(r.out);
  const second = p.sluice("test", dir, "--fuzz", "1", "--seed", seed);
  assert.equal(second.code, 1);
  assert.match(second.out, said);
}

test("fuzz: what is right passes, however it is cut and whatever fails; the seed is told", () => {
  const good = ASKS('  if not res then error(err) end\n  if res.status ~= 200 then error("the judge said " .. res.status) end\n  assert(res.json().ok)');
  const r = specs(good, ASK, "--fuzz", "40", "--seed", "7");
  assert.equal(r.code, 0, r.out);
  assert.match(r.out, /^fuzz: 40 random cuttings of 1 exchange, 40 runs with failing services; seed 7 \(the same again: --fuzz 40 --seed 7\)$/m);
  assert.match(specs(good, ASK, "--fuzz", "2").out, /; seed \d+ \(/);
});

test("fuzz: a script that takes for granted that its service answers has an accident", () => {
  for (const body of ["  if res.status ~= 200 then return end", "  if not res then return end\n  return res.json().ok and nil"]) {
    const r = specs(ASKS(body), ASK, "--fuzz", "30", "--seed", "1");
    assert.equal(r.code, 1, body);
    const said = /p_spec\.lua:3: a script had an accident when a service failed: policy "p", validate: \S+p\.lua:\d+: .*\n {2}services: call 1: (timeout|connect|status 500)\n/;
    assert.match(r.out, said);
    again(r, said);
    assert.equal(p.sluice("test", `${r.dir}/spec`).code, 0);
  }
});

test("fuzz: a secret that leaves when the guard is down", () => {
  const leaks = ASKS("  if not res or res.status ~= 200 then return sluice.reject(503, \"down\", \"no judge for: \" .. req:last_user()) end");
  const r = specs(leaks, ASK, "--fuzz", "10", "--seed", "1");
  assert.equal(r.code, 1);
  const said = /p_spec\.lua:3: the secret "4111" reached the client, in the body\n {2}services: call 1: /;
  assert.match(r.out, said);
  again(r, said);
});

test("fuzz: cuttings that shaking does not try", () => {
  const rare = `local sluice = require "sluice"
local P = sluice.policy { name = "p" }
P.filter = { text = function(text)
  if #text == 17 then return "17" end
  return text
end }
return P
`;
  const spec = it(`t.load({ policies = { "policies.p" } }):chat { upstream = { ("abc"):rep(40) } }`);
  const r = specs(rare, spec, "--fuzz", "60", "--seed", "3");
  assert.equal(p.sluice("test", `${r.dir}/spec`).code, 0, "shaking finds it already");
  assert.equal(r.code, 1);
  assert.match(r.out, /the result depends on where the upstream cuts its text \(seed \d+\)\n {2}as given: .*\n {2}re-cut: .*\n/);
  again(r, /the result depends on where/);
});

test("fuzz: leaves counters, clock and what the spec sees as they were", () => {
  const counts = `local sluice = require "sluice"
local judge, seen = sluice.service "judge", sluice.counter("fuzz_seen", { window = "1h" })
local P = sluice.policy { name = "p" }
function P.validate(_, ctx)
  judge:get "/"
  ctx:tag("seen", seen:add "k")
end
return P
`;
  const r = specs(counts, it(`local g = t.load { policies = { "policies.p" }, services = { judge = "yes" } }
for i = 1, 3 do
  local x = g:chat { upstream = { "ab", "cd" } }
  assert.equal(i .. ".0", x.tags.seen)
  assert.equal(1, #x.calls)
  assert.equal(i, g:count "streams_total")
end
assert.equal(1000000, g.world:now())`), "--fuzz", "5", "--seed", "1");
  assert.equal(r.code, 0, r.out);
});

// ---- golden answers

test("golden answers: missed, written, held to, told apart", () => {
  const spec = (value, more = "") => `${T}describe("g", function() it("x", function()\n  t.golden("first", ${value})\n${more}\nend) end)\n`;
  const run = (...options) => p.sluice("test", "gold/spec", ...options);
  p.write("gold/spec/g_spec.lua", spec('{ text = "a\\"b", list = { 1, 2.5, { z = true, a = {} } }, events = { { content = "é" } } }', '  t.golden("words", "one\\ntwo\\nthree\\nfour\\nfive\\nsix\\n")'));
  const missing = run();
  assert.equal(missing.code, 1);
  assert.match(missing.out, /g_spec\.lua:3: there is no golden answer gold\/spec\/golden\/first\.json; sluice test --update writes it:\n {2}\+ \{\n {2}\+ {3}"events": \[/);
  assert.ok(!fs.existsSync(path.join(p.dir, "gold/spec/golden")));

  const update = run("--update");
  assert.equal(update.code, 0, update.out);
  assert.match(update.out, /^golden answers: 2 written$/m);
  assert.equal(p.read("gold/spec/golden/first.json"), `{
  "events": [
    {
      "content": "é"
    }
  ],
  "list": [
    1,
    2.5,
    {
      "a": [],
      "z": true
    }
  ],
  "text": "a\\"b"
}
`);
  assert.equal(run().code, 0);

  p.write("gold/spec/g_spec.lua", spec('{ text = "a\\"b", list = { 1, 2.5, { z = false, a = {} } }, events = { { content = "é" } } }'));
  const other = run();
  assert.equal(other.code, 1);
  assert.match(other.out, /g_spec\.lua:3: this is not the golden answer of gold\/spec\/golden\/first\.json \(- stored, \+ now; .*\):\n {2} {5}\{?.*\n.*"a": \[\],\n {2}- {7}"z": true\n {2}\+ {7}"z": false\n/);

  p.write("gold/spec/g_spec.lua", `${T}describe("g", function() it("x", function() t.golden("words", "one\\ntwo\\nthree\\n4\\nfive\\nsix\\n") end) end)\n`);
  assert.match(run().out, /\n {4}two\n {4}three\n {2}- four\n {2}\+ 4\n {4}five\n {4}six\n/);
  assert.ok(!/^ *one$/m.test(run().out));
});

test("golden answers: a name is a word, and a value data", () => {
  for (const [call, said] of [
    ['t.golden("../up", 1)', /a name is a word such as "first_answer".*not "\.\.\/up"/], ['t.golden("a/b", 1)', /a name is a word/], ['t.golden("..", 1)', /a name is a word/], ['t.golden("", 1)', /a name is a word/], ["t.golden({}, 1)", /not a table/],
    ['t.golden("f", { a = { function() end } })', /the value\.a\[1\] is a function; a golden answer holds data/], ['t.golden("n", 0/0)', /which JSON cannot hold/], ['t.golden("m", { 1, x = 2 })', /neither a list nor an object: it has the key x/],
    ['t.golden("h", { 1, nil, 3 })', /neither a list nor an object|has the key/], ['t.golden("k", { [true] = 1 })', /has the key true/], ['local v = {} v.v = v t.golden("c", v)', /the value\.v holds itself/], ['t.golden("u", "\\xff")', /is no UTF-8/],
    ['t.golden("two", 1) t.golden("two", 2)', /"two" was written already, with another value.*\n {2}- 1\n {2}\+ 2/],
  ]) {
    p.write("names/spec/n_spec.lua", `${T}describe("n", function() it("x", function() ${call} end) end)\n`);
    const r = p.sluice("test", "names/spec", "--update");
    assert.equal(r.code, 1, call);
    assert.match(r.out, said, call);
  }
  assert.deepEqual(fs.readdirSync(path.join(p.dir, "names")), ["spec"]);
  assert.deepEqual(fs.readdirSync(path.join(p.dir, "names/spec/golden")), ["two.json"]);
});

// ---- check --spec

test("check --spec: the specs beside the gateway file; the worst exit code counts", () => {
  const gateway = (front) => `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = function(_, out) out:text "x" end }, routes = { r = { path = "/r", front = "${front}", target = "m" } } }
`;
  const spec = (n) => `describe("s", function() it("x", function() assert.equal(1, ${n}) end) end)\n`;
  for (const [front, n, code] of [["token", 1, 0], ["token", 2, 1], ["tokn", 1, 1], ["tokn", 2, 1]]) {
    p.write("beside/gateway.lua", gateway(front));
    p.write("beside/spec/s_spec.lua", spec(n));
    const r = p.sluice("check", "beside/gateway.lua", "--spec");
    assert.equal(r.code, code, `${front} ${n}`);
    assert.match(r.out, n === 1 ? /1 success/ : /1 failure/);
    if (front === "token") assert.match(r.out, /^beside\/gateway\.lua: ok: 1 route, 1 model\n/);
    else assert.match(r.err, /did you mean "token"/);
  }
  p.write("alone.lua", gateway("token"));
  const none = p.sluice("check", "alone.lua", "--spec");
  assert.equal(none.code, 1);
  assert.equal(none.err, "sluice: check: cannot read spec: No such file or directory; --spec runs the specs in spec/ beside the gateway file\n");
  assert.equal(p.sluice("check", "alone.lua", "--spec", "--json").code, 2);
});

// ---- misuse

test("misuse: a sentence, what was meant, exit 2", () => {
  p.write("m/spec/x_spec.lua", "");
  for (const [args, said] of [
    [["test", "m/spec", "--fuzz", "many"], /^sluice: test: --fuzz must be a whole number from 1, is "many"\n/], [["test", "m/spec", "--fuzz", "0"], /from 1, is "0"/], [["test", "m/spec", "--fuzz", "1", "--seed", "-2"], /--seed must be a whole number from 0, is "-2"/],
    [["test", "m/spec", "--seed", "3"], /^sluice: test: --seed says where --fuzz begins/], [["test", "m/spec", "--fuzz"], /^sluice: a value is missing behind --fuzz\n/],
    [["test", "m/spec", "--covrage"], /^sluice: unknown option --covrage; did you mean --coverage\?\n/], [["tset", "m/spec"], /^sluice: unknown command tset; did you mean test\?\n/],
    [["check", "x.lua", "--update"], /^sluice: check has no option --update\nUsage: sluice check FILE/], [["config"], /^sluice: config needs a gateway file\nUsage: sluice config FILE/], [["config", "a", "b"], /config takes no more words: b/],
  ]) {
    const r = p.sluice(...args);
    assert.equal(r.code, 2, args.join(" "));
    assert.match(r.err, said);
    assert.equal(r.out, "");
  }
});
