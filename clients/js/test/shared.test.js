// Clients of several apps by one stream of a real node.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { Device } from "./device.js";
import { Fleet, eventually } from "./fleet.js";

/** @type {Fleet} */
let fleet;
before(async () => (fleet = await Fleet.start({ replicas: 2, flags: ["--drain-delay-seconds=0", "--drain-spread-seconds=1"] })));
after(() => fleet.stop());

let users = 0;
/** Nobody has been this user before. */
const someone = () => `person-${++users}`;
/** Another device of the user, for each of the apps. */
const othersOf = async (t, user, apps, more) =>
  Object.fromEntries(await Promise.all(apps.map(async (app) => [app, await Device.start(t, { fleet, user, app, ...more })])));
const came = (requests) => requests.flatMap((request) => request.came);
const isUnique = (list) => new Set(list).size === list.length;

for (const apps of [["calendar", "todo"], ["calendar", "notes", "todo"]]) {
  test(`${apps.length} apps come by one connection, each change once`, async (t) => {
    const user = someone();
    const desk = await Desk.start(t, { fleet, user, apps });
    const others = await othersOf(t, user, apps, { tables: ["tasks", "elsewhere"] });
    const heard = [];
    for (const app of apps) desk.clients[app].on("change", ({ keys }) => heard.push(...keys.map(([table]) => `${app}/${table}`)));
    for (const app of apps) {
      await others[app].client.insert("elsewhere", { title: "of a table that is not followed" });
      await others[app].client.insert("tasks", { title: `theirs in ${app}` });
      await desk.shows(app, [`theirs in ${app}`]);
    }
    const writes = { ...desk.writes };
    for (const app of apps) await desk.clients[app].insert("tasks", { title: `mine in ${app}` });
    for (const app of apps) {
      await eventually("the edit elsewhere", async () => (await others[app].client.list("tasks")).length === 2);
      await desk.shows(app, [`mine in ${app}`, `theirs in ${app}`]);
      assert.deepEqual(await desk.titles(app, "elsewhere"), []);
    }
    await eventually("the own edits, by the stream", () => desk.made.every((id) => came(desk.streams).includes(id)));
    assert.deepEqual(desk.open().apps.sort(), apps);
    assert.ok(desk.streams.length <= apps.length, "opened anew only for who came late");
    assert.ok(isUnique(came(desk.streams)), "nothing comes twice");
    assert.deepEqual(heard.sort(), apps.flatMap((app) => Array(2).fill(`${app}/tasks`)), "of each edit once");
    assert.deepEqual(desk.writes, writes, "what was pushed here costs no transaction when it is back");
    assert.deepEqual(desk.errors, []);
  });
}

test("who starts or stops has the stream opened anew, and the others miss nothing", async (t) => {
  const user = someone();
  const desk = await Desk.start(t, { fleet, user, apps: ["calendar", "todo"] });
  const others = await othersOf(t, user, ["calendar", "todo", "notes"]);
  const expected = [];
  let isOver = false;
  const busy = (async () => {
    while (!isOver) {
      const title = `${expected.length}`.padStart(4, "0");
      await others.calendar.client.insert("tasks", { title });
      expected.push(title);
      await new Promise((next) => setTimeout(next, 2));
    }
  })();
  const opened = [];
  const openedWith = async (apps) => {
    await eventually(`a stream of ${apps}`, () => desk.open().apps.sort().join() === apps.join());
    await eventually("its first event", () => apps.every((app) => desk.clients[app].status.state === "live"));
    opened.push(desk.streams.length);
  };
  await openedWith(["calendar", "todo"]);
  for (let round = 0; round < 4; round++) {
    await others.notes.client.insert("tasks", { title: `for round ${round}` });
    await eventually("its push", () => others.notes.client.status.pending === 0);
    await desk.add("notes").start();
    await openedWith(["calendar", "notes", "todo"]);
    await desk.clients.notes.stop();
    await openedWith(["calendar", "todo"]);
    const kept = await desk.cursorOf("todo");
    await eventually("news of the busy app", () => desk.open().until > kept);
    await desk.clients.todo.stop();
    assert.ok((await desk.cursorOf("todo")) > kept, "who stops keeps what was told last");
    await openedWith(["calendar"]);
    await desk.clients.todo.start();
    await openedWith(["calendar", "todo"]);
  }
  isOver = true;
  await busy;
  await desk.shows("calendar", expected);
  assert.equal((await desk.titles("notes")).length, 4);
  assert.deepEqual(opened.map((count) => count - opened[0]), opened.map((_, at) => at), "each once");
  await Promise.all(["calendar", "todo"].map((app) => desk.clients[app].stop()));
  assert.ok(desk.streams.every(({ isOpen }) => !isOpen), "the last one ends it");
  await others.todo.client.insert("tasks", { title: "Milk" });
  await desk.clients.todo.start();
  await desk.shows("todo", ["Milk"]);
  assert.deepEqual(desk.errors, []);
});

