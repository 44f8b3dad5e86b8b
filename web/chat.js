// A conversation over /v1/chat/completions. It lives in this page only: a reload forgets it. What is sent along with a message are the whole exchanges before
// it; an answer that failed or was stopped is shown with a note that says so, and is never sent along as if it were one.
import { rendered } from "./markdown.js";
import { events } from "./sse.mjs";
import { LIMIT, WORDS, attend, count, plural, seconds, teller, tooMany, trim } from "./words.js";

const ENDPOINT = new URL("v1/chat/completions", document.baseURI);      // wherever a proxy has put the page
const MODEL = "answerer";
const MOST = { messages: 40, characters: 22000 };                   // before the new one, within what the gateway takes

const $ = (id) => document.getElementById(id);
const form = $("chat-form"), field = $("message"), sendButton = $("send"), stopButton = $("chat-stop"), newButton = $("chat-new");
const turns = $("turns"), empty = $("chat-empty"), tell = teller($("chat-status"));

let conversation = [];                   // whole exchanges: { role, content } of the user, of the model, of the user ...
let run = null;                          // the answer that streams

class Told extends Error {}              // its message is a sentence for the reader

// ---- what is sent along

// The latest exchanges that the gateway takes; older ones stay on the page.
function remembered() {
  let from = conversation.length, size = 0;
  while (from > 0 && conversation.length - from < MOST.messages) {
    const more = count(conversation[from - 1].content) + count(conversation[from - 2].content);
    if (size + more > MOST.characters) break;
    size += more;
    from -= 2;
  }
  return conversation.slice(from);
}

// ---- the page

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function addTurn(who, className) {
  const turn = element("li", `turn ${className}`);
  turn.append(element("p", "who", who));
  turns.append(turn);
  return turn;
}

function addQuestion(text) {
  const turn = addTurn("You", "user");
  turn.append(element("p", "said", text));
  return turn;
}

function addAnswer() {
  const turn = addTurn("Model", "model");
  const thought = element("details", "thought");
  thought.hidden = true;
  thought.append(element("summary", "", "Reasoning"), element("div", "prose"));
  const prose = element("div", "prose");
  turn.append(thought, prose);
  return { turn, thought, prose };
}

const atBottom = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
const toBottom = () => scrollTo({ top: document.documentElement.scrollHeight });

function draw(r) {
  r.stale = false;
  const follow = atBottom();
  if (r.reasoning !== "") {
    r.thought.hidden = false;
    r.thought.lastChild.replaceChildren(rendered(r.reasoning));
  }
  r.prose.replaceChildren(rendered(r.text));
  if (follow) toBottom();
}

function changed(r) {
  if (r.stale) return;
  r.stale = true;
  requestAnimationFrame(() => { if (r.stale) draw(r); });
}

// A note under an answer. An answer that is none, or half of one, may be asked for once more.
function note(r, text, { bad = false, again = bad } = {}) {
  const line = element("p", bad ? "note bad" : "note", text);
  if (bad) line.setAttribute("role", "alert");
  if (again) {
    const button = element("button", "", "Try again");
    button.type = "button";
    button.addEventListener("click", () => retry(r));
    line.append(" ", button);
  }
  r.turn.append(line);
  if (run === null || run === r) toBottom();
}

function busy(is) {
  turns.setAttribute("aria-busy", String(is));
  sendButton.disabled = is;
  stopButton.disabled = !is;
  newButton.disabled = is || turns.childElementCount === 0;
  empty.hidden = turns.childElementCount > 0;
  for (const button of turns.querySelectorAll("button")) button.disabled = is;
}

// ---- one exchange

// What a status says that is no stream.
async function refusal(response) {
  if (response.status === 429) return tooMany(response.headers.get("Retry-After"));
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  return WORDS[error.code] ?? (typeof error.message === "string" ? error.message : `The gateway refused the message (status ${response.status}).`);
}

