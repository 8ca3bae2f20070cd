/**
 * BT, BTS, BTR, BTC of memory at a bit number in a register, with 16- or 32-bit addresses (SDM vol. 2A): the bit number
 * moves the offset, which wraps at the address size, so an address made ahead of the instruction is not enough.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_FS } from '../decode/insn.ts';
import { HELPER_NEXT } from '../exits.ts';
import { FLAG_C } from '../isa/table.ts';
import * as r from '../record.ts';
import { SEGMENT_BASE, segmentOffset } from '../state.ts';
import { checkSegmentAccess } from '../system/segment-check.ts';
import { mergeStatusFlags } from './flags.ts';
import {
  add64,
  high,
  info,
  linearAddress,
  loadMemory,
  low,
  operandSize,
  readRegister,
  regOffset,
  set64,
  storeMemory,
} from './operands.ts';
import { defineHelpers } from './registry.ts';

/** Linear address of the word, doubleword or quadword that holds the bit numbered by the value in low, high → low, high. */
function bitAddress(cpu: Cpu, op: number, size: number, write: boolean): void {
  const flags = info(cpu, op);
  const segment = (flags >> r.INFO_SEGMENT_SHIFT) & 7;
  const mode64 = (flags & r.INFO_MODE64) !== 0;
  const base = segmentOffset(segment) + SEGMENT_BASE;
  const based = !mode64 || segment >= SEG_FS;
  const baseLow = based ? cpu.i32[base >> 2] : 0;
  const baseHigh = based ? cpu.i32[(base + 4) >> 2] : 0;
  // The offset has 32 bits at most, so the distance needs no more either.
  let distance: number;
  if (size === 2) distance = ((low << 16) >> 20) << 1;
  else if (size === 4) distance = (low >> 5) << 2;
  else distance = ((low >>> 6) | (high << 26)) << 3;
  linearAddress(cpu, op);
  const sum = low - baseLow + distance;
  const offset = ((flags >> r.INFO_ADDRESS_SHIFT) & 15) === 2 ? sum & 0xffff : sum;
  if (!mode64) checkSegmentAccess(cpu, segment, offset, size, write);
  set64(offset, 0);
  add64(baseLow, baseHigh);
  if (!mode64) set64(low, 0);
}

type Change = (value: number, mask: number) => number;

function bitTest(cpu: Cpu, op: number, change: Change | undefined): number {
  const size = operandSize(cpu, op);
  readRegister(cpu, regOffset(cpu, op), size);
  const number = low & (size * 8 - 1);
  bitAddress(cpu, op, size, change !== undefined);
  const addressLow = low;
  const addressHigh = high;
  cpu.mmu.checkAlignment(addressLow, addressHigh, size);
  if (change !== undefined) cpu.mmu.probe(addressLow, addressHigh, size, true);
  loadMemory(cpu, addressLow, addressHigh, size);
  const bit = ((number < 32 ? low : high) >>> (number & 31)) & 1;
  if (change !== undefined) {
    const mask = 1 << (number & 31);
    const newLow = number < 32 ? change(low, mask) : low;
    const newHigh = number < 32 ? high : change(high, mask);
    storeMemory(cpu, addressLow, addressHigh, size, newLow, newHigh);
  }
  mergeStatusFlags(cpu, FLAG_C, bit);
  return HELPER_NEXT;
}

defineHelpers({
  BT: (cpu, op) => bitTest(cpu, op, undefined),
  BTS: (cpu, op) => bitTest(cpu, op, (value, mask) => value | mask),
  BTR: (cpu, op) => bitTest(cpu, op, (value, mask) => value & ~mask),
  BTC: (cpu, op) => bitTest(cpu, op, (value, mask) => value ^ mask),
});
