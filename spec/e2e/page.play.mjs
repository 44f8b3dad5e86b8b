// The page in a real Chromium, before a real gateway: what a person sees and what a screen reader is told. The model is a play's upstream.
import assert from "node:assert/strict";
import path from "node:path";
import { chromium } from "playwright-core";
import { Gateway, ROOT, file, play } from "../flow/play.mjs";
import { EXAMPLE, open } from "./page.mjs";

play("Ask: the first word is seen before the second is sent; then the count, the end, the rendered answer", async (stage) => {
  const { up, page, said, text, until, ask, shot } = await open(stage);
  assert.equal(await page.locator("#stop").isDisabled(), true);
  await ask("What is Sluice?");
  await until("status", /^connecting/);
  const call = await up.call();
  assert.equal(call.question, "What is Sluice?");
  await call.stream();
  await call.token("Sluice is ");
  await until("answer", /Sluice is/);
  assert.match(await text("status"), /^answering, 1 token$/);
  assert.equal(await page.locator("#answer").getAttribute("aria-busy"), "true");
  await call.token("a **gateway**.\n\n```lua\nreturn 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n");
  await until("status", /^answering, 2 tokens$/);
  await shot("answering");
  await call.finish();
  await call.complete();
  await until("status", /^done: 2 tokens in \d+\.\d s, first after \d+\.\d s$/);
  assert.equal(await page.locator("#answer strong").textContent(), "gateway");
  assert.equal(await page.locator("#answer pre code").count(), 1);
  assert.equal(await page.locator("#answer table").count(), 1);
  assert.equal(await page.locator("#answer").getAttribute("aria-busy"), "false");
  assert.equal(await page.locator("#ask").isEnabled(), true);
  assert.equal(await page.locator("#copy").isVisible(), true);
  assert.equal(await text("error"), "");
  await shot("done");
  assert.deepEqual(said, []);
});

play("Stop, by button and by Escape: the upstream is cancelled, what came stays", async (stage) => {
  const { up, g, page, said, text, until, ask } = await open(stage);
  for (const [i, leave] of [() => page.click("#stop"), () => page.keyboard.press("Escape")].entries()) {
    await ask(`question ${i}`);
    const call = await up.call();
    await call.stream();
    await call.token("half an answer");
    await until("answer", /half an answer/);
    await leave();
    await call.gone();
    await until("status", /^stopped after 1 token$/);
    assert.match(await text("answer"), /half an answer/);
    assert.equal((await g.request(i)).end, "client_closed");
  }
  assert.deepEqual(said, []);
});

play("validation: said in words at once, nothing is asked", async (stage) => {
  const { up, page, text, until, ask, shot } = await open(stage);
  await ask("   ");
  await until("error", /type a question/);
  await ask("é".repeat(1001));
  await until("error", /at most 1000 characters/);
  await shot("too-long");
  assert.match(await text("counter"), /1001 of 1000/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "question");
  assert.equal(up.calls.length, 0);
  await ask("😀".repeat(1000));
  await (await up.call()).tell(["ok"]);
  await until("status", /^done: 1 token/);
  assert.equal(await text("error"), "");
});

play("the gateway refuses before the stream: its reason in words", async (stage) => {
  const { up, text, until, ask } = await open(stage, {
    gateway: (up) => file({
      upstream: up.url, policies: "P", routes: `page = { path = "/", files = "${ROOT}/web" },`,
      code: 'local P = sluice.policy { name = "p" }\nfunction P.validate(req) if req.query.q == "no" then return sluice.reject(403, "not_here", "No.") end if req.query.q == "short" then return sluice.reject(400, "query_required", "no") end end',
    }),
  });
  await ask("no");
  await until("error", /refused the question \(status 403\)/);
  await until("status", /^not answered$/);
  await ask("short");
  await until("error", /type a question/);
  assert.equal(up.calls.length, 0);
  assert.equal(await text("answer"), "");
});

play("the upstream dies: before its first word, and in the middle; in words, and nothing is asked again", async (stage) => {
  const { up, page, text, until, ask, shot } = await open(stage);
  await ask("one");
  const first = await up.call();
  await first.reply(500, { "Content-Type": "application/json" }, '{"error":{"message":"boom"}}');
  await until("error", /could not get an answer/);
  await ask("two");
  const second = await up.call();
  await second.stream();
  await second.token("The answer is");
  await until("answer", /The answer is/);
  second.reset();
  await until("error", /broke before the answer was complete.*incomplete/);
  await until("status", /^ended after 1 token$/);
  await shot("died");
  assert.match(await text("answer"), /The answer is/);
  await page.waitForTimeout(4000);                        // an EventSource left alone would ask again after 3 s
  assert.equal(up.calls.length, 2);
});

