/**
 * What the string instructions have in common (Intel SDM vol. 2, REP): the form of the one at hand, and runs of elements
 * that lie within one page. After each run the registers say how far the instruction got, so that a fault or an interrupt
 * midway leaves it to be continued; by TypeScript, if compiled code (compiled.ts) did the first runs and leaves. TypeScript
 * then may do another MAX_BYTES, so up to 128 KiB pass between looks at interrupts.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_FS } from '../decode/insn.ts';
import { HELPER_JUMP, HELPER_NEXT } from '../exits.ts';
import type { OpcodeRow } from '../isa/table.ts';
import { NOT_RAM } from '../mmu/mmu.ts';
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
  S_SLOW_VALUE,
  SEGMENT_BASE,
  segmentOffset,
} from '../state.ts';
import { checkSegmentAccess } from '../system/segment-check.ts';
import { RFLAGS_DF } from './flags.ts';
import {
  add64,
  addressSize,
  high,
  info,
  isMode64,
  low,
  operandSize,
  readRegister,
  set64,
  writeRegister,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

export const RAX = gprOffset(0);
export const RSI = gprOffset(6);
export const RDI = gprOffset(7);
const RCX = gprOffset(1);

/** Most bytes that one call works on before it lets interrupts in. */
export const MAX_BYTES = 65536;

/** Instead of an offset in the memory. */
export const NOWHERE = 0;

/** The instruction at hand: bytes of an element, their log2, and +width or −width. */
export let width = 1;
export let shift = 0;
export let step = 1;
let address = 8;
let repeated = false;
let mode64 = false;

/** Reads the instruction's form; its elements have `size` bytes. @returns elements to do now, of `most` bytes at most; 0: none. */
export function begin(cpu: Cpu, op: number, size: number, most: number): number {
  const { i32 } = cpu;
  width = size;
  shift = width === 8 ? 3 : width >>> 1;
  step = i32[S_RFLAGS >> 2] & RFLAGS_DF ? -width : width;
  address = addressSize(cpu, op);
  mode64 = isMode64(cpu, op);
  repeated = (info(cpu, op) & (INFO_REPE | INFO_REPNE)) !== 0;
  if (!repeated) return 1;
  readRegister(cpu, RCX, address);
  if ((low | high) === 0) return 0;
  // A single-stepped instruction traps after each element, and so does one that meets a breakpoint.
  if (i32[S_MODE >> 2] & (MODE_TRAP | MODE_WATCHED)) return 1;
  const limit = most >>> shift;
  return high === 0 && low >>> 0 < limit ? low : limit;
}

/** Ends a call: the instruction is done, or comes again for the rest of its count. */
export function end(cpu: Cpu): number {
  if (!repeated) return HELPER_NEXT;
  readRegister(cpu, RCX, address);
  return (low | high) === 0 ? HELPER_NEXT : HELPER_JUMP;
}

/** Does a device want the run loop's attention? */
export function interrupted(cpu: Cpu): boolean {
  return cpu.i32[S_BUDGET >> 2] < 0;
}

/** Moves an index register by `n` elements. */
export function advance(cpu: Cpu, register: number, n: number): void {
  const by = n * step;
  readRegister(cpu, register, address);
  add64(by, by >> 31);
  writeRegister(cpu, register, address, low, high);
}

/** Takes `n` elements, at least one, off the count. */
export function countDown(cpu: Cpu, n: number): void {
  if (!repeated) return;
  readRegister(cpu, RCX, address);
  add64(-n, -1);
  writeRegister(cpu, RCX, address, low, high);
}

/**
 * Finds the elements from the one on that an index register names: its linear address → low, high.
 * @returns how many of `count` lie within its page, before the register wraps around, and within the segment; 0: it
 * reaches into the next page. @throws GuestFault when the first element is beyond the segment
 */
export function reach(cpu: Cpu, register: number, segment: number, count: number, write: boolean): number {
  readRegister(cpu, register, address);
  if (!mode64 || segment >= SEG_FS) {
    const base = (segmentOffset(segment) + SEGMENT_BASE) >> 2;
    add64(cpu.i32[base], mode64 ? cpu.i32[base + 1] : 0);
    if (!mode64) set64(low, 0);
  }
  const inPage = low & (PAGE_SIZE - 1);
  let n = 0;
  if (step > 0) n = (PAGE_SIZE - inPage) >>> shift;
  else if (inPage + width <= PAGE_SIZE) n = (inPage >>> shift) + 1;
  n = Math.min(n, count);
  return address === 8 ? n : narrowRun(cpu, register, segment, n, write);
}

