/**
 * What interrupt gates of all modes have in common (Intel SDM vol. 3A 6.11–6.14): the handler's code segment, the flags that
 * are pushed, and the way to the handler. Compiled ahead of time too (aot/compile.ts), for gates of 64-bit code.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS } from '../decode/insn.ts';
import { raise, VECTOR_DB, VECTOR_DF, VECTOR_GP, VECTOR_NMI, VECTOR_NP } from '../fault.ts';
import { RFLAGS_IF, RFLAGS_NT, RFLAGS_RF, RFLAGS_TF, RFLAGS_VM, setRflags } from '../helpers/flags.ts';
import { S_RIP } from '../state.ts';
import { cacheSegment, descriptor, dplOf, isLong, readDescriptor, TYPE_CODE } from './descriptors.ts';
import { ATTR_DB, ATTR_L, ATTR_PRESENT, ATTR_S, updateMode } from './mode-word.ts';

/** Types of gates, in bits 8–12 of the second dword. */
export const GATE_TASK = 5;
export const GATE_INT16 = 6;
export const GATE_TRAP16 = 7;
export const GATE_INT32 = 14;
export const GATE_TRAP32 = 15;

/** What raised an event: decides the gate's DPL check and the error code's EXT bit. */
export const SOURCE_EXTERNAL = 0;
export const SOURCE_SOFTWARE = 1;

export function isException(vector: number): boolean {
  return vector < 32 && vector !== VECTOR_NMI;
}

/** Error code for a fault about IDT entry `vector`. */
export function idtError(vector: number, source: number): number {
  return (vector << 3) | 2 | (source === SOURCE_SOFTWARE ? 0 : 1);
}

/** RF in the pushed image: set for faults, so that the restarted instruction skips its breakpoint. */
export function flagsImage(cpu: Cpu, vector: number, source: number): number {
  const fault = source !== SOURCE_SOFTWARE && isException(vector) && vector !== VECTOR_DB && vector !== VECTOR_DF;
  return cpu.rflags | (fault ? RFLAGS_RF : 0);
}

/** Checks the handler's code segment, left in `descriptor`. @returns its DPL. */
export function checkHandlerCode(cpu: Cpu, selector: number, cpl: number, ext: number): number {
  const error = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) === 0) raise(VECTOR_GP, ext);
  readDescriptor(cpu, selector);
  const { high } = descriptor;
  if (!(high & ATTR_S) || !(high & TYPE_CODE) || dplOf(high) > cpl) raise(VECTOR_GP, error);
  if (!(high & ATTR_PRESENT)) raise(VECTOR_NP, error);
  if (isLong(cpu) && (!(high & ATTR_L) || high & ATTR_DB)) raise(VECTOR_GP, error);
  return dplOf(high);
}

/** Goes to a handler: CS:RIP, flags, privilege. */
export function enterHandler(
  cpu: Cpu,
  selector: number,
  cpl: number,
  codeLow: number,
  codeHigh: number,
  offset: number,
  offsetHigh: number,
  interruptGate: boolean,
): void {
  cacheSegment(cpu, SEG_CS, (selector & 0xfffc) | cpl, codeLow, codeHigh);
  cpu.i32[S_RIP >> 2] = offset;
  cpu.i32[(S_RIP + 4) >> 2] = offsetHigh;
  const clear = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM | (interruptGate ? RFLAGS_IF : 0);
  setRflags(cpu, cpu.rflags & ~clear);
  updateMode(cpu, cpl);
  cpu.codeSegmentChanged();
}
