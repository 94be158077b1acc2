// Times as text that sorts as they do, and event ids.

const ISO = /^(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/;

/** The start of all feeds. */
export const START = "1970-01-01T00:00:00.000000Z";

/** Later than every change: a push with it reads nothing. */
export const NEVER = "9999-12-31T23:59:59.000000Z";

/**
 * An ISO time in UTC with nine digits, so that two of them compare as text; `undefined` for
 * anything else.
 * @param {unknown} text
 */
export function instant(text) {
  const parts = typeof text === "string" ? ISO.exec(text) : null;
  const seconds = parts ? Date.parse(parts[1] + parts[3]) : NaN;
  if (!parts || Number.isNaN(seconds)) return undefined;
  const digits = (parts[2] ?? "").padEnd(9, "0").slice(0, 9);
  return `${new Date(seconds).toISOString().slice(0, 19)}.${digits}Z`;
}

/**
 * Now, or a millisecond after `times` where a clock runs ahead of ours: an edit beats what its
 * author saw.
 * @param {number} now
 * @param {(string | undefined)[]} times
 */
export function after(now, times) {
  const seen = times.map((time) => Date.parse(instant(time)?.replace(/\d{6}Z$/, "Z") ?? ""));
  const latest = Math.max(now, ...seen.filter((time) => !Number.isNaN(time)).map((time) => time + 1));
  return new Date(latest).toISOString();
}

/**
 * An event id: a UUID of version 7.
 * @param {number} now
 */
export function newEventId(now) {
  const time = now.toString(16).padStart(12, "0");
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  const random = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const variant = "89ab"[bytes[9] & 3];
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-${variant}${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

/**
 * The time in an event id; the start where it has none.
 * @param {string} eventId
 */
export function timeOf(eventId) {
  const parts = /^([\da-f]{8})-([\da-f]{4})-7/i.exec(eventId ?? "");
  const time = parts ? parseInt(parts[1] + parts[2], 16) : 0;
  return /** @type {string} */ (instant(new Date(Math.min(time, Date.parse(NEVER))).toISOString()));
}
