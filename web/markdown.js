// What a model wrote, as a piece of document: markdown, of which nothing becomes live and nothing is loaded.
import { marked } from "./vendor/marked.esm.js";
import DOMPurify from "./vendor/purify.es.mjs";

const RULES = { RETURN_DOM_FRAGMENT: true, FORBID_TAGS: ["style", "form", "input", "button", "img", "svg", "math"], FORBID_ATTR: ["style", "id", "class"] };

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A" && node.hasAttribute("href")) {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

export const rendered = (text) => DOMPurify.sanitize(marked.parse(text, { async: false, gfm: true }), RULES);
