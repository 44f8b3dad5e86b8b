// Pools, bounds, breakers, probes and retries over sockets, with two workers: what they share holds for both.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ROOT, eventually, play } from "./play.mjs";

const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");

// A gateway file with these models (Lua text by name) and the route "ask".
const gatewayFile = (models, { target = '"smart"', route = "", top = "workers = 2," } = {}) => `local sluice = require "sluice"
return sluice.config {
  api = 1, listen = "127.0.0.1:0", drain = "2s", ${top}
  models = { ${Object.entries(models).map(([name, text]) => `${name} = { ${text} },`).join("\n    ")} },
  routes = { ask = { path = "/api/stream", front = "token", target = ${target}, ${route} } },
}
`;
const model = (up, more = "") => `provider = "openai", url = "${up.url}", model = "play-1", ${more}`;

// Two upstreams and a gateway before them; `sluice` runs a command for it.
async function pair(stage, { eu = "", us = "", smart = 'pool = { "eu", "us" }', ...rest } = {}) {
  const ups = { eu: await stage.upstream(), us: await stage.upstream() };
  const run = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-run-"));
  stage.onEnd(() => fs.rmSync(run, { recursive: true, force: true }));
  const text = gatewayFile({ eu: model(ups.eu, eu), us: model(ups.us, us), smart }, rest);
  const g = await stage.gateway(text, { env: { XDG_RUNTIME_DIR: run } });
  const sluice = (command, ...more) => new Promise((got) => {
    const p = spawn(BIN, [command, path.join(g.dir, "gateway.lua"), ...more], { env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: run } });
    let out = "";
    p.stdout.on("data", (d) => (out += d));
    p.on("close", () => got(out));
  });
  return { ...ups, g, sluice };
}

// Serves questions with `tell` and probes with `status()`; counts both.
function serve(up, { status = () => 200, tell = (call) => call.tell(["hi"]) } = {}) {
  up.asked = up.probed = 0;
  return up.serve(async (call) => {
    if (call.path === "/v1/models") {
      up.probed++;
      return call.reply(status(), { "Content-Type": "application/json" }, "{}");
    }
    up.asked++;
    return tell(call);
  });
}

async function targets(g) {
  const seen = g.log.length;
  await g.metrics();
  const lines = g.log.slice(seen).filter((l) => l.event === "target");
  return Object.fromEntries(lines.map((l) => [l.model, l]));
}

play("max_parallel holds over both workers: of 40 at once exactly 5 are answered, the others get 429; then 5 more", async (stage) => {
  const { eu, g } = await pair(stage, { eu: "max_parallel = 5", target: '"eu"' });
  for (let round = 1; round <= 3; round++) {
    const answers = await Promise.all(Array.from({ length: 40 }, () => g.ask()));
    const calls = [];
    for (let i = 0; i < 5; i++) calls.push(await eu.call());
    await eventually(() => answers.filter((a) => a.over).length === 35, "35 refusals");
    for (const a of answers.filter((x) => x.over)) {
      assert.equal(a.status, 429);
      assert.equal(a.headers.get("retry-after"), "1");
      assert.equal((await a.json()).code, "model_busy");
    }
    const state = await targets(g);
    assert.equal(state.eu.running, 5);
    assert.equal(state.eu.state, "full");
    for (const call of calls) await call.tell(["one"]);
    for (const a of answers.filter((x) => x.status !== 429)) assert.equal((await a.all()).text, "one");
    await g.news.until(() => g.requests.length === 40 * round, "all log lines");
    assert.equal((await targets(g)).eu.running, 0);
    for (const c of g.clients) c.close();
  }
  assert.equal(eu.calls.length, 15);
});

