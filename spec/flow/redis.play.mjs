// Redis over the wire, against a server that the play writes: how connections begin, are shared and end, and what happens when the other side is wrong.
// (spec/e2e/redis.play.mjs has the real one.)
import assert from "node:assert/strict";
import net from "node:net";
import { KEY, News, play } from "./play.mjs";

// The words of the commands at the beginning of `bytes`, and what is left.
function commands(bytes) {
  const found = [];
  let at = 0;
  const line = () => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return null;
    const text = bytes.slice(at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const begin = at;
    const words = [];
    for (let n = Number(line()?.slice(1) ?? -1); n > 0; n--) {
      const len = line();
      if (len === null || bytes.length < at + Number(len.slice(1)) + 2) return { found, rest: bytes.slice(begin) };
      words.push(bytes.slice(at, at + Number(len.slice(1))));
      at += Number(len.slice(1)) + 2;
    }
    if (!words.length) return { found, rest: bytes.slice(begin) };
    found.push(words);
  }
}

// Answers each command with what `auto(words)` returns; without it the play answers.
class Server {
  news = new News();
  asked = [];
  sockets = [];
  most = 0;

  static async start(stage, auto) {
    const s = new Server();
    s.auto = auto;
    s.server = net.createServer((socket) => {
      let rest = "";
      s.sockets.push(socket);
      s.most = Math.max(s.most, s.open);
      socket.on("data", (d) => {
        const got = commands(rest + d.toString("latin1"));
        rest = got.rest;
        for (const words of got.found) {
          s.asked.push({ words, socket });
          const reply = s.auto?.(words, socket);
          if (reply !== undefined) socket.write(reply, "latin1");
        }
        s.news.tell();
      });
      socket.on("error", () => {});
      socket.on("close", () => s.news.tell());
      s.news.tell();
    });
    await new Promise((r) => s.server.listen(0, "127.0.0.1", r));
    s.port = s.server.address().port;
    stage.onEnd(() => { for (const socket of s.sockets) socket.destroy(); s.server.close(); });
    return s;
  }

  get open() { return this.sockets.filter((x) => !x.destroyed && !x.readableEnded).length; }
  words() { return this.asked.map((a) => a.words.join(" ")); }
  ask(n) { return this.news.until(() => this.asked[n - 1], `command ${n}`); }
}

