// sluice.parts.cache on the wire: an answer whose client left, whose upstream died or was cut is not kept, wherever that happened; a whole one is, for all
// workers, and is sent at the pace of its reader. Row 28.
import assert from "node:assert/strict";
import { play } from "./play.mjs";

const cached = { policies: "sluice.parts.cache { ttl = \"10m\" }" };
const EVENTS = ["one ", "two ", "three"];

// The next request is a miss, and its answer is not what was cut.
async function isMiss(up, g, question) {
  const asked = await g.ask(question);
  const call = await up.call();
  await call.tell(["whole"]);
  assert.equal((await asked.all()).text, "whole");
  assert.equal(asked.headers.get("x-cache"), "miss");
  const again = await g.ask(question);
  assert.equal((await again.all()).text, "whole", "and that one is kept");
  assert.equal(again.headers.get("x-cache"), "hit");
}

const leaves = { reset: (a) => a.client.reset(), "FIN and close": (a) => a.client.close() };
for (const [way, leave] of Object.entries(leaves))
  play(`the client leaves by ${way} at each event: the next request is a miss`, async (stage) => {
    const { up, g } = await stage.pair(cached);
    for (let n = 0; n <= EVENTS.length; n++) {
      const question = `leaves at ${n}`, asked = await g.ask(question), call = await up.call();
      await call.stream();
      for (let i = 0; i < n; i++) {
        await call.token(EVENTS[i]);
        assert.equal(await asked.token(), EVENTS[i]);
      }
      if (n === EVENTS.length) await call.finish();      // all is said but the end mark
      leave(asked);
      await call.gone();
      await isMiss(up, g, question);
    }
  });

const cuts = { "is reset": (call) => call.reset(), "ends without an end mark": (call) => call.end(), "dies within an event": async (call) => { await call.write("data: {\"cho"); call.reset(); } };
for (const [way, cut] of Object.entries(cuts))
  play(`the upstream ${way} at each event: the next request is a miss`, async (stage) => {
    const { up, g } = await stage.pair(cached);
    for (let n = 0; n <= EVENTS.length; n++) {
      const question = `cut at ${n}`, asked = await g.ask(question), call = await up.call();
      await call.stream();
      for (let i = 0; i < n; i++) {
        await call.token(EVENTS[i]);
        await asked.token();
      }
      await cut(call);
      if (n === 0) assert.match((await asked.json()).code, /^upstream_/);
      else assert.match((await asked.all()).code, /^upstream_/);
      await isMiss(up, g, question);
    }
  });

play("what one worker has heard, the other tells; each client its own", async (stage) => {
  const { up, g } = await stage.pair({ ...cached, top: "workers = 2," });
  up.serve((call) => call.tell(["for ", call.question]));
  for (let i = 0; i < 20; i++) assert.equal((await (await g.ask("same")).all()).text, "for same");
  assert.equal(up.calls.length, 1);
  const other = await g.ask("same", { headers: { Authorization: "Bearer other" } });
  assert.equal((await other.all()).text, "for same");
  assert.equal(other.headers.get("x-cache"), "miss");
  assert.equal(up.calls.length, 2);
});

play("a hit is sent at its reader's pace, and one whose reader leaves does not harm it", async (stage) => {
  const { up, g } = await stage.pair({ policies: 'sluice.parts.cache { max_bytes = "64mb" }' });
  const long = "x".repeat(900_000);
  up.serve((call) => call.tell([long]));
  assert.equal((await (await g.ask("long")).all()).text.length, long.length);
  for (let i = 0; i < 3; i++) {
    const left = await g.ask("long");
    await left.token();
    left.client.reset();
  }
  const slow = await g.ask("long");
  slow.client.stop();
  await g.turn();
  slow.client.go();
  const all = await slow.all();
  assert.equal(all.text, long);
  assert.equal(slow.headers.get("x-cache"), "hit");
  assert.equal(up.calls.length, 1);
  assert.equal((await g.metrics()).streams_open, 0);
});