play("clients that leave at any moment give their places back", async (stage) => {
  const { eu, g } = await pair(stage, { eu: "max_parallel = 4, breaker = false", target: '"eu"' });
  serve(eu, { tell: async (call) => {
    const how = eu.asked % 5;
    if (how === 0) return;                               // says nothing
    if (how === 1) return call.reset();
    await call.stream();
    if (how === 2) return;
    await call.token("a");
    if (how === 3) return;
    await call.complete();
  } });
  let n = 0;
  for (let round = 0; round < 30; round++) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => g.ask()));
    n += 8;
    if (round % 3 === 0) await eventually(() => answers.some((a) => a.status || a.over), "an answer or a refusal");
    for (const a of answers) round % 2 ? a.client.reset() : a.client.close();
    if (round % 5 === 4) await g.news.until(() => g.requests.length === n, "all log lines");
  }
  await g.news.until(() => g.requests.length === n, "all log lines");
  const state = await targets(g);
  assert.equal(state.eu.running, 0);
  assert.equal(state.eu.state, "up");
});

play("weighted shares are exact over both workers", async (stage) => {
  const { eu, us, g } = await pair(stage, { smart: 'pool = { "eu", "us" }, weights = { eu = 3 }' });
  serve(eu);
  serve(us);
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 20 }, async () => (await g.ask()).all()));
  assert.equal(eu.asked, 150);
  assert.equal(us.asked, 50);
  await g.news.until(() => g.requests.length === 200, "all log lines");
  assert.ok(g.requests.every((l) => l.pool === "smart" && ["eu", "us"].includes(l.model)));
});

play("least_busy: what runs on one worker counts for the other", async (stage) => {
  const { eu, us, g } = await pair(stage, { smart: 'pool = { "eu", "us" }, balance = "least_busy"' });
  serve(eu, { tell: (call) => call.stream() });
  serve(us, { tell: (call) => call.stream() });
  for (let i = 1; i <= 20; i++) {
    const a = await g.ask();
    a.client.socket.on("error", () => {});
    await eventually(() => eu.asked + us.asked === i, "the question at an upstream");
    assert.ok(Math.abs(eu.asked - us.asked) <= 1);
  }
});

play("probes take a target out and bring it back; a reload forgets nothing", async (stage) => {
  let status = 503;
  const { eu, us, g, sluice } = await pair(stage, { eu: 'probe = { path = "/models", every = "500ms", timeout = "500ms", unhealthy = 2, healthy = 2 }, breaker = false' });
  serve(eu, { status: () => status });
  serve(us);
  await g.logged((l) => l.event === "target.unhealthy" && l.model === "eu", "eu to be found ill");
  for (let i = 0; i < 8; i++) await (await g.ask()).all();
  assert.equal(eu.asked, 0);
  assert.equal(us.asked, 8);
  assert.match(await sluice("status"), /^model eu at http:.*: unhealthy, 0 running, 0 failures$/m);
  assert.match(await sluice("status"), /^model us at http:.*: up, 0 running, 0 failures$/m);
  const probed = eu.probed;
  assert.match(await sluice("reload"), /generation 2/);
  await eventually(() => eu.probed >= probed + 3, "the probes of the new generation");
  for (let i = 0; i < 4; i++) await (await g.ask()).all();
  assert.equal(eu.asked, 0);
  assert.equal(g.log.filter((l) => l.event === "target.unhealthy").length, 1, "told once");
  status = 200;
  await g.logged((l) => l.event === "target.healthy" && l.model === "eu", "eu to be found well");
  for (let i = 0; i < 8; i++) await (await g.ask()).all();
  assert.equal(eu.asked, 4);
  assert.match(await sluice("status"), /^model eu at http:.*: up, 0 running, 0 failures$/m);
  const last = await g.metrics();
  assert.ok(last.probes_failed >= 2 && last.probes_total >= last.probes_failed + 2);
  assert.ok(last.targets_passed_over >= 12);
});

play("one prober asks for all workers; a probe without an answer, or with one that never ends, is over in time", async (stage) => {
  const probe = 'probe = { path = "/models", every = "30s", timeout = "30s" }';
  const { eu, us, g } = await pair(stage, { eu: probe, us: probe.replace('"30s", timeout = "30s"', '"20ms", timeout = "20ms"') });
  serve(us);
  await eu.call();                                       // never answered
  await eventually(() => us.probed > 10, "the other's probes");
  assert.equal(eu.calls.length, 1);
  us.serve(async (call) => {
    await call.head(200, { "Content-Type": "application/json" });
    await call.write("[");                               // and no more
  });
  const good = async () => {
    const m = await g.metrics();
    return m.probes_total - m.probes_failed;
  };
  const seen = us.calls.length, before = await good();
  await eventually(() => us.calls.length > seen + 3, "the next probes");
  await eventually(() => us.open <= 2, "the probes' connections to end");
  await eventually(async () => (await good()) > before + 3, "what never ends to be good");
  us.serve(() => {});                                    // silence
  await g.logged((l) => l.event === "target.unhealthy" && l.model === "us", "us to be found ill");
});

