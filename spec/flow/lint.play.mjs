// The warnings of `sluice check`: each kind where it belongs and nowhere else, as lines and as JSON.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { place } from "./command.mjs";
import { ROOT } from "./play.mjs";

const p = place("lint");
const HEAD = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\n';           // the policy's own text begins at line 3

// A gateway around a policy file's text; its warnings as "file:line: text".
function warnings(lua, { head = HEAD, more = "", entry = '"policies.x"', expect = 0 } = {}) {
  p.write("policies/x.lua", `${head}${lua}\nreturn P\n`);
  p.write("g.lua", `local sluice = require "sluice"
${more}
return sluice.config { api = 1, listen = ":0", models = { m = { answer = function(_, out) out:text "x" end } },
  routes = { r = { path = "/r", front = "token", target = "m", policies = { ${entry} } } } }
`);
  const r = p.sluice("check", "g.lua");
  assert.equal(r.code, expect, r.err);
  const list = r.err.split("\n").filter(Boolean);
  for (const line of list) assert.match(line, /^[\w./]+:\d+: warning: ./);
  assert.equal(r.out, `g.lua: ok: 1 route, 1 model${list.length ? `, ${list.length} warning${list.length > 1 ? "s" : ""}` : ""}\n`);
  return list.map((line) => line.replace(": warning: ", ": "));
}

function warns(lua, expected, more) {
  const got = warnings(lua, more);
  assert.equal(got.length, expected.length, `${lua}\n${got.join("\n")}`);
  expected.forEach((want, i) => (want instanceof RegExp ? assert.match(got[i], want, lua) : assert.equal(got[i], want, lua)));
}

const fine = (lua, more) => warns(lua, [], more);
const hook = (body, name = "validate") => `function P.${name}(req, ctx)\n${body}\nend`;

test("a variable of the file that a hook writes", () => {
  warns(`local hits = 0\n${hook("hits = hits + 1")}`,
    ['policies/x.lua:5: hook "validate" writes the upvalue "hits": this is per worker and lost on reload; use sluice.counter']);
  warns(`local hits = 0\nfunction P.log() local add = function() hits = hits + 1 end add() end`, [/x\.lua:4: hook "log" writes the upvalue "hits"/]);
  warns(`local hits = 0\nlocal function count() hits = hits + 1 end\n${hook("count()")}`, [/x\.lua:4: "count", called by hook "validate", writes the upvalue "hits"/]);
  warns(`local n = 0\nP.filter = { text = function(text) n = n + #text end }`, [/x\.lua:4: "filter\.text" writes the upvalue "n"/]);
  warns(`local last\nP.filter = { match = { "x" }, replace = function(m)\n  last = m\nend }`, [/x\.lua:5: "filter\.replace" writes the upvalue "last"/]);
  fine(`local hits = 0\nhits = hits + 1\n${hook("local hits = 0\nlocal f = function() hits = hits + 1 end\nf()")}`);
  fine(`local limit = 3\n${hook("local mine = limit\nlocal f = function() mine = mine + 1 end f()")}`);
  fine(`local ready = false\nlocal function prepare() ready = true end\nprepare()\n${hook("if ready then return end")}`);
});

test("a table of the file that a hook fills", () => {
  const said = (line, title, name) => `policies/x.lua:${line}: ${title} stores into the upvalue "${name}": this is per worker and lost on reload; use sluice.counter, or ctx.state for one request`;
  warns(`local seen = {}\n${hook("seen[req.ip] = (seen[req.ip] or 0) + 1")}`, [said(5, 'hook "validate"', "seen")]);
  warns(`local s = { n = 0 }\n${hook("s.n = s.n + 1")}`, [said(5, 'hook "validate"', "s")]);
  warns(`local s = { by = {} }\n${hook("local by = s.by\nby[req.ip] = 1")}`, [said(6, 'hook "validate"', "s")]);
  warns(`local s = {}\n${hook("if req.ip then s[1] = req.ip else s[2] = 1 end")}`, [said(5, 'hook "validate"', "s")]);
  warns(`local list = {}\n${hook("table.insert(list, req.ip)")}`, [said(5, 'hook "validate"', "list")]);
  warns(`local list = {}\nlocal insert = table.insert\n${hook("insert(list, req.ip)")}`, [said(6, 'hook "validate"', "list")]);
  warns(`local s = {}\n${hook("req:map_text(function(t) s[t] = true end)")}`, [said(5, 'hook "validate"', "s")]);
  fine(`local s = { a = 1 }\n${hook("local t = {}\nt.x = s.a\nreq.params.x = s.a\nctx.state.n = 1\nctx.vars[req.ip] = s")}`);
  fine(`local cache = setmetatable({}, { __mode = "k" })\n${hook("cache[ctx.options] = 1")}`);
  fine(`local list = {}\nfor i = 1, 3 do list[i] = i end\ntable.insert(list, 4)\n${hook("return list[9]")}`);
  fine(`local list = {}\n${hook("local mine = {}\ntable.insert(mine, list[1])")}`);
});

