// Two ways of asking, one shown at a time: tabs as screen readers know them (arrow keys choose). The address remembers which: #chat.
const tabs = [...document.querySelectorAll("[role=tab]")];
const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

function choose(tab, focus) {
  for (const t of tabs) {
    t.setAttribute("aria-selected", String(t === tab));
    t.tabIndex = t === tab ? 0 : -1;
    panel(t).hidden = t !== tab;
  }
  if (focus) panel(tab).querySelector("textarea").focus();
}

function follow(focus) {
  choose(tabs.find((t) => location.hash === t.dataset.hash) ?? tabs[0], focus);
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => { location.hash = tab.dataset.hash; });
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    choose(next, false);
    next.focus();
    history.replaceState(null, "", next.dataset.hash);
  });
}
addEventListener("hashchange", () => follow(true));
follow(true);
