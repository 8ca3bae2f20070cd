/**
 * Helpers: TypeScript functions that execute a whole instruction, for all that generated code leaves to them (rare
 * instructions, faulting cases, SLOW_IF). A helper reads its operands from the record `op` (record.ts; `operands.ts` has
 * accessors), does all faulting accesses before it changes state, and returns HELPER_NEXT, HELPER_JUMP (it set RIP) or an
 * EXIT_*. RIP in the state is the instruction's own address while it runs. Guest faults are thrown (fault.ts).
 */

import type { Cpu } from '../cpu.ts';
import { type OpcodeRow, rows } from '../isa/table.ts';

export type Helper = (cpu: Cpu, op: number) => number;

const byMnemonic = new Map<string, Helper>();
const byRow: (Helper | undefined)[] = rows.map(() => undefined);

/**
 * Defines helpers by mnemonic. With `applies` they are only those of the rows it accepts (PADDB of MMX registers, say),
 * before any that is defined for all rows of the mnemonic.
 */
export function defineHelpers(helpers: Record<string, Helper>, applies?: (row: OpcodeRow) => boolean): void {
  for (const [mnemonic, helper] of Object.entries(helpers)) {
    if (applies === undefined) {
      if (byMnemonic.has(mnemonic)) throw new Error(`two helpers for ${mnemonic}`);
      byMnemonic.set(mnemonic, helper);
      continue;
    }
    const chosen = rows.filter((row) => row.mnemonic === mnemonic && applies(row));
    if (chosen.length === 0) throw new Error(`a helper for no row of ${mnemonic}`);
    for (const { index } of chosen) {
      if (byRow[index] !== undefined) throw new Error(`two helpers for row ${index}, ${mnemonic}`);
      byRow[index] = helper;
    }
  }
}

/** The helper of each row of the opcode table (undefined where there is none). Call after all are defined. */
export function helpersByRow(): (Helper | undefined)[] {
  return rows.map((row) => byRow[row.index] ?? byMnemonic.get(row.mnemonic));
}
