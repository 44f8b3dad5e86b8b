// Real proxies before a real gateway, each with the file in examples/proxy (its ports replaced), and nginx with nothing but proxy_pass. Row 11.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { Client, ROOT, eventually, play } from "../flow/play.mjs";

const read = (name) => fs.readFileSync(path.join(ROOT, "examples/proxy", name), "utf8");

async function free_port() {
  const s = net.createServer();
  await new Promise((r) => s.listen(0, "127.0.0.1", r));
  const { port } = s.address();
  await new Promise((r) => s.close(r));
  return port;
}

const around = (server, dir) => `daemon off; worker_processes 1; error_log stderr warn; pid ${dir}/pid;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
${server} }`;

const proxies = {
  "nginx with examples/proxy/nginx.conf": (dir, port, to) => ["nginx", ["-e", "stderr", "-p", dir, "-c", `${dir}/conf`], around(read("nginx.conf").replace("listen 80;", `listen 127.0.0.1:${port};`).replaceAll("127.0.0.1:4001", `127.0.0.1:${to}`), dir)],
  "nginx with its default settings (buffering on, HTTP/1.0): the header alone does it": (dir, port, to) =>
    ["nginx", ["-e", "stderr", "-p", dir, "-c", `${dir}/conf`], around(`server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${to}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }`, dir)],
  "Caddy with examples/proxy/Caddyfile": (dir, port, to) => ["caddy", ["run", "--config", `${dir}/conf`, "--adapter", "caddyfile"],
    `{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n${read("Caddyfile").replace(/^:80/m, `http://:${port}`).replaceAll("127.0.0.1:4001", `127.0.0.1:${to}`)}`],
  "HAProxy with examples/proxy/haproxy.cfg": (dir, port, to) => ["haproxy", ["-db", "-f", `${dir}/conf`], read("haproxy.cfg").replace("bind :80", `bind 127.0.0.1:${port}`).replaceAll("127.0.0.1:4001", `127.0.0.1:${to}`)],
};

async function before(stage, start, g) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-proxy-"));
  const port = await free_port();
  const [program, args, conf] = start(dir, port, g.port);
  assert.ok(conf.includes(String(port)) && conf.includes(String(g.port)), "the ports were replaced");
  fs.writeFileSync(`${dir}/conf`, conf);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: `${process.env.PATH}:/usr/sbin`, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir } });
  let said = "";
  let over = false;
  child.stdout.on("data", (b) => { said += b; });
  child.stderr.on("data", (b) => { said += b; });
  child.on("error", (e) => { said += e; over = true; });
  child.on("exit", () => { over = true; });
  stage.onEnd(async () => {
    child.kill("SIGTERM");                                // not SIGKILL: nginx' master takes its workers with it
    await eventually(() => over, "the proxy to end");
    fs.rmSync(dir, { recursive: true, force: true });
  });
  await eventually(async () => {
    assert.ok(!over, `${program} ended: ${said}`);
    const c = await Client.connect(port).catch(() => null);
    if (!c) return false;
    const a = c.ask("/readyz");
    await a.end();
    c.close();
    return a.status === 200 || new Promise((r) => setTimeout(r, 100, false));
  }, () => `${program} to serve: ${said.slice(-2000)}`);
  return port;
}

for (const [name, start] of Object.entries(proxies)) {
  const setting = async (stage) => {
    const up = await stage.upstream();
    const g = await stage.gateway({
      upstream: up.url, top: 'trusted_proxies = "127.0.0.1",', route: 'heartbeat = "100ms"', policies: "P",
      code: 'local P = sluice.policy { name = "p" }\nfunction P.accept(head, ctx) ctx:tag("ip", head.ip) end',
    });
    const port = await before(stage, start, g);
    const connect = async () => {
      const c = await Client.connect(port, { from: "127.0.0.9" });
      stage.onEnd(() => c.close());
      return c;
    };
    return { up, g, connect };
  };

  play(`${name}: tokens arrive one by one`, async (stage) => {
    const { up, g, connect } = await setting(stage);
    const a = (await connect()).ask("/api/stream?q=x");
    const call = await up.call();
    await call.stream();
    for (let i = 0; i < 30; i++) {
      await call.token(`t${i}`);
      assert.equal(await a.token(), `t${i}`);
    }
    await call.complete();
    const { tokens, end } = await a.all();
    assert.equal(tokens.length, 30);
    assert.equal(end, "[DONE]");
    assert.equal(a.headers.get("content-type").split(";")[0], "text/event-stream");
    assert.equal((await g.logged((l) => l.event === "request" && l.route === "ask", "the log line")).ip, "127.0.0.9");
  });

  play(`${name}: a client that leaves reaches the upstream`, async (stage) => {
    const { up, g, connect } = await setting(stage);
    for (const [i, leave] of [(c) => c.reset(), (c) => c.close()].entries()) {
      const c = await connect();
      const a = c.ask("/api/stream?q=x");
      const call = await up.call();
      await call.stream();
      await call.token("x");
      assert.equal(await a.token(), "x");
      leave(c);
      await call.gone();
      await eventually(() => g.requests.filter((l) => l.route === "ask")[i]?.end === "client_closed", "the log line");
    }
  });

  play(`${name}: heartbeats pass, an error keeps its status, a death in mid-stream is told`, async (stage) => {
    const { up, connect } = await setting(stage);
    const quiet = (await connect()).ask("/api/stream?q=x");
    const first = await up.call();
    for (let i = 0; i < 3; i++) assert.equal(await quiet.event(), ": keep-alive");
    await first.stream();
    await first.token("late");
    assert.equal(await quiet.token(), "late");
    first.reset();
    assert.equal((await quiet.all()).code, "upstream_reset");

    const refused = (await connect()).ask("/api/stream?q=x");
    await (await up.call()).reply(429, { "Retry-After": "7" }, "{}");
    await refused.end();
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get("retry-after"), "7");
    assert.equal(JSON.parse(refused.body).code, "upstream_rate_limited");
  });
}
