/**
 * Segment descriptors and loading segment registers (Intel SDM vol. 3A ch. 3 and 5). What delivery and IRET of 64-bit code
 * need is compiled ahead of time too (aot/compile.ts).
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import { raise, VECTOR_GP, VECTOR_NP, VECTOR_SS, VECTOR_TS } from '../fault.ts';
import { MISS } from '../mmu/mmu.ts';
import { ACCESS_IMPLICIT, ACCESS_WRITE } from '../mmu/walk.ts';
import { MODE_PROTECTED } from '../mode.ts';
import {
  S_EFER,
  S_GDTR,
  S_MODE,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_CHECKED,
  SEGMENT_LDTR,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  segmentOffset,
} from '../state.ts';
import { ATTR_DB, ATTR_DPL_SHIFT, ATTR_PRESENT, ATTR_S, currentPrivilegeLevel, EFER_LMA } from './mode-word.ts';

/** Type bits of code and data descriptors, at their places in the second dword. */
export const TYPE_ACCESSED = 1 << 8;
export const TYPE_WRITABLE = 1 << 9;
export const TYPE_READABLE = 1 << 9;
export const TYPE_EXPAND_DOWN = 1 << 10;
export const TYPE_CONFORMING = 1 << 10;
export const TYPE_CODE = 1 << 11;
const GRANULARITY = 1 << 23;

/** The descriptor last read by {@link readDescriptor}: its two dwords, and two more for 16-byte system descriptors. */
export const descriptor = { low: 0, high: 0, upper: 0, address: 0, addressHigh: 0 };

export function isLong(cpu: Cpu): boolean {
  return (cpu.i32[S_EFER >> 2] & EFER_LMA) !== 0;
}

export function dplOf(high: number): number {
  return (high >> 13) & 3;
}

/** Linear base of the table that `selector` points into, and whether `bytes` there lie within its limit. */
function locate(cpu: Cpu, selector: number, bytes: number): boolean {
  const { i32 } = cpu;
  const inLdt = (selector & 4) !== 0;
  const table = inLdt ? segmentOffset(SEGMENT_LDTR) : S_GDTR;
  if (inLdt && !(i32[(table + SEGMENT_ATTR) >> 2] & ATTR_PRESENT)) return false;
  const limit = i32[(table + 8) >> 2] >>> 0;
  const offset = selector & 0xfff8;
  if (offset + bytes - 1 > limit) return false;
  const low = (i32[table >> 2] + offset) | 0;
  descriptor.address = low;
  descriptor.addressHigh = (i32[(table + 4) >> 2] + (low >>> 0 < offset >>> 0 ? 1 : 0)) | 0;
  return true;
}

/** Reads the descriptor of `selector` into `descriptor`; outside its table raises `vector` with the selector. */
export function readDescriptor(cpu: Cpu, selector: number, vector = VECTOR_GP): void {
  if (!tryReadDescriptor(cpu, selector)) raise(vector, selector & 0xfffc);
}

/** As {@link readDescriptor}. @returns false when the selector is outside its table. */
export function tryReadDescriptor(cpu: Cpu, selector: number): boolean {
  if (!locate(cpu, selector, 8)) return false;
  const at = cpu.mmu.systemBytes(descriptor.address, descriptor.addressHigh, 8);
  descriptor.low = cpu.i32[at >>> 2];
  descriptor.high = cpu.i32[(at + 4) >>> 2];
  return true;
}

/** Reads the upper half of a 16-byte system descriptor (long mode). */
export function readUpperDescriptor(cpu: Cpu, selector: number): void {
  if (!locate(cpu, selector, 16)) raise(VECTOR_GP, selector & 0xfffc);
  descriptor.upper = cpu.mmu.readSystem((descriptor.address + 8) | 0, descriptor.addressHigh, 4) | 0;
}

export function baseOf(low: number, high: number): number {
  return (low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000);
}

/** Limit in bytes, granularity applied (as int32). */
export function limitOf(low: number, high: number): number {
  const limit = (low & 0xffff) | (high & 0xf0000);
  return high & GRANULARITY ? (limit << 12) | 0xfff : limit;
}

/** Marks the descriptor at `descriptor.address` accessed (segment) or busy (TSS). */
export function setDescriptorBits(cpu: Cpu, bits: number): void {
  if ((descriptor.high & bits) === bits) return;
  descriptor.high |= bits;
  const address = (descriptor.address + 4) | 0;
  const at = cpu.mmu.span(address, descriptor.addressHigh, 4, ACCESS_WRITE | ACCESS_IMPLICIT);
  if (at === MISS) cpu.mmu.writeSystem(address, descriptor.addressHigh, 4, descriptor.high);
  else cpu.i32[at >>> 2] = descriptor.high;
}

/** Fills segment register `n` from a descriptor's dwords. */
export function cacheSegment(cpu: Cpu, n: number, selector: number, low: number, high: number): void {
  const at = segmentOffset(n);
  const { i32 } = cpu;
  i32[(at + SEGMENT_BASE) >> 2] = baseOf(low, high);
  i32[(at + SEGMENT_BASE + 4) >> 2] = 0;
  i32[(at + SEGMENT_LIMIT) >> 2] = limitOf(low, high);
  i32[(at + SEGMENT_ATTR) >> 2] = high & 0x00f0ff00;
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
  updateChecked(cpu, n);
}

