/**
 * String instructions with a repeat prefix or 16- and 32-bit addresses: MOVS STOS LODS CMPS SCAS, and INS OUTS in all forms
 * (Intel SDM vol. 2, REP). They work on runs of elements that lie within one page of RAM on either side; elements that
 * cross pages or are device memory go one by one. After each run the registers say how far it got, so that a fault or an
 * interrupt midway leaves the instruction to be continued.
 */
import type { AccessSize } from '../../devices/bus.ts';
import type { Cpu } from '../cpu.ts';
import { SEG_ES } from '../decode/insn.ts';
import { EXIT_EVENT, HELPER_JUMP, HELPER_NEXT } from '../exits.ts';
import { MODE_TRAP, MODE_WATCHED } from '../mode.ts';
import { INFO_REPE, INFO_REPNE } from '../record.ts';
import {
  gprOffset,
  PAGE_SIZE,
  RAM_BASE,
  S_BUDGET,
  S_MODE,
  S_PAGE_FLAGS,
  S_RFLAGS,
  SEGMENT_BASE,
  segmentOffset,
} from '../state.ts';
import { checkSegmentAccess } from '../system/segment-check.ts';
import { RFLAGS_DF, setSubFlags } from './flags.ts';
import {
  addressSize,
  advanceRip,
  high,
  info,
  isMode64,
  loadMemory,
  low,
  operandSize,
  readRegister,
  rowOf,
  segmentNumber,
  storeMemory,
  writeRegister,
} from './operands.ts';
import { checkPort } from './port.ts';
import { defineHelpers } from './registry.ts';

const RAX = gprOffset(0);
const RCX = gprOffset(1);
const RDX = gprOffset(2);
const RSI = gprOffset(6);
const RDI = gprOffset(7);

/** Most bytes that one call works on before it lets interrupts in. */
const MAX_BYTES = 65536;
const MAX_PORT_BYTES = 1024;

/** The instruction at hand. */
let width: 1 | 2 | 4 | 8 = 1;
let address = 8;
let repeated = false;
/** +width or −width. */
let step = 1;

/** One side of a string instruction: its index register, segment and present linear address. */
class Side {
  readonly register: number;
  low = 0;
  high = 0;
  private segment = SEG_ES;
  private offset = 0;
  private mode64 = false;

  constructor(register: number) {
    this.register = register;
  }

  begin(cpu: Cpu, op: number, segment: number): void {
    this.segment = segment;
    this.mode64 = isMode64(cpu, op);
  }

  /** Computes the linear address of the element that the register names. */
  locate(cpu: Cpu): void {
    const { i32 } = cpu;
    readRegister(cpu, this.register, address);
    this.offset = low;
    const base = (segmentOffset(this.segment) + SEGMENT_BASE) >> 2;
    const based = !this.mode64 || this.segment >= 4;
    const sum = (low >>> 0) + (based ? i32[base] >>> 0 : 0);
    this.low = sum | 0;
    this.high = this.mode64 ? (high + (based ? i32[base + 1] : 0) + (sum > 0xffffffff ? 1 : 0)) | 0 : 0;
  }

  /** How many of `count` elements from here on lie within this page and before the index register wraps around. */
  run(count: number): number {
    const inPage = this.low & (PAGE_SIZE - 1);
    let n =
      step > 0
        ? Math.floor((PAGE_SIZE - inPage) / width)
        : inPage + width <= PAGE_SIZE
          ? Math.floor(inPage / width) + 1
          : 0;
    if (address !== 8) {
      const limit = address === 2 ? 0x10000 : 0x100000000;
      const offset = this.offset >>> 0;
      n = Math.min(n, step > 0 ? Math.floor((limit - offset) / width) : Math.floor(offset / width) + 1);
    }
    return Math.min(n, count);
  }

