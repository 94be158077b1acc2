// The console in Chromium, before a fleet of `mana-sync dev` and before a node of `serve`.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Fleet, eventually } from "./fleet.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Where pictures go; `MANA_SYNC_PICTURES=docs/img` renews those of the docs. */
const PICTURES = join(ROOT, process.env.MANA_SYNC_PICTURES ?? "target/pictures");
const MOST_BYTES = 300_000;

/** @type {Fleet} */
let fleet;
let browser, page;
const faults = [], strangers = [];

before(async () => {
  fleet = await Fleet.start({ own: 2, flags: ["--console"] });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Chromium's sandbox refuses root.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  page = await open(fleet.console);
});

after(async () => {
  await browser?.close();
  await fleet?.stop();
});

/** A page that reports its faults, what it asks of others, and what moves in it by itself. */
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1500, height: 1110 }, ...options });
  await context.addInitScript(() => {
    window.shifts = [];
    // The strip of the log is to move on with each change.
    const isMeant = ({ sources }) => sources.length > 0 && sources.every(({ node }) => node?.closest?.("#order"));
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput && !isMeant(entry)) window.shifts.push([entry.startTime, entry.value, ...entry.sources.map(({ node }) => `${node?.nodeName}.${node?.className}`)]);
    }).observe({ type: "layout-shift", buffered: true });
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(error.stack));
  page.on("console", (message) => {
    // What Chromium itself says of a node that is away.
    if (["error", "warning"].includes(message.type()) && !message.text().includes("net::ERR_")) faults.push(message.text());
  });
  page.on("request", (request) => {
    if (new URL(request.url()).hostname !== "127.0.0.1") strangers.push(request.url());
  });
  await page.goto(url);
  return page;
}

const device = (user, name = "laptop", at = page) => at.locator(`.device[data-user=${user}][data-name=${name}]`);
const says = (card, text) => card.locator(".status", { hasText: text }).waitFor();
const list = (card, kind = "shared") => card.locator(`.list.${kind}`);
const replica = (number) => page.getByRole("article", { name: `Replica ${number}`, exact: true });
const isIn = (number, state) => page.locator(`.replica[data-state=${state}] h2`, { hasText: `Replica ${number}` }).waitFor();
const goOnline = (card) => card.getByRole("switch").click();

async function add(card, title, kind = "shared") {
  await list(card, kind).locator("form input").fill(title);
  await list(card, kind).locator("form input").press("Enter");
}

const titles = (card, kind = "shared") => list(card, kind).locator(".title").evaluateAll((inputs) => inputs.map(({ value }) => value));
const shows = (card, title, kind) => eventually(`“${title}”`, async () => (await titles(card, kind)).includes(title));
const hides = (card, title, kind) => eventually(`no “${title}”`, async () => !(await titles(card, kind)).includes(title));

async function rename(card, from, to) {
  const at = (await titles(card)).indexOf(from);
  const input = list(card).locator(".title").nth(at);
  await input.fill(to);
  await input.press("Enter");
}

/** What axe finds against the rules of accessibility. */
async function violations(at) {
  await at.evaluate(AXE);
  const found = await at.evaluate(async () => (await window.axe.run()).violations);
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
}

/** CLS as Web Vitals have it: the worst window, of at most 5 s and no pause of 1 s; 0.1 is good. */
function cumulativeShift(shifts) {
  let [worst, sum, first, last] = [0, 0, -Infinity, -Infinity];
  for (const [at, value] of shifts) {
    if (at - last > 1_000 || at - first > 5_000) [sum, first] = [0, at];
    [sum, last] = [sum + value, at];
    worst = Math.max(worst, sum);
  }
  return worst;
}

async function picture(at, name) {
  await mkdir(PICTURES, { recursive: true });
  const { length } = await at.screenshot({ path: join(PICTURES, name) });
  assert.ok(length < MOST_BYTES, `${name} has ${length} bytes`);
}

test("the first paint comes within a second, and nothing moves", async () => {
  const paints = [];
  for (let n = 0; n < 3; n++) {
    const fresh = await open(fleet.console);
    await says(device("alice", "phone", fresh), "live");
    const paint = await fresh.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
    paints.push(Math.round(paint));
    assert.deepEqual(await fresh.evaluate(() => window.shifts), []);
    await fresh.context().close();
  }
  console.log(`first contentful paint: ${paints.join(", ")} ms`);
  assert.ok(paints.sort((a, b) => a - b)[1] < 1000, `the median of ${paints} ms`);
});