/** Cuts a run at the ends of 16- and 32-bit addresses, and of the segment. TypeScript only; keeps low, high. */
function narrowRun(cpu: Cpu, register: number, segment: number, n: number, write: boolean): number {
  const linearLow = low;
  const linearHigh = high;
  readRegister(cpu, register, address);
  const offset = low >>> 0;
  const end = address === 2 ? 0x10000 : 0x100000000;
  const limit = step > 0 ? (end - offset) / width : offset / width + 1;
  n = Math.min(n, Math.floor(limit));
  if (!mode64) n = checkSegment(cpu, segment, offset, n, write);
  set64(linearLow, linearHigh);
  return n;
}

/** Segment checks of a run of `n` elements; a run that does not pass whole is cut to its first element. */
function checkSegment(cpu: Cpu, segment: number, offset: number, n: number, write: boolean): number {
  if (n > 1) {
    const first = step > 0 ? offset : offset - (n - 1) * width;
    try {
      checkSegmentAccess(cpu, segment, first, n * width, write);
      return n;
    } catch {
      // The element that fails raises its fault when its turn comes.
    }
  }
  checkSegmentAccess(cpu, segment, offset, width, write);
  return Math.min(n, 1);
}

/**
 * Where in the memory the elements stand that {@link reach} found: offset of the first, NOWHERE if they are device memory.
 * @throws GuestFault
 */
export function place(cpu: Cpu, linearLow: number, linearHigh: number, write: boolean): number {
  const { mmu } = cpu;
  mmu.checkAlignment(linearLow, linearHigh, width);
  const at = mmu.translate(linearLow, linearHigh, write);
  if (at === NOT_RAM) return NOWHERE;
  mmu.watch(linearLow, linearHigh, width, write);
  return RAM_BASE + at;
}

/** Loads one element, wherever it stands. @returns offset in the memory of a copy */
export function loadElement(cpu: Cpu, linearLow: number, linearHigh: number): number {
  cpu.mmu.checkAlignment(linearLow, linearHigh, width);
  cpu.mmu.copyIn(S_SLOW_VALUE, linearLow, linearHigh, width);
  return S_SLOW_VALUE;
}

/** Stores one element, which is at offset `from` of the memory, wherever it belongs. TypeScript only. */
export function storeElement(cpu: Cpu, from: number, linearLow: number, linearHigh: number): void {
  cpu.mmu.checkAlignment(linearLow, linearHigh, width);
  // Pieces of it may be stored where it comes from.
  cpu.u8.copyWithin(S_SLOW_VALUE, from, from + width);
  cpu.mmu.copyOut(S_SLOW_VALUE, linearLow, linearHigh, width);
}

/** Offset of the lowest byte of `n` elements whose first is at `first`. */
export function lowest(first: number, n: number): number {
  return step > 0 ? first : first - (n - 1) * width;
}

/** To be called before `n` elements are written at offset `first` of the memory. */
export function announce(cpu: Cpu, first: number, n: number): void {
  if (cpu.u8[S_PAGE_FLAGS + ((first - RAM_BASE) >>> 12)] !== 0) cpu.ramWritten(lowest(first, n) - RAM_BASE, n * width);
}

/** Is this a row of an instruction on bytes? */
export function isByteRow({ operands }: OpcodeRow): boolean {
  return operands.some(({ type, mode }) => type === 'b' || mode === 'AL');
}

/** Defines helpers by mnemonic, which are told the size of an element. */
export function defineStrings(helpers: Record<string, (cpu: Cpu, op: number, size: number) => number>): void {
  for (const [mnemonic, execute] of Object.entries(helpers)) {
    defineHelpers({ [mnemonic]: (cpu, op) => execute(cpu, op, 1) }, isByteRow);
    defineHelpers({ [mnemonic]: (cpu, op) => execute(cpu, op, operandSize(cpu, op)) });
  }
}
