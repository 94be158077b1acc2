// What goes over a device's wire: a `fetch` that notes every request, answer and event, and that
// can be cut off.
import { eventParser } from "./client/sse.js";

/** The most entries that are kept. */
const KEPT = 150;

export class Wire extends EventTarget {
  entries = [];
  #cut = new AbortController();
  #isCut = false;

  /** Cuts the wire, or mends it. */
  cut(isCut) {
    this.#isCut = isCut;
    if (isCut) this.#cut.abort(new TypeError("the wire is cut"));
    else this.#cut = new AbortController();
  }

  /** Notes what went over the wire; `way` is "out", "in" or "fault". */
  #note(entry) {
    const noted = { at: Date.now(), ...entry };
    this.entries.push(noted);
    if (this.entries.length > KEPT) this.entries.shift();
    this.dispatchEvent(new CustomEvent("noted", { detail: noted }));
    return noted;
  }

  fetch = async (url, init) => {
    if (this.#isCut) throw new TypeError("the wire is cut");
    const { origin, pathname, searchParams } = new URL(url, location.href);
    const kind = init.method === "POST" ? "push" : pathname.endsWith("/stream") ? "stream" : "pull";
    const sent = init.body ? JSON.parse(init.body) : Object.fromEntries(searchParams);
    const request = this.#note({ way: "out", kind, node: origin, body: sent, line: `${init.method ?? "GET"} ${pathname}` });
    const begun = performance.now();
    const signal = both(init.signal, this.#cut.signal);
    try {
      const answer = await fetch(url, { ...init, signal });
      const head = { kind, node: origin, status: answer.status, request };
      if (kind === "stream" && answer.ok) {
        this.#note({ ...head, way: "in", line: "the stream is open", ms: performance.now() - begun });
        return followed(answer, (event) => this.#event(event, origin), () => this.#note({ ...head, way: "fault", line: "the stream ended" }));
      }
      const text = await answer.text();
      this.#note({ ...head, way: answer.ok ? "in" : "fault", body: parsed(text), ms: performance.now() - begun });
      return new Response(text, { status: answer.status, headers: answer.headers });
    } catch (error) {
      if (error?.name !== "AbortError") this.#note({ way: "fault", kind, node: origin, request, line: `no answer: ${error.message}` });
      throw error;
    }
  };

  #event({ event, data }, node) {
    this.#note({ way: "in", kind: event, node, body: parsed(data) });
  }
}

/** A signal that fires with either of two. */
function both(one, other) {
  const controller = new AbortController();
  for (const signal of [one, other]) {
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true, signal: controller.signal });
  }
  return controller.signal;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The same answer, whose events are looked at before whoever reads it gets them. */
function followed(answer, look, ended) {
  const decoder = new TextDecoder();
  const parse = eventParser();
  const body = answer.body.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      for (const event of parse(decoder.decode(chunk, { stream: true }))) look(event);
      controller.enqueue(chunk);
    },
    flush: ended,
  }));
  return new Response(body, { status: answer.status, headers: answer.headers });
}