test("devices of two users, at two replicas, see each other's edits", async () => {
  const [alice, bob, phone] = [device("alice"), device("bob"), device("alice", "phone")];
  await says(alice, "live · replica 1");
  await says(bob, "live · replica 2");
  await add(alice, "Milk");
  for (const card of [alice, bob, phone]) await shows(card, "Milk");
  await add(bob, "Bread");
  for (const card of [alice, phone]) await shows(card, "Bread");
  await list(bob).locator("li", { has: page.getByRole("checkbox", { name: "Milk: done" }) }).getByRole("checkbox").check();
  await list(alice).locator("li.done").waitFor();
  await add(alice, "Call the dentist", "personal");
  await shows(phone, "Call the dentist", "personal");
  assert.deepEqual(await titles(bob, "personal"), [], "what is personal stays so");
  await page.locator("#latency", { hasText: "median" }).waitFor();
  assert.ok(await page.locator("#plot circle").count() >= 4);
  assert.ok(await page.locator("#order li").count() >= 4);
});

test("each node's stamps are told", async () => {
  const clock = await page.locator("#clock").textContent();
  assert.match(clock, /^\d\d:\d\d:\d\d\.\d{6}$/);
  for (const number of [1, 2]) {
    await eventually("the watermark", async () => (await replica(number).locator("dd").first().textContent()) === (await page.locator("#clock").textContent()));
  }
  assert.match(await page.locator("#horizon").textContent(), /^\d\d:\d\d:\d\d\.\d{6}$/);
});

test("what goes over the wire can be opened and read", async () => {
  const line = device("bob").locator("li[data-kind=changes]").first();
  await line.locator("summary").click();
  const body = JSON.parse(await line.locator("pre").textContent());
  assert.equal(body.changes[0].data.title, "Milk");
  assert.ok(body.syncedUntil);
  await line.locator("summary").click();
  for (const kind of ["push", "pull", "stream"]) {
    for (const way of ["out", "in"]) await device("bob").locator(`li[data-kind=${kind}][data-way=${way}]`).first().waitFor();
  }
});

test("offline, a device is edited, and comes back; of two writes of a field the later one wins", async () => {
  const [alice, bob, phone] = [device("alice"), device("bob"), device("alice", "phone")];
  await goOnline(bob);
  await says(bob, "offline");
  await rename(bob, "Bread", "Rye bread");
  await says(bob, "offline · 1 edit to push");
  await add(bob, "Written offline");
  await says(bob, "2 edits to push");
  await rename(alice, "Bread", "White bread");
  await shows(phone, "White bread");
  assert.ok((await titles(bob)).includes("Rye bread"), "nothing reaches a device that is offline");
  await goOnline(bob);
  await says(bob, "live · replica");
  for (const card of [alice, bob, phone]) {
    await shows(card, "Written offline");
    await shows(card, "White bread");
    const told = await card.locator(".conflict:visible").textContent();
    assert.match(told, /later wins.*White bread.*alice’s laptop.*over.*Rye bread.*bob’s laptop/);
  }
});

test("a card names its replica, though edits are pushed before the stream's first event comes", async () => {
  const bob = device("bob");
  await goOnline(bob);
  await says(bob, "offline");
  await page.evaluate(() => {
    const { fetch } = window;
    const held = new Promise((release) => (window.release = release));
    window.fetch = async (url, init) => {
      const answer = await fetch(url, init);
      if (!new URL(url).pathname.endsWith("/stream")) return answer;
      window.fetch = fetch;
      const holding = new TransformStream({ transform: (chunk, to) => held.then(() => to.enqueue(chunk)) });
      window.isHeld = true;
      return new Response(answer.body.pipeThrough(holding), { status: answer.status, headers: answer.headers });
    };
  });
  await goOnline(bob);
  await page.waitForFunction(() => window.isHeld);
  await says(bob, "connecting");
  await add(bob, "Before the stream");
  await shows(device("alice"), "Before the stream");
  await page.locator(".device[data-user=bob][data-pending='0']").waitFor();
  await page.evaluate(() => window.release());
  await says(bob, "live · replica");
});

test("light and dark, at rest and in trouble, the page is accessible", async () => {
  await goOnline(device("alice", "phone"));
  await says(device("alice", "phone"), "offline");
  await device("alice").locator("li[data-kind=push] summary").first().click();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    assert.deepEqual(await violations(page), [], colorScheme);
  }
  await device("alice").locator("details[open] summary").click();
  await goOnline(device("alice", "phone"));
  await says(device("alice", "phone"), "live");
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await picture(page, `console-${colorScheme}.png`);
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
});

test("devices go on at the other replica when theirs is stopped from the page", async () => {
  const [alice, bob] = [device("alice"), device("bob")];
  await replica(1).getByRole("button", { name: "Stop" }).click();
  await isIn(1, "stopped");
  await says(alice, "live · replica 2");
  assert.deepEqual(await violations(page), []);
  await add(alice, "Without replica 1");
  await shows(bob, "Without replica 1");
  await replica(1).getByRole("button", { name: "Start" }).click();
  await isIn(1, "running");
  await replica(2).getByRole("button", { name: "Drain" }).click();
  for (const card of [alice, bob]) {
    await card.locator("li[data-kind=reconnect]").waitFor();
    await says(card, "live · replica 1");
  }
  await isIn(2, "stopped");
  await replica(2).getByRole("button", { name: "Start" }).click();
  await isIn(2, "running");
  await add(bob, "After both");
  await shows(alice, "After both");
});

