// What the client takes from a browser or from Node.
/** @import { Environment } from "./types.js" */

/**
 * @param {Partial<Environment>} [replaced]
 * @returns {Environment}
 */
export function environmentWith(replaced) {
  const navigator = globalThis.navigator;
  const isBrowser = typeof globalThis.addEventListener === "function";
  return {
    fetch: (...request) => globalThis.fetch(...request),
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (call, ms) => setTimeout(call, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    isOnline: () => navigator?.onLine !== false,
    network: isBrowser ? globalThis : undefined,
    locks: navigator?.locks,
    // Without locks every tab leads, and has nobody to tell.
    Channel: navigator?.locks && globalThis.BroadcastChannel,
    ...replaced,
  };
}
