// SIGHUP: the file is read again while streams run. None is dropped, none mixes two readings, a broken file changes nothing.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { eventually, file, play } from "./play.mjs";

// A gateway file whose filter marks every token with `mark`.
const marked = (up, mark, more = {}) => file({
  upstream: up.url, top: "limits = { connections = 5000 },", policies: "P",
  code: `local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) if text ~= "" then return "${mark}:" .. text end end }`, ...more,
});

const write = (g, text) => fs.writeFileSync(path.join(g.dir, "gateway.lua"), text);

// The signal, and what the gateway said of it.
async function reload(g) {
  const seen = g.log.length;
  g.signal("SIGHUP");
  return g.news.until(() => g.log.slice(seen).find((l) => l.event === "reload" && l.generation) ?? g.log.slice(seen).find((l) => l.event === "reload.failed"), "word of the reload");
}

play("new requests meet the new file, running ones finish with theirs; the log names the generation", async (stage) => {
  const up = await stage.upstream();
  const g = await stage.gateway(marked(up, "one"));
  const a = await g.ask("a");
  const first = await up.call();
  await first.stream();
  await first.token("x");
  assert.equal(await a.token(), "one:x");
  write(g, marked(up, "two"));
  assert.equal((await reload(g)).generation, 2);
  await g.turn();
  const b = await g.ask("b");
  const second = await up.call();
  await second.stream();
  await second.token("y");
  assert.equal(await b.token(), "two:y");
  await first.token("z");
  assert.equal(await a.token(), "one:z");
  await first.complete();
  await second.complete();
  await a.all();
  await b.all();
  assert.equal((await g.request(a)).generation, 1);
  assert.equal((await g.request(b)).generation, 2);
  await eventually(async () => (await g.metrics()).generations_open === 1, "the first generation to be let go");
});

play("a broken file changes nothing and is told with its line", async (stage) => {
  const up = await stage.upstream();
  up.serve((call) => call.tell(["x"]));
  const g = await stage.gateway(marked(up, "good"));
  for (const [text, said] of [
    ["this is no Lua", /gateway\.lua:1: /],
    [marked(up, "bad").replace('front = "token"', 'front = "tokn"'), /gateway\.lua:\d+: .*did you mean "token"/],
    [`${marked(up, "bad")}`.replace("return sluice.config", "error 'no'\nreturn sluice.config"), /gateway\.lua:\d+: no/],
    ["", /sluice\.config/],
  ]) {
    write(g, text);
    const told = await reload(g);
    assert.equal(told.event, "reload.failed");
    assert.match(told.message, said);
    const a = await g.ask("x");
    assert.deepEqual((await a.all()).tokens, ["good:x"]);
    assert.equal((await g.request(a)).generation, 1);
  }
  fs.rmSync(path.join(g.dir, "gateway.lua"));
  assert.equal((await reload(g)).event, "reload.failed");
  write(g, marked(up, "better"));
  assert.equal((await reload(g)).generation, 2);
  await g.turn();
  assert.deepEqual((await (await g.ask("x")).all()).tokens, ["better:x"]);
});

