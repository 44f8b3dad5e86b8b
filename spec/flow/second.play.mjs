// Second tries: beside a slow one (hedge), in place of one that died within the window (prerelease), and going on with the text of one that died behind it
// (on_death). What the policy specs say of the clock is said here of connections.
import assert from "node:assert/strict";
import { play } from "./play.mjs";

const HEDGE = 'hedge = { after = "50ms", budget = "100%" }';

// Two tries that both wait: the first one and its hedge.
async function race(stage, route = HEDGE) {
  const { up, g } = await stage.pair({ route });
  const a = await g.ask();
  const first = await up.call();
  const second = await up.call();
  await first.stream();
  await second.stream();
  return { up, g, a, first, second };
}

play("the hedge's first token wins: the first connection is closed at once", async (stage) => {
  const { g, a, first, second } = await race(stage);
  await second.token("won");
  assert.equal(await a.token(), "won");
  await first.gone();                                  // while the answer still runs
  await second.token(" it");
  await second.complete();
  const all = await a.all();
  assert.equal(all.tokens.join(""), "won it");
  const line = await g.request(a);
  assert.equal(line.hedge, "won");
  assert.equal(line.tries, 2);
  const m = await g.metrics();
  assert.deepEqual([m.hedges_started, m.hedges_won, m.upstream_attempts], [1, 1, 2]);
});

play("the first try's token wins: the hedge's connection is closed at once", async (stage) => {
  const { g, a, first, second } = await race(stage);
  await second.write(': ping\n\ndata: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n');
  await first.token("won");
  assert.equal(await a.token(), "won");
  await second.gone();
  await first.complete();
  assert.equal((await a.all()).tokens.join(""), "won");
  assert.equal((await g.request(a)).hedge, "lost");
  const m = await g.metrics();
  assert.deepEqual([m.hedges_started, m.hedges_won], [1, 0]);
});

play("one of the two dies: the other goes on alone", async (stage) => {
  for (const dies of [0, 1]) {
    const { a, first, second } = await race(stage);
    const [dead, alive] = dies === 0 ? [first, second] : [second, first];
    dead.reset();
    await alive.token("alone");
    await alive.complete();
    assert.equal((await a.all()).tokens.join(""), "alone");
  }
});

play("the client leaves: both connections are closed", async (stage) => {
  const { up, a, first, second } = await race(stage);
  a.client.close();
  await first.gone();
  await second.gone();
  await up.quiet();
});

play("a try that dies within the window leaves no byte", async (stage) => {
  const { up, g } = await stage.pair({ route: "prerelease = { chars = 10 }" });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("seen?");
  await g.turn();                                      // it was read: a reset takes along what was not
  call.reset();
  await a.head();
  assert.equal(a.status, 502);
  assert.equal((await a.json()).code, "upstream_reset");
  const line = await g.request(a);
  assert.equal(line.unreleased, 5);
  assert.equal((await g.metrics()).prerelease_drops, 1);
});

play("a try that dies behind text is gone on with, as the model said it", async (stage) => {
  const { up, g } = await stage.pair({ model: "prefill = { continue_final_message = true }", route: 'on_death = "continue"' });
  const a = await g.ask();
  const first = await up.call();
  await first.stream();
  await first.token("Once upon ");
  assert.equal(await a.token(), "Once upon ");
  first.reset();
  const second = await up.call();
  assert.deepEqual(second.json.messages.at(-1), { role: "assistant", content: "Once upon" });
  assert.equal(second.json.continue_final_message, true);
  await second.stream();
  await second.token(" a time");
  await second.complete();
  assert.equal((await a.all()).tokens.join(""), "Once upon a time");
  const line = await g.request(a);
  assert.deepEqual([line.continued, line.end], [1, "done"]);
});
