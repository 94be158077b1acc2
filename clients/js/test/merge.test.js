import assert from "node:assert/strict";
import { test } from "node:test";
import { deletion, insertion, merge, rowOf, update } from "../src/merge.js";
import { after, instant, newEventId, timeOf } from "../src/time.js";
import { seedOfTest, seeded } from "./random.js";

const T = (minute) => `2026-01-01T10:${String(minute).padStart(2, "0")}:00Z`;
const key = ["tasks", "t1"];
const at = (minute) => Date.parse(T(minute));
const change = (op, minute, more) => ({ eventId: newEventId(at(minute)), table: "tasks", id: "t1", op, ...more });
const field = (value, minute) => ({ value, updatedAt: T(minute), at: T(minute) });
const fold = (changes) => changes.reduce(merge, undefined);

test("of two writes of a field the later one wins, each field on its own", () => {
  const insert = change("insert", 0, { data: { title: "Milk", done: false } });
  const title = change("update", 5, { fields: { title: field("Eggs", 5) } });
  const both = change("update", 3, { fields: { title: field("Bread", 3), done: field(true, 3) } });
  assert.deepEqual(rowOf(fold([insert, title, both])), { id: "t1", title: "Eggs", done: true });
});

test("an edit that waits here is not overwritten by an older one, and is by a newer one", () => {
  const record = fold([change("insert", 0, { data: { title: "Milk" } })]);
  const mine = merge(record, update(record, key, { title: "mine" }, at(10)));
  assert.equal(rowOf(merge(mine, change("update", 9, { fields: { title: field("older", 9) } }))).title, "mine");
  assert.equal(rowOf(merge(mine, change("update", 11, { fields: { title: field("newer", 11) } }))).title, "newer");
});

test("in whatever order, and however often: the same record", () => {
  const random = seeded(seedOfTest());
  for (let round = 0; round < 300; round++) {
    const changes = Array.from({ length: 2 + random.below(8) }, () => {
      const minute = random.below(4);
      const value = random.pick([1, "a", null, { b: [1] }, "constructor"]);
      const name = random.pick(["title", "done", "constructor", "__proto__"]);
      const spaceId = random.pick([undefined, "home", "work"]);
      switch (random.below(4)) {
        case 0: return change("insert", minute, { data: { [name]: value }, spaceId });
        case 1: return change("delete", minute, random.pick([{}, { deletedAt: T(minute) }]));
        case 2: return change("update", minute, { fields: { [name]: { value } }, spaceId });
        default: return change("update", minute, { fields: { [name]: field(value, minute) } });
      }
    });
    const shuffled = [...changes, random.pick(changes)].sort(() => random.next() - 0.5);
    assert.deepEqual(fold(shuffled), fold(changes), JSON.stringify({ changes, shuffled }));
  }
});

test("a delete beats what was written before it, and an edit after it brings the record back whole", () => {
  const insert = change("insert", 0, { data: { title: "Milk", done: false } });
  const gone = change("delete", 5, { deletedAt: T(5) });
  const early = change("update", 4, { fields: { done: field(true, 4) } });
  assert.equal(rowOf(fold([insert, gone, early])), undefined);
  assert.equal(rowOf(fold([gone, insert])), undefined);
  const late = change("update", 6, { fields: { done: field(true, 6) } });
  assert.deepEqual(rowOf(fold([late, gone, insert])), { id: "t1", title: "Milk", done: true });
});

test("an edit beats what its author saw, though the other's clock was ahead", () => {
  const ahead = fold([change("update", 50, { fields: { title: field("ahead", 50) } })]);
  const edit = update(ahead, key, { title: "mine" }, at(1));
  assert.equal(rowOf(merge(ahead, edit)).title, "mine");
  assert.equal(edit.fields.title.updatedAt, "2026-01-01T10:50:00.001Z");
  assert.equal(rowOf(merge(ahead, deletion(ahead, at(1)))), undefined);
});

test("an id that was deleted can be used again", () => {
  const first = merge(undefined, insertion(undefined, key, { title: "Milk" }, at(1)));
  const gone = merge(first, deletion(first, at(2)));
  assert.equal(deletion(gone, at(3)), undefined);
  assert.throws(() => update(gone, key, { title: "x" }, at(3)), { code: "no_record" });
  const again = insertion(gone, key, { title: "Eggs" }, at(1));
  assert.equal(again.op, "update");
  assert.deepEqual(rowOf(merge(gone, again)), { id: "t1", title: "Eggs" });
});

test("a change of a shared record names its space, which stays", () => {
  const record = merge(undefined, insertion(undefined, key, { title: "Milk", spaceId: "home" }, at(1)));
  assert.equal(record.space, "home");
  assert.equal(update(record, key, { title: "x" }, at(2)).spaceId, "home");
  assert.equal(deletion(record, at(2)).spaceId, "home");
  assert.throws(() => update(record, key, { spaceId: "work" }, at(2)), { code: "space_fixed" });
});

test("times compare as text, whatever their digits and offset", () => {
  assert.equal(instant("2026-01-01T10:05:00Z"), "2026-01-01T10:05:00.000000000Z");
  assert.equal(instant("2026-01-01T12:05:00.12345678+02:00"), "2026-01-01T10:05:00.123456780Z");
  for (const other of ["soon", "2026-13-01T00:00:00Z", "2026-01-01", "Nov 3 2026", 5, null, undefined]) {
    assert.equal(instant(other), undefined);
  }
  assert.equal(after(at(1), [undefined, T(3), "02026"]), "2026-01-01T10:03:00.001Z");
  assert.equal(after(at(1), [T(0)]), "2026-01-01T10:01:00.000Z");
  // A microsecond is enough to be later.
  assert.ok(instant(after(0, ["2026-01-01T10:03:00.000999Z"])) > instant("2026-01-01T10:03:00.000999Z"));
});

test("event ids are UUIDs of version 7, and carry their time", () => {
  const id = newEventId(at(7));
  assert.match(id, /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  assert.equal(timeOf(id), instant(T(7)));
  assert.notEqual(newEventId(1), newEventId(1));
  assert.equal(timeOf("9c6d7f64-2b0d-4a9e-8f5e-0c1f0e6a1b2c"), instant("1970-01-01T00:00:00Z"));
});
