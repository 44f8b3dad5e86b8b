// What arrives when: each token before the next is sent, whatever stands between (row 8); comments while nothing is said (row 10).
import assert from "node:assert/strict";
import { play } from "./play.mjs";

const HOOKS = `
local one = sluice.policy { name = "one" }
function one.accept(head, ctx) end
function one.validate(req, ctx) end
function one.route(req, ctx) end
function one.prompt(req, ctx) req:system "Be brief." end
one.filter = { text = function(text, ctx, part) return text end }
function one.error(err, ctx) end
function one.log(sum, ctx) end
local two = sluice.policy { name = "two" }
two.filter = { text = function(text) return (text:gsub("a", "b")) end }
local waits = sluice.policy { name = "waits" }
waits.filter = { text = function(text) sluice.sleep "2ms" return text end }
`;

for (const [name, policies] of [["without hooks", ""], ["with every hook and a filter", "one"], ["with three filters, one of which waits", "one, two, waits"]])
  for (const version of ["1.1", "1.0"])
    play(`lock-step ${name}, HTTP/${version} (row 8)`, async (stage) => {
      const { up, g } = await stage.pair({ code: HOOKS, policies });
      const a = await g.ask("x", { version });
      const call = await up.call();
      await call.stream();
      for (let i = 0; i < 30; i++) {
        await call.token(`t${i}`);
        assert.equal(await a.token(), `t${i}`);
      }
      await call.complete();
      assert.equal((await a.all()).end, "[DONE]");
    });

play("the head leaves with the first token, not before it and not after the second", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.event({ choices: [{ delta: { role: "assistant", content: "" } }] });
  await g.turn();
  assert.equal(a.rawHead, undefined, "until the first useful delta a failure still has its own status");
  await call.token("x");
  await a.head();
  assert.equal(await a.token(), "x");
  await call.complete();
  await a.all();
});

play("heartbeats before the first token, from time zero (row 10)", async (stage) => {
  const { up, g } = await stage.pair({ route: 'heartbeat = "50ms"' });
  const a = await g.ask();
  const call = await up.call();                           // not a byte comes from the upstream
  for (let i = 0; i < 5; i++) assert.equal(await a.event(), ": keep-alive");
  assert.equal(a.status, 200);
  await call.stream();
  await call.token("x");
  assert.equal(await a.token(), "x");
  for (let i = 0; i < 3; i++) assert.equal(await a.event(), ": keep-alive");
  await call.token("y");
  assert.equal(await a.token(), "y");
  await call.complete();
  const { tokens, comments, end } = await a.all();
  assert.deepEqual(tokens, ["x", "y"]);
  assert.ok(comments >= 8);
  assert.equal(end, "[DONE]");
  assert.equal((await g.request(a)).tokens, 2, "a heartbeat is no token");
});

play("heartbeats while the upstream is being asked, then it fails: an error event, since the head is out", async (stage) => {
  const { up, g } = await stage.pair({ route: 'heartbeat = "50ms"' });
  for (const [act, code] of [
    [(call) => call.reply(500, {}, "{}"), "upstream_status"],
    [(call) => call.reply(429, { "Retry-After": "3" }, "{}"), "upstream_rate_limited"],
    [(call) => call.reset(), "upstream_reset"],
    [(call) => call.reply(200, { "Content-Type": "application/json" }, "{}"), "upstream_not_stream"],
  ]) {
    const a = await g.ask();
    const call = await up.call();
    assert.equal(await a.event(), ": keep-alive");
    await act(call);
    const all = await a.all();
    assert.equal(all.code, code);
    assert.deepEqual(all.tokens, []);
  }
});

play("heartbeats while a filter holds everything back", async (stage) => {
  const { up, g } = await stage.pair({ route: 'heartbeat = "50ms"', code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return "", text end }', policies: "P" });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("x");
  for (let i = 0; i < 3; i++) assert.equal(await a.event(), ": keep-alive");
  await call.complete();
  assert.deepEqual((await a.all()).tokens, ["x"]);
});

play("heartbeats of a Lua model that thinks", async (stage) => {
  const g = await stage.gateway({ models: 'lua = { answer = function(req, out) sluice.sleep "220ms" out:text "x" end },', routes: 'lua = { path = "/lua", front = "token", target = "lua", heartbeat = "50ms" },' });
  const a = await g.get("/lua?q=x");
  const { tokens, comments } = await a.all();
  assert.deepEqual(tokens, ["x"]);
  assert.ok(comments >= 1);
});

play("no heartbeat in the middle of an event, none after the end, none when tokens flow", async (stage) => {
  const { up, g } = await stage.pair({ route: 'heartbeat = "400ms"' });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  for (let i = 0; i < 100; i++) {
    await call.token(`t${i}`);
    assert.equal(await a.token(), `t${i}`);
  }
  await call.complete();
  assert.equal((await a.all()).tokens.length, 100);      // all() fails on anything after the end
  await new Promise((r) => setTimeout(r, 500));
  assert.equal(a.client.left.length, 0);
});

play("heartbeats do not delay a leaving client's cancel", async (stage) => {
  const { up, g } = await stage.pair({ route: 'heartbeat = "50ms"' });
  const a = await g.ask();
  const call = await up.call();
  assert.equal(await a.event(), ": keep-alive");
  a.client.reset();
  await call.gone();
  assert.equal((await g.request(0)).end, "client_closed");
});

play("tokens that come together may leave together, in order and whole", async (stage) => {
  const { up, g } = await stage.pair();
  const tokens = Array.from({ length: 5000 }, (_, i) => ` ${i}`);
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(tokens.map((t) => `data: ${JSON.stringify({ choices: [{ delta: { content: t } }] })}\n\n`).join(""));
  await call.complete();
  assert.deepEqual((await a.all()).tokens, tokens);
  assert.ok(a.arrivals.length < 2500, "gathered, not a write a token");
});
