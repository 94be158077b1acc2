// What random runs share: edits, replicas that come and go, and what the log says of the rows.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

export const TABLES = ["tasks", "notes"];

export async function rowsOf(client) {
  const rows = {};
  for (const table of TABLES) for (const row of await client.list(table)) rows[`${table}/${row.id}`] = row;
  return rows;
}

/** Some edit, of bob's into the space, of others' into it or not. */
export async function edit(client, user, random) {
  const table = random.pick(TABLES);
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

/** What a log says, told apart from the client's code: all writes of a field, sorted. */
export function fold(log) {
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

/** Kills and drains, until the signal. */
export async function restartReplicas(fleet, random, counts, signal) {
  while (!signal.aborted) {
    const replica = random.pick(fleet.replicas);
    await replica.stop(random.pick(["SIGKILL", "SIGTERM"]));
    await pause(random.below(400));
    await replica.start();
    counts.restarts++;
  }
}
