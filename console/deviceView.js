// The card of a device: who and where it is, its lists, its wire.
import { announce, count, h, say } from "./dom.js";
import { ListView } from "./listView.js";
import { SPACE, isFleet, membership } from "./session.js";
import { WireView } from "./wireView.js";

const STATES = { stopped: "stopped", offline: "offline", connecting: "connecting…", live: "live", waiting: "trying again…" };

export class DeviceView {
  #device;
  #nameOf;

  /**
   * @param {import("./device.js").Device} device
   * @param {{ nameOf: (node: string) => string, close: () => void, askToken?: () => void }} around
   */
  constructor(device, { nameOf, close, askToken }) {
    this.#device = device;
    this.#nameOf = nameOf;
    const { user, name, title } = device;
    this.space = () => (isFleet ? SPACE : device.spaces?.[0]);
    this.shared = new ListView(device, { title: isFleet ? SPACE : "space", hint: "Nothing here yet.", isShared: true, space: this.space });
    this.personal = new ListView(device, { title: "personal", hint: `Only ${user}’s devices see this.`, isShared: false, space: () => undefined });
    this.status = h("p.status", { role: "status" });
    this.online = h("input", { type: "checkbox", role: "switch", checked: true, "aria-label": `${title} is online`,
      onchange: () => device.setOnline(this.online.checked) });
    this.member = h("button.small", { type: "button", onclick: () => this.#turnMembership() });
    this.shared.extra.append(isFleet ? this.member : "");
    this.element = h("article.device", { "aria-label": title },
      h("header", {},
        h("span.avatar", { "aria-hidden": "true" }, user.slice(0, 1).toUpperCase()),
        h(".who", {}, h("h2", {}, h("span", {}, user), h("small", {}, name)), this.status),
        askToken && h("button.small", { type: "button", onclick: askToken }, "New token…"),
        h("label.online", {}, this.online, h("span", { "aria-hidden": "true" }, "online")),
        h("button.plain.close", { type: "button", "aria-label": `Close ${title}`, title: "Close this device", onclick: close }, "×")),
      this.shared.element, this.personal.element, new WireView(device, nameOf).element);
    this.element.style.setProperty("--hue", device.hue);
    this.element.dataset.user = user;
    this.element.dataset.name = name;
    this.#listen();
    this.#showStatus();
    this.#showSpaces();
  }

  #listen() {
    const device = this.#device;
    device.addEventListener("rows", () => this.#showRows());
    device.addEventListener("status", () => this.#showStatus());
    device.addEventListener("node", () => this.#showStatus());
    device.addEventListener("spaces", ({ detail: { lost } }) => {
      this.#showSpaces();
      if (lost.length) announce(`${device.title} has left ${lost.join(", ")}: its rows are gone here`);
    });
    device.addEventListener("fault", ({ detail }) => announce(`${device.title}: ${detail.message}`));
    device.addEventListener("arrived", ({ detail }) => this.#arrived(detail));
  }

  async #showRows() {
    const rows = await this.#device.rows();
    this.shared.show(rows);
    this.personal.show(rows);
  }

  async #arrived({ arrivals, isNews }) {
    if (!isNews) return;
    // The rows are merged once the client has read what came.
    await new Promise((merged) => setTimeout(merged, 20));
    await this.#showRows();
    for (const arrival of arrivals.slice(-20)) for (const list of [this.shared, this.personal]) list.arrived(arrival);
  }

  #showStatus() {
    const device = this.#device;
    const { state, pending, error } = device.status;
    const shown = device.isOnline ? state : "offline";
    const where = shown === "live" && device.node ? ` · ${this.#nameOf(device.node)}` : "";
    const why = shown === "waiting" && error ? ` ${error.message}` : "";
    say(this.status, `${STATES[shown]}${where}${why}${pending ? ` · ${count(pending, "edit")} to push` : ""}`);
    this.element.dataset.state = shown;
    this.element.dataset.pending = pending;
    this.online.checked = device.isOnline;
  }

  #showSpaces() {
    const { spaces } = this.#device;
    const isMember = Boolean(this.space() && spaces?.includes(this.space()));
    const hint = spaces === undefined ? "…" : isMember ? undefined : `${this.#device.user} is not a member${isFleet ? ` of ${SPACE}` : " of a space"}.`;
    this.shared.allow(isMember, hint);
    this.element.dataset.member = isMember;
    this.member.disabled = spaces === undefined;
    say(this.member, isMember ? "Leave" : "Join");
    this.member.ariaLabel = `${isMember ? "Leave" : "Join"} ${SPACE} as ${this.#device.user}`;
  }

  async #turnMembership() {
    const isMember = this.element.dataset.member === "true";
    await membership(isMember ? "DELETE" : "POST", this.#device.user).catch((error) => announce(error.message));
  }
}