test("all go on by another node when theirs is killed, and by none of the old when it drains", async (t) => {
  const user = someone();
  const apps = ["calendar", "notes", "todo"];
  const desk = await Desk.start(t, { fleet, user, apps });
  const others = await othersOf(t, user, apps, { first: 1 });
  const at = () => fleet.replicas.find(({ url }) => desk.open().url.startsWith(url));
  const states = [];
  for (const app of apps) desk.clients[app].on("status", ({ state }) => states.push(`${app} ${state}`));
  const killed = at();
  await killed.stop("SIGKILL");
  for (const app of apps) await others[app].client.insert("tasks", { title: "after the kill" });
  for (const app of apps) await desk.shows(app, ["after the kill"]);
  await desk.live();
  assert.ok(at() !== killed);
  for (const app of apps) assert.ok(desk.errors.some(([of, code]) => of === app && ["ended", "offline"].includes(code)), "each is told");
  for (const app of apps) assert.ok(states.includes(`${app} offline`) && states.includes(`${app} live`), `${states}`);
  await killed.start();

  desk.errors.length = 0;
  const leaving = at();
  await leaving.stop("SIGTERM");
  for (const app of apps) await desk.clients[app].insert("tasks", { title: "while it leaves" });
  for (const app of apps) await eventually("the edit elsewhere", async () => (await others[app].client.list("tasks")).length === 2);
  await desk.live();
  await leaving.start();
  assert.ok(desk.errors.every(([, code]) => code !== "ended"), "the stream said that it ends");
});

test("the token is asked for once, and once more when it runs out", async (t) => {
  const user = someone();
  const asked = [];
  const token = ({ fresh }) => (asked.push(fresh), fleet.token(user, fresh ? 3600 : 2));
  const desk = await Desk.start(t, { fleet, user, apps: ["calendar", "todo"], token });
  await eventually("a fresh token", () => asked.length === 2);
  await eventually("the stream again", () => desk.streams.at(-1).isOpen);
  await desk.live();
  for (const client of desk.all) await client.insert("tasks", { title: "Milk" });
  await eventually("empty queues", () => desk.all.every(({ status }) => status.pending === 0));
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(desk.errors, []);
});

test("without a network all wait, and when it is back one stream brings what they missed", async (t) => {
  const user = someone();
  const apps = ["calendar", "todo"];
  const network = new EventTarget();
  const online = { isOnline: true };
  // Only the event can wake them.
  const environment = { network, isOnline: () => online.isOnline, random: () => 1 };
  const desk = await Desk.start(t, { fleet, user, apps, environment, retry: { min: 1e9, max: 1e9 } });
  const others = await othersOf(t, user, apps);
  const goes = (isOnline) => {
    online.isOnline = isOnline;
    network.dispatchEvent(new Event(isOnline ? "online" : "offline"));
  };
  goes(false);
  await eventually("being offline", () => desk.all.every(({ status }) => status.state === "offline"));
  const { length } = desk.streams;
  const pulls = desk.pulls.length;
  for (const app of apps) {
    await desk.clients[app].insert("tasks", { title: "mine" });
    await others[app].client.insert("tasks", { title: "theirs" });
  }
  await eventually("the others' pushes", () => apps.every((app) => others[app].client.status.pending === 0));
  goes(true);
  for (const app of apps) await desk.shows(app, ["mine", "theirs"]);
  await eventually("empty queues", () => desk.all.every(({ status }) => status.pending === 0));
  await desk.live();
  assert.equal(desk.streams.length, length + 1);
  assert.equal(desk.pulls.length, pulls, "the stream has all of it");
  assert.deepEqual([...new Set(desk.errors.map(([, code]) => code))], ["offline"]);
});

