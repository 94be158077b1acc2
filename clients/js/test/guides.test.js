// What docs/guides.md has people type, run as it stands there but for the addresses.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Fleet, eventually, freePort, run } from "./fleet.js";

const CHECKOUT = fileURLToPath(new URL("../../..", import.meta.url));

/** @type {Fleet} */
let fleet;
let folder, origin, browser, server;
/** The snippets, in their order. Whoever adds one has to run it here. */
let install, html, main, serve, getToken, push, pull, stream, loop, joins, invalidate, leave, insert;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "mana-sync-app-"));
  origin = `http://localhost:${await freePort()}`;
  fleet = await Fleet.start({ replicas: 2, origin });
  const guides = await readFile(join(CHECKOUT, "docs/guides.md"), "utf8");
  const found = [...guides.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  assert.deepEqual(found.map(([, language]) => language).join(" "), "sh html js sh sh sh sh sh js sh sh sh sql");
  [install, html, main, serve, getToken, push, pull, stream, loop, joins, invalidate, leave, insert] =
    found.map(([, , text]) => here(text));
});
after(async () => {
  server?.stdin.end();
  await browser?.close();
  await fleet?.stop();
  await rm(folder, { recursive: true });
});

function here(text) {
  const places = { "http://127.0.0.1:3049": fleet.issuer, "http://127.0.0.1:3050": fleet.urls[0],
    "http://127.0.0.1:3051": fleet.urls[1], "localhost:5173": new URL(origin).host };
  for (const [place, its] of Object.entries(places)) text = text.replaceAll(place, its);
  return text;
}

/** What a script prints, run to its end. */
async function shell(text) {
  const script = run(["-ec", text], "sh");
  assert.equal(await script.ended, 0, `${text}${script.out}${script.err}`);
  return script.out;
}

async function spacesOf(user) {
  const headers = { Authorization: `Bearer ${await fleet.token(user)}` };
  const url = `${fleet.urls[1]}/sync/todo/pull?collections=tasks&since=`;
  return (await (await fetch(url, { headers })).json()).spaces;
}

async function inserted(record) {
  const psql = process.env.PG_BINDIR ? join(process.env.PG_BINDIR, "psql") : "psql";
  const psqled = run(["--set=ON_ERROR_STOP=1", "--quiet", `--command=${insert.replace("from-sql", record)}`, fleet.database], psql);
  assert.equal(await psqled.ended, 0, psqled.err);
}

test("the Dexie app is installed, built and served as the guide says, and syncs", async () => {
  await shell(`cd '${folder}'\nCHECKOUT='${CHECKOUT}'\n${install}`);
  await writeFile(join(folder, "index.html"), html);
  await writeFile(join(folder, "main.js"), main);
  // It ends with its input, as at a terminal that is closed.
  server = spawn("sh", ["-c", serve], { cwd: folder, stdio: ["pipe", "ignore", "pipe"] });
  let said = "";
  server.stderr.on("data", (text) => (said += text));
  await eventually("the page", async () => (await fetch(`${origin}/app.js`)).ok).catch((error) => {
    throw new Error(`${error.message}; esbuild says: ${said}`, { cause: error });
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Chromium's sandbox refuses root.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  const faults = [];
  const open = async (user) => {
    const page = await (await browser.newContext()).newPage();
    page.on("pageerror", (error) => faults.push(error.stack));
    await page.goto(`${origin}/?user=${user}`);
    return page;
  };
  const [alice, bob] = [await open("alice"), await open("bob")];
  await alice.fill("input[name=title]", "Milk");
  await alice.click("text=Add");
  await bob.check("li:has-text('Milk') input");
  await alice.locator("li:has-text('Milk') input:checked").waitFor();
  await alice.locator("[role=status]", { hasText: /^live$/ }).waitFor();
  assert.deepEqual(faults, []);
});

test("curl pushes, pulls and streams", async () => {
  for (let time = 0; time < 2; time++) assert.ok(JSON.parse(await shell(getToken + push)).syncedUntil);
  const { serverChanges } = JSON.parse(await shell(getToken + pull));
  assert.equal(serverChanges.filter(({ id }) => id === "t1").length, 1, "the same event twice");
  const streaming = run(["-ec", getToken + stream.replace("curl", "exec curl")], "sh");
  await eventually("the backlog", () => /^data: .*"id":"t1".*\nid: /m.test(streaming.out));
  streaming.child.kill();
});

test("the loop prints what is stored and what a program writes with SQL, and goes on where it was cut off", async () => {
  const listener = run(["--input-type=module", "--eval", loop], process.execPath);
  const told = (what) => eventually(what, () => {
    assert.equal(listener.child.exitCode, null, listener.err);
    return listener.out.includes(what);
  });
  await told("spaces { spaces: [ 'home' ] }");
  // The guide says why: before that, her change would wait for her.
  assert.deepEqual(await spacesOf("alice"), ["home"]);
  await inserted("from-sql");
  await told("id: 'from-sql'");
  await fleet.replicas[1].stop("SIGKILL");
  await inserted("meanwhile");
  await eventually("a refused connection", () => listener.err.includes("ECONNREFUSED"));
  await fleet.replicas[1].start();
  await told("id: 'meanwhile'");
  assert.equal(listener.out.split("id: 'from-sql'").length, 2, "told once");
  listener.child.kill();
});

test("a membership begins and ends, once the fleet is told by curl", async () => {
  assert.deepEqual(await spacesOf("carol"), []);
  await shell(joins);
  assert.deepEqual(await spacesOf("carol"), [], "nobody has said so");
  await shell(invalidate);
  assert.deepEqual(await spacesOf("carol"), ["home"]);
  await shell(leave);
  assert.deepEqual(await spacesOf("carol"), []);
});
