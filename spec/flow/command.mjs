// The program run once: words in; exit code, stdout and stderr out. Each caller gets a directory of its own.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { ROOT } from "./play.mjs";

export const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");

export function place(name) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `sluice-${name}-`));
  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  return {
    dir,
    write(file, text) {
      fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
      fs.writeFileSync(path.join(dir, file), text);
      return file;
    },
    read: (file) => fs.readFileSync(path.join(dir, file), "utf8"),
    copy: (from, to) => fs.cpSync(path.join(ROOT, from), path.join(dir, to), { recursive: true }),
    run(program, ...args) {
      const env = typeof args.at(-1) === "object" ? args.pop() : {};
      const r = spawnSync(program, args, { encoding: "utf8", cwd: dir, env: { PATH: process.env.PATH, ...env }, timeout: 120_000 });
      return { code: r.status, out: r.stdout, err: r.stderr };
    },
    sluice(...args) { return this.run(BIN, ...args); },
  };
}
