// Requests to the nodes: token, fail-over, time-outs, and failures as errors.
/** @import { Access, Environment } from "./types.js" */
import { SyncError, errorOf } from "./errors.js";

/** Milliseconds that an answer may take; a push of 10 MB over a slow line needs them. */
const PATIENCE = 60_000;

/** A user's token, of which any number of transports make use. */
export class Token {
  #tokenOf;
  /** @type {Promise<string> | undefined} */
  #held;

  /** @param {Access["token"]} tokenOf */
  constructor(tokenOf) {
    this.#tokenOf = tokenOf;
  }

  get() {
    return (this.#held ??= this.#ask(false));
  }

  /** Has a fresh one asked for, unless that was done since `used` was given. */
  expire(used = this.#held) {
    if (this.#held === used) this.#held = this.#ask(true);
  }

  /** @param {boolean} fresh */
  #ask(fresh) {
    const asked = (async () => this.#tokenOf({ fresh }))().catch((cause) => {
      // The next request asks again.
      if (this.#held === asked) this.#held = undefined;
      throw new SyncError("token", `no token: ${cause?.message ?? cause}`, { cause });
    });
    asked.catch(() => {});
    return asked;
  }
}

export class Transport {
  /** Whose own changes are left out of what is read. */
  clientId = "";
  #urls;
  #at = 0;
  #environment;

  /**
   * @param {Access} access
   * @param {Environment} environment
   * @param {Token} [token]
   */
  constructor({ url, token: tokenOf }, environment, token = new Token(tokenOf)) {
    this.#urls = [url].flat().map((one) => one.replace(/\/+$/, ""));
    this.token = token;
    this.#environment = environment;
  }

  /** Goes on at the next node. */
  rotate() {
    this.#at = (this.#at + 1) % this.#urls.length;
  }

  /**
   * An answer of 2xx. A 401 asks for a fresh token once.
   * @param {string} path
   * @param {RequestInit & { signal: AbortSignal }} init
   */
  async request(path, init) {
    const used = this.token.get();
    let response = await this.#send(path, init, await used);
    if (response.status === 401) {
      // Whoever was refused with the same token has asked already.
      this.token.expire(used);
      response = await this.#send(path, init, await this.token.get());
    }
    if (response.ok) return response;
    if (response.status >= 500) this.rotate();
    throw await errorOf(response, this.#environment.now());
  }

  /**
   * @param {string} path
   * @param {RequestInit & { signal: AbortSignal }} init
   * @param {string} token
   */
  async #send(path, init, token) {
    const headers = { Authorization: `Bearer ${token}`, ...(this.clientId && { "X-Client-Id": this.clientId }) };
    try {
      init.signal.throwIfAborted();
      return await this.#environment.fetch(this.#urls[this.#at] + path, { ...init, headers, cache: "no-store" });
    } catch (error) {
      throw this.failed(error, init.signal);
    }
  }

  /**
   * A request's JSON.
   * @param {string} path
   * @param {RequestInit & { signal: AbortSignal }} init
   */
  async json(path, init) {
    const { signal, done } = timed(this.#environment, init.signal, PATIENCE);
    try {
      const response = await this.request(path, { ...init, signal });
      return parsed(await response.text());
    } catch (error) {
      throw this.failed(error, signal);
    } finally {
      done();
    }
  }

  /**
   * What broke a connection, as an error; the next request goes elsewhere.
   * @param {any} error
   * @param {AbortSignal} signal the request's
   */
  failed(error, signal) {
    const why = signal.aborted ? signal.reason : error;
    if (why instanceof SyncError || why?.name === "AbortError") return why;
    this.rotate();
    const code = why?.name === "TimeoutError" ? "timeout" : "offline";
    return new SyncError(code, `no answer: ${why?.message ?? why}`, { cause: why });
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SyncError("bad_answer", "the server's answer is no JSON", { cause });
  }
}

/**
 * A signal that also fires after some time, unless `done` or `again` is called before.
 * @param {Environment} environment
 * @param {AbortSignal} outer
 * @param {number} ms
 */
export function timed(environment, outer, ms) {
  const controller = new AbortController();
  const abort = () => controller.abort(outer.reason);
  const late = () => controller.abort(new DOMException("nothing came in time", "TimeoutError"));
  let timer = environment.setTimeout(late, ms);
  if (outer.aborted) abort();
  outer.addEventListener("abort", abort);
  return {
    signal: controller.signal,
    again() {
      environment.clearTimeout(timer);
      timer = environment.setTimeout(late, ms);
    },
    done() {
      environment.clearTimeout(timer);
      outer.removeEventListener("abort", abort);
    },
  };
}