const members = (s, { service = "", lua } = {}) => ({
  top: `services = { shared = { url = "redis://127.0.0.1:${s.port}", ${service} } },`,
  code: `local r = sluice.redis "shared"\nlocal P = sluice.policy { name = "p" }
  ${lua ?? `function P.validate(req)
    local v, err = r:get(req.query.q)
    return sluice.reply(err and err.kind .. ": " .. tostring(err) or type(v) == "string" and #v > 100 and #v .. " bytes" or sluice.json.encode(v == nil and "nothing" or v))
  end`}`,
  policies: "P",
});

const said = async (g, q = "a") => (await (await g.ask(q)).all()).text;

play("a connection begins with who we are and which database, once; then it serves one command after another", async (stage) => {
  const s = await Server.start(stage, (words) => (words[0] === "GET" ? "$5\r\nhello\r\n" : "+OK\r\n"));
  const m = members(s, { service: 'auth = sluice.secret "LLM_API_KEY", user = "gateway"' });
  const { g } = await stage.pair({ ...m, top: m.top.replace(`:${s.port}"`, `:${s.port}/7"`) });
  for (let i = 0; i < 3; i++) assert.equal(await said(g), '"hello"');
  assert.deepEqual(s.words(), [`AUTH gateway ${KEY}`, "SELECT 7", "GET a", "GET a", "GET a"]);
  assert.equal(s.sockets.length, 1);
});

for (const [refuses, why] of [["AUTH", "WRONGPASS no"], ["SELECT", "ERR DB index is out of range"]])
  play(`a server that refuses ${refuses} is not asked for anything`, async (stage) => {
    const s = await Server.start(stage, (words) => (words[0] === refuses ? `-${why}\r\n` : "+OK\r\n"));
    const m = members(s, { service: 'auth = sluice.secret "LLM_API_KEY"' });
    const { g } = await stage.pair({ ...m, top: m.top.replace(`:${s.port}"`, `:${s.port}/99"`) });
    assert.equal(await said(g), `connect: service "shared": connect: it does not let us in: ${why}`);
    assert.ok(!s.words().includes("GET a"));
    await s.news.until(() => s.open === 0, "the connection to be closed");
  });

for (const [name, reply, kind] of [
  ["speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"],
  ["answers twice", "+OK\r\n+OK\r\n", "protocol"],
  ["nests lists without end", "*1\r\n".repeat(20), "protocol"],
  ["promises a value larger than any", "$9999999999999\r\n", "protocol"],
  ["sends more than max_body", `$2000000\r\n${"x".repeat(2000000)}\r\n`, "too_large"],
  ["sends a list of more than max_body", `*1000000\r\n${":1\r\n".repeat(400000)}`, "too_large"],
])
  play(`a server that ${name}: nil and an error of the kind ${kind}, its connection is closed, the next is a new one`, async (stage) => {
    const s = await Server.start(stage, (words) => (words[1] === "bad" ? reply : "$2\r\nok\r\n"));
    const { g } = await stage.pair(members(s));
    const text = await said(g, "bad");
    assert.ok(text.startsWith(`${kind}: service "shared": ${kind}`), text);
    assert.equal(await said(g), '"ok"');
    await s.news.until(() => s.open === 1, "the first connection to be closed");
  });

play("a list that promises millions and brings none costs nothing but its time", async (stage) => {
  const s = await Server.start(stage, () => "*2000000000\r\n:1\r\n");
  const { g } = await stage.pair(members(s, { service: 'timeout = "200ms"' }));
  assert.match(await said(g), /^timeout: /);
});

play("a large value comes whole, in whatever pieces", async (stage) => {
  const s = await Server.start(stage, (words, socket) => {
    const bytes = `$900000\r\n${"y".repeat(900000)}\r\n`;
    for (let at = 0; at < bytes.length; at += 7919) socket.write(bytes.slice(at, at + 7919));
  });
  const { g } = await stage.pair(members(s));
  assert.equal(await said(g), "900000 bytes");
});

play("what nobody asked for on an idle connection closes it, nothing else", async (stage) => {
  const s = await Server.start(stage, () => "$2\r\nok\r\n");
  const { g } = await stage.pair(members(s));
  assert.equal(await said(g), '"ok"');
  s.sockets[0].write("$4\r\nlate\r\n");
  await s.news.until(() => s.open === 0, "the gateway to close it");
  assert.equal(await said(g), '"ok"');
  s.sockets[1].end();                                                     // a server that says goodbye while idle
  await s.news.until(() => s.sockets[1].destroyed, "the gateway to close it too");
  assert.equal(await said(g), '"ok"');
});

play("a connection that breaks in the middle: broken; nothing is sent twice", async (stage) => {
  const s = await Server.start(stage, (words, socket) => {
    if (words[1] !== "break") return "$2\r\nok\r\n";
    socket.write("$10\r\nhal");
    socket.end();
  });
  const { g } = await stage.pair(members(s));
  assert.equal(await said(g), '"ok"');
  assert.match(await said(g, "break"), /^broken: service "shared": broken: it closed the connection/);
  assert.deepEqual(s.words(), ["GET a", "GET break"]);
});

play("at most max_parallel connections; the others wait for their turn", async (stage) => {
  const s = await Server.start(stage);
  const { g } = await stage.pair(members(s, { service: 'max_parallel = 2, timeout = "20s"' }));
  const answers = [];
  for (let i = 0; i < 6; i++) answers.push(await g.ask(`k${i}`));
  for (let n = 1; n <= 6; n++) {
    const { words, socket } = await s.ask(n);
    socket.write(`$2\r\n${words[1]}\r\n`);
  }
  for (let i = 0; i < 6; i++) assert.equal((await answers[i].all()).text, `"k${i}"`);
  assert.equal(s.most, 2);
});

play("a client that leaves takes its command along, and its connection: a late reply is nobody else's", async (stage) => {
  const s = await Server.start(stage);
  const { g } = await stage.pair(members(s, { service: 'timeout = "20s"' }));
  const a = await g.ask("first");
  await s.ask(1);
  a.client.close();
  await s.news.until(() => s.open === 0, "the gateway to close the connection");
  const b = await g.ask("second");
  const { words, socket } = await s.ask(2);
  assert.deepEqual(words, ["GET", "second"]);
  socket.write("$1\r\n2\r\n");
  assert.equal((await b.all()).text, '"2"');
});

play("init asks too, on connections of its own, which it leaves closed", async (stage) => {
  const s = await Server.start(stage, (words) => (words[0] === "GET" ? "$2\r\nok\r\n" : ":1\r\n"));
  const { g } = await stage.pair(members(s, { lua: `function P.init() assert(r:command("INCR", "starts") == 1) end
  function P.validate(req) return sluice.reply((r:get(req.query.q))) end` }));
  assert.equal(s.words().filter((w) => w === "INCR starts").length, 1);
  assert.equal(await said(g), "ok");
  await s.news.until(() => s.open === 1, "that of init to be closed");
});

play("the gateway ends while a command is on its way", async (stage) => {
  const s = await Server.start(stage);
  const { g } = await stage.pair({ ...members(s, { service: 'timeout = "60s"' }), drain: "100ms" });
  await g.ask("never answered");
  await s.ask(1);
});
