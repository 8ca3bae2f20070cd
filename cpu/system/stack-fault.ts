/**
 * An address that is not canonical raises #SS when the access goes through the stack segment, otherwise #GP (Intel SDM
 * vol. 3A 6.15, interrupt 12). Only the instruction tells which; it is looked at here, when the fault is delivered.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_SS } from '../decode/insn.ts';
import { VECTOR_GP, VECTOR_SS } from '../fault.ts';
import { high, info, isMemory, linearAddress, low } from '../helpers/operands.ts';
import { byteColumn } from '../isa/columns.ts';
import { INFO_SEGMENT_SHIFT, R_ROW } from '../record.ts';

const STACK = new Set('PUSH POP PUSHF POPF CALL RET ENTER LEAVE CALLF RETF IRET'.split(' '));
const usesStack = byteColumn('stack.usesStack', (row) => STACK.has(row.mnemonic));
/** Bytes of the longest memory operand of those: CALL m16:64. */
const LONGEST_OPERAND = 10;

/** @returns #SS or #GP for the access that faulted in operation `op` (its address: `mmu.fault`). */
export function notCanonicalVector(cpu: Cpu, op: number): number {
  const stack = usesStack[cpu.u16[(op + R_ROW) >> 1]] === 1;
  if (stack && !(isMemory(cpu, op) && isOperandAddress(cpu, op))) return VECTOR_SS;
  const segment = (info(cpu, op) >> INFO_SEGMENT_SHIFT) & 7;
  return isMemory(cpu, op) && segment === SEG_SS ? VECTOR_SS : VECTOR_GP;
}

/** Of an instruction with two memory operands, one of them on the stack: was it the other that faulted? */
function isOperandAddress(cpu: Cpu, op: number): boolean {
  const { fault } = cpu.mmu;
  linearAddress(cpu, op);
  return fault.addressHigh === high && (fault.addressLow - low) >>> 0 < LONGEST_OPERAND;
}
