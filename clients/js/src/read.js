// Reads what others change: first pages, then the stream. There is one cursor for all tables, and
// it moves in the transaction that keeps what came before it.
/** @import { Environment } from "./types.js" */
/** @import { News, Replica } from "./replica.js" */
/** @import { Transport } from "./http.js" */
import { SyncError } from "./errors.js";
import { timed } from "./http.js";
import { eventParser } from "./sse.js";

/** Milliseconds without a byte after which a stream is given up; a heartbeat comes every 30 s. */
const SILENCE = 75_000;

/** What a stream's events are called. @typedef {"changes" | "spaces" | "heartbeat" | "expired" | "reconnect"} Name */

export class Reader {
  #path;
  #collections;
  #parts;

  /**
   * @param {{ app: string, tables: string[] }} options
   * @param {{ replica: Replica, transport: Transport, environment: Environment,
   *   took: (news: News) => Promise<void> }} parts
   */
  constructor({ app, tables }, parts) {
    this.#path = `/sync/${encodeURIComponent(app)}`;
    this.#collections = tables.map(encodeURIComponent).join(",");
    this.#parts = parts;
  }

  /** @param {string} cursor */
  #query(cursor) {
    return `collections=${this.#collections}&since=${encodeURIComponent(cursor)}`;
  }

  /**
   * Reads pages to the end.
   * @param {AbortSignal} signal
   */
  async pull(signal) {
    let more = true;
    while (more && !signal.aborted) {
      const { cursor } = await this.#parts.replica.meta();
      const page = await this.#parts.transport.json(`${this.#path}/pull?${this.#query(cursor)}`, { signal });
      await this.#parts.took({ changes: page.serverChanges, cursor: page.syncedUntil, spaces: page.spaces });
      more = page.hasMore === true;
    }
  }

  /**
   * Follows the stream until the server ends it; gives the milliseconds to wait before the next.
   * @param {AbortSignal} signal
   * @param {() => void} opened called when the first event has come
   */
  async follow(signal, opened) {
    const { replica, transport, environment } = this.#parts;
    const { cursor } = await replica.meta();
    const silence = timed(environment, signal, SILENCE);
    try {
      const response = await transport.request(`${this.#path}/stream?${this.#query(cursor)}`, { signal: silence.signal });
      for await (const { event, data, retry } of eventsOf(response, silence)) {
        opened();
        const pause = await this.#take(/** @type {Name} */ (event), data, retry);
        if (pause !== undefined) return pause;
      }
    } catch (error) {
      throw transport.failed(error, signal);
    } finally {
      silence.done();
    }
    transport.rotate();
    throw new SyncError("ended", "the stream ended");
  }

  /**
   * @param {Name} event
   * @param {string} data
   * @param {number} [retry]
   */
  async #take(event, data, retry) {
    if (event === "changes") {
      const { changes, syncedUntil } = JSON.parse(data);
      await this.#parts.took({ changes, cursor: syncedUntil });
    } else if (event === "spaces") {
      await this.#parts.took({ spaces: JSON.parse(data).spaces });
    } else if (event === "expired") {
      this.#parts.transport.expire();
      return 0;
    } else if (event === "reconnect") {
      this.#parts.transport.rotate();
      return retry ?? 0;
    }
  }
}

/**
 * @param {Response} response
 * @param {ReturnType<typeof timed>} silence
 */
async function* eventsOf(response, { signal, again }) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  const parse = eventParser();
  const cancel = () => void reader.cancel().catch(() => {});
  // Not every fetch ends a body that is being read.
  signal.addEventListener("abort", cancel);
  try {
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return;
      again();
      yield* parse(decoder.decode(value, { stream: true }));
    }
  } finally {
    cancel();
  }
}
