/** IRET in real, protected and long mode, to the same or an outer ring (Intel SDM vol. 2A). */
import type { Cpu } from '../cpu.ts';
import { EXIT_EVENT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { codeSize, MODE_PROTECTED } from '../mode.ts';
import { S_MODE, S_RFLAGS } from '../state.ts';
import { currentPrivilegeLevel, updateMode } from '../system/mode-word.ts';
import { StackCursor } from '../system/stack.ts';
import { returnOffset, returnReal, returnTo, takeReturnCode } from './far.ts';
import { RFLAGS_NT, RFLAGS_VM, restoreFlags } from './flags.ts';
import { operandSize } from './operands.ts';
import { defineHelpers } from './registry.ts';

const stack = new StackCursor();
const outer = { low: 0, high: 0 };

function interruptReturn(cpu: Cpu, op: number): number {
  const mode = cpu.i32[S_MODE >> 2];
  const size = operandSize(cpu, op);
  const mode64 = codeSize(mode) === 8;
  const cpl = currentPrivilegeLevel(cpu);
  // The return from a nested task is a task switch, which is not modelled.
  if (mode & MODE_PROTECTED && cpu.i32[S_RFLAGS >> 2] & RFLAGS_NT) raise(VECTOR_GP, 0);
  stack.current(cpu);
  stack.expect(2 * size, size);
  const offsetLow = stack.pop(size);
  const offsetHigh = stack.upper;
  const selector = stack.pop(size) & 0xffff;
  const flags = stack.pop(size);
  if (!(mode & MODE_PROTECTED)) {
    returnReal(cpu, selector, offsetLow);
    stack.commit();
    restoreFlags(cpu, flags, size, 0, cpu.mmu.watching);
  } else {
    // Nor is virtual-8086 mode.
    if (size === 4 && !mode64 && cpl === 0 && flags & RFLAGS_VM) raise(VECTOR_GP, 0);
    // 64-bit mode always finds a stack pointer; it is read before anything is checked.
    const switches = mode64 || (selector & 3) !== cpl;
    let ss = -1;
    if (switches) {
      stack.expect(size, size);
      outer.low = stack.pop(size);
      outer.high = stack.upper;
      ss = stack.pop(size) & 0xffff;
    }
    const newCpl = takeReturnCode(cpu, selector);
    returnOffset(cpu, offsetLow, offsetHigh);
    if (!switches) stack.commit();
    returnTo(cpu, selector, newCpl, ss, outer);
    restoreFlags(cpu, flags, size, cpl, cpu.mmu.watching);
  }
  cpu.nmiBlocked = false;
  updateMode(cpu);
  return EXIT_EVENT;
}

defineHelpers({ IRET: interruptReturn });
