// The page's reader of server-sent events, fed by hand: whatever the cuts, the same events.
import assert from "node:assert/strict";
import test from "node:test";
import { Events, events } from "../../web/sse.mjs";

const read = (pieces) => {
  const parser = new Events();
  return pieces.flatMap((p) => parser.push(p));
};
const data = (pieces) => read(pieces).map((e) => e.data);

const ODD = "\ufeffdata: one\n\n: a comment\n\ndata: two\r\n\r\ndata:three\r\rdata: f\u00f6\u{1F600}\ndata:  our\n\nevent: named\ndata: x\nid: 7\nretry: 1\n\n"
  + "event: forgotten\n\ndata\n\ndata: \n\nnonsense\ndata: last\n: within\n\ndata: no end\n";
const MEANS = [["message", "one"], ["message", "two"], ["message", "three"], ["message", "f\u00f6\u{1F600}\n our"], ["named", "x"], ["message", ""], ["message", ""], ["message", "last"]];

test("lines of every kind, comments, fields that say nothing, an event without an end", () => {
  assert.deepEqual(read([ODD]).map((e) => [e.event, e.data]), MEANS);
});

test("the same wherever the text is cut: in two at each place, and at every place", () => {
  for (let i = 0; i <= ODD.length; i++) assert.deepEqual(read([ODD.slice(0, i), ODD.slice(i)]).map((e) => [e.event, e.data]), MEANS, `cut at ${i}`);
  assert.deepEqual(read([...ODD].flatMap((c) => ["", c, ""])).map((e) => [e.event, e.data]), MEANS);
});

test("CR LF between two pieces is one line end, and an event leaves with the piece that ends it", () => {
  assert.deepEqual(data(["data: a\r", "\n\r", "\ndata: b\r", "\rdata: c\n", "\n"]), ["a", "b", "c"]);
  const parser = new Events();
  assert.deepEqual(parser.push("data: a\n").length, 0);
  assert.deepEqual(parser.push("\n").length, 1);
  assert.deepEqual(new Events().push("data: a\r\r").length, 1, "a CR that may be followed by a LF is an end already");
});

const body = (pieces, onCancel) => {
  let i = 0;
  return new ReadableStream({ pull: (c) => (i < pieces.length ? c.enqueue(pieces[i++]) : c.close()), cancel: onCancel }, { highWaterMark: 0 });
};

test("bytes that are cut within a character", async () => {
  const bytes = new TextEncoder().encode(ODD);
  const got = [];
  for await (const e of events(body([...bytes].map((b) => Uint8Array.of(b))))) got.push([e.event, e.data]);
  assert.deepEqual(got, MEANS);
});

test("who stops listening ends the stream", async () => {
  let canceled = false;
  const stream = body([new TextEncoder().encode("data: a\n\n"), new TextEncoder().encode("data: b\n\n")], () => { canceled = true; });
  for await (const e of events(stream)) {
    assert.equal(e.data, "a");
    break;
  }
  assert.equal(canceled, true);
});
