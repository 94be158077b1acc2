export { createClient } from "./client.js";
export { SyncError } from "./errors.js";
export { memoryStorage } from "./memory.js";
export { merge, rowOf } from "./merge.js";
