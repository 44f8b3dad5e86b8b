// Waiting without clocks: something tells that it changed, and whoever waits looks again. The only time in here is the patience after
// which a play fails instead of hanging; no play passes or fails by being a little faster or slower.

export const PATIENCE_MS = Number(process.env.FLOW_PATIENCE_MS ?? 30_000);

export class News {
  #waiting = new Set();

  tell() {
    for (const look of [...this.#waiting]) look();
  }

  // The first truthy value of `look()`; looks now and whenever tell() is called. `what` completes the sentence "waited in vain for ...".
  until(look, what, patience = PATIENCE_MS) {
    return new Promise((resolve, reject) => {
      const over = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(again);
        settle(value);
      };
      const again = () => {
        let found;
        try {
          found = look();
        } catch (e) {
          return over(reject, e);
        }
        if (found) over(resolve, found);
      };
      const why = new Error();                               // the stack of the one who waits
      const timer = setTimeout(() => {
        why.message = `waited in vain for ${typeof what === "function" ? what() : what}`;
        over(reject, why);
      }, patience);
      this.#waiting.add(again);
      again();
    });
  }
}

// For the few things that cannot tell (files in /proc): looks again every few milliseconds.
export async function eventually(look, what, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${typeof what === "function" ? what() : what}`);
    await new Promise((r) => setTimeout(r, 5));
  }
}
