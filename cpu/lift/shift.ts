/** Shifts and rotates: SHL SHR SAR, ROL ROR RCL RCR, SHLD SHRD, and the flagless BMI2 forms (SDM vol. 2). */

import { FLAGS_ALL, flagBits } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { FLAG_C, FLAG_O } from '../isa/table.ts';
import { CC_EXPLICIT, CC_RESULT } from '../state.ts';
import { atFlag, signBit } from './alu.ts';
import type { Lifter } from './lifter.ts';

/** The count operand masked as the CPU does (i32, 0…63 or 0…31). */
function maskedCount(l: Lifter, k: number, bytes: number): number {
  return l.ir.op2(op.I32_AND, l.get(k), l.ir.i32(bytes === 8 ? 63 : 31));
}

/** i32 0/1: bit `position` (i32) of `value`. */
function bitAt(l: Lifter, bytes: number, value: number, position: number): number {
  const { ir } = l;
  const shifted = l.arith(op.I32_SHR_U, bytes, value, l.widen(bytes, position));
  return ir.op2(op.I32_AND, bytes === 8 ? ir.op1(op.I32_WRAP_I64, shifted) : shifted, ir.i32(1));
}

/**
 * Flags of a shift by `count` (i32): as `result` and `bits` say, but unchanged when the count is zero, which is known
 * at once for an immediate.
 */
function shiftFlags(l: Lifter, bytes: number, count: number, result: number, bits: number): void {
  const { ir } = l;
  if (ir.isConst(count)) {
    if (ir.imm[count] !== 0) l.flagsResult(bytes, result, bits);
    return;
  }
  const old = l.flags.read(FLAGS_ALL);
  const wide = ir.op1(op.I64_EXTEND_I32_U, bits);
  const now = flagBits(ir, CC_RESULT, 0, wide, l.signExtend(bytes, result), FLAGS_ALL);
  l.flags.write(CC_EXPLICIT, 0, ir.op1(op.I64_EXTEND_I32_U, ir.select(count, now, old)), 0);
}

/** Writes the destination; a 32-bit register is written (and its upper half cleared) even when the count is zero. */
function shift(l: Lifter, kind: 'SHL' | 'SHR' | 'SAR'): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const width = bytes * 8;
  const a = l.get(0, true);
  const count = maskedCount(l, 1, bytes);
  const amount = l.widen(bytes, count);
  const before = ir.op2(op.I32_SUB, count, ir.i32(1));
  let result: number;
  let carry: number;
  let overflow: number;
  if (kind === 'SHL') {
    if (bytes < 4) {
      // i32 has room for the bits shifted out: a count up to 31 leaves bit `width` as the carry.
      const wide = ir.op2(op.I32_SHL, a, count);
      result = l.cut(bytes, wide);
      carry = ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, wide, ir.i32(width)), ir.i32(1));
    } else {
      result = l.arith(op.I32_SHL, bytes, a, amount);
      carry = bitAt(l, bytes, a, ir.op2(op.I32_SUB, ir.i32(width), count));
    }
    overflow = ir.op2(op.I32_XOR, signBit(l, bytes, result), carry);
  } else if (kind === 'SHR') {
    result = l.arith(op.I32_SHR_U, bytes, a, amount);
    carry = bitAt(l, bytes, a, before);
    // OF is the original sign for a count of one; hardware gives the result's two top bits' difference.
    overflow = ir.op2(op.I32_XOR, signBit(l, bytes, result), secondBit(l, bytes, result));
  } else {
    const signed = bytes === 8 ? a : l.signExtend32(bytes, a);
    result = l.cut(bytes, l.arith(op.I32_SHR_S, bytes, signed, amount));
    carry = bitAt(l, bytes, signed, before);
    overflow = ir.i32(0);
    if (bytes < 4) carry = ir.op2(op.I32_AND, ir.op2(op.I32_SHR_S, signed, before), ir.i32(1));
  }
  l.set(0, result);
  const bits = ir.op2(op.I32_OR, carry, atFlag(l, overflow, FLAG_O));
  shiftFlags(l, bytes, count, result, bits);
}

/** i32 0/1: the bit below the sign bit. */
function secondBit(l: Lifter, bytes: number, a: number): number {
  return bitAt(l, bytes, a, l.ir.i32(bytes * 8 - 2));
}

