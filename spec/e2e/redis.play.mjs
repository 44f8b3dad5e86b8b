// The real Redis: commands, a password, servers that die, hang and forget; counters and limiters that several gateways share.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Gateway, KEY, eventually, file, play } from "../flow/play.mjs";

const run = promisify(execFile);

async function free_port() {
  const s = net.createServer();
  await new Promise((r) => s.listen(0, "127.0.0.1", r));
  const { port } = s.address();
  await new Promise((r) => s.close(r));
  return port;
}

// A server in a directory of its own that keeps nothing; ended by its pid.
class Redis {
  static async start(stage) {
    const r = new Redis();
    r.dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-redis-"));
    r.port = await free_port();
    await r.begin();
    stage.onEnd(async () => {
      await r.kill();
      fs.rmSync(r.dir, { recursive: true });
    });
    return r;
  }

  async begin() {
    const args = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.dir, "--requirepass", KEY, "--loglevel", "warning"];
    this.child = spawn("redis-server", args.map(String), { stdio: "ignore" });
    this.gone = new Promise((r) => this.child.on("exit", r));
    await eventually(async () => (await this.cli("PING").catch(() => "")) === "PONG", "redis-server to answer");
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.gone;
  }

  stop() { this.child.kill("SIGSTOP"); }
  go() { this.child.kill("SIGCONT"); }

  async cli(...words) {
    const { stdout } = await run("redis-cli", ["-p", String(this.port), ...words], { env: { ...process.env, REDISCLI_AUTH: KEY } });
    return stdout.trim();
  }

  // A gateway's file that uses it, and such a gateway; `lua` has the server as `r`.
  members(lua, service = "") {
    return {
      top: `workers = 2, services = { shared = { url = "redis://127.0.0.1:${this.port}/1", auth = sluice.secret "LLM_API_KEY", timeout = "20s", ${service} } },`,
      code: `local r = sluice.redis "shared"\nlocal P = sluice.policy { name = "p" }\n${lua}`,
      policies: "P",
    };
  }

  gateway(stage, lua, { service } = {}) { return stage.gateway(this.members(lua, service)); }
}

const COMMAND = `function P.validate(req)
  local words = {}
  for word in req.query.q:gmatch "[^|]+" do words[#words + 1] = word end
  local v, err = r:command(table.unpack(words))
  if err then return sluice.reply(err.kind .. ": " .. tostring(err)) end
  return sluice.reply(sluice.json.encode(v == nil and sluice.json.null or v))
end`;

const LIMIT = `local rate = sluice.limiter("rpm", { rate = 50, per = "1000h", store = "redis:shared" })
function P.accept(head)
  local ok = rate:take "everybody"
  if not ok then return sluice.reject(429, "rate_limited", "Too many.") end
  return sluice.reply "in"
end`;

const said = async (g, q) => (await (await g.ask(q)).all()).text;
const status = async (g, q) => (await (await g.ask(q)).head()).status;

async function statuses(gateways, each, question = () => "q") {
  const all = [];
  for (let i = 0; i < each; i++) for (const g of gateways) all.push(status(g, question(i)));
  const count = {};
  for (const s of await Promise.all(all)) count[s] = (count[s] ?? 0) + 1;
  return count;
}

play("commands and what they are answered, with a password", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, COMMAND);
  assert.equal(await said(g, "SET|a|é 1"), '"OK"');
  assert.equal(await said(g, "GET|a"), '"é 1"');
  assert.equal(await redis.cli("-n", "1", "GET", "a"), "é 1");
  assert.equal(await said(g, "GET|nothing"), "null");
  assert.equal(await said(g, "INCRBY|n|41"), "41");
  assert.equal(await said(g, "HSET|h|x|1|y|two"), "2");
  assert.deepEqual(JSON.parse(await said(g, "HGETALL|h")), { x: "1", y: "two" });
  assert.equal(await said(g, "RPUSH|l|a|b|c"), "3");
  assert.equal(await said(g, "LRANGE|l|0|-1"), '["a","b","c"]');
  assert.equal(await said(g, "MGET|a|nothing|n"), '["é 1",false,"41"]');
  assert.equal(await said(g, "EVAL|return {1,{2,{false}},redis.status_reply('fine')}|0"), '[1,[2,[false]],"fine"]');
  assert.match(await said(g, "INCR|h"), /^reply: service "shared": reply: WRONGTYPE /);
  assert.match(await said(g, "NOSUCH|h"), /^reply: .*unknown command/);
});

play("a wrong password: connect, and the sentence says why, without it", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, COMMAND, { service: 'user = "nobody"' });
  assert.match(await said(g, "GET|a"), /^connect: service "shared": connect: it does not let us in: WRONGPASS/);
});

play("a server that dies and comes back: 503 meanwhile, the gateway lives, and connects again", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, LIMIT);
  assert.equal(await status(g), 200);
  await redis.kill();
  for (let i = 0; i < 3; i++) assert.equal(await status(g), 503);
  assert.equal((await (await g.ask()).json()).code, "dependency_failed");
  await redis.begin();
  assert.equal(await status(g), 200);
});

play("killed in the middle of a call: the policy fails, closed; the gateway lives", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, LIMIT);
  assert.equal(await status(g), 200);
  redis.stop();
  const waiting = [status(g), status(g), status(g)];
  await g.turn();
  await redis.kill();
  assert.deepEqual(await Promise.all(waiting), [503, 503, 503]);
  await redis.begin();
  assert.equal(await status(g), 200);
});

