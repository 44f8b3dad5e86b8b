// The page in a browser, for the plays: the example's gateway before a play's upstream. With SHOTS=DIR each state is kept as a picture.
import path from "node:path";
import { chromium } from "playwright-core";
import { ROOT } from "../flow/play.mjs";

export const EXAMPLE = { path: path.join(ROOT, "examples/ask/gateway.lua") };

// The example's gateway before a play's upstream, and its page in a fresh browser.
export async function open(stage, { width = 1000, height = 800, dark = false, gateway, at = (g) => `http://127.0.0.1:${g.port}/` } = {}) {
  const up = await stage.upstream();
  const g = gateway ? await stage.gateway(gateway(up)) : await stage.gateway(EXAMPLE, { env: { LLM_BASE_URL: up.url, SLUICE_LISTEN: "127.0.0.1:0" } });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  stage.onEnd(() => browser.close());
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light" });
  const page = await context.newPage();
  const said = [];                     // what the console must not say
  page.on("console", (m) => m.type() === "error" && !/429|502|50\d|403|ERR_|EventSource/.test(m.text()) && said.push(m.text()));
  page.on("pageerror", (e) => said.push(String(e)));
  await page.goto(await at(g));
  const text = (id) => page.locator(`#${id}`).textContent();
  const until = (id, match) => page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).textContent), [id, match.source]);
  const ask = async (q) => {
    await page.fill("#question", q);
    await page.keyboard.press("Enter");
  };
  const shot = (name) => process.env.SHOTS && page.screenshot({ path: path.join(process.env.SHOTS, `${name}.png`) });
  return { up, g, browser, page, said, text, until, ask, shot };
}
