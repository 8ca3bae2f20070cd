/** Software interrupts, interrupt flag and HLT (Intel SDM vol. 2, vol. 3A ch. 6). */
import type { Cpu } from '../cpu.ts';
import { EXIT_EVENT, EXIT_HALT, HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_BP, VECTOR_DB, VECTOR_GP, VECTOR_OF } from '../fault.ts';
import { MODE_IOPL } from '../mode.ts';
import { S_MODE, S_RFLAGS } from '../state.ts';
import { softwareInterrupt } from '../system/delivery.ts';
import { currentPrivilegeLevel } from '../system/mode-word.ts';
import { advanceRip, high, immediate, low, nextRip } from './operands.ts';
import { defineHelpers } from './registry.ts';

const RFLAGS_IF = 1 << 9;
const FLAG_O = 0x800;

/** INT n and its kin: the return address is the next instruction; a fault on the way is the instruction's own. */
function interrupt(cpu: Cpu, op: number, vector: number): number {
  // The handler starts with TF clear, and the interrupt itself is not trapped.
  cpu.stepTrap = false;
  nextRip(cpu, op);
  softwareInterrupt(cpu, vector, low, high);
  return cpu.jumped();
}

export function requirePrivilege(cpu: Cpu): void {
  if (currentPrivilegeLevel(cpu) !== 0) raise(VECTOR_GP, 0);
}

function requireIopl(cpu: Cpu): void {
  if (!(cpu.i32[S_MODE >> 2] & MODE_IOPL)) raise(VECTOR_GP, 0);
}

defineHelpers({
  INT: (cpu, op) => interrupt(cpu, op, immediate(cpu, op) & 0xff),
  INT3: (cpu, op) => interrupt(cpu, op, VECTOR_BP),
  INT1: (cpu, op) => interrupt(cpu, op, VECTOR_DB),
  INTO: (cpu, op) => (cpu.rflags & FLAG_O ? interrupt(cpu, op, VECTOR_OF) : HELPER_NEXT),
  HLT: (cpu, op) => {
    requirePrivilege(cpu);
    advanceRip(cpu, op);
    return EXIT_HALT;
  },
  CLI: (cpu) => {
    requireIopl(cpu);
    cpu.i32[S_RFLAGS >> 2] &= ~RFLAGS_IF;
    return HELPER_NEXT;
  },
  /** Interrupts wait: they come after the next instruction. */
  STI: (cpu, op) => {
    requireIopl(cpu);
    if (!(cpu.i32[S_RFLAGS >> 2] & RFLAGS_IF)) cpu.interruptShadow = true;
    cpu.i32[S_RFLAGS >> 2] |= RFLAGS_IF;
    advanceRip(cpu, op);
    return EXIT_EVENT;
  },
});
