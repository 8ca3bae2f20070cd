/**
 * MMX instructions (SDM vol. 1 ch. 9): operands, moves, and what each does to the x87 state whose registers it uses.
 * The operations themselves are in mmx-operations.ts.
 */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { enterMmx, leaveMmx, markMmxWrite } from '../fpu/x87-control.ts';
import { ATTR_MMX, type OpcodeRow } from '../isa/table.ts';
import * as r from '../record.ts';
import { gprOffset, S_X87, SEGMENT_BASE, segmentOffset } from '../state.ts';
import { first, type Operation, operations, result, second } from './mmx-operations.ts';
import {
  add64,
  high,
  immediate,
  info,
  isMemory,
  low,
  readRm,
  regOffset,
  rmOffset,
  rowOf,
  set64,
  storeMemory,
  writeRegister,
  writeRm,
} from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { reportPending } from './x87.ts';

const RDI = gprOffset(7);

/** Reads the MMX or XMM register at `offset`, or its lower half → low, high. */
function read64(cpu: Cpu, offset: number): void {
  set64(cpu.i32[offset >> 2], cpu.i32[(offset + 4) >> 2]);
}

/** Writes the MMX register at `offset`, the instruction having entered MMX. */
function writeMmx(cpu: Cpu, offset: number, valueLow: number, valueHigh: number): void {
  cpu.i32[offset >> 2] = valueLow;
  cpu.i32[(offset + 4) >> 2] = valueHigh;
  markMmxWrite(cpu.x87, (offset - S_X87) >> 4);
}

/** P = P op Q; N = N op immediate. A source in memory has the bytes of its operand type. */
function operate(operation: Operation, size: number): Helper {
  return (cpu, op) => {
    reportPending(cpu);
    readRm(cpu, op, isMemory(cpu, op) ? size : 8);
    second.i32[0] = low;
    second.i32[1] = high;
    const target = regOffset(cpu, op);
    read64(cpu, target);
    first.i32[0] = low;
    first.i32[1] = high;
    operation(immediate(cpu, op) & 0xff);
    enterMmx(cpu.x87);
    writeMmx(cpu, target, result.i32[0], result.i32[1]);
    return HELPER_NEXT;
  };
}

function operateImmediate(operation: Operation): Helper {
  return (cpu, op) => {
    reportPending(cpu);
    const target = rmOffset(cpu, op);
    read64(cpu, target);
    first.i32[0] = low;
    first.i32[1] = high;
    second.i32[0] = immediate(cpu, op) & 0xff;
    second.i32[1] = 0;
    operation(0);
    enterMmx(cpu.x87);
    writeMmx(cpu, target, result.i32[0], result.i32[1]);
    return HELPER_NEXT;
  };
}

function isMmx(row: OpcodeRow): boolean {
  return (row.attributes & ATTR_MMX) !== 0;
}
const hasOperand = (k: number, mode: string) => (row: OpcodeRow) => isMmx(row) && row.operands[k]?.mode === mode;

for (const [mnemonic, operation] of Object.entries(operations)) {
  const size = mnemonic.startsWith('PUNPCKL') ? 4 : 8;
  defineHelpers({ [mnemonic]: operate(operation, size) }, hasOperand(0, 'P'));
}
for (const mnemonic of ['PSRLW', 'PSRLD', 'PSRLQ', 'PSRAW', 'PSRAD', 'PSLLW', 'PSLLD', 'PSLLQ'])
  defineHelpers({ [mnemonic]: operateImmediate(operations[mnemonic]) }, hasOperand(0, 'N'));

/** Bytes of the other operand of MOVD and MOVQ: that of a general register by REX.W, else 8. */
function moveSize(cpu: Cpu, op: number): number {
  const general = rowOf(cpu, op).operands.some(({ mode }) => mode === 'E');
  return general && !(info(cpu, op) & r.INFO_REXW) ? 4 : 8;
}

/** To the register in ModRM.reg. */
function moveTo(cpu: Cpu, op: number): number {
  reportPending(cpu);
  readRm(cpu, op, moveSize(cpu, op));
  enterMmx(cpu.x87);
  writeMmx(cpu, regOffset(cpu, op), low, high);
  return HELPER_NEXT;
}

