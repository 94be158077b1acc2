// Waiting: how long between attempts, and being woken earlier.
/** @import { Environment } from "./types.js" */

/**
 * Exponential back-off with full jitter.
 * @param {() => number} random
 * @param {{ min?: number, max?: number }} [bounds] milliseconds
 */
export function backoff(random, { min = 500, max = 60_000 } = {}) {
  let failures = 0;
  return {
    reset() {
      failures = 0;
    },
    /** Milliseconds until the next attempt. */
    next() {
      return random() * Math.min(max, min * 2 ** failures++);
    },
  };
}

/** Something to wait for that may happen before anybody waits: then the next wait is none. */
export class Latch {
  #happened = false;
  /** @type {(() => void) | undefined} */
  #wake;

  set() {
    this.#happened = true;
    this.#wake?.();
  }

  /**
   * Until it is set, at most so long, or until the signal.
   * @param {Environment} environment
   * @param {AbortSignal} signal
   * @param {number} [ms]
   */
  async wait(environment, signal, ms) {
    if (!this.#happened && !signal.aborted) {
      await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
        const timer = ms === undefined ? undefined : environment.setTimeout(resolve, ms);
        const done = () => {
          if (timer !== undefined) environment.clearTimeout(timer);
          resolve();
        };
        this.#wake = done;
        signal.addEventListener("abort", done);
      });
      signal.removeEventListener("abort", this.#wake ?? (() => {}));
      this.#wake = undefined;
    }
    this.#happened = false;
  }
}
