// sluice.cache over two workers: one loads for all, whoever holds the load may die, a reload keeps what is known.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { eventually, file, play } from "./play.mjs";

// A model that answers from the cache: "how-manieth load / by which Lua state / told by which". Its loader waits until the question "go-KEY" was asked.
const cached = (more = "") => file({
  top: "workers = 2,", route: 'target = "cached",', models: "cached = { answer = answer },",
  code: `
local seen = sluice.cache("seen", { ttl = "1h", max_bytes = "1mb" })
local go = sluice.cache "go"
local asked, loads = sluice.counter "asked", sluice.counter "loads"
local vm = sluice.counter("vms"):add "n"
${more}
local function answer(req, out)
  local q = req.query.q
  local key = q:match "^go%-(.*)"
  if key then
    go:set(key, true)
    return out:text "gone"
  end
  key = q:match "^asked%-(.*)"
  if key then return out:text(("%d %d"):format(asked:get(key), loads:get(key))) end
  asked:add(q)
  local v = seen:fetch(q, function()
    local n = loads:add(q)
    while not go:get(q) do sluice.sleep "5ms" end
    return { n = n, by = vm }
  end)
  out:text(("%d/%d/%d"):format(v.n, v.by, vm))
end
`,
}).replace('target = "m",', "");

const say = async (g, question) => (await (await g.ask(question)).all()).tokens.join("");

async function told(answers) {
  const all = [];
  for (const a of answers) {
    const [n, by, vm] = (await a.all()).tokens.join("").split("/").map(Number);
    all.push({ n, by, vm });
  }
  return all;
}

const many = (g, key) => Promise.all(Array.from({ length: 40 }, () => g.ask(key)));

play("forty ask on two workers: one loads, and a reload keeps what it loaded", async (stage) => {
  const g = await stage.gateway(cached());
  const answers = await many(g, "k");
  await eventually(async () => await say(g, "asked-k") === "40 1", "all forty to be under way, with one load");
  await say(g, "go-k");
  await g.metrics();
  const held = g.log.filter((l) => l.event === "shared").map((l) => [l.kind, l.name, l.keys, l.bytes > 50 && l.bytes < 1000]);
  assert.deepEqual(held.sort(), [["cache", "go", 1, true], ["cache", "seen", 1, true], ["counter", "asked", 1, true], ["counter", "loads", 1, true]]);
  const all = await told(answers);
  assert.ok(all.every((a) => a.n === 1 && a.by === all[0].by), "one load for all");
  assert.equal(new Set(all.map((a) => a.vm)).size, 2, "both workers answered");

  fs.writeFileSync(path.join(g.dir, "gateway.lua"), cached("local again = true"));
  g.signal("SIGHUP");
  await g.logged((l) => l.event === "reload" && l.generation === 2, "the reload");
  const before = new Set(all.map((a) => a.vm));
  await eventually(async () => {
    const after = await told(await many(g, "k"));
    assert.ok(after.every((a) => a.n === 1 && a.by === all[0].by), "what was loaded before the reload");
    return after.every((a) => !before.has(a.vm));
  }, "both workers to have taken over");
  assert.match(await say(g, "asked-k"), / 1$/);
});

play("whoever loads may leave: exactly one of those who wait goes on", async (stage) => {
  const g = await stage.gateway(cached());
  const first = await g.connect();
  first.ask("/api/stream?q=k");
  await eventually(async () => await say(g, "asked-k") === "1 1", "the first to load");
  const others = await many(g, "k");
  await eventually(async () => await say(g, "asked-k") === "41 1", "the others to wait");
  first.close();
  await eventually(async () => await say(g, "asked-k") === "41 2", "another to load");
  await say(g, "go-k");
  const all = await told(others);
  assert.ok(all.every((a) => a.n === 2), "the second load for all");
  assert.equal(new Set(all.map((a) => a.vm)).size, 2);
});
