import type { Dexie } from "dexie";
import type { Storage } from "./types.js";

/** The client's own tables, to be spread into `db.version(n).stores({ … })`. */
export declare const syncTables: { syncRecords: string; syncQueue: string; syncMeta: string };

/** Keeps everything in a Dexie database. Tables of the app's own, with the primary key `id`, get
 * the rows to be queried; the app changes them through the client alone. */
export declare function dexieStorage(db: Dexie): Storage;