/** Merges CF and OF of a rotate; a count of zero changes nothing. */
function rotateFlags(l: Lifter, count: number, carry: number, overflow: number): void {
  const { ir } = l;
  if (ir.isConst(count) && ir.imm[count] === 0) return;
  let bits = ir.op2(op.I32_OR, carry, atFlag(l, overflow, FLAG_O));
  if (!ir.isConst(count)) bits = ir.select(count, bits, l.flags.read(FLAG_C | FLAG_O));
  l.flags.merge(FLAG_C | FLAG_O, bits);
}

function rotate(l: Lifter, left: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const a = l.get(0, true);
  const count = maskedCount(l, 1, bytes);
  let result: number;
  if (bytes >= 4) result = l.arith(left ? op.I32_ROTL : op.I32_ROTR, bytes, a, l.widen(bytes, count));
  else {
    // Rotate the value doubled up to 32 bits.
    let wide = ir.op2(op.I32_OR, a, ir.op2(op.I32_SHL, a, ir.i32(bytes * 8)));
    if (bytes === 1) wide = ir.op2(op.I32_OR, wide, ir.op2(op.I32_SHL, wide, ir.i32(16)));
    result = l.cut(bytes, ir.op2(left ? op.I32_ROTL : op.I32_ROTR, wide, count));
  }
  const top = signBit(l, bytes, result);
  const low = bitAt(l, bytes, result, ir.i32(0));
  l.set(0, result);
  if (left) rotateFlags(l, count, low, ir.op2(op.I32_XOR, top, low));
  else rotateFlags(l, count, top, ir.op2(op.I32_XOR, top, secondBit(l, bytes, result)));
}

/** RCL and RCR: rotation of CF and the value together, width + 1 bits. */
function rotateThroughCarry(l: Lifter, left: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const width = bytes * 8;
  const carryIn = l.flags.condition(2);
  const a = l.get(0, true);
  let count = maskedCount(l, 1, bytes);
  if (bytes < 4) count = ir.op2(op.I32_REM_U, count, ir.i32(width + 1));
  const wide = ir.op1(op.I64_EXTEND_I32_U, count);
  let result: number;
  let carry: number;
  if (bytes === 8) {
    // Shifts by 64 are split in two, each below 64.
    const less = ir.op2(op.I64_SUB, wide, ir.i64(1));
    const back = ir.op2(op.I64_SUB, ir.i64(64), wide);
    const c = ir.op1(op.I64_EXTEND_I32_U, carryIn);
    if (left) {
      const high = ir.op2(op.I64_SHL, a, wide);
      const low = ir.op2(op.I64_SHR_U, ir.op2(op.I64_SHR_U, a, back), ir.i64(1));
      result = ir.op2(op.I64_OR, ir.op2(op.I64_OR, high, low), ir.op2(op.I64_SHL, c, less));
      carry = bitAt(l, 8, a, ir.op1(op.I32_WRAP_I64, back));
    } else {
      const low = ir.op2(op.I64_SHR_U, a, wide);
      const high = ir.op2(op.I64_SHL, ir.op2(op.I64_SHL, a, back), ir.i64(1));
      result = ir.op2(op.I64_OR, ir.op2(op.I64_OR, high, low), ir.op2(op.I64_SHL, c, back));
      carry = bitAt(l, 8, a, ir.op1(op.I32_WRAP_I64, less));
    }
    result = ir.select(count, result, a);
    carry = ir.select(count, carry, carryIn);
  } else {
    // value and carry as one number of width + 1 bits in an i64, doubled so that a shift rotates it.
    const value = ir.op1(op.I64_EXTEND_I32_U, a);
    const c = ir.op1(op.I64_EXTEND_I32_U, carryIn);
    const joined = ir.op2(op.I64_OR, value, ir.op2(op.I64_SHL, c, ir.i64(width)));
    const span = ir.i64(width + 1);
    const back = ir.op2(op.I64_SUB, span, wide);
    const x = ir.op2(op.I64_SHL, joined, left ? wide : back);
    const y = ir.op2(op.I64_SHR_U, joined, left ? back : wide);
    const turned = ir.op2(op.I64_OR, x, y);
    result = l.cut(bytes, ir.op1(op.I32_WRAP_I64, turned));
    carry = ir.op2(op.I32_AND, ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_SHR_U, turned, ir.i64(width))), ir.i32(1));
  }
  const top = signBit(l, bytes, result);
  l.set(0, result);
  const overflow = ir.op2(op.I32_XOR, top, left ? carry : secondBit(l, bytes, result));
  // The unmasked-by-width count decides whether flags change; with a remainder of zero CF and OF keep their values too.
  rotateFlags(l, count, carry, overflow);
}

