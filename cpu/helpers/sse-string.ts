/** SSE4.2 string comparison: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1, 12.10.3; vol. 2B, 4.1). */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { FLAG_C, FLAG_O, FLAG_S, FLAG_Z } from '../isa/table.ts';
import * as r from '../record.ts';
import { gprOffset, S_XMM } from '../state.ts';
import { setStatusFlags } from './flags.ts';
import { immediate, info } from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { destination, source } from './sse-operands.ts';

const RAX = gprOffset(0);
const RCX = gprOffset(1);
const RDX = gprOffset(2);

/** Immediate: bit 0 words (else bytes), bit 1 signed, 3:2 aggregation, 5:4 polarity, 6 output selection. */
const WORDS = 1;
const SIGNED = 2;
const AGGREGATION_EQUAL_ANY = 0;
const AGGREGATION_RANGES = 1;
const AGGREGATION_EQUAL_EACH = 2;
const POLARITY_NEGATIVE = 0x10;
const POLARITY_MASKED = 0x20;
const OUTPUT = 0x40;

/** Element `i` of the vector at word index `at`. */
function element(cpu: Cpu, at: number, imm: number, i: number): number {
  if (imm & WORDS) {
    const value = cpu.u16[at * 2 + i];
    return imm & SIGNED ? (value << 16) >> 16 : value;
  }
  const value = cpu.u8[at * 4 + i];
  return imm & SIGNED ? (value << 24) >> 24 : value;
}

/** Elements before the first that is zero. */
function implicitLength(cpu: Cpu, at: number, imm: number): number {
  const count = imm & WORDS ? 8 : 16;
  let i = 0;
  while (i < count && element(cpu, at, imm, i) !== 0) i++;
  return i;
}

/** |EAX| or |EDX| (RAX, RDX with REX.W), at most the number of elements. */
function explicitLength(cpu: Cpu, register: number, imm: number, wide: boolean): number {
  const count = imm & WORDS ? 8 : 16;
  const low = cpu.i32[register >> 2];
  const high = wide ? cpu.i32[(register + 4) >> 2] : low >> 31;
  // What does not fit 32 bits is long in either direction.
  if (high !== low >> 31) return count;
  return Math.min(Math.abs(low), count);
}

/** Does element `j` of the second operand answer the comparison? (IntRes1, with invalid elements overridden.) */
function matches(cpu: Cpu, a: number, aLength: number, b: number, bLength: number, imm: number, j: number): boolean {
  const count = imm & WORDS ? 8 : 16;
  const bAt = (i: number) => element(cpu, b, imm, i);
  const aAt = (i: number) => element(cpu, a, imm, i);
  switch ((imm >> 2) & 3) {
    case AGGREGATION_EQUAL_ANY:
      for (let i = 0; i < aLength; i++) if (j < bLength && aAt(i) === bAt(j)) return true;
      return false;
    case AGGREGATION_RANGES:
      for (let i = 0; i + 1 < aLength; i += 2) if (j < bLength && aAt(i) <= bAt(j) && bAt(j) <= aAt(i + 1)) return true;
      return false;
    case AGGREGATION_EQUAL_EACH:
      return j < aLength && j < bLength ? aAt(j) === bAt(j) : j >= aLength && j >= bLength;
    default:
      // Equal ordered: the first operand stands at j, as far as the register reaches.
      for (let i = 0; i < aLength && i + j < count; i++) if (i + j >= bLength || aAt(i) !== bAt(i + j)) return false;
      return true;
  }
}

function compare(cpu: Cpu, op: number, explicit: boolean, toIndex: boolean): number {
  const b = source(cpu, op, false);
  const a = destination(cpu, op);
  const imm = immediate(cpu, op);
  const count = imm & WORDS ? 8 : 16;
  const wide = (info(cpu, op) & r.INFO_REXW) !== 0;
  const aLength = explicit ? explicitLength(cpu, RAX, imm, wide) : implicitLength(cpu, a, imm);
  const bLength = explicit ? explicitLength(cpu, RDX, imm, wide) : implicitLength(cpu, b, imm);
  let result = 0;
  for (let j = 0; j < count; j++) {
    let bit = matches(cpu, a, aLength, b, bLength, imm, j);
    // Negative polarity: all bits, or only those of valid elements.
    if (imm & POLARITY_NEGATIVE && (!(imm & POLARITY_MASKED) || j < bLength)) bit = !bit;
    if (bit) result |= 1 << j;
  }
  if (toIndex) writeIndex(cpu, result, imm, count);
  else writeMask(cpu, result, imm, count);
  let flags = 0;
  if (result !== 0) flags |= FLAG_C;
  if (bLength < count) flags |= FLAG_Z;
  if (aLength < count) flags |= FLAG_S;
  if (result & 1) flags |= FLAG_O;
  setStatusFlags(cpu, flags);
  return HELPER_NEXT;
}

/** ECX: the lowest or highest bit's number, or the number of elements. */
function writeIndex(cpu: Cpu, result: number, imm: number, count: number): void {
  let index = count;
  if (result !== 0) index = imm & OUTPUT ? 31 - Math.clz32(result) : 31 - Math.clz32(result & -result);
  cpu.i32[RCX >> 2] = index;
  cpu.i32[(RCX + 4) >> 2] = 0;
}

/** XMM0: the bits themselves, or an element of ones for each. */
function writeMask(cpu: Cpu, result: number, imm: number, count: number): void {
  cpu.i32.fill(0, S_XMM >> 2, (S_XMM + 16) >> 2);
  if (!(imm & OUTPUT)) {
    cpu.i32[S_XMM >> 2] = result;
    return;
  }
  for (let j = 0; j < count; j++) {
    const ones = (result >> j) & 1 ? -1 : 0;
    if (imm & WORDS) cpu.u16[(S_XMM >> 1) + j] = ones;
    else cpu.u8[S_XMM + j] = ones;
  }
}

const helper =
  (explicit: boolean, toIndex: boolean): Helper =>
  (cpu, op) =>
    compare(cpu, op, explicit, toIndex);

defineHelpers({
  PCMPESTRM: helper(true, false),
  PCMPESTRI: helper(true, true),
  PCMPISTRM: helper(false, false),
  PCMPISTRI: helper(false, true),
});
