// sluice reload, promote, rollback, status: the running gateway does it, the command says what came of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { stageOf } from "./operator.mjs";
import { eventually, file, play } from "./play.mjs";

const marked = (mark, more = {}) => file({ models: `mine = function(req, out) out:text "${mark}" end,`, routes: 'mine = { path = "/mine", front = "token", target = "mine" },', ...more });
const write = (g, text) => fs.writeFileSync(path.join(g.dir, "gateway.lua"), text);

const says = async (g) => {
  const a = await g.get("/mine?q=x");
  return (await a.all()).text;
};

play("reload: a good file serves new requests, a broken one changes nothing and every mistake is told", async (stage) => {
  const { g, sluice } = await stageOf(stage, marked("one"));
  write(g, marked("two"));
  assert.deepEqual(await sluice("reload"), { code: 0, out: "generation 2 serves new requests\n", err: "" });
  await g.turn();
  assert.equal(await says(g), "two");
  write(g, marked("three").replace('front = "token", target = "mine"', 'front = "tokn", target = "nobody"'));
  const r = await sluice("reload");
  assert.equal(r.code, 1);
  assert.match(r.err, /gateway\.lua:\d+: routes\.mine\.front: unknown dialect "tokn".*\n.*unknown model "nobody"/);
  assert.equal(await says(g), "two");
  write(g, marked("four", { code: 'local P = sluice.policy { name = "p" }\nfunction P.init() error "no list" end', policies: "P" }));
  assert.match((await sluice("reload")).err, /no list \(init of policy "p"\)/);
  assert.equal(await says(g), "two");
  write(g, marked("five", { listen: "127.0.0.1:1" }));
  assert.match((await sluice("reload")).out, /^\(listen, workers, generations and limits are read at the start only/);
});

for (const share of [["5%", 5], ["0.5%", 1], ["50%", 100]])
  play(`a canary gets exactly ${share[0]} of the requests; promote gives it all`, async (stage) => {
    const { g, sluice } = await stageOf(stage, marked("one"));
    write(g, marked("two"));
    const r = await sluice("reload", "--canary", share[0]);
    assert.equal(r.code, 0, r.err);
    assert.match(r.out, /^generation 2 gets [\d.]+% of new requests, generation 1 the others\n$/);
    await g.turn();
    const seen = { one: 0, two: 0 };
    for (let i = 0; i < 200; i++) seen[await says(g)]++;
    assert.equal(seen.two, share[0] === "5%" ? 10 : share[1]);
    assert.match((await sluice("status")).out, /generation 1 serves new requests\ngeneration 2 is a canary with [\d.]+% of them\n1 worker, 0 running streams/);
    const again = await sluice("reload");
    assert.deepEqual([again.code, again.err], [1, "generation 2 is a canary: promote it or roll it back first\n"]);
    assert.deepEqual(await sluice("promote"), { code: 0, out: "generation 2 serves new requests\n", err: "" });
    await g.turn();
    for (let i = 0; i < 5; i++) assert.equal(await says(g), "two");
    await eventually(async () => (await g.metrics()).generations_open === 1, "the first generation to be let go");
  });

play("rollback: the canary is let go when its streams have ended; the next reload has a number of its own", async (stage) => {
  const up = await stage.upstream();
  const { g, sluice } = await stageOf(stage, marked("one", { upstream: up.url }));
  write(g, marked("two", { upstream: up.url }));
  await sluice("reload", "--canary", "99.9%");
  await g.turn();
  assert.equal(await says(g), "one");
  const a = await g.ask("x");                            // a stream of the canary
  const call = await up.call();
  await call.stream();
  await call.token("a");
  assert.equal(await a.token(), "a");
  assert.deepEqual(await sluice("rollback"), { code: 0, out: "generation 1 serves new requests\n", err: "" });
  assert.deepEqual((await sluice("rollback")).err, "there is no canary\n");
  await g.turn();
  assert.equal(await says(g), "one");
  await call.token("b");
  await call.complete();
  assert.equal((await a.all()).text, "ab");
  assert.equal((await g.request(a)).generation, 2);
  await eventually(async () => (await g.metrics()).generations_open === 1, "the canary to be let go");
  assert.match((await sluice("reload")).out, /^generation 3 serves/);
});

play("a fifth generation waits until the oldest has ended, and the command says so", async (stage) => {
  const up = await stage.upstream();
  const { g, sluice } = await stageOf(stage, marked("one", { upstream: up.url }));
  const open = [];
  for (let i = 1; i <= 4; i++) {
    const a = await g.ask("x");
    const call = await up.call();
    await call.stream();
    await call.token("a");
    await a.token();
    open.push({ a, call });
    if (i < 4) assert.equal((await sluice("reload")).code, 0);
    await g.turn();
  }
  const waiting = sluice("reload");
  await g.turn();
  await open[0].call.complete();
  await open[0].a.all();
  const r = await waiting;
  assert.equal(r.code, 0);
  assert.match(r.out, /^generation 5 serves new requests\n$/);
  for (const { a, call } of open.slice(1)) {
    await call.complete();
    await a.all();
  }
});

play("--force ends the streams of the oldest generation, each with one error event, and nobody else's", async (stage) => {
  const up = await stage.upstream();
  const { g, sluice } = await stageOf(stage, marked("one", { upstream: up.url, top: "generations = 2," }));
  const begin = async () => {
    const a = await g.ask("x"), call = await up.call();
    await call.stream();
    await call.token("a");
    await a.token();
    return { a, call };
  };
  const old = [await begin(), await begin()];
  assert.equal((await sluice("reload", "--force")).code, 0, "with room for it, force is a reload");
  await g.turn();
  const young = await begin();
  assert.match((await sluice("reload", "--force")).out, /^generation 3 serves new requests\n$/);
  for (const { a, call } of old) {
    const { tokens, end } = await a.all();
    assert.deepEqual([tokens, end.code], [["a"], "replaced"]);
    await call.gone();
    assert.equal((await g.request(a)).generation, 1);
  }
  await young.call.token("b");
  await young.call.complete();
  assert.deepEqual((await young.a.all()).tokens, ["a", "b"]);
  assert.equal((await sluice("status", "--force")).code, 2, "force is the reload's");
});

play("nobody there, a bad share, an unknown file: a sentence each", async (stage) => {
  const { g, sluice } = await stageOf(stage, marked("one"));
  for (const share of ["5", "0%", "100%", "x%", "-1%", ""]) assert.equal((await sluice("reload", "--canary", share)).code, 2, share);
  g.signal("SIGTERM");
  await g.ended();
  const r = await sluice("reload");
  assert.equal(r.code, 1);
  assert.match(r.err, /no gateway of this user runs .*gateway\.lua/);
});

play("a socket that a dead process left is replaced; a living one's is left alone", async (stage) => {
  const first = await stageOf(stage, marked("one"));
  const at = first.socket();
  const second = await stage.gateway({ path: path.join(first.g.dir, "gateway.lua") }, { env: { XDG_RUNTIME_DIR: first.run } });
  await second.logged((l) => l.event === "control" && /another process runs/.test(l.message), "that the socket is taken");
  assert.equal((await first.sluice("status")).code, 0);
  const dead = spawn(process.execPath, ["-e", `require("net").createServer().listen(${JSON.stringify(`${at}2`)}, () => console.log("up"))`]);
  await new Promise((r) => dead.stdout.once("data", r));
  dead.kill("SIGKILL");
  await new Promise((r) => dead.once("close", r));
  for (const g of [first.g, second]) {
    g.signal("SIGTERM");
    await g.ended();
  }
  assert.ok(!fs.existsSync(at), "a gateway takes its socket along");
  fs.renameSync(`${at}2`, at);
  fs.mkdirSync(first.g.dir, { recursive: true });
  write(first.g, marked("third"));
  const third = await stage.gateway({ path: path.join(first.g.dir, "gateway.lua") }, { env: { XDG_RUNTIME_DIR: first.run } });
  await eventually(async () => (await first.sluice("status")).code === 0, "the third gateway at the socket");
  assert.ok(!third.log.some((l) => l.event === "control"));
});

play("whatever comes through the socket, the gateway lives and answers", async (stage) => {
  const { g, sluice, socket } = await stageOf(stage, marked("one"));
  const send = (bytes, end = true) => new Promise((got) => {
    const c = net.connect(socket());
    let said = "";
    c.on("data", (d) => (said += d));
    c.on("close", () => got(said));
    c.on("error", () => {});
    c.write(bytes);
    if (end) c.end();
  });
  assert.match(await send("frob\n", false), /^- unknown command/);
  assert.match(await send("canary 0\n", false), /^- unknown command/);
  assert.match(await send("canary 5 6\n", false), /^- unknown command/);
  assert.match(await send("x".repeat(5000), false), /^- a command has at most 200 bytes/);
  assert.match(await send("\0\0\n", false), /^- unknown command/);
  assert.equal(await send("rel"), "");
  assert.equal(await send(""), "");
  const many = Array.from({ length: 100 }, () => net.connect(socket()).on("error", () => {}));
  await g.turn();
  for (const c of many) c.destroy();
  await eventually(async () => (await sluice("status")).code === 0, "the door to be free again");
  assert.equal((await g.get("/healthz")).status, 200);
});