play("a canary's models are probed beside, and after it is promoted no others", async (stage) => {
  const every = 'probe = { path = "/models", every = "30ms" , timeout = "30ms" }';
  const { eu, us, g, sluice } = await pair(stage, { eu: every });
  serve(eu);
  serve(us);
  await eventually(() => eu.probed > 2, "probes");
  fs.writeFileSync(path.join(g.dir, "gateway.lua"), gatewayFile({ us: model(us, every), smart: 'pool = { "us" }' }));
  assert.match(await sluice("reload", "--canary", "50%"), /^generation 2 gets 50/);
  const before = eu.probed;
  await eventually(() => us.probed > 2 && eu.probed > before + 2, "the probes of both");
  assert.match(await sluice("promote"), /^generation 2 serves/);
  await eventually(() => eu.open === 0, "the last probe of eu to end");
  const after = eu.probed, more = us.probed;
  await eventually(() => us.probed > more + 3, "the probes of what was promoted");
  assert.equal(eu.probed, after);
});

play("a first token that does not come: the slow model is let go, the next one answers", async (stage) => {
  const { eu, us, g } = await pair(stage, { eu: 'timeout = { first_token = "100ms" }', target: '{ "eu", "us" }' });
  serve(us);
  const a = await g.ask();
  const slow = await eu.call();
  await slow.stream();
  assert.equal((await a.all()).text, "hi");
  await slow.gone();
  const line = await g.request(a);
  assert.equal(line.tries, 2);
  assert.equal(line.model, "us");
});

play("a breaker opens for both workers; one trial passes and closes it", async (stage) => {
  const { eu, us, g } = await pair(stage, { eu: 'breaker = { failures = 4, open = "300ms" }', target: '{ "eu", "us" }' });
  serve(eu, { tell: (call) => call.reply(500, { "Content-Type": "application/json" }, "{}") });
  serve(us);
  for (let i = 0; i < 4; i++) assert.equal((await (await g.ask()).all()).text, "hi");
  await g.logged((l) => l.event === "target.open", "the breaker to open");
  const trials = [];
  serve(eu, { tell: (call) => void trials.push(call) });
  await eventually(async () => {
    await Promise.all(Array.from({ length: 4 }, async () => {
      const a = await g.ask();
      await eventually(() => a.over || trials.length > 0, "an answer, or a trial");
    }));
    return trials.length > 0;
  }, "a trial");
  for (let i = 0; i < 10; i++) {
    const a = await g.ask();
    assert.equal((await a.all()).text, "hi");
  }
  assert.equal(trials.length, 1);
  await trials[0].tell(["back"]);
  await g.logged((l) => l.event === "target.closed", "the breaker to close");
});

play("a retry waits and asks the same model again; a client that leaves meanwhile ends it", async (stage) => {
  const { eu, us, g } = await pair(stage, { target: '{ "eu", "us" }', route: 'retry = { times = 2, backoff = "20ms", max = "30s" }' });
  serve(us);
  serve(eu, { tell: (call) => (eu.asked < 3 ? call.reply(503, {}, "busy") : call.tell(["third"])) });
  const a = await g.ask();
  assert.equal((await a.all()).text, "third");
  assert.equal((await g.request(a)).tries, 3);
  serve(eu, { tell: (call) => call.reply(503, { "Retry-After": "20" }, "busy") });
  const b = await g.ask();
  await eventually(() => eu.asked === 1, "the first try");
  b.client.close();
  const line = await g.request(1);
  assert.equal(line.end, "client_closed");
  assert.equal(line.tries ?? 1, 1);
  assert.equal(us.asked, 0);
});
