// What the READMEs say is so: their links lead somewhere, the functions of the walk are where it says, snippets load, samples are real output, and
// each folder's README names each file of its folder.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import { ROOT } from "./play.mjs";

const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-readme-"));
after(() => fs.rmSync(dir, { recursive: true, force: true }));

const read = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");
const files = (folder) => fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((e) => {
  if (e.name.startsWith(".") || ["build", "node_modules", "vendor"].includes(e.name)) return [];
  return e.isDirectory() ? files(path.join(folder, e.name)) : [path.join(folder, e.name)];
});
const all = files("");
const readmes = all.filter((name) => path.basename(name) === "README.md");
const main = read("README.md");

function check(file, cwd = dir) {
  return spawnSync(BIN, ["check", file], { encoding: "utf8", cwd, env: { PATH: process.env.PATH }, timeout: 60_000 });
}

test("every link leads to a file or a folder", () => {
  let seen = 0;
  for (const name of readmes)
    for (const [, target] of read(name).matchAll(/\]\(([^)\s]+)\)/g)) {
      seen++;
      if (!/^https?:/.test(target)) assert.ok(fs.existsSync(path.join(ROOT, path.dirname(name), target)), `${name}: ${target}`);
    }
  assert.ok(seen > 40);
});

test("the walk: ten lines, and each function stands in the file that its line names", () => {
  const walk = main.slice(main.indexOf("## One request's walk"), main.indexOf("## What it costs"));
  assert.equal([...walk.matchAll(/^\d+\. /gm)].length, 10);
  for (const step of walk.split(/^\d+\. /m).slice(1)) {
    const found = [...step.matchAll(/\[([\w.]+)\]\((src\/[\w/.]+)\): `(\w+)`/g)];
    assert.ok(found.length >= 1 || /hook/.test(step), step);
    for (const [, shown, file, name] of found) {
      assert.equal(shown, path.basename(file));
      assert.match(read(file), new RegExp(`^\\w[^\\n;]*\\b${name}\\([^;]*\\)\\n?[ ]?\\{`, "m"), `${name} in ${file}`);
    }
  }
});

// A file is named by itself, by its twin with another ending (mem.h for mem.c), or by its folder (`parts/`).
test("the README next above a file names it", () => {
  const unnamed = [];
  for (const file of all) {
    let folder = path.dirname(file);
    while (folder !== "." && !fs.existsSync(path.join(ROOT, folder, "README.md"))) folder = path.dirname(folder);
    if (folder === "." || folder === "spec/wire" || /README\.md$|CMakeLists\.txt$|package(-lock)?\.json$|_spec\.c$/.test(file)) continue;
    const text = read(path.join(folder, "README.md")), between = path.relative(folder, path.dirname(file)).split("/").filter((part) => part !== "" && part !== "sluice");
    const named = text.includes(`${path.basename(file).split(".")[0]}.`) || text.includes(`\`${path.parse(file).name.replace(/\.play$/, "")}\``) ||
      text.includes(`\`${path.basename(file)}\``) || between.some((part) => text.includes(`${part}/`));
    if (!named) unnamed.push(file);
  }
  assert.ok(all.length > 200);
  assert.deepEqual(unnamed, []);
});

test("the sample of a mistake is what check says", () => {
  fs.cpSync(path.join(ROOT, "examples/ask"), path.join(dir, "examples/ask"), { recursive: true });
  fs.mkdirSync(path.join(dir, "web"), { recursive: true });
  const file = path.join(dir, "examples/ask/gateway.lua");
  fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace('front = "token"', 'front = "tokn"'));
  const r = check("examples/ask/gateway.lua");
  assert.equal(r.status, 1);
  assert.match(r.stderr, /^[^\n]+\n$/);
  assert.ok(main.includes(`\`\`\`\n${r.stderr}\`\`\`\n`), `the README does not show\n${r.stderr}`);
});

test("the samples of the tools are what they print", () => {
  const section = main.slice(main.indexOf("## Tools for who writes policies"), main.indexOf("## What clients see"));
  const [lua, warnings, explained, helped] = [...section.matchAll(/```\w*\n([^]*?)```\n/g)].map((m) => m[1]);
  fs.writeFileSync(path.join(dir, "gateway.lua"), `local sluice = require "sluice"\nlocal ask = sluice.policy { name = "ask" }\n${lua}
return sluice.config { api = 1, listen = ":0", models = { m = function() end }, routes = { r = { path = "/", front = "token", target = "m", policies = { ask } } } }
`);
  assert.equal(check("gateway.lua").stderr, warnings);
  const says = (...args) => spawnSync(BIN, args, { encoding: "utf8", cwd: ROOT, env: { PATH: process.env.PATH }, timeout: 60_000 }).stdout;
  const [before, after] = explained.split("    ...\n"), real = says("explain", "examples/ask/gateway.lua", "ask");
  assert.ok(real.startsWith(before) && real.endsWith(after), real);
  assert.equal(says("help", "filter.max_hold"), helped);
});

test("the table of parts names each part, and no other", () => {
  const table = [...main.matchAll(/^\| `(\w+) \{.*\}` \|/gm)].map((m) => m[1]);
  assert.deepEqual(table, all.filter((name) => path.dirname(name) === "lua/sluice/parts").map((name) => path.parse(name).name).sort());
});

test("every snippet of Lua loads", () => {
  const blocks = [...main.matchAll(/```lua\n([^]*?)```/g)].map((m) => m[1]);
  assert.ok(blocks.length >= 5);
  for (const block of blocks) {
    if (block.includes("sluice.config")) continue;         // the example, shortened
    const models = block.startsWith("models = ") ? block : "models = { m = function() end }";
    const services = /-- (services = .*)/.exec(block)?.[1];           // a snippet's comment says what it needs declared
    const [code, policies] = block.startsWith("models = ") ? ["", ""] : block.split(/^(?=policies = )/m);
    fs.writeFileSync(path.join(dir, "snippet.lua"), `local sluice = require "sluice"
local ask = sluice.policy { name = "ask" }
${code}
return sluice.config { api = 1, listen = ":0", ${services ? `${services},` : ""} ${models.trim().replace(/,$/, "")},
  routes = { r = { path = "/", front = "token", target = "${/(\w+) = (?:function\(req|\{ pool)/.exec(models)?.[1] ?? "m"}", ${policies ?? "policies = { ask }"} } } }
`);
    const r = check("snippet.lua");
    assert.equal(r.status, 0, `${block}\n${r.stderr}`);
  }
});

test("the codes that refuse what never became a stream are listed, and no others", () => {
  const [, listed] = /was refused with `([^`]+)`/.exec(main);
  const said = new Set();
  for (const file of all.filter((f) => /^src\/(net|serve)\/.*\.c$/.test(f)))
    for (const [, code] of read(file).matchAll(/(?:answer_refuse\(c, [^;]*?|\\"code\\":\\"|\? )"?([a-z]+(?:_[a-z]+)+|overloaded)\b(?=\\?")/g)) said.add(code);
  said.add("bad_query");                                   // src/script/request.c
  said.delete("internal_error");                           // stands in reason.h
  assert.deepEqual(listed.split(/\s+/).sort(), [...said].sort());
});
