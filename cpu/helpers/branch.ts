/** Near CALL, JMP and RET to an address that is not canonical, the one case that generated code leaves out: #GP(0). */
import { raise, VECTOR_GP } from '../fault.ts';
import { defineHelpers } from './registry.ts';

function notCanonical(): never {
  raise(VECTOR_GP, 0);
}

defineHelpers({ CALL: notCanonical, JMP: notCanonical, RET: notCanonical });
