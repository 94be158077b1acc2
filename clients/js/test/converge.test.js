// 1,000 edits by three devices that are offline now and then, crash, and lose answers, over
// replicas that are killed and drained: all devices and the server's log agree in the end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
// Before Dexie, which looks for it.
import "fake-indexeddb/auto";
import Dexie from "dexie";
import { dexieStorage, syncTables } from "../src/dexie.js";
import { Device } from "./device.js";
import { Fleet, eventually } from "./fleet.js";
import { seedOfTest, seeded } from "./random.js";

const EDITS = 1000;
const TABLES = ["tasks", "notes"];

/** What a log says, told apart from the client's code: all writes of a field, sorted. */
function fold(log) {
  const records = new Map();
  const timeOf = ({ eventId }) => parseInt(eventId.replace("-", "").slice(0, 12), 16);
  for (const change of log) {
    const key = `${change.table}/${change.id}`;
    const record = records.get(key) ?? { id: change.id, writes: {}, deleted: -1, edited: -1 };
    records.set(key, record);
    const write = (name, value, rank, time) => (record.writes[name] ??= []).push({ value, rank, time });
    if (change.op === "delete") record.deleted = Math.max(record.deleted, Date.parse(change.deletedAt));
    for (const [name, value] of Object.entries(change.data ?? {})) write(name, value, 0, timeOf(change));
    for (const [name, { value, updatedAt }] of Object.entries(change.fields ?? {})) {
      write(name, value, 1, Date.parse(updatedAt));
      record.edited = Math.max(record.edited, Date.parse(updatedAt));
    }
  }
  const rows = {};
  for (const [key, { id, writes, deleted, edited }] of records) {
    if (deleted >= edited && deleted >= 0) continue;
    const order = (a, b) => a.rank - b.rank || a.time - b.time || (JSON.stringify(a.value) < JSON.stringify(b.value) ? -1 : 1);
    rows[key] = { id };
    for (const [name, list] of Object.entries(writes)) rows[key][name] = list.sort(order).at(-1).value;
  }
  return rows;
}

async function rowsOf({ client }) {
  const rows = {};
  for (const table of TABLES) for (const row of await client.list(table)) rows[`${table}/${row.id}`] = row;
  return rows;
}

async function edit(device, user, random) {
  const table = random.pick(TABLES);
  const { client } = device;
  const rows = await client.list(table);
  const dice = random.below(10);
  if (rows.length < 5 || dice < 2) {
    const spaceId = user === "bob" || random.below(2) ? { spaceId: "home" } : {};
    await client.insert(table, { title: `title ${random.below(1e6)}`, done: false, ...spaceId });
  } else if (dice < 3) {
    await client.delete(table, random.pick(rows).id);
  } else {
    const fields = { title: `title ${random.below(1e6)}`, done: random.below(2) === 0, tags: [random.below(9)] };
    const names = Object.keys(fields).filter(() => random.below(2));
    const some = Object.fromEntries((names.length ? names : ["title"]).map((name) => [name, fields[name]]));
    // The row may be gone by now.
    await client.update(table, random.pick(rows).id, some).catch((error) => assert.equal(error.code, "no_record"));
  }
}

/** Edits in bursts, and fails in between. */
async function live(device, user, random, edits, counts, signal) {
  await device.client.start();
  while (device.made.length < edits && !signal.aborted) {
    const burst = Math.min(1 + random.below(25), edits - device.made.length);
    for (const end = device.made.length + burst; device.made.length < end; ) await edit(device, user, random);
    await pause(random.below(250));
    const dice = random.below(8);
    if (dice < 2) {
      device.cut();
      counts.offline++;
    } else if (dice < 5) {
      device.mend();
    } else if (dice === 5) {
      await device.crash();
      counts.crashes++;
    }
  }
}

async function restartReplicas(fleet, random, counts, signal) {
  while (!signal.aborted) {
    const replica = random.pick(fleet.replicas);
    await replica.stop(random.pick(["SIGKILL", "SIGTERM"]));
    await pause(random.below(400));
    await replica.start();
    counts.restarts++;
  }
}

async function dexie(name) {
  const db = new Dexie(name);
  db.version(1).stores({ ...syncTables, tasks: "id", notes: "id" });
  return db;
}

test("three devices and the server's log agree after 1,000 edits", { timeout: 180_000 }, async (t) => {
  const random = seeded(seedOfTest());
  const fleet = await Fleet.start({ replicas: 2, flags: ["--drain-delay-seconds=0", "--drain-spread-seconds=1", "--drain-deadline-seconds=3"] });
  t.after(() => fleet.stop());
  const db = await dexie(`device-${random.below(1e9)}`);
  const made = (user, more) => new Device({ fleet, user, tables: TABLES, random: random.next, ...more });
  const phone = made("alice", { storage: dexieStorage(db), skew: -300_000 });
  const laptop = made("alice", { first: 1 });
  const tablet = made("bob", { first: 1, skew: 180_000 });
  const devices = [phone, laptop, tablet];
  t.after(() => Promise.all(devices.map(({ client }) => client.stop())));
  for (const device of devices) device.loss = 0.2;

  const counts = { offline: 0, crashes: 0, restarts: 0 };
  const done = new AbortController();
  const restarts = restartReplicas(fleet, random, counts, done.signal);
  await Promise.all([
    live(phone, "alice", random, 334, counts, t.signal),
    live(laptop, "alice", random, 333, counts, t.signal),
    live(tablet, "bob", random, 333, counts, t.signal),
  ]).finally(() => {
    done.abort();
    return restarts;
  });
  for (const device of devices) {
    device.loss = 0;
    device.mend();
  }
  await eventually("queues that are empty", () => devices.every(({ client }) => client.status.pending === 0));
  const log = { alice: await fleet.log("todo", TABLES, "alice"), bob: await fleet.log("todo", TABLES, "bob", fleet.urls[1]) };
  const users = ["alice", "alice", "bob"];
  for (const [at, device] of devices.entries()) {
    const expected = fold(log[users[at]]);
    await eventually(`device ${at} as the log`, async () => {
      assert.deepEqual(await rowsOf(device), expected);
      return true;
    });
  }
  // What Dexie's queries see is the same.
  for (const row of await db.tasks.toArray()) assert.deepEqual(row, await phone.client.get("tasks", row.id));
  assert.equal(await db.tasks.count(), (await phone.client.list("tasks")).length);

  const pushed = devices.flatMap((device) => device.made);
  const stored = new Map([...log.alice, ...log.bob].map((change) => [change.eventId, change]));
  assert.equal(pushed.length, EDITS);
  assert.deepEqual([...stored.keys()].sort(), pushed.sort(), "every edit is in the log");
  for (const changes of Object.values(log)) {
    assert.equal(new Set(changes.map(({ eventId }) => eventId)).size, changes.length, "none is there twice");
  }
  const lost = devices.reduce((sum, { lostAnswers }) => sum + lostAnswers, 0);
  const codes = devices.flatMap(({ errors }) => errors.map(({ code }) => code));
  const tally = Object.fromEntries([...new Set(codes)].map((code) => [code, codes.filter((one) => one === code).length]));
  console.log(`${EDITS} edits, ${Object.keys(fold(log.alice)).length} rows: ${counts.restarts} restarts of replicas, ` +
    `${counts.offline} times offline, ${counts.crashes} crashes, ${lost} answers lost; failures ${JSON.stringify(tally)}`);
  assert.ok(counts.restarts && counts.offline && counts.crashes && lost, "nothing went wrong, so nothing was shown");
});
