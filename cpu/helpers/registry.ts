/**
 * Helpers: TypeScript functions that execute a whole instruction, for all that generated code leaves to them (rare
 * instructions, faulting cases, SLOW_IF). A helper reads its operands from the record `op` (record.ts; `operands.ts` has
 * accessors), does all faulting accesses before it changes state, and returns HELPER_NEXT, HELPER_JUMP (it set RIP) or an
 * EXIT_*. RIP in the state is the instruction's own address while it runs. Guest faults are thrown (fault.ts).
 */

import type { Cpu } from '../cpu.ts';
import { type OpcodeRow, rowAt } from '../isa/table.ts';

export type Helper = (cpu: Cpu, op: number) => number;

interface Definition {
  readonly helper: Helper;
  /** Which rows of the mnemonic it is for; undefined: those that no other definition is for. */
  readonly applies: ((row: OpcodeRow) => boolean) | undefined;
}

const byMnemonic = new Map<string, Definition[]>();

/**
 * Defines helpers by mnemonic. With `applies` they are only those of the rows it accepts (PADDB of MMX registers, say),
 * before any that is defined for all rows of the mnemonic.
 */
export function defineHelpers(helpers: Record<string, Helper>, applies?: (row: OpcodeRow) => boolean): void {
  for (const [mnemonic, helper] of Object.entries(helpers)) {
    const definitions = byMnemonic.get(mnemonic);
    if (definitions === undefined) byMnemonic.set(mnemonic, [{ helper, applies }]);
    else definitions.push({ helper, applies });
  }
}

/** The definitions that are for `row`; there should be one or none. */
function definitionsOf(row: OpcodeRow): Definition[] {
  const definitions = byMnemonic.get(row.mnemonic) ?? [];
  const special = definitions.filter(({ applies }) => applies?.(row));
  return special.length > 0 ? special : definitions.filter(({ applies }) => applies === undefined);
}

/** The helper of a row of the opcode table, undefined where there is none. Call after all are defined. */
export function findHelper(row: number): Helper | undefined {
  return definitionsOf(rowAt(row))[0]?.helper;
}

/** What is wrong with the definitions: rows with two of them, and definitions for no row. */
export function registryFaults(rows: readonly OpcodeRow[]): string[] {
  const used = new Set<Definition>();
  const faults: string[] = [];
  for (const row of rows) {
    const definitions = definitionsOf(row);
    if (definitions.length > 1) faults.push(`two helpers for row ${row.index}, ${row.mnemonic}`);
    for (const definition of definitions) used.add(definition);
  }
  for (const [mnemonic, definitions] of byMnemonic)
    if (definitions.some((definition) => !used.has(definition))) faults.push(`a helper for no row of ${mnemonic}`);
  return faults;
}
