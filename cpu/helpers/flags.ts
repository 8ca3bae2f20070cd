/** Status flags set by helpers. */
import type { Cpu } from '../cpu.ts';
import { CC_EXPLICIT, S_CC_B, S_CC_OP, S_RFLAGS } from '../state.ts';

/** The six status flags. */
export const STATUS_FLAGS = 0x8d5;

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
