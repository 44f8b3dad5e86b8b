// The command line: what it prints, where, and with which exit code.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import { ROOT } from "./play.mjs";

const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-cli-"));
after(() => fs.rmSync(dir, { recursive: true, force: true }));

function sluice(...args) {
  const env = typeof args.at(-1) === "object" ? args.pop() : {};
  const r = spawnSync(BIN, args, { encoding: "utf8", cwd: dir, env: { PATH: process.env.PATH, ...env }, timeout: 60_000 });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

function written(name, text) {
  fs.writeFileSync(path.join(dir, name), text);
  return name;
}

test("--help and --version speak on stdout and succeed", () => {
  const help = sluice("--help");
  assert.equal(help.code, 0);
  for (const word of ["run FILE", "check FILE", "test DIR", "--log-level", "--log-format", "SIGTERM"]) assert.ok(help.out.includes(word), word);
  assert.equal(help.err, "");
  const version = sluice("--version");
  assert.equal(version.code, 0);
  assert.match(version.out, /^sluice \d+\.\d+\.\d+\n$/);
});

test("misuse: a sentence on stderr, exit 2", () => {
  for (const args of [[], ["frob"], ["run"], ["check"], ["run", "a", "b"], ["--log-level", "loud", "run", "x"], ["--log-format", "xml", "run", "x"], ["--nonsense"]]) {
    const r = sluice(...args);
    assert.equal(r.code, 2, args.join(" "));
    assert.equal(r.out, "");
    assert.match(r.err, /sluice: .+\n/);
  }
});

test("a command without what it needs tells its usage; a directory that is not there is a sentence: exit 2", () => {
  for (const [args, said] of [
    [["run"], /^sluice: run needs a gateway file\nUsage: sluice run FILE/],
    [["check"], /^sluice: check needs a gateway file\nUsage: sluice check FILE/],
    [["test"], /^sluice: test needs a directory of specs\nUsage: sluice test DIR/],
    [["test", "nothere"], /^sluice: test: cannot read nothere: No such file or directory; name a directory with files that end in _spec\.lua.*\n$/],
  ]) {
    const r = sluice(...args);
    assert.equal(r.code, 2, args.join(" "));
    assert.match(r.err, said);
    assert.equal(r.out, "");
  }
});

test("quickstart.sh: what it does not know it refuses, before it installs or builds anything", () => {
  for (const args of [["--frob"], ["--once"], ["--once", "two", "questions"], ["What is Sluice?"], [""]]) {
    const r = spawnSync("/bin/sh", [path.join(ROOT, "examples/quickstart.sh"), ...args], { encoding: "utf8", cwd: dir, env: { PATH: "/nowhere" }, timeout: 60_000 });
    assert.equal(r.status, 2, args.join(" "));
    assert.match(r.stderr, /^sluice: .*sh examples\/quickstart\.sh.*--once .*\n$/);
  }
});

test("check: a good file is ok, exit 0", () => {
  const r = sluice("check", path.join(ROOT, "examples/ask/gateway.lua"));
  assert.equal(r.code, 0, r.err);
  assert.match(r.out, /ok: 3 routes, 1 model\n$/);
});

test("check: every mistake of every kind, each with its file and line, exit 1", () => {
  const file = written("bad.lua", `local sluice = require "sluice"
local p = sluice.policy { name = "p" }
function p.validat(req) end
return sluice.config { api = 1, listen = "nowhere", worker = 3,
  models = {
    m = { provider = "openai", url = "ftp://x", model = "x",
          timeout = { gap = 5 } },
  },
  routes = {
    a = { path = "/a", front = "tokn", target = "n", policies = { p } },
    b = { path = "b" },
  } }
`);
  const r = sluice("check", file);
  assert.equal(r.code, 1);
  for (const [line, said] of [[3, /unknown hook "validat".*did you mean "validate"/], [4, /listen: .*"nowhere"/], [4, /"?worker"?.*did you mean "workers"/], [6, /url: .*ftp/], [7, /gap: .*"5ms" or "5s"/], [10, /"tokn".*did you mean "token"/],
    [10, /unknown model "n"/], [11, /path/]]) {
    const hit = r.err.split("\n").find((l) => l.startsWith(`bad.lua:${line}: `) && said.test(l));
    assert.ok(hit, `line ${line} ${said} in\n${r.err}`);
  }
});

test("check: Lua that does not parse, that raises, that returns nothing, that never ends", () => {
  for (const [text, said] of [
    ["local x = = 1", /broken\.lua:1: .*near '='/],
    ["local sluice = require 'sluice'\nerror 'at load'", /broken\.lua:2: at load/],
    ["\n\nreturn 7\n\n", /^broken\.lua:3: the file must end with `return sluice\.config .*, but it returns 7\n$/],
    ["while true do end", /broken\.lua:1: .*processor time/],
    ["os.execute 'true'", /broken\.lua:1: .*os/],
    ["require 'nothere'", /broken\.lua:1: .*nothere/],
  ]) {
    const r = sluice("check", written("broken.lua", text));
    assert.equal(r.code, 1, text);
    assert.match(r.err, said);
  }
});

test("check: a missing file; a missing secret is named, its value never", () => {
  assert.match(sluice("check", "nothere.lua").err, /nothere\.lua: No such file/);
  const file = written("secret.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://x/v1", model = "x", key = sluice.secret "MY_KEY" } }, routes = { a = { path = "/a", front = "token", target = "m" } } }
`);
  const without = sluice("check", file);
  assert.equal(without.code, 1);
  assert.match(without.err, /secret\.lua:2: .*MY_KEY.*missing/);
  const typo = written("typo.lua", fs.readFileSync(path.join(dir, file), "utf8").replace('front = "token"', 'front = "tokn"'));
  const r = sluice("check", typo, { MY_KEY: "sk-very-secret-value" });
  assert.equal(r.code, 1);
  assert.ok(!r.err.includes("sk-very-secret-value"));
});

test("run: an address in use is a sentence and exit 1, never half a gateway", async () => {
  const s = net.createServer().listen(0, "127.0.0.1");
  await new Promise((r) => s.once("listening", r));
  const file = written("taken.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = "127.0.0.1:${s.address().port}", workers = 2, models = { m = { answer = function(req, out) out:text "x" end } }, routes = { a = { path = "/a", front = "token", target = "m" } } }
`);
  const r = sluice("run", file);
  s.close();
  assert.equal(r.code, 1);
  assert.match(r.err, /cannot listen at 127\.0\.0\.1 port \d+: address already in use/);
});

test("run: a second gateway with several workers is told that its port is taken by the first", async () => {
  const port = await new Promise((got) => {
    const s = net.createServer().listen(0, "127.0.0.1", () => { const p = s.address().port; s.close(() => got(p)); });
  });
  const file = written("twice.lua", `local sluice = require "sluice"
return sluice.config { api = 1, listen = "127.0.0.1:${port}", workers = 2, models = { m = { answer = function(req, out) out:text "x" end } }, routes = { a = { path = "/a", front = "token", target = "m" } } }
`);
  const first = spawn(BIN, ["run", file], { cwd: dir });
  await new Promise((go) => first.stderr.on("data", (text) => String(text).includes("listening") && go()));
  const r = sluice("run", file);
  first.kill("SIGTERM");
  await new Promise((go) => first.on("exit", go));
  assert.equal(r.code, 1);
  assert.match(r.err, /cannot listen at 127\.0\.0\.1 port \d+: address already in use/);
});

test("test: specs that pass, exit 0; that fail, exit 1 and say where; a directory without specs is an error", () => {
  const spec = path.join(dir, "specs");
  fs.mkdirSync(spec);
  fs.writeFileSync(path.join(spec, "a_spec.lua"), 'describe("a", function() it("holds", function() assert.equal(1, 1) end) end)\n');
  assert.equal(sluice("test", spec).code, 0);
  fs.writeFileSync(path.join(spec, "b_spec.lua"), 'describe("b", function() it("does not", function()\n  assert.equal(1, 2)\nend) end)\n');
  const r = sluice("test", spec);
  assert.equal(r.code, 1);
  assert.match(r.out + r.err, /b_spec\.lua:2/);
  fs.mkdirSync(path.join(dir, "empty"));
  assert.notEqual(sluice("test", path.join(dir, "empty")).code, 0);
});
