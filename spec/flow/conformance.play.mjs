// The vectors that pin the API (spec/conformance), over real sockets: the program, a scripted model service and scripted services. spec/policy/conformance_spec.lua
// plays the same ones on the virtual clock; what reads them here shares nothing with what reads them there.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { frontOf, told } from "./conformance/client.mjs";
import { CUTTINGS, pieces } from "./conformance/model.mjs";
import { eitherWay, environment, vectors } from "./conformance/vectors.mjs";
import { Gateway, play } from "./play.mjs";

const NOBODY = "http://127.0.0.1:9";

// ---- the world of one vector: what its models and services answer is the present exchange's

class World {
  exchange = null;
  calls = [];                          // of models, in order: { model, call }
  served = {};                         // by service: its calls

  static async open(stage, vector) {
    const w = new World();
    [w.models, w.services] = [await stage.upstream({ base: "" }), await stage.upstream({ base: "" })];
    w.models.serve((call) => w.#model(call));
    w.services.serve((call) => w.#service(call));
    const env = environment(vector, (kind, name, script) =>
      script === "unreachable" ? NOBODY : kind === "model" ? `${w.models.url}/${name}/v1` : `${w.services.url}/${name}`);
    w.gateway = await stage.gateway(vector.gateway, { env });
    return w;
  }

  async #model(call) {
    const [, name] = call.path.split("/"), { upstream } = this.exchange;
    const number = this.calls.filter((c) => c.model === name).length;
    this.calls.push({ model: name, call });
    const script = upstream[name]?.[number];
    assert.ok(script, `the model "${name}" was asked and has no script for try ${number + 1}`);
    const streams = call.json.stream === true;
    for (const piece of pieces(script, call.path, streams, this.cutting)) {
      if (call.over) return;
      if (piece.status) {
        const body = piece.body === undefined ? "" : typeof piece.body === "string" ? piece.body : JSON.stringify(piece.body);
        return call.reply(piece.status, piece.headers ?? {}, body);
      }
      if (piece.type) await call.head(200, { "Content-Type": piece.type });
      else if ("bytes" in piece) await call.write(piece.bytes);
      else if ("until" in piece) await this.#read(piece.until, call);
      else if (piece.end === "reset") call.reset();
      else if (piece.end === "close") await call.end();
      else assert.fail(`no such piece: ${JSON.stringify(piece)}`);
      await new Promise(setImmediate);
    }
  }

  // Until the client has read this text, and no more.
  async #read(text, call) {
    if (!this.streams) return;
    const now = () => told(this.answer, this.front).text;
    const there = () => now().length >= text.length || this.answer.over || call.over;
    await this.answer.client.news.until(there, () => `the client to have read ${JSON.stringify(text)}, not ${JSON.stringify(now())}`);
    assert.equal(now(), text, "what the client has read by now");
  }

  async #service(call) {
    const [, name, ...rest] = call.path.split("/");
    const url = new URL(`http://service/${rest.join("/")}`);
    const calls = (this.served[name] ??= []);
    calls.push({
      method: call.method, path: url.pathname, query: Object.fromEntries(url.searchParams), headers: Object.fromEntries(call.headers),
      body: call.body.toString(), json: call.header("content-type") === "application/json" ? call.json : undefined,
    });
    const answer = this.exchange.services[name]?.[calls.length - 1];
    assert.ok(answer, `the service "${name}" was called ${calls.length} times and has fewer answers`);
    if (answer === "silent") return;
    if (answer.after) await this.models.news.until(() => this.calls.some((c) => c.model === answer.after), `the model "${answer.after}" to be asked`);
    const type = "json" in answer ? { "Content-Type": "application/json" } : {};
    await call.reply(answer.status ?? 200, { ...type, ...answer.headers }, "json" in answer ? JSON.stringify(answer.json) : answer.body ?? "");
  }

  async run(exchange, stream, cutting) {
    const { path, query, headers, body, method } = exchange.request;
    const json = body && typeof body === "object", sent = json ? JSON.stringify({ stream, ...body }) : body;
    this.front = frontOf(path);
    this.streams = this.front === "token" || (json && (body.stream ?? stream));
    Object.assign(this, { exchange, cutting, calls: [], served: {} });
    const logged = this.gateway.log.length, client = await this.gateway.connect();
    this.answer = client.ask(path + (query ? `?${new URLSearchParams(query)}` : ""), {
      method: method ?? (sent === undefined ? "GET" : "POST"), body: sent, headers: { ...(json ? { "Content-Type": "application/json" } : {}), ...headers },
    });
    await this.answer.end();
    for (const up of [this.models, this.services]) if (up.failed) throw up.failed;
    const line = await this.gateway.request(this.answer);
    client.close();
    hold(exchange.expect, this, line, this.gateway.log.slice(logged));
  }
}

