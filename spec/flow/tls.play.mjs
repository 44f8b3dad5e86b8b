// https upstreams: a certificate that is not proven is a clear error before anything is sent, never a fallback.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { Gateway, file, play } from "./play.mjs";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-tls-"));
after(() => fs.rmSync(dir, { recursive: true, force: true }));
const at = (name) => path.join(dir, name);
const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"], cwd: dir });

function authority(name) {
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "2", "-subj", `/CN=${name}`,
    "-addext", "basicConstraints=critical,CA:TRUE");
}

// A server's key and certificate, signed by `ca`; `names` as subjectAltName wants them.
function identity(name, ca, names, days = "2") {
  fs.writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n`);
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-CAcreateserial", "-out", `${name}.crt`, "-days", days, "-extfile", `${name}.ext`);
  return { key: fs.readFileSync(at(`${name}.key`)), cert: fs.readFileSync(at(`${name}.crt`)) };
}

authority("good");
authority("other");
const right = identity("right", "good", "IP:127.0.0.1,DNS:localhost");
const elsewhere = identity("elsewhere", "good", "DNS:elsewhere.test,IP:127.0.0.2");
const expired = identity("expired", "good", "IP:127.0.0.1", "-1");

async function ask(stage, secure, model) {
  const up = await stage.upstream({ secure });
  const g = await stage.gateway({ upstream: up.url, model });
  const a = await g.ask();
  return { up, g, a };
}

async function unproven(stage, secure, model) {
  const { up, g, a } = await ask(stage, secure, model);
  const body = await a.json();
  assert.equal(a.status, 502);
  assert.equal(body.code, "upstream_tls_failed");
  assert.match(body.error, /identity/);
  assert.equal(up.calls.length, 0, "nothing was asked, no key was shown");
  const line = await g.request(a);
  assert.equal(line.end, "upstream_tls_failed");
  assert.ok(line.detail, "the log says what was wrong");
  return line.detail;
}

const trust = `ca = "${at("good.pem")}"`;

play("the model's own CA file: the stream flows, and the connection is used again", async (stage) => {
  const { up, g, a } = await ask(stage, right, trust);
  await (await up.call()).tell(["safe", "ly"]);
  assert.deepEqual((await a.all()).tokens, ["safe", "ly"]);
  const b = await g.ask();
  await (await up.call()).tell(["again"]);
  assert.deepEqual((await b.all()).tokens, ["again"]);
  assert.equal(up.connections.length, 1);
});

play("a host name is proven, too", async (stage) => {
  const { up, a } = await ask(stage, { ...right, name: "localhost" }, trust);
  await (await up.call()).tell(["x"]);
  assert.deepEqual((await a.all()).tokens, ["x"]);
});

play("a CA that the system does not know: upstream_tls_failed", (stage) => unproven(stage, right, ""));
play("signed by another CA: upstream_tls_failed", (stage) => unproven(stage, right, `ca = "${at("other.pem")}"`));
play("a certificate for another name: upstream_tls_failed", async (stage) => {
  assert.match(await unproven(stage, elsewhere, trust), /name|subject|match/i);
});
play("a certificate whose time is over: upstream_tls_failed", async (stage) => {
  assert.match(await unproven(stage, expired, trust), /expired/);
});

play("https to a server that speaks plain HTTP: no fallback", async (stage) => {
  const asked = [];
  const server = http.createServer((req, res) => {
    asked.push(req.url);
    res.end();
  });
  await new Promise((r) => server.listen(0, "127.0.0.1", r));
  stage.onEnd(() => server.close());
  const g = await stage.gateway({ upstream: `https://127.0.0.1:${server.address().port}/v1`, model: trust });
  const a = await g.ask();
  assert.equal((await a.json()).code, "upstream_tls_failed");
  assert.deepEqual(asked, []);
});

play("an upstream that breaks off behind TLS: an error event, never [DONE]", async (stage) => {
  const { up, a } = await ask(stage, right, trust);
  const call = await up.call();
  await call.stream();
  await call.token("half");
  assert.equal(await a.token(), "half");
  call.reset();
  const { tokens, code } = await a.all();
  assert.deepEqual(tokens, ["half"]);
  assert.equal(code, "upstream_reset");
});

play("two models with two CAs do not share what they trust", async (stage) => {
  const up = await stage.upstream({ secure: right });
  const g = await stage.gateway({
    upstream: up.url, model: trust,
    models: `n = { provider = "openai", url = "${up.url}", model = "x", ca = "${at("other.pem")}" },`,
    routes: 'n = { path = "/n", front = "token", target = "n" },',
  });
  const a = await g.ask();
  await (await up.call()).tell(["x"]);
  assert.deepEqual((await a.all()).tokens, ["x"]);
  const b = await g.get("/n?q=x");                      // an open, proven connection to the same host stands ready: not for this model
  assert.equal((await b.json()).code, "upstream_tls_failed");
});

play("a CA file that is not there, or is none: told at the start, with the line", async () => {
  fs.writeFileSync(at("empty.pem"), "nothing");
  for (const [name, said] of [["missing.pem", /gateway\.lua:\d+: .*missing\.pem/], ["empty.pem", /gateway\.lua:\d+: .*empty\.pem/]]) {
    const g = await Gateway.start(file({ upstream: "https://127.0.0.1:9/v1", model: `ca = "${at(name)}"` }), { expect: "the end" });
    await g.ended();
    assert.equal(g.exit.code, 1);
    assert.match(g.tail(), said);
    g.abandon();
  }
});