test("the cursor of a quiet app moves on with the others", async (t) => {
  const user = someone();
  const apps = ["calendar", "notes", "todo"];
  const desk = await Desk.start(t, { fleet, user, apps });
  const { calendar } = await othersOf(t, user, ["calendar"]);
  const writes = desk.writes.todo;
  const add = async (count) => {
    for (let n = 0; n < count; n++) {
      await calendar.client.insert("tasks", { title: "Meeting" });
      await eventually("an empty queue", () => calendar.client.status.pending === 0);
    }
    await eventually("the last one", () => calendar.made.every((id) => came([...desk.pulls, ...desk.streams]).includes(id)));
  };
  await add(20);
  assert.ok(desk.writes.todo - writes <= 1, "an event of another app is no transaction");

  // A page that goes on.
  const [old] = [desk.open()];
  const replica = fleet.replicas.find(({ url }) => old.url.startsWith(url));
  await replica.stop("SIGKILL");
  await eventually("another stream", () => desk.streams.at(-1) !== old && desk.streams.at(-1).isOpen);
  await desk.live();
  await replica.start();
  assert.equal(desk.streams.at(-1).since, old.until, "what was told last");
  for (const app of apps) assert.equal(await desk.cursorOf(app), old.until, "and it is kept");
  assert.deepEqual(desk.streams.at(-1).came, []);

  // A page that is killed: some seconds may be missing, and no more.
  desk.skew += 6_000;
  await add(1);
  const { until } = desk.open();
  await eventually("a cursor that moved on", async () => (await desk.cursorOf("todo")) === until);
  await add(3);
  const before = [desk.pulls.length, desk.streams.length];
  await desk.unplug();
  await desk.live();
  const again = [...desk.pulls.slice(before[0]), ...desk.streams.slice(before[1])];
  for (const app of ["notes", "todo"]) assert.equal(again.find(({ path }) => path.includes(`/${app}/`)).since, until);
  assert.deepEqual(came(again), [], "nothing old comes again");
  assert.equal((await desk.titles("calendar")).length, 24);
});

test("a lost space's rows go in all apps, and who joins again has them back", async (t) => {
  const [owner, guest] = [someone(), someone()];
  const space = `space-of-${owner}`;
  for (const user of [owner, guest]) await fleet.member("POST", user, space);
  const apps = ["calendar", "notes", "todo"];
  const desk = await Desk.start(t, { fleet, user: guest, apps });
  const others = await othersOf(t, owner, apps);
  const told = [];
  for (const app of apps) desk.clients[app].on("spaces", ({ lost }) => told.push(...lost.map(() => app)));
  for (const app of apps) {
    await others[app].client.insert("tasks", { title: "ours", spaceId: space });
    await desk.shows(app, ["ours"]);
    const [{ id }] = await desk.clients[app].list("tasks");
    await desk.clients[app].update("tasks", id, { title: "changed by the guest" });
    await desk.clients[app].insert("tasks", { title: "mine alone" });
  }
  await eventually("empty queues", () => desk.all.every(({ status }) => status.pending === 0));
  await fleet.member("DELETE", guest, space);
  for (const app of apps) await desk.shows(app, ["mine alone"]);
  assert.deepEqual(told.sort(), apps);
  await fleet.member("POST", guest, space);
  for (const app of apps) await desk.shows(app, ["changed by the guest", "mine alone"]);
  assert.deepEqual(desk.errors, []);
});

test("a storage that fails, or hangs, stops its own client alone", async (t) => {
  const user = someone();
  const apps = ["calendar", "todo"];
  // Time passes faster, so that nobody waits.
  const environment = { setTimeout: (call, ms) => setTimeout(call, ms / 20) };
  const desk = await Desk.start(t, { fleet, user, apps, environment });
  const others = await othersOf(t, user, apps);
  const expected = [];
  for (const fault of ["fails once", "fails", "hangs"]) {
    desk.errors.length = 0;
    desk.faults.todo = fault;
    expected.push(`it ${fault}`);
    for (const app of ["todo", "calendar"]) await others[app].client.insert("tasks", { title: expected.at(-1) });
    await desk.shows("calendar", expected.toSorted());
    if (fault !== "fails once") {
      await eventually("a stream without the other", () => String(desk.open().apps) === "calendar");
      await eventually("being live", () => desk.clients.calendar.status.state === "live");
    }
    if (fault === "hangs") break;
    await eventually("the failure", () => desk.errors.length > 0);
    if (fault === "fails") assert.equal(desk.clients.todo.status.state, "waiting");
    desk.faults.todo = undefined;
    assert.ok(desk.errors.every(([app, code]) => app === "todo" && code === "storage"), `${desk.errors}`);
    await desk.shows("todo", expected.toSorted());
    await eventually("both again", () => desk.open().apps.length === 2);
    await desk.live();
  }
  // Only a new page helps a storage that gives no answer.
  desk.faults.todo = undefined;
  await desk.unplug();
  await desk.shows("todo", expected.toSorted());
  await desk.live();
});
