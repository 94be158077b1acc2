// Time as the client sees it: Retry-After, the pace of attempts, streams that fall silent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./fleet.js";
import { page, refused, silent, stored, world } from "./world.js";

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

test("that pushes fail is told, whatever the stream brings, and no longer than they do", async (t) => {
  let tell;
  const { client, until } = world(t, (kind, count, init) => {
    if (kind === "push") return count === 1 ? refused(503, "unavailable", "0") : stored();
    if (kind === "pull") return page();
    return silent(init, "", (given) => (tell = given));
  });
  await client.start();
  await eventually("the stream", () => client.status.state === "live");
  await client.insert("tasks", { title: "Milk" });
  await until("push", 1);
  await eventually("the failure", () => client.status.state === "waiting");
  const change = { eventId: "018f0000-0000-7000-8000-000000000001", table: "tasks", id: "r", op: "insert", data: { title: "Bread" } };
  tell(`event: changes\ndata: ${JSON.stringify({ changes: [change], syncedUntil: "2026-01-02T00:00:00.000000Z" })}\n\n`);
  await eventually("what another wrote", () => client.get("tasks", "r"));
  assert.equal(client.status.state, "waiting");
  assert.equal(client.status.error.code, "unavailable");
  await until("push", 2);
  await eventually("the end of the failure", () => client.status.state === "live");
  assert.equal(client.status.error, undefined);
  assert.equal(client.status.pending, 0);
});

test("a stream is opened anew when the server asks for it, and nobody is called live until then", async (t) => {
  let tell;
  const { clients, times, until } = world(t, (kind, _, init) => (kind === "stream" ? silent(init, "", (given) => (tell ??= given)) : page()));
  const all = (state) => eventually(`all ${state}`, () => clients.every(({ status }) => status.state === state));
  for (const client of clients) await client.start();
  await all("live");
  tell("event: reconnect\ndata: {}\nretry: 5000\n\n");
  await all("connecting");
  await until("stream", 2);
  await all("live");
  assert.equal(times("stream")[1] - times("stream")[0], 5000);
});
