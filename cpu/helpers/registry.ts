/**
 * Helpers: TypeScript functions that execute a whole instruction, for all that generated code leaves to them (rare
 * instructions, faulting cases, SLOW_IF). A helper reads its operands from the record `op` (record.ts; `operands.ts` has
 * accessors), does all faulting accesses before it changes state, and returns HELPER_NEXT, HELPER_JUMP (it set RIP) or an
 * EXIT_*. RIP in the state is the instruction's own address while it runs. Guest faults are thrown (fault.ts).
 */

import type { Cpu } from '../cpu.ts';
import { rows } from '../isa/table.ts';

export type Helper = (cpu: Cpu, op: number) => number;

const byMnemonic = new Map<string, Helper>();

export function defineHelpers(helpers: Record<string, Helper>): void {
  for (const [mnemonic, helper] of Object.entries(helpers)) {
    if (byMnemonic.has(mnemonic)) throw new Error(`two helpers for ${mnemonic}`);
    byMnemonic.set(mnemonic, helper);
  }
}

/** The helper of each row of the opcode table (undefined where there is none). Call after all are defined. */
export function helpersByRow(): (Helper | undefined)[] {
  return rows.map((row) => byMnemonic.get(row.mnemonic));
}
