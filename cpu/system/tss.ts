/**
 * The stack that the TSS holds for an inner ring (Intel SDM vol. 3A 8.2.1, 8.7); those of a 64-bit TSS are read by code
 * that is compiled ahead of time too (aot/compile.ts).
 */
import type { Cpu } from '../cpu.ts';
import { raise, VECTOR_SS, VECTOR_TS } from '../fault.ts';
import { SEGMENT_ATTR, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_SELECTOR, SEGMENT_TR, segmentOffset } from '../state.ts';
import { isLong } from './descriptors.ts';

/** In a descriptor's type: a 32- or 64-bit TSS rather than a 16-bit one. */
export const TSS_WIDE = 1 << 11;
/** Where the first interrupt stack of a 64-bit TSS stands, less one entry: IST1 is at 0x24. */
const TSS_IST = 0x1c;
/** RSP0 of a 64-bit TSS. */
const TSS_RSP0 = 4;

/** Result of {@link readInnerStack}. */
export const innerStack = { low: 0, high: 0, selector: 0 };

/** Reads the stack for ring `cpl`. `ext`: bit 0 of error codes. @throws GuestFault #TS, #SS. */
export function readInnerStack(cpu: Cpu, cpl: number, ext: number): void {
  if (isLong(cpu)) {
    readLongInnerStack(cpu, cpl, ext);
    return;
  }
  const tr = segmentOffset(SEGMENT_TR);
  const wide = (cpu.i32[(tr + SEGMENT_ATTR) >> 2] & TSS_WIDE) !== 0;
  const slot = wide ? 4 + cpl * 8 : 2 + cpl * 4;
  checkLimit(cpu, slot + (wide ? 5 : 3), ext);
  const at = (cpu.i32[(tr + SEGMENT_BASE) >> 2] + slot) | 0;
  innerStack.low = cpu.mmu.readSystem(at, 0, wide ? 4 : 2) | 0;
  innerStack.high = 0;
  innerStack.selector = cpu.mmu.readSystem((at + (wide ? 4 : 2)) | 0, 0, 2);
}

/** The same in long mode. */
export function readLongInnerStack(cpu: Cpu, cpl: number, ext: number): void {
  readLongStack(cpu, TSS_RSP0 + cpl * 8, ext);
}

/** Reads interrupt stack `ist` (1…7) of a 64-bit TSS. */
export function readInterruptStack(cpu: Cpu, ist: number, ext: number): void {
  readLongStack(cpu, TSS_IST + ist * 8, ext);
}

function readLongStack(cpu: Cpu, slot: number, ext: number): void {
  checkLimit(cpu, slot + 7, ext);
  const tr = segmentOffset(SEGMENT_TR);
  const low = (cpu.i32[(tr + SEGMENT_BASE) >> 2] + slot) | 0;
  const high = (cpu.i32[(tr + SEGMENT_BASE + 4) >> 2] + (low >>> 0 < slot >>> 0 ? 1 : 0)) | 0;
  const at = cpu.mmu.systemBytes(low, high, 8);
  innerStack.low = cpu.i32[at >>> 2];
  innerStack.high = cpu.i32[(at + 4) >>> 2];
  innerStack.selector = 0;
  if (innerStack.high !== (innerStack.high << 16) >> 16) raise(VECTOR_SS, ext);
}

function checkLimit(cpu: Cpu, last: number, ext: number): void {
  const tr = segmentOffset(SEGMENT_TR);
  if (last > cpu.i32[(tr + SEGMENT_LIMIT) >> 2] >>> 0)
    raise(VECTOR_TS, (cpu.u16[(tr + SEGMENT_SELECTOR) >> 1] & 0xfffc) | ext);
}
