// sluice dev: the gateway runs, its files are watched; a change is read, a mistake is told, the specs run again; a line an exchange.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { BIN, Command } from "./operator.mjs";
import { Client, ROOT, eventually, play } from "./play.mjs";

const gateway = (say, more = "") => `local sluice = require "sluice"
local P, W = require "policies.words", require "policies.watch"
${more}
return sluice.config {
  api = 1, listen = "127.0.0.1:0", workers = 1, drain = "2s",
  models = { m = function(req, out) out:text "${say} 12 3" out:text "4." end },
  routes = {
    ask = { path = "/api/stream", front = "token", target = "m", policies = { sluice.parts.template { file = "system.txt" }, P, W } },
  },
}
`;
const words = (replace) => `local sluice = require "sluice"
local P = sluice.policy { name = "words" }
function P.validate(req)
  if req.query.bad then return sluice.reject(422, "no_good", "no") end
  if req.query.boom then error "boom" end
end
P.filter = { match = "%d+", replace = "${replace}" }
return P
`;
const WATCH = `local sluice = require "sluice"
return sluice.policy { name = "watch", mode = "monitor", validate = function() return sluice.reject(422, "would_mind", "no") end }
`;
const spec = (say) => `local t = require "sluice.testing"
describe("the gateway", function()
  it("says ${say}", function()
    local g = assert(t.load "gateway.lua")
    assert.equal("${say}", g:ask({ q = "x" }).text)
  end)
end)
`;

// libuv closes by a bare system call, which ThreadSanitizer does not see: a descriptor of the specs' pipe that a worker's accept gets next looks shared.
function sanitizer(dir) {
  fs.writeFileSync(path.join(dir, "tsan"), "race:accept4\n");
  return { TSAN_OPTIONS: `suppressions=${dir}/tsan` };
}

const refused = (port) => new Promise((told) => {
  const c = net.connect(Number(port), "127.0.0.1", () => {
    c.destroy();
    told(false);
  });
  c.on("error", () => told(true));
});

// The program in a directory of its own; what it is asked through its own port.
async function workshop(stage, files, { env = {}, under } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-dev-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true, force: true }));
  const write = (name, text) => {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, `${name}.new`), text);
    fs.renameSync(path.join(dir, `${name}.new`), path.join(dir, name));   // as editors do
  };
  for (const [name, text] of Object.entries({ "gateway.lua": gateway("one"), "policies/words.lua": words("#"), "policies/watch.lua": WATCH, "system.txt": "Be brief.", ...files })) if (text) write(name, text);
  const options = { cwd: dir, env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: dir, ...sanitizer(dir), ...env } };
  const dev = under ? under(options) : new Command(["dev", "gateway.lua"], options);
  stage.onEnd(() => dev.exit || dev.signal("SIGKILL"));
  const [, port] = await dev.said(/listening at http:\/\/127\.0\.0\.1:(\d+); Ctrl-C ends it/);
  const ask = async (query = "") => {
    const c = await Client.connect(Number(port));
    const a = await c.ask(`/api/stream?q=x${query}`).head();
    const said = a.status === 200 ? (await a.all()).text : (await a.json()).code;
    c.close();
    return said;
  };
  let seen = 0;
  const next = async (...all) => {                         // all of these, in any order, in what came since the last ones
    const find = () => all.map((match) => match.exec(dev.out.slice(seen)));
    const found = await dev.news.until(() => (find().every(Boolean) ? find() : null), () => `${all} in\n${dev.out.slice(seen)}\n${dev.err}`);
    seen += Math.max(...found.map((f) => f.index + f[0].length));
    return found[0];
  };
  const end = async () => {
    dev.signal("SIGINT");
    assert.deepEqual(await dev.ended(), { code: 0, signal: null }, dev.err);
    assert.equal(dev.err, "");
  };
  return { dev, write, ask, next, end, dir, port };
}

play("dev: an edit is read and served; a broken one is told with its line and the old one goes on", async (stage) => {
  const { dev, write, ask, next, end, dir } = await workshop(stage, {});
  assert.equal(await ask(), "one # #.");
  write("gateway.lua", gateway("two"));
  await next(/generation 2 serves new requests\n/);
  await eventually(async () => (await ask()) === "two # #.", "the new text");
  write("policies/words.lua", words("*").replace('name = "words"', 'nme = "words"'));
  await next(/policies\/words\.lua:2: .*nme.*\n\d\d:\d\d:\d\d  nothing was taken over: what was read before serves on\n/);
  assert.equal(await ask(), "two # #.");
  write("policies/words.lua", words("*"));
  await next(/generation 3 serves new requests\n/);
  await eventually(async () => (await ask()) === "two * *.", "the module's change");
  write("system.txt", "Be long.");                         // no Lua, but an option named it
  await next(/generation 4 serves new requests\n/);
  write("gateway.lua", gateway("five", 'local more = require "policies.later"'));
  await next(/no module "policies\.later"/);
  write("policies/later.lua", "return 1");
  await next(/generation 5 serves new requests\n/);
  fs.renameSync(path.join(dir, "policies"), path.join(dir, "gone"));
  fs.cpSync(path.join(dir, "gone"), path.join(dir, "policies"), { recursive: true });   // as a checkout may do
  write("gateway.lua", gateway("five", 'local more = require "policies.later" -- all is there'));
  await next(/generation 6 serves new requests\n/);
  write("policies/later.lua", "return 2");                 // in the new directory
  await next(/generation 7 serves new requests\n/);
  write("notes.txt", "of no interest");
  write("policies/later.lua", "return 2");                 // the same text: nothing new
  write("gateway.lua", gateway("six", 'local I = sluice.policy { name = "i", init = function() error "no list today" end }').replace("policies = {", "policies = { I,"));
  await next(/no list today \(init of policy "i"\)/);
  await eventually(async () => (await ask()) === "five * *.", "what was read before");
  assert.ok(!/generation [89]/.test(dev.out), dev.out);
  await end();
});

