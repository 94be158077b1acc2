// Events of a `text/event-stream`, from chunks that are cut anywhere.

/**
 * A parser: each call takes the next piece of text, and gives the events that it completes.
 * @returns {(text: string) => { event: string, data: string, retry?: number }[]}
 */
export function eventParser() {
  let rest = "";
  let event = "", /** @type {string[]} */ data = [], /** @type {number | undefined} */ retry;

  /** @param {string} line */
  function take(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") event = value;
    else if (name === "data") data.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) retry = Number(value);
  }

  return (text) => {
    /** @type {{ event: string, data: string, retry?: number }[]} */
    const events = [];
    rest += text;
    if (!/[\r\n]/.test(text)) return events;
    // A CR at the end may be half of a line end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line) take(line);
      else {
        if (data.length || event) events.push({ event: event || "message", data: data.join("\n"), retry });
        event = "", data = [], retry = undefined;
      }
    }
    return events;
  };
}
