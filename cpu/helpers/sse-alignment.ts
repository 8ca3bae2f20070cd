/**
 * Instructions of which generated code does everything but one thing: #GP(0) for a memory operand that is not aligned to
 * 16 bytes.
 */
import { raise, VECTOR_GP } from '../fault.ts';
import { sseIntegers } from '../lift/sse-int.ts';
import { sseMoves } from '../lift/sse-move.ts';
import { sseShuffles } from '../lift/sse-shuffle.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { isSse } from './sse-operands.ts';

const misaligned: Helper = () => raise(VECTOR_GP, 0);

for (const mnemonic of Object.keys({ ...sseMoves, ...sseIntegers, ...sseShuffles }))
  defineHelpers({ [mnemonic]: misaligned }, isSse);
