// Empties the queue. A change stays in it, under its event id, until a node has said that it is
// stored; the server counts an id once, so that nothing is lost by a crash, nor stored twice.
/** @import { Change, Events } from "./types.js" */
/** @import { Replica } from "./replica.js" */
/** @import { Transport } from "./http.js" */
import { isRefused } from "./errors.js";
import { NEVER } from "./time.js";

/** Characters of a push: in UTF-8 they stay below the server's 10 MB. */
const CHARACTERS = 3_000_000;

export class Pusher {
  #path;
  #batch;
  #limit;
  #parts;

  /**
   * @param {{ app: string, batch?: number }} options
   * @param {{ replica: Replica, transport: Transport, echoes?: Set<string>,
   *   emit: <E extends keyof Events>(event: E, detail: Events[E]) => void }} parts
   */
  constructor({ app, batch = 500 }, parts) {
    this.#path = `/sync/${encodeURIComponent(app)}`;
    this.#limit = this.#batch = batch;
    this.#parts = parts;
  }

  /**
   * Pushes until the queue is empty; how many changes left it.
   * @param {AbortSignal} signal
   */
  async flush(signal) {
    let left = 0;
    for (;;) {
      const changes = fitting(await this.#parts.replica.queued(this.#limit));
      if (!changes.length || signal.aborted) return left;
      left += await this.#push(changes, signal);
    }
  }

  /**
   * @param {Change[]} changes
   * @param {AbortSignal} signal
   */
  async #push(changes, signal) {
    const { replica, transport, echoes, emit } = this.#parts;
    for (const { eventId } of changes) echoes?.add(eventId);
    // What others changed comes by the reader alone, so that there is one line of cursors.
    const body = JSON.stringify({ clientId: transport.clientId, since: NEVER, schemaVersion: 1, changes });
    try {
      const answer = await transport.json(this.#path, { method: "POST", body, signal });
      await replica.dequeue(changes.map(({ eventId }) => eventId));
      this.#limit = this.#batch;
      if (answer.unpublished?.length) emit("unpublished", answer.unpublished);
      return changes.length;
    } catch (error) {
      if (!isRefused(error)) throw error;
      // One bad change has all of them refused: halve, until it stands alone.
      this.#limit = Math.ceil(changes.length / 2);
      if (changes.length > 1) return 0;
      const [change] = changes;
      await replica.dequeue([change.eventId]);
      emit("rejected", { change, error: /** @type {any} */ (error) });
      return 1;
    }
  }
}

/**
 * As many as go into one push, at least one.
 * @param {Change[]} changes
 */
function fitting(changes) {
  let size = 0;
  const end = changes.findIndex((change, at) => (size += JSON.stringify(change).length) > CHARACTERS && at > 0);
  return end < 0 ? changes : changes.slice(0, end);
}
