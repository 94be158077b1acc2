// How much an app's users download.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Bytes with gzip: the client, and the client with what a shared stream takes. */
const BUDGETS = { client: 7_500, "client and shared stream": 7_700 };
const SOURCES = { client: ["index.js"], "client and shared stream": ["index.js", "shared.js"] };

for (const [name, sources] of Object.entries(SOURCES)) {
  test(`small: the ${name}`, async () => {
    const contents = sources.map((file) => `export * from "./${file}";`).join("");
    const resolveDir = new URL("../src", import.meta.url).pathname;
    const { outputFiles } = await build({ stdin: { contents, resolveDir },
      bundle: true, minify: true, format: "esm", target: "es2022", write: false });
    const [bundle] = outputFiles;
    const zipped = gzipSync(bundle.contents, { level: 9 }).length;
    console.log(`${name}: ${bundle.contents.length} bytes minified, ${zipped} with gzip`);
    assert.ok(zipped <= BUDGETS[name], `${zipped} bytes are more than ${BUDGETS[name]}`);
  });
}