play("a server that hangs: the time runs out, the policy fails; when it goes on so does all else", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, LIMIT, { service: 'timeout = "300ms"' });
  assert.equal(await status(g), 200);
  redis.stop();
  const r = await (await g.ask()).json();
  assert.equal(r.code, "dependency_failed");
  redis.go();
  await eventually(async () => (await status(g)) === 200, "it to answer again");
});

play("one limiter, two gateways, all at once: exactly as many pass as may", async (stage) => {
  const redis = await Redis.start(stage);
  const gateways = [await redis.gateway(stage, LIMIT), await redis.gateway(stage, LIMIT)];
  assert.deepEqual(await statuses(gateways, 60), { 200: 50, 429: 70 });
  assert.equal(await redis.cli("-n", "1", "KEYS", "*"), "sluice:limiter:rpm:everybody");
  assert.ok(Number(await redis.cli("-n", "1", "PTTL", "sluice:limiter:rpm:everybody")) > 0, "its key goes by itself");
});

play("a server that was told to forget its scripts gets them again", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, LIMIT);
  assert.equal(await status(g), 200);
  await redis.cli("SCRIPT", "FLUSH");
  assert.deepEqual(await statuses([g], 60), { 200: 49, 429: 11 });
});

// Reserves 3 and spends what the question says, at the end; "nothing" never settles.
const RESERVE = `local c = sluice.counter("usd", { window = "1000h", store = "redis:shared", lease = "1h" })
function P.validate(req, ctx)
  if req.query.q == "get" then return sluice.reply(tostring(c:get "k")) end
  local held = c:reserve("k", 3, 100)
  if not held then return sluice.reject(429, "used_up", "No.") end
  ctx.state.held = held
  sluice.sleep "20ms"
  return sluice.reply "in"
end
function P.log(_, ctx)
  local held, n = ctx.state.held, tonumber(ctx.tags.n)
  if held and n then held:settle(n) end
end
function P.accept(head, ctx)
  if tonumber(head.query.q) then ctx:tag("n", head.query.q) end
end`;

play("reservations that are settled at their full cost: never more is sold than there is", async (stage) => {
  const redis = await Redis.start(stage);
  const gateways = [await redis.gateway(stage, RESERVE), await redis.gateway(stage, RESERVE)];
  assert.deepEqual(await statuses(gateways, 40, () => "3"), { 200: 33, 429: 47 });
  await eventually(async () => (await redis.cli("-n", "1", "EXISTS", "sluice:held:usd:k")) === "0", "all to be settled");
  assert.equal(await redis.cli("-n", "1", "HGET", "sluice:counter:usd:k", "sum"), "99");
  assert.equal(await redis.cli("-n", "1", "HGET", "sluice:counter:usd:k", "held"), "0");
});

play("settled for less, the rest is there for others; the sum is what was spent", async (stage) => {
  const redis = await Redis.start(stage);
  const gateways = [await redis.gateway(stage, RESERVE), await redis.gateway(stage, RESERVE)];
  let passed = 0;
  for (let round = 0; round < 4; round++) passed += (await statuses(gateways, 20, () => "0.5"))[200] ?? 0;
  assert.ok(passed > 33, `${passed} passed`);
  await eventually(async () => (await redis.cli("-n", "1", "EXISTS", "sluice:held:usd:k")) === "0", "all to be settled");
  assert.equal(Number(await redis.cli("-n", "1", "HGET", "sluice:counter:usd:k", "sum")), passed / 2);
});

play("what is never settled is given back when the exchange ends, also when its client has left", async (stage) => {
  const redis = await Redis.start(stage);
  const g = await redis.gateway(stage, RESERVE.replace("20ms", "2s"));
  const left = [];
  for (let i = 0; i < 5; i++) left.push(await g.ask("nothing"));
  await eventually(async () => (await said(g, "get")) === "15.0", "five to be reserved");
  for (const a of left) a.client.close();
  await eventually(async () => (await said(g, "get")) === "0.0", "all to be given back");
});

play("a gateway that is killed: what it had reserved is given back when the lease is over", async (stage) => {
  const redis = await Redis.start(stage);
  const lua = RESERVE.replace("20ms", "60s").replace("1h", "1500ms");
  const dies = await Gateway.start(file(redis.members(lua)));            // not the stage's, which would have it end well
  stage.onEnd(() => dies.abandon());
  const lives = await redis.gateway(stage, lua);
  for (let i = 0; i < 3; i++) await dies.ask("nothing");
  await eventually(async () => (await redis.cli("-n", "1", "ZCARD", "sluice:held:usd:k")) === "3", "three to be reserved");
  dies.child.kill("SIGKILL");
  await eventually(async () => (await said(lives, "get")) === "0.0", "the lease to be over");
});

play("a part with a store: one limit for two gateways", async (stage) => {
  const redis = await Redis.start(stage);
  const lua = `function P.validate() return sluice.reply "in" end
P = sluice.chain { sluice.parts.rate_limit { key = function() return "all" end, rate = 5, per = "1000h", store = "redis:shared" }, P }`;
  const gateways = [await redis.gateway(stage, lua), await redis.gateway(stage, lua)];
  assert.deepEqual(await statuses(gateways, 5), { 200: 5, 429: 5 });
});
