// Reads what others change: first pages, then the stream. There is one cursor for all tables, and
// it moves in the transaction that keeps what came before it.
/** @import { Change, Environment } from "./types.js" */
/** @import { News, Replica } from "./replica.js" */
/** @import { Seat, SharedStream } from "./shared.js" */
/** @import { Transport } from "./http.js" */
import { SyncError } from "./errors.js";
import { timed } from "./http.js";
import { eventParser } from "./sse.js";

/** Milliseconds without a byte after which a stream is given up; a heartbeat comes every 30 s. */
const SILENCE = 75_000;

export class Reader {
  #app;
  #tables;
  #path;
  #collections;
  #parts;

  /**
   * @param {{ app: string, tables: string[] }} options
   * @param {{ replica: Replica, transport: Transport, environment: Environment, echoes?: Set<string>,
   *   took: (news: News) => Promise<void> }} parts
   */
  constructor({ app, tables }, parts) {
    this.#app = app;
    this.#tables = tables;
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
    const { cursor } = await this.#parts.replica.meta();
    return follow(this.#parts, `${this.#path}/stream?${this.#query(cursor)}`, signal, async (event, data) => {
      opened();
      const { changes, syncedUntil, spaces } = JSON.parse(data);
      if (event === "changes") await this.#parts.took({ changes, cursor: syncedUntil });
      if (event === "spaces") await this.#parts.took({ spaces });
    });
  }

  /**
   * Follows the stream that clients share, until the signal; fails where this client can't go on.
   * @param {SharedStream} stream
   * @param {AbortSignal} signal
   * @param {Pick<Seat, "opening" | "opened" | "failed">} says
   */
  async share(stream, signal, says) {
    const { replica, took, echoes } = this.#parts;
    const { cursor } = await replica.meta();
    // The pages had them all, but for pushes under way.
    echoes?.clear();
    const wants = (/** @type {string} */ table, /** @type {Change[]} */ changes) =>
      this.#tables.includes(table) ? changes.filter(({ eventId }) => !echoes?.delete(eventId)) : [];
    await stream.follow({ app: this.#app, cursor, wants, take: took, ...says }, signal);
  }
}

/**
 * Follows a stream until the server ends it; gives the milliseconds to wait before the next.
 * @param {{ transport: Transport, environment: Environment }} parts
 * @param {string} path
 * @param {AbortSignal} signal
 * @param {(event: string, data: string) => Promise<void>} take gets what is not for the stream itself
 */
export async function follow({ transport, environment }, path, signal, take) {
  const silence = timed(environment, signal, SILENCE);
  try {
    const response = await transport.request(path, { signal: silence.signal });
    for await (const { event, data, retry } of eventsOf(response, silence)) {
      if (event === "expired") {
        transport.token.expire();
        return 0;
      }
      if (event === "reconnect") {
        transport.rotate();
        return retry ?? 0;
      }
      await take(event, data);
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
