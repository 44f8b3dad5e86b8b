// The page's conversation in a real Chromium: what is sent along, what is shown of an answer that broke, what is kept (nothing).
import assert from "node:assert/strict";
import http from "node:http";
import { play } from "../flow/play.mjs";
import { open } from "./page.mjs";

const CHAT_HASH = "#chat";
const reasoning = (text) => ({ choices: [{ index: 0, delta: { reasoning_content: text } }] });

// The example's page with the conversation open.
async function converse(stage, options) {
  const all = await open(stage, options);
  await all.page.getByRole("tab", { name: "Conversation" }).click();
  await all.page.waitForFunction(() => document.activeElement.id === "message");
  const say = async (text) => {
    await all.page.fill("#message", text);
    await all.page.keyboard.press("Enter");
  };
  const turn = (n) => all.page.locator("#turns > li").nth(n);
  return { ...all, say, turn, status: (match) => all.until("chat-status", match) };
}

const roles = (call) => call.json.messages.map((m) => `${m.role}: ${m.content}`);

play("conversation: two turns, the first is sent along with the second; the first word is seen at once", async (stage) => {
  const { up, page, said, say, turn, status, shot } = await converse(stage);
  await say("What is a **filter**?");
  const first = await up.call();
  assert.deepEqual(roles(first).slice(1), ["user: What is a **filter**?"]);
  await first.stream();
  await first.event(reasoning("The user wants a *definition*."));
  await first.token("A filter ");
  await page.waitForFunction(() => /A filter/.test(document.querySelector("#turns li:last-child").textContent));
  assert.equal(await page.locator("#turns").getAttribute("aria-busy"), "true");
  assert.equal(await page.locator("#send").isDisabled(), true);
  await shot("chat-answering");
  await first.token("sees **text**:\n\n```lua\nP.filter = {}\n```\n");
  await first.finish();
  await first.complete();
  await status(/^done: 3 tokens in \d+\.\d s, first after \d+\.\d s$/);
  assert.equal(await turn(0).textContent(), "YouWhat is a **filter**?", "what the reader wrote is no markdown");
  assert.equal(await turn(1).locator("> .prose strong").textContent(), "text");
  const thought = turn(1).locator("details");
  assert.equal(await thought.evaluate((d) => d.open), false, "reasoning is folded");
  assert.equal(await thought.locator("em").textContent(), "definition");
  assert.equal(await page.locator("#turns").getAttribute("aria-busy"), "false");
  assert.equal(await page.evaluate(() => document.activeElement.id), "message");
  await say("And a hook?");
  const second = await up.call();
  assert.deepEqual(roles(second).slice(1), ["user: What is a **filter**?", "assistant: A filter sees **text**:\n\n```lua\nP.filter = {}\n```\n", "user: And a hook?"]);
  await second.tell(["A function."]);
  await status(/^done: 1 token/);
  await shot("chat-two-turns");
  await page.getByRole("button", { name: "Start anew" }).click();
  assert.equal(await page.locator("#turns > li").count(), 0);
  await say("Who?");
  const anew = await up.call();
  assert.deepEqual(roles(anew).slice(1), ["user: Who?"]);
  await anew.tell(["You."]);
  await status(/^done: 1 token/);
  assert.deepEqual(said, []);
});

play("conversation: stop by button and by Escape: the upstream is cancelled; half an answer is not sent along", async (stage) => {
  const { up, g, page, say, turn, status, shot } = await converse(stage);
  for (const [i, leave] of [() => page.click("#chat-stop"), () => page.keyboard.press("Escape")].entries()) {
    await say(`question ${i}`);
    const call = await up.call();
    assert.deepEqual(roles(call).slice(1), [`user: question ${i}`]);
    await call.stream();
    await call.token("half an answer");
    await page.waitForFunction((n) => /half an answer/.test(document.querySelectorAll("#turns li")[n].textContent), 2 * i + 1);
    await leave();
    await call.gone();
    await status(/^stopped after 1 token$/);
    assert.match(await turn(2 * i + 1).textContent(), /half an answer.*Stopped after 1 token.*not sent along/s);
    assert.equal((await g.request(i)).end, "client_closed");
  }
  await shot("chat-stopped");
});

