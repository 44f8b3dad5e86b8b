// What both ways of asking count and say alike.
export const LIMIT = 1000; // code points of one question, as the gateway counts them

export const WORDS = {
  query_required: "Please type a question first.",
  query_too_long: `The question is too long: at most ${LIMIT} characters.`,
  bad_query: "The question holds characters that could not be read.",
  shutting_down: "The gateway is restarting. Ask again in a moment.",
};

// Go's strings.TrimSpace, as the gateway trims: U+FEFF stays, U+0085 goes.
export const trim = (text) => text.replace(/^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+|[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/g, "");
export const count = (text) => Array.from(text).length;
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
export const plural = (n) => `${n} token${n === 1 ? "" : "s"}`;
export const tooMany = (wait) => `Too many questions in a short time.${wait ? ` Try again in ${wait} seconds.` : " Try again later."}`;

// A line that says how things stand. A running count is for the eye only: a screen reader is told when something begins or ends.
export function teller(line) {
  return (text, live = false, counting = false) => {
    line.setAttribute("aria-live", counting ? "off" : "polite");
    line.textContent = text;
    line.classList.toggle("live", live);
  };
}

// Enter sends, Shift+Enter is a new line; near the limit the characters are counted.
export function attend(field, counter, send) {
  const show = () => {
    const n = count(trim(field.value));
    counter.textContent = n > LIMIT * 0.8 ? `${n} of ${LIMIT} characters` : "";
    counter.classList.toggle("over", n > LIMIT);
  };
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  return show;
}
