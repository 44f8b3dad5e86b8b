// Counters in a file: they outlive the gateway, however it ends; a file that is damaged is told of and begins at nothing.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Gateway, eventually, file, play } from "./play.mjs";

const members = (snapshot) => ({
  top: `workers = 2, snapshot = ${snapshot},`,
  code: `local c = sluice.counter("asked", { window = "1000h" })
local P = sluice.policy { name = "p" }
function P.validate(req) return sluice.reply(("%d"):format(c:add(req.query.q))) end`,
  policies: "P",
});

function place(stage) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-snapshot-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true }));
  return path.join(dir, "counters.snap");
}

const said = async (g, q = "k") => (await (await g.ask(q)).all()).text;

play("an end by SIGTERM keeps what was counted", async (stage) => {
  const snap = place(stage);
  const first = await stage.gateway(members(`"${snap}"`));
  for (let i = 1; i <= 5; i++) assert.equal(await said(first), String(i));
  await first.stop();
  assert.deepEqual(fs.readdirSync(path.dirname(snap)), ["counters.snap"]);
  assert.equal(fs.statSync(snap).mode & 0o777, 0o600);
  const second = await stage.gateway(members(`"${snap}"`));
  assert.equal(await said(second), "6");
  assert.equal(await said(second, "other"), "1");
  assert.match(second.log.find((l) => l.event === "counters.read").message, /1 sums$/);
});

play("a gateway that is killed has kept what was written before", async (stage) => {
  const snap = place(stage);
  const m = members(`{ file = "${snap}", every = "100ms" }`);
  const dies = await Gateway.start(file(m));                               // not the stage's, which would have it end well
  stage.onEnd(() => dies.abandon());
  for (let i = 1; i <= 3; i++) assert.equal(await said(dies), String(i));
  await eventually(() => fs.existsSync(snap) && fs.readFileSync(snap, "latin1").includes(" 0x1.8p+1 1 k\n"), "three to be written");
  dies.child.kill("SIGKILL");
  await dies.news.until(() => dies.exit, "it to be gone");
  assert.equal(await said(await stage.gateway(m)), "4");
});

for (const [name, spoil] of [
  ["was cut", (b) => b.subarray(0, b.length - 9)],
  ["was bent", (b) => Buffer.from(b.toString("latin1").replace("asked", "asker"), "latin1")],
  ["is something else", () => Buffer.from("hello\n")],
  ["is empty", () => Buffer.alloc(0)],
])
  play(`a file that ${name} is refused with a line in the log; the gateway begins at nothing and writes a good one`, async (stage) => {
    const snap = place(stage);
    const first = await stage.gateway(members(`"${snap}"`));
    assert.equal(await said(first), "1");
    await first.stop();
    fs.writeFileSync(snap, spoil(fs.readFileSync(snap)));
    const second = await stage.gateway(members(`"${snap}"`));
    const line = second.log.find((l) => l.event === "counters.refused");
    assert.equal(line.level, "error");
    assert.ok(line.message.startsWith(`${snap}: it is `) && line.message.includes("all counters begin at nothing"), line.message);
    assert.equal(await said(second), "1");
    await second.stop();
    assert.equal(await said(await stage.gateway(members(`"${snap}"`))), "2");
  });

play("a file that cannot be written is told of once; the gateway goes on", async (stage) => {
  const snap = place(stage);
  fs.mkdirSync(`${snap}.tmp`);                                             // where the new one would be written
  const g = await stage.gateway(members(`{ file = "${snap}", every = "100ms" }`));
  assert.equal(await said(g), "1");
  await g.news.until(() => g.log.find((l) => l.event === "counters.unwritten"), "the complaint");
  assert.equal(await said(g), "2");
  await g.stop();
  assert.equal(g.log.filter((l) => l.event === "counters.unwritten").length, 1);
});

play("a directory that is not there is a mistake of the file", async (stage) => {
  const g = await Gateway.start(file(members('"/nowhere/at/all.snap"')), { expect: "failure" });
  stage.onEnd(() => g.abandon());
  await g.news.until(() => g.exit, "it to end");
  assert.equal(g.exit.code, 1);
  assert.match(g.tail(), /snapshot: there is no directory \/nowhere\/at to write it into/);
});
