// Answers that are one document, and bodies as large as they may be: what they cost is given back, and one that does not end is cut.
import assert from "node:assert/strict";
import { delta, event, eventually, play } from "./play.mjs";

const MiB = 1 << 20;
const SHADOW = process.env.SLUICE_SANITIZED === "thread" ? 5 : 1;             // its bookkeeping is several times what it watches

// /plain/v1: bytes pass; /read/v1: a filter reads the text.
async function documents(stage) {
  const up = await stage.upstream();
  const g = await stage.gateway({
    upstream: up.url,
    code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return text end }',
    routes: 'plain = { path = "/plain/v1/chat/completions", front = "openai", target = "m" }, read = { path = "/read/v1/chat/completions", front = "openai", target = "m", policies = { P } },',
  });
  const ask = async (path, content = "hi") => {
    const body = JSON.stringify({ messages: [{ role: "user", content }] });
    return (await g.connect()).ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  };
  return { up, g, plain: (content) => ask("/plain/v1/chat/completions", content), read: (content) => ask("/read/v1/chat/completions", content) };
}

const whole = (text) => JSON.stringify({ object: "chat.completion", model: "play-1", choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }] });

play("bodies of 1 MiB and documents of 4 MiB, read and passing: memory comes back", async (stage) => {
  const { up, g, plain, read } = await documents(stage);
  const question = "q".repeat(MiB - 200), answer = "a".repeat(64 * 1024);
  let got = 0;
  up.serve(async (call) => {
    assert.ok(call.body.length > MiB - 200);
    if (!call.json.stream) return call.reply(200, { "Content-Type": "application/json" }, whole(answer.repeat(64)));
    await call.stream();
    for (let i = 0; i < 64; i++) await call.token(answer);
    await call.finish();
    await call.complete();
  });
  const round = async (n) => {
    for (let i = 0; i < n; i++) {
      const a = await (i % 2 ? plain : read)(question);
      const { choices } = await a.json();
      assert.equal(choices[0].message.content.length, 4 * MiB);
      a.client.close();
      got++;
    }
  };
  await round(10);                                        // what it keeps for the next one is there now
  const before = g.rss();
  await round(50);
  assert.equal(got, 60);
  assert.equal(up.failed, undefined);
  await eventually(() => g.rss() - before < 24 * 1024 * SHADOW, () => `memory to come back: it grew by ${g.rss() - before} KiB`);
});

// Where a document is gathered and where one passes.
const endless = {
  "a document that passes": { path: "plain", begin: (call) => call.head(200, { "Content-Type": "application/json" }).then(() => call.write('{"choices":[{"message":{"content":"')), more: "x".repeat(65536) },
  "a text that is gathered": { path: "read", begin: (call) => call.stream(), more: event(delta("x".repeat(65536))) },
};
for (const [name, { path, begin, more }] of Object.entries(endless))
  play(`${name} without end: an error, 16 MiB at most are held`, async (stage) => {
    const { up, g, ...ask } = await documents(stage);
    const before = g.rss();
    const a = await ask[path]();
    const call = await up.call();
    await begin(call);
    let handed = 0;
    while (handed < 512 * MiB && (await call.write(more))) handed += more.length;
    assert.equal((await a.json()).error.code, "upstream_event_too_large");
    await call.gone();
    assert.ok(handed < 64 * MiB, "it was cut early");
    assert.ok(g.peak() - before < 48 * 1024 * SHADOW, `the peak grew by ${g.peak() - before} KiB`);
  });
