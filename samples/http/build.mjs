// Builds hello.wasm of hello.js: npm install @bytecodealliance/componentize-js@0.23, then node build.mjs hello.js hello.wasm
import { componentize } from "@bytecodealliance/componentize-js";
import { readFile, writeFile } from "node:fs/promises";

const [source, target] = process.argv.slice(2);
const { component } = await componentize(await readFile(source, "utf8"), {
  sourceName: source,
  witPath: new URL("wit", import.meta.url).pathname,
  worldName: "handler",
});
await writeFile(target, component);
