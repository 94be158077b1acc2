// Lines between the log, the replicas and the devices, and what runs along them.
import { prefersCalm, s } from "./dom.js";

/** Comets under way at a time; more would tell nothing. */
const MOST = 40;

export class Links {
  #lines = new Map();
  #under = 0;

  constructor() {
    this.stage = document.getElementById("stage");
    this.svg = document.getElementById("links");
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  /** What is to be linked now: pairs of elements, the upper one first. @param {{ key: string, from: Element, to: Element, hue?: number, isOn: boolean }[]} pairs */
  link(pairs) {
    const keys = new Set(pairs.map(({ key }) => key));
    for (const [key, { line }] of this.#lines) {
      if (keys.has(key)) continue;
      line.remove();
      this.#lines.delete(key);
    }
    for (const pair of pairs) {
      const held = this.#lines.get(pair.key) ?? { line: this.svg.appendChild(s("path.link")) };
      this.#lines.set(pair.key, Object.assign(held, pair));
      if (pair.hue !== undefined) held.line.style.setProperty("--hue", pair.hue);
      held.line.classList.toggle("on", pair.isOn);
      held.line.classList.toggle("of-device", pair.hue !== undefined);
    }
    this.draw();
  }

  draw() {
    const origin = this.stage.getBoundingClientRect();
    for (const link of this.#lines.values()) {
      const [from, to] = [link.from.getBoundingClientRect(), link.to.getBoundingClientRect()];
      const [x1, y1] = [clamp(to.left + to.width / 2, from, 24) - origin.left, from.bottom - origin.top];
      const [x2, y2] = [to.left + to.width / 2 - origin.left, to.top - origin.top];
      const middle = (y1 + y2) / 2;
      link.line.setAttribute("d", `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`);
    }
  }

  /** Something runs along the links of these keys, one after the other, upwards or downwards. */
  async run(keys, { hue, isUp }) {
    if (document.hidden || this.#under >= MOST) return;
    this.#under += 1;
    for (const key of keys) {
      const line = this.#lines.get(key)?.line;
      if (line) await comet(this.svg, line, hue, isUp);
    }
    this.#under -= 1;
  }
}

/** Where a line leaves a wide element: above its end, but inside. */
const clamp = (x, { left, right }, margin) => Math.min(right - margin, Math.max(left + margin, x));

async function comet(svg, line, hue, isUp) {
  const path = s("path.comet", { d: line.getAttribute("d") });
  path.style.setProperty("--hue", hue);
  svg.append(path);
  const length = path.getTotalLength();
  const tail = Math.min(28, length / 2);
  path.style.strokeDasharray = `${tail} ${length + tail}`;
  const [begin, end] = isUp ? [-length, tail] : [tail, -length];
  const frames = prefersCalm.matches
    ? { strokeDasharray: ["none", "none"], opacity: [0.9, 0] }
    : { strokeDashoffset: [begin, end] };
  await path.animate(frames, { duration: 320, easing: "ease-in-out" }).finished.catch(() => {});
  path.remove();
}
