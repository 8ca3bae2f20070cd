/** Near CALL, JMP and RET to an address that is not canonical, the one case that generated code leaves out: #GP(0). */
import type { Cpu } from '../cpu.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { StackCursor } from '../system/stack.ts';
import { defineHelpers } from './registry.ts';

const stack = new StackCursor();

function notCanonical(): never {
  raise(VECTOR_GP, 0);
}

/** The return address comes first: its faults count more. */
function call(cpu: Cpu): never {
  stack.current(cpu);
  stack.move(-8);
  stack.touch(8);
  return notCanonical();
}

defineHelpers({ CALL: call, JMP: notCanonical, RET: notCanonical });