test("a conflict, a burst and a failover are shown at a click", async () => {
  const fresh = await open(fleet.console);
  for (const [user, name] of [["alice"], ["bob"], ["alice", "phone"]]) await says(device(user, name, fresh), "live");
  const cards = await fresh.locator(".device").all();
  const show = async (what) => {
    const button = fresh.getByRole("button", { name: what, exact: true });
    await button.click();
    return eventually(`${what} is over`, async () => (await button.getAttribute("aria-busy")) === "false");
  };
  const counts = (wanted) =>
    Promise.all(cards.map(async (card) => (await titles(card)).filter((title) => title === wanted).length));
  const [[milk], oat] = [await counts("Milk"), await counts("Oat milk")];
  await show("a conflict");
  await eventually("the later write wins", async () => (await counts("Milk")).every((now) => now === milk + 1));
  assert.deepEqual(await counts("Oat milk"), oat);
  await show("a burst");
  for (const card of cards) await shows(card, "Count to 100");
  const stopped = fresh.locator(".replica[data-state=stopped]").waitFor();
  await show("a failover");
  await stopped;
  await eventually("both replicas", async () => (await fresh.locator(".replica[data-state=running]").count()) === 2);
  for (const card of cards) {
    await eventually("what was written meanwhile", async () =>
      (await titles(card)).some((title) => /^Written after replica \d stopped$/.test(title)));
  }
  await fresh.context().close();
});

test("a member who is removed loses the space's rows, and gets them back", async () => {
  const [alice, bob] = [device("alice"), device("bob")];
  await add(bob, "Present for alice", "personal");
  const before = await titles(bob);
  await bob.getByRole("button", { name: "Leave home as bob" }).click();
  await hides(bob, "Milk");
  assert.deepEqual(await titles(bob), []);
  assert.deepEqual(await titles(bob, "personal"), ["Present for alice"]);
  await shows(alice, "Milk");
  assert.ok(await list(bob).locator("form input").isDisabled());
  await bob.getByRole("button", { name: "Join home as bob" }).click();
  await shows(bob, "Milk");
  await eventually("the whole history", async () => (await titles(bob)).length === before.length);
});

test("a device is added, used and closed by the keyboard", async () => {
  await page.getByRole("button", { name: "Add a device" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("carol");
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Enter");
  const carol = device("carol", "tablet");
  await says(carol, "live");
  await carol.getByRole("switch").focus();
  await page.keyboard.press("Space");
  await says(carol, "offline");
  await page.keyboard.press("Space");
  await says(carol, "live");
  await carol.getByRole("button", { name: "Join home as carol" }).press("Enter");
  await shows(carol, "Milk");
  await carol.getByRole("button", { name: "Close carol’s tablet" }).press("Enter");
  await carol.waitFor({ state: "detached" });
  const focused = await page.evaluate(() => document.activeElement.id);
  assert.equal(focused, "open", "the focus is not lost");
});

test("a small screen shows it all, one below the other", async () => {
  const small = await open(fleet.console, { viewport: { width: 390, height: 800 } });
  await says(device("bob", "laptop", small), "live");
  const [inside, width] = await small.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inside <= width, `${inside} of ${width} pixels`);
  await small.context().close();
});

test("a node of `serve` shows it to whoever has tokens, and no replica can be stopped", async () => {
  const node = await open(fleet.urls[0]);
  for (const user of ["alice", "bob"]) {
    await node.getByRole("button", { name: "Add a device" }).click();
    await node.getByLabel("A token of its user").fill(await fleet.token(user));
    await node.keyboard.press("Enter");
    await says(device(user, "tablet", node), "live");
  }
  assert.deepEqual(await violations(node), []);
  await shows(device("bob", "tablet", node), "Milk");
  await add(device("alice", "tablet", node), "Through serve");
  await shows(device("bob", "tablet", node), "Through serve");
  assert.equal(await node.getByRole("button", { name: /Stop|Drain|Leave home/ }).count(), 0);
  await node.context().close();
  await shows(device("bob"), "Through serve");
});

test("no page has reported a fault, asked anybody else, or moved by itself", async () => {
  assert.deepEqual(faults, []);
  assert.deepEqual(strangers, []);
  const shifts = await page.evaluate(() => window.shifts);
  const worst = cumulativeShift(shifts);
  console.log(`cumulative layout shift: ${worst.toFixed(4)}`);
  assert.ok(worst < 0.02, `${worst}: ${JSON.stringify(shifts)}`);
});
