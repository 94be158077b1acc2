// A list of a device, to edit: the personal one, or that of a space.
import { announce, h, millis, say } from "./dom.js";

/** The most rows that are shown. */
const SHOWN = 60;

export class ListView {
  #device;
  #scope;
  /** By record. @type {Map<string, Row>} */
  #rows = new Map();

  /**
   * @param {import("./device.js").Device} device
   * @param {{ title: string, hint: string, space: () => string | undefined, isShared: boolean }} scope
   */
  constructor(device, scope) {
    this.#device = device;
    this.#scope = scope;
    this.list = h("ul.rows", { "aria-label": `${scope.title} of ${device.title}`, tabIndex: 0 });
    this.empty = h("p.empty", {}, scope.hint);
    this.input = h("input", { name: "title", placeholder: "Add something…", autocomplete: "off", "aria-label": `Add to ${scope.title} of ${device.title}` });
    this.button = h("button.plain", { type: "submit", "aria-label": `Add to ${scope.title}`, title: "Add" }, "+");
    this.extra = h("span.extra");
    this.count = h("span.count");
    this.element = h(`section.list.${scope.isShared ? "shared" : "personal"}`, {},
      h("header", {}, h("h3", {}, scope.title), this.count, this.extra),
      h(".scroll", {}, this.list, this.empty),
      h("form", { onsubmit: (event) => this.#add(event) }, this.input, this.button));
  }

  async #add(event) {
    event.preventDefault();
    const title = this.input.value.trim();
    if (!title) return;
    this.input.value = "";
    await this.#device.add(title, this.#scope.space());
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** Allows or forbids edits. */
  allow(isAllowed, hint) {
    this.input.disabled = this.button.disabled = !isAllowed;
    say(this.empty, hint ?? this.#scope.hint);
  }

  /** @param {any[]} all the device's rows */
  show(all) {
    const rows = all.filter(({ spaceId }) => this.#scope.isShared === Boolean(spaceId)).sort(byAge);
    const shown = rows.slice(-SHOWN);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      this.#keepFocus(row);
      row.element.remove();
      this.#rows.delete(id);
    }
    let before = null;
    for (const values of shown.reverse()) {
      const row = this.#rows.get(values.id) ?? new Row(this.#device, values.id);
      this.#rows.set(values.id, row);
      row.show(values, this.#device.history.conflicts.get(values.id));
      if (row.element.nextSibling !== before || !row.element.parentNode) this.list.insertBefore(row.element, before);
      before = row.element;
    }
    this.empty.hidden = rows.length > 0;
    say(this.count, rows.length ? String(rows.length) : "");
  }

  #keepFocus({ element }) {
    if (element.contains(document.activeElement)) this.list.focus();
  }

  /** Scrolls the list, and not the page. */
  #reveal({ offsetTop, offsetHeight }) {
    const { scrollTop, clientHeight } = this.list;
    if (this.list.contains(document.activeElement)) return;
    if (offsetTop < scrollTop) this.list.scrollTop = offsetTop;
    else if (offsetTop + offsetHeight > scrollTop + clientHeight) this.list.scrollTop = offsetTop + offsetHeight - clientHeight;
  }

  /** Points at what has come. */
  arrived({ change, conflict, ms }) {
    const row = this.#rows.get(change.id);
    if (!row) return;
    row.arrived(ms);
    this.#reveal(row.element);
    if (conflict) {
      announce(`${this.#device.title}: two wrote ${conflict.field}; ${conflict.won.by} wrote later`);
    }
  }
}

const byAge = (one, other) => (one.created ?? 0) - (other.created ?? 0) || (one.id < other.id ? -1 : 1);

class Row {
  /** @param {import("./device.js").Device} device @param {string} id */
  constructor(device, id) {
    this.check = h("input", { type: "checkbox", onchange: () => device.edit(id, { done: this.check.checked }) });
    this.title = h("input.title", { autocomplete: "off", spellcheck: false, onchange: () => this.#rename(device, id),
      onkeydown: (event) => event.key === "Escape" && this.#reset() });
    this.remove = h("button.plain.remove", { type: "button", title: "Remove", onclick: () => device.remove(id) }, "×");
    this.age = h("span.age");
    this.conflict = h("p.conflict", { hidden: true });
    this.element = h("li", {}, h(".line", {}, this.check, this.title, this.age, this.remove), this.conflict);
    this.element.dataset.id = id;
  }

  #rename(device, id) {
    const title = this.title.value.trim();
    if (title && title !== this.values.title) device.edit(id, { title });
    else this.#reset();
  }

  #reset() {
    this.title.value = this.values.title ?? "";
  }

  show(values, conflict) {
    const title = String(values.title ?? values.id);
    this.values = { ...values, title };
    this.check.checked = Boolean(values.done);
    this.check.ariaLabel = `${title}: done`;
    // Not under the hands of somebody who is typing.
    if (document.activeElement !== this.title || !this.title.value) this.title.value = title;
    this.title.ariaLabel = `Title: ${title}`;
    this.remove.ariaLabel = `Remove ${title}`;
    this.element.classList.toggle("done", this.check.checked);
    this.#explain(conflict);
  }

  #explain(conflict) {
    this.conflict.hidden = !conflict;
    if (!conflict || this.explained === conflict) return;
    this.explained = conflict;
    const told = ({ value, by, at }) => [h("q", {}, String(value)), ` ${by}, `, h("time", {}, at.slice(11, 23))];
    this.conflict.replaceChildren(
      h("span.tag", {}, "later wins"), h("ins", {}, ...told(conflict.won)), " over ", h("del", {}, ...told(conflict.lost)));
  }

  arrived(ms) {
    say(this.age, ms === undefined ? "synced" : millis(ms));
    this.element.classList.remove("fresh");
    // Begins anew where it is under way.
    void this.element.offsetWidth;
    this.element.classList.add("fresh");
  }
}
