// What the client does with a real node: the queue, refusals, tokens, spaces, tables, offline.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient, memoryStorage } from "../src/index.js";
import { Device } from "./device.js";
import { Fleet, eventually } from "./fleet.js";

/** @type {Fleet} */
let fleet;
before(async () => (fleet = await Fleet.start({ flags: ["--drain-delay-seconds=0", "--drain-spread-seconds=1"] })));
after(() => fleet.stop());

let users = 0;
/** Nobody has been this user before. */
const someone = () => `user-${++users}`;
const liveOf = (device) => eventually("a live stream", () => device.client.status.state === "live");
const titles = async (device, table = "tasks") => (await device.client.list(table)).map(({ title }) => title).sort();
const shows = (device, expected, table) =>
  eventually(`the titles ${expected}`, async () => {
    assert.deepEqual(await titles(device, table), expected);
    return true;
  });

test("an edit arrives at another device at once, by the stream", async (t) => {
  const user = someone();
  const [phone, laptop] = [await Device.start(t, { fleet, user }), await Device.start(t, { fleet, user })];
  await Promise.all([liveOf(phone), liveOf(laptop)]);
  const heard = [];
  laptop.client.on("change", ({ keys }) => heard.push(...keys));
  const id = await phone.client.insert("tasks", { title: "Milk", when: new Date(0), nothing: undefined });
  await shows(laptop, ["Milk"]);
  assert.deepEqual(await laptop.client.get("tasks", id), await phone.client.get("tasks", id));
  assert.equal((await phone.client.get("tasks", id)).when, "1970-01-01T00:00:00.000Z", "as JSON here too");
  await laptop.client.update("tasks", id, { title: "Eggs" });
  await shows(phone, ["Eggs"]);
  await phone.client.delete("tasks", id);
  await shows(laptop, []);
  assert.deepEqual(heard[0], ["tasks", id]);
});

test("a crash between a push and its answer repeats it under the same event id", async (t) => {
  const user = someone();
  const device = new Device({ fleet, user });
  t.after(() => device.client.stop());
  await device.client.insert("tasks", { title: "Milk" });
  device.loss = 1;
  await device.client.start();
  await eventually("a lost answer", () => device.lostAnswers > 0);
  assert.equal(device.client.status.pending, 1, "what has no answer stays in the queue");
  await device.crash();
  const before = device.lostAnswers;
  await eventually("another one after the crash", () => device.lostAnswers > before);
  device.loss = 0;
  await eventually("an empty queue", () => device.client.status.pending === 0);
  const log = await fleet.log("todo", "tasks", user);
  assert.deepEqual(log.map(({ eventId }) => eventId), device.made);
});

test("a change that can't be stored leaves the queue alone, and the others are stored", async (t) => {
  const user = someone();
  const device = new Device({ fleet, user });
  t.after(() => device.client.stop());
  const rejected = [];
  device.client.on("rejected", ({ change, error }) => rejected.push([change.data.title, error.code]));
  for (let n = 0; n < 9; n++) await device.client.insert("tasks", { title: n === 5 ? "bad \u0000" : `good ${n}` });
  await device.client.start();
  await eventually("an empty queue", () => device.client.status.pending === 0);
  assert.deepEqual(rejected, [["bad \u0000", "invalid_changeset"]]);
  assert.equal((await fleet.log("todo", "tasks", user)).length, 8);
});

test("more than a push may carry goes in several", async () => {
  const user = someone();
  const device = new Device({ fleet, user });
  const pushes = [];
  device.options.environment.fetch = (url, init) => {
    if (init.method === "POST") pushes.push(JSON.parse(init.body).changes.length);
    return fetch(url, init);
  };
  device.begin();
  for (let n = 0; n < 5; n++) await device.client.insert("tasks", { title: `${n}`, text: "ü".repeat(900_000) });
  await device.client.sync();
  assert.deepEqual(pushes, [3, 2]);
  const reader = new Device({ fleet, user });
  await reader.client.sync();
  assert.deepEqual(await titles(reader), ["0", "1", "2", "3", "4"], "in several pages");
});

test("a token that runs out is asked for anew, once", async (t) => {
  const user = someone();
  const asked = [];
  const token = ({ fresh }) => {
    asked.push(fresh);
    return fleet.token(user, fresh ? 3600 : 1);
  };
  const device = await Device.start(t, { fleet, user, token });
  await liveOf(device);
  await eventually("a fresh token", () => asked.length === 2);
  await eventually("the stream again", () => device.client.status.state === "live");
  await device.client.insert("tasks", { title: "Milk" });
  await eventually("an empty queue", () => device.client.status.pending === 0);
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(device.errors, []);
});

test("a 401 asks for a fresh token, once a request", async () => {
  const asked = [];
  const options = { url: fleet.urls, app: "todo", tables: ["tasks"], storage: memoryStorage() };
  const good = createClient({ ...options, token: ({ fresh }) => (asked.push(fresh), fresh ? fleet.token("alice") : "stale") });
  await good.sync();
  assert.deepEqual(asked, [false, true]);
  asked.length = 0;
  const bad = createClient({ ...options, token: ({ fresh }) => (asked.push(fresh), "bad") });
  await assert.rejects(bad.sync(), { code: "unauthenticated", status: 401 });
  assert.deepEqual(asked, [false, true]);
  const none = createClient({ ...options, token: () => { throw new Error("signed out"); } });
  await assert.rejects(none.sync(), { code: "token", message: "no token: signed out" });
});