play("files beside the gateway file are read again: keys and templates; one that is wrong changes nothing", async (stage) => {
  const up = await stage.upstream();
  up.serve((call) => call.tell(["x"]));
  const hash = (key) => crypto.createHash("sha256").update(key).digest("hex");
  const g = await stage.gateway(
    file({ upstream: up.url, policies: 'sluice.parts.api_keys { file = "keys.txt" }, sluice.parts.template { file = "prompt.txt" }' }),
    { files: { "keys.txt": `ann sha256:${hash("key-of-ann")}\n`, "prompt.txt": "Be brief.\n" } });
  const status = async (key) => {
    const a = await g.ask("x", { headers: { Authorization: `Bearer ${key}` } });
    await a.head();
    await a.end();
    return a.status;
  };
  assert.deepEqual([await status("key-of-ann"), await status("key-of-bob")], [200, 401]);
  assert.equal(JSON.parse((await up.call()).body).messages[0].content, "Be brief.");

  fs.writeFileSync(path.join(g.dir, "keys.txt"), "ann key-of-ann\n");
  const told = await reload(g);
  assert.equal(told.event, "reload.failed");
  assert.match(told.message, /keys\.txt:1: behind the name stands sha256:/);
  assert.deepEqual([await status("key-of-ann"), await status("key-of-bob")], [200, 401]);

  fs.writeFileSync(path.join(g.dir, "keys.txt"), `bob sha256:${hash("key-of-bob")} models=m rate=100/1m\n`);
  fs.writeFileSync(path.join(g.dir, "prompt.txt"), "Be long.");
  assert.equal((await reload(g)).generation, 2);
  await g.turn();
  assert.deepEqual([await status("key-of-ann"), await status("key-of-bob")], [401, 200]);
  const calls = [await up.call(), await up.call()];
  assert.deepEqual(calls.map((c) => JSON.parse(c.body).messages[0].content), ["Be brief.", "Be long."]);
  assert.ok(!g.log.some((l) => JSON.stringify(l).includes("key-of-")), "no key in the log");
});

play("1,000 live streams, 50 reloads, 10 of them broken: none is dropped, none is mixed", async (stage) => {
  const up = await stage.upstream();
  let begun = 0, round = 0;
  up.serve(async (call) => {
    const long = call.question.startsWith("long");
    await call.stream();
    await call.token("0");
    begun++;
    up.news.tell();
    if (long)
      for (let i = 1; i <= 5; i++) {
        await up.news.until(() => round >= i * 10, "the reloads", 200_000);
        await call.token(String(i));
      }
    await call.complete();
  });
  const g = await stage.gateway(marked(up, "g1", { top: "limits = { connections = 5000 }, workers = 2," }));
  const longs = await Promise.all(Array.from({ length: 1000 }, (_, i) => g.ask(`long${i}`)));
  await up.news.until(() => begun === 1000, "all thousand to be under way", 100_000);
  let generation = 1, failed = 0;
  for (let i = 1; i <= 50; i++) {
    const broken = i % 5 === 0;
    write(g, broken ? "return sluice.config {" : marked(up, `g${generation + 1}`));
    const told = await reload(g);
    assert.equal(told.event, broken ? "reload.failed" : "reload");
    if (broken) failed++;
    else assert.equal(told.generation, ++generation);
    const a = await g.ask("short");
    const { tokens } = await a.all();
    const { generation: used } = await g.request(a);
    assert.deepEqual(tokens, [`g${used}:0`], "one reading from its beginning to its end");
    assert.ok(used >= generation - 1 && used <= generation, `generation ${used} of ${generation}`);
    round = i;
    up.news.tell();
  }
  assert.equal(failed, 10);
  for (const a of longs) {
    const { tokens, end } = await a.all();
    assert.deepEqual(tokens, ["g1:0", "g1:1", "g1:2", "g1:3", "g1:4", "g1:5"]);
    assert.equal(end, "[DONE]");
  }
  await eventually(() => g.requests.length >= 1050, "all log lines");
  assert.ok(g.requests.filter((l) => l.route === "ask").every((l) => l.generation >= 1));
  const m = await eventually(async () => {
    const m = await g.metrics();
    return m.generations_open === 2 && m;              // the current one, in each of two workers
  }, "the old generations to be let go");
  assert.equal(m.reloads, 40, "each is counted once, whatever the number of workers");
  assert.equal(m.streams_done, 1050);
  assert.equal(m.streams_truncated + m.streams_failed + m.streams_client_gone, 0);
}, { minutes: 5 });