  /** Segment checks of a run of `n` elements; a run that does not pass whole is cut to its first element. */
  check(cpu: Cpu, n: number, write: boolean): number {
    if (this.mode64) return n;
    if (n > 1) {
      const first = step > 0 ? this.offset : this.offset - (n - 1) * width;
      try {
        checkSegmentAccess(cpu, this.segment, first, n * width, write);
        return n;
      } catch {
        // The element that fails raises its fault when its turn comes.
      }
    }
    checkSegmentAccess(cpu, this.segment, this.offset, width, write);
    return Math.min(n, 1);
  }

  /** Physical address of the first element when a run of `n` (at least 1) is RAM, otherwise −1. */
  physical(cpu: Cpu, n: number, write: boolean): number {
    if (n === 0) return -1;
    cpu.mmu.checkAlignment(this.low, this.high, width);
    const address = cpu.mmu.translate(this.low, this.high, write);
    if (address >= 0) cpu.mmu.watch(this.low, this.high, width, write);
    return address;
  }

  /** Moves the index register by `n` elements. */
  advance(cpu: Cpu, n: number): void {
    const by = n * step;
    readRegister(cpu, this.register, address);
    const sum = (low >>> 0) + by;
    writeRegister(cpu, this.register, address, sum | 0, (high + (sum > 0xffffffff ? 1 : sum < 0 ? -1 : 0)) | 0);
  }

  load(cpu: Cpu): void {
    loadMemory(cpu, this.low, this.high, width);
  }

  store(cpu: Cpu, valueLow: number, valueHigh: number): void {
    storeMemory(cpu, this.low, this.high, width, valueLow, valueHigh);
  }
}

const source = new Side(RSI);
const destination = new Side(RDI);

/** Reads the instruction's form. @returns elements to do now, at most `most` bytes; 0: none. */
function begin(cpu: Cpu, op: number, most: number): number {
  const { operands } = rowOf(cpu, op);
  const byte = operands.some(({ type, mode }) => type === 'b' || mode === 'AL');
  width = byte ? 1 : (operandSize(cpu, op) as 2 | 4 | 8);
  address = addressSize(cpu, op);
  repeated = (info(cpu, op) & (INFO_REPE | INFO_REPNE)) !== 0;
  step = cpu.i32[S_RFLAGS >> 2] & RFLAGS_DF ? -width : width;
  source.begin(cpu, op, segmentNumber(cpu, op));
  destination.begin(cpu, op, SEG_ES);
  if (!repeated) return 1;
  readRegister(cpu, RCX, address);
  if (low === 0 && high === 0) return 0;
  // A single-stepped instruction traps after each element, and so does one that meets a breakpoint.
  if (cpu.i32[S_MODE >> 2] & (MODE_TRAP | MODE_WATCHED)) return 1;
  const limit = most / width;
  return high === 0 && low >>> 0 < limit ? low : limit;
}

/** Takes `n` elements off the count. */
function countDown(cpu: Cpu, n: number): void {
  if (!repeated) return;
  readRegister(cpu, RCX, address);
  const difference = (low >>> 0) - n;
  writeRegister(cpu, RCX, address, difference | 0, (high - (difference < 0 ? 1 : 0)) | 0);
}

/** Ends a call: the instruction is done, or comes again for the rest of its count. */
function end(cpu: Cpu): number {
  if (!repeated) return HELPER_NEXT;
  readRegister(cpu, RCX, address);
  return low === 0 && high === 0 ? HELPER_NEXT : HELPER_JUMP;
}

/** Does a device want the run loop's attention? */
function interrupted(cpu: Cpu): boolean {
  return cpu.i32[S_BUDGET >> 2] < 0;
}

/** Bytes of RAM at `at` were written by an instruction. */
function written(cpu: Cpu, at: number, length: number): void {
  if (cpu.u8[S_PAGE_FLAGS + (at >>> 12)] !== 0) cpu.ramWritten(at, length);
}

/** Lowest address of a run of `n` elements whose first is at `first`. */
function lowest(first: number, n: number): number {
  return step > 0 ? first : first - (n - 1) * width;
}