const deaths = { "is reset": (c) => c.reset(), "tells of an error": (c) => c.write('data: {"error":{"message":"overloaded"}}\n\n'), "ends without an end mark": (c) => c.end() };
for (const [way, fail] of Object.entries(deaths))
  play(`conversation: the upstream ${way} in mid-stream: that is said, nothing is kept as if whole, and it may be tried again`, async (stage) => {
    const { up, page, say, turn, status, shot } = await converse(stage);
    await say("one");
    await (await up.call()).tell(["first answer"]);
    await status(/^done/);
    await say("two");
    const call = await up.call();
    await call.stream();
    await call.token("The answer is");
    await page.waitForFunction(() => /The answer is/.test(document.querySelector("#turns li:last-child").textContent));
    await fail(call);
    await status(/^ended after 1 token$/);
    assert.match(await turn(3).textContent(), /The answer is.*incomplete/s);
    assert.equal(await page.getByRole("alert").filter({ hasText: "incomplete" }).count(), 1);
    await shot("chat-died");
    await say("three");
    const third = await up.call();
    assert.deepEqual(roles(third).slice(1), ["user: one", "assistant: first answer", "user: three"], "the half answer is not there");
    await third.tell(["third answer"]);
    await status(/^done/);
    await page.getByRole("button", { name: "Try again" }).click();
    const again = await up.call();
    assert.deepEqual(roles(again).slice(1), ["user: one", "assistant: first answer", "user: three", "assistant: third answer", "user: two"]);
    await again.reply(500, { "Content-Type": "application/json" }, "{}");
    await status(/^not answered$/);
    await page.getByRole("button", { name: "Try again" }).click();
    await (await up.call()).tell(["whole"]);
    await status(/^done: 1 token/);
    const all = (await page.locator("#turns > li").allTextContents()).map((t) => t.trim().replace("Reasoning", ""));
    assert.deepEqual(all, ["Youone", "Modelfirst answer", "Youthree", "Modelthird answer", "Youtwo", "Modelwhole"]);
  });

play("conversation: the gateway refuses, or is gone: in words", async (stage) => {
  const { up, g, page, say, status, shot } = await converse(stage);
  await say("   ");
  await status(/type a message/);
  await say("é".repeat(1001));
  await status(/at most 1000 characters/);
  assert.equal(up.calls.length, 0);
  up.serve((call) => call.tell(["x"]));
  for (let i = 0; i < 10; i++) await (await g.ask("x")).all();
  await say("one more");
  await page.getByText(/Too many questions.*Try again in \d+ seconds/).waitFor();
  await status(/^not answered$/);
  await shot("chat-too-many");
  g.signal("SIGTERM");
  await g.ended();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText(/cannot be reached/).waitFor();
});

play("conversation: what a model writes is inert, in the answer and in its reasoning", async (stage) => {
  const { up, page, say, turn, status, said } = await converse(stage);
  const asked = [];
  page.on("request", (r) => asked.push(r.url()));
  const evil = '<script>document.title="owned"</script><img src="http://127.0.0.1:9/steal.png" onerror="document.title=\'owned\'">[click](javascript:document.title=\'owned\') '
    + '![i](http://127.0.0.1:9/track.png)<style>body{display:none}</style><iframe src="http://127.0.0.1:9/"></iframe><form action="http://127.0.0.1:9/"><input></form><svg onload="document.title=\'owned\'">';
  await say("<img src=x onerror=\"document.title='owned'\">");
  const call = await up.call();
  await call.stream();
  await call.event(reasoning(evil));
  for (const c of evil) await call.token(c);              // however it is cut
  await call.token("\n\n[good](https://example.com/)");
  await call.finish();
  await call.complete();
  await status(/^done: \d+ tokens/);
  assert.equal(await turn(0).locator(".said").textContent(), "<img src=x onerror=\"document.title='owned'\">");
  assert.equal(await page.locator("#turns :is(script, img, style, iframe, form, input, svg)").count(), 0);
  const links = await page.locator("#turns a[href]").evaluateAll((all) => all.map((a) => [a.getAttribute("href"), a.rel]));
  assert.deepEqual(links.filter(([h]) => !/^https:/.test(h)), []);
  assert.match(links.at(-1)[1], /noopener/);
  assert.equal(await page.title(), "Sluice: ask");
  assert.ok(!asked.some((u) => u.includes(":9/")), asked.join());
  assert.deepEqual(said.filter((t) => !t.includes("Content Security Policy")), []);
});

