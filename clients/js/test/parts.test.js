// The event parser, the back-off, waiting, and errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SyncError, errorOf, isRefused, retryAfterOf } from "../src/errors.js";
import { environmentWith } from "../src/environment.js";
import { Latch, backoff } from "../src/pace.js";
import { eventParser } from "../src/sse.js";
import { seedOfTest, seeded } from "./random.js";

const TEXT = [
  "event: spaces\ndata: {\"spaces\":[]}\n\n",
  ": a comment\nevent: changes\ndata: {\"table\":\"tasks ü\"}\nid: 2026-11-22T09:36:14.000017Z\n\n",
  "event: reconnect\nretry: 1234\ndata: {}\n\n",
  "data: one\ndata:two\n\n",
];
const EVENTS = [
  { event: "spaces", data: "{\"spaces\":[]}", retry: undefined },
  { event: "changes", data: "{\"table\":\"tasks ü\"}", retry: undefined },
  { event: "reconnect", data: "{}", retry: 1234 },
  { event: "message", data: "one\ntwo", retry: undefined },
];

test("events are read from chunks that are cut anywhere, with LF or CRLF", () => {
  const random = seeded(seedOfTest());
  for (const end of ["\n", "\r\n"]) {
    const text = TEXT.join("").replaceAll("\n", end);
    for (let round = 0; round < 200; round++) {
      const parse = eventParser();
      const events = [];
      for (let at = 0; at < text.length; ) {
        const next = at + 1 + random.below(round % 40 + 1);
        events.push(...parse(text.slice(at, next)));
        at = next;
      }
      assert.deepEqual(events, EVENTS);
    }
  }
});

test("an event without its empty line is none yet, and comments are none", () => {
  const parse = eventParser();
  assert.deepEqual(parse("event: heartbeat\ndata: {}\n"), []);
  assert.equal(parse("\n").length, 1);
  assert.deepEqual(parse(": still here\n\n\n"), []);
});

test("the back-off grows to its bound, is spread over the whole, and starts anew", () => {
  const highest = backoff(() => 0.999999, { min: 100, max: 1000 });
  const waits = Array.from({ length: 6 }, () => Math.round(highest.next()));
  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
  highest.reset();
  assert.equal(Math.round(highest.next()), 100);
  assert.equal(backoff(() => 0, { min: 100 }).next(), 0);
  const many = backoff(() => 0.5);
  for (let n = 0; n < 5000; n++) assert.ok(many.next() <= 30_000);
});

test("who waits is woken by time, by the event, or by the end; an event before counts", async () => {
  const timers = [];
  const environment = environmentWith({
    setTimeout: (call, ms) => timers.push({ call, ms }) - 1,
    clearTimeout: (timer) => delete timers[timer],
  });
  const { signal } = new AbortController();
  const latch = new Latch();
  const timed = latch.wait(environment, signal, 70);
  assert.equal(timers[0].ms, 70);
  timers[0].call();
  await timed;
  const woken = latch.wait(environment, signal, 1e9);
  latch.set();
  await woken;
  assert.equal(timers[1], undefined, "its timer is gone");
  latch.set();
  await latch.wait(environment, signal);
  const stop = new AbortController();
  const stopped = latch.wait(environment, stop.signal);
  stop.abort();
  await stopped;
});

test("errors carry the server's code, or the status where something else answered", async () => {
  const answer = (status, body, headers) => errorOf(new Response(body, { status, headers }), 0);
  const busy = await answer(503, "{\"error\":\"busy\",\"message\":\"no room\"}", { "retry-after": "2" });
  assert.deepEqual([busy.code, busy.message, busy.status, busy.retryAfter], ["busy", "no room", 503, 2000]);
  assert.equal((await answer(502, "<html>")).code, "http_502");
  assert.equal(retryAfterOf("Thu, 01 Jan 1970 00:00:09 GMT", 4000), 5000);
  assert.equal(retryAfterOf("rubbish", 0), 0);
});

test("a push is refused for good only where its changes are at fault", () => {
  const refused = (status, code) => isRefused(new SyncError(code, "", { status }));
  assert.ok(refused(400, "invalid_changeset") && refused(413, "too_large") && refused(413, "http_413"));
  for (const [status, code] of [[400, "invalid_body"], [400, "http_400"], [401, "unauthenticated"], [402, "sync_inactive"],
    [408, "body_timeout"], [414, "http_414"], [431, "http_431"], [429, "too_many"],
    [500, "internal"], [503, "busy"], [undefined, "offline"]]) {
    assert.ok(!refused(status, code), code);
  }
});