/** SHLD and SHRD. 16-bit forms with counts above 16 are undefined; hardware shifts the value dst:src:dst. */
function doubleShift(l: Lifter, left: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const width = bytes * 8;
  const a = l.get(0, true);
  const b = l.get(1);
  const count = maskedCount(l, 2, bytes);
  let result: number;
  let carry: number;
  const wide = ir.op1(op.I64_EXTEND_I32_U, count);
  if (bytes === 8) {
    const back = ir.op2(op.I64_SUB, ir.i64(64), wide);
    const x = ir.op2(left ? op.I64_SHL : op.I64_SHR_U, a, wide);
    const y = ir.op2(left ? op.I64_SHR_U : op.I64_SHL, b, back);
    result = ir.select(count, ir.op2(op.I64_OR, x, y), a);
    const position = left ? ir.op2(op.I32_SUB, ir.i32(64), count) : ir.op2(op.I32_SUB, count, ir.i32(1));
    carry = bitAt(l, 8, a, position);
  } else {
    const za = ir.op1(op.I64_EXTEND_I32_U, a);
    const zb = ir.op1(op.I64_EXTEND_I32_U, b);
    const at = (value: number, bits: number) => ir.op2(op.I64_SHL, value, ir.i64(bits));
    let joined: number;
    let low: number;
    if (left) {
      // dst : src (: dst) with the result at the top
      joined = ir.op2(op.I64_OR, at(za, width), zb);
      if (bytes === 2) joined = ir.op2(op.I64_OR, at(joined, 16), za);
      const total = bytes === 2 ? 48 : 64;
      const shifted = ir.op2(op.I64_SHL, joined, wide);
      low = ir.op2(op.I64_SHR_U, shifted, ir.i64(total - width));
      const position = ir.op2(op.I32_SUB, ir.i32(total), count);
      carry = bitAt(l, 8, joined, position);
    } else {
      joined = ir.op2(op.I64_OR, at(zb, width), za);
      if (bytes === 2) joined = ir.op2(op.I64_OR, at(za, 32), joined);
      low = ir.op2(op.I64_SHR_U, joined, wide);
      carry = bitAt(l, 8, joined, ir.op2(op.I32_SUB, count, ir.i32(1)));
    }
    result = l.cut(bytes, ir.op1(op.I32_WRAP_I64, low));
  }
  l.set(0, result);
  // OF is defined for a count of one: the sign changed. This is that, and what hardware gives for other counts.
  const overflow = ir.op2(op.I32_XOR, signBit(l, bytes, result), left ? carry : secondBit(l, bytes, result));
  shiftFlags(l, bytes, count, result, ir.op2(op.I32_OR, carry, atFlag(l, overflow, FLAG_O)));
}

/** SHLX, SHRX, SARX, RORX: no flags. */
function flagless(l: Lifter, i32op: number): void {
  const bytes = l.bytes(0);
  const a = l.get(1);
  const count = l.row.mnemonic === 'RORX' ? l.widen(bytes, l.get(2)) : l.get(2);
  const masked = l.arith(op.I32_AND, bytes, count, l.constant(bytes, bytes * 8 - 1));
  l.set(0, l.arith(i32op, bytes, a, masked));
}

export const shifts: Record<string, (l: Lifter) => void> = {
  SHL: (l) => shift(l, 'SHL'),
  SHR: (l) => shift(l, 'SHR'),
  SAR: (l) => shift(l, 'SAR'),
  ROL: (l) => rotate(l, true),
  ROR: (l) => rotate(l, false),
  RCL: (l) => rotateThroughCarry(l, true),
  RCR: (l) => rotateThroughCarry(l, false),
  SHLD: (l) => doubleShift(l, true),
  SHRD: (l) => doubleShift(l, false),
  SHLX: (l) => flagless(l, op.I32_SHL),
  SHRX: (l) => flagless(l, op.I32_SHR_U),
  SARX: (l) => flagless(l, op.I32_SHR_S),
  RORX: (l) => flagless(l, op.I32_ROTR),
};
