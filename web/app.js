// One question, one EventSource, one answer. The browser would re-run the question when a connection breaks; we never let it.
import { rendered } from "./markdown.js";
import { LIMIT, WORDS, attend, count, plural, seconds, teller, tooMany, trim } from "./words.js";

const $ = (id) => document.getElementById(id);
const form = $("form"), question = $("question"), askButton = $("ask"), stopButton = $("stop");
const tell = teller($("status")), errorLine = $("error"), answer = $("answer"), copyButton = $("copy");

let run = null; // { source, text, tokens, began, first } of the answer that streams

function render() {
  if (!run || !run.stale) return;
  run.stale = false;
  answer.replaceChildren(rendered(run.text));
}

function changed() {
  if (run.stale) return;
  run.stale = true;
  requestAnimationFrame(render);
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
  if (head.status === 429) return tooMany(head.headers.get("Retry-After"));
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
  const url = new URL(`api/stream?q=${encodeURIComponent(q)}`, document.baseURI);      // wherever a proxy has put the page
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

form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
stopButton.addEventListener("click", stop);
attend(question, $("counter"), ask);
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
