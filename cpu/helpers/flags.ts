/** RFLAGS for helpers: status flags, and what POPF and IRET may change (Intel SDM vol. 1, 3.4.3). */
import type { Cpu } from '../cpu.ts';
import { CC_EXPLICIT, CC_SUB, S_CC_A, S_CC_B, S_CC_OP, S_CC_RES, S_RFLAGS } from '../state.ts';

/** The six status flags. */
export const STATUS_FLAGS = 0x8d5;

export const RFLAGS_TF = 1 << 8;
export const RFLAGS_IF = 1 << 9;
export const RFLAGS_DF = 1 << 10;
export const RFLAGS_IOPL = 3 << 12;
export const RFLAGS_NT = 1 << 14;
export const RFLAGS_RF = 1 << 16;
export const RFLAGS_VM = 1 << 17;
export const RFLAGS_AC = 1 << 18;
const RFLAGS_ID = 1 << 21;

/** Sets all status flags to those of `bits`. */
export function setStatusFlags(cpu: Cpu, bits: number): void {
  cpu.i32[S_CC_OP >> 2] = CC_EXPLICIT;
  cpu.i32[S_CC_B >> 2] = bits & STATUS_FLAGS;
  cpu.i32[(S_CC_B + 4) >> 2] = 0;
}

/** Replaces the status flags of `mask`. */
export function mergeStatusFlags(cpu: Cpu, mask: number, bits: number): void {
  setStatusFlags(cpu, (cpu.rflags & ~mask) | (bits & mask));
}

/** Sets RFLAGS as a whole: status and system flags. The caller updates the mode word where needed. */
export function setRflags(cpu: Cpu, value: number): void {
  setStatusFlags(cpu, value);
  cpu.i32[S_RFLAGS >> 2] = (value & ~STATUS_FLAGS) | 2;
}

/**
 * Takes the flags that POPF and IRET may change at privilege level `cpl` from an image of `size` bytes. The caller updates
 * the mode word. RF, which IRET takes too, means something only while breakpoints are on, and only until the next
 * instruction has run: otherwise it stays clear.
 */
export function restoreFlags(cpu: Cpu, image: number, size: number, cpl: number, keepRf: boolean): void {
  const old = cpu.rflags;
  let mask = STATUS_FLAGS | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
  if (size !== 2) mask |= RFLAGS_AC | RFLAGS_ID | RFLAGS_RF;
  if (cpl === 0) mask |= RFLAGS_IOPL;
  if (cpl <= (old & RFLAGS_IOPL) >> 12) mask |= RFLAGS_IF;
  setRflags(cpu, (old & ~mask) | (image & (keepRf ? mask : mask & ~RFLAGS_RF)));
}

/** Flags of the comparison a − b at `size` bytes (1, 2, 4, 8), lazily. */
export function setSubFlags(cpu: Cpu, size: number, aLow: number, aHigh: number, bLow: number, bHigh: number): void {
  const borrow = size === 8 && aLow >>> 0 < bLow >>> 0 ? 1 : 0;
  setExtended(cpu, S_CC_A, size, aLow, aHigh);
  setExtended(cpu, S_CC_B, size, bLow, bHigh);
  setExtended(cpu, S_CC_RES, size, (aLow - bLow) | 0, (aHigh - bHigh - borrow) | 0);
  cpu.i32[S_CC_OP >> 2] = CC_SUB;
}

/** Writes a value, sign-extended from `size` bytes to 64 bits. */
function setExtended(cpu: Cpu, offset: number, size: number, low: number, high: number): void {
  const shift = size === 1 ? 24 : size === 2 ? 16 : 0;
  const value = (low << shift) >> shift;
  cpu.i32[offset >> 2] = value;
  cpu.i32[(offset + 4) >> 2] = size === 8 ? high : value >> 31;
}
