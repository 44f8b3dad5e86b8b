// init over the wire: what it asks of services before the first request; while it waits, streams go on, operators are answered, and signals heard.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Gateway, ROOT, file, play } from "./play.mjs";
import { Service } from "./service.mjs";

const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");
const INIT = `
  local res, err = list:get "/words"
  if not res then error(err) end
  words = res.body`;

// A gateway file whose policy has this init, and answers /mine with the words that it got.
const members = (s, { init = INIT, service = "", top = "", ...more } = {}) => ({
  top: `services = { list = { url = "${s.url}", ${service} } }, ${top}`,
  code: `local list = sluice.service "list"
local words
local P = sluice.policy { name = "listed" }
function P.init()${init}
end
local says = sluice.policy { name = "says" }
function says.accept() return sluice.reply(words) end`,
  policies: "P", models: "mine = function() end,", routes: 'mine = { path = "/mine", front = "token", target = "mine", policies = { P, says } },', ...more,
});

const says = async (g) => (await (await g.get("/mine?q=x")).all()).text;
const write = (g, what) => fs.writeFileSync(path.join(g.dir, "gateway.lua"), file(what));

// A directory for the sockets of gateways, and the commands that use it.
function door(stage) {
  const run = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-run-"));
  stage.onEnd(() => fs.rmSync(run, { recursive: true, force: true }));
  const env = { XDG_RUNTIME_DIR: run };
  const start = (g, ...args) => {
    const child = spawn(BIN, [args[0], path.join(g.dir, "gateway.lua"), ...args.slice(1)], { env: { PATH: process.env.PATH, ...env } });
    const told = { child, out: "", err: "" };
    child.stdout.on("data", (d) => (told.out += d));
    child.stderr.on("data", (d) => { told.err += d; told.heard?.(); });
    told.over = new Promise((got) => child.on("close", (code) => got({ code, out: told.out, err: told.err })));
    told.says = (text) => new Promise((got) => { (told.heard = () => told.err.includes(text) && got())(); });
    return told;
  };
  return { env, start, sluice: (...args) => start(...args).over };
}

play("the first request finds what init got; each worker's VM asks for itself, one after another", async (stage) => {
  const s = await Service.start(stage);
  const starts = stage.gateway(members(s, { top: "workers = 2," }));
  const first = await s.call();
  assert.equal(first.req.url, "/words");
  assert.equal(s.calls.length, 1, "the second VM is made after the first");
  first.res.end("heck");
  (await s.call(2)).res.end("heck");
  const g = await starts;
  assert.equal(await says(g), "heck");
  assert.deepEqual([s.calls.length, s.most], [2, 1]);
  assert.equal(s.calls[0].req.socket, s.calls[1].req.socket, "over one connection");
});

play("with a cache one call is enough for all workers", async (stage) => {
  const s = await Service.start(stage);
  s.auto = ({ res }) => res.end("heck");
  const more = members(s, { top: "workers = 3,", init: ' words = kept:fetch("words", function() return assert(list:get "/words").body end)' });
  const g = await stage.gateway({ ...more, code: `local kept = sluice.cache("words", { max_bytes = "64kb", ttl = "1h" })\n${more.code}` });
  assert.equal(await says(g), "heck");
  assert.equal(s.calls.length, 1);
});

play("a service that is down refuses the start: place, service, policy; nothing listens", async (stage) => {
  const s = await Service.start(stage);
  s.auto = ({ req }) => req.socket.destroy();
  const g = await Gateway.start(file(members(s)), { expect: "the end" });
  await g.ended();
  assert.equal(g.exit.code, 1, g.tail());
  const said = g.log.filter((l) => l.level === "error");
  assert.deepEqual(said.map((l) => l.event), ["start.failed"]);
  assert.match(said[0].message, /gateway\.lua:7: service "list": broken: .*\(init of policy "listed"\)$/);
  assert.ok(!g.log.some((l) => l.event === "listening"));
  assert.deepEqual(g.noise, []);
  g.abandon();
});

play("a service that is down refuses the reload: what served goes on serving", async (stage) => {
  const s = await Service.start(stage);
  const { env, sluice } = door(stage);
  s.auto = ({ req, res }) => (s.calls.length === 1 ? res.end("heck") : req.socket.destroy());
  const g = await stage.gateway(members(s), { env });
  const r = await sluice(g, "reload");
  assert.equal(r.code, 1);
  assert.match(r.err, /gateway\.lua:7: service "list": broken: .*\(init of policy "listed"\)\n$/);
  assert.equal((await g.logged((l) => l.event === "reload.failed", "the failure's line")).message, r.err.trimEnd());
  assert.equal(await says(g), "heck");
  assert.match((await sluice(g, "status")).out, /^generation 1 serves new requests\n1 worker, /);
});

