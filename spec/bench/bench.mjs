// Runs the benchmark: each target alone on one core, the upstream and the client on another, interleaved rounds, medians. See README.md.
//
//     node bench.mjs SLUICE BUILD_DIR [--quick] [--only WORKLOAD]
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const [sluice, build, ...flags] = process.argv.slice(2);
const quick = flags.includes("--quick");
const only = flags.includes("--only") ? flags[flags.indexOf("--only") + 1] : null;
const rounds = quick ? 1 : 3;

const workloads = {
  full: { streams: quick ? 64 : 1280, at_once: 64, tokens: 500, gap: 0, ramp: 64 },
  short: { streams: quick ? 640 : 20000, at_once: 64, tokens: 16, gap: 0, ramp: 64 },
  slow: { streams: quick ? 300 : 5000, at_once: quick ? 300 : 5000, tokens: quick ? 3 : 10, gap: quick ? 300 : 1000, ramp: 4 },
};
const about = (w) => `${w.at_once.toLocaleString("en")} streams at once` + (w.gap === 0 ? ` of ${w.tokens} tokens, at full speed`
  : w.gap === 1000 ? ", one token a second" : `, ${w.tokens} tokens, one each ${w.gap} ms`);
const targets = {
  "sluice": { port: 18401, frame: "token", text: " tok3n #" },
  "nginx": { port: 18402, frame: "openai", text: " token #" },
  "nginx+lua": { port: 18403, frame: "token", text: " tok3n #" },
};
const UPSTREAM = 18400;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-bench-"));
const children = new Set();
const cores = Math.max(1, os.cpus().length);
const on = (core, program, args) => (cores > 1 ? ["taskset", ["-c", String(core), program, ...args]] : [program, args]);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

function start(core, program, args, env = {}) {
  const [p, a] = on(core, program, args);
  const child = spawn(p, a, { stdio: ["pipe", "pipe", "pipe"], env: { PATH: `${process.env.PATH}:/usr/sbin`, ...env } });
  child.said = "";
  child.stdout.on("data", (b) => { child.said += b; });
  child.stderr.on("data", (b) => { child.said += b; });
  child.ended = new Promise((r) => child.on("close", (code) => {
    children.delete(child);
    child.over = true;
    r(code);
  }));
  children.add(child);
  return child;
}

async function load(port, frame, text, w) {
  const child = start(1, path.join(build, "bench_load"), [port, w.streams, w.at_once, w.tokens, w.gap, frame, text, w.ramp].map(String));
  await child.ended;
  if (!child.said.startsWith("{")) throw new Error(`the client failed: ${child.said}`);
  return JSON.parse(child.said);
}

// A program and its children: nanoseconds on the processor, resident KiB.
function family(pid) {
  const all = [pid];
  for (let i = 0; i < all.length; i++)
    for (const t of fs.readdirSync(`/proc/${all[i]}/task`)) all.push(...fs.readFileSync(`/proc/${all[i]}/task/${t}/children`, "utf8").split(" ").filter(Boolean).map(Number));
  return all;
}
const cpu_ns = (pid) => family(pid).flatMap((p) => fs.readdirSync(`/proc/${p}/task`).map((t) => Number(fs.readFileSync(`/proc/${p}/task/${t}/schedstat`, "utf8").split(" ")[0]))).reduce((a, b) => a + b, 0);
const rss_kib = (pid) => family(pid).map((p) => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${p}/status`, "utf8"))[1])).reduce((a, b) => a + b, 0);

async function open(name) {
  const { port } = targets[name];
  let child;
  if (name === "sluice") {
    child = start(0, sluice, ["run", path.join(here, "gateway.lua"), "--log-level", "error"], { BENCH_LISTEN: `127.0.0.1:${port}`, BENCH_UPSTREAM: `http://127.0.0.1:${UPSTREAM}/v1` });
  } else {
    const conf = path.join(dir, "nginx.conf");
    fs.writeFileSync(conf, fs.readFileSync(path.join(here, "nginx.conf"), "utf8").replaceAll("@DIR@", dir).replaceAll("@UPSTREAM@", UPSTREAM).replaceAll("@PASS@", targets.nginx.port).replaceAll("@LUA@", targets["nginx+lua"].port));
    child = start(0, "nginx", ["-e", "stderr", "-p", "/usr/share/nginx", "-c", conf]);
  }
  for (let i = 0; i < 100; i++) {
    await sleep(50);
    if (child.over) throw new Error(`${name} did not start: ${child.said}`);
    const warm = await load(port, targets[name].frame, targets[name].text, { streams: 64, at_once: 64, tokens: 100, gap: 0, ramp: 64 }).catch(() => null);
    if (warm?.bad === 0) return child;
  }
  throw new Error(`${name} does not answer as it should: ${child.said}`);
}