test("names that the sandbox lacks, in lines that loading did not reach", () => {
  warns(hook("return tabel.concat({})"), ['policies/x.lua:4: unknown name "tabel", an error when this line is reached; did you mean "table"?']);
  warns(hook("result = req.ip"), [/x\.lua:4: "result" would become a global.*write "local result"/]);
  warns(hook("os.exit()"), [/x\.lua:4: "os" is not available to scripts: files, processes/]);
  warns(hook("\n\nlocal f = function()\n  return unpack({})\nend"), [/x\.lua:7: "unpack" is not available.*table\.unpack/]);
  warns(hook('if req.ip == "x" then return sluice.rejct(400, "a", "b") end'), ['policies/x.lua:4: there is no sluice.rejct here; did you mean "reject"?; an error when this line is reached']);
  warns(hook("return math.randomseed(1)"), [/x\.lua:4: there is no math\.randomseed here/]);
  fine(hook("local math = math\nlocal e = _VERSION\nreturn math.floor(1.5) and nil"));
  const texts = Array.from({ length: 600 }, (_, i) => `"text ${i}"`).join(", ");
  warns(hook(`local x = { ${texts} }\n${"\n".repeat(300)}return nowhere`), ['policies/x.lua:305: unknown name "nowhere", an error when this line is reached']);      // constants beyond one byte, lines far apart
});

test("waiting where nothing may wait", () => {
  warns(hook('local t = { 2, 1 }\ntable.sort(t, function(a, b)\n  sluice.sleep "1ms"\n  return a < b\nend)'),
    ['policies/x.lua:6: hook "validate" calls sluice.sleep inside table.sort, which cannot be left in the middle: collect first, then wait']);
  warns(hook('return (req.ip:gsub(".", function() sluice.sleep "1ms" end)) and nil'), [/x\.lua:4: hook "validate" calls sluice\.sleep inside gsub/]);
  warns(hook('local s = string.gsub(req.ip, ".", function() sluice.sleep "1ms" end)'), [/inside string\.gsub/]);
  warns(`local function nap() sluice.sleep "1ms" end\n${hook('local s = sluice.match.email:gsub(req.ip, function() nap() end)')}`, [/x\.lua:3: hook "validate" calls sluice\.sleep inside gsub/]);
  warns(`local sleep = sluice.sleep\nlocal function nap() sleep "1ms" end\n${hook("local s = req.ip:gsub('x', nap)")}`, [/x\.lua:4: .*sluice\.sleep inside gsub/]);
  warns('function P.error() sluice.sleep "1s" end', ['policies/x.lua:3: hook "error" calls sluice.sleep, but it may not wait']);
  warns('P.filter = { when = function() sluice.sleep "1s" return true end, text = function() end }', [/x\.lua:3: "filter\.when" calls sluice\.sleep, but it may not wait/]);
  fine(`${hook('req:map_text(function(t) sluice.sleep "1ms" return t end)\nsluice.sleep "1ms"')}\nP.filter = { text = function() sluice.sleep "1ms" end }`);
  fine(hook('local s = req.ip:gsub(".", function(c) return c end)\nsluice.sleep "1ms"'));
});

