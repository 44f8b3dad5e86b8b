// One question, one EventSource, one answer. The browser would re-run the question when a connection breaks; we never let it.
import { marked } from "./vendor/marked.esm.js";
import DOMPurify from "./vendor/purify.es.mjs";

const LIMIT = 1000; // code points, as the gateway counts them
const $ = (id) => document.getElementById(id);
const form = $("form"), question = $("question"), askButton = $("ask"), stopButton = $("stop");
const statusLine = $("status"), errorLine = $("error"), answer = $("answer"), counter = $("counter"), copyButton = $("copy");

const WORDS = {
  query_required: "Please type a question first.",
  query_too_long: `The question is too long: at most ${LIMIT} characters.`,
  bad_query: "The question holds characters that could not be read.",
  shutting_down: "The gateway is restarting. Ask again in a moment.",
};

let run = null; // { source, text, tokens, began, first } of the answer that streams

const plural = (n) => `${n} token${n === 1 ? "" : "s"}`;
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

// Go's strings.TrimSpace, as the gateway trims: U+FEFF stays, U+0085 goes.
const trim = (text) => text.replace(/^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+|[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/g, "");
const count = (text) => Array.from(text).length;

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A" && node.hasAttribute("href")) {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

function render() {
  if (!run || !run.stale) return;
  run.stale = false;
  const html = marked.parse(run.text, { async: false, gfm: true });
  answer.replaceChildren(DOMPurify.sanitize(html, { RETURN_DOM_FRAGMENT: true, FORBID_TAGS: ["style", "form", "input", "button", "img", "svg", "math"], FORBID_ATTR: ["style", "id", "class"] }));
}

function changed() {
  if (run.stale) return;
  run.stale = true;
  requestAnimationFrame(render);
}

// A running count is for the eye only: a screen reader is told when something begins or ends.
function tell(text, live = false, counting = false) {
  statusLine.setAttribute("aria-live", counting ? "off" : "polite");
  statusLine.textContent = text;
  statusLine.classList.toggle("live", live);
}

function fail(sentence) {
  errorLine.textContent = sentence;
}

// The answer is over, however: nothing streams any more.
function close(status) {
  run.source.close();
  render();
  copyButton.hidden = run.text === "";
  answer.setAttribute("aria-busy", "false");
  tell(status);
  run = null;
  askButton.disabled = false;
  stopButton.disabled = true;
}

function onMessage(event) {
  if (event.data === "[DONE]") {
    const now = performance.now();
    const first = run.first === null ? "" : `, first after ${seconds(run.first - run.began)}`;
    close(`done: ${plural(run.tokens)} in ${seconds(now - run.began)}${first}`);
    return;
  }
  const message = JSON.parse(event.data);
  if (message.error !== undefined) {
    const part = run.tokens > 0 ? " The answer is incomplete." : "";
    fail(WORDS[message.code] ?? message.error + part);
    close(`ended after ${plural(run.tokens)}`);
    return;
  }
  if (run.first === null) run.first = performance.now();
  run.tokens += 1;
  run.text += message.token;
  tell(`answering, ${plural(run.tokens)}`, true, run.tokens > 1);
  changed();
}

// EventSource cannot read an error answer. HEAD runs the gateway's checks again, but never the model.
async function explain(url) {
  let head;
  try {
    head = await fetch(url, { method: "HEAD", cache: "no-store" });
  } catch {
    return "The gateway cannot be reached. Is it running, and are you online?";
  }
  if (head.status === 429) {
    const wait = head.headers.get("Retry-After");
    return `Too many questions in a short time.${wait ? ` Try again in ${wait} seconds.` : " Try again later."}`;
  }
  if (head.ok) return "The gateway could not get an answer from the model. Ask again to retry.";
  return WORDS[head.headers.get("X-Sluice-Error")] ?? `The gateway refused the question (status ${head.status}).`;
}

async function onBroken(url) {
  const broken = run;
  const opened = broken.opened;
  close(opened ? `broken after ${plural(broken.tokens)}` : "not answered");
  if (opened) fail(`The connection broke after ${plural(broken.tokens)}. ${broken.tokens > 0 ? "The answer is incomplete. " : ""}Ask again to retry.`);
  else fail(await explain(url));
}

function ask() {
  const q = trim(question.value);
  if (run) return;
  fail("");
  if (q === "" || count(q) > LIMIT) {
    tell("");
    fail(q === "" ? WORDS.query_required : WORDS.query_too_long);
    question.focus();
    return;
  }
  const url = `/api/stream?q=${encodeURIComponent(q)}`;
  answer.replaceChildren();
  copyButton.hidden = true;
  answer.setAttribute("aria-busy", "true");
  run = { source: new EventSource(url), text: "", tokens: 0, began: performance.now(), first: null, opened: false, stale: false };
  run.source.onopen = () => { run.opened = true; };
  run.source.onmessage = onMessage;
  run.source.onerror = () => { if (run) onBroken(url); };
  askButton.disabled = true;
  stopButton.disabled = false;
  tell("connecting", true);
}

function stop() {
  if (run) close(`stopped after ${plural(run.tokens)}`);
  question.focus();
}

function showCount() {
  const n = count(trim(question.value));
  counter.textContent = n > LIMIT * 0.8 ? `${n} of ${LIMIT} characters` : "";
  counter.classList.toggle("over", n > LIMIT);
}

form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
stopButton.addEventListener("click", stop);
question.addEventListener("input", showCount);
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && run) stop(); });
// Pages that came over plain HTTP from another machine have no clipboard: then the answer is selected for the reader to copy.
copyButton.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(answer.innerText);
    tell("copied");
  } catch {
    getSelection().selectAllChildren(answer);
    tell("selected: copy it with Ctrl+C");
  }
});