/** Fills LDTR or TR from `descriptor`, with the upper half of the base. */
export function cacheSystemSegment(cpu: Cpu, n: number, selector: number): void {
  const at = segmentOffset(n);
  cpu.i32[(at + SEGMENT_BASE) >> 2] = baseOf(descriptor.low, descriptor.high);
  cpu.i32[(at + SEGMENT_BASE + 4) >> 2] = descriptor.upper;
  cpu.i32[(at + SEGMENT_LIMIT) >> 2] = limitOf(descriptor.low, descriptor.high);
  cpu.i32[(at + SEGMENT_ATTR) >> 2] = descriptor.high & 0x00f0ff00;
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
}

/** Does segment `n` need a check at each access? Flat, present, writable (or readable code for CS) ones do not. */
export function updateChecked(cpu: Cpu, n: number): void {
  const at = segmentOffset(n);
  const attributes = cpu.i32[(at + SEGMENT_ATTR) >> 2];
  const flat = cpu.i32[(at + SEGMENT_LIMIT) >> 2] === -1;
  const code = (attributes & TYPE_CODE) !== 0;
  const usable = (attributes & ATTR_PRESENT) !== 0;
  const plain = code ? n === SEG_CS : (attributes & (TYPE_WRITABLE | TYPE_EXPAND_DOWN)) === TYPE_WRITABLE;
  cpu.i32[(at + SEGMENT_CHECKED) >> 2] = flat && usable && plain ? 0 : 1;
}

/** The null stack segment that a change to inner ring `cpl` leaves in long mode. */
export function loadNullStack(cpu: Cpu, cpl: number): void {
  const at = segmentOffset(SEG_SS);
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = cpl;
  cpu.i32[(at + SEGMENT_ATTR) >> 2] = cpl << ATTR_DPL_SHIFT;
  cpu.i32[(at + SEGMENT_CHECKED) >> 2] = 1;
}

/**
 * Loads a null selector: an unusable segment with base 0. Guests that find an Intel CPU rely on that for FS and GS; AMD's
 * keep the base of these in long mode (APM vol. 3, CPUID Fn8000_0021 EAX[6]).
 */
export function loadNull(cpu: Cpu, n: number, selector: number): void {
  const at = segmentOffset(n);
  const { i32 } = cpu;
  i32[(at + SEGMENT_BASE) >> 2] = 0;
  i32[(at + SEGMENT_BASE + 4) >> 2] = 0;
  i32[(at + SEGMENT_LIMIT) >> 2] = 0;
  i32[(at + SEGMENT_ATTR) >> 2] = n === SEG_SS ? ((selector & 3) << 13) | (isLong(cpu) ? ATTR_DB : 0) : 0;
  cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
  i32[(at + SEGMENT_CHECKED) >> 2] = 1;
}

/**
 * MOV/POP to a data segment register (ES SS DS FS GS) with all checks of the mode. The caller updates the mode word.
 * @param invalid the exception for a selector that will not do.
 * @throws GuestFault `invalid` #SS #NP with the selector.
 */
export function loadSegment(cpu: Cpu, n: number, selector: number, invalid = VECTOR_GP): void {
  const mode = cpu.i32[S_MODE >> 2];
  if (!(mode & MODE_PROTECTED)) {
    const at = segmentOffset(n);
    cpu.i32[(at + SEGMENT_BASE) >> 2] = selector << 4;
    cpu.i32[(at + SEGMENT_BASE + 4) >> 2] = 0;
    cpu.u16[(at + SEGMENT_SELECTOR) >> 1] = selector;
    return;
  }
  const cpl = currentPrivilegeLevel(cpu);
  const rpl = selector & 3;
  if ((selector & 0xfffc) === 0) {
    // A null SS is allowed in 64-bit mode below CPL 3.
    if (n === SEG_SS && !((mode & 0xf) === 8 && cpl !== 3 && rpl === cpl)) raise(VECTOR_GP, 0);
    loadNull(cpu, n, selector);
    return;
  }
  const error = selector & 0xfffc;
  readDescriptor(cpu, selector, invalid);
  const { high } = descriptor;
  const dpl = dplOf(high);
  if (!(high & ATTR_S)) raise(invalid, error);
  if (n === SEG_SS) {
    if (rpl !== cpl || dpl !== cpl || high & TYPE_CODE || !(high & TYPE_WRITABLE)) raise(invalid, error);
    if (!(high & ATTR_PRESENT)) raise(VECTOR_SS, error);
  } else {
    const code = (high & TYPE_CODE) !== 0;
    if (code && !(high & TYPE_READABLE)) raise(invalid, error);
    if (!(code && high & TYPE_CONFORMING) && (rpl > dpl || cpl > dpl)) raise(invalid, error);
    if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  }
  setDescriptorBits(cpu, TYPE_ACCESSED);
  cacheSegment(cpu, n, selector, descriptor.low, descriptor.high);
}

/** Checks a stack segment for privilege level `cpl` (interrupts, IRET, far RET) and leaves it in `descriptor`. */
export function checkStackSegment(cpu: Cpu, selector: number, cpl: number, vector = VECTOR_TS): void {
  const error = selector & 0xfffc;
  if (error === 0) raise(vector, 0);
  readDescriptor(cpu, selector, vector);
  const { high } = descriptor;
  if ((selector & 3) !== cpl || dplOf(high) !== cpl) raise(vector, error);
  if (!(high & ATTR_S) || high & TYPE_CODE || !(high & TYPE_WRITABLE)) raise(vector, error);
  if (!(high & ATTR_PRESENT)) raise(VECTOR_SS, error);
}
