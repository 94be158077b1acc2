// Storage in memory.
/** @import { Change, Key, Meta, Storage, StoredRecord, Transaction } from "./types.js" */

const nameOf = (/** @type {Key} */ key) => JSON.stringify(key);

/** @returns {Storage} */
export function memoryStorage() {
  let state = {
    records: /** @type {Map<string, StoredRecord>} */ (new Map()),
    queue: /** @type {Map<string, Change>} */ (new Map()),
    meta: /** @type {Meta | undefined} */ (undefined),
  };
  /** One after the other. @type {Promise<unknown>} */
  let last = Promise.resolve();

  /** @returns {{ tx: Transaction, undo: () => void }} */
  function begin() {
    // What is put is never altered afterwards, so that old values are enough to go back.
    const { meta } = state;
    const queue = new Map(state.queue);
    /** @type {Map<string, StoredRecord | undefined>} */
    const before = new Map();
    const remember = (/** @type {string} */ name) => {
      if (!before.has(name)) before.set(name, state.records.get(name));
    };
    const all = () => [...state.records.values()];
    const tx = {
      get: async (/** @type {Key[]} */ keys) => keys.map((key) => state.records.get(nameOf(key))),
      put: async (/** @type {StoredRecord[]} */ records) => {
        for (const record of records) {
          const name = nameOf([record.table, record.id]);
          remember(name);
          state.records.set(name, record);
        }
      },
      remove: async (/** @type {Key[]} */ keys) => {
        for (const name of keys.map(nameOf)) {
          remember(name);
          state.records.delete(name);
        }
      },
      list: async (/** @type {string} */ table) => all().filter((record) => record.table === table),
      inSpace: async (/** @type {string} */ space) => all().filter((record) => record.space === space),
      enqueue: async (/** @type {Change} */ change) => void state.queue.set(change.eventId, change),
      queued: async (limit = Infinity) => [...state.queue.values()].slice(0, limit),
      dequeue: async (/** @type {string[]} */ ids) => ids.forEach((id) => state.queue.delete(id)),
      pending: async () => state.queue.size,
      meta: async () => state.meta,
      setMeta: async (/** @type {Meta} */ meta) => void (state.meta = meta),
    };
    const undo = () => {
      for (const [name, record] of before) {
        if (record) state.records.set(name, record);
        else state.records.delete(name);
      }
      state = { ...state, queue, meta };
    };
    return { tx, undo };
  }

  return {
    transaction(work) {
      const run = last.then(async () => {
        const { tx, undo } = begin();
        try {
          return await work(tx);
        } catch (error) {
          undo();
          throw error;
        }
      });
      last = run.catch(() => {});
      return run;
    },
  };
}
