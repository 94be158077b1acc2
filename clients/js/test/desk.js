// A page of several apps: clients by one stream, over storages that outlive it, and a record of what went over the wire.
import assert from "node:assert/strict";
import { createClient, memoryStorage } from "../src/index.js";
import { sharedStream } from "../src/shared.js";
import { eventParser } from "../src/sse.js";
import { Network, watched } from "./device.js";
import { eventually } from "./fleet.js";

export class Desk extends Network {
  /** The event ids of all edits that were made here. */
  made = [];
  /** Of each failure the app and the code. */
  errors = [];
  /** Pulls and streams, with the event ids that they brought. */
  pulls = [];
  streams = [];
  clients = {};
  /** What an app's storage does instead of its work. */
  faults = {};
  /** How often an app's cursor was written, in a transaction with others' changes or without. */
  writes = {};
  #storages = {};
  #life;

  constructor({ fleet, user, apps, tables = ["tasks"], storages = {}, first = 0, skew = 0, random = Math.random, environment, ...access }) {
    super(random);
    const urls = fleet.urls;
    Object.assign(this, { apps, tables, skew });
    this.#storages = storages;
    this.access = {
      url: [...urls.slice(first), ...urls.slice(0, first)], token: () => fleet.token(user), retry: { min: 20, max: 500 }, ...access,
      environment: { now: () => Date.now() + this.skew, random, locks: undefined, Channel: undefined, ...environment },
    };
    this.begin();
  }

  /** A page that has begun, all live, and ends with the test. */
  static async start(t, options) {
    const desk = new Desk(options);
    t.after(() => desk.stop());
    await desk.start();
    await desk.live();
    return desk;
  }

  begin() {
    const life = (this.#life = { isOver: false });
    const fetch = (url, init) => (life.isOver ? Promise.reject(new TypeError("the page is gone")) : this.#recorded(url, init));
    this.stream = sharedStream({ ...this.access, environment: { ...this.access.environment, fetch } });
    this.clients = {};
    this.apps.forEach((app) => this.add(app));
  }

  add(app) {
    const life = this.#life;
    const storage = this.#storage(app, (this.#storages[app] ??= memoryStorage()), life);
    const client = createClient({ app, tables: this.tables, storage, stream: this.stream });
    // A page that was killed tells nobody.
    client.on("error", ({ code, message }) => life.isOver || this.errors.push([app, code, message]));
    return (this.clients[app] = client);
  }

  get all() {
    return Object.values(this.clients);
  }

  start = () => Promise.all(this.all.map((client) => client.start()));
  stop = () => Promise.all(this.all.map((client) => client.stop()));
  live = () => eventually("live clients by one stream", () => this.#open.length === 1 && this.all.every(({ status }) => status.state === "live"));

  /** The stream that is open, of which there is one. */
  open() {
    assert.equal(this.#open.length, 1);
    return this.#open[0];
  }

  get #open() {
    return this.streams.filter(({ isOpen }) => isOpen);
  }

  cursorOf(app) {
    return this.#storages[app].transaction(async (tx) => (await tx.meta()).cursor);
  }

  async titles(app, table = "tasks") {
    return (await this.clients[app].list(table)).map(({ title }) => title).sort();
  }

  shows(app, expected, table) {
    return eventually(`in ${app} the titles ${expected}`, async () => {
      assert.deepEqual(await this.titles(app, table), expected);
      return true;
    });
  }

  /** Ends without a network, and begins anew. */
  async crash() {
    this.cut();
    await this.stop();
    this.mend();
    this.begin();
    await this.start();
  }

  /** Ends in the middle of anything, as a page does that is killed, and begins anew. */
  async unplug() {
    this.#life.isOver = true;
    this.cut();
    this.streams.forEach((stream) => (stream.isOpen = false));
    this.mend();
    this.begin();
    await this.start();
  }

  #storage(app, storage, life) {
    const noted = watched(storage, this.made);
    return {
      transaction: (work) => {
        if (life.isOver || this.faults[app] === "hangs") return new Promise(() => {});
        const fault = this.faults[app];
        if (fault === "fails once") this.faults[app] = undefined;
        if (fault) return Promise.reject(new Error("the disk is full"));
        return noted.transaction(async (tx) => {
          const before = (await tx.meta())?.cursor ?? "";
          const done = await work(tx);
          const { cursor } = await tx.meta();
          assert.ok(cursor.split("~")[0] >= before.split("~")[0], `the cursor of ${app} goes back from ${before} to ${cursor}`);
          if (cursor !== before) this.writes[app] = (this.writes[app] ?? 0) + 1;
          return done;
        });
      },
    };
  }

  #recorded = async (url, init) => {
    const { pathname, searchParams } = new URL(url);
    const isStream = pathname === "/stream";
    if (init.method === "POST") return this.fetch(url, init);
    const request = { url, path: pathname, apps: searchParams.get("apps")?.split(","), since: searchParams.get("since"), came: [], isOpen: isStream };
    (isStream ? this.streams : this.pulls).push(request);
    try {
      const answer = await this.fetch(url, init);
      if (isStream && answer.ok) return new Response(ReadableStream.from(read(answer.body, request)), answer);
      const text = await answer.text();
      if (answer.ok) request.came = JSON.parse(text).serverChanges.map(({ eventId }) => eventId);
      else request.isOpen = false;
      return new Response(text, answer);
    } catch (error) {
      request.isOpen = false;
      throw error;
    }
  };
}

/** Passes a stream on, and notes what it brings. */
async function* read(body, request) {
  const parse = eventParser();
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body) {
      for (const { event, data } of parse(decoder.decode(chunk, { stream: true }))) {
        if (event !== "changes") continue;
        const { changes, syncedUntil } = JSON.parse(data);
        request.came.push(...changes.map(({ eventId }) => eventId));
        request.until = syncedUntil;
      }
      yield chunk;
    }
  } finally {
    request.isOpen = false;
  }
}
