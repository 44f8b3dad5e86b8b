// `sluice config`: all that was understood of a gateway file, as JSON and as an outline.
import assert from "node:assert/strict";
import test from "node:test";
import { place } from "./command.mjs";

const p = place("config");

const GATEWAY = `local sluice = require "sluice"
local P = sluice.policy { name = "p", options = { key = { type = "secret" }, on = { type = "function" }, match = { type = "matcher" }, size = { type = "size", default = "64kb" },
  time = { type = "duration", default = "60s" }, names = { type = "list" }, map = { type = "map" }, judge = { type = "service" }, none = { type = "string" } } }
function P.validate() end
function P.prompt() end
return sluice.config { api = 1, listen = "[::1]:4001", trusted_proxies = "10.0.0.0/8, ::1", workers = 2, drain = "1m", memory = "128mb", generations = 3, snapshot = "counters.snap", responses = { keep = "10m", max_bytes = "8mb" },
  limits = { head = "8kb", body = "2mb", connections = 10, head_timeout = "1s", body_timeout = "2s", idle_timeout = "3s", write_stall = "4s" },
  services = { judge = { url = "http://127.0.0.1:8000/", auth = sluice.secret "JUDGE_TOKEN", connect = "100ms", max_parallel = 5, ca = "ca.pem" }, lua = function() end,
    shared = { url = "redis://[::1]/7", auth = sluice.secret "JUDGE_TOKEN", user = "gateway" } },
  models = {
    slow = { provider = "openai", model = "m-1", key = sluice.secret "MODEL_KEY", timeout = { gap = "5s" }, ca = "ca.pem", options = { usage = false }, prefill = { go = true },
      max_parallel = 9, breaker = { failures = 2 }, probe = { path = "/models", every = "5s" }, retry = { times = 2 } },
    both = { pool = { "slow", "fast" }, balance = "least_busy", weights = { slow = 2 }, affinity = "key" },
    fast = { answer = function() end },
  },
  routes = {
    chat = { path = { "/b", "/a" }, front = "token", models = { "slow", best = { "slow", "fast" } }, target = { "slow", "fast" }, timeout = { total = "90s" }, heartbeat = "5s", prerelease = { chars = 9, time = "1s" }, on_death = "continue", hedge = { after = "800ms" }, retry = { times = 1 }, policies = {
      { P, name = "q", mode = "monitor", on_error = { prompt = "open" }, key = sluice.secret "JUDGE_TOKEN", on = function() end, match = { sluice.match.email, "%d" }, names = { "x", "y" },
        map = { b = { 1, 2 }, a = "A b" }, judge = "judge" },
      sluice.only_if(function() return true end, P), { P, name = "gone", mode = "off" } } },
    page = { path = "/", files = "." },
  } }
`;
const KEYS = { JUDGE_TOKEN: "judge-token-value", MODEL_KEY: "model-key-value" };

function written() {
  p.write("c/ca.pem", "-----BEGIN CERTIFICATE-----\n");
  p.write("c/g.lua", GATEWAY);
  return "c/g.lua";
}

