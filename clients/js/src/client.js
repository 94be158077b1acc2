// The client: edits go into the queue, one tab empties it and reads what others change.
/** @import { Access, Client, Events, Json, Key, Options, Status } from "./types.js" */
/** @import { News } from "./replica.js" */
/** @import { SharedStream } from "./shared.js" */
/** @import { SyncError } from "./errors.js" */
import { failedStorage } from "./errors.js";
import { environmentWith } from "./environment.js";
import { Transport } from "./http.js";
import { deletion, insertion, rowOf, update } from "./merge.js";
import { Latch, repeat, watch } from "./pace.js";
import { Progress } from "./progress.js";
import { Pusher } from "./push.js";
import { Reader } from "./read.js";
import { Replica } from "./replica.js";
import { lead, openChannel } from "./tabs.js";
import { newEventId } from "./time.js";

/** @typedef {Pick<Options, "app" | "tables" | "storage" | "batch"> & Access & { stream?: SharedStream }} Settings */

/**
 * @param {Options} options
 * @returns {Client<any>}
 */
export function createClient(options) {
  return new SyncClient(/** @type {any} */ ({ ...options.stream?.access, ...options }));
}

class SyncClient {
  /** @type {Status} */
  status = { state: "stopped", leader: false, pending: 0 };
  #options;
  #environment;
  #replica;
  #transport;
  #pusher;
  #reader;
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();
  /** @type {Promise<import("./types.js").Meta> | undefined} */
  #opened;
  /** @type {{ stop: AbortController, channel: ReturnType<typeof openChannel>, ended: Promise<void> } | undefined} */
  #running;
  /** Set by an edit. */
  #edited = new Latch();
  /** What was pushed, until the shared stream brings it back. @type {Set<string> | undefined} */
  #echoes;
  /** The stream under way, or the pages before it. */
  #attempt = new AbortController();

