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
import { TABLES, edit, fold, restartReplicas, rowsOf } from "./storm.js";
import { seedOfTest, seeded } from "./random.js";

const EDITS = 1000;

/** Edits in bursts, and fails in between. */
async function live(device, user, random, edits, counts, signal) {
  await device.client.start();
  while (device.made.length < edits && !signal.aborted) {
    const burst = Math.min(1 + random.below(25), edits - device.made.length);
    for (const end = device.made.length + burst; device.made.length < end; ) await edit(device.client, user, random);
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
      assert.deepEqual(await rowsOf(device.client), expected);
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
