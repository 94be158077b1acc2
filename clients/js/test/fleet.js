// Real nodes: `mana-sync dev` for its Postgres and its issuer, and `mana-sync serve` processes
// beside it, which are killed and started at will.
import { spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BINARY = process.env.MANA_SYNC_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/mana-sync");
export const SERVICE_KEY = "dev-service-key";

/** Awaits what `look` finds, under a deadline. */
export async function eventually(what, look, patience = 60_000) {
  const deadline = Date.now() + patience;
  for (let last; ; await new Promise((next) => setTimeout(next, 20))) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`, { cause: last });
  }
}

const children = new Set();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** Runs a program, the node where none is named; it ends with the test's process. */
export function run(args, program = BINARY) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const run = { child, out: "", err: "" };
  run.ended = new Promise((end) => child.once("exit", end).once("error", end));
  child.stdout.on("data", (text) => (run.out += text));
  child.stderr.on("data", (text) => (run.err += text));
  children.add(child);
  run.ended.then(() => children.delete(child));
  return run;
}

/** What `look` finds, unless the process ends before. */
function beforeEnd(run, what, look) {
  const ended = run.ended.then((why) => Promise.reject(new Error(`${what}: ended with ${why}: ${run.err}`)));
  // A new database is written to disk, which others may keep busy.
  const found = eventually(what, look, 120_000).catch((error) => {
    throw new Error(`${error.message}; it says: ${run.out}${run.err}`, { cause: error });
  });
  return Promise.race([found, ended]);
}

export async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** A node on a port of its own, whatever happens to its process. */
class Replica {
  constructor(flags, port) {
    this.url = `http://127.0.0.1:${port}`;
    this.flags = [...flags, `--port=${port}`];
  }

  async start() {
    this.process = run(["serve", ...this.flags]);
    await beforeEnd(this.process, "a replica", async () => (await fetch(`${this.url}/health/ready`)).ok);
  }

  async stop(signal) {
    this.process.child.kill(signal);
    await this.process.ended;
  }
}

export class Fleet {
  /**
   * `own`: the replicas of `mana-sync dev` itself; `origin`: of pages that may call all of it.
   * @param {{ replicas?: number, own?: number, flags?: string[], origin?: string }} [options]
   */
  static async start({ replicas = 1, own: ofDev = 1, flags = [], origin } = {}) {
    const pages = origin ? [`--cors-origins=${origin}`] : [];
    const fleet = new Fleet();
    fleet.folder = await mkdtemp(join(tmpdir(), "mana-sync-js-"));
    // The account that Postgres runs under must get there.
    await chmod(fleet.folder, 0o755);
    const data = join(fleet.folder, "data");
    fleet.dev = run(["dev", `--replicas=${ofDev}`, "--port=0", `--data=${data}`, ...pages]);
    await beforeEnd(fleet.dev, "the fleet", () => fleet.dev.out.includes("Ctrl-C stops everything."));
    fleet.console = /console +(http:\S+)/.exec(fleet.dev.out)[1];
    fleet.issuer = /issuer +(http:\S+)/.exec(fleet.dev.out)[1];
    fleet.database = /database +(postgres:\S+)/.exec(fleet.dev.out)[1];
    const own = [`--database-url=${fleet.database}`, "--bind=127.0.0.1",
      `--jwks-url=${fleet.issuer}/.well-known/jwks.json`, `--mana-auth-url=${fleet.issuer}`,
      `--mana-service-key=${SERVICE_KEY}`, "--log=warn", ...pages, ...flags];
    fleet.replicas = [];
    for (let n = 0; n < replicas; n++) fleet.replicas.push(new Replica(own, await freePort()));
    await Promise.all(fleet.replicas.map((replica) => replica.start()));
    return fleet;
  }

  get urls() {
    return this.replicas.map(({ url }) => url);
  }

  async token(user, seconds = 3600) {
    return (await fetch(`${this.issuer}/token?user=${user}&ttl=${seconds}`)).text();
  }

  /** Makes a user a member of a space, or none any more, and tells the nodes. */
  async member(method, user, space) {
    await fetch(`${this.issuer}/spaces/${space}/members/${user}`, { method });
    const path = `${this.urls[0]}/internal/memberships/${user}/invalidate`;
    const answer = await fetch(path, { method: "POST", headers: { "x-service-key": SERVICE_KEY } });
    if (answer.status !== 204) throw new Error(`invalidate: ${answer.status}`);
  }

  /** All that a user may read of an app, as the server tells it. */
  async log(app, tables, user, url = this.urls[0]) {
    const headers = { Authorization: `Bearer ${await this.token(user)}` };
    const changes = [];
    for (let since = "1970-01-01T00:00:00Z", more = true; more; ) {
      const query = `collections=${tables}&since=${encodeURIComponent(since)}`;
      const page = await (await fetch(`${url}/sync/${app}/pull?${query}`, { headers })).json();
      changes.push(...page.serverChanges);
      since = page.syncedUntil;
      more = page.hasMore;
    }
    return changes;
  }

  async stop() {
    await Promise.all(this.replicas.map((replica) => replica.stop("SIGKILL")));
    this.dev.child.kill("SIGTERM");
    await this.dev.ended;
    await rm(this.folder, { recursive: true });
  }
}
