/** All definitions of instructions by mnemonic; a mnemonic that has none is a helper alone (helpers/). */
import { ENTRY_UD, rowAt } from '../isa/table.ts';
import { alu } from './alu.ts';
import { bits } from './bit.ts';
import type { Lifter } from './lifter.ts';
import { moves } from './move.ts';
import { muldiv } from './muldiv.ts';
import { ports } from './port.ts';
import { shifts } from './shift.ts';
import { sseConversions } from './sse-convert.ts';
import { sseFloats } from './sse-float.ts';
import { sseIntegers } from './sse-int.ts';
import { sseMoves } from './sse-move.ts';
import { sseShuffles } from './sse-shuffle.ts';
import { stack } from './stack.ts';
import { strings } from './string.ts';
import { syscalls } from './syscall.ts';

const definitions: Record<string, (l: Lifter) => void> = {
  ...alu,
  ...shifts,
  ...muldiv,
  ...bits,
  ...moves,
  ...stack,
  ...strings,
  ...ports,
  ...syscalls,
  ...sseMoves,
  ...sseIntegers,
  ...sseShuffles,
  ...sseFloats,
  ...sseConversions,
};

const SEGMENT_REGISTERS = new Set(['ES', 'CS', 'SS', 'DS', 'FS', 'GS']);

type Definition = (l: Lifter) => void;

/** What has been asked for; null: no definition. */
const known: (Definition | null | undefined)[] = [];

function define(index: number): Definition | undefined {
  const row = rowAt(index);
  if (index === ENTRY_UD || row.operands.some(({ mode }) => 'PQN'.includes(mode))) return undefined;
  // Loading a segment register is more than a move.
  if (row.mnemonic === 'POP' && SEGMENT_REGISTERS.has(row.operands[0].mode)) return undefined;
  return definitions[row.mnemonic];
}

/** The definition of a row of the opcode table; undefined for rows that only a helper executes. */
export function definitionOf(row: number): Definition | undefined {
  let definition = known[row];
  if (definition === undefined) {
    definition = define(row) ?? null;
    known[row] = definition;
  }
  return definition ?? undefined;
}
