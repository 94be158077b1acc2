// What is held here: records, the queue of edits, the cursor. Whatever changes together is written
// in one transaction, so that a crash finds all of it or nothing.
/** @import { Change, Environment, Key, Meta, Storage, StoredRecord, Transaction } from "./types.js" */
import { merge } from "./merge.js";
import { START, newEventId } from "./time.js";

/** `cursor` is what a page or an own stream ends at; `told` is what a shared one was told, and may lie before what is held.
 * @typedef {{ changes?: Change[], cursor?: string, told?: string, spaces?: string[] }} News */

export class Replica {
  #storage;
  #environment;

  /**
   * @param {Storage} storage
   * @param {Environment} environment
   */
  constructor(storage, environment) {
    this.#storage = storage;
    this.#environment = environment;
  }

  /**
   * Reads who this is, and makes it up the first time. A table that is new is read from its start,
   * and the others with it, which changes nothing.
   * @param {string[]} tables
   */
  open(tables) {
    return this.#storage.transaction(async (tx) => {
      const held = await tx.meta();
      const clientId = held?.clientId ?? newEventId(this.#environment.now());
      const isNew = !held || tables.some((table) => !held.tables.includes(table));
      const cursor = isNew ? START : held.cursor;
      const meta = { ...held, clientId, tables: [...tables], cursor };
      await tx.setMeta(meta);
      return meta;
    });
  }

  /** @returns {Promise<Meta>} */
  meta() {
    return this.#storage.transaction(async (tx) => /** @type {Meta} */ (await tx.meta()));
  }

  /**
   * Makes a change of a record and queues it; whether there was one to make.
   * @param {Key} key
   * @param {(record: StoredRecord | undefined) => Change | undefined} make
   */
  edit(key, make) {
    return this.#storage.transaction(async (tx) => {
      const [record] = await tx.get([key]);
      const change = make(record);
      if (!change) return false;
      await tx.put([merge(record, change)]);
      await tx.enqueue(change);
      return true;
    });
  }

  /**
   * Takes what the server says, and gives what it touched. The cursor is kept with what came
   * before it.
   * @param {News} news
   */
  apply({ changes = [], cursor, told = "", spaces }) {
    return this.#storage.transaction(async (tx) => {
      const meta = /** @type {Meta} */ (await tx.meta());
      const lost = spaces ? (meta.spaces ?? []).filter((space) => !spaces.includes(space)) : [];
      const isMoved = Boolean(spaces) && String(spaces) !== String(meta.spaces);
      const dropped = await drop(tx, lost);
      const merged = await mergeAll(tx, changes);
      const reached = told > meta.cursor ? told : meta.cursor;
      await tx.setMeta({ ...meta, cursor: cursor ?? reached, spaces: spaces ?? meta.spaces });
      return { keys: [...dropped, ...merged], lost, isMoved };
    });
  }

  /** @param {number} limit */
  queued(limit) {
    return this.#storage.transaction((tx) => tx.queued(limit));
  }

  /** @param {string[]} eventIds */
  dequeue(eventIds) {
    return this.#storage.transaction((tx) => tx.dequeue(eventIds));
  }

  pending() {
    return this.#storage.transaction((tx) => tx.pending());
  }

  /** @param {Key} key */
  get(key) {
    return this.#storage.transaction(async (tx) => (await tx.get([key]))[0]);
  }

  /** @param {string} table */
  list(table) {
    return this.#storage.transaction((tx) => tx.list(table));
  }
}

/**
 * @param {Transaction} tx
 * @param {Change[]} changes
 */
async function mergeAll(tx, changes) {
  /** @type {Map<string, { key: Key, changes: Change[] }>} */
  const touched = new Map();
  for (const change of changes) {
    const key = /** @type {Key} */ ([change.table, change.id]);
    const name = JSON.stringify(key);
    const entry = touched.get(name) ?? { key, changes: [] };
    touched.set(name, entry);
    entry.changes.push(change);
  }
  if (!touched.size) return [];
  const entries = [...touched.values()];
  const keys = entries.map(({ key }) => key);
  const held = await tx.get(keys);
  const merged = entries.map((entry, at) => entry.changes.reduce(merge, held[at]));
  await tx.put(/** @type {StoredRecord[]} */ (merged));
  return keys;
}

/**
 * Removes what is held of lost spaces, but for records with edits that are not pushed yet:
 * nothing that somebody wrote goes before it is stored.
 * @param {Transaction} tx
 * @param {string[]} spaces
 */
async function drop(tx, spaces) {
  if (!spaces.length) return [];
  const unpushed = new Set((await tx.queued()).map(({ table, id }) => JSON.stringify([table, id])));
  /** @type {Key[]} */
  const keys = [];
  for (const space of spaces) {
    for (const { table, id } of await tx.inSpace(space)) {
      if (!unpushed.has(JSON.stringify([table, id]))) keys.push([table, id]);
    }
  }
  await tx.remove(keys);
  return keys;
}