  /** @param {Settings} options */
  constructor(options) {
    const environment = environmentWith(options.environment);
    const replica = new Replica(options.storage, environment);
    const transport = new Transport(options, environment, options.stream?.token);
    const echoes = options.stream && new Set();
    /** @type {<E extends keyof Events>(event: E, detail: Events[E]) => void} */
    const emit = (event, detail) => this.#emit(event, detail);
    const took = (/** @type {News} */ news) => this.#took(news);
    this.#options = options;
    this.#echoes = echoes;
    this.#environment = environment;
    this.#replica = replica;
    this.#transport = transport;
    this.#pusher = new Pusher(options, { replica, transport, echoes, emit });
    this.#reader = new Reader(options, { replica, transport, environment, echoes, took });
  }

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} detail
   */
  #emit(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) {
      // A listener's fault is not the client's.
      try { listener(detail); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }

  async start() {
    const { clientId } = await this.#open();
    if (this.#running) return;
    const stop = new AbortController();
    const name = `mana-sync:${this.#options.app}:${clientId}`;
    const channel = openChannel(name, this.#environment, (message) => this.#hear(message));
    const ended = lead(name, this.#environment, stop.signal, () => this.#lead(stop.signal));
    this.#running = { stop, channel, ended };
    await this.#say({});
    channel.say({ ask: true });
  }

  async stop() {
    const running = this.#running;
    this.#running = undefined;
    running?.stop.abort();
    await running?.ended;
    running?.channel.close();
    await this.#say({ state: "stopped", leader: false });
  }

  async sync() {
    await this.#open();
    const { signal } = new AbortController();
    await this.#pusher.flush(signal);
    await this.#reader.pull(signal);
    await this.#say({});
  }

  /**
   * @param {string} table
   * @param {Record<string, any>} data
   */
  async insert(table, { id = newEventId(this.#environment.now()), ...data }) {
    const values = plain(data);
    await this.#edit([table, id], (record, now) => insertion(record, [table, id], values, now));
    return id;
  }

  /**
   * @param {string} table
   * @param {string} id
   * @param {Record<string, any>} fields
   */
  async update(table, id, fields) {
    const given = Object.entries(fields).map(([name, value]) => [name, value ?? null]);
    const values = plain(Object.fromEntries(given));
    await this.#edit([table, id], (record, now) => update(record, [table, id], values, now));
  }

  /**
   * @param {string} table
   * @param {string} id
   */
  async delete(table, id) {
    await this.#edit([table, id], deletion);
  }

  /**
   * @param {string} table
   * @param {string} id
   * @returns {Promise<any>}
   */
  async get(table, id) {
    return rowOf(await this.#replica.get([table, id]));
  }

  /**
   * @param {string} table
   * @returns {Promise<any[]>}
   */
  async list(table) {
    const records = await this.#replica.list(table);
    return records.map(rowOf).filter((row) => row !== undefined);
  }

  #open() {
    const opening = (this.#opened ??= this.#replica.open(this.#options.tables));
    // What fails once may work the next time.
    opening.catch(() => (this.#opened = undefined));
    return opening.then((meta) => {
      this.#transport.clientId = meta.clientId;
      return meta;
    });
  }

  /**
   * @param {Key} key
   * @param {(record: import("./types.js").StoredRecord | undefined, now: number) => import("./types.js").Change | undefined} make
   */
  async #edit(key, make) {
    await this.#open();
    const made = await this.#replica.edit(key, (record) => make(record, this.#environment.now()));
    if (!made) return;
    this.#edited.set();
    this.#changed([key]);
    this.#running?.channel.say({ edited: true });
    await this.#say({});
  }

  /** @param {Key[]} keys */
  #changed(keys) {
    if (!keys.length) return;
    this.#emit("change", { keys });
    this.#running?.channel.say({ changed: keys });
  }

  /** @param {News} news */
  async #took(news) {
    const taken = this.#replica.apply(news).catch((cause) => Promise.reject(failedStorage(cause)));
    const { keys, lost, isMoved } = await taken;
    // Who joins again is given the own changes too, and needs them.
    if (lost.length) this.#echoes?.clear();
    this.#changed(keys);
    if (isMoved) this.#emit("spaces", { spaces: news.spaces ?? [], lost });
  }

  /** What another tab says. @param {{ changed?: Key[], edited?: boolean, ask?: boolean, status?: Status }} message */
  #hear({ changed, edited, ask, status }) {
    if (changed) this.#emit("change", { keys: changed });
    if (this.status.leader && (edited || ask)) {
      this.#edited.set();
      void this.#say({}, true);
    }
    if (status && !this.status.leader) this.#emit("status", (this.status = { ...status, leader: false }));
  }

  /**
   * Tells of a new status; the leader's is that of all tabs.
   * @param {Partial<Status>} changed
   * @param {boolean} [asked]
   */
  async #say(changed, asked = false) {
    const before = JSON.stringify(this.status);
    this.status = { ...this.status, ...changed };
    // Where that can't be told, something else will fail that is waited for.
    const pending = await this.#replica.pending().catch(() => this.status.pending);
    this.status = { ...this.status, pending };
    const isSame = JSON.stringify(this.status) === before;
    if (!isSame) this.#emit("status", this.status);
    if (this.status.leader && (asked || !isSame)) this.#running?.channel.say({ status: this.status });
  }

  /** What the leader does until it is stopped. @param {AbortSignal} signal */
  async #lead(signal) {
    const environment = this.#environment;
    const [toPush, toRead] = [new Latch(), new Latch()];
    watch(environment, signal, {
      back: () => [toPush, toRead].forEach((latch) => latch.set()),
      gone: (error) => this.#attempt.abort(error),
    });
    const progress = new Progress((stage) => this.#say({ leader: true, ...stage }));
    await progress.opening();
    const { retry } = this.#options;
    const pushFailed = (/** @type {SyncError} */ error) => {
      this.#emit("error", error);
      void progress.pushed(error);
    };
    const readFailed = (/** @type {SyncError} */ error) => {
      this.#emit("error", error);
      void progress.readFailed(error);
    };
    await Promise.all([
      repeat({ environment, retry, signal, failed: pushFailed, network: toPush }, async (reset) => {
        await this.#pusher.flush(signal);
        reset();
        await progress.pushed();
        await this.#edited.wait(environment, signal);
      }),
      repeat({ environment, retry, signal, failed: readFailed, network: toRead }, (reset) => this.#read(signal, reset, progress, readFailed)),
    ]);
  }

  /**
   * Pages, then the stream until it ends.
   * @param {AbortSignal} signal
   * @param {() => void} reset
   * @param {Progress} progress
   * @param {(error: SyncError) => void} failed
   */
  async #read(signal, reset, progress, failed) {
    const attempt = (this.#attempt = new AbortController());
    const end = () => attempt.abort();
    signal.addEventListener("abort", end);
    const opening = () => progress.opening();
    const opened = () => {
      reset();
      void progress.opened();
    };
    try {
      await opening();
      await this.#reader.pull(attempt.signal);
      const { stream } = this.#options;
      // What befalls a shared stream is no matter of this client: it keeps its seat.
      if (stream) return await this.#reader.share(stream, signal, { opening, opened, failed });
      const pause = await this.#reader.follow(attempt.signal, opened);
      await opening();
      await new Latch().wait(this.#environment, signal, pause);
    } finally {
      signal.removeEventListener("abort", end);
    }
  }
}

/**
 * As others will see it: JSON.
 * @param {Record<string, any>} values
 * @returns {Record<string, Json>}
 */
const plain = (values) => JSON.parse(JSON.stringify(values));
