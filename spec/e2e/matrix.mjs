// Which front was seen to work before which provider, from what the tests that ran wrote down: one JSON line each,
//
//   { "front": "openai", "dialect": "gemini", "kind": "tools", "sdk": "ai" }       this holds; no `sdk`: no client was there
//   { "front": "openai", "dialect": "gemini", "kind": "tools", "cannot": "why" }   this cannot be tested, and why: a note below the table
//
//   node spec/e2e/matrix.mjs                      prints the table
//   node spec/e2e/matrix.mjs --check README.md    fails when the table between its two marks is another
//   node spec/e2e/matrix.mjs --write README.md    puts it there
//
// SLUICE_MATRIX_DIR names the directory whose *.jsonl are read, or several with : between; build/matrix and build/dev/matrix without it.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const DIALECTS = ["openai", "anthropic", "gemini", "ollama", "responses"];
// What each front has a way to say: a UI message stream is never whole and tells no usage, a token stream has text alone.
const ALL = ["plain", "stream", "tools", "errors", "usage", "reasoning"];
const FRONTS = {
  openai: ALL, completions: ["plain", "stream", "errors", "usage"], responses: ALL, anthropic: ALL, ui: ["stream", "tools", "errors", "reasoning"], token: ["stream", "errors"],
};

const MARKS = ["<!-- what was seen to work: spec/e2e/matrix.mjs -->", "<!-- so far -->"];

function results() {
  const dirs = process.env.SLUICE_MATRIX_DIR?.split(":") ?? ["build/matrix", "build/dev/matrix"].map((d) => path.join(ROOT, d));
  const files = dirs.filter((d) => fs.existsSync(d)).flatMap((d) => fs.readdirSync(d).filter((name) => name.endsWith(".jsonl")).map((name) => path.join(d, name)));
  return files.flatMap((file) => fs.readFileSync(file, "utf8").split("\n").filter(Boolean).map((line, i) => {
    const r = JSON.parse(line);
    if (!FRONTS[r.front] || !ALL.includes(r.kind) || !DIALECTS.includes(r.dialect)) throw new Error(`${file}:${i + 1}: no such front, dialect or kind: ${line}`);
    return r;
  }));
}

function table(all) {
  const notes = [];
  const note = (why) => (notes.includes(why) ? notes.indexOf(why) : notes.push(why) - 1) + 1;

  const cell = (front, dialect) => {
    const here = all.filter((r) => r.front === front && r.dialect === dialect);
    const seen = FRONTS[front].filter((kind) => here.some((r) => r.kind === kind && !r.cannot));
    if (seen.length === FRONTS[front].length) return "all";
    const why = [...new Set(here.filter((r) => r.cannot && !seen.includes(r.kind)).map((r) => note(r.cannot)))];
    return `${seen.join(", ") || "—"}${why.map((n) => ` (${n})`).join("")}`;
  };

  const rows = Object.keys(FRONTS).filter((front) => all.some((r) => r.front === front)).map((front) => {
    const clients = [...new Set(all.filter((r) => r.front === front && r.sdk).map((r) => r.sdk))].sort();
    return `| \`${front}\` | ${FRONTS[front].join(", ")} | ${clients.join(", ") || "—"} | ${DIALECTS.map((p) => cell(front, p)).join(" | ")} |`;
  });
  return [
    `| front | all is | clients | ${DIALECTS.map((p) => `\`${p}\``).join(" | ")} |`,
    `|---|---|---|${DIALECTS.map(() => "---|").join("")}`,
    ...rows, ...notes.map((why, i) => `${i ? "" : "\n"}(${i + 1}) ${why}`),
  ].join("\n");
}

const [how, file] = process.argv.slice(2);
const proved = results();
if (proved.length === 0) {
  console.error("no test has written down what it proved: run the plays first (ctest -R e2e.sdk)");
  process.exit(1);
}
const made = table(proved);
if (!how) {
  console.log(made);
} else {
  const text = fs.readFileSync(file, "utf8");
  const from = text.indexOf(MARKS[0]) + MARKS[0].length, to = text.indexOf(MARKS[1]);
  if (from < MARKS[0].length || to < from) {
    console.error(`${file}: the marks "${MARKS[0]}" and "${MARKS[1]}" must stand in it, each on a line of its own`);
    process.exit(1);
  }
  const whole = `${text.slice(0, from)}\n\n${made}\n\n${text.slice(to)}`;
  if (how === "--write") {
    fs.writeFileSync(file, whole);
  } else if (whole !== text) {
    console.error(`${file}: its table is not what the tests that ran prove; node spec/e2e/matrix.mjs --write ${file} puts this there:\n\n${made}\n\nin place of\n${text.slice(from, to)}`);
    process.exit(1);
  }
}