test("waiting for a service, and in the condition of sluice.only_if", () => {
  const gateway = (head, policies) => {
    p.write("s.lua", `local sluice = require "sluice"\nlocal judge = sluice.service "judge"\nlocal P = sluice.policy { name = "p" }\n${head}
return sluice.config { api = 1, listen = ":0", services = { judge = { url = "http://127.0.0.1:1" } }, models = { m = function(_, out) out:text "x" end },
  routes = { r = { path = "/r", front = "token", target = "m", policies = { ${policies} } } } }\n`);
    return p.sluice("check", "s.lua").err;
  };
  assert.equal(gateway('function P.prompt(req)\n  local _ = req.ip:gsub(".", function() judge:get "/" end)\nend', "P"),
    's.lua:5: warning: hook "prompt" calls service:get inside gsub, which cannot be left in the middle: collect first, then wait\n');
  assert.equal(gateway('function P.prompt() end', 'sluice.only_if(function() return judge:get "/" ~= nil end, P)'), "s.lua:6: warning: the condition of sluice.only_if calls service:get, but it may not wait\n");
  assert.equal(gateway('function P.prompt() judge:get "/" sluice.all { function() judge:get "/" end } end', "P"), "");
  assert.equal(gateway('function P.error() judge:post "/" end', "P"), 's.lua:4: warning: hook "error" calls service:post, but it may not wait\n');
  assert.equal(gateway('local seen = sluice.counter "x"\nfunction P.prompt(req) local _ = req.ip:gsub(".", function(c) seen:get(c) end) end', "P"), "");
});

