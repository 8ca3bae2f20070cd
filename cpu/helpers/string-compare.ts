/** String instructions that compare: CMPS SCAS (Intel SDM vol. 2), in the forms of string.ts. */
import type { Cpu } from '../cpu.ts';
import { SEG_ES } from '../decode/insn.ts';
import { HELPER_NEXT } from '../exits.ts';
import { INFO_REPE } from '../record.ts';
import { setSubFlags } from './flags.ts';
import { high, info, low, segmentNumber } from './operands.ts';
import {
  advance,
  begin,
  countDown,
  defineStrings,
  end,
  interrupted,
  loadElement,
  MAX_BYTES,
  NOWHERE,
  place,
  RAX,
  RDI,
  RSI,
  reach,
  step,
  width,
} from './string-run.ts';

/** Halves of the value read by {@link element}. */
let valueLow = 0;
let valueHigh = 0;

/** Reads an element of the memory at any alignment. */
function element(u8: Uint8Array, at: number): void {
  valueHigh = 0;
  if (width === 1) valueLow = u8[at];
  else if (width === 2) valueLow = u8[at] | (u8[at + 1] << 8);
  else {
    valueLow = u8[at] | (u8[at + 1] << 8) | (u8[at + 2] << 16) | (u8[at + 3] << 24);
    if (width === 8) valueHigh = u8[at + 4] | (u8[at + 5] << 8) | (u8[at + 6] << 16) | (u8[at + 7] << 24);
  }
}

/** How many of `n` elements of two runs surely are equal: whole groups of 8 bytes. */
function equalElements(cpu: Cpu, a: number, b: number, n: number): number {
  const { view } = cpu;
  const length = n * width - 7;
  let done = 0;
  while (
    done < length &&
    view.getInt32(a + done, true) === view.getInt32(b + done, true) &&
    view.getInt32(a + done + 4, true) === view.getInt32(b + done + 4, true)
  )
    done += 8;
  return done / width;
}

/** How many of `n` bytes come before the first that is `value`. */
function elementsBefore(u8: Uint8Array, value: number, at: number, n: number): number {
  const found = u8.subarray(at, at + n).indexOf(value);
  return found < 0 ? n : found;
}

/** CMPS (`both`) and SCAS: compares until equality is as the prefix does not want it. */
function compareStrings(cpu: Cpu, op: number, size: number, both: boolean): number {
  const { u8 } = cpu;
  const whileEqual = (info(cpu, op) & INFO_REPE) !== 0;
  const segment = segmentNumber(cpu, op);
  let left = begin(cpu, op, size, MAX_BYTES);
  if (left === 0) return HELPER_NEXT;
  element(u8, RAX);
  let aLow = valueLow;
  let aHigh = valueHigh;
  let bLow = 0;
  let bHigh = 0;
  let decided = false;
  while (left > 0 && !decided) {
    let n = left;
    if (both) n = reach(cpu, RSI, segment, n, false);
    const linearALow = low;
    const linearAHigh = high;
    n = Math.min(n, reach(cpu, RDI, SEG_ES, left, false));
    const linearBLow = low;
    const linearBHigh = high;
    // Where both fault, the destination's counts.
    const b = n > 0 ? place(cpu, linearBLow, linearBHigh, false) : NOWHERE;
    const a = n > 0 && both ? place(cpu, linearALow, linearAHigh, false) : NOWHERE;
    let done = 0;
    if (b !== NOWHERE && (a !== NOWHERE || !both)) {
      if (step > 0) {
        if (both && whileEqual) done = equalElements(cpu, a, b, n - 1);
        else if (!both && !whileEqual && width === 1) done = elementsBefore(u8, aLow, b, n - 1);
      }
      while (done < n && !decided) {
        if (both) {
          element(u8, a + done * step);
          aLow = valueLow;
          aHigh = valueHigh;
        }
        element(u8, b + done * step);
        bLow = valueLow;
        bHigh = valueHigh;
        decided = (aLow === bLow && aHigh === bHigh) !== whileEqual;
        done++;
      }
    } else {
      element(u8, loadElement(cpu, linearBLow, linearBHigh));
      bLow = valueLow;
      bHigh = valueHigh;
      if (both) {
        element(u8, loadElement(cpu, linearALow, linearAHigh));
        aLow = valueLow;
        aHigh = valueHigh;
      }
      decided = (aLow === bLow && aHigh === bHigh) !== whileEqual;
      done = 1;
    }
    if (both) advance(cpu, RSI, done);
    advance(cpu, RDI, done);
    countDown(cpu, done);
    left -= done;
    if (interrupted(cpu)) break;
  }
  // Only now: a fault midway leaves RFLAGS as before the instruction (SDM vol. 2B, REP).
  setSubFlags(cpu, width, aLow, aHigh, bLow, bHigh);
  return decided ? HELPER_NEXT : end(cpu);
}

defineStrings({
  CMPS: (cpu, op, size) => compareStrings(cpu, op, size, true),
  SCAS: (cpu, op, size) => compareStrings(cpu, op, size, false),
});
