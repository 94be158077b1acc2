// How much an app's users download.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGET = 7_500;

test("the client is small", async () => {
  const { outputFiles } = await build({ entryPoints: [new URL("../src/index.js", import.meta.url).pathname],
    bundle: true, minify: true, format: "esm", target: "es2022", write: false });
  const [{ contents }] = outputFiles;
  const zipped = gzipSync(contents, { level: 9 }).length;
  console.log(`bundle: ${contents.length} bytes minified, ${zipped} with gzip`);
  assert.ok(zipped <= BUDGET, `${zipped} bytes are more than ${BUDGET}`);
});
