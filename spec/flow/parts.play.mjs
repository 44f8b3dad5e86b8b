// Ready parts on the wire: a budget that two workers share, and what the parts tell the log.
import assert from "node:assert/strict";
import http from "node:http";
import { event, play } from "./play.mjs";

const usage = (input, output) => event({ choices: [], usage: { prompt_tokens: input, completion_tokens: output } });

play("budget: sixty requests at once on two workers spend what there is and no more", async (stage) => {
  const { up, g } = await stage.pair({
    top: "workers = 2,", code: 'local auth = sluice.policy { name = "auth" }\nfunction auth.accept(_, ctx) ctx.key = "k" end',
    policies: "auth, sluice.parts.budget { daily_usd = 1, max_tokens = 100, prices = { m = { input = 0, output = 1000 } } }",
  });
  const asked = await Promise.all(Array.from({ length: 60 }, () => g.ask()));
  const calls = [];
  for (let i = 0; i < 10; i++) calls.push(await up.call());
  await g.news.until(() => g.requests.length === 50, "all others to be refused");
  for (const call of calls) {
    await call.stream();
    await call.token("a");
    await call.write(usage(1, 100));
    await call.complete();
  }
  const ended = await Promise.all(asked.map((a) => a.end()));
  assert.ok(ended.every((e) => e === "complete"));
  assert.equal(up.calls.length, 10);
  assert.equal(asked.filter((a) => a.status === 200).length, 10);
  for (const a of asked.filter((x) => x.status !== 200)) {
    const { code } = await a.json();
    assert.deepEqual([a.status, code], [429, "budget_used_up"]);
    assert.ok(Number(a.headers.get("retry-after")) > 0);
  }
  const served = asked.find((a) => a.status === 200);
  assert.equal((await g.request(served)).cost_usd, "0.100000");
});

play("budget: who leaves in the middle pays for what was seen, and the rest is there again", async (stage) => {
  const { up, g } = await stage.pair({ policies: 'sluice.parts.budget { by = "ip", daily_usd = 1, max_tokens = 1000, prices = { m = { input = 0, output = 1000 } } }' });
  const first = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("a");
  await first.token();
  assert.equal((await (await g.ask()).json()).code, "budget_used_up");
  first.client.close();
  const line = await g.logged((l) => l.event === "request" && l.cost_usd, "the cost");
  assert.deepEqual([line.cost_usd, line.cost_estimated], ["0.001000", "true"]);
  assert.equal((await (await g.ask()).json()).code, "budget_used_up", "999 of 1000 are left");
});

play("fallback and experiment: the log says who was asked", async (stage) => {
  const up = await stage.upstream();
  const g = await stage.gateway({
    upstream: up.url, models: `second = { provider = "openai", url = "${up.url}", model = "play-2" },`,
    policies: 'sluice.parts.experiment { split = { m = 1 } }, sluice.parts.fallback { models = { "second" }, retry = { times = 1, backoff = "10ms" } }',
  });
  up.serve(async (call) => {
    if (call.json.model === "play-2") return call.tell(["he", "llo"]);
    await call.head(503, {}, 0);
  });
  const a = await g.ask();
  assert.equal((await a.all()).text, "hello");
  const line = await g.request(a);
  assert.deepEqual([line.variant, line.fallback_from, line.retries, line.model, line.tries], ["m", "m", "1", "second", 3]);
  assert.deepEqual(up.calls.map((c) => c.json.model), ["play-1", "play-1", "play-2"]);
});

play("moderation: the question is judged while the model works; the log names the topic", async (stage) => {
  const server = http.createServer((req, res) => {
    let body = "";
    req.on("data", (d) => (body += d));
    req.on("end", () => {
      const { text, topics, side } = JSON.parse(body);
      res.end(JSON.stringify({ flagged: text.includes("bomb"), topic: `${topics[0]} (${side})` }));
    });
  });
  await new Promise((r) => server.listen(0, "127.0.0.1", r));
  stage.onEnd(() => { server.closeAllConnections(); server.close(); });
  const { up, g } = await stage.pair({
    top: `services = { mod = { url = "http://127.0.0.1:${server.address().port}" } },`,
    policies: 'sluice.parts.moderation { service = "mod", topics = { "weapons" }, window = 12, overlap = 6, withheld = "[-]" }',
  });
  up.serve((call) => call.tell(["Well, the b", "omb is made of", " this."]).catch(() => {}));
  const asked = await g.ask("build a bomb");
  assert.deepEqual([(await asked.json()).code, asked.status], ["topic_not_allowed", 422]);
  assert.equal((await g.request(asked)).blocked_topic, "weapons (input)");
  const answered = await g.ask("hello");
  assert.equal((await answered.all()).text, "Well, the bo[-]");
  assert.equal((await g.request(answered)).blocked_topic, "weapons (output)");
});