function moveStrings(cpu: Cpu, op: number): number {
  let left = begin(cpu, op, MAX_BYTES);
  while (left > 0) {
    source.locate(cpu);
    destination.locate(cpu);
    let n = Math.min(source.run(left), destination.run(left));
    n = Math.min(source.check(cpu, n, false), destination.check(cpu, n, true));
    const from = source.physical(cpu, n, false);
    const to = n === 0 ? -1 : destination.physical(cpu, n, true);
    if (from >= 0 && to >= 0) {
      copy(cpu.u8, RAM_BASE + from, RAM_BASE + to, n);
      written(cpu, lowest(to, n), n * width);
    } else {
      n = 1;
      source.load(cpu);
      destination.store(cpu, low, high);
    }
    source.advance(cpu, n);
    destination.advance(cpu, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

/** Copies `n` elements in the order in which the CPU does, which matters where they overlap. */
function copy(u8: Uint8Array, from: number, to: number, n: number): void {
  const length = n * width;
  const start = lowest(from, n);
  const target = lowest(to, n);
  const propagates = step > 0 ? target > start && target < start + length : target < start && target + length > start;
  if (!propagates) {
    u8.copyWithin(target, start, start + length);
    return;
  }
  for (let i = 0; i < n; i++) u8.copyWithin(to + i * step, from + i * step, from + i * step + width);
}

function storeStrings(cpu: Cpu, op: number): number {
  let left = begin(cpu, op, MAX_BYTES);
  while (left > 0) {
    destination.locate(cpu);
    let n = destination.check(cpu, destination.run(left), true);
    const to = destination.physical(cpu, n, true);
    if (to >= 0) {
      fill(cpu.u8, RAM_BASE + lowest(to, n), n * width);
      written(cpu, lowest(to, n), n * width);
    } else {
      n = 1;
      destination.store(cpu, cpu.i32[RAX >> 2], cpu.i32[(RAX + 4) >> 2]);
    }
    destination.advance(cpu, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

/** Fills `length` bytes with the accumulator's element. */
function fill(u8: Uint8Array, at: number, length: number): void {
  if (width === 1) {
    u8.fill(u8[RAX], at, at + length);
    return;
  }
  u8.copyWithin(at, RAX, RAX + width);
  for (let done: number = width; done < length; done *= 2)
    u8.copyWithin(at + done, at, at + Math.min(done, length - done));
}

/** Of a run in RAM only the last element is seen. */
function loadStrings(cpu: Cpu, op: number): number {
  let left = begin(cpu, op, MAX_BYTES);
  while (left > 0) {
    source.locate(cpu);
    let n = source.check(cpu, source.run(left), false);
    const from = source.physical(cpu, n, false);
    if (from >= 0) readRegister8(cpu, RAM_BASE + from + (n - 1) * step);
    else {
      n = 1;
      source.load(cpu);
      writeRegister(cpu, RAX, width, low, high);
    }
    source.advance(cpu, n);
    countDown(cpu, n);
    left -= n;
    if (interrupted(cpu)) break;
  }
  return end(cpu);
}

/** Loads the accumulator from an element of RAM at any alignment. */
function readRegister8(cpu: Cpu, at: number): void {
  cpu.u8.copyWithin(RAX, at, at + width);
  if (width === 4) cpu.i32[(RAX + 4) >> 2] = 0;
}

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
function compareStrings(cpu: Cpu, op: number, both: boolean): number {
  const whileEqual = (info(cpu, op) & INFO_REPE) !== 0;
  let left = begin(cpu, op, MAX_BYTES);
  if (left === 0) return HELPER_NEXT;
  let aLow = 0;
  let aHigh = 0;
  readRegister(cpu, RAX, width);
  if (!both) {
    aLow = low;
    aHigh = high;
  }
  let bLow = 0;
  let bHigh = 0;
  let decided = false;
  while (left > 0 && !decided) {
    if (both) source.locate(cpu);
    destination.locate(cpu);
    let n = both ? Math.min(source.run(left), destination.run(left)) : destination.run(left);
    if (both) n = Math.min(n, source.check(cpu, n, false));
    n = Math.min(n, destination.check(cpu, n, false));
    // Where both fault, the destination's counts.
    const b = destination.physical(cpu, n, false);
    const a = both ? source.physical(cpu, n, false) : 0;
    let done = 0;
    if (a >= 0 && b >= 0) {
      if (step > 0) {
        if (both && whileEqual) done = equalElements(cpu, RAM_BASE + a, RAM_BASE + b, n - 1);
        else if (!both && !whileEqual && width === 1) done = elementsBefore(cpu.u8, aLow, RAM_BASE + b, n - 1);
      }
      while (done < n && !decided) {
        if (both) {
          element(cpu.u8, RAM_BASE + a + done * step);
          aLow = valueLow;
          aHigh = valueHigh;
        }
        element(cpu.u8, RAM_BASE + b + done * step);
        bLow = valueLow;
        bHigh = valueHigh;
        decided = (aLow === bLow && aHigh === bHigh) !== whileEqual;
        done++;
      }
    } else {
      destination.load(cpu);
      bLow = low;
      bHigh = high;
      if (both) {
        source.load(cpu);
        aLow = low;
        aHigh = high;
      }
      decided = (aLow === bLow && aHigh === bHigh) !== whileEqual;
      done = 1;
    }
    if (both) source.advance(cpu, done);
    destination.advance(cpu, done);
    countDown(cpu, done);
    left -= done;
    if (interrupted(cpu)) break;
  }
  // Only now: a fault midway leaves RFLAGS as before the instruction (SDM vol. 2B, REP).
  setSubFlags(cpu, width, aLow, aHigh, bLow, bHigh);
  return decided ? HELPER_NEXT : end(cpu);
}

/** Behind port accesses: at once through the run loop when a device asked for an interrupt. */
function endPorts(cpu: Cpu, op: number): number {
  const next = end(cpu);
  if (!interrupted(cpu)) return next;
  if (next === HELPER_NEXT) advanceRip(cpu, op);
  return EXIT_EVENT;
}

/** As `begin` for INS and OUTS: at most four bytes wide, and only where the port is allowed. */
function beginPorts(cpu: Cpu, op: number): number {
  const left = begin(cpu, op, MAX_PORT_BYTES);
  if (width === 8) width = 4;
  step = step > 0 ? width : -width;
  checkPort(cpu, cpu.u16[RDX >> 1], width);
  return left;
}

/** INS: memory is asked for permission before the port is read. */
function input(cpu: Cpu, op: number): number {
  let left = beginPorts(cpu, op);
  const port = cpu.u16[RDX >> 1];
  const size = width as AccessSize;
  for (; left > 0; left--) {
    destination.locate(cpu);
    destination.check(cpu, 1, true);
    cpu.mmu.probe(destination.low, destination.high, size, true);
    destination.store(cpu, cpu.env.ports.read(port, size), 0);
    destination.advance(cpu, 1);
    countDown(cpu, 1);
    if (interrupted(cpu)) break;
  }
  return endPorts(cpu, op);
}

function output(cpu: Cpu, op: number): number {
  let left = beginPorts(cpu, op);
  const port = cpu.u16[RDX >> 1];
  const size = width as AccessSize;
  for (; left > 0; left--) {
    source.locate(cpu);
    source.check(cpu, 1, false);
    source.load(cpu);
    cpu.env.ports.write(port, size, low >>> 0);
    source.advance(cpu, 1);
    countDown(cpu, 1);
    if (interrupted(cpu)) break;
  }
  return endPorts(cpu, op);
}

defineHelpers({
  MOVS: moveStrings,
  STOS: storeStrings,
  LODS: loadStrings,
  CMPS: (cpu, op) => compareStrings(cpu, op, true),
  SCAS: (cpu, op) => compareStrings(cpu, op, false),
  INS: input,
  OUTS: output,
});
