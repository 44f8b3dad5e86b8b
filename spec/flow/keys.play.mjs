// What a key may use, on the wire and over two workers: a slot lives exactly as long as its stream, however that ends (row 20); tokens are counted on
// every way out (row 21). And the command that makes keys.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { place } from "./command.mjs";
import { eventually, event, file, play } from "./play.mjs";

const p = place("keys");

// A new key and its line, as an operator makes them.
function made(name, may = "") {
  const [key, line] = p.sluice("key", name).out.split("\n");
  return { key, line: `${line} ${may}\n` };
}

const gateway = (stage, up, line, more = {}) =>
  stage.gateway(file({ upstream: up.url, top: "workers = 2,", policies: 'sluice.parts.api_keys { file = "keys.txt", max_tokens = 1000 }', ...more }), { files: { "keys.txt": line } });

const slots = async (g) => {
  const seen = g.log.length;
  await g.metrics();
  return g.news.until(() => g.log.slice(seen).find((l) => l.event === "shared" && l.kind === "semaphore" && l.name.startsWith("api_keys/")), "the line of the semaphore");
};
const empty = (g) => eventually(async () => (await slots(g)).held === 0, "all slots to be given back");

const HOW = [(c) => c.reset(), (c) => c.close(), (c) => c.finish()];

play("concurrency=5: 1,000 clients leave at random points; never more than five calls at a time, none held at the end (row 20)", async (stage) => {
  const up = await stage.upstream();
  const { key, line } = made("alice", "concurrency=5");
  const g = await gateway(stage, up, line);
  const headers = { "api-key": key };
  let seed = 20;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648, Math.floor(seed / 65536) % n);      // it comes again

  // The upstream's side: what it has under way. A sixth may be seen a moment before the fifth's end, which was sent earlier: then everything here stands
  // still, nobody leaves and nothing is answered, until that end has come. It must.
  const live = new Set();
  let most = 0, still = Promise.resolve();
  const count = () => {
    for (const call of live) if (call.over) live.delete(call);
    return live.size;
  };
  up.serve(async (call) => {
    live.add(call);
    await new Promise(setImmediate);
    if (count() > 5) await (still = up.news.until(() => count() <= 5, () => `one of ${count()} calls to end: five may be under way`));
    most = Math.max(most, count());
    const { tokens, whole, silent } = JSON.parse(call.question);
    if (silent) return;
    await call.stream();
    for (let i = 0; i < tokens; i++) await call.token("t");
    if (!whole) return;
    await still;
    live.delete(call);
    await call.complete();
  });

  const ways = {
    async "half a head"(c) {
      const bytes = JSON.stringify(headers);
      c.send(`GET /api/stream?q=x HTTP/1.1\r\nHost: x\r\nX: ${bytes.slice(0, random(bytes.length))}`);
      await new Promise(setImmediate);
    },
    async "half a body"(c) {
      c.send(`GET /api/stream?q={} HTTP/1.1\r\nHost: x\r\napi-key: ${key}\r\nContent-Length: 10\r\n\r\nhalf`);
      if (random(2)) await new Promise(setImmediate);
    },
    async "at once"(c) {
      c.ask(`/api/stream?q=${encodeURIComponent('{"silent":true}')}`, { headers });
      for (let n = random(4); n > 0; n--) await new Promise(setImmediate);
    },
    async "before the head"(c, id) {
      const a = c.ask(`/api/stream?q=${encodeURIComponent(JSON.stringify({ id, tokens: 0, silent: random(2) === 0 }))}`, { headers });
      const known = () => a.status > 0 || up.calls.some((call) => call.question.includes(id));
      await Promise.race([c, up].map((from) => from.news.until(known, "an answer or a call")));
      for (const from of [c, up]) from.news.tell();      // the other need not wait any more
      return a.status === 429;
    },
    async "after some tokens"(c, id) {
      const k = 1 + random(8);
      const a = c.ask(`/api/stream?q=${encodeURIComponent(JSON.stringify({ id, tokens: k + random(2) }))}`, { headers });
      await a.head();
      if (a.status === 429) return true;
      for (let i = 0; i < k; i++) await a.token();
    },
  };
  const names = Object.keys(ways);
  let left = 0, refused = 0, whole = 0;
  let inARow = 0;                      // refused since the last one that was not
  let gone = 0, seen = 0;                // streams that ended because their client left, as the log says
  const enough = () => {
    for (; seen < g.log.length; seen++) if (g.log[seen].end === "client_closed") gone++;
    return gone >= 1000;
  };
  const admitted = Object.fromEntries(names.map((n) => [n, 0]));

  const visit = async () => {
    const c = await g.connect();
    if (random(10) === 0) {
      const a = c.ask(`/api/stream?q=${encodeURIComponent('{"tokens":3,"whole":true}')}`, { headers });
      await a.head();
      if (a.status === 200) assert.equal((await a.all()).text, "ttt");
      else assert.equal((await a.json()).code, "concurrency_limited");
      a.status === 200 ? whole++ : refused++;
      inARow = a.status === 200 ? 0 : inARow + 1;
      return c.close();
    }
    const name = names[random(names.length)];
    if (await ways[name](c, `#${left}.${random(1e6)}`)) {
      refused++;
      assert.ok(++inARow < 10_000, `${inARow} were refused one after another: the slots are lost`);
      return c.close();
    }
    if (name === "after some tokens" || name === "before the head") inARow = 0;
    await still;
    HOW[random(3)](c);
    left++;
    admitted[name]++;
  };
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (!enough()) await visit();
  }));
  await still;

  await empty(g);
  assert.equal((await slots(g)).keys, 0, "no key is remembered");
  await eventually(() => count() === 0, "the upstream's calls to end");
  assert.ok(refused > 50 && whole > 5, `${refused} refused, ${whole} served`);
  for (const name of names) assert.ok(admitted[name] > 20, `${name}: ${admitted[name]}`);
  const five = [];
  for (let i = 0; i < 5; i++) five.push(await g.ask('{"tokens":1}', { headers }));
  for (const a of five) assert.equal(await a.token(), "t");
  const sixth = await (await g.ask("{}", { headers })).head();
  assert.deepEqual([(await slots(g)).held, most, (await sixth.json()).code], [5, 5, "concurrency_limited"]);
}, { minutes: 4 });

