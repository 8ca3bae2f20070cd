/** XMM operands and SIMD operations as the SSE definitions need them. All vectors are v128 nodes. */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import type { Lifter } from './lifter.ts';

export type Definitions = Record<string, (l: Lifter) => void>;

/** SIMD operation `opcode` of up to three operands; `lane` for lane accesses. */
export function v(l: Lifter, opcode: number, a: number, b = 0, c = 0, lane = 0): number {
  return l.ir.simd(opcode, simd.simdType(opcode), a, b, c, lane);
}

// --- constants --------------------------------------------------------------------------------------------------------

/** Constant of sixteen bytes, eight words, four doublewords or two quadwords (low halves sign-extended). */
export function constant(l: Lifter, lanes: readonly number[]): number {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of lanes.entries()) {
    if (lanes.length === 16) view.setUint8(i, value);
    else if (lanes.length === 8) view.setUint16(i * 2, value, true);
    else if (lanes.length === 4) view.setInt32(i * 4, value, true);
    else view.setBigInt64(i * 8, BigInt(value), true);
  }
  return l.ir.v128(bytes);
}

export function zero(l: Lifter): number {
  return l.ir.v128(new Uint8Array(16));
}

/** A float constant: scalar f32/f64, or in all lanes of a vector. */
export function floatBytes(double: boolean, value: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 16; i += double ? 8 : 4) {
    if (double) view.setFloat64(i, value, true);
    else view.setFloat32(i, value, true);
  }
  return bytes;
}

// --- operands ---------------------------------------------------------------------------------------------------------

/** XMM register operand `k`. */
export function xmm(l: Lifter, k: number): number {
  return l.ir.add(op.XMM_READ, op.T_V128, 0, 0, 0, l.slot(k));
}

export function setXmm(l: Lifter, k: number, value: number): void {
  l.ir.add(op.XMM_WRITE, op.T_NONE, value, 0, 0, l.slot(k));
}

/** Leaves to the helper, which raises #GP(0), a memory operand that is not aligned to 16 bytes. */
export function requireAligned(l: Lifter): void {
  const { ir } = l;
  l.slowIf(ir.op2(op.I32_AND, ir.op1(op.I32_WRAP_I64, l.address()), ir.i32(15)));
}

/** All 16 bytes of operand `k`; in memory they must be aligned. */
export function vector(l: Lifter, k: number): number {
  if (!l.isMemory(k)) return xmm(l, k);
  requireAligned(l);
  return l.load(16, l.address());
}

/** All 16 bytes of operand `k`, at any address. */
export function unaligned(l: Lifter, k: number): number {
  return l.isMemory(k) ? l.load(16, l.address()) : xmm(l, k);
}

/** The low `bytes` (1 … 8) of operand `k` as an integer (i32, zero-extended, or i64). */
export function low(l: Lifter, k: number, bytes: number): number {
  if (l.isMemory(k)) return l.load(bytes, l.address());
  return extract(l, bytes, xmm(l, k), 0);
}

const EXTRACT: Record<number, number> = {
  1: simd.I8X16_EXTRACT_LANE_U,
  2: simd.I16X8_EXTRACT_LANE_U,
  4: simd.I32X4_EXTRACT_LANE,
  8: simd.I64X2_EXTRACT_LANE,
};
const REPLACE: Record<number, number> = {
  1: simd.I8X16_REPLACE_LANE,
  2: simd.I16X8_REPLACE_LANE,
  4: simd.I32X4_REPLACE_LANE,
  8: simd.I64X2_REPLACE_LANE,
};
const SPLAT: Record<number, number> = {
  1: simd.I8X16_SPLAT,
  2: simd.I16X8_SPLAT,
  4: simd.I32X4_SPLAT,
  8: simd.I64X2_SPLAT,
};

/** Lane `lane` of `bytes` bytes of a vector as an integer. */
export function extract(l: Lifter, bytes: number, a: number, lane: number): number {
  return v(l, EXTRACT[bytes], a, 0, 0, lane);
}

/** `a` with lane `lane` of `bytes` bytes replaced by an integer. */
export function replace(l: Lifter, bytes: number, a: number, lane: number, value: number): number {
  return v(l, REPLACE[bytes], a, value, 0, lane);
}

/** An integer in every lane of `bytes` bytes. */
export function splat(l: Lifter, bytes: number, value: number): number {
  return v(l, SPLAT[bytes], value);
}

/** An integer of `bytes` bytes in lane 0, zeros above. */
export function fromInteger(l: Lifter, bytes: number, value: number): number {
  return replace(l, bytes, zero(l), 0, value);
}

/** Bytes of `a` (0…15) and `b` (16…31) by constant indices, or wider lanes when fewer than 16 are given. */
export function shuffle(l: Lifter, a: number, b: number, lanes: readonly number[]): number {
  const width = 16 / lanes.length;
  const bytes = lanes.flatMap((lane) => Array.from({ length: width }, (_, i) => lane * width + i));
  return v(l, simd.I8X16_SHUFFLE, a, b, 0, l.ir.vectors.push(Uint8Array.from(bytes)) - 1);
}