test("a Lua model that sends text from inside gsub", () => {
  p.write("m.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", routes = { r = { path = "/r", front = "token", target = "m" } }, models = { m = function(req, out)
  local _ = ("abc"):gsub(".", function(c) out:text(c) end)
  for c in ("abc"):gmatch "." do out:text(c) end
end } }
`);
  assert.equal(p.sluice("check", "m.lua").err, 'm.lua:3: warning: the model "m" calls out:text inside string.gsub, which cannot be left in the middle: collect first, then wait\n');
});

test("patterns without a bound", () => {
  const filter = (match) => `P.filter = {\n  match = { ${match} }, replace = "" }`;
  warns(filter('"BEGIN.*END"'), ['policies/x.lua:4: the pattern "BEGIN.*END" of policy "p" has no bound: once begun, .* may hold everything back up to max_hold; write one that ends, such as %S*']);
  warns(filter("sluice.match.regex '<think>(?<t>[^<]+)</think>'"), [/x\.lua:4: the regex .* once begun, \[\^<\]\+ may hold everything.*\.\{0,200\}/]);
  for (const open of ['"a.-b"', '"x[%w%s%p]+"', '"^[^>]*>"', "sluice.match.regex [[a.*?b]]", "sluice.match.regex [[a(?:\\w|\\W)+b]]", "sluice.match.regex [[a.{10,}b]]", "sluice.match.regex [[x(?=.*y)]]",
    "sluice.match.regex [[a(?s:.+)b]]", "sluice.match.any { sluice.match.email, sluice.match.regex 'q(.+)' }"]) warns(filter(open), [/has no bound/]);
  for (const closed of ['"%w+@%w+"', '"%S+"', '"[^%s]*x"', '"%b()"', '"%f[%w]%a+"', '"a%.*b"', "sluice.match.regex [[a.{0,200}b]]", "sluice.match.regex [[\\w+@\\w+]]", "sluice.match.regex [[a\\.*b]]", "sluice.match.regex [[(?:\\d{4} ?)+]]",
    "sluice.match.regex [[[.*]x]]", "sluice.match.email, sluice.match.url, sluice.match.private_key", 'sluice.match.words { "a.*b" }']) fine(filter(closed));
});

test("a policy on no route; a model that no route can reach", () => {
  warns(hook("return"), [/^g\.lua:2: policy "idle" is on no route, so it never runs$/], { more: 'local idle = sluice.policy { name = "idle" }' });
  fine(hook("return"), { more: 'local off = sluice.policy { name = "off" }', entry: '"policies.x", { off, mode = "off" }' });
  const gateway = (route) => `local sluice = require "sluice"
local p = sluice.policy { name = "p" }
function p.${route}() end
return sluice.config { api = 1, listen = ":0",
  models = {
    a = function(_, out) out:text "a" end,
    b = function(_, out) out:text "b" end,
  },
  routes = { r = { path = "/r", front = "token", target = "a", policies = { p } } } }
`;
  p.write("reach.lua", gateway("prompt"));
  assert.equal(p.sluice("check", "reach.lua").err, 'reach.lua:7: warning: no route names the model "b", and no policy has a hook "route" that could pick it\n');
  p.write("reach.lua", gateway("route"));
  assert.equal(p.sluice("check", "reach.lua").err, "");
});

test("a policy that answers every request", () => {
  for (const [name, body] of [["accept", 'return sluice.reply "back soon"'], ["validate", 'return sluice.reject(503, "away", "Back soon.")'],
    ["prompt", 'if req.query.q then return sluice.reply "a" end\nreturn sluice.reply "b"'], ["accept", 'local v = sluice.reply "x"\nreturn v']])
    warns(hook(body, name), [new RegExp(`^policies/x\\.lua:3: hook "${name}" of policy "p" answers every request: on the route "r" nothing behind it runs, and no model is asked$`)]);
  for (const body of ['if req.query.q then return sluice.reply "a" end', 'for i = 1, #req.ip do return sluice.reply "a" end', "return", 'local ok = pcall(sluice.reply, "a")', "return req.query.x",
    'while req.ip do if req.query.a then return sluice.reply "a" end break end']) fine(hook(body));
});

test("what a policy in monitor mode says does not count; what init sets is its worker's", () => {
  fine(hook('return sluice.reply "x"'), { entry: '{ "policies.x", mode = "monitor" }' });
  fine("P.filter = { text = function() end }", { entry: '{ "policies.x", mode = "monitor", on_error = "open" }' });
  fine(hook('return sluice.reply "x"'), { entry: 'sluice.only_if(function() return true end, "policies.x")' });
  fine(`local ready, words = false, {}\nfunction P.init() ready = true words.a = 1 end\n${hook("if ready then ctx:tag('w', words.a) end")}`);
});

test('on_error = "open" on what guards', () => {
  const open = { head: 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p", on_error = "open" }\n' };
  const reject = 'if req.query.q then return sluice.reject(400, "a", "b") end';
  warns("P.filter = { text = function() end }", ['policies/x.lua:2: policy "p" has on_error = "open" and a filter: when the filter fails, unfiltered text goes to the client'], open);
  warns(hook(reject), ['policies/x.lua:2: policy "p" has on_error = "open" and its hook "validate" refuses requests: when the hook fails, they pass'], open);
  warns(`local function check(req)\n${reject}\nend\n${hook("return check(req)")}`, [/its hook "validate" refuses/], open);
  warns(hook(reject), [/^g\.lua:4: policy "q" has on_error = "open" and its hook "validate"/], { entry: '{ "policies.x", name = "q", on_error = "open" }' });
  fine(hook("ctx:tag('a', 1)", "prompt"), open);
  fine(hook(reject), { head: 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p", on_error = { prompt = "open", log = "open" } }\n' });
  fine(`${hook(reject)}\nP.filter = { text = function() end }`);
  warns("", [/^g\.lua:4: policy "redact" has on_error = "open" and a filter/], { entry: '"policies.x", sluice.parts.redact { on_error = "open" }' });
});

test("--strict: a warning is a failure; --json: for programs, also when the file does not load", () => {
  p.write("s.lua", `local sluice = require "sluice"
local idle = sluice.policy { name = "idle" }
return sluice.config { api = 1, listen = ":0", models = { m = function(_, out) out:text "x" end }, routes = { r = { path = "/r", front = "token", target = "m" } } }
`);
  const text = 'policy "idle" is on no route, so it never runs';
  assert.equal(p.sluice("check", "s.lua").code, 0);
  const strict = p.sluice("check", "--strict", "s.lua");
  assert.deepEqual([strict.code, strict.out, strict.err], [1, "s.lua: not ok: 1 route, 1 model, 1 warning\n", `s.lua:2: warning: ${text}\n`]);
  const json = p.sluice("check", "s.lua", "--json");
  assert.deepEqual([json.code, json.err, JSON.parse(json.out)], [0, "", { file: "s.lua", ok: true, errors: [], warnings: [{ file: "s.lua", line: 2, text }], notes: [] }]);
  const both = p.sluice("check", "s.lua", "--json", "--strict");
  assert.deepEqual([both.code, JSON.parse(both.out).ok], [1, false]);

  p.write("broken.lua", 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = "x", routes = {} }\n');
  const broken = p.sluice("check", "broken.lua", "--json");
  assert.equal(broken.code, 1);
  assert.equal(broken.err, "");
  const said = JSON.parse(broken.out);
  assert.deepEqual([said.ok, said.warnings], [false, []]);
  assert.ok(said.errors.length >= 2 && said.errors.every((e) => e.file === "broken.lua" && e.line === 2), broken.out);
  assert.deepEqual(JSON.parse(p.sluice("check", "none.lua", "--json").out).ok, false);
});

test("the examples and the ready parts, as an operator's own, are without a warning", () => {
  const ask = p.sluice("check", path.join(ROOT, "examples/ask/gateway.lua"));
  assert.deepEqual([ask.code, ask.err], [0, ""]);
  p.copy("lua/sluice/parts", "own/policies");
  const needs = { cors: 'origins = { "*" }', rate_limit: "rate = 3", banned_words: 'words = { "x" }', stop_sequences: 'list = { "x" }' };
  const entries = fs.readdirSync(path.join(p.dir, "own/policies")).map((f) => f.replace(".lua", "")).filter((f) => needs[f] || /^(redact|mask_secrets|limits|hide_reasoning)$/.test(f));
  assert.equal(entries.length, 8);
  p.write("own/g.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = function(_, out) out:text "x" end }, routes = { r = { path = "/r", front = "token", target = "m",
  policies = { ${entries.map((f) => `{ "policies.${f}", ${needs[f] ?? ""} }`).join(", ")} } } } }
`);
  const own = p.sluice("check", "own/g.lua");
  assert.deepEqual([own.code, own.err], [0, ""]);
});