play("while init waits, streams go on, status answers, other reloads wait their turn", async (stage) => {
  const s = await Service.start(stage);
  const up = await stage.upstream();
  const { env, start, sluice } = door(stage);
  const starts = stage.gateway(members(s, { upstream: up.url }), { env });
  (await s.call()).res.end("one");
  const g = await starts;
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("a");
  assert.equal(await a.token(), "a");

  const first = start(g, "reload");
  const second = await s.call(2);
  await call.token("b");
  assert.equal(await a.token(), "b");
  assert.equal(await says(g), "one");
  assert.match((await sluice(g, "status")).out, /^generation 1 serves new requests\n1 worker, 1 running stream.*\nthe file is being read again, for generation 2\n/);
  const later = start(g, "reload");
  await later.says("waits: the file is being read");
  const seen = g.log.length;
  g.signal("SIGHUP");
  await g.news.until(() => g.log.slice(seen).some((l) => /^waits: the file is being read/.test(l.message ?? "")), "the signal's reload to wait");
  assert.equal(s.calls.length, 2);

  second.res.end("two");
  assert.deepEqual(await first.over, { code: 0, out: "generation 2 serves new requests\n", err: "" });
  (await s.call(3)).res.end("three");                    // one of those two, then the other
  (await s.call(4)).res.end("four");
  const r = await later.over;
  assert.equal(r.code, 0);
  assert.match(r.out, /^generation [34] serves new requests\n$/);
  await g.logged((l) => l.event === "reload" && l.generation === 4, "the fourth reading");
  await g.turn();
  assert.equal(await says(g), "four");
  assert.equal(s.most, 1, "one reading at a time");
  await call.token("c");
  await call.complete();
  assert.deepEqual((await a.all()).tokens, ["a", "b", "c"]);
});

play("who asked for a reload may leave: the file is served all the same", async (stage) => {
  const s = await Service.start(stage);
  const { env, start } = door(stage);
  const starts = stage.gateway(members(s), { env });
  (await s.call()).res.end("one");
  const g = await starts;
  const asked = start(g, "reload");
  const { res } = await s.call(2);
  asked.child.kill("SIGKILL");
  await asked.over;
  res.end("two");
  await g.logged((l) => l.event === "reload" && l.generation === 2, "the reload");
  await g.turn();
  assert.equal(await says(g), "two");
});

play("SIGTERM while a reload's init waits: it is given up at once, and who asked is told", async (stage) => {
  const s = await Service.start(stage);
  const { env, start } = door(stage);
  const starts = stage.gateway(members(s, { service: 'timeout = "10s"' }), { env });
  (await s.call()).res.end("one");
  const g = await starts;
  const asked = start(g, "reload");
  const { res } = await s.call(2);
  g.signal("SIGTERM");
  await s.news.until(() => res.closed || res.destroyed, "the call to be cancelled");
  assert.deepEqual(await asked.over, { code: 1, out: "", err: "the gateway is shutting down\n" });
  await g.ended();
  assert.ok(!g.log.some((l) => l.event === "reload.failed"), "nothing was wrong with the file");
});

play("SIGTERM and SIGINT while the first init waits: the call is given up, nothing ever listened, exit 0", async (stage) => {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    const s = await Service.start(stage);
    const g = await stage.gateway(members(s), { expect: "the end" });
    const { res } = await s.call();
    g.signal(signal);
    await s.news.until(() => res.closed || res.destroyed, "the call to be cancelled");
    await g.ended();
    assert.deepEqual(g.log.map((l) => l.event), ["stop", "metrics", "stopped"]);
  }
});

play("SIGTERM while inits compute, each of which has 5 s of processor time: they are not waited for", async (stage) => {
  const s = await Service.start(stage);
  const more = members(s, { init: ' list:get "/"' });
  const g = await stage.gateway({
    ...more, policies: "P, table.unpack(busy)",
    code: `${more.code}
local busy = {}
for i = 1, 20 do
  local B = sluice.policy { name = "busy" .. i }
  function B.init() pcall(function() while true do end end) end
  busy[i] = B
end`,
  }, { expect: "the end" });
  (await s.call()).res.end("go");
  g.signal("SIGTERM");
  await g.ended();
});

play("max_parallel, time-outs and the size of answers hold in init as for requests", async (stage) => {
  const s = await Service.start(stage);
  s.auto = ({ req, res }) => {
    if (req.url === "/many") setTimeout(() => res.end("ok"), 10);
    if (req.url === "/large") res.end("x".repeat(2000));
  };
  const g = await stage.gateway(members(s, {
    service: 'max_parallel = 2, max_body = "1kb", timeout = "300ms"',
    init: `
  local function get(path) return function()
    local res, err = list:get(path)
    return res and res.body or err.kind
  end end
  words = table.concat({ sluice.all { get "/many", get "/many", get "/many", get "/many", get "/many", get "/large" } }, " ") .. " " .. get "/slow"()`,
  }));
  assert.equal(await says(g), "ok ok ok ok ok too_large timeout");
  assert.equal(s.most, 2);
});

play("a canary runs its inits too, and a broken one is no canary", async (stage) => {
  const s = await Service.start(stage);
  const { env, sluice } = door(stage);
  s.auto = ({ res }) => res.end(String(s.calls.length));
  const g = await stage.gateway(members(s), { env });
  assert.equal((await sluice(g, "reload", "--canary", "50%")).code, 0);
  await g.turn();
  assert.deepEqual([await says(g), await says(g)].sort(), ["1", "2"]);
  assert.equal((await sluice(g, "rollback")).code, 0);
  write(g, members(s, { init: " error 'no list'" }));
  const r = await sluice(g, "reload", "--canary", "50%");
  assert.match(r.err, /gateway\.lua:5: no list \(init of policy "listed"\)\n$/);
  assert.equal((await sluice(g, "promote")).err, "there is no canary\n");
});
