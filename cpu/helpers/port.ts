/** IN and OUT, and who may use which port (Intel SDM vol. 1, 19.5; vol. 2). */
import type { AccessSize } from '../../devices/bus.ts';
import type { Cpu } from '../cpu.ts';
import { EXIT_EVENT, HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { MODE_IOPL } from '../mode.ts';
import {
  gprOffset,
  S_BUDGET,
  S_MODE,
  SEGMENT_ATTR,
  SEGMENT_BASE,
  SEGMENT_LIMIT,
  SEGMENT_TR,
  segmentOffset,
} from '../state.ts';
import { ATTR_PRESENT } from '../system/mode-word.ts';
import { TSS_WIDE } from '../system/tss.ts';
import { advanceRip, immediate, operandSize, rowOf, writeRegister } from './operands.ts';
import { defineHelpers } from './registry.ts';

const RAX = gprOffset(0);
const RDX = gprOffset(2);
const TSS_IO_MAP_BASE = 0x66;

/** Raises #GP(0) unless IOPL or the TSS's I/O bitmap allows `size` ports from `port` on. */
export function checkPort(cpu: Cpu, port: number, size: number): void {
  const { i32, mmu } = cpu;
  if (i32[S_MODE >> 2] & MODE_IOPL) return;
  const tr = segmentOffset(SEGMENT_TR);
  const attributes = i32[(tr + SEGMENT_ATTR) >> 2];
  const limit = i32[(tr + SEGMENT_LIMIT) >> 2] >>> 0;
  // A 16-bit TSS has no I/O bitmap.
  if (!(attributes & ATTR_PRESENT) || !(attributes & TSS_WIDE) || limit < TSS_IO_MAP_BASE + 1) raise(VECTOR_GP, 0);
  const base = i32[(tr + SEGMENT_BASE) >> 2];
  const high = i32[(tr + SEGMENT_BASE + 4) >> 2];
  const at = (offset: number) => {
    const sum = (base >>> 0) + offset;
    return mmu.readSystem(sum | 0, sum > 0xffffffff ? (high + 1) | 0 : high, 2);
  };
  const offset = at(TSS_IO_MAP_BASE) + (port >> 3);
  if (offset + 1 > limit) raise(VECTOR_GP, 0);
  if ((at(offset) >> (port & 7)) & ((1 << size) - 1)) raise(VECTOR_GP, 0);
}

/** Number of the port: the immediate, or DX. */
function port(cpu: Cpu, op: number, operand: number): number {
  return rowOf(cpu, op).operands[operand].mode === 'I' ? immediate(cpu, op) & 0xff : cpu.u16[RDX >> 1];
}

function width(cpu: Cpu, op: number, operand: number): AccessSize {
  if (rowOf(cpu, op).operands[operand].mode === 'AL') return 1;
  return operandSize(cpu, op) === 2 ? 2 : 4;
}

/** Goes on; at once through the run loop when a device asked for an interrupt, so that it comes behind this access. */
export function afterPort(cpu: Cpu, op: number): number {
  if (cpu.i32[S_BUDGET >> 2] >= 0) return HELPER_NEXT;
  advanceRip(cpu, op);
  return EXIT_EVENT;
}

defineHelpers({
  IN: (cpu, op) => {
    const from = port(cpu, op, 1);
    const size = width(cpu, op, 0);
    checkPort(cpu, from, size);
    writeRegister(cpu, RAX, size, cpu.env.ports.read(from, size));
    return afterPort(cpu, op);
  },
  OUT: (cpu, op) => {
    const to = port(cpu, op, 0);
    const size = width(cpu, op, 1);
    checkPort(cpu, to, size);
    const value = size === 1 ? cpu.u8[RAX] : size === 2 ? cpu.u16[RAX >> 1] : cpu.i32[RAX >> 2] >>> 0;
    cpu.env.ports.write(to, size, value);
    return afterPort(cpu, op);
  },
});
