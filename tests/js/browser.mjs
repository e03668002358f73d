// node browser.mjs FOLDER CHROMIUM < jobs.json: runs the models in a folder in headless Chromium, and prints the answers.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const [folder, executablePath] = process.argv.slice(2);
const here = fileURLToPath(new URL(".", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const page = `<!doctype html><meta charset="utf-8"><title>Transformers.js</title>`;

// The page, the packages and the models come from this process; nothing else can be reached.
const server = createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  try {
    const file = path.startsWith("/models/") ? join(folder, path.slice(8)) : join(here, path.slice(7));
    const body = path === "/" ? page : await readFile(file);
    response.writeHead(200, { "content-type": types[path === "/" ? ".html" : extname(path)] ?? "application/octet-stream" });
    response.end(request.method === "HEAD" ? undefined : body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] }); // root has no sandbox
try {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => console.error(error.message));
  await tab.route("**/*", (route) => (route.request().url().startsWith(origin) ? route.continue() : route.abort()));
  await tab.goto(origin);
  const found = await tab.evaluate(async (jobs) => {
    const transformers = await import("/files/node_modules/@huggingface/transformers/dist/transformers.min.js");
    const { answers } = await import("/files/answers.mjs");
    transformers.env.localModelPath = "/models/";
    transformers.env.useBrowserCache = false;
    transformers.env.backends.onnx.wasm.wasmPaths = "/files/node_modules/onnxruntime-web/dist/";
    return answers(transformers, jobs);
  }, JSON.parse(readFileSync(0, "utf8")));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
  server.close();
}
