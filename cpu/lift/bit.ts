/** Bit instructions: BT BTS BTR BTC, BSF BSR, TZCNT LZCNT POPCNT, BMI1/BMI2, BSWAP, MOVBE (SDM vol. 2). */

import * as op from '../ir/ops.ts';
import { FLAG_C, FLAG_Z } from '../isa/table.ts';
import { atFlag } from './alu.ts';
import type { Lifter } from './lifter.ts';

/** BT and its writing forms. A register bit number reaches any memory around the operand. */
function bitTest(l: Lifter, change: 'none' | 'set' | 'reset' | 'complement'): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const width = bytes * 8;
  const immediate = l.row.operands[1].mode === 'I';
  const number = l.get(1);
  const count = l.arith(
    op.I32_AND,
    bytes,
    immediate ? l.widen(bytes, l.immediate(1)) : number,
    l.constant(bytes, width - 1),
  );
  const forWrite = change !== 'none';
  let value: number;
  let address = 0;
  if (l.isMemory(0)) {
    if (immediate) address = l.address();
    else {
      const words = ir.op2(op.I64_SHR_S, l.signExtend(bytes, number), ir.i64(Math.log2(width)));
      const distance = ir.op2(op.I64_SHL, words, ir.i64(Math.log2(bytes)));
      address = l.inOperandSegment(l.cutAddress(ir.op2(op.I64_ADD, l.offset(), distance)));
    }
    value = l.load(bytes, address, forWrite);
  } else value = l.get(0);
  const shifted = l.arith(op.I32_SHR_U, bytes, value, count);
  const bit = ir.op2(op.I32_AND, bytes === 8 ? ir.op1(op.I32_WRAP_I64, shifted) : shifted, ir.i32(1));
  if (forWrite) {
    const mask = l.arith(op.I32_SHL, bytes, l.constant(bytes, 1), count);
    let result: number;
    if (change === 'set') result = l.arith(op.I32_OR, bytes, value, mask);
    else if (change === 'complement') result = l.arith(op.I32_XOR, bytes, value, mask);
    else result = l.arith(op.I32_AND, bytes, value, l.arith(op.I32_XOR, bytes, mask, l.constant(bytes, -1)));
    if (address !== 0) l.store(bytes, address, result);
    else l.set(0, result);
  }
  l.flags.merge(FLAG_C, bit);
}

/** BSF and BSR: a zero source leaves the whole destination register as it was. */
function bitScan(l: Lifter, reverse: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  const found = reverse
    ? l.arith(op.I32_SUB, bytes, l.constant(bytes, bytes === 8 ? 63 : 31), clz(l, bytes, source))
    : ctz(l, bytes, source);
  const zero = l.isZero(bytes, source);
  if (bytes === 4) {
    const old = l.gpr(8, l.slot(0));
    l.setGpr(8, l.slot(0), ir.select(zero, old, ir.op1(op.I64_EXTEND_I32_U, found)));
  } else l.set(0, ir.select(zero, l.get(0), found));
  l.flags.merge(FLAG_Z, atFlag(l, zero, FLAG_Z));
}

function clz(l: Lifter, bytes: number, a: number): number {
  return l.ir.op1(bytes === 8 ? op.I64_CLZ : op.I32_CLZ, a);
}
function ctz(l: Lifter, bytes: number, a: number): number {
  return l.ir.op1(bytes === 8 ? op.I64_CTZ : op.I32_CTZ, a);
}

/** TZCNT and LZCNT: defined for zero; CF = source zero, ZF = result zero. */
function countZeros(l: Lifter, leading: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  let result: number;
  if (leading) {
    result = clz(l, bytes, source);
    if (bytes === 2) result = ir.op2(op.I32_SUB, result, ir.i32(16));
  } else result = ctz(l, bytes, bytes === 2 ? ir.op2(op.I32_OR, source, ir.i32(0x10000)) : source);
  const carry = l.isZero(bytes, source);
  l.set(0, result);
  const zero = l.isZero(bytes, result);
  l.flags.merge(FLAG_C | FLAG_Z, ir.op2(op.I32_OR, carry, atFlag(l, zero, FLAG_Z)));
}

function populationCount(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  l.set(0, ir.op1(bytes === 8 ? op.I64_POPCNT : op.I32_POPCNT, source));
  l.flagsExplicit(atFlag(l, l.isZero(bytes, source), FLAG_Z));
}

/** BLSR, BLSMSK, BLSI: the operations around the lowest set bit. CF tells a zero source (BLSI: a nonzero one). */
function lowestBit(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  const less = l.arith(op.I32_SUB, bytes, source, l.constant(bytes, 1));
  let result: number;
  if (l.row.mnemonic === 'BLSR') result = l.arith(op.I32_AND, bytes, source, less);
  else if (l.row.mnemonic === 'BLSMSK') result = l.arith(op.I32_XOR, bytes, source, less);
  else result = l.arith(op.I32_AND, bytes, source, l.arith(op.I32_SUB, bytes, l.constant(bytes, 0), source));
  const zero = l.isZero(bytes, source);
  const carry = l.row.mnemonic === 'BLSI' ? ir.op1(op.I32_EQZ, zero) : zero;
  l.set(0, result);
  l.flagsResult(bytes, result, carry);
}

