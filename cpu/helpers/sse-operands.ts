/** Operands, MXCSR and exceptions of SSE helpers. Operands are indices of words in the machine's memory. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_UD, VECTOR_XM } from '../fault.ts';
import { beginSse } from '../fpu/sse.ts';
import { byteColumn } from '../isa/columns.ts';
import { ATTR_SSE, type OpcodeRow } from '../isa/table.ts';
import * as r from '../record.ts';
import { S_CR4, S_FPU_OPERAND, S_MXCSR } from '../state.ts';
import { CR4_OSXMMEXCPT, updateSseFast } from '../system/mode-word.ts';
import { high, isMemory, linearAddress, low, regOffset, rmOffset } from './operands.ts';
import { loadOperand } from './x87-memory.ts';

/** Rows whose operands are XMM registers (and memory and general registers). */
export function isSse(row: OpcodeRow): boolean {
  return (row.attributes & ATTR_SSE) !== 0 && !row.operands.some(({ mode }) => 'PQN'.includes(mode));
}

const TYPE_BYTES: Record<string, number> = { w: 2, d: 4, q: 8, ss: 4, sd: 8, ps: 16, pd: 16, dq: 16 };

/** Bytes of the source in memory, by row; 0 where it is no XMM operand. */
const sourceBytes = byteColumn('sse.sourceBytes', (row) => TYPE_BYTES[row.operands[1]?.type] ?? 0);

/** Raises #GP(0) unless the address in low, high is a multiple of 16. */
export function requireAligned(): void {
  if (low & 15) raise(VECTOR_GP, 0);
}

/** The source (second operand, in ModRM.rm): a register, or memory brought to S_FPU_OPERAND. */
export function source(cpu: Cpu, op: number, aligned = true): number {
  if (!isMemory(cpu, op)) return rmOffset(cpu, op) >> 2;
  const bytes = sourceBytes[cpu.u16[(op + r.R_ROW) >> 1]];
  linearAddress(cpu, op);
  if (bytes === 16 && aligned) requireAligned();
  loadOperand(cpu, low, high, bytes);
  return S_FPU_OPERAND >> 2;
}

/** The destination, and first source: the register in ModRM.reg. */
export function destination(cpu: Cpu, op: number): number {
  return regOffset(cpu, op) >> 2;
}

export function begin(cpu: Cpu): void {
  beginSse(cpu.i32[S_MXCSR >> 2]);
}

/** Takes the exceptions that an operation raised: flags, then #XM (or #UD) if one is unmasked. */
export function finish(cpu: Cpu, flags: number): number {
  raiseExceptions(cpu, flags);
  return HELPER_NEXT;
}

export function raiseExceptions(cpu: Cpu, flags: number): void {
  const mxcsr = cpu.i32[S_MXCSR >> 2] | flags;
  cpu.i32[S_MXCSR >> 2] = mxcsr;
  updateSseFast(cpu);
  if (flags & ~(mxcsr >> 7)) raise(cpu.i32[S_CR4 >> 2] & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
}
