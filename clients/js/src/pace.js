// Waiting: how long between attempts, and being woken earlier.
/** @import { Access, Environment } from "./types.js" */
import { SyncError, failedStorage } from "./errors.js";

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

/**
 * Does `work` again and again, at a slower pace while it fails.
 * @param {{ environment: Environment, retry: Access["retry"], signal: AbortSignal, network: Latch,
 *   failed: (error: SyncError) => void }} how
 * @param {(reset: () => void) => Promise<void>} work
 */
export async function repeat({ environment, retry, signal, network, failed }, work) {
  const pace = backoff(environment.random, retry);
  while (!signal.aborted) {
    try {
      if (!environment.isOnline()) throw offline();
      await work(pace.reset);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = thrown instanceof SyncError ? thrown : failedStorage(thrown);
      failed(error);
      // Longer than the server asks for, never shorter.
      await new Latch().wait(environment, signal, error.retryAfter);
      await network.wait(environment, signal, pace.next());
    }
  }
}

/**
 * Has the network's comings and goings told, until the signal.
 * @param {Environment} environment
 * @param {AbortSignal} signal
 * @param {{ back: () => void, gone: (error: SyncError) => void }} says
 */
export function watch({ network }, signal, { back, gone }) {
  network?.addEventListener("online", back, { signal });
  network?.addEventListener("offline", () => gone(offline()), { signal });
}

const offline = () => new SyncError("offline", "there is no network");