function andNot(l: Lifter): void {
  const bytes = l.bytes(0);
  const inverted = l.arith(op.I32_XOR, bytes, l.get(1), l.constant(bytes, -1));
  const result = l.arith(op.I32_AND, bytes, inverted, l.get(2));
  l.set(0, result);
  l.flagsLogic(bytes, result);
}

/** BZHI: keeps the bits below index (its low 8 bits); CF = index beyond the width. */
function zeroHighBits(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  const control = l.get(2);
  const index = ir.op2(op.I32_AND, bytes === 8 ? ir.op1(op.I32_WRAP_I64, control) : control, ir.i32(0xff));
  const beyond = ir.op2(op.I32_GT_U, index, ir.i32(bytes * 8 - 1));
  const ones = l.arith(op.I32_SHL, bytes, l.constant(bytes, -1), l.widen(bytes, index));
  const kept = l.arith(op.I32_AND, bytes, source, l.arith(op.I32_XOR, bytes, ones, l.constant(bytes, -1)));
  const result = ir.select(beyond, source, kept);
  l.set(0, result);
  l.flagsResult(bytes, result, beyond);
}

/** BEXTR: `length` bits from `start`, as bits 15…8 and 7…0 of the control say. */
function extract(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const source = l.get(1);
  const raw = l.get(2);
  const control = bytes === 8 ? ir.op1(op.I32_WRAP_I64, raw) : raw;
  const last = ir.i32(bytes * 8 - 1);
  const start = ir.op2(op.I32_AND, control, ir.i32(0xff));
  const length = ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, control, ir.i32(8)), ir.i32(0xff));
  const shifted = ir.select(
    ir.op2(op.I32_GT_U, start, last),
    l.constant(bytes, 0),
    l.arith(op.I32_SHR_U, bytes, source, l.widen(bytes, start)),
  );
  const ones = l.arith(op.I32_SHL, bytes, l.constant(bytes, -1), l.widen(bytes, length));
  const kept = l.arith(op.I32_AND, bytes, shifted, l.arith(op.I32_XOR, bytes, ones, l.constant(bytes, -1)));
  const result = ir.select(ir.op2(op.I32_GT_U, length, last), shifted, kept);
  l.set(0, result);
  l.flagsResult(bytes, result, ir.i32(0));
}

/** A value with its bytes in reverse order. */
export function reverseBytes(l: Lifter, bytes: number, a: number): number {
  const { ir } = l;
  if (bytes === 2)
    return l.cut(2, ir.op2(op.I32_OR, ir.op2(op.I32_SHL, a, ir.i32(8)), ir.op2(op.I32_SHR_U, a, ir.i32(8))));
  if (bytes === 4) {
    const x = ir.op2(op.I32_AND, ir.op2(op.I32_ROTL, a, ir.i32(8)), ir.i32(0x00ff00ff));
    const y = ir.op2(op.I32_AND, ir.op2(op.I32_ROTR, a, ir.i32(8)), ir.i32(0xff00ff00));
    return ir.op2(op.I32_OR, x, y);
  }
  const low = reverseBytes(l, 4, ir.op1(op.I32_WRAP_I64, a));
  const high = reverseBytes(l, 4, ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_SHR_U, a, ir.i64(32))));
  const top = ir.op2(op.I64_SHL, ir.op1(op.I64_EXTEND_I32_U, low), ir.i64(32));
  return ir.op2(op.I64_OR, top, ir.op1(op.I64_EXTEND_I32_U, high));
}

export const bits: Record<string, (l: Lifter) => void> = {
  BT: (l) => bitTest(l, 'none'),
  BTS: (l) => bitTest(l, 'set'),
  BTR: (l) => bitTest(l, 'reset'),
  BTC: (l) => bitTest(l, 'complement'),
  BSF: (l) => bitScan(l, false),
  BSR: (l) => bitScan(l, true),
  TZCNT: (l) => countZeros(l, false),
  LZCNT: (l) => countZeros(l, true),
  POPCNT: populationCount,
  BLSR: lowestBit,
  BLSMSK: lowestBit,
  BLSI: lowestBit,
  ANDN: andNot,
  BZHI: zeroHighBits,
  BEXTR: extract,
  BSWAP: (l) => {
    const bytes = l.bytes(0);
    // The 16-bit form is undefined; processors clear the register's low word.
    l.set(0, bytes === 2 ? l.ir.i32(0) : reverseBytes(l, bytes, l.get(0)));
  },
  MOVBE: (l) => l.set(0, reverseBytes(l, l.bytes(0), l.get(1))),
};
