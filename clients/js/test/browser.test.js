// The todo example in Chromium: IndexedDB, two tabs of one profile, another device, a network that
// goes, a node that is killed; and more apps in a page than a browser has connections.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Fleet, eventually, freePort } from "./fleet.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };

/** @type {Fleet} */
let fleet;
let browser, origin, files;
const faults = [];

before(async () => {
  const port = await freePort();
  origin = `http://localhost:${port}`;
  files = createServer(async ({ url }, response) => {
    let path = join(ROOT, normalize(new URL(url, origin).pathname));
    if (path.endsWith("/")) path += "index.html";
    try {
      const text = await readFile(path);
      response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "text/plain" }).end(text);
    } catch {
      response.writeHead(204).end();
    }
  });
  await new Promise((ready) => files.listen(port, ready));
  fleet = await Fleet.start({ replicas: 2, flags: [`--cors-origins=${origin}`] });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Chromium's sandbox refuses root.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
});

after(async () => {
  await browser?.close();
  files.close();
  await fleet?.stop();
});

/** A profile of a user: what its tabs share. */
async function profile(user, seconds = 3600) {
  const context = await browser.newContext();
  const token = await fleet.token(user, seconds);
  await context.addInitScript((token) => (sessionStorage.token ??= token), token);
  const streams = [];
  context.on("request", (request) => request.url().includes("/stream?") && streams.push(request));
  const open = async (nodes = fleet.urls, at = "examples/todo/") => {
    const page = await context.newPage();
    page.on("pageerror", (error) => faults.push(error.stack));
    page.on("console", (message) => {
      // What Chromium itself says of a node that is away.
      if (message.type() === "error" && !message.text().includes("net::ERR_")) faults.push(message.text());
    });
    await page.goto(`${origin}/${at}?user=${user}${nodes.map((url) => `&node=${url}`).join("")}`);
    return page;
  };
  return { context, open, streams };
}

const add = async (page, title) => {
  await page.fill("input[name=title]", title);
  await page.click("text=Add");
};
const shows = (page, titles) =>
  eventually(`the titles ${titles}`, async () => {
    assert.deepEqual(await page.locator("li span").allTextContents(), titles);
    return true;
  });
const says = (page, text) => page.locator("[role=status]", { hasText: text }).waitFor();

test("two tabs sync by one stream; the other one takes over when it is closed", async () => {
  const [mine, other] = [await profile("anna"), await profile("anna")];
  const first = await mine.open();
  await says(first, "live · this tab syncs");
  const second = await mine.open();
  const device = await other.open(fleet.urls.toReversed());
  await says(second, "live");
  await says(device, "live · this tab syncs");

  await add(second, "Milk");
  for (const page of [first, second, device]) await shows(page, ["Milk"]);
  await add(device, "Bread");
  for (const page of [first, second, device]) await shows(page, ["Milk", "Bread"]);
  assert.equal(mine.streams.length, 1, "one stream for both tabs");
  assert.doesNotMatch(await second.locator("[role=status]").textContent(), /this tab syncs/);

  await first.close();
  await says(second, "live · this tab syncs");
  await device.locator("li", { hasText: "Milk" }).getByRole("checkbox").check();
  await eventually("the check", () => second.locator("li", { hasText: "Milk" }).getByRole("checkbox").isChecked());
  await second.locator("li", { hasText: "Bread" }).getByText("Remove").click();
  await shows(device, ["Milk"]);
  await Promise.all([mine.context.close(), other.context.close()]);
});

test("edits without a network outlive their tab, and are pushed by the next one", async () => {
  const [mine, other] = [await profile("ben"), await profile("ben")];
  const [page, device] = [await mine.open(), await other.open()];
  await Promise.all([says(page, "live"), says(device, "live")]);
  await mine.context.setOffline(true);
  await says(page, "offline");
  await add(page, "offline");
  await says(page, "1 to push");
  await shows(page, ["offline"]);
  await add(device, "meanwhile");
  await page.close();
  await shows(device, ["meanwhile"]);

  await mine.context.setOffline(false);
  const next = await mine.open();
  for (const one of [next, device]) await shows(one, ["offline", "meanwhile"]);
  await mine.context.setOffline(true);
  await says(next, "offline");
  await add(next, "again");
  await mine.context.setOffline(false);
  await says(next, "live");
  await shows(device, ["offline", "meanwhile", "again"]);
  await Promise.all([mine.context.close(), other.context.close()]);
});

