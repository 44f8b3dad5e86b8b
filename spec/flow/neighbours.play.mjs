// One stream's policy burns, allocates or recurses without end, again and again, while 100 others run on the same worker: their bytes and their order are
// what they would have been, each guilty stream gets its one error, the gateway lives and its memory is flat afterwards.
import assert from "node:assert/strict";
import { play } from "./play.mjs";

const NEIGHBOURS = 100;
const ROUNDS = 3;
const CAP_MB = 32;                     // of the VM; what malloc keeps of it for later is a small multiple

// What the filter of a guilty stream does at its second piece, and how that ends.
const crimes = {
  burns: ["while true do end", "policy_timeout"],
  "burns behind pcall": ["while true do pcall(function() while true do end end) end", "policy_timeout"],
  "burns in a coroutine": ["while true do pcall(coroutine.wrap(function() while true do end end)) end", "policy_timeout"],
  "burns in a pattern": ['while true do pcall(string.find, ("a"):rep(400), (".-"):rep(4) .. "b$") end', "policy_timeout"],
  "burns while it closes": ["local x <close> = setmetatable({}, { __close = function() while true do end end }) error 'x'", "policy_timeout"],
  allocates: ["local t = {} for i = 1, 1e9 do t[i] = { i } end", /^policy_(memory|timeout)$/],
  "allocates one text": ["local s = 'x' while true do s = s .. s end", /^policy_(memory|timeout|error)$/],
  "allocates behind pcall": ["local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = ('x'):rep(1000) .. i end end) end", /^policy_(memory|timeout)$/],
  recurses: ["local function f() return 1 + f() end f()", /^policy_(error|memory|timeout)$/],
  "recurses behind pcall": ["local function f() pcall(f) pcall(f) end f()", /^policy_(error|memory|timeout)$/],
};

const policy = `local P = sluice.policy { name = "p" }
local crimes = {
${Object.entries(crimes).map(([name, [lua]]) => `  ["${name}"] = function() ${lua} end,`).join("\n")}
}
P.filter = { text = function(text, ctx)
  if text == "" then return end
  ctx.state.n = (ctx.state.n or 0) + 1
  local crime = crimes[ctx.vars.q]
  if crime and ctx.state.n == 2 then crime() end
  return "[" .. text .. "]"
end }
function P.validate(req, ctx) ctx.vars.q = req.query.q end`;

play(`${Object.keys(crimes).length} kinds of endless work beside ${NEIGHBOURS} streams: nobody else notices`, async (stage) => {
  const { up, g } = await stage.pair({ code: policy, policies: "P", top: `memory = "${CAP_MB}mb",` });
  const neighbours = [];
  for (let i = 0; i < NEIGHBOURS; i++) {
    const a = await g.ask(`good ${i}`);
    const call = await up.call();
    await call.stream();
    neighbours.push({ a, call, said: [] });
  }
  let n = 0;
  const everybody = async () => {
    n++;
    for (const [i, { call, said }] of neighbours.entries()) {
      said.push(`[${i}:${n}]`);
      await call.token(`${i}:${n}`);
    }
    for (const { a, said } of neighbours) assert.equal(await a.token(), said.at(-1));
  };
  const innocent = async () => {
    const a = await g.ask("good");
    const call = await up.call();
    await call.stream();
    await call.token("x");
    await call.complete();
    assert.equal((await a.all()).text, "[x]");
  };
  await everybody();
  const before = g.rss();
  const commit = async () => {
    for (const [name, [, code]] of Object.entries(crimes)) {
      const a = await g.ask(name);
      const call = await up.call();
      await call.stream();
      await call.token("one");
      assert.equal(await a.token(), "[one]");
      await call.token("two");
      await everybody();
      const got = await a.all();
      assert.deepEqual(got.tokens, ["[one]"], name);
      assert.match(got.code, code instanceof RegExp ? code : new RegExp(`^${code}$`), name);
      await call.gone();
      for (let i = 0; i < 2; i++) await innocent();      // else the policy fails too often, and its breaker refuses all
    }
  };
  await commit();
  for (let i = 1; i < ROUNDS; i++) await commit();
  await everybody();
  for (const { call } of neighbours) await call.complete();
  for (const { a, said } of neighbours) {
    const got = await a.all();
    assert.deepEqual(got.tokens, said);
    assert.equal(got.end, "[DONE]");
  }
  assert.equal((await g.get("/healthz")).status, 200);
  if (!process.env.SLUICE_SANITIZED) assert.ok(g.rss() < before + 3 * CAP_MB * 1024, `${before} kB before, ${g.rss()} kB after ${ROUNDS} rounds of crimes`);
  assert.equal(g.requests.filter((l) => l.end === "done").length, NEIGHBOURS + ROUNDS * 2 * Object.keys(crimes).length);
}, { minutes: 5 });
