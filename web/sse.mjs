// Server-sent events out of text that arrives in pieces, as the HTML standard reads them: a line ends with LF, CR or CRLF, an event with an empty line,
// a comment begins with a colon, and what has no end is no event. `push` takes the next piece of decoded text and returns the events that it completed.
export class Events {
  #line = "";                            // begun and not ended
  #cr = false;                           // the piece before ended with CR: a LF that follows belongs to it
  #first = true;                         // a byte order mark may come
  #data = [];
  #event = "";

  push(text) {
    const events = [];
    if (text === "") return events;
    if (this.#first && text.startsWith("\ufeff")) text = text.slice(1);
    this.#first = false;
    if (this.#cr && text.startsWith("\n")) text = text.slice(1);
    this.#cr = text === "" ? false : text.endsWith("\r");
    const lines = (this.#line + text).split(/\r\n|\r|\n/);
    this.#line = lines.pop();
    for (const line of lines) {
      const event = this.#take(line);
      if (event) events.push(event);
    }
    return events;
  }

  #take(line) {
    if (line === "") return this.#dispatch();
    const at = line.indexOf(":");
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + (line[at + 1] === " " ? 2 : 1));
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    return null;                         // comments, id and retry say nothing to us
  }

  #dispatch() {
    const event = { event: this.#event || "message", data: this.#data.join("\n") };
    const has = this.#data.length > 0;
    this.#data = [];
    this.#event = "";
    return has ? event : null;
  }
}

// The events of a fetch's body, as they come. A character that is cut between two reads stays whole; bytes that are no UTF-8 become U+FFFD.
export async function* events(body) {
  const parser = new Events();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});     // who stops listening closes the connection
  }
}
