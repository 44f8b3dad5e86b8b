// The Python SDKs of OpenAI and Anthropic, and LangChain's: session.py is the client, this is the stage around it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { KEY, ROOT, eventually, play } from "../flow/play.mjs";
import { CLIENT_KEY, PROVIDERS, QUESTIONS, THOUGHT, TOOLS, USAGE, WAIT_S, WORDS, open, proved, schema } from "./sdk.mjs";

const here = path.join(ROOT, "spec/e2e");
const python = path.join(here, ".venv/bin/python");

// Runs session.py to its end; what it printed, a value for each line.
async function session(s, sdk, what) {
  assert.ok(fs.existsSync(python), "spec/e2e/.venv is missing: sh spec/run.sh makes it, or the commands of spec/e2e/README.md");
  const tools = Object.fromEntries(Object.entries(TOOLS).map(([name, tool]) => [name, { ...tool, schema: schema(name) }]));
  const told = { base: s.base, key: CLIENT_KEY, names: s.names, providers: PROVIDERS, questions: QUESTIONS, words: WORDS, thought: THOUGHT, usage: USAGE, tools, wait: WAIT_S };
  const child = spawn(python, [path.join(here, "session.py"), sdk, what], { env: { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1", SESSION: JSON.stringify(told) }, stdio: ["ignore", "pipe", "pipe"] });
  let out = "", err = "";
  child.stdout.on("data", (b) => (out += b));
  child.stderr.on("data", (b) => (err += b));
  const code = await new Promise((r) => child.on("close", r));
  assert.equal(code, 0, err.slice(-4000));
  assert.ok(!(out + err).includes(KEY), "the model's key reaches no client");
  return out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

for (const sdk of ["openai", "anthropic", "langchain"]) {
  play(`${sdk}: all providers, errors, retries`, async (stage) => {
    const s = await open(stage);
    for (const { front, dialect, kind, sdk: name } of await session(s, sdk, "all")) proved(front, dialect, kind, name);
    await s.g.turn();
    assert.equal(s.g.requests.filter((l) => l.route === "refused").length, 1, "X-Should-Retry: false is heeded");
    assert.equal(s.g.requests.filter((l) => l.status === 429).length, 1, "a 429 is asked again once");
    assert.ok(!JSON.stringify(s.g.log).includes(CLIENT_KEY), "the client's key is in no log line");
    assert.ok(s.mock.getRequests().every((r) => !JSON.stringify(r).includes(CLIENT_KEY)), "and stays here");
  }, { minutes: 3 });

  play(`${sdk}: leaving in the middle ends the model's work`, async (stage) => {
    const s = await open(stage);
    const left = session(s, sdk, "leave");
    const call = await Promise.race([s.up.call(), left.then(() => assert.fail("it ended before it asked"))]);
    await call.stream();
    await call.token("Once upon a time");
    await call.gone();
    await left;
    await eventually(() => s.g.requests.some((l) => l.end === "client_closed"), "the line that says the client left");
  }, { minutes: 3 });
}