play("dev: the specs beside the file run at the start, after a reload and when they change; a failure is told whole", async (stage) => {
  const { write, ask, next, end } = await workshop(stage, { "spec/gateway_spec.lua": spec("one # #.") });
  await next(/specs passed: 1 success/);
  write("gateway.lua", gateway("two"));
  await next(/generation 2 serves new requests\n/, /specs failed\n[^]*gateway_spec\.lua[^]*two # #\./);
  await eventually(async () => (await ask()) === "two # #.", "specs that fail stop nothing");
  write("spec/gateway_spec.lua", spec("two # #."));
  await next(/specs passed: 1 success/);
  write("spec/sub/helper.lua", "return {}");
  write("spec/other_spec.lua", spec("two # #."));
  await next(/specs passed: 2 successes/);
  write("gateway.lua", gateway("three").replace('"token"', '"tokn"'));
  await next(/unknown dialect "tokn"/);                    // the specs would only say the same
  write("gateway.lua", gateway("two"));
  await next(/specs passed: 2 successes/);
  await end();
});

play("dev: one line an exchange: time, route, status, end, model, tokens, times, held bytes, who ended it, the monitor", async (stage) => {
  const { ask, next, end } = await workshop(stage, {});
  await ask();
  const [line] = await next(/^.*  ask .*$/m);
  assert.match(line, /^\d\d:\d\d:\d\d  ask +200 done +m +2 tokens  first \d+ ms  total \d+ ms  held [1-9]\d* bytes  monitor watch:would_reject:would_mind$/);
  assert.equal(await ask("&bad=1"), "no_good");
  assert.match((await next(/^.*  ask .*$/m))[0], /  ask +422 no_good +m +0 tokens  first - ms  total \d+ ms  by words\.validate$/);
  assert.equal(await ask("&boom=1"), "policy_error");
  await next(/policy\.failed: .*policies\/words\.lua:5: boom .*policy=words  hook=validate\n +4 \| .*\n +> +5 \|   if req\.query\.boom then error "boom" end\n +6 \| end\n/);
  assert.match((await next(/^.*  ask .*$/m))[0], /500 policy_error .* by words\.validate$/);
  await end();
});

play("dev: a file that is wrong at the start ends it, with the mistake; what it may not be given", async (stage) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-dev-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(path.join(dir, "gateway.lua"), "return 1");
  for (const [args, code, said] of [[["dev", "gateway.lua"], 1, /gateway\.lua/], [["dev"], 2, /dev needs a gateway file/], [["dev", "gateway.lua", "more"], 2, /takes no more words/], [["dev", "gateway.lua", "--json"], 2, /has no option --json/]]) {
    const r = spawnSync(BIN, args, { cwd: dir, encoding: "utf8", timeout: 60_000 });
    assert.equal(r.status, code, r.stderr);
    assert.match(r.stderr, said);
  }
});

play("dev: colours only where there is a terminal, and not where NO_COLOR is set", async (stage) => {
  for (const [env, coloured] of [[{}, true], [{ NO_COLOR: "1" }, false]]) {
    const { dev, ask, port } = await workshop(stage, {}, { env, under: (options) => new Command(["-qfec", `${BIN} dev gateway.lua`, "/dev/null"], { ...options, program: "script" }) });
    await ask();
    await dev.said(coloured ? /\x1b\[32m200 done +\x1b\[0m/ : /ask +200 done/);
    assert.equal(dev.out.includes("\x1b["), coloured);
    dev.signal("SIGTERM");                                 // to the terminal: the program hears that it is gone, and ends
    await dev.ended();
    await eventually(() => refused(port), "the gateway to end with its terminal");
  }
  const { dev, ask, next, end } = await workshop(stage, {});
  await ask();
  await next(/ask +200/);
  assert.ok(!dev.out.includes("\x1b"));
  await end();
});

play("the README's sample of dev is what the example says, but for its numbers", async (stage) => {
  const sample = /^\d\d:\d\d:\d\d {2}listening [^]*?(?=```)/m.exec(fs.readFileSync(path.join(ROOT, "README.md"), "utf8"))[0];
  const run = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-dev-"));
  stage.onEnd(() => fs.rmSync(run, { recursive: true, force: true }));
  const dev = new Command(["dev", "examples/ask/gateway.lua"], { cwd: ROOT, env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: run, SLUICE_LISTEN: "127.0.0.1:0", ...sanitizer(run) } });
  stage.onEnd(() => dev.exit || dev.signal("SIGKILL"));
  const [, port] = await dev.said(/listening at http:\/\/127\.0\.0\.1:(\d+)/);
  await dev.said(/specs passed/);
  for (const q of ["What+is+Sluice%3F", ""]) {
    const c = await Client.connect(Number(port));
    await c.ask(`/api/stream?q=${q}`).end();
    c.close();
  }
  await dev.said(/by ask\.validate\n/);
  dev.signal("SIGTERM");
  assert.equal((await dev.ended()).code, 0, dev.err);
  const plain = (s) => s.replace(/[\d.:]+/g, "N").replace(/ +/g, " ").trim().split("\n").slice(0, 4);
  assert.deepEqual(plain(dev.out), plain(sample));
});
