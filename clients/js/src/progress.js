// How reading and pushing go, as one status: a stream that is open doesn't hide that pushes fail.
/** @import { Status } from "./types.js" */
/** @import { SyncError } from "./errors.js" */

/** @typedef {Pick<Status, "state" | "error">} Stage */

export class Progress {
  /** @type {Stage} */
  #reading = { state: "connecting" };
  /** By what pushing fails, while it does. @type {Stage | undefined} */
  #pushing;
  #say;

  /** @param {(stage: Stage) => Promise<void>} say tells of the status, which may be the one before */
  constructor(say) {
    this.#say = say;
  }

  /** What failed last stays told until the stream is there. */
  opening() {
    return this.#read({ ...this.#reading, state: "connecting" });
  }

  async opened() {
    if (this.#reading.state !== "live") await this.#read({ state: "live" });
  }

  /** @param {SyncError} error */
  readFailed(error) {
    return this.#read(failure(error));
  }

  /** @param {SyncError} [error] by what the push failed, if it did */
  pushed(error) {
    this.#pushing = error && failure(error);
    return this.#tell();
  }

  /** @param {Stage} stage */
  #read(stage) {
    this.#reading = stage;
    return this.#tell();
  }

  #tell() {
    const { state, error } = (!this.#reading.error && this.#pushing) || this.#reading;
    return this.#say({ state, error });
  }
}

/** @param {SyncError} error @returns {Stage} */
function failure({ status, code, message }) {
  const state = status === undefined && code !== "storage" ? "offline" : "waiting";
  return { state, error: { code, message } };
}
