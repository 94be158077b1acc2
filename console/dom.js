// Elements, and times as people read them.

const SVG = "http://www.w3.org/2000/svg";

/** An element: properties that begin with `on` are listeners, those with a dash or of SVG attributes. */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name || "div"), classes, properties, children);
}

export function s(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, properties, children);
}

function fill(element, classes, properties, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (element.namespaceURI === SVG || name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Sets text only where it differs, so that nothing is laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The time of day in a cursor, to the microsecond. */
export function stampOf(cursor) {
  return /T([\d:]+\.\d+)/.exec(cursor ?? "")?.[1] ?? "–";
}

/** A time of day, to the millisecond, in UTC as stamps are. */
export function clockOf(ms) {
  return new Date(ms).toISOString().slice(11, 23);
}

/** Microseconds since 1970 of a cursor; exact, as a double goes that far. */
export function microsOf(cursor) {
  const parts = /^(.*)\.(\d{6})Z/.exec(cursor ?? "");
  return parts ? Date.parse(`${parts[1]}Z`) * 1000 + Number(parts[2]) : NaN;
}

export function millis(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`;
}

export function count(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

export const prefersCalm = matchMedia("(prefers-reduced-motion: reduce)");

const announcer = document.getElementById("announcer");

/** Tells those who listen instead of looking. */
export function announce(text) {
  say(announcer, text);
}
