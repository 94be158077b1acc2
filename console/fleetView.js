// The replicas: whether they run, and where each stands in the order of all changes.
import { announce, h, microsOf, say, stampOf } from "./dom.js";
import { isFleet } from "./session.js";

const STATES = { running: "running", starting: "starting…", leaving: "draining…", stopped: "stopped" };

export class FleetView {
  #fleet;
  #cards;

  /** @param {import("./fleet.js").Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    this.#cards = fleet.replicas.map((replica, at) => new Card(fleet, replica.url, at + 1));
    this.element = document.getElementById("replicas");
    this.element.replaceChildren(...this.#cards.map(({ element }) => element));
    fleet.addEventListener("seen", () => this.#show());
    this.#show();
  }

  #show() {
    this.#fleet.replicas.forEach((replica, at) => this.#cards[at]?.show(replica));
    document.body.classList.toggle("away", this.#fleet.isAway);
  }

  dock = (url) => this.#cards.find((card) => card.url === url)?.element;

  /** How many devices are at each replica. @param {(string | undefined)[]} nodes */
  count(nodes) {
    for (const card of this.#cards) card.streams(nodes.filter((node) => node === card.url).length);
  }
}

class Card {
  #state = "";

  constructor(fleet, url, number) {
    const act = (name) => async () => {
      announce(`replica ${number}: ${name}`);
      await fleet.act(number, name).catch((error) => announce(error.message));
    };
    this.url = url;
    this.name = isFleet ? `Replica ${number}` : "This node";
    this.state = h("span.state");
    this.facts = { watermark: h("dd"), behind: h("dd"), streams: h("dd", {}, "0") };
    this.stop = h("button", { type: "button", title: "Connections break, as in a crash", onclick: act("stop") }, "Stop");
    this.drain = h("button", { type: "button", title: "It leaves in order, as on SIGTERM", onclick: act("drain") }, "Drain");
    this.begin = h("button", { type: "button", onclick: act("start") }, "Start");
    for (const button of [this.stop, this.drain, this.begin]) button.ariaLabel = `${button.textContent} ${this.name}`;
    const fact = (name, value) => h("div", {}, h("dt", {}, name), value);
    this.element = h("article.replica", { "aria-label": this.name },
      h("header", {}, h("span.light"), h("h2", {}, this.name), this.state),
      h("code", {}, new URL(url).host),
      isFleet && h("dl", {}, fact("watermark", this.facts.watermark), fact("behind the log", this.facts.behind), fact("streams", this.facts.streams)),
      isFleet && h(".acts", {}, this.stop, this.drain, this.begin));
  }

  show({ state, clock, watermark }) {
    if (state !== this.#state) {
      this.element.dataset.state = this.#state = state;
      say(this.state, STATES[state] ?? state);
      this.#enable(state);
    }
    say(this.facts.watermark, stampOf(watermark));
    const behind = Math.max(0, microsOf(clock) - microsOf(watermark));
    say(this.facts.behind, Number.isNaN(behind) ? "–" : behind < 1000 ? `${behind} µs` : `${Math.round(behind / 1000)} ms`);
  }

  #enable(state) {
    const hadFocus = this.element.contains(document.activeElement);
    this.stop.disabled = this.drain.disabled = state !== "running";
    this.begin.disabled = state !== "stopped";
    // Who pressed a button may want to press the next one.
    if (hadFocus && document.activeElement?.disabled) [this.begin, this.stop].find(({ disabled }) => !disabled)?.focus();
  }

  streams(n) {
    say(this.facts.streams, String(n));
  }
}
