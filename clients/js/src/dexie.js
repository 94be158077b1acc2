// Storage in IndexedDB through a Dexie database that the app has made, so that this package needs
// none itself.
/** @import { Dexie, Table } from "dexie" */
/** @import { Change, Key, Meta, Storage, StoredRecord, Transaction } from "./types.js" */
import { rowOf } from "./merge.js";

export const syncTables = {
  syncRecords: "[table+id], table, space",
  syncQueue: "++place, &eventId",
  syncMeta: "",
};

/**
 * @param {Dexie} db
 * @returns {Storage}
 */
export function dexieStorage(db) {
  /** @type {Table<StoredRecord, Key>} */
  const records = db.table("syncRecords");
  /** @type {Table<Change & { place?: number }, number>} */
  const queue = db.table("syncQueue");
  /** @type {Table<Meta, string>} */
  const meta = db.table("syncMeta");
  const rows = new Map(db.tables.filter(({ name }) => !(name in syncTables)).map((table) => [table.name, table]));

  /** Shows the app's tables what records have become. @param {StoredRecord[]} changed */
  async function show(changed) {
    for (const [name, table] of rows) {
      const shown = changed.filter((record) => record.table === name);
      const there = shown.map(rowOf).filter((row) => row !== undefined);
      const gone = shown.filter((record) => !rowOf(record)).map(({ id }) => id);
      if (there.length) await table.bulkPut(there);
      if (gone.length) await table.bulkDelete(gone);
    }
  }

  /** @type {Transaction} */
  const tx = {
    get: (keys) => records.bulkGet(keys),
    async put(changed) {
      await records.bulkPut(changed);
      await show(changed);
    },
    async remove(keys) {
      await records.bulkDelete(keys);
      for (const [name, table] of rows) {
        const ids = keys.filter(([of]) => of === name).map(([, id]) => id);
        if (ids.length) await table.bulkDelete(ids);
      }
    },
    list: (table) => records.where("table").equals(table).toArray(),
    inSpace: (space) => records.where("space").equals(space).toArray(),
    async enqueue(change) {
      await queue.add({ ...change });
    },
    async queued(limit = Infinity) {
      const held = await queue.orderBy("place").limit(limit).toArray();
      return held.map(({ place, ...change }) => change);
    },
    async dequeue(eventIds) {
      await queue.where("eventId").anyOf(eventIds).delete();
    },
    pending: () => queue.count(),
    meta: () => meta.get("client"),
    async setMeta(changed) {
      await meta.put(changed, "client");
    },
  };

  // The inner function says `async`, by which Dexie knows that native promises are awaited in it.
  return { transaction: async (work) => db.transaction("rw", db.tables, async () => work(tx)) };
}
