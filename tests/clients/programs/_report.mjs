// What the programs for Node need: their arguments, sound in pieces, and a report.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const PIECE = 4800; // bytes of 100 ms of sound: 24 kHz, 16 bits, mono
const SECONDS = 30; // the longest time that one step may take

export const [url, sounds] = process.argv.slice(2);

// Import a package of the environment: the folder that has `node_modules`.
export function load(name) {
  return import(pathToFileURL(createRequire(`${process.env.CLIENT_HOME}/`).resolve(name)));
}

export async function* pieces(name) {
  const data = readFileSync(`${sounds}/${name}.pcm`);
  for (let at = 0; at < data.length; at += PIECE) {
    yield data.subarray(at, at + PIECE);
    await sleep(5);
  }
}

export async function until(condition, what) {
  for (const began = Date.now(); Date.now() < began + 1000 * SECONDS; await sleep(10)) {
    const found = condition();
    if (found) return found;
  }
  throw new Error(`not within ${SECONDS} s: ${what ?? condition}`);
}

// Run a program, and print its report in a line, also when it fails.
export async function run(main) {
  const report = { errors: [] };
  try {
    await main(report);
  } catch (error) {
    report.errors.push(String(error));
    console.error(error);
  }
  console.log(JSON.stringify(report));
  process.exit(report.errors.length ? 1 : 0);
}
