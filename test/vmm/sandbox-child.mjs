/**
 * A process that confines itself as tsvmm does, and then tries what it is told on its main thread, on a thread that was
 * there before, and on one that comes afterwards. argv: the addon, the addon that makes system calls, and as JSON
 * `{ needs, roots: [path], calls: [[number, ...arguments]], threads: boolean }`, where 'ROOT' is the descriptor of the
 * first root, and `threads` tells whether other threads than the main one are to try. Prints the results as JSON.
 */

import { once } from 'node:events';
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

const [, , addonPath, syscallPath, json] = process.argv;
const { needs, roots, calls, threads } = JSON.parse(json);

function load(path) {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = { exports: {} };
  process.dlopen(addon, workerData);
  parentPort.on('message', (calls) => parentPort.postMessage(calls.map((call) => addon.exports.syscall(...call))));
  parentPort.postMessage('ready');`;

async function startWorker() {
  const worker = new Worker(WORKER, { eval: true, workerData: syscallPath });
  await once(worker, 'message');
  return worker;
}

async function attempt(worker, calls) {
  worker.postMessage(calls);
  const [results] = await once(worker, 'message');
  return results;
}

const { syscall } = load(syscallPath);
const addon = load(addonPath);
const early = await startWorker();
const descriptors = roots.map((path) => openSync(path, 0o10000000 | constants.O_DIRECTORY));
const start = performance.now();
const installed = addon.sandbox(needs, Int32Array.from(descriptors));
const milliseconds = performance.now() - start;

const filled = calls.map((call) => call.map((word) => (word === 'ROOT' ? descriptors[0] : word)));
const main = filled.map((call) => syscall(...call));
const before = threads ? await attempt(early, filled) : [];
const after = threads ? await attempt(await startWorker(), filled) : [];
// V8 goes on: new code, new threads, memory, timers.
const wasm = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11,
]);
const life = {
  code: new Function('a', 'return a + 1')(1),
  wasm: (await WebAssembly.instantiate(wasm)).instance.exports.f(),
  memory: Buffer.alloc(64 << 20, 1)[5],
  timer: await new Promise((resolve) => setTimeout(() => resolve('later'), 2)),
  file: fstatSync(1).mode > 0,
};
writeSync(1, JSON.stringify({ installed, milliseconds, main, before, after, life }));
process.exit(0);
