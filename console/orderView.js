// The log: all changes in the one order that Postgres gave them, and how far that goes.
import { h, say, stampOf } from "./dom.js";

/** The most changes that are shown. */
const SHOWN = 48;

/** The most that are remembered, so that none is shown twice. */
const KEPT = 5_000;

export class OrderView {
  /** The marks by event id, and the cursor that each came with. @type {Map<string, { element: HTMLElement, cursor: string, isExact: boolean }>} */
  #marks = new Map();
  #total = 0;

  constructor() {
    this.strip = document.getElementById("order");
    this.facts = Object.fromEntries(["clock", "horizon", "seen"].map((name) => [name, document.getElementById(name)]));
  }

  /** Where the log stands. @param {import("./fleet.js").Fleet} fleet */
  show({ replicas }) {
    const running = replicas.find(({ clock }) => clock);
    if (!running) return;
    say(this.facts.clock, stampOf(running.clock));
    say(this.facts.horizon, stampOf(running.horizon));
  }

  /**
   * Changes at their place: an event of a stream ends at the stamp of its last change; the cursor of
   * an answer may lie behind that.
   * @param {import("./client/types.js").Change[]} changes
   * @param {{ cursor: string, isExact: boolean, hueOf: (name?: string) => number | undefined }} from
   */
  add(changes, { cursor, isExact, hueOf }) {
    for (const change of changes) {
      const held = this.#marks.get(change.eventId);
      if (held && (held.isExact || !isExact)) continue;
      if (!held) this.#total += 1;
      const element = held?.element ?? mark(change, hueOf(change.actor?.name));
      this.#marks.set(change.eventId, { element, cursor, isExact });
      element.dataset.cursor = cursor;
      element.title = `${element.dataset.what}, ${isExact ? "" : "at or before "}${stampOf(cursor)}`;
      this.#place(element, cursor);
    }
    while (this.strip.childElementCount > SHOWN) this.strip.firstElementChild.remove();
    while (this.#marks.size > KEPT) this.#marks.delete(this.#marks.keys().next().value);
    say(this.facts.seen, String(this.#total));
  }

  #place(element, cursor) {
    let last = this.strip.lastElementChild;
    while (last && (last === element || last.dataset.cursor > cursor)) last = last.previousElementSibling;
    const next = last ? last.nextElementSibling : this.strip.firstElementChild;
    if (next !== element) this.strip.insertBefore(element, next);
  }
}

const SIGNS = { insert: "+", update: "~", delete: "−" };

function mark({ op, actor, spaceId, data, fields }, hue) {
  const what = data?.title ?? Object.keys(fields ?? {}).join(", ");
  const text = `${op} ${what} by ${actor?.name ?? "somebody"}${spaceId ? ` in ${spaceId}` : ""}`;
  const element = h("li", {}, h("span", { "aria-hidden": "true" }, SIGNS[op]), h("span.hidden", {}, text));
  element.dataset.op = op;
  element.dataset.what = text;
  if (hue === undefined) element.classList.add("strange");
  else element.style.setProperty("--hue", hue);
  return element;
}
