// The cost of a token does not grow with the length of the answer: instructions are counted (valgrind), not time. Row 27.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { delta, event, play } from "../flow/play.mjs";

const CODE = 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return (text:gsub("e", "3")) end }';
const TOKENS = 50_000;

// Instructions of a gateway that streams TOKENS tokens in answers of `length` each.
async function cost(stage, length) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-cost-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true, force: true }));
  const up = await stage.upstream();
  const piece = Array.from({ length: 50 }, (_, i) => event(delta(` token ${i}`))).join("");
  up.serve(async (call) => {
    await call.stream();
    for (let i = 0; i < length; i += 50) await call.write(piece);
    await call.complete();
  });
  const log = path.join(dir, "log");
  const g = await stage.gateway({ upstream: up.url, code: CODE, policies: "P", route: 'timeout = { total = "10m" }' }, { under: ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", `--log-file=${log}`] });
  for (let i = 0; i < TOKENS; i += length) {
    const a = await g.ask("x");
    assert.equal((await a.all()).tokens.length, length);
  }
  await g.stop();
  return Number(/Collected\s*:\s*(\d+)/.exec(fs.readFileSync(log, "utf8"))[1]);
}

play("50,000 tokens in one answer cost what they cost in fifty (row 27)", async (stage) => {
  const fifty = await cost(stage, 1000);
  const one = await cost(stage, TOKENS);
  console.log(`instructions a token: ${Math.round(fifty / TOKENS)} in answers of 1,000, ${Math.round(one / TOKENS)} in one of 50,000`);
  assert.ok(one < fifty * 1.1, `${one} instructions, not ${fifty}`);
}, { minutes: 5 });