async function measure(name, w) {
  const child = await open(name);
  const { port, frame, text } = targets[name];
  const before = { cpu: cpu_ns(child.pid), rss: rss_kib(child.pid) };
  let peak = 0;
  const watch = setInterval(() => { peak = Math.max(peak, rss_kib(child.pid)); }, 100);
  const got = await load(port, frame, text, w);
  clearInterval(watch);
  const cpu = cpu_ns(child.pid) - before.cpu;
  child.kill("SIGTERM");
  await child.ended;
  return { ...got, cpu_us_token: cpu / 1000 / got.tokens, cpu_us_stream: cpu / 1000 / got.good, kib_stream: (peak - before.rss) / w.at_once };
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

process.on("exit", () => {
  for (const c of children) c.kill("SIGTERM");
  fs.rmSync(dir, { recursive: true, force: true });
});

const upstream = start(1, path.join(build, "bench_upstream"), [String(UPSTREAM)]);
while (!upstream.said.includes("ready")) {
  if (upstream.over) throw new Error(`the upstream did not start: ${upstream.said}`);
  await sleep(20);
}
let failures = 0;
for (const [workload, w] of Object.entries(workloads)) {
  if (only && only !== workload) continue;
  const runs = Object.fromEntries(Object.keys(targets).map((t) => [t, []]));
  for (let round = 0; round < rounds; round++)
    for (const name of Object.keys(targets)) runs[name].push(await measure(name, w));
  console.log(`\n${workload}: ${about(w)}${quick ? ` (--quick: ${w.streams} streams in one round; it shows that all works, not what it costs)` : ""}`);
  console.log("target      failed   CPU us/token   CPU us/stream   KiB/stream   first token p50/p99 ms   of nginx+lua (token, stream)");
  const base = { token: median(runs["nginx+lua"].map((r) => r.cpu_us_token)), stream: median(runs["nginx+lua"].map((r) => r.cpu_us_stream)) };
  for (const [name, list] of Object.entries(runs)) {
    const m = (key) => median(list.map((r) => r[key]));
    const bad = list.reduce((n, r) => n + r.bad, 0);
    failures += bad;
    console.log(`${name.padEnd(10)} ${String(bad).padStart(7)}   ${m("cpu_us_token").toFixed(2).padStart(12)}   ${m("cpu_us_stream").toFixed(1).padStart(13)}   ${(workload === "slow" && !quick ? m("kib_stream").toFixed(1) : "-").padStart(10)}   ` +
      `${`${(m("first_us_p50") / 1000).toFixed(1)} / ${(m("first_us_p99") / 1000).toFixed(1)}`.padStart(22)}   ${(m("cpu_us_token") / base.token).toFixed(2)}x, ${(m("cpu_us_stream") / base.stream).toFixed(2)}x`);
    const told = list.find((r) => r.bad);
    if (told) console.log(`           the first failure: ${told.why}`);
  }
}
upstream.stdin.end();
await upstream.ended;
process.exitCode = failures ? 1 : 0;