play("a slot stays its stream's over a reload, and the new limit counts those that run", async (stage) => {
  const up = await stage.upstream();
  const { key, line } = made("alice", "concurrency=2");
  const g = await gateway(stage, up, line);
  const ask = () => g.ask("x", { headers: { "x-api-key": key } });
  const running = [await ask(), await ask()];
  const calls = [await up.call(), await up.call()];
  const reload = async (may) => {
    const seen = g.log.length;
    fs.writeFileSync(path.join(g.dir, "keys.txt"), line.replace("concurrency=2", may));
    g.signal("SIGHUP");
    await g.news.until(() => g.log.slice(seen).find((l) => l.event === "reload"), "the reload");
  };
  const code = async () => {
    const a = await ask();
    await a.head();
    return (await a.json()).code;
  };
  await reload("concurrency=1");
  assert.equal(await code(), "concurrency_limited");
  await reload("concurrency=3");
  running.push(await ask());
  calls.push(await up.call());
  assert.equal(await code(), "concurrency_limited");
  for (const call of calls) await call.tell(["a"]);
  for (const a of running) assert.equal((await a.all()).text, "a");
  assert.deepEqual([(await slots(g)).held, (await slots(g)).keys], [0, 0]);
});

play("tokens=: who leaves in the middle pays for what was seen; what a worker counted the other knows (row 21)", async (stage) => {
  const up = await stage.upstream();
  const { key, line } = made("alice", "tokens=2020/1d");
  const g = await gateway(stage, up, line);
  const ask = () => g.ask("x", { headers: { Authorization: `Bearer ${key}` } });
  const both = [await ask(), await ask()];
  const calls = [await up.call(), await up.call()];
  for (let i = 0; i < 4; i++) {
    const a = await (await ask()).head();
    assert.deepEqual([a.status, (await a.json()).code, a.headers.get("x-ratelimit-remaining-tokens")], [429, "tokens_used_up", "10"]);
    assert.ok(Number(a.headers.get("retry-after")) > 0);
  }
  assert.equal(up.calls.length, 2);
  for (const call of calls) {
    await call.stream();
    await call.token("a");
  }
  for (const a of both) {
    await a.token();
    a.client.reset();
  }
  for (const call of calls) await call.gone();
  await g.news.until(() => g.requests.filter((l) => l.end === "client_closed").length === 2, "both lines");
  for (const l of g.requests.filter((r) => r.end === "client_closed")) assert.deepEqual([l.key, l.key_tokens, l.key_tokens_estimated], ["alice", "6", "true"]);
  const last = await ask();
  const call = await up.call();
  await call.stream();
  await call.token("a");
  await call.write(event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 95 } }));
  await call.complete();
  assert.equal((await last.all()).text, "a");
  assert.equal(last.headers.get("x-ratelimit-remaining-tokens"), String(2020 - 12 - 1005));
  assert.equal((await g.request(last)).key_tokens, "100");
});

test("sluice key: a new key each time, shown once, and the line of its hash", () => {
  const keys = new Set();
  for (let i = 0; i < 20; i++) {
    const r = p.sluice("key", "ann@example.com");
    assert.equal(r.code, 0);
    const [, key, hash] = /^sk-sluice-([\w-]{43})\nann@example\.com sha256:([0-9a-f]{64})\n$/.exec(r.out);
    assert.equal(crypto.createHash("sha256").update(`sk-sluice-${key}`).digest("hex"), hash);
    const bytes = Buffer.from(key, "base64url");
    assert.deepEqual([bytes.length, bytes.toString("base64url")], [32, key]);
    assert.match(r.err, /^The first line is the key, shown this once; [^\n]+\n$/);
    keys.add(key);
  }
  assert.equal(keys.size, 20);
  for (const args of [["key"], ["key", "two words"], ["key", ""], ["key", "a".repeat(65)], ["key", "a", "b"]]) {
    const r = p.sluice(...args);
    assert.deepEqual([r.code, r.out], [2, ""]);
    assert.match(r.err, /^sluice: key:? .+\n/);
  }
});