play("at most four generations: the next reload waits for the oldest to end", async (stage) => {
  const up = await stage.upstream();
  const g = await stage.gateway(marked(up, "g1"));
  const calls = [], answers = [];
  for (let i = 1; i <= 4; i++) {
    answers.push(await g.ask("x"));
    calls.push(await up.call());
    await calls.at(-1).stream();
    await calls.at(-1).token("t");
    assert.equal(await answers.at(-1).token(), `g${i}:t`);
    write(g, marked(up, `g${i + 1}`));
    if (i < 4) {
      await reload(g);
      await g.turn();
    }
  }
  g.signal("SIGHUP");
  await g.logged((l) => l.event === "reload" && /waits/.test(l.message ?? ""), "that the reload waits");
  await calls[0].complete();
  await answers[0].all();
  await g.logged((l) => l.event === "reload" && l.generation === 5, "the reload");
  for (const c of calls.slice(1)) await c.complete();
  for (const a of answers.slice(1)) await a.all();
});

play("limits survive a reload; what needs a new start is told", async (stage) => {
  const up = await stage.upstream();
  up.serve((call) => call.tell(["x"]));
  const limited = { policies: 'P, sluice.parts.rate_limit { rate = 2, per = "1h" }' };
  const g = await stage.gateway(marked(up, "a", limited));
  for (let i = 0; i < 2; i++) assert.equal((await (await g.ask("x")).all()).tokens[0], "a:x");
  write(g, marked(up, "b", { ...limited, top: "limits = { connections = 7 }," }));
  await reload(g);
  await g.logged((l) => l.level === "warn" && /started again/.test(l.message ?? ""), "what a reload cannot change");
  const third = await g.ask("x");
  await third.head();
  assert.equal(third.status, 429);
});

// A policy that keeps what it should not. Each request costs 100 kB of the 8 MiB that the worker's Lua may use, and what is loaded takes between 1 and 2.
const hoarder = (up, more = "") => marked(up, "h", {
  top: 'memory = "8mb",', code: `local kept = {}
local P = sluice.policy { name = "p" }
function P.validate(req, ctx)
  if req.query.q == "keep" then kept[#kept + 1] = ("x"):rep(100000) end
  ctx:header("x-kept", tostring(#kept))
end${more}`,
});

async function fill(g) {
  for (let i = 0; i < 60; i++) await (await g.ask("keep")).all();
}

play("a worker whose Lua stays full begins anew with a fresh one of the same generation; running streams end on the old", async (stage) => {
  const up = await stage.upstream();
  up.serve(async (call) => {
    await call.stream();
    await call.token("x");
    if (call.question === "long") await up.news.until(() => up.goOn, "the rotations", 100_000);
    await call.complete();
  });
  const g = await stage.gateway(hoarder(up));
  const long = await g.ask("long");
  assert.equal(await long.token(), "x");
  for (let round = 1; round <= 2; round++) {
    await fill(g);
    await eventually(async () => {
      await (await g.ask("x")).all();
      return g.log.filter((l) => l.event === "rotation" && l.generation === 1).length === round;
    }, "a fresh VM", 100_000);
    await eventually(async () => {                       // the line comes before the worker has it
      const a = await g.ask("x");
      await a.all();
      return a.headers.get("x-kept") === "0";
    }, "the fresh VM's first word");
  }
  assert.deepEqual((await (await g.ask("keep")).all()).tokens, ["x"]);
  up.goOn = true;
  up.news.tell();
  const { tokens, end } = await long.all();
  assert.deepEqual([tokens, end], [["x"], "[DONE]"]);
  const m = await eventually(async () => {
    const m = await g.metrics();
    return m.generations_open === 1 && m;
  }, "the full one to be let go");
  assert.deepEqual([m.rotations, m.reloads, m.streams_failed, m.lua_killed], [2, 0, 0, 0]);
});

play("no rotation to files that were not loaded, nor to what is full from its beginning: it is told", async (stage) => {
  const up = await stage.upstream();
  up.serve((call) => call.tell(["x"]));
  const g = await stage.gateway(hoarder(up));
  write(g, hoarder(up, "\n-- changed"));
  await fill(g);
  await eventually(async () => {
    await (await g.ask("x")).all();
    return g.log.some((l) => l.event === "rotation" && /the files have changed: reload them/.test(l.message ?? ""));
  }, "the word that the files have changed", 100_000);
  assert.equal((await g.metrics()).rotations, 0);
  assert.equal((await reload(g)).generation, 2);
});