test("counters and limiters in Redis: a note that they wait, which is no warning; and where they cannot", () => {
  const write = (body) => p.write("g.lua", `local sluice = require "sluice"
local rate = sluice.limiter("rpm", { rate = 1, per = "1m", store = "redis:shared" })
local spent = sluice.counter("usd", { store = "redis:shared" })
local shared = sluice.redis "shared"
local P = sluice.policy { name = "p" }
${body}
return sluice.config { api = 1, listen = ":0", services = { shared = { url = "redis://r.test" } }, models = { m = { answer = function(_, out) out:text "x" end } },
  routes = { r = { path = "/r", front = "token", target = "m", policies = { P } } } }
`);
  const notes = ['limiter "rpm"', 'counter "usd"'].map((what, i) => `g.lua:${i + 2}: note: the ${what} is in the Redis server "shared": its methods wait, and raise when it does not answer`);
  write(hook('rate:take "x" spent:add "x" shared:get "x"'));
  let r = p.sluice("check", "--strict", "g.lua");
  assert.equal(r.code, 0);
  assert.equal(r.out, "g.lua: ok: 1 route, 1 model\n");
  assert.deepEqual(r.err.split("\n").filter(Boolean), notes);
  const json = JSON.parse(p.sluice("check", "--json", "g.lua").out);
  assert.deepEqual(json.warnings, []);
  assert.deepEqual(json.notes.map((n) => n.line), [2, 3]);

  write(`function P.validate(req)
  req.messages[1].content = req.messages[1].content:gsub("%w+", function(w) if rate:take(w) then return w end end)
  table.sort(req.messages, function(a, b) return (shared:get(a.content) or "") < (shared:get(b.content) or "") end)
end
function P.error() spent:add "x" end`);
  r = p.sluice("check", "g.lua");
  assert.deepEqual(r.err.split("\n").filter(Boolean), [...notes,
    'g.lua:7: warning: hook "validate" calls limiter:take (of one with a store) inside gsub, which cannot be left in the middle: collect first, then wait',
    'g.lua:8: warning: hook "validate" calls redis:get inside table.sort, which cannot be left in the middle: collect first, then wait',
    'g.lua:10: warning: hook "error" calls counter:add (of one with a store), but it may not wait']);
});
