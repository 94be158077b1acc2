// Random edits in several apps by three pages, each with one stream for its apps: clients stop and start, pages
// are killed, networks fail, replicas come and go, and so does a membership. In the end each app of each page is as its log.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Desk } from "./desk.js";
import { Fleet, eventually } from "./fleet.js";
import { seedOfTest, seeded } from "./random.js";
import { TABLES, edit, fold, restartReplicas, rowsOf } from "./storm.js";

const EDITS = 600;
const APPS = ["calendar", "notes", "todo"];

/** Edits in bursts, and fails in between. */
async function live(desk, user, random, edits, counts, signal) {
  await desk.start();
  while (desk.made.length < edits && !signal.aborted) {
    const client = desk.clients[random.pick(desk.apps)];
    const burst = Math.min(1 + random.below(12), edits - desk.made.length);
    for (const end = desk.made.length + burst; desk.made.length < end; ) await edit(client, user, random);
    await pause(random.below(250));
    const dice = random.below(12);
    if (dice < 2) {
      desk.cut();
      counts.offline++;
    } else if (dice < 6) {
      desk.mend();
    } else if (dice < 8) {
      await client.stop();
      counts.stops++;
    } else if (dice < 10) {
      await desk.start();
    } else if (dice === 10) {
      await desk.crash();
      counts.crashes++;
    } else {
      await desk.unplug();
      counts.kills++;
    }
  }
}

async function moveBob(fleet, random, counts, signal) {
  const move = (method) => eventually("a node that is told", async () => (await fleet.member(method, "bob", "home"), true));
  while (!signal.aborted) {
    await pause(random.below(2000));
    await move("DELETE");
    await pause(random.below(500));
    await move("POST");
    counts.moves++;
  }
}

test("three pages of three apps and the server's logs agree", { timeout: 180_000 }, async (t) => {
  const random = seeded(seedOfTest());
  const fleet = await Fleet.start({ replicas: 2, flags: ["--drain-delay-seconds=0", "--drain-spread-seconds=1", "--drain-deadline-seconds=3"] });
  t.after(() => fleet.stop());
  for (const user of ["alice", "bob"]) await fleet.member("POST", user, "home");
  const made = (user, apps, more) => new Desk({ fleet, user, apps, tables: TABLES, random: random.next, ...more });
  const desks = [made("alice", APPS), made("alice", ["calendar", "todo"], { first: 1, skew: -300_000 }), made("bob", APPS, { skew: 180_000 })];
  const users = ["alice", "alice", "bob"];
  t.after(() => Promise.all(desks.map((desk) => desk.stop())));
  for (const desk of desks) desk.loss = 0.2;

  const counts = { offline: 0, stops: 0, crashes: 0, kills: 0, restarts: 0, moves: 0 };
  const done = new AbortController();
  const around = [restartReplicas(fleet, random, counts, done.signal), moveBob(fleet, random, counts, done.signal)];
  await Promise.all(desks.map((desk, at) => live(desk, users[at], random, EDITS / 3, counts, t.signal))).finally(() => {
    done.abort();
    return Promise.all(around);
  });
  for (const desk of desks) {
    desk.loss = 0;
    desk.mend();
    await desk.start();
  }
  await eventually("queues that are empty", () => desks.every((desk) => desk.all.every(({ status }) => status.pending === 0)));
  const stored = new Map();
  for (const [at, desk] of desks.entries()) {
    for (const app of desk.apps) {
      const log = await fleet.log(app, TABLES, users[at], fleet.urls[at % 2]);
      log.forEach((change) => stored.set(change.eventId, change));
      const expected = fold(log);
      await eventually(`${app} of page ${at} as the log`, async () => {
        assert.deepEqual(await rowsOf(desk.clients[app]), expected);
        return true;
      });
    }
    await desk.live();
    assert.deepEqual(desk.open().apps.sort(), desk.apps);
    assert.deepEqual(desk.errors.filter(([, code]) => code === "storage"), [], "no cursor went back");
  }
  const pushed = desks.flatMap((desk) => desk.made);
  assert.equal(pushed.length, EDITS);
  assert.ok(pushed.every((id) => stored.has(id)), "every edit is in a log");
  const lost = desks.reduce((sum, { lostAnswers }) => sum + lostAnswers, 0);
  const streams = desks.flatMap((desk) => desk.streams);
  console.log(`${EDITS} edits, ${streams.length} streams, ${lost} answers lost: ${JSON.stringify(counts)}`);
  assert.ok(Object.values(counts).every(Boolean) && lost, "not all went wrong, so not all was shown");
});
