// A network that can be cut, and a device on it: a client over a storage that outlives it.
import { setMaxListeners } from "node:events";
import { createClient, memoryStorage } from "../src/index.js";

export class Network {
  /** Pushes whose answer never came, though the server had taken them. */
  lostAnswers = 0;
  /** How likely that is. */
  loss = 0;
  #up = new AbortController();
  #random;

  constructor(random) {
    this.#random = random;
    this.mend();
  }

  fetch = async (url, init) => {
    const up = this.#up.signal;
    if (up.aborted) throw new TypeError("there is no network");
    // Not AbortSignal.any: what it gives may be collected while it is listened to (Node 20).
    const both = new AbortController();
    init.signal.throwIfAborted();
    for (const signal of [init.signal, up]) signal.addEventListener("abort", () => both.abort(signal.reason));
    const answer = await fetch(url, { ...init, signal: both.signal });
    if (init.method === "POST" && answer.ok && this.#random() < this.loss) {
      this.lostAnswers++;
      throw new TypeError("the answer was lost");
    }
    return answer;
  };

  cut() {
    this.#up.abort(new TypeError("the network was cut"));
  }

  mend() {
    this.#up = new AbortController();
    // One for each request.
    setMaxListeners(0, this.#up.signal);
  }
}

export class Device extends Network {
  /** The event ids of all edits that were made here. */
  made = [];
  errors = [];

  constructor({ fleet, user, app = "todo", tables = ["tasks"], storage = memoryStorage(), first = 0, skew = 0, random = Math.random, ...options }) {
    super(random);
    const urls = fleet.urls;
    this.storage = watched(storage, this.made);
    this.options = {
      url: [...urls.slice(first), ...urls.slice(0, first)], app, tables, storage: this.storage,
      token: () => fleet.token(user), retry: { min: 20, max: 500 },
      environment: { fetch: this.fetch, now: () => Date.now() + skew, random, locks: undefined, Channel: undefined },
      ...options,
    };
    this.begin();
  }

  /** A device that has begun, and ends with the test. */
  static async start(t, options) {
    const device = new Device(options);
    t.after(() => device.client.stop());
    await device.client.start();
    return device;
  }

  begin() {
    this.client = createClient(this.options);
    this.client.on("error", (error) => this.errors.push(error));
  }

  /** Ends as a crash does, in the middle of anything, and begins anew over the same storage. */
  async crash() {
    const { client } = this;
    this.cut();
    await client.stop();
    this.mend();
    this.begin();
    await this.client.start();
  }
}

/** The same storage, which notes what is queued. */
export function watched(storage, made) {
  return {
    transaction: (work) =>
      storage.transaction((tx) => {
        const enqueue = (change) => {
          made.push(change.eventId);
          return tx.enqueue(change);
        };
        return work({ ...tx, enqueue });
      }),
  };
}
