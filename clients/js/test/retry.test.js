// Time as the client sees it: Retry-After, the pace of attempts, streams that fall silent. The
// answers are made here, because no node gives them on demand; and the clock, because nobody waits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, memoryStorage } from "../src/index.js";
import { eventually } from "./fleet.js";

const page = () => Response.json({ serverChanges: [], conflicts: [], syncedUntil: "2026-01-01T00:00:00.000000Z" });
const stored = page;
const refused = (status, code, after) =>
  Response.json({ error: code, message: "come later" }, { status, headers: after ? { "Retry-After": after } : {} });

/** A client, a clock that is moved by hand, and the requests so far. */
function world(t, answer) {
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
      return answer(kind, requests.filter((one) => one.kind === kind).length, init);
    },
  };
  const client = createClient({ url: ["http://one", "http://two"], app: "todo", tables: ["tasks"], token: () => "t",
    storage: memoryStorage(), environment, retry: { min: 1000, max: 8000 } });
  t.after(() => client.stop());
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
  return { client, requests, times, until, clock };
}

/** A stream that says that it is there, and no more. */
const silent = (init) => {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('event: spaces\ndata: {"spaces":[]}\n\n'));
      init.signal.addEventListener("abort", () => controller.error(init.signal.reason));
    },
  });
  return new Response(body);
};

test("Retry-After is waited for, and the jitter comes on top", async (t) => {
  const { client, times, until } = world(t, (kind, count, init) => {
    if (kind === "push") return count === 1 ? refused(429, "too_many", "7") : stored();
    return kind === "pull" ? page() : silent(init);
  });
  await client.insert("tasks", { title: "Milk" });
  await client.start();
  await until("push", 2);
  assert.deepEqual(times("push"), [0, 7500]);
});

test("attempts come at a slower pace up to a bound, and other nodes are tried", async (t) => {
  const { client, requests, times, until } = world(t, () => refused(503, "unavailable", "0"));
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  await client.start();
  await until("pull", 6);
  assert.deepEqual(times("pull"), [0, 500, 1500, 3500, 7500, 11500]);
  const hosts = requests.filter(({ kind }) => kind === "pull").map(({ url }) => new URL(url).host);
  assert.deepEqual(hosts, ["one", "two", "one", "two", "one", "two"]);
  assert.ok(errors.every((code) => code === "unavailable"));
  assert.equal(client.status.state, "waiting");
});

test("a stream that falls silent is opened anew", async (t) => {
  const { client, requests, times, until } = world(t, (kind, _, init) => (kind === "stream" ? silent(init) : page()));
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  await client.start();
  await until("stream", 2);
  assert.deepEqual(errors, ["timeout"]);
  assert.deepEqual(times("stream"), [0, 75_500]);
  const stream = requests.find(({ kind }) => kind === "stream");
  assert.equal(stream.headers.Authorization, "Bearer t");
  assert.equal(new URL(stream.url).searchParams.get("since"), "2026-01-01T00:00:00.000000Z");
});

test("a push without an answer is given up after a minute, and sent again", async (t) => {
  const bodies = [];
  const { client, times, until } = world(t, (kind, count, init) => {
    if (kind !== "push") return kind === "pull" ? page() : silent(init);
    bodies.push(init.body);
    if (count > 1) return stored();
    return new Promise((_, fail) => init.signal.addEventListener("abort", () => fail(init.signal.reason)));
  });
  await client.insert("tasks", { title: "Milk" });
  await client.start();
  await until("push", 2);
  assert.deepEqual(times("push"), [0, 60_500]);
  assert.equal(bodies[0], bodies[1]);
});

test("a stop ends a stream, whatever the fetch makes of the signal, and opens no other", async (t) => {
  const { client, times, until } = world(t, (kind) => {
    if (kind !== "stream") return page();
    return new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(": deaf\n")) }));
  });
  await client.start();
  await until("stream", 1);
  await client.stop();
  assert.equal(client.status.state, "stopped");
  assert.equal(times("stream").length, 1);
});
