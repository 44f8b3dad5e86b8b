// The examples run as their READMEs print it: check has nothing to say, each command prints what stands below it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { place } from "./command.mjs";
import { ROOT, play } from "./play.mjs";

const here = place("examples");
const examples = fs.readdirSync(path.join(ROOT, "examples")).filter((name) => fs.existsSync(path.join(ROOT, "examples", name, "gateway.lua")));

test("every example checks without a word of warning", () => {
  assert.ok(examples.length >= 6);
  for (const name of examples) {
    const r = here.sluice("check", "--strict", path.join(ROOT, "examples", name, "gateway.lua"));
    assert.equal(r.code, 0, r.out + r.err);
    assert.equal(r.err, "");
  }
});

// Each ```sh block with the plain block below it: { command, output }.
function steps(readme) {
  return [...readme.matchAll(/```sh\n([^]*?)```\n(?:\n```\n([^]*?)```\n)?/g)].map((m) => ({ command: m[1].trim(), output: m[2] }));
}

for (const name of examples) {
  const readme = fs.readFileSync(path.join(ROOT, "examples", name, "README.md"), "utf8");
  const [start, ...asks] = steps(readme);
  if (!start) continue;

  play(`${name}: what its README prints`, async (stage) => {
    assert.equal(start.command, `build/sluice run examples/${name}/gateway.lua`);
    const g = await stage.gateway({ path: path.join(ROOT, "examples", name, "gateway.lua") }, { env: { SLUICE_LISTEN: "127.0.0.1:0" } });
    assert.ok(asks.length > 0);
    for (const { command, output } of asks) {
      assert.match(command, /127\.0\.0\.1:4001/);
      const r = spawnSync("sh", ["-c", command.replaceAll("127.0.0.1:4001", `127.0.0.1:${g.port}`)], { encoding: "utf8", cwd: ROOT, timeout: 60_000 });
      assert.equal(r.status, 0, `${command}\n${r.stderr}`);
      assert.equal(r.stdout.replace(/\n?$/, "\n"), output, command);
    }
  });
}