play("conversation: a reload keeps nothing but which way of asking was open; both may run side by side", async (stage) => {
  const { up, page, say, status, text, until, ask } = await converse(stage);
  await say("my secret");
  await (await up.call()).tell(["is safe"]);
  await status(/^done/);
  await page.fill("#message", "half a secret");
  await page.reload();
  assert.equal(new URL(page.url()).hash, CHAT_HASH);
  await page.waitForFunction(() => document.activeElement.id === "message");
  assert.equal(await page.locator("#turns > li").count(), 0);
  assert.equal(await page.inputValue("#message"), "");
  const stored = await page.evaluate(async () => [localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length, (await caches.keys()).length]);
  assert.deepEqual(stored, [0, 0, "", 0, 0]);
  await say("slow");
  const slow = await up.call();
  assert.deepEqual(roles(slow).slice(1), ["user: slow"]);
  await slow.stream();
  await page.getByRole("tab", { name: "One question" }).click();
  await ask("quick");
  await (await up.call()).tell(["done"]);
  await until("status", /^done: 1 token/);
  assert.equal((await text("answer")).trim(), "done");
  await slow.token("too");
  await slow.finish();
  await slow.complete();
  await page.goBack();
  await status(/^done: 1 token/);
});

play("conversation: older exchanges stay on the page when they are too much to send along", async (stage) => {
  const { up, page, say, status } = await converse(stage);
  const long = "y".repeat(9000);
  for (let i = 0; i < 3; i++) {
    await say(`q${i}`);
    await (await up.call()).tell([long]);
    await status(/^done: 1 token/);
    await page.waitForFunction((n) => document.querySelectorAll("#turns > li").length === n, 2 * i + 2);
  }
  await say("last");
  const call = await up.call();
  assert.deepEqual(call.json.messages.slice(1).map((m) => m.content.slice(0, 4)), ["q1", "yyyy", "q2", "yyyy", "last"]);
  await call.tell(["ok"]);
  await status(/^done: 1 token/);
  assert.equal(await page.locator("#turns > li").count(), 8);
});

// A proxy that knows the gateway under a path of its own.
async function proxied(stage, g) {
  const server = http.createServer((req, res) => {
    if (!req.url.startsWith("/deep/down/")) return res.writeHead(404).end();
    const on = http.request({ port: g.port, host: "127.0.0.1", method: req.method, path: req.url.slice("/deep/down".length), headers: req.headers }, (got) => {
      res.writeHead(got.statusCode, got.headers);
      got.pipe(res);
    });
    on.on("error", () => res.destroy());
    req.pipe(on);
    res.on("close", () => on.destroy());
  });
  await new Promise((r) => server.listen(0, "127.0.0.1", r));
  stage.onEnd(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}/deep/down/`;
}

play("behind a proxy's path both ways of asking find their gateway", async (stage) => {
  const { up, page, say, status, until, ask, said } = await converse(stage, { at: (g) => proxied(stage, g) });
  await say("one");
  await (await up.call()).tell(["first"]);
  await status(/^done: 1 token/);
  await page.getByRole("tab", { name: "One question" }).click();
  await ask("two");
  await (await up.call()).tell(["second"]);
  await until("status", /^done: 1 token/);
  assert.deepEqual(said, []);
});

play("conversation: phone width, dark, by keyboard alone, with names for a screen reader", async (stage) => {
  const { up, page, shot, status, turn } = await (async () => {
    const all = await open(stage, { width: 320, height: 640, dark: true });
    return { ...all, status: (match) => all.until("chat-status", match), turn: (n) => all.page.locator("#turns > li").nth(n) };
  })();
  await page.getByRole("tab", { name: "One question" }).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-chat");
  assert.equal(await page.getByRole("tab", { name: "Conversation" }).getAttribute("aria-selected"), "true");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.getByLabel("Your message").focus();
  await page.keyboard.type("x");
  await page.keyboard.press("Enter");
  const call = await up.call();
  await call.stream();
  await call.event(reasoning("Hm."));
  await call.token(`A very long word: ${"x".repeat(300)}\n\n    some code that is much longer than a phone is wide, indeed it goes on and on\n\n`);
  await call.token("| a | b | c | d | e |\n|---|---|---|---|---|\n| looooooong | looooooong | looooooong | looooooong | looooooong |\n");
  await call.finish();
  await call.complete();
  await status(/^done: 3 tokens/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out to the right");
  await shot("chat-phone");
  assert.equal(await page.getByRole("log", { name: "Conversation" }).count(), 1);
  assert.equal(await page.getByRole("tabpanel", { name: "Conversation" }).count(), 1);
  assert.equal(await page.getByRole("status").count(), 1, "of the way of asking that is shown");
  assert.match(await turn(0).textContent(), /^You/);
  await turn(1).getByText("Reasoning").focus();
  await page.keyboard.press("Enter");
  assert.equal(await turn(1).locator("details").evaluate((d) => d.open), true);
  await shot("chat-phone-thought");
});
