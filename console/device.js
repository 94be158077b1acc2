// A device: a client of its own over a storage and a wire of its own.
import { createClient, memoryStorage } from "./client/index.js";
import { History } from "./history.js";
import { APP, TABLE } from "./session.js";
import { Wire } from "./wire.js";

/** When each change was handed to the wire for the first time, by event id: all devices share a clock here. */
const sent = new Map();

export class Device extends EventTarget {
  isOnline = true;
  /** The verified memberships; unknown until they are told. @type {string[] | undefined} */
  spaces;
  wire = new Wire();
  history = new History();
  #network = new EventTarget();
  /** The node that the last stream came from. @type {string | undefined} */
  #node;
  /** Whether what comes is news, and not what others did before this device began. */
  #isFollowing = false;

  /** @param {{ user: string, name: string, hue: number, urls: string[], token: (why: { fresh: boolean }) => Promise<string> }} options */
  constructor({ user, name, hue, urls, token }) {
    super();
    Object.assign(this, { user, name, hue, home: urls[0], title: `${user}’s ${name}` });
    this.client = createClient({
      url: urls, app: APP, tables: [TABLE], token, storage: this.#signed(memoryStorage()),
      retry: { min: 200, max: 3_000 },
      environment: { fetch: this.wire.fetch, isOnline: () => this.isOnline, network: this.#network, locks: undefined, Channel: undefined },
    });
    this.client.on("change", () => this.#tell("rows"));
    this.client.on("spaces", ({ spaces, lost }) => {
      this.spaces = spaces;
      this.#tell("spaces", { lost });
    });
    this.client.on("status", (status) => this.#tell("status", status));
    this.client.on("rejected", ({ error }) => this.#tell("fault", { message: error.message }));
    this.wire.addEventListener("noted", ({ detail }) => this.#noted(detail));
  }

  start = () => this.client.start();
  stop = () => this.client.stop();

  get status() {
    return this.client.status;
  }

  /** The node that the stream comes from, while all goes well. */
  get node() {
    return this.status.state === "live" ? this.#node : undefined;
  }

  rows = () => this.client.list(TABLE);

  add(title, spaceId) {
    return this.client.insert(TABLE, { title, done: false, created: Date.now(), ...(spaceId ? { spaceId } : {}) });
  }

  edit = (id, fields) => this.client.update(TABLE, id, fields);

  remove = (id) => this.client.delete(TABLE, id);

  setOnline(isOnline) {
    this.isOnline = isOnline;
    this.wire.cut(!isOnline);
    this.#network.dispatchEvent(new Event(isOnline ? "online" : "offline"));
    this.#tell("status", this.status);
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }

  /** The storage, which signs what is queued: others shall see who wrote it. */
  #signed(storage) {
    const actor = { kind: "user", name: this.title };
    return {
      transaction: (work) => storage.transaction((tx) => work({
        ...tx,
        enqueue: (change) => {
          this.history.mine({ ...change, actor });
          return tx.enqueue({ ...change, actor });
        },
      })),
    };
  }

  /** What went over the wire. */
  #noted(entry) {
    const { way, kind, body, node } = entry;
    if (way === "out" && kind === "push") {
      for (const { eventId } of body.changes) if (!sent.has(eventId)) sent.set(eventId, performance.now());
      this.#tell("pushing", { node, changes: body.changes });
    } else if (way === "in" && kind === "push") {
      const { changes } = entry.request.body;
      this.history.acknowledged(changes);
      this.#tell("stored", { node, changes, cursor: body.syncedUntil, ms: entry.ms });
    } else if (way === "in" && kind === "stream") {
      this.#node = node;
      this.#isFollowing = true;
      this.#tell("node", { node });
    } else if (way === "in" && (kind === "pull" || kind === "changes")) {
      this.#arrived(entry, body.serverChanges ?? body.changes ?? []);
    }
    this.#tell("wire", entry);
  }

  #arrived({ node, kind, body }, changes) {
    if (!changes.length) return;
    const arrivals = changes.map((change) => {
      const conflict = this.#isFollowing ? this.history.theirs(change) : undefined;
      const begun = kind === "changes" ? sent.get(change.eventId) : undefined;
      return { change, conflict, ms: begun && performance.now() - begun };
    });
    this.#tell("arrived", { node, arrivals, cursor: body.syncedUntil, isNews: this.#isFollowing, isExact: kind === "changes" });
  }
}