test("config --json: all that was understood, in an order that stays", () => {
  const file = written();
  const r = p.sluice("config", file, "--json", KEYS);
  assert.equal(r.code, 0, r.err);
  const c = JSON.parse(r.out);
  assert.equal(r.out, `${JSON.stringify(c, null, 2)}\n`);
  assert.deepEqual(Object.keys(c), ["api", "listen", "trusted_proxies", "workers", "drain", "memory", "generations", "snapshot", "responses", "limits", "services", "models", "routes"]);
  assert.deepEqual({ ...c, services: 0, models: 0, routes: 0 }, {
    api: 1, listen: "[::1]:4001", trusted_proxies: ["10.0.0.0/8", "::1"], workers: 2, drain: "60s", memory: "128mb", generations: 3, snapshot: { file: "c/counters.snap", every: "10s" }, responses: { keep: "10m", max_bytes: "8mb" },
    limits: { head: "8kb", body: "2mb", connections: 10, head_timeout: "1s", body_timeout: "2s", idle_timeout: "3s", write_stall: "4s" }, services: 0, models: 0, routes: 0,
  });
  assert.deepEqual(c.services, {
    judge: { url: "http://127.0.0.1:8000", auth: "<secret JUDGE_TOKEN>", ca: "c/ca.pem", timeout: "1500ms", connect: "100ms", max_parallel: 5, max_body: "1mb" }, lua: { answer: "<function c/g.lua:8>" },
    shared: { url: "redis://[::1]:6379/7", user: "gateway", auth: "<secret JUDGE_TOKEN>", prefix: "sluice:", timeout: "1500ms", max_parallel: 32, max_body: "1mb" },
  });
  assert.deepEqual(c.models, {
    both: { pool: ["slow", "fast"], balance: "least_busy", weights: { slow: 2, fast: 1 }, affinity: "key" },
    fast: { answer: "<function c/g.lua:14>", breaker: { failures: 5, window: "10s", open: "10s" } },
    slow: { provider: "openai", model: "m-1", url: "https://api.openai.com/v1", key: "<secret MODEL_KEY>", ca: "c/ca.pem", timeout: { gap: "5s" }, prefill: { go: true }, options: { usage: false },
      max_parallel: 9, breaker: { failures: 2, window: "10s", open: "10s" }, probe: { url: "https://api.openai.com/v1/models", every: "5s", timeout: "2s", healthy: 2, unhealthy: 3 },
      retry: { times: 2, backoff: "200ms", max: "5s" } },
  });
  assert.deepEqual(Object.keys(c.models), ["both", "fast", "slow"]);
  assert.deepEqual(Object.keys(c.routes), ["chat", "page"]);
  const { policies, ...chat } = c.routes.chat;
  assert.deepEqual(chat, { path: ["/b", "/a"], front: "token", models: { best: ["slow", "fast"], slow: ["slow"] }, target: ["slow", "fast"], timeout: { connect: "10s", first_token: "60s", gap: "60s", total: "90s" }, heartbeat: "5s",
    prerelease: { chars: 9, time: "1s" }, on_death: "continue", hedge: { after: "800ms", budget: "10%" }, retry: { times: 1, backoff: "200ms", max: "5s" }, off: ["gone"] });
  assert.deepEqual(policies[0], {
    name: "q", policy: "p", at: "c/g.lua:2", mode: "monitor", on_error: { open: ["prompt"] },
    options: { judge: "<service judge>", key: "<secret JUDGE_TOKEN>", map: { a: "A b", b: [1, 2] }, match: '<match email, pattern "%d">', names: ["x", "y"], on: "<function c/g.lua:18>", size: "64kb", time: "60s" },
  });
  assert.deepEqual(policies[1], { name: "p", at: "c/g.lua:2", mode: "enforce", on_error: "closed", only_if: "<function c/g.lua:20>", options: { size: "64kb", time: "60s" } });
  assert.ok(!r.out.includes("-value"));
});

test("config: tells every setting that there is", () => {
  const file = written();
  const { routes, models, services, ...c } = JSON.parse(p.sluice("config", file, "--json", KEYS).out);
  const told = { responses: c.responses, config: { ...c, routes, models, services }, limits: c.limits, service: { ...services.judge, ...services.lua, ...services.shared }, snapshot: c.snapshot, model: { ...models.slow, ...models.fast, ...models.both },
    route: { ...routes.chat, ...routes.page }, timeout: routes.chat.timeout };
  const overview = p.sluice("help").out;
  for (const [owner, of] of Object.entries(told)) {
    const [, names] = new RegExp(`^ {2}${owner}\\. +(.*(?:\\n {6,}.*)*)`, "m").exec(overview) ?? assert.fail(owner);
    for (const name of names.split(/\s+/)) assert.ok(name in of, `${owner}.${name} is not told`);
  }
});

test("config: an outline for people; a file with mistakes is told them", () => {
  const file = written();
  const r = p.sluice("config", file, KEYS);
  assert.equal(r.code, 0);
  for (const line of ["listen [::1]:4001", "    auth <secret JUDGE_TOKEN>", "    path /b, /a", "      - name q", "          map", "            a A b", "            b 1, 2", "    off gone"])
    assert.ok(r.out.split("\n").includes(line), `${line} in\n${r.out}`);
  assert.ok(!r.out.includes("-value"));
  const bad = p.sluice("config", file);
  assert.equal(bad.code, 1);
  assert.equal(bad.out, "");
  assert.match(bad.err, /c\/g\.lua:8: .*the secret JUDGE_TOKEN is missing/);
});
