/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The rows of an app by table, `{ tasks: { title: string; done: boolean } }` say. */
export type Tables = Record<string, object>;

/** A row as the app reads it: the fields, and the record's id. */
export type Row<T = Record<string, Json>> = T & { id: string; spaceId?: string };

/** Where the nodes are, and who asks them. */
export interface Access {
  /** The nodes; of several, the next one is taken when one fails. */
  url: string | string[];
  /** Gives a token. `fresh`: the last one was refused or ran out. */
  token(why: { fresh: boolean }): string | Promise<string>;
  /** Milliseconds between attempts: up to `min` after the first failure, `max` after many. */
  retry?: { min?: number; max?: number };
  /** What the client takes from its surroundings; tests replace parts. */
  environment?: Partial<Environment>;
}

/** With a `stream` the client follows that one, by its access; otherwise one of its own. */
export type Options = {
  app: string;
  /** The tables to follow. One that is added later is read from its start. */
  tables: string[];
  storage: Storage;
  /** Most changes a push carries; 500 where it is not given. */
  batch?: number;
} & ((Access & { stream?: undefined }) | ({ stream: SharedStream } & { [K in keyof Access]?: undefined }));

/** One stream of one user, for clients of up to 32 apps; `mana-sync/shared` makes it. */
export interface SharedStream { readonly access: Access }

export interface Client<T extends Tables = Record<string, Record<string, Json>>> {
  /** Begins to sync, in one tab of a browser at a time; takes over when that one is closed. */
  start(): Promise<void>;
  /** Ends syncing. What is queued stays, and is pushed after the next start. */
  stop(): Promise<void>;
  /** Pushes and pulls once, to the end; fails with a `SyncError` where that can't be done now. */
  sync(): Promise<void>;
  /** Makes a record, and gives its id: `data.id` where there is one. It is shared where `spaceId` says so. */
  insert<K extends keyof T & string>(table: K, data: T[K] & { id?: string; spaceId?: string }): Promise<string>;
  /** Changes some fields of a record that is there. */
  update<K extends keyof T & string>(table: K, id: string, fields: Partial<T[K]>): Promise<void>;
  delete<K extends keyof T & string>(table: K, id: string): Promise<void>;
  get<K extends keyof T & string>(table: K, id: string): Promise<Row<T[K]> | undefined>;
  list<K extends keyof T & string>(table: K): Promise<Row<T[K]>[]>;
  readonly status: Status;
  /** Calls `listener` on each event; what it returns ends that. */
  on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
}

export interface Events {
  /** Records have changed here, by an edit, another tab, or the server. */
  change: { keys: Key[] };
  status: Status;
  /** Something failed. It will be tried again, unless it comes with `rejected`. */
  error: SyncError;
  /** The server will never store this change; it has left the queue. */
  rejected: { change: Change; error: SyncError };
  /** Stored for their author alone: the membership in the space is not verified. */
  unpublished: { table: string; id: string; spaceId: string }[];
  /** The verified memberships changed; what was held of the lost ones is gone. */
  spaces: { spaces: string[]; lost: string[] };
}

export interface Status {
  /** `live`: what others change arrives at once, and pushes do not fail. `offline`, `waiting`: something failed, see `error`;
   * where only pushes do, what others change arrives all the same. `connecting`: no stream is open yet, or the next one is not. */
  state: "stopped" | "offline" | "connecting" | "live" | "waiting";
  /** Whether it is this tab that syncs. */
  leader: boolean;
  /** Changes that are not pushed yet. */
  pending: number;
  error?: { code: string; message: string };
}

/** What failed. `code` is the server's, or `offline`, `timeout`, `ended`, `bad_answer`, `token`,
 * `no_record`, `space_fixed`. */
export declare class SyncError extends Error {
  constructor(code: string, message: string, more?: { status?: number; retryAfter?: number; cause?: unknown });
  code: string;
  /** The HTTP status, where there was an answer. */
  status?: number;
  /** Milliseconds that the server asks to wait. */
  retryAfter: number;
}

/** A change on the wire. */
export interface Change {
  eventId: string;
  table: string;
  id: string;
  op: "insert" | "update" | "delete";
  schemaVersion?: number;
  data?: Record<string, Json>;
  fields?: Record<string, { value?: Json; updatedAt?: string; at?: string }>;
  deletedAt?: string;
  spaceId?: string;
  actor?: Record<string, Json>;
  origin?: string;
}

/** Table and id. */
export type Key = [table: string, id: string];

/** A field's value, and when it was written: a time, or `0…` for an insert's, before all times. */
export interface Write { value: Json; at: string }

/** What is known of a record, deleted ones included. */
export interface StoredRecord {
  table: string;
  id: string;
  fields: Record<string, Write>;
  deletedAt?: string;
  /** The space that the record is in; an index. */
  space?: string;
}

export interface Meta {
  clientId: string;
  cursor: string;
  /** For which tables the cursor counts. */
  tables: string[];
  /** The verified memberships that were told last. */
  spaces?: string[];
}

/** Where records, queue and cursor are kept. */
export interface Storage {
  /** Runs `work` alone and atomically: everything that it writes is kept, or nothing. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

export interface Transaction {
  get(keys: Key[]): Promise<(StoredRecord | undefined)[]>;
  put(records: StoredRecord[]): Promise<void>;
  remove(keys: Key[]): Promise<void>;
  list(table: string): Promise<StoredRecord[]>;
  inSpace(space: string): Promise<StoredRecord[]>;
  enqueue(change: Change): Promise<void>;
  /** The oldest changes of the queue, in order; without a limit all. */
  queued(limit?: number): Promise<Change[]>;
  dequeue(eventIds: string[]): Promise<void>;
  pending(): Promise<number>;
  meta(): Promise<Meta | undefined>;
  setMeta(meta: Meta): Promise<void>;
}

export interface Environment {
  fetch: typeof fetch;
  now(): number;
  random(): number;
  setTimeout(call: () => void, ms: number): unknown;
  clearTimeout(timer: any): void;
  /** False where it is known that there is no network. */
  isOnline(): boolean;
  /** Gets `online` and `offline` events. */
  network?: EventTarget;
  locks?: Pick<LockManager, "request">;
  Channel?: new (name: string) => BroadcastChannel;
}

export declare function createClient<T extends Tables = Record<string, Record<string, Json>>>(options: Options): Client<T>;
/** Keeps everything in memory. */
export declare function memoryStorage(): Storage;
/** What the app sees of a record: `undefined` where it is deleted. */
export declare function rowOf(record: StoredRecord): Row | undefined;
/** What becomes of a record by a change; the same in whatever order changes come. */
export declare function merge(record: StoredRecord | undefined, change: Change): StoredRecord;
