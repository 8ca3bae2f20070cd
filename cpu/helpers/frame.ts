/** Stack frames: PUSHA, POPA, ENTER; and BOUND (Intel SDM vol. 2). */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_BR } from '../fault.ts';
import { R_IMM2 } from '../record.ts';
import { gprOffset } from '../state.ts';
import { StackCursor } from '../system/stack.ts';
import {
  add64,
  high,
  immediate,
  linearAddress,
  loadMemory,
  low,
  operandSize,
  readRegister,
  regOffset,
  writeRegister,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

const RSP = 4;
const RBP = 5;

const stack = new StackCursor();
/** The enclosing frames, through RBP. */
const display = new StackCursor();

/** A signed value of `size` bytes. */
function signed(value: number, size: number): number {
  return size === 2 ? (value << 16) >> 16 : value;
}

defineHelpers({
  /** RSP is pushed as it was before. */
  PUSHA: (cpu, op) => {
    const size = operandSize(cpu, op);
    stack.current(cpu);
    for (let n = 0; n < 8; n++) stack.push(size, cpu.gprLow(n));
    stack.commit();
    return HELPER_NEXT;
  },
  /** The pushed RSP is skipped. A fault midway leaves what was popped before it, but RSP as it was. */
  POPA: (cpu, op) => {
    const size = operandSize(cpu, op);
    stack.current(cpu);
    for (let n = 7; n >= 0; n--) {
      const value = stack.pop(size);
      if (n !== RSP) writeRegister(cpu, gprOffset(n), size, value);
    }
    stack.commit();
    return HELPER_NEXT;
  },
  ENTER: (cpu: Cpu, op: number) => {
    const size = operandSize(cpu, op);
    const level = cpu.u16[(op + R_IMM2) >> 1] & 31;
    stack.current(cpu);
    stack.push(size, cpu.gprLow(RBP), cpu.gprHigh(RBP));
    const frameLow = stack.low;
    const frameHigh = stack.high;
    if (level > 0) {
      display.through(cpu, RBP);
      for (let n = 1; n < level; n++) {
        display.move(-size);
        const value = display.pop(size);
        display.move(-size);
        stack.push(size, value, display.upper);
      }
      stack.push(size, frameLow, frameHigh);
    }
    stack.move(-(immediate(cpu, op) & 0xffff));
    stack.touch(size);
    stack.commit();
    writeRegister(cpu, gprOffset(RBP), size, frameLow, frameHigh);
    return HELPER_NEXT;
  },
  /** The register must lie between the two signed bounds in memory. */
  BOUND: (cpu, op) => {
    const size = operandSize(cpu, op);
    linearAddress(cpu, op);
    const addressLow = low;
    const addressHigh = high;
    loadMemory(cpu, addressLow, addressHigh, size);
    const lower = signed(low, size);
    linearAddress(cpu, op);
    add64(size, 0);
    loadMemory(cpu, low, high, size);
    const upper = signed(low, size);
    readRegister(cpu, regOffset(cpu, op), size);
    const index = signed(low, size);
    if (index < lower || index > upper) raise(VECTOR_BR);
    return HELPER_NEXT;
  },
});
