// Field-level last-writer-wins. The same set of changes gives the same record, in whatever order
// and however often they come.
/** @import { Change, Json, StoredRecord, Write, Row } from "./types.js" */
import { after, instant, newEventId, timeOf } from "./time.js";
import { SyncError } from "./errors.js";

/**
 * The fields that a change writes, with their times. An insert has none: it counts as earlier
 * than whatever has one, and among inserts the event id decides. So does the space, which an
 * update carries on its way without having written it.
 * @param {Change} change
 * @returns {[string, Write][]}
 */
function writes(change) {
  const untimed = `0${timeOf(change.eventId)}`;
  /** @type {[string, Write][]} */
  const written = [];
  if (change.spaceId) written.push(["spaceId", { value: change.spaceId, at: untimed }]);
  if (change.op === "insert") {
    for (const [name, value] of Object.entries(change.data ?? {})) written.push([name, { value, at: untimed }]);
  }
  if (change.op === "update") {
    for (const [name, field] of Object.entries(change.fields ?? {})) {
      written.push([name, { value: field.value ?? null, at: instant(field.updatedAt ?? field.at) ?? untimed }]);
    }
  }
  return written;
}

/**
 * The later one wins; of two at the same time, the greater text.
 * @param {Write} write
 * @param {Write} held
 */
function wins(write, held) {
  if (write.at !== held.at) return write.at > held.at;
  return JSON.stringify(write.value) > JSON.stringify(held.value);
}

/**
 * @param {StoredRecord | undefined} record
 * @param {Change} change
 * @returns {StoredRecord}
 */
export function merge(record, change) {
  /** @type {StoredRecord} */
  const merged = { table: change.table, id: change.id, ...record, fields: { ...record?.fields } };
  for (const [name, write] of writes(change)) {
    // A plain object can't hold a field of this name.
    if (name === "__proto__") continue;
    if (!Object.hasOwn(merged.fields, name) || wins(write, merged.fields[name])) merged.fields[name] = write;
  }
  if (change.op === "delete") {
    const at = instant(change.deletedAt) ?? timeOf(change.eventId);
    if (!merged.deletedAt || at > merged.deletedAt) merged.deletedAt = at;
  }
  const space = merged.fields.spaceId?.value;
  if (typeof space === "string") merged.space = space;
  return merged;
}

/**
 * A record is there unless it was deleted after its last write: who edits what somebody else
 * deleted earlier gets it back whole.
 * @param {StoredRecord | undefined} record
 * @returns {Row | undefined}
 */
export function rowOf(record) {
  if (!record) return undefined;
  const written = Object.entries(record.fields);
  const { deletedAt } = record;
  if (deletedAt && !written.some(([, { at }]) => at > deletedAt)) return undefined;
  const values = Object.fromEntries(written.map(([name, { value }]) => [name, value]));
  return /** @type {Row} */ ({ ...values, id: record.id });
}

/**
 * The change that makes a record; where the id was used before, one that writes all fields anew.
 * @param {StoredRecord | undefined} record
 * @param {[string, string]} key
 * @param {Record<string, Json>} data as JSON
 * @param {number} now
 * @returns {Change}
 */
export function insertion(record, [table, id], data, now) {
  if (record) return updating(record, data, now);
  const spaceId = typeof data.spaceId === "string" && data.spaceId ? { spaceId: data.spaceId } : {};
  return { eventId: newEventId(now), schemaVersion: 1, table, id, op: "insert", data, ...spaceId };
}

/**
 * The change that writes some fields of a record that is there.
 * @param {StoredRecord | undefined} record
 * @param {[string, string]} key
 * @param {Record<string, Json>} values
 * @param {number} now
 */
export function update(record, [table, id], values, now) {
  if (!record || !rowOf(record)) throw new SyncError("no_record", `there is no ${id} in ${table}`);
  return updating(record, values, now);
}

/**
 * @param {StoredRecord} record
 * @param {Record<string, Json>} values
 * @param {number} now
 * @returns {Change}
 */
function updating(record, values, now) {
  const { spaceId, ...rest } = values;
  if (spaceId !== undefined && spaceId !== record.space) {
    throw new SyncError("space_fixed", "a record stays in its space: delete it, and insert another one");
  }
  const names = Object.keys(rest);
  const updatedAt = after(now, [record.deletedAt, ...names.map((name) => record.fields[name]?.at)]);
  const fields = Object.fromEntries(names.map((name) => [name, { value: rest[name], updatedAt }]));
  return { ...head(record, now), op: "update", fields };
}

/**
 * The change that deletes a record; `undefined` where there is none.
 * @param {StoredRecord | undefined} record
 * @param {number} now
 * @returns {Change | undefined}
 */
export function deletion(record, now) {
  if (!record || !rowOf(record)) return undefined;
  const deletedAt = after(now, Object.values(record.fields).map(({ at }) => at));
  return { ...head(record, now), op: "delete", deletedAt };
}

/**
 * @param {StoredRecord} record
 * @param {number} now
 */
function head({ table, id, space }, now) {
  return { eventId: newEventId(now), schemaVersion: 1, table, id, ...(space ? { spaceId: space } : {}) };
}
