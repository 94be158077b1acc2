// Latency from push to arrival: a dot for each change and device, over the last minute, on a
// scale of powers of ten.
import { millis, prefersCalm, s, say } from "./dom.js";

const SPAN = 60_000;
const [LOW, HIGH] = [1, 10_000];
const [WIDTH, HEIGHT] = [600, 100];

export class Plot {
  #dots = [];

  constructor() {
    this.svg = document.getElementById("plot");
    this.facts = document.getElementById("latency");
    this.layer = s("g");
    const lines = [1, 10, 100, 1000].map((ms) => s("g", {},
      s("line.grid", { x1: 0, x2: WIDTH, y1: yOf(ms), y2: yOf(ms) })));
    this.svg.append(...lines, this.layer);
    const move = () => this.#move();
    setInterval(move, prefersCalm.matches ? 2_000 : 250);
  }

  /** @param {number} ms @param {number} hue */
  add(ms, hue) {
    const circle = s("circle", { cx: WIDTH, cy: yOf(ms), r: 3.5 });
    circle.style.setProperty("--hue", hue);
    this.layer.append(circle);
    this.#dots.push({ at: performance.now(), ms, circle });
    if (this.#dots.length > 600) this.#dots.shift().circle.remove();
    this.#tell();
  }

  #move() {
    if (!this.#dots.length || document.hidden) return;
    const now = performance.now();
    while (this.#dots.length && now - this.#dots[0].at > SPAN) this.#dots.shift().circle.remove();
    for (const { at, circle } of this.#dots) circle.setAttribute("cx", (WIDTH * (1 - (now - at) / SPAN)).toFixed(1));
    if (!this.#dots.length) this.#tell();
  }

  #tell() {
    const sorted = this.#dots.map(({ ms }) => ms).sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    say(this.facts, sorted.length ? `median ${millis(at(0.5))} · 95 % within ${millis(at(0.95))}` : "edit something");
  }
}

/** From the bottom, on a logarithmic scale. */
function yOf(ms) {
  const share = Math.log(Math.min(HIGH, Math.max(LOW, ms)) / LOW) / Math.log(HIGH / LOW);
  return (HEIGHT - 6 - share * (HEIGHT - 12)).toFixed(1);
}
