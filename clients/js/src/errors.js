// What can fail, with a code to branch on.

export class SyncError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, retryAfter?: number, cause?: unknown }} [more]
   */
  constructor(code, message, { status, retryAfter = 0, cause } = {}) {
    super(message, { cause });
    this.name = "SyncError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** @param {unknown} cause */
export const failedStorage = (cause) => new SyncError("storage", String(cause), { cause });

/**
 * The error that an answer says.
 * @param {Response} response
 * @param {number} now
 */
export async function errorOf(response, now) {
  const { status } = response;
  const retryAfter = retryAfterOf(response.headers.get("retry-after"), now);
  const said = await response.json().catch(() => null);
  // Whatever stands between may answer in other words.
  const code = typeof said?.error === "string" ? said.error : `http_${status}`;
  return new SyncError(code, said?.message ?? `the server answered ${status}`, { status, retryAfter });
}

/**
 * Milliseconds, from seconds or a date.
 * @param {string | null} text
 * @param {number} now
 */
export function retryAfterOf(text, now) {
  if (!text) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Math.max(0, ms || 0);
}

/**
 * Whether the changes themselves are at fault, so that sending them again is useless.
 * @param {unknown} error
 */
export function isRefused(error) {
  if (!(error instanceof SyncError)) return false;
  const codes = ["invalid_json", "invalid_changeset", "invalid_request", "unsupported_schema_version"];
  return error.status === 413 || (error.status === 400 && codes.includes(error.code));
}
