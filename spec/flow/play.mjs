// A play: client, gateway and upstream over loopback, directed from one place. `play(name, async (stage) => ...)` is one test of node's runner;
// what the stage started is ended afterwards, and each gateway must end cleanly (see Gateway.stop). Run one file with
//
//     SLUICE_BIN=build/sluice node --test spec/flow/token.play.mjs
import test from "node:test";
import { Gateway, file } from "./gateway.mjs";
import { Upstream } from "./upstream.mjs";

export { Client } from "./client.mjs";
export { Gateway, KEY, ROOT, file } from "./gateway.mjs";
export { News, PATIENCE_MS, eventually } from "./news.mjs";
export { Upstream, deaf, delta, event, finish } from "./upstream.mjs";

class Stage {
  #ends = [];
  #gateways = [];
  #upstreams = [];

  onEnd(fn) { this.#ends.push(fn); }

  upstream = async (options) => {
    const up = await Upstream.listen(options);
    this.#upstreams.push(up);
    return up;
  };

  // A gateway; `what` is a whole file's text, { path }, or the members that file() takes.
  gateway = async (what = {}, options) => {
    const g = await Gateway.start(typeof what === "string" || what.path ? what : file(what), options);
    this.#gateways.push(g);
    return g;
  };

  // Both, joined.
  pair = async (members = {}, options) => {
    const up = await this.upstream();
    const g = await this.gateway({ upstream: up.url, ...members }, options);
    return { up, g };
  };

  explain() { return this.#gateways.map((g) => `--- the gateway's log ends with\n${g.tail()}`).join("\n"); }

  async strike(failed) {
    let first = null;
    for (const up of this.#upstreams) if (up.failed) first ??= up.failed;
    for (const g of this.#gateways) {
      if (failed) {
        g.abandon();
        continue;
      }
      await g.stop().catch((e) => {
        first ??= e;
        g.abandon();
      });
    }
    for (const up of this.#upstreams) up.close();
    for (const fn of this.#ends.reverse()) await fn();
    if (first && !failed) throw first;
  }
}

export function play(name, body, { minutes = 1 } = {}) {
  test(name, async () => {
    const stage = new Stage();
    let failed = true;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("the play did not end")), minutes * 60_000);
    });
    try {
      await Promise.race([body(stage), late]);
      failed = false;
    } catch (e) {
      e.message += `\n${stage.explain()}`;
      throw e;
    } finally {
      clearTimeout(timer);
      await stage.strike(failed);
    }
  });
}
