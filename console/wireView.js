// The log of a device's wire: every request, answer and event, to be opened and read.
import { clockOf, count, h, millis } from "./dom.js";

const KEPT = 150;
const SIGNS = { out: "↑", in: "↓", fault: "✕" };
const WAYS = { out: "sent", in: "received", fault: "failed" };

export class WireView {
  #names;

  /**
   * @param {import("./device.js").Device} device
   * @param {(node: string) => string} names what a node is called
   */
  constructor(device, names) {
    this.#names = names;
    this.list = h("ol.wire", { "aria-label": `What goes over the wire of ${device.title}`, tabIndex: 0 });
    this.element = h("section.log", {}, h("header", {}, h("h3", {}, "Wire"), h("span.count", {}, "click a line to read it")), this.list);
    device.addEventListener("wire", ({ detail }) => this.#add(detail));
  }

  #add(entry) {
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
    const details = h("details", { ontoggle: () => open(details, entry) },
      h("summary", {},
        h("time", {}, clockOf(entry.at)),
        h("span.way", { title: WAYS[entry.way] }, SIGNS[entry.way]),
        h("b", {}, entry.kind),
        h("span.what", {}, summaryOf(entry)),
        h("span.node", { title: entry.node }, this.#names(entry.node).replace("replica ", "r"))));
    const item = h("li", {}, details);
    item.dataset.way = entry.way;
    item.dataset.kind = entry.kind;
    this.list.append(item);
    while (this.list.childElementCount > KEPT) this.list.firstElementChild.remove();
    if (isAtEnd) this.list.scrollTop = this.list.scrollHeight;
  }
}

/** Writes out what was sent, once somebody wants to read it. */
function open(details, entry) {
  if (!details.open || details.childElementCount > 1) return;
  const head = { node: entry.node, ...(entry.status ? { status: entry.status } : {}), ...(entry.ms ? { took: millis(entry.ms) } : {}) };
  const text = entry.body === undefined ? entry.line : JSON.stringify(entry.body, null, 2);
  details.append(
    h("p.head", {}, Object.entries(head).map(([name, value]) => `${name} ${value}`).join(" · ")),
    h("pre", { tabIndex: 0, "aria-label": "The body" }, text ?? ""));
}

function summaryOf({ way, kind, body, status, ms, line }) {
  if (way === "fault") return line ?? `${status} ${body?.error ?? ""}`;
  const took = ms === undefined ? "" : ` in ${millis(ms)}`;
  if (way === "out") return kind === "push" ? listed(body.changes) : `since ${short(body.since)}`;
  if (kind === "push") return `${status}${took}, ≤ ${short(body.syncedUntil)}`;
  if (kind === "pull") return `${status}${took} · ${count(body.serverChanges.length, "change")}${body.hasMore ? ", more" : ""}`;
  if (kind === "stream") return `open${took}`;
  if (kind === "changes") return `${listed(body.changes)} ≤ ${short(body.syncedUntil)}`;
  if (kind === "spaces") return body.spaces.join(", ") || "none";
  return "";
}

function listed(changes) {
  if (changes.length !== 1) return count(changes.length, "change");
  const [{ op, table, data, fields }] = changes;
  const names = Object.keys(fields ?? data ?? {}).filter((name) => name !== "created" && name !== "spaceId");
  return `${op} ${table}${names.length ? ` {${names.join(", ")}}` : ""}`;
}

const short = (cursor) => cursor?.slice(11, 26) ?? "the start";
