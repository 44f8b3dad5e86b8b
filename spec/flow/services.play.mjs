// Services over the wire: what a policy asks of them, how many at once, what happens when they are slow, wrong, or nobody waits any more.
import assert from "node:assert/strict";
import { play } from "./play.mjs";
import { Service } from "./service.mjs";

const members = (s, lua, service = "") => ({
  top: `services = { judge = { url = "${s.url}/base", ${service} } },`,
  code: `local judge = sluice.service "judge"\nlocal P = sluice.policy { name = "p" }\n${lua}`,
  policies: "P",
});

play("a call has its method, path, headers and body; its answer comes back; the connection is used again", async (stage) => {
  const s = await Service.start(stage);
  const { g } = await stage.pair(members(s, `function P.validate()
    local res = judge:post("/v1/judge", { query = { a = "b c" }, json = { text = "hi" } })
    return sluice.reply(res.status .. " " .. res.json().said .. " " .. res.headers["x-a"])
  end`, 'auth = sluice.secret "LLM_API_KEY"'));
  s.auto = ({ res }) => res.writeHead(201, { "X-A": "b", "Content-Type": "application/json" }).end('{"said":"fine"}');
  for (let i = 1; i <= 2; i++) {
    const a = await g.ask();
    assert.equal((await a.all()).text, "201 fine b");
    const { req, body } = await s.call(i);
    assert.equal(req.method, "POST");
    assert.equal(req.url, "/base/v1/judge?a=b%20c");
    assert.equal(body, '{"text":"hi"}');
    assert.match(req.headers.authorization, /^Bearer sk-play/);
  }
  assert.equal(s.calls[0].req.socket, s.calls[1].req.socket);
});

play("at most max_parallel calls at once; the others wait for their turn and all are answered", async (stage) => {
  const s = await Service.start(stage);
  const { g } = await stage.pair(members(s, 'function P.validate() return sluice.reply(judge:get("/").body) end', "max_parallel = 3"));
  s.auto = ({ res }) => setTimeout(() => res.end("ok"), 20);
  const asked = await Promise.all(Array.from({ length: 12 }, () => g.ask()));
  for (const a of asked) assert.equal((await a.all()).text, "ok");
  assert.equal(s.calls.length, 12);
  assert.equal(s.most, 3);
});

play("a client that leaves takes its call along, also one that waits for its turn", async (stage) => {
  const s = await Service.start(stage);
  const { g } = await stage.pair(members(s, 'function P.validate() return sluice.reply(judge:get("/").body) end', "max_parallel = 1"));
  const first = await g.ask();
  const { res } = await s.call();
  const second = await g.ask();
  const third = await g.ask();
  await g.turn();
  second.client.close();
  await g.request(0);
  first.client.close();
  await s.news.until(() => res.closed || res.destroyed, "the first call to be cancelled");
  (await s.call(2)).res.end("third");
  assert.equal((await third.all()).text, "third");
  assert.equal(s.calls.length, 2);
});

play("too slow, too large, not there, not HTTP: a word each, and the stream's own failure when it is raised", async (stage) => {
  const s = await Service.start(stage);
  const { g } = await stage.pair(members(s, `function P.validate(req)
    local res, err = judge:get("/" .. req.query.q)
    if not res and req.query.raise then error(err) end
    return sluice.reply(tostring(res and #res.body or err.kind))
  end`, 'timeout = "300ms", max_body = "1kb"'));
  s.auto = ({ req, res }) => {
    if (req.url.endsWith("/large")) res.end("x".repeat(5000));
    if (req.url.endsWith("/fits")) res.end("x".repeat(1024));
    if (req.url.endsWith("/broken")) { res.writeHead(200, { "Content-Length": 100 }); res.write("half"); setTimeout(() => res.destroy(), 10); }
  };
  for (const [q, said] of [["slow", "timeout"], ["large", "too_large"], ["fits", "1024"], ["broken", "broken"]])
    assert.equal((await (await g.ask(q)).all()).text, said);
  const a = await g.get("/api/stream?q=slow&raise=1");
  assert.deepEqual([(await a.json()).code, a.status], ["dependency_failed", 503]);
  const failed = await g.logged((l) => l.event === "policy.failed", "the failure's line");
  assert.equal(failed.message, 'service "judge": timeout');
});

play("a gate lets the model work and nothing out; its verdict cancels the model", async (stage) => {
  const s = await Service.start(stage);
  const { up, g } = await stage.pair(members(s, `function P.prompt(req, ctx) ctx:gate(function()
    if judge:get("/").body == "bad" then return sluice.reject(422, "topic", "Not about that.") end
  end) end`));
  for (const [i, verdict] of [[1, "good"], [2, "bad"]]) {
    const a = await g.ask();
    const call = await up.call();
    await call.stream();
    await call.token("Sure, ");
    const { res } = await s.call(i);
    await g.turn();
    assert.equal(a.status, 0, "nothing before the verdict");
    res.end(verdict);
    if (verdict === "good") {
      await call.token("done.");
      await call.complete();
      assert.equal((await a.all()).text, "Sure, done.");
    } else {
      assert.equal((await a.json()).code, "topic");
      assert.equal(a.status, 422);
      await call.gone();
    }
  }
});

play("drain: a stream whose hook waits for a service ends with the deadline, and the call with it", async (stage) => {
  const s = await Service.start(stage);
  const { g } = await stage.pair({ ...members(s, 'function P.validate() judge:get("/", { timeout = "30s" }) end'), drain: "300ms" });
  const a = await g.ask();
  const { res } = await s.call();
  g.signal("SIGTERM");
  assert.equal((await a.json()).code, "shutting_down");
  await s.news.until(() => res.closed || res.destroyed, "the call to be cancelled");
  await g.ended();
});
