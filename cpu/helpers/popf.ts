/** POPF in the cases that generated code leaves out: above ring 0, new TF, AC or IOPL, interrupts waiting. */
import type { Cpu } from '../cpu.ts';
import { EXIT_EVENT } from '../exits.ts';
import { currentPrivilegeLevel, updateMode } from '../system/mode-word.ts';
import { StackCursor } from '../system/stack.ts';
import { restoreFlags } from './flags.ts';
import { advanceRip, operandSize } from './operands.ts';
import { defineHelpers } from './registry.ts';

const stack = new StackCursor();

defineHelpers({
  POPF: (cpu: Cpu, op: number) => {
    const size = operandSize(cpu, op);
    stack.current(cpu);
    restoreFlags(cpu, stack.pop(size), size, currentPrivilegeLevel(cpu), false);
    stack.commit();
    updateMode(cpu);
    advanceRip(cpu, op);
    return EXIT_EVENT;
  },
});
