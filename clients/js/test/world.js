// Nodes whose answers are made here, because no node gives them on demand; and a clock that is moved by
// hand, because nobody waits.
import { createClient, memoryStorage } from "../src/index.js";
import { sharedStream } from "../src/shared.js";
import { eventually } from "./fleet.js";

export const page = () => Response.json({ serverChanges: [], conflicts: [], syncedUntil: "2026-01-01T00:00:00.000000Z" });
export const stored = page;
export const refused = (status, code, after) =>
  Response.json({ error: code, message: "come later" }, { status, headers: after ? { "Retry-After": after } : {} });

/** A client, or clients of some apps by one stream, a clock that is moved by hand, and the requests so far. */
export function world(t, answer, apps, storages = {}) {
  const clock = { time: 0, timers: new Map(), next: 1 };
  const requests = [];
  const environment = {
    now: () => clock.time,
    random: () => 0.5,
    setTimeout: (call, ms) => (clock.timers.set(clock.next, { call, at: clock.time + ms, ms }), clock.next++),
    clearTimeout: (timer) => clock.timers.delete(timer),
    isOnline: () => true,
    locks: undefined,
    Channel: undefined,
    async fetch(url, init) {
      const { pathname } = new URL(url);
      const kind = init.method === "POST" ? "push" : pathname.split("/").at(-1);
      requests.push({ kind, at: clock.time, url, headers: init.headers });
      return answer(kind, requests.filter((one) => one.kind === kind).length, init, url);
    },
  };
  const access = { url: ["http://one", "http://two"], token: () => "t", environment, retry: { min: 1000, max: 8000 } };
  const way = apps ? { stream: sharedStream(access) } : access;
  const clients = (apps ?? ["todo"]).map((app) => createClient({ app, tables: ["tasks"], storage: storages[app] ?? memoryStorage(), ...way }));
  t.after(() => Promise.all(clients.map((client) => client.stop())));
  /** Lets what can happen happen, then moves to the next timer; how far that was. */
  const step = async () => {
    await eventually("a timer", () => clock.timers.size > 0);
    await new Promise(setImmediate);
    const [timer, { call, at }] = [...clock.timers].sort(([, a], [, b]) => a.at - b.at)[0];
    clock.timers.delete(timer);
    clock.time = at;
    call();
  };
  const times = (kind) => requests.filter((one) => one.kind === kind).map(({ at }) => at);
  const until = (kind, count) => eventually(`${count} times ${kind}`, async () => times(kind).length >= count || step());
  return { client: clients[0], clients, requests, times, until, clock };
}

/** A stream that says that it is there, then `more` in the same breath, and what is told by whoever takes `tell`. */
export const silent = (init, more = "", taken = (/** @type {(text: string) => void} */ _tell) => {}) => {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('event: spaces\ndata: {"spaces":[]}\n\n' + more));
      taken((text) => controller.enqueue(new TextEncoder().encode(text)));
      init.signal.addEventListener("abort", () => controller.error(init.signal.reason));
    },
  });
  return new Response(body);
};
