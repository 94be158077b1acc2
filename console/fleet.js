// The replicas of a fleet, asked for again and again while somebody looks.
import { desk, isFleet } from "./session.js";

const PERIOD = 700;

export class Fleet extends EventTarget {
  /** @type {{ url: string, state: string, clock?: string, horizon?: string, watermark?: string }[]} */
  replicas = [];
  isAway = false;

  async start() {
    if (!isFleet) {
      this.replicas = [{ url: location.origin, state: "running" }];
      return;
    }
    await this.look();
    const again = async () => {
      if (!document.hidden) await this.look();
      setTimeout(again, PERIOD);
    };
    setTimeout(again, PERIOD);
  }

  async look() {
    try {
      const { replicas } = await (await desk("GET", "/dev/fleet")).json();
      this.replicas = replicas;
      this.isAway = false;
    } catch {
      this.isAway = true;
    }
    this.dispatchEvent(new Event("seen"));
  }

  /** Has a replica start, stop or drain. @param {number} number @param {"start" | "stop" | "drain"} act */
  async act(number, act) {
    const done = desk("POST", `/dev/replicas/${number}/${act}`);
    void this.look();
    await done;
    await this.look();
  }

  nameOf = (url) => {
    const at = this.replicas.findIndex((replica) => replica.url === url);
    return at < 0 ? "" : isFleet ? `replica ${at + 1}` : "this node";
  };

  /** The replicas' addresses, begun at one of them. */
  urlsFrom(first) {
    const urls = this.replicas.map(({ url }) => url);
    const at = first % urls.length;
    return [...urls.slice(at), ...urls.slice(0, at)];
  }
}
