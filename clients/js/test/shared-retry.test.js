// Time as the clients of one stream see it, and refusals.
import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStorage } from "../src/index.js";
import { eventually } from "./fleet.js";
import { page, refused, silent, world } from "./world.js";

const APPS = ["calendar", "notes", "todo"];
const appsOf = ({ url }) => new URL(url).searchParams.get("apps");
const streamsOf = (requests) => requests.filter(({ kind }) => kind === "stream");
const all = (clients, state) => eventually(`all ${state}`, () => clients.every(({ status }) => status.state === state));

test("who comes together costs one stream, and so does who goes together", async (t) => {
  const { clients, requests, until } = world(t, (kind, _, init) => (kind === "stream" ? silent(init) : page()), APPS);
  await Promise.all(clients.map((client) => client.start()));
  await until("stream", 1);
  await all(clients, "live");
  await Promise.all(clients.slice(1).map((client) => client.stop()));
  await until("stream", 2);
  assert.deepEqual(streamsOf(requests).map(appsOf), ["calendar,notes,todo", "calendar"]);
  assert.ok(streamsOf(requests).every(({ headers }) => !("X-Client-Id" in headers)), "which would leave out too much, or too little");
});

test("while the stream fails, one goes on trying for all, at the pace of one", async (t) => {
  const { clients, requests, times, until } = world(t, (kind, count, init) => {
    if (kind === "pull") return page();
    if (count < 5) return refused(503, "unavailable", "0");
    return count === 5 ? refused(429, "too_many", "7") : silent(init);
  }, APPS);
  const errors = [];
  for (const client of clients) client.on("error", ({ code }) => errors.push(code));
  await Promise.all(clients.map((client) => client.start()));
  await until("stream", 4);
  await all(clients, "waiting");
  await until("stream", 6);
  await all(clients, "live");
  // Each a moment later than it might be, for those who come together.
  assert.deepEqual(times("stream"), [50, 600, 1650, 3700, 7750, 18_800]);
  assert.deepEqual(streamsOf(requests).map(({ url }) => new URL(url).host), ["one", "two", "one", "two", "one", "one"]);
  assert.deepEqual(errors, [...Array(12).fill("unavailable"), ...Array(3).fill("too_many")]);
  assert.equal(times("pull").length, 3, "they keep their seats");
  assert.ok(clients.every(({ status }) => status.error === undefined));
});

test("a stream that falls silent is opened anew, once for all", async (t) => {
  const { clients, times, until } = world(t, (kind, _, init) => (kind === "stream" ? silent(init) : page()), APPS);
  const errors = [];
  for (const client of clients) client.on("error", ({ code }) => errors.push(code));
  await Promise.all(clients.map((client) => client.start()));
  await until("stream", 2);
  assert.deepEqual(errors, ["timeout", "timeout", "timeout"]);
  assert.deepEqual(times("stream"), [50, 75_600]);
});

test("who comes while the stream is waited for has it tried at once", async (t) => {
  let isDown = true;
  const answer = (kind, _, init) => (kind === "pull" ? page() : isDown ? refused(503, "unavailable") : silent(init));
  const { clients, times, until } = world(t, answer, APPS);
  await clients[0].start();
  await until("stream", 4);
  isDown = false;
  await all(clients.slice(0, 1), "waiting");
  await clients[1].start();
  await until("stream", 5);
  assert.equal(times("stream")[4], times("stream")[3] + 50);
  await all(clients.slice(0, 2), "live");
});

test("who joins while an event is being kept takes nothing that the stream told before", async (t) => {
  let letGo, held = Promise.resolve();
  const memory = memoryStorage();
  const slow = { transaction: async (work) => (await held, memory.transaction(work)) };
  const event = (appId, day) => `event: changes\ndata: ${JSON.stringify({ appId, table: "tasks", changes: [], syncedUntil: `2026-01-${day}T00:00:00.000000Z` })}\n\n`;
  const { clients, requests, times, until } = world(t, (kind, count, init) => {
    if (kind !== "stream") return page();
    if (count > 1) return silent(init);
    held = new Promise((done) => (letGo = done));
    return silent(init, event("calendar", "02") + event("todo", "03"));
  }, APPS, { calendar: slow });
  await clients[0].start();
  await until("stream", 1);
  await clients[2].start();
  // Without any time, which would end the patience with the slow one.
  await eventually("the other's page", () => times("pull").length === 2);
  await new Promise(setImmediate);
  letGo();
  await until("stream", 2);
  assert.equal(appsOf(streamsOf(requests)[1]), "calendar,todo");
  assert.match(streamsOf(requests)[1].url, /since=2026-01-01/, "todo has heard of nothing later");
  assert.equal(times("pull").length, 2);
});

test("one app that is not paid for is left out, and the others go on", async (t) => {
  let isPaid = true;
  const { clients, requests, until } = world(t, (kind, _, init, url) => {
    if (!isPaid && url.includes("notes")) return refused(402, "sync_inactive");
    return kind === "stream" ? silent(init) : page();
  }, APPS);
  await Promise.all(clients.map((client) => client.start()));
  await until("stream", 1);
  await all(clients, "live");
  isPaid = false;
  await clients[2].stop();
  const [calendar, notes] = clients;
  // The refused one, then, each in its time, those that are left.
  await until("stream", 3);
  await all([calendar], "live");
  await all([notes], "waiting");
  assert.equal(notes.status.error.code, "sync_inactive");
  assert.deepEqual(streamsOf(requests).map(appsOf), ["calendar,notes,todo", "calendar,notes", "calendar"]);
  isPaid = true;
  await until("stream", 4);
  await all([calendar, notes], "live");
});

test("the stream is opened anew when the server asks for it, and nobody is called live until then", async (t) => {
  let tell;
  const { clients, times, until } = world(t, (kind, _, init) => (kind === "stream" ? silent(init, "", (given) => (tell ??= given)) : page()), APPS);
  for (const client of clients) await client.start();
  await until("stream", 1);
  await all(clients, "live");
  tell("event: reconnect\ndata: {}\nretry: 5000\n\n");
  await all(clients, "connecting");
  await until("stream", 2);
  await all(clients, "live");
  assert.equal(times("stream")[1] - times("stream")[0], 5050);
});
