// The vectors in spec/conformance/VERSION, as spec/conformance/README.md tells: read and held to the names that there are. What this door could not play is an
// error here, so that none is passed over.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { ROOT } from "../gateway.mjs";

const NAMES = {
  vector: ["about", "gateway", "fresh", "refused", "exchanges", "request", "upstream", "services", "expect"],
  exchange: ["request", "upstream", "services", "expect"],
  request: ["method", "path", "query", "headers", "body"],
  expect: ["status", "headers", "text", "reasoning", "refusal", "tools", "finish", "usage", "error", "models", "services", "tags", "log"],
};

function known(object, kind, where) {
  for (const name of Object.keys(object)) assert.ok(NAMES[kind].includes(name), `${where} has no member "${name}"`);
}

function read(file) {
  const vector = JSON.parse(fs.readFileSync(file, "utf8"));
  const name = path.basename(file, ".json");
  known(vector, "vector", name);
  const { about, gateway, fresh, refused, exchanges, ...only } = vector;
  assert.ok(about && gateway, `${name}: about and gateway are required`);
  const list = refused ? [] : exchanges ?? [only];
  for (const [i, exchange] of list.entries()) {
    known(exchange, "exchange", `${name}: exchange ${i + 1}`);
    known(exchange.request, "request", `${name}: request`);
    known(exchange.expect, "expect", `${name}: expect`);
  }
  return { name, about, fresh, refused, gateway: gateway.join("\n") + "\n", exchanges: list.map((e) => ({ upstream: {}, services: {}, ...e })) };
}

export function vectors(version) {
  const dir = path.join(ROOT, "spec/conformance", String(version));
  const files = fs.readdirSync(dir).filter((f) => f.endsWith(".json")).sort();
  assert.ok(files.length > 0, `no vectors in ${dir}`);
  return files.map((f) => read(path.join(dir, f)));
}

// What the gateway file's environment says of its models and services: { MODEL_SMART: url ... }; address(kind, name, script) gives the URL.
export function environment(vector, address) {
  const env = {};
  for (const { upstream, services } of vector.exchanges) {
    for (const [name, script] of Object.entries(upstream)) env[`MODEL_${name.toUpperCase()}`] = address("model", name, script);
    for (const [name, script] of Object.entries(services)) env[`SERVICE_${name.toUpperCase()}`] = address("service", name, script);
  }
  return env;
}

// Whether the clients' bodies leave open if they stream: then both are played.
export const eitherWay = (vector) => vector.exchanges.some(({ request: { body } }) => body && typeof body === "object" && !("stream" in body));
