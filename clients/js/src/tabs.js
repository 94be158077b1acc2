// Several tabs over one storage: one of them syncs, and tells the others.
/** @import { Environment } from "./types.js" */

/**
 * Runs `work` as soon as no other tab does. Without locks there is nobody to wait for.
 * @param {string} name
 * @param {Environment} environment
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} work
 */
export async function lead(name, { locks }, signal, work) {
  if (!locks) return work();
  try {
    await locks.request(name, { signal }, work);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/**
 * Speaks to the other tabs; `hear` gets what they say.
 * @param {string} name
 * @param {Environment} environment
 * @param {(message: any) => void} hear
 */
export function openChannel(name, { Channel }, hear) {
  const channel = Channel && new Channel(name);
  if (channel) channel.onmessage = ({ data }) => hear(data);
  return {
    /** @param {any} message */
    say: (message) => channel?.postMessage(message),
    close: () => channel?.close(),
  };
}
