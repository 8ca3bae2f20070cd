/**
 * How long the small steps take, by tinybench: `npm run bench:micro`. The code that is decoded and lifted is that of the
 * benchmark's kernels. What whole regions cost in a real run, `-d stats` tells.
 */

import { existsSync, readFileSync } from 'node:fs';
import { Bench } from 'tinybench';
import { CODE_64, decode } from '../cpu/decode/decoder.ts';
import { Insn } from '../cpu/decode/insn.ts';
import { definitionOf } from '../cpu/lift/lift.ts';
import { Lifter } from '../cpu/lift/lifter.ts';
import { buildCoreModule } from '../cpu/wasm/interpreter.ts';
import type { SegmentList } from '../devices/net/backend.ts';
import { PortBus } from '../devices/port-bus.ts';
import { SplitQueue } from '../devices/virtio/split-queue.ts';
import { MAX_CHAIN_LENGTH } from '../devices/virtio/virtqueue.ts';
import { makeMemory, RingDriver } from '../test/devices/virtio/ring-driver.ts';
import { table } from './report.ts';

const IMAGE = 'build/guests/bench64.elf';
/** Where the image's functions begin: behind the page of ELF headers and the 12 bytes of the multiboot header. */
const CODE_START = 0x1010;
const INSTRUCTIONS = 2000;
const STACK_64 = 8;
const CHAINS = 64;
const ACCESSES = 1000;

if (!existsSync(IMAGE)) {
  process.stderr.write(`bench: ${IMAGE} is missing: npm run build:guests bench\n`);
  process.exit(1);
}

const bench = new Bench({ time: 1000, warmupTime: 300 });
/** How many things an iteration does, by task. */
const counts = new Map<string, number>();
function add(name: string, count: number, run: () => void): void {
  counts.set(name, count);
  bench.add(name, run);
}

const code = readFileSync(IMAGE);
const insn = new Insn();
/** Where the instructions start, and those of them that have a definition. */
const starts: number[] = [];
for (let at = CODE_START; starts.length < INSTRUCTIONS; ) {
  starts.push(at);
  at += decode(insn, code, at, CODE_64, STACK_64);
}
const decoded = starts.flatMap((at) => {
  const one = new Insn();
  const length = decode(one, code, at, CODE_64, STACK_64);
  const define = definitionOf(one.row);
  return define === undefined ? [] : [{ insn: one, next: at + length, define }];
});

add('decode an instruction', starts.length, () => {
  for (let i = 0; i < starts.length; i++) decode(insn, code, starts[i], CODE_64, STACK_64);
});

const lifter = new Lifter(false);
add('lift an instruction', decoded.length, () => {
  lifter.ir.clear();
  for (let i = 0; i < decoded.length; i++) {
    const { insn: one, next, define } = decoded[i];
    // As at the start of a block: what is known of the flags ends, and with it what is put off.
    if (i % 8 === 0) lifter.flags.reset();
    lifter.begin(one, next, 0);
    define(lifter);
  }
});

add('emit the interpreter, per byte of WebAssembly', buildCoreModule().length, () => {
  buildCoreModule();
});

const QUEUE_SIZE = 256;
const { memory } = makeMemory(1 << 20);
const driver = new RingDriver(memory, 0x1000, QUEUE_SIZE);
const queue = new SplitQueue(memory, QUEUE_SIZE, () => {
  throw new Error(queue.error);
});
queue.addressWords.set(driver.addressWords);
queue.enable({ eventIdx: true, indirectDesc: false });
for (let i = 0; i < QUEUE_SIZE / 2; i++) {
  driver.add([
    { address: 0x20000, length: 12 },
    { address: 0x30000, length: 1500 },
  ]);
}
// The ring has 256 entries and there are 128 chains of two: the second half names the same chains again.
for (let i = 0; i < QUEUE_SIZE / 2; i++) driver.offer(i * 2);
const emptyList = (): SegmentList => ({
  count: 0,
  address: new Float64Array(MAX_CHAIN_LENGTH),
  length: new Uint32Array(MAX_CHAIN_LENGTH),
});
const readable = emptyList();
const writable = emptyList();
function take(count: number): void {
  for (let i = 0; i < count; i++) {
    readable.count = 0;
    writable.count = 0;
    queue.complete(queue.pop(readable, writable), 0);
  }
  queue.publish();
}
take(QUEUE_SIZE);
let available = QUEUE_SIZE;
add('pop and complete a chain of two', CHAINS, () => {
  available += CHAINS;
  driver.setAvailIdx(available);
  take(CHAINS);
});

const ports = new PortBus();
let last = 0;
for (const base of [0x20, 0x40, 0x60, 0x70, 0x3f8, 0xcf8, 0xc000]) {
  ports.add(base, 4, { read: (offset) => last + offset, write: (_offset, _size, value) => void (last = value) });
}
add('write and read a port', ACCESSES, () => {
  for (let i = 0; i < ACCESSES; i++) {
    ports.write(0x3f8, 1, i & 0xff);
    ports.read(0x3f9 + (i & 1), 1);
  }
});

await bench.run();
const lines = bench.tasks.map(({ name, result }) => {
  if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
  const { p50, rme } = result.latency;
  return [name, ((p50 * 1e6) / counts.get(name)!).toFixed(1), `±${rme.toFixed(1)} %`];
});
process.stdout.write(`${table(['what', 'ns, median', 'error of the mean'], lines)}\n`);
