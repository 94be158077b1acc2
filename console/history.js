// Who wrote what into which field, as far as a device has seen it; and where two did so without
// knowing of each other. The client merges; this only remembers, so that it can be shown.

/** The most records that are remembered. */
const RECORDS = 500;

export class History {
  /** By record, then by field: its last write. */
  #writes = new Map();
  /** By record: the last conflict. */
  conflicts = new Map();

  /** The edits made here. @param {import("./client/types.js").Change} change */
  mine(change) {
    this.conflicts.delete(change.id);
    for (const write of writesOf(change)) this.#keep(change.id, { ...write, isMine: true });
  }

  /** What a node has taken: from now on others know of it. */
  acknowledged(changes) {
    const now = Date.now();
    for (const { id, eventId } of changes) {
      for (const write of this.#writes.get(id)?.values() ?? []) {
        if (write.eventId === eventId) write.knownAt ??= now;
      }
    }
  }

  /**
   * What came from elsewhere; gives the record's conflict, where that is one.
   * @param {import("./client/types.js").Change} change
   */
  theirs(change) {
    let conflict;
    for (const write of writesOf(change)) {
      const held = this.#writes.get(change.id)?.get(write.field);
      if (held?.eventId === write.eventId) continue;
      if (held && isBlind(held, write)) conflict = settle(held, write);
      // Who wrote this has seen what came of the last one.
      else if (this.conflicts.get(change.id)?.field === write.field) this.conflicts.delete(change.id);
      if (!held || held.at <= write.at) this.#keep(change.id, write);
    }
    if (conflict) this.conflicts.set(change.id, conflict);
    return conflict;
  }

  #keep(id, write) {
    const fields = this.#writes.get(id) ?? new Map();
    this.#writes.set(id, fields.set(write.field, write));
    if (this.#writes.size > RECORDS) this.#writes.delete(this.#writes.keys().next().value);
  }
}

/** Whether one was written by somebody who can't have seen the other. */
function isBlind(held, write) {
  if (JSON.stringify(held.value) === JSON.stringify(write.value)) return false;
  if (held.at > write.at) return true;
  return Boolean(held.isMine) && (held.knownAt === undefined || held.knownAt > Date.parse(write.at));
}

/** The later one wins; at the same time, the greater text. */
function settle(held, write) {
  const isLater = write.at === held.at ? JSON.stringify(write.value) > JSON.stringify(held.value) : write.at > held.at;
  return isLater ? { field: write.field, won: write, lost: held } : { field: write.field, won: held, lost: write };
}

/** What an update writes; an insert's fields have no times, and give way to all that have. */
function writesOf({ op, fields, eventId, actor }) {
  if (op !== "update") return [];
  return Object.entries(fields ?? {}).map(([field, { value, updatedAt, at }]) => ({
    field, value, eventId, at: updatedAt ?? at ?? "", by: actor?.name ?? "somebody",
  }));
}
