/** Operands of a helper's instruction, from its record (record.ts). 64-bit values are left in `low` and `high`. */
import type { AccessSize } from '../../devices/bus.ts';
import type { Cpu } from '../cpu.ts';
import { type OpcodeRow, rowAt } from '../isa/table.ts';
import { codeSize } from '../mode.ts';
import * as r from '../record.ts';
import { S_MODE, S_RIP } from '../state.ts';

/** Halves of the last 64-bit result of a function below. */
export let low = 0;
export let high = 0;

export function set64(newLow: number, newHigh: number): void {
  low = newLow | 0;
  high = newHigh | 0;
}

/** (low, high) += (addLow, addHigh). */
export function add64(addLow: number, addHigh: number): void {
  low = (low + addLow) | 0;
  high = (high + addHigh + (low >>> 0 < addLow >>> 0 ? 1 : 0)) | 0;
}

export function info(cpu: Cpu, op: number): number {
  return cpu.i32[(op + r.R_INFO) >> 2];
}

export function operandSize(cpu: Cpu, op: number): number {
  return info(cpu, op) & r.INFO_SIZE_MASK;
}

export function isMemory(cpu: Cpu, op: number): boolean {
  return (info(cpu, op) & r.INFO_MEMORY) !== 0;
}

export function modrm(cpu: Cpu, op: number): number {
  return (info(cpu, op) >> r.INFO_MODRM_SHIFT) & 0xff;
}

export function immediate(cpu: Cpu, op: number): number {
  return cpu.i32[(op + r.R_IMM) >> 2];
}

/** Address size in bytes. */
export function addressSize(cpu: Cpu, op: number): number {
  return (info(cpu, op) >> r.INFO_ADDRESS_SHIFT) & 15;
}

/** Effective segment of a memory operand, SEG_*. */
export function segmentNumber(cpu: Cpu, op: number): number {
  return (info(cpu, op) >> r.INFO_SEGMENT_SHIFT) & 7;
}

export function isMode64(cpu: Cpu, op: number): boolean {
  return (info(cpu, op) & r.INFO_MODE64) !== 0;
}

export function rowOf(cpu: Cpu, op: number): OpcodeRow {
  return rowAt(cpu.u16[(op + r.R_ROW) >> 1]);
}

/** Byte offset of the register in ModRM.reg. */
export function regOffset(cpu: Cpu, op: number): number {
  return cpu.u16[(op + r.R_REG) >> 1];
}

/** Byte offset of the register in ModRM.rm or in the opcode. */
export function rmOffset(cpu: Cpu, op: number): number {
  return cpu.u16[(op + r.R_RM) >> 1];
}

/** Linear address of the memory operand → low, high. */
export function linearAddress(cpu: Cpu, op: number): void {
  const { i32, u16, u8 } = cpu;
  const base = u16[(op + r.R_BASE) >> 1] >> 2;
  const index = u16[(op + r.R_INDEX) >> 1] >> 2;
  const segment = u16[(op + r.R_SEGMENT) >> 1] >> 2;
  const scale = u8[op + r.R_SCALE];
  set64(i32[base], i32[base + 1]);
  add64(i32[(op + r.R_DISP) >> 2], i32[(op + r.R_DISP + 4) >> 2]);
  const indexLow = i32[index];
  add64(indexLow << scale, (i32[index + 1] << scale) | (scale === 0 ? 0 : indexLow >>> (32 - scale)));
  add64(i32[segment], i32[segment + 1]);
}

/** Is a 64-bit value with this upper half a canonical address (SDM vol. 1, 3.3.7.1)? */
export function isCanonical(valueHigh: number): boolean {
  return valueHigh === (valueHigh << 16) >> 16;
}

/** Address of the next instruction → low, high. */
export function nextRip(cpu: Cpu, op: number): void {
  set64(cpu.i32[S_RIP >> 2], cpu.i32[(S_RIP + 4) >> 2]);
  add64(cpu.u8[op + r.R_LENGTH], 0);
  const code = codeSize(cpu.i32[S_MODE >> 2]);
  if (code !== 8) set64(code === 2 ? low & 0xffff : low, 0);
}

/** Moves RIP to the next instruction. */
export function advanceRip(cpu: Cpu, op: number): void {
  nextRip(cpu, op);
  cpu.i32[S_RIP >> 2] = low;
  cpu.i32[(S_RIP + 4) >> 2] = high;
}

/** A value of `size` bytes (1, 2, 4, 8) at an offset of the state block → low, high (zero-extended). */
export function readRegister(cpu: Cpu, offset: number, size: number): void {
  if (size === 1) set64(cpu.u8[offset], 0);
  else if (size === 2) set64(cpu.u16[offset >> 1], 0);
  else if (size === 4) set64(cpu.i32[offset >> 2], 0);
  else set64(cpu.i32[offset >> 2], cpu.i32[(offset + 4) >> 2]);
}

/** Writes a general register at `offset`; 4 bytes clear the upper half. */
export function writeRegister(cpu: Cpu, offset: number, size: number, valueLow: number, valueHigh = 0): void {
  if (size === 1) cpu.u8[offset] = valueLow;
  else if (size === 2) cpu.u16[offset >> 1] = valueLow;
  else {
    cpu.i32[offset >> 2] = valueLow;
    cpu.i32[(offset + 4) >> 2] = size === 4 ? 0 : valueHigh;
  }
}

/** Loads `size` bytes (1, 2, 4, 8) at a linear address → low, high. */
export function loadMemory(cpu: Cpu, addressLow: number, addressHigh: number, size: number): void {
  if (size <= 4) set64(cpu.mmu.read(addressLow, addressHigh, size as AccessSize), 0);
  else {
    const valueLow = cpu.mmu.read64(addressLow, addressHigh);
    set64(valueLow, cpu.mmu.upper);
  }
}

/** Stores the low `size` bytes of a value at a linear address. */
export function storeMemory(
  cpu: Cpu,
  addressLow: number,
  addressHigh: number,
  size: number,
  valueLow: number,
  valueHigh = 0,
): void {
  if (size <= 4) cpu.mmu.write(addressLow, addressHigh, size as AccessSize, valueLow);
  else cpu.mmu.write64(addressLow, addressHigh, valueLow, valueHigh);
}

/** Operand in ModRM.rm (register or memory), `size` bytes → low, high. */
export function readRm(cpu: Cpu, op: number, size: number): void {
  if (!isMemory(cpu, op)) readRegister(cpu, rmOffset(cpu, op), size);
  else {
    linearAddress(cpu, op);
    loadMemory(cpu, low, high, size);
  }
}

export function writeRm(cpu: Cpu, op: number, size: number, valueLow: number, valueHigh = 0): void {
  if (!isMemory(cpu, op)) writeRegister(cpu, rmOffset(cpu, op), size, valueLow, valueHigh);
  else {
    linearAddress(cpu, op);
    storeMemory(cpu, low, high, size, valueLow, valueHigh);
  }
}