function take(r, message) {
  if (message.error !== undefined) {
    const error = message.error ?? {};
    throw new Told(WORDS[error.code] ?? (typeof error.message === "string" ? error.message : "The model failed."));
  }
  const choice = message.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  const text = (delta.content ?? "") + (delta.refusal ?? ""), thought = delta.reasoning_content ?? "";
  if (delta.tool_calls) r.tools = true;
  if (choice.finish_reason) r.finish = choice.finish_reason;
  if (text === "" && thought === "") return;
  r.first ??= performance.now();
  r.tokens += 1;
  r.text += text;
  r.reasoning += thought;
  tell(`answering, ${plural(r.tokens)}`, true, r.tokens > 1);
  changed(r);
}

// Resolves when the whole answer is there; throws otherwise.
async function listen(r) {
  const response = await fetch(ENDPOINT, {
    method: "POST", headers: { "Content-Type": "application/json" }, cache: "no-store", credentials: "same-origin", signal: r.abort.signal,
    body: JSON.stringify({ model: MODEL, stream: true, messages: [...remembered(), { role: "user", content: r.question }] }),
  });
  if (!response.ok) throw new Told(await refusal(response));
  r.opened = true;
  for await (const { data } of events(response.body)) {
    if (data === "[DONE]") return;
    take(r, JSON.parse(data));
  }
  throw new Error("the stream has no end mark");
}

const CUT = { length: "The answer ends here: it reached its greatest length.", content_filter: "A policy ended the answer here." };

function whole(r) {
  conversation.push({ role: "user", content: r.question }, { role: "assistant", content: r.text });
  if (CUT[r.finish]) note(r, CUT[r.finish]);
  else if (r.tools) note(r, "The model asked for a tool, which this page has not.");
  const first = r.first === null ? "" : `, first after ${seconds(r.first - r.began)}`;
  return `done: ${plural(r.tokens)} in ${seconds(performance.now() - r.began)}${first}`;
}

function broken(r, error) {
  const part = r.tokens > 0 ? " The answer is incomplete." : "", kept = " It is not sent along with what follows.";
  if (r.abort.signal.aborted) {
    note(r, `Stopped after ${plural(r.tokens)}.${r.tokens > 0 ? kept : ""}`, { again: true });
    return `stopped after ${plural(r.tokens)}`;
  }
  if (error instanceof Told) note(r, error.message + (r.opened ? part : ""), { bad: true });
  else if (r.opened) note(r, `The connection broke after ${plural(r.tokens)}.${part}`, { bad: true });
  else note(r, "The gateway cannot be reached. Is it running, and are you online?", { bad: true });
  return r.opened ? `ended after ${plural(r.tokens)}` : "not answered";
}

async function exchange(question, asked) {
  const r = { question, asked, ...addAnswer(), text: "", reasoning: "", tokens: 0, began: performance.now(), first: null, opened: false, stale: false, abort: new AbortController() };
  run = r;
  busy(true);
  tell("connecting", true);
  toBottom();
  let status;
  try {
    await listen(r);
    draw(r);
    status = r.text === "" && !r.tools ? broken(r, new Told("The model gave no answer.")) : whole(r);
  } catch (error) {
    draw(r);
    status = broken(r, error);
  }
  run = null;
  busy(false);
  tell(status);
}

function send() {
  const question = trim(field.value);
  if (run) return;
  if (question === "" || count(question) > LIMIT) {
    tell(question === "" ? "Please type a message first." : `The message is too long: at most ${LIMIT} characters.`);
    field.focus();
    return;
  }
  field.value = "";
  showCount();
  exchange(question, addQuestion(question));
}

// The failed answer gives way to a new one. Its question moves to the end: what was said meanwhile came before it.
function retry(r) {
  if (run) return;
  r.turn.remove();
  turns.append(r.asked);
  exchange(r.question, r.asked);
  field.focus();
}

function stop() {
  run?.abort.abort();
  field.focus();
}

function startAnew() {
  if (run) return;
  conversation = [];
  turns.replaceChildren();
  busy(false);
  tell("");
  field.focus();
}

const showCount = attend(field, $("chat-counter"), send);
form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
stopButton.addEventListener("click", stop);
newButton.addEventListener("click", startAnew);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && run) stop(); });
