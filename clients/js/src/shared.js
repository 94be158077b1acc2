// One stream for the clients of several apps: a browser has six connections a host over HTTP/1.1.
//
// A client reads its pages, then takes a seat here. A stream serves those who sit when it is
// opened; when one comes or goes it is opened anew, from the least of the cursors. An event's
// cursor is good for all apps, so it moves all seats on, but a seat's storage hears of it only
// with changes of its own, now and then, and when the stream ends.
/** @import { Access, Change } from "./types.js" */
/** @import { SyncError } from "./errors.js" */
/** @import { News } from "./replica.js" */
import { environmentWith } from "./environment.js";
import { failedStorage } from "./errors.js";
import { Token, Transport } from "./http.js";
import { Latch, repeat, watch } from "./pace.js";
import { follow } from "./read.js";

/** Milliseconds before a stream is opened, so that those who come together cost one. */
const GATHER = 50;

/** Milliseconds between two writes of the cursor of an app in which nothing happens. */
const QUIET = 5_000;

/** Milliseconds that a storage may take for an event, while the other clients wait for it. */
const PATIENCE = 10_000;

/**
 * What a client brings with it. Of a table's changes it `wants` some, and keeps what it is to
 * `take` before that is done. All before its cursor has come, and is kept.
 * @typedef {{ app: string, cursor: string, wants: (table: string, changes: Change[]) => Change[],
 *   take: (news: News) => Promise<void>, opening: () => void, opened: () => void,
 *   failed: (error: SyncError) => void }} Seat
 */
/** @typedef {Seat & { kept: string, keptAt: number, left: Latch, error?: unknown }} Taken */

/** @param {Access} access */
export function sharedStream(access) {
  return new SharedStream(access);
}

export class SharedStream {
  #environment;
  #transport;
  /** @type {Set<Taken>} */
  #seats = new Set();
  /** Fires when nobody sits here any more. */
  #empty = new AbortController();
  #attempt = new AbortController();
  #network = new Latch();
  /** Whether the last attempt failed, and the next one is waited for. */
  #isWaiting = false;

  /** @param {Access} access */
  constructor(access) {
    this.access = access;
    this.token = new Token(access.token);
    this.#environment = environmentWith(access.environment);
    // It names no client, since each app has its own: each is given what it pushed itself, too.
    this.#transport = new Transport(access, this.#environment, this.token);
  }

  /**
   * Sits here until the signal. Fails where this client can't go on, or has to ask for its app alone.
   * @param {Seat} client
   * @param {AbortSignal} signal
   */
  async follow(client, signal) {
    const keptAt = this.#environment.now();
    /** @type {Taken} */
    const seat = { ...client, kept: client.cursor, keptAt, left: new Latch() };
    this.#seats.add(seat);
    if (this.#seats.size === 1) this.#begin();
    // Whoever comes has just had an answer.
    if (this.#isWaiting) this.#network.set();
    this.#attempt.abort();
    await seat.left.wait(this.#environment, signal);
    this.#leave(seat);
    if (seat.error) throw seat.error;
    await seat.take({ told: seat.cursor });
  }

  /**
   * @param {Taken} seat
   * @param {unknown} [error]
   */
  #leave(seat, error) {
    if (!this.#seats.delete(seat)) return;
    seat.error = error;
    seat.left.set();
    if (!this.#seats.size) this.#empty.abort();
    this.#attempt.abort();
  }

  #begin() {
    const environment = this.#environment;
    const { signal } = (this.#empty = new AbortController());
    const network = (this.#network = new Latch());
    watch(environment, signal, { back: () => network.set(), gone: (error) => this.#attempt.abort(error) });
    const failed = (/** @type {SyncError} */ error) => this.#failed(error);
    void repeat({ environment, retry: this.access.retry, signal, network, failed }, async (reset) => {
      this.#isWaiting = false;
      const pause = await this.#open(reset);
      if (pause) await new Latch().wait(environment, signal, pause);
    });
  }

  /** @param {SyncError} error */
  #failed(error) {
    this.#isWaiting = true;
    const { status = 0 } = error;
    // One app that is not paid for has all of them refused: each is to ask for itself.
    const isOfOne = status >= 400 && status < 500 && ![401, 408, 429].includes(status);
    for (const seat of this.#seats) {
      if (isOfOne) this.#leave(seat, error);
      else seat.failed(error);
    }
  }

  /**
   * One stream, until it ends, or somebody comes or goes; gives the milliseconds to wait after it.
   * @param {() => void} reset
   */
  async #open(reset) {
    const { signal } = (this.#attempt = new AbortController());
    const environment = this.#environment;
    await new Latch().wait(environment, signal, GATHER);
    const seats = [...this.#seats];
    // Who comes later has missed what this stream told before.
    const here = () => seats.filter((seat) => this.#seats.has(seat));
    let pause = 0;
    try {
      signal.throwIfAborted();
      for (const seat of seats) seat.opening();
      pause = await follow({ transport: this.#transport, environment }, pathOf(seats), signal, async (event, data) => {
        reset();
        for (const seat of here()) seat.opened();
        if (event === "spaces") await this.#giveAll(here(), () => ({ spaces: JSON.parse(data).spaces }));
        if (event === "changes") await this.#tell(here(), JSON.parse(data));
      });
    } catch (error) {
      // An end of our own.
      if (signal.reason?.name !== "AbortError") throw error;
    } finally {
      await this.#giveAll(here(), ({ cursor, kept }) => (cursor > kept ? { told: cursor } : undefined));
    }
    for (const seat of here()) seat.opening();
    return pause;
  }

  /**
   * Cursors are compared as text. A suffix, which only a client's own may have, makes it the later of two.
   * @param {Taken[]} seats
   * @param {{ appId: string, table: string, changes: Change[], syncedUntil: string }} event
   */
  async #tell(seats, { appId, table, changes, syncedUntil: told }) {
    const now = this.#environment.now();
    await this.#giveAll(seats, (seat) => {
      const wanted = seat.app === appId ? seat.wants(table, changes) : [];
      if (wanted.length) return { changes: wanted, told };
      if (now - seat.keptAt >= QUIET && told > seat.kept) return { told };
    });
    for (const seat of seats) if (told > seat.cursor) seat.cursor = told;
  }

  /**
   * Has each keep its news, if there are any. Whose storage fails leaves; the others go on.
   * @param {Taken[]} seats
   * @param {(seat: Taken) => News | undefined} newsOf
   */
  async #giveAll(seats, newsOf) {
    await Promise.all(seats.map(async (seat) => {
      const news = newsOf(seat);
      if (!news) return;
      try {
        await this.#within(seat.take(news));
        if (news.told && news.told > seat.kept) [seat.kept, seat.keptAt] = [news.told, this.#environment.now()];
      } catch (error) {
        this.#leave(seat, error);
      }
    }));
  }

  /**
   * @param {Promise<void>} taking
   * @returns {Promise<void>}
   */
  #within(taking) {
    return new Promise((resolve, reject) => {
      const timer = this.#environment.setTimeout(() => reject(failedStorage("no answer")), PATIENCE);
      taking.then(resolve, reject).finally(() => this.#environment.clearTimeout(timer));
    });
  }
}

/** @param {Taken[]} seats */
function pathOf(seats) {
  const apps = [...new Set(seats.map(({ app }) => encodeURIComponent(app)))];
  const [since] = seats.map(({ cursor }) => cursor).sort();
  return `/stream?apps=${apps}&since=${encodeURIComponent(since)}`;
}
