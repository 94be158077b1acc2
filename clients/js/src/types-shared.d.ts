import type { Access, SharedStream } from "./types.js";

/** One stream for the clients of one user that are created with it, as `stream`. */
export declare function sharedStream(access: Access): SharedStream;