play("the gateway dies in mid-stream and comes back: the browser does not run the question again", async (stage) => {
  const up = await stage.upstream();
  const first = await Gateway.start(EXAMPLE, { env: { LLM_BASE_URL: up.url, SLUICE_LISTEN: "127.0.0.1:0" } });
  stage.onEnd(() => first.abandon());
  const { page, until, ask, shot } = await (async () => {
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
    stage.onEnd(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${first.port}/`);
    return {
      page, until: (id, match) => page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).textContent), [id, match.source]),
      ask: async (q) => { await page.fill("#question", q); await page.keyboard.press("Enter"); },
      shot: (name) => process.env.SHOTS && page.screenshot({ path: path.join(process.env.SHOTS, `${name}.png`) }),
    };
  })();
  await ask("why?");
  const call = await up.call();
  await call.stream();
  await call.token("Because");
  await until("answer", /Because/);
  first.child.kill("SIGKILL");
  await until("error", /connection broke after 1 token.*incomplete/);
  await shot("broken");
  const again = await stage.gateway(EXAMPLE, { env: { LLM_BASE_URL: up.url, SLUICE_LISTEN: `127.0.0.1:${first.port}` } });
  await page.waitForTimeout(4000);
  assert.equal(up.calls.length, 1);
  assert.equal(again.requests.filter((l) => l.route === "ask").length, 0);
  await ask("again?");
  await (await up.call()).tell(["Here I am"]);
  await until("status", /^done: 1 token/);
});

play("nobody is there: said in words", async (stage) => {
  const { g, until, ask, page } = await open(stage);
  await page.waitForLoadState("networkidle");
  g.signal("SIGTERM");
  await g.ended();
  await ask("hello?");
  await until("error", /cannot be reached/);
});

play("too many questions: when to try again", async (stage) => {
  const { up, g, until, ask, shot } = await open(stage);
  up.serve((call) => call.tell(["x"]));
  for (let i = 0; i < 10; i++) await (await g.ask("x")).all();
  await ask("one more");
  await until("error", /Too many questions.*Try again in \d+ seconds/);
  await shot("too-many");
});

play("model text is inert: no script runs, no image loads, no style is set", async (stage) => {
  const { up, page, until, ask, said } = await open(stage);
  const asked = [];
  page.on("request", (r) => asked.push(r.url()));
  await ask("x");
  await (await up.call()).tell([
    '<script>document.title="owned"</script><img src="http://127.0.0.1:9/steal.png" onerror="document.title=\'owned\'">',
    "[click](javascript:document.title='owned') ![i](http://127.0.0.1:9/track.png) <a href=\"data:text/html,x\">d</a>",
    '<style>body{display:none}</style><iframe src="http://127.0.0.1:9/"></iframe><form action="http://127.0.0.1:9/"><input name=a></form><svg onload="document.title=\'owned\'">',
    "\n\n[good](https://example.com/)",
  ]);
  await until("status", /^done: 4 tokens/);
  assert.equal(await page.title(), "Sluice: ask");
  assert.ok(!asked.some((u) => u.includes(":9/")), asked.join());
  assert.equal(await page.locator("#answer :is(script, img, style, iframe, form, input, svg)").count(), 0);
  const links = await page.locator("#answer a[href]").evaluateAll((all) => all.map((a) => [a.getAttribute("href"), a.rel]));
  assert.deepEqual(links.filter(([h]) => !/^https:/.test(h)), []);
  assert.match(links.at(-1)[1], /noopener/);
  assert.deepEqual(said.filter((t) => !t.includes("Content Security Policy")), []);        // a handler that was refused is reported while the text is still being cleaned
});

play("phone width, dark, keyboard and names for a screen reader", async (stage) => {
  const { up, page, until, ask, shot } = await open(stage, { width: 320, height: 640, dark: true });
  assert.equal(await page.evaluate(() => document.activeElement.id), "question");
  await ask("x");
  await (await up.call()).tell(["A very long word: ", "x".repeat(300), "\n\n    some code that is much longer than a phone is wide, indeed it goes on and on\n\n| a | b | c | d | e |\n|---|---|---|---|---|\n| looooooong | looooooong | looooooong | looooooong | looooooong |\n"]);
  await until("status", /^done: 3 tokens/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out to the right");
  await shot("phone");
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(background.match(/\d+/g).map(Number).every((v) => v < 64), `dark: ${background}`);
  await page.getByLabel("Your question").focus();
  for (const want of ["ask", "answer", "copy"]) {
    await page.keyboard.press("Tab");
    if (want === "answer" && (await page.evaluate(() => document.activeElement.id)) === "copy") break;    // a log that cannot be scrolled is no stop
    const at = await page.evaluate(() => document.activeElement.id || document.activeElement.tagName);
    assert.ok(["ask", "answer", "copy", "PRE", "TABLE", "A"].includes(at), at);
  }
  assert.equal(await page.getByRole("log", { name: "Answer" }).count(), 1);
  assert.equal(await page.getByRole("status").count(), 1);
  const csp = (await (await fetch(page.url())).text()).match(/Content-Security-Policy" content="([^"]+)"/)[1];
  assert.match(csp, /default-src 'none'/);
  assert.ok(!/unsafe/.test(csp));
});
