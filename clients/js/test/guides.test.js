// What docs/guides.md has people type, run as it stands there but for where the nodes are, and for their key.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Fleet, SERVICE_KEY, eventually, run } from "./fleet.js";

const GUIDES = new URL("../../../docs/guides.md", import.meta.url);

/** @type {Fleet} */
let fleet;
/** The snippets, in their order. Whoever adds one has to run it here. */
let listen, invalidate, insert;
before(async () => {
  fleet = await Fleet.start({ replicas: 2 });
  const found = [...(await readFile(GUIDES, "utf8")).matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  assert.deepEqual(found.map(([, language]) => language), ["js", "", "sql"]);
  [listen, invalidate, insert] = found.map(([, , text]) => here(text));
});
after(() => fleet.stop());

function here(text) {
  const places = { "http://127.0.0.1:3049": fleet.issuer, "http://127.0.0.1:3050": fleet.urls[0],
    "http://127.0.0.1:3051": fleet.urls[1], "http://node": fleet.urls[0], "…": SERVICE_KEY };
  for (const [place, its] of Object.entries(places)) text = text.replaceAll(place, its);
  return text;
}

async function ended(run, text) {
  assert.equal(await run.ended, 0, `${text}${run.out}${run.err}`);
}

async function spacesOf(user) {
  const headers = { Authorization: `Bearer ${await fleet.token(user)}` };
  const url = `${fleet.urls[1]}/sync/todo/pull?collections=tasks&since=`;
  return (await (await fetch(url, { headers })).json()).spaces;
}

test("fetch alone prints what is stored, and what a program writes with SQL", async () => {
  const shell = process.env.PG_BINDIR ? join(process.env.PG_BINDIR, "psql") : "psql";
  const listener = run(["--input-type=module", "--eval", listen], process.execPath);
  const told = (what) => eventually(what, () => {
    assert.equal(listener.child.exitCode, null, listener.err);
    return listener.out.includes(what);
  });
  await told("spaces { spaces: [ 'home' ] }");
  // The guide says why: before that, her change would wait for her.
  assert.deepEqual(await spacesOf("alice"), ["home"]);
  await ended(run(["--set=ON_ERROR_STOP=1", "--quiet", `--command=${insert}`, fleet.database], shell), insert);
  await told("id: 'from-sql'");
  listener.child.kill();
});

test("the fleet is told by curl that a membership has begun", async () => {
  assert.deepEqual(await spacesOf("carol"), []);
  await fetch(`${fleet.issuer}/spaces/home/members/carol`, { method: "POST" });
  assert.deepEqual(await spacesOf("carol"), [], "nobody has said so");
  await ended(run(["-c", invalidate.replace("curl", "curl --silent --fail")], "sh"), invalidate);
  assert.deepEqual(await spacesOf("carol"), ["home"]);
});
