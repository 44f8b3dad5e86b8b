// Recorded streams (spec/wire/*.sse) and what they mean (*.json): whole, byte by byte, and cut in two at every byte, with and without a filter. The client's
// bytes are the same each time. Rows 6, 7, 9, 13 and 23.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { ROOT, play } from "./play.mjs";

const WIRE = path.join(ROOT, "spec/wire");
const FILTER = 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return text end }';

const goldens = fs.readdirSync(WIRE).filter((f) => f.endsWith(".sse")).map((f) => ({
  name: f.slice(0, -4),
  bytes: fs.readFileSync(path.join(WIRE, f)),
  means: JSON.parse(fs.readFileSync(path.join(WIRE, f.replace(/sse$/, "json")), "utf8")),
}));

// Status and body of the answer, checked against what the stream means.
async function got(a, { name, means }) {
  await a.end();
  if (a.status === 200) {
    const { tokens, code } = await a.all();
    assert.deepEqual(tokens, means.tokens, name);
    assert.equal(code ?? "done", means.end, name);
  } else {
    assert.equal(means.tokens.length, 0, name);
    assert.equal((await a.json()).code, means.end, name);
  }
  return `${a.status} ${a.body.toString("latin1")}`;
}

async function run(up, g, golden, send) {
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await send(call);
  await call.end();
  return got(a, golden);
}

for (const golden of goldens)
  play(`${golden.name}: ${golden.means.about}`, async (stage) => {
    const up = await stage.upstream();
    const g = await stage.gateway({ upstream: up.url, code: FILTER, routes: 'filtered = { path = "/filtered", front = "token", target = "m", policies = { P } },' });
    const whole = await run(up, g, golden, (call) => call.write(golden.bytes));

    const bytewise = await run(up, g, golden, async (call) => {
      for (const b of golden.bytes) {
        call.write([b]);
        await new Promise(setImmediate);
      }
    });
    assert.equal(bytewise, whole);

    const c = await g.connect();
    const filtered = c.ask("/filtered?q=x");
    const call = await up.call();
    await call.stream();
    await call.write(golden.bytes);
    await call.end();
    assert.equal(await got(filtered, golden), whole);

    // In two, at every byte: all first parts are read (g.turn) before the second ones leave.
    for (let from = 1; from < golden.bytes.length; from += 300) {
      const runs = [];
      for (let cut = from; cut < Math.min(from + 300, golden.bytes.length); cut++) {
        const a = await g.ask();
        const part = await up.call();
        await part.stream();
        await part.write(golden.bytes.subarray(0, cut));
        runs.push({ a, part, cut });
      }
      await g.turn();
      for (const { a, part, cut } of runs) {
        await part.write(golden.bytes.subarray(cut));
        await part.end();
        assert.equal(await got(a, golden), whole, `cut at byte ${cut}`);
        a.client.close();
      }
    }
  }, { minutes: 2 });