/** From the register in ModRM.reg. */
function moveFrom(cpu: Cpu, op: number): number {
  reportPending(cpu);
  const size = moveSize(cpu, op);
  read64(cpu, regOffset(cpu, op));
  const toMmx = !isMemory(cpu, op) && rowOf(cpu, op).operands[0].mode === 'Q';
  if (!toMmx) writeRm(cpu, op, size, low, high);
  enterMmx(cpu.x87);
  if (toMmx) writeMmx(cpu, rmOffset(cpu, op), low, high);
  return HELPER_NEXT;
}

/** Linear address of rDI in the operand's segment → low, high. */
export function destinationAddress(cpu: Cpu, op: number): void {
  const information = info(cpu, op);
  const size = (information >> r.INFO_ADDRESS_SHIFT) & 15;
  read64(cpu, RDI);
  if (size !== 8) set64(size === 2 ? low & 0xffff : low, 0);
  const segment = (information >> r.INFO_SEGMENT_SHIFT) & 7;
  const mode64 = (information & r.INFO_MODE64) !== 0;
  const base = (segmentOffset(segment) + SEGMENT_BASE) >> 2;
  if (!mode64 || segment >= 4) add64(cpu.i32[base], cpu.i32[base + 1]);
  if (!mode64) set64(low, 0);
}

/** MASKMOVQ: the bytes of the first operand that the second one's top bits choose. */
function maskedMove(cpu: Cpu, op: number): number {
  reportPending(cpu);
  read64(cpu, regOffset(cpu, op));
  first.i32[0] = low;
  first.i32[1] = high;
  read64(cpu, rmOffset(cpu, op));
  second.i32[0] = low;
  second.i32[1] = high;
  destinationAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  // AMD's CPUs enter MMX even if the store then faults; to the instruction, run again, that is no difference.
  enterMmx(cpu.x87);
  cpu.mmu.checkAlignment(addressLow, addressHigh, 8);
  // All of the operand must be writable, whatever the mask.
  cpu.mmu.probe(addressLow, addressHigh, 8, true);
  for (let i = 0; i < 8; i++) {
    if (second.i8[i] >= 0) continue;
    set64(addressLow, addressHigh);
    add64(i, 0);
    storeMemory(cpu, low, high, 1, first.u8[i]);
  }
  return HELPER_NEXT;
}

defineHelpers({ MOVD: moveTo, MOVQ: moveTo, MOVDQ2Q: moveTo }, hasOperand(0, 'P'));
defineHelpers({ MOVD: moveFrom, MOVQ: moveFrom, MOVNTQ: moveFrom }, hasOperand(1, 'P'));
defineHelpers(
  {
    EMMS: (cpu) => {
      reportPending(cpu);
      leaveMmx(cpu.x87);
      return HELPER_NEXT;
    },
    MOVQ2DQ: (cpu, op) => {
      reportPending(cpu);
      read64(cpu, rmOffset(cpu, op));
      enterMmx(cpu.x87);
      const target = regOffset(cpu, op) >> 2;
      cpu.i32[target] = low;
      cpu.i32[target + 1] = high;
      cpu.i32[target + 2] = 0;
      cpu.i32[target + 3] = 0;
      return HELPER_NEXT;
    },
    PINSRW: (cpu, op) => {
      reportPending(cpu);
      readRm(cpu, op, 2);
      const word = low;
      const target = regOffset(cpu, op);
      read64(cpu, target);
      result.i32[0] = low;
      result.i32[1] = high;
      result.u16[immediate(cpu, op) & 3] = word;
      enterMmx(cpu.x87);
      writeMmx(cpu, target, result.i32[0], result.i32[1]);
      return HELPER_NEXT;
    },
    PEXTRW: (cpu, op) => {
      reportPending(cpu);
      read64(cpu, rmOffset(cpu, op));
      result.i32[0] = low;
      result.i32[1] = high;
      enterMmx(cpu.x87);
      writeRegister(cpu, regOffset(cpu, op), 4, result.u16[immediate(cpu, op) & 3]);
      return HELPER_NEXT;
    },
    PMOVMSKB: (cpu, op) => {
      reportPending(cpu);
      read64(cpu, rmOffset(cpu, op));
      result.i32[0] = low;
      result.i32[1] = high;
      let mask = 0;
      for (let i = 0; i < 8; i++) mask |= (result.u8[i] >> 7) << i;
      enterMmx(cpu.x87);
      writeRegister(cpu, regOffset(cpu, op), 4, mask);
      return HELPER_NEXT;
    },
    MASKMOVQ: maskedMove,
  },
  isMmx,
);