test("a lost space's rows go, those with unpushed edits stay, and who joins again has them back", async (t) => {
  const [owner, guest] = [someone(), someone()];
  const space = `space-of-${owner}`;
  await fleet.member("POST", owner, space);
  await fleet.member("POST", guest, space);
  const [writer, reader] = [await Device.start(t, { fleet, user: owner }), await Device.start(t, { fleet, user: guest })];
  for (const title of ["Bread", "Milk"]) await writer.client.insert("tasks", { title, spaceId: space });
  await reader.client.insert("tasks", { title: "mine alone" });
  await shows(reader, ["Bread", "Milk", "mine alone"]);
  const told = [];
  const unpublished = [];
  reader.client.on("spaces", (spaces) => told.push(spaces));
  reader.client.on("unpublished", (list) => unpublished.push(...list));

  reader.cut();
  const [bread] = (await reader.client.list("tasks")).filter(({ title }) => title === "Bread");
  await reader.client.update("tasks", bread.id, { title: "Rolls" });
  await fleet.member("DELETE", guest, space);
  // Hears of the loss before its edit is taken.
  reader.options.environment.fetch = ((online) => (url, init) =>
    init.method === "POST" ? Promise.reject(new TypeError("not yet")) : online(url, init))(reader.options.environment.fetch);
  await reader.crash();
  reader.client.on("spaces", (spaces) => told.push(spaces));
  await shows(reader, ["Rolls", "mine alone"]);
  await eventually("the loss", () => told.length > 0);
  assert.deepEqual(told, [{ spaces: [], lost: [space] }]);

  await fleet.member("POST", guest, space);
  await shows(reader, ["Milk", "Rolls", "mine alone"]);
});

test("a storage that fails while the stream is followed is reported as such, and gone on with", async (t) => {
  const user = someone();
  let fails = false;
  const held = memoryStorage();
  const storage = { transaction: (work) => (fails ? Promise.reject(new Error("the disk is full")) : held.transaction(work)) };
  const [device, other] = [await Device.start(t, { fleet, user, storage }), await Device.start(t, { fleet, user })];
  await liveOf(device);
  fails = true;
  await other.client.insert("tasks", { title: "Milk" });
  await eventually("waiting", () => device.client.status.state === "waiting");
  assert.deepEqual([...new Set(device.errors.map(({ code }) => code))], ["storage"]);
  fails = false;
  await shows(device, ["Milk"]);
});

test("what is written into a space of others is reported as unpublished", async (t) => {
  const device = await Device.start(t, { fleet, user: someone() });
  const unpublished = [];
  device.client.on("unpublished", (list) => unpublished.push(...list));
  const id = await device.client.insert("tasks", { title: "Milk", spaceId: "strangers" });
  await eventually("the report", () => unpublished.length > 0);
  assert.deepEqual(unpublished, [{ table: "tasks", id, spaceId: "strangers" }]);
  assert.deepEqual(await titles(device), ["Milk"], "its author keeps it");
});

test("a table that is added later is read from its start", async () => {
  const user = someone();
  const writer = new Device({ fleet, user, tables: ["tasks", "notes"] });
  await writer.client.insert("tasks", { title: "Milk" });
  await writer.client.insert("notes", { title: "old" });
  await writer.client.sync();
  const storage = memoryStorage();
  const early = new Device({ fleet, user, storage });
  await early.client.sync();
  assert.deepEqual(await titles(early, "notes"), []);
  const late = new Device({ fleet, user, storage, tables: ["tasks", "notes"] });
  await late.client.sync();
  assert.deepEqual(await titles(late, "notes"), ["old"]);
});

test("without a network edits wait, and come when it is back", async (t) => {
  const user = someone();
  const network = new EventTarget();
  let isOnline = false;
  const device = new Device({ fleet, user });
  // Only the event can wake it.
  device.options.retry = { min: 1e9, max: 1e9 };
  Object.assign(device.options.environment, { network, isOnline: () => isOnline, random: () => 1 });
  device.begin();
  t.after(() => device.client.stop());
  const goes = (online) => {
    isOnline = online;
    network.dispatchEvent(new Event(online ? "online" : "offline"));
  };
  await device.client.start();
  await device.client.insert("tasks", { title: "Milk" });
  await eventually("being offline", () => device.client.status.state === "offline");
  goes(true);
  await liveOf(device);
  await eventually("an empty queue", () => device.client.status.pending === 0);
  goes(false);
  await eventually("being offline again", () => device.client.status.state === "offline");
  assert.deepEqual([...new Set(device.errors.map(({ code }) => code))], ["offline"]);
});

test("a node that leaves in good order is gone on from without an error", async (t) => {
  const user = someone();
  const [own] = fleet.replicas;
  const device = await Device.start(t, { fleet, user });
  await liveOf(device);
  const states = [];
  device.client.on("status", ({ state, error }) => states.push([state, error?.code]));
  await own.stop("SIGTERM");
  await own.start();
  await liveOf(device);
  const other = new Device({ fleet, user });
  await other.client.insert("tasks", { title: "Milk" });
  await other.client.sync();
  await shows(device, ["Milk"]);
  assert.deepEqual(states[0], ["connecting", undefined], "the stream said that it ends");
});