// ---- comparing

// Of `got` what `want` speaks of, to be compared with it: members of objects that it names, lists whole. null: there is none.
function spokenOf(want, got) {
  if (want === null) return got ?? null;
  if (Array.isArray(want)) return Array.isArray(got) ? got.map((item, i) => (i < want.length ? spokenOf(want[i], item) : item)) : got;
  if (typeof want !== "object" || got === null || typeof got !== "object" || Array.isArray(got)) return got;
  return Object.fromEntries(Object.entries(want).map(([name, value]) => [name, spokenOf(value, got[name])]));
}

const same = (want, got, what) => assert.deepEqual(spokenOf(want, got), want, what);
const lower = (headers) => Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
const texts = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value === null ? null : String(value)]));

function holdError(expect, r) {
  const { status, ...wanted } = expect.error;
  same(wanted, r.error, "the error");
}

function holdEnd(expect, r, front) {
  assert.equal(r.error, undefined, `the error: ${JSON.stringify(r.error)}`);
  const usual = { openai: "stop", anthropic: "end_turn" }[front];
  if (r.finish || expect.finish) assert.equal(r.finish, expect.finish ?? usual, "the finish");
  if (expect.usage) same(expect.usage, r.usage, "the usage");
}

function hold(expect, world, line, lines) {
  const { answer, streams, front } = world, r = told(answer, front);
  const event = expect.error && streams && expect.status === 200;
  assert.equal(answer.over, "complete");
  assert.equal(answer.status, expect.error && !event && expect.error.status || expect.status || 200, "the status");
  assert.equal(r.ended, 1, "the ends that were told");
  if (expect.error) holdError(expect, r);
  else holdEnd(expect, r, front);
  const none = expect.error && !event;
  for (const channel of ["text", "reasoning", "refusal"]) assert.equal(r[channel], (!none && expect[channel]) || "", `the ${channel}`);
  assert.equal(r.tools.length, (expect.tools ?? []).length, "the number of tool calls");
  same(expect.tools ?? [], r.tools, "the tool calls");
  if (expect.headers) same(lower(expect.headers), Object.fromEntries(answer.headers), "the headers");
  holdAsked(expect, world);
  for (const want of expect.log ?? []) {
    const wanted = JSON.stringify(texts(want));
    assert.ok(lines.some((l) => JSON.stringify(spokenOf(texts(want), texts(l))) === wanted), `no log line has ${wanted}`);
  }
  if (expect.tags) same(texts(expect.tags), texts(line), "tags");
}

function holdAsked(expect, { exchange, calls, served }) {
  const models = expect.models ?? [], reached = models.filter(({ model }) => exchange.upstream[model] !== "unreachable");
  assert.deepEqual(calls.map((c) => c.model), reached.map((m) => m.model), "the models that were asked");
  for (const [i, { model, body, headers }] of reached.entries()) {
    if (body) same(body, calls[i].call.json, `what ${model} got`);
    if (headers) same(headers, Object.fromEntries(calls[i].call.headers), `the headers that ${model} got`);
  }
  const services = Object.fromEntries(Object.entries(expect.services ?? {}).filter(([name]) => exchange.services[name] !== "unreachable"));
  for (const [name, list] of Object.entries(served)) assert.equal(list.length, (services[name] ?? []).length, `calls of the service ${name}`);
  same(services, served, "what services were asked");
}

// ---- the plays

// Runs share a gateway, but those of vectors whose exchanges leave something for one another (fresh).
async function runs(stage, vector) {
  let world = null;
  for (const cutting of CUTTINGS)
    for (const stream of eitherWay(vector) ? [true, false] : [true]) {
      if (!world || vector.fresh) world = await World.open(stage, vector);
      for (const [i, exchange] of vector.exchanges.entries())
        await world.run(exchange, stream, cutting).catch((e) => {
          e.message = `${cutting}${stream ? "" : ", not streamed"}, exchange ${i + 1}: ${e.message}`;
          throw e;
        });
    }
}

async function refused(stage, vector) {
  const g = await Gateway.start(vector.gateway, { expect: "the end" });
  stage.onEnd(() => g.abandon());
  await g.ended();
  assert.notEqual(g.exit.code, 0);
  assert.ok([...g.log.map((l) => l.message), ...g.noise].some((line) => line?.includes(vector.refused)), g.tail());
}

describe("conformance 1", { concurrency: 4 }, () => {
  for (const vector of vectors(1))
    play(`${vector.name}: ${vector.about}`, async (stage) => {
      if (vector.refused) return refused(stage, vector);
      await runs(stage, vector);
    });
});
