/**
 * Segment registers: MOV, POP, LDS and its kin; FS and GS bases: RDFSBASE and its kin, SWAPGS (Intel SDM vol. 2).
 */
import type { Cpu } from '../cpu.ts';
import { SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS } from '../decode/insn.ts';
import { EXIT_EVENT, HELPER_JUMP, HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_UD } from '../fault.ts';
import { MODE_FSGSBASE } from '../mode.ts';
import { INFO_REXW } from '../record.ts';
import { S_KERNEL_GS_BASE, S_MODE, SEGMENT_BASE, segmentOffset } from '../state.ts';
import { loadSegment } from '../system/descriptors.ts';
import { updateMode } from '../system/mode-word.ts';
import { StackCursor } from '../system/stack.ts';
import { requirePrivilege } from './interrupt.ts';
import {
  add64,
  advanceRip,
  high,
  info,
  isCanonical,
  linearAddress,
  loadMemory,
  low,
  modrm,
  operandSize,
  readRegister,
  readRm,
  regOffset,
  rmOffset,
  rowOf,
  set64,
  writeRegister,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

const SEGMENT_NAMES = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const stack = new StackCursor();

/** Behind a load of segment `n`. After SS no interrupt or trap comes before the next instruction. */
function loaded(cpu: Cpu, op: number, n: number): number {
  updateMode(cpu);
  advanceRip(cpu, op);
  if (n !== SEG_SS) return HELPER_JUMP;
  cpu.interruptShadow = true;
  cpu.stepTrap = false;
  return EXIT_EVENT;
}

/** LDS LES LFS LGS LSS: offset, then selector. */
function loadFarPointer(cpu: Cpu, op: number, n: number): number {
  const size = operandSize(cpu, op);
  linearAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  loadMemory(cpu, low, high, size);
  const offsetLow = low;
  const offsetHigh = high;
  set64(addressLow, addressHigh);
  add64(size, 0);
  loadMemory(cpu, low, high, 2);
  const selector = low;
  loadSegment(cpu, n, selector);
  writeRegister(cpu, regOffset(cpu, op), size, offsetLow, offsetHigh);
  return loaded(cpu, op, n);
}

/** State offset of the base of FS or GS, where CR4.FSGSBASE allows. */
function baseOffset(cpu: Cpu, n: number): number {
  if (!(cpu.i32[S_MODE >> 2] & MODE_FSGSBASE)) raise(VECTOR_UD);
  return segmentOffset(n) + SEGMENT_BASE;
}

function readBase(cpu: Cpu, op: number, n: number): number {
  const at = baseOffset(cpu, n);
  writeRegister(cpu, rmOffset(cpu, op), baseSize(cpu, op), cpu.i32[at >> 2], cpu.i32[(at + 4) >> 2]);
  return HELPER_NEXT;
}

function writeBase(cpu: Cpu, op: number, n: number): number {
  const at = baseOffset(cpu, n);
  readRegister(cpu, rmOffset(cpu, op), baseSize(cpu, op));
  if (!isCanonical(high)) raise(VECTOR_GP, 0);
  cpu.i32[at >> 2] = low;
  cpu.i32[(at + 4) >> 2] = high;
  return HELPER_NEXT;
}

function baseSize(cpu: Cpu, op: number): number {
  return info(cpu, op) & INFO_REXW ? 8 : 4;
}

/** Compiled ahead of time too (aot/compile.ts). */
export function swapGs(cpu: Cpu): number {
  requirePrivilege(cpu);
  const base = (segmentOffset(SEG_GS) + SEGMENT_BASE) >> 2;
  const other = S_KERNEL_GS_BASE >> 2;
  for (let half = 0; half < 2; half++) {
    const value = cpu.i32[base + half];
    cpu.i32[base + half] = cpu.i32[other + half];
    cpu.i32[other + half] = value;
  }
  return HELPER_NEXT;
}

defineHelpers({
  MOV_TO_SREG: (cpu, op) => {
    const n = (modrm(cpu, op) >> 3) & 7;
    readRm(cpu, op, 2);
    loadSegment(cpu, n, low);
    return loaded(cpu, op, n);
  },
  POP: (cpu, op) => {
    const n = SEGMENT_NAMES.indexOf(rowOf(cpu, op).operands[0].mode);
    stack.current(cpu);
    const selector = stack.pop(operandSize(cpu, op)) & 0xffff;
    loadSegment(cpu, n, selector);
    stack.commit();
    return loaded(cpu, op, n);
  },
  LDS: (cpu, op) => loadFarPointer(cpu, op, SEG_DS),
  LES: (cpu, op) => loadFarPointer(cpu, op, SEG_ES),
  LFS: (cpu, op) => loadFarPointer(cpu, op, SEG_FS),
  LGS: (cpu, op) => loadFarPointer(cpu, op, SEG_GS),
  LSS: (cpu, op) => loadFarPointer(cpu, op, SEG_SS),
  RDFSBASE: (cpu, op) => readBase(cpu, op, SEG_FS),
  RDGSBASE: (cpu, op) => readBase(cpu, op, SEG_GS),
  WRFSBASE: (cpu, op) => writeBase(cpu, op, SEG_FS),
  WRGSBASE: (cpu, op) => writeBase(cpu, op, SEG_GS),
  SWAPGS: swapGs,
});