test("a device goes on at the other node when its own is killed", async () => {
  const [mine, other] = [await profile("cleo"), await profile("cleo")];
  const [page, device] = [await mine.open(), await other.open(fleet.urls.toReversed())];
  await Promise.all([says(page, "live"), says(device, "live")]);
  await fleet.replicas[0].stop("SIGKILL");
  await add(device, "Milk");
  await shows(page, ["Milk"]);
  await says(page, "live");
  await add(page, "Eggs");
  await shows(device, ["Milk", "Eggs"]);
  await fleet.replicas[0].start();
  await Promise.all([mine.context.close(), other.context.close()]);
});

test("a token that runs out is replaced, by a person here", async () => {
  const { context, open } = await profile("dora", 2);
  const asked = [];
  context.on("dialog", async (dialog) => {
    asked.push(dialog.message());
    await dialog.accept(await fleet.token("dora"));
  });
  const page = await open();
  await says(page, "live");
  await eventually("the question", () => asked.length > 0);
  await says(page, "live");
  await add(page, "Milk");
  await shows(page, ["Milk"]);
  await eventually("the push", async () => (await fleet.log("todo", "tasks", "dora")).length === 1);
  assert.equal(asked.length, 1);
  await context.close();
});

/** Runs in a page: clients of some apps, by one stream. */
async function startAll([apps, url]) {
  const modules = ["/src/index.js", "/src/shared.js", "/src/dexie.js", "/node_modules/dexie/dist/modern/dexie.mjs"];
  const [{ createClient }, { sharedStream }, { dexieStorage, syncTables }, { Dexie }] = await Promise.all(modules.map((path) => import(path)));
  const stream = sharedStream({ url, token: () => sessionStorage.token });
  window.clients = apps.map((app) => {
    const db = new Dexie(app);
    db.version(1).stores({ ...syncTables, tasks: "id" });
    return createClient({ app, tables: ["tasks"], storage: dexieStorage(db), stream });
  });
  await Promise.all(window.clients.map((client) => client.start()));
}

test("eight apps of a page sync by one connection; another tab takes all of them over", async () => {
  const apps = Array.from({ length: 8 }, (_, n) => `app-${n}`);
  const [mine, other] = [await profile("emil"), await profile("emil")];
  const start = async ({ open }) => {
    const page = await open([], "README.md");
    await page.evaluate(startAll, [apps, fleet.urls]);
    return page;
  };
  const live = (page) => page.waitForFunction(() => window.clients.every(({ status }) => status.state === "live" && !status.pending));
  const addAll = (page, title) => page.evaluate((title) => Promise.all(window.clients.map((client) => client.insert("tasks", { title }))), title);
  const showAll = (page, titles) =>
    eventually(`in all apps ${titles}`, async () => {
      const found = await page.evaluate(async () => Promise.all(window.clients.map((client) => client.list("tasks"))));
      for (const rows of found) assert.deepEqual(rows.map(({ title }) => title).sort(), titles);
      return true;
    });
  const first = await start(mine);
  const [second, device] = [await start(mine), await start(other)];
  for (const page of [first, second, device]) await live(page);
  await addAll(second, "a");
  await addAll(device, "b");
  for (const page of [first, second, device]) await showAll(page, ["a", "b"]);
  await live(first);
  assert.deepEqual(new URL(mine.streams.at(-1).url()).searchParams.get("apps").split(",").sort(), apps);
  await first.close();
  await second.waitForFunction(() => window.clients.every(({ status }) => status.leader));
  await live(second);
  await addAll(device, "c");
  await showAll(second, ["a", "b", "c"]);
  await Promise.all([mine.context.close(), other.context.close()]);
});

test("no page has reported a fault", () => {
  assert.deepEqual(faults, []);
});
