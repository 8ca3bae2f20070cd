/**
 * String instructions that move: MOVS STOS LODS (Intel SDM vol. 2) with a repeat prefix, or with 16- and 32-bit addresses.
 * MOVS and STOS are compiled ahead of time too (compiled.ts), for 64-bit addresses and what is in RAM; the rest they leave to
 * TypeScript before they have changed anything of a run, and of those before the registers tell.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_ES } from '../decode/insn.ts';
import { high, low, segmentNumber } from './operands.ts';
import {
  advance,
  announce,
  begin,
  countDown,
  defineStrings,
  end,
  interrupted,
  loadElement,
  lowest,
  MAX_BYTES,
  NOWHERE,
  place,
  RAX,
  RDI,
  RSI,
  reach,
  shift,
  step,
  storeElement,
  width,
} from './string-run.ts';

// --- compiled ahead of time too ---------------------------------------------------------------------------------------

export function moveStrings(cpu: Cpu, op: number, size: number): number {
  const segment = segmentNumber(cpu, op);
  let left = begin(cpu, op, size, MAX_BYTES);
  while (left > 0) {
    const readable = reach(cpu, RSI, segment, left, false);
    const fromLow = low;
    const fromHigh = high;
    const writable = reach(cpu, RDI, SEG_ES, left, true);
    const toLow = low;
    const toHigh = high;
    const from = readable > 0 ? place(cpu, fromLow, fromHigh, false) : loadElement(cpu, fromLow, fromHigh);
    const to = writable > 0 ? place(cpu, toLow, toHigh, true) : NOWHERE;
    let n = 1;
    if (from !== NOWHERE && to !== NOWHERE) {
      if (readable > 0) n = Math.min(readable, writable);
      announce(cpu, to, n);
      copy(cpu.u8, from, to, n);
    } else storeElement(cpu, from !== NOWHERE ? from : loadElement(cpu, fromLow, fromHigh), toLow, toHigh);
    advance(cpu, RSI, n);
    advance(cpu, RDI, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

/** Copies `n` elements in the order in which the CPU does, which matters where they overlap. */
function copy(u8: Uint8Array, from: number, to: number, n: number): void {
  const ahead = (step > 0 ? to - from : from - to) >>> 0;
  // A run onto its own rear repeats what it has written: at once go as many elements as lie between, or one.
  const most = ahead === 0 || ahead >= n * width ? n : ahead < width ? 1 : ahead >>> shift;
  for (let done = 0; done < n; ) {
    const some = Math.min(most, n - done);
    const start = lowest(from + done * step, some);
    u8.copyWithin(lowest(to + done * step, some), start, start + some * width);
    done += some;
  }
}

export function storeStrings(cpu: Cpu, op: number, size: number): number {
  let left = begin(cpu, op, size, MAX_BYTES);
  while (left > 0) {
    const writable = reach(cpu, RDI, SEG_ES, left, true);
    const toLow = low;
    const toHigh = high;
    const to = writable > 0 ? place(cpu, toLow, toHigh, true) : NOWHERE;
    let n = 1;
    if (to !== NOWHERE) {
      n = writable;
      announce(cpu, to, n);
      fill(cpu.u8, lowest(to, n), n * width);
    } else storeElement(cpu, RAX, toLow, toHigh);
    advance(cpu, RDI, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

/** Fills `length` bytes with the accumulator's element. */
function fill(u8: Uint8Array, at: number, length: number): void {
  const first = u8[RAX];
  let same = 1;
  while (same < width && u8[RAX + same] === first) same++;
  if (same === width) {
    u8.fill(first, at, at + length);
    return;
  }
  u8.copyWithin(at, RAX, RAX + width);
  for (let done = width; done < length; done *= 2) u8.copyWithin(at + done, at, at + Math.min(done, length - done));
}

// ----------------------------------------------------------------------------------------------------------------------

/** Of a run in RAM only the last element is seen. */
function loadStrings(cpu: Cpu, op: number, size: number): number {
  const segment = segmentNumber(cpu, op);
  let left = begin(cpu, op, size, MAX_BYTES);
  while (left > 0) {
    const readable = reach(cpu, RSI, segment, left, false);
    const fromLow = low;
    const fromHigh = high;
    let from = readable > 0 ? place(cpu, fromLow, fromHigh, false) : NOWHERE;
    let n = 1;
    if (from !== NOWHERE) n = readable;
    else from = loadElement(cpu, fromLow, fromHigh);
    const last = from + (n - 1) * step;
    cpu.u8.copyWithin(RAX, last, last + width);
    if (width === 4) cpu.i32[(RAX + 4) >> 2] = 0;
    advance(cpu, RSI, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

defineStrings({ MOVS: moveStrings, STOS: storeStrings, LODS: loadStrings });
