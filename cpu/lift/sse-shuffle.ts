/**
 * Rearranging XMM registers: unpack, pack, shuffle, align, blend, insert and extract (SDM vol. 2).
 *
 * Those that an immediate controls come in two forms. Static: the immediate is a constant and one shuffle does it.
 * Dynamic: it is read from the record, so an index vector for swizzle, or a mask, is computed from it. Its fields are
 * taken apart by multiplying copies of the immediate so that each field comes to the same bits of its lane.
 */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { S_XMM } from '../state.ts';
import type { Lifter } from './lifter.ts';
import { binary } from './sse-int.ts';
import {
  constant,
  type Definitions,
  extract,
  low,
  replace,
  setXmm,
  shuffle,
  splat,
  v,
  vector,
  xmm,
  zero,
} from './vector.ts';

const BYTES = Array.from({ length: 16 }, (_, i) => i);

function repeat(count: number, values: readonly number[]): number[] {
  return values.flatMap((value) => new Array<number>(count).fill(value));
}

/** dst = lanes of dst and src by constant numbers. */
function rearrange(lanes: readonly number[]): (l: Lifter) => void {
  return binary((l, a, b) => shuffle(l, a, b, lanes));
}

/** PUNPCKLx, PUNPCKHx: alternating lanes of both low or both high halves. */
function unpack(bytes: number, high: boolean): (l: Lifter) => void {
  const count = 16 / bytes;
  const first = high ? count / 2 : 0;
  return rearrange(Array.from({ length: count }, (_, i) => first + (i >> 1) + (i & 1) * count));
}

function pack(opcode: number): (l: Lifter) => void {
  return binary((l, a, b) => v(l, opcode, a, b));
}

// --- shuffles by an immediate -----------------------------------------------------------------------------------------

/**
 * Dynamic: eight words ((imm × factors[i] >> 6) & mask) × step + base[i]: with factors 64, 16, 4, 1 the two-bit fields
 * of the immediate as byte-pair indices.
 */
function indices(l: Lifter, factors: readonly number[], mask: number, step: number, base: readonly number[]): number {
  const { ir } = l;
  const products = v(l, simd.I16X8_MUL, splat(l, 2, l.immediate(1)), constant(l, factors));
  const fields = v(l, simd.V128_AND, v(l, simd.I16X8_SHR_U, products, ir.i32(6)), constant(l, new Array(8).fill(mask)));
  return v(l, simd.I16X8_ADD, v(l, simd.I16X8_MUL, fields, constant(l, new Array(8).fill(step))), constant(l, base));
}

const PAIR_OF_DOUBLEWORD = [0x0100, 0x0302, 0x0100, 0x0302, 0x0100, 0x0302, 0x0100, 0x0302];
const PAIR_OF_QUADWORD = [0x0100, 0x0302, 0x0504, 0x0706, 0x0100, 0x0302, 0x0504, 0x0706];
const FIELDS = [64, 16, 4, 1];

function field(l: Lifter, i: number): number {
  return (l.insn.immLow >> (2 * i)) & 3;
}

function doublewordIndices(l: Lifter): number {
  return indices(l, repeat(2, FIELDS), 3, 0x0404, PAIR_OF_DOUBLEWORD);
}

function shuffleDoublewords(l: Lifter): void {
  const value = vector(l, 1);
  if (l.dynamic) setXmm(l, 0, v(l, simd.I8X16_SWIZZLE, value, doublewordIndices(l)));
  else setXmm(l, 0, shuffle(l, value, value, [field(l, 0), field(l, 1), field(l, 2), field(l, 3)]));
}

/** PSHUFLW, PSHUFHW: the words of one half; the other stays. */
function shuffleWords(l: Lifter, high: boolean): void {
  const value = vector(l, 1);
  const here = high ? 4 : 0;
  if (l.dynamic) {
    const still = [0, 0, 0, 0];
    const factors = high ? [...still, ...FIELDS] : [...FIELDS, ...still];
    const base = BYTES.slice(0, 8).map((i) => (i >> 2 === here >> 2 ? here : i) * 0x0202 + 0x0100);
    setXmm(l, 0, v(l, simd.I8X16_SWIZZLE, value, indices(l, factors, 3, 0x0202, base)));
    return;
  }
  const lanes = BYTES.slice(0, 8).map((i) => (i >> 2 === here >> 2 ? here + field(l, i & 3) : i));
  setXmm(l, 0, shuffle(l, value, value, lanes));
}

/** SHUFPS: two lanes of the destination, then two of the source. */
function shuffleSingles(l: Lifter): void {
  const b = vector(l, 1);
  const a = xmm(l, 0);
  if (l.dynamic) {
    const index = doublewordIndices(l);
    const swizzled = [v(l, simd.I8X16_SWIZZLE, a, index), v(l, simd.I8X16_SWIZZLE, b, index)];
    setXmm(l, 0, shuffle(l, swizzled[0], swizzled[1], [0, 3]));
  } else setXmm(l, 0, shuffle(l, a, b, [field(l, 0), field(l, 1), 4 + field(l, 2), 4 + field(l, 3)]));
}

function shuffleDoubles(l: Lifter): void {
  const b = vector(l, 1);
  const a = xmm(l, 0);
  if (l.dynamic) {
    const index = indices(l, repeat(4, [64, 32]), 1, 0x0808, PAIR_OF_QUADWORD);
    const swizzled = [v(l, simd.I8X16_SWIZZLE, a, index), v(l, simd.I8X16_SWIZZLE, b, index)];
    setXmm(l, 0, shuffle(l, swizzled[0], swizzled[1], [0, 3]));
  } else setXmm(l, 0, shuffle(l, a, b, [l.insn.immLow & 1, 2 + ((l.insn.immLow >> 1) & 1)]));
}

/** PALIGNR: bytes imm … imm + 15 of the destination above the source; zeros beyond. */
function align(l: Lifter): void {
  const b = vector(l, 1);
  const a = xmm(l, 0);
  if (l.dynamic) {
    // Indices of 16 and more give zero; saturation keeps those above 255 there.
    const index = v(l, simd.I8X16_ADD_SAT_U, constant(l, BYTES), splat(l, 1, l.immediate(1)));
    const upper = v(l, simd.I8X16_SUB, index, constant(l, new Array(16).fill(16)));
    setXmm(l, 0, v(l, simd.V128_OR, v(l, simd.I8X16_SWIZZLE, b, index), v(l, simd.I8X16_SWIZZLE, a, upper)));
    return;
  }
  const count = l.insn.immLow & 0xff;
  if (count >= 32) setXmm(l, 0, zero(l));
  else if (count >= 16)
    setXmm(
      l,
      0,
      shuffle(
        l,
        a,
        zero(l),
        BYTES.map((i) => i + count - 16),
      ),
    );
  else
    setXmm(
      l,
      0,
      shuffle(
        l,
        b,
        a,
        BYTES.map((i) => i + count),
      ),
    );
}

/** PSLLDQ, PSRLDQ: by whole bytes. */
function shiftBytes(l: Lifter, left: boolean): void {
  const value = xmm(l, 0);
  if (l.dynamic) {
    const count = v(l, simd.I8X16_MIN_U, splat(l, 1, l.immediate(1)), constant(l, new Array(16).fill(16)));
    const index = v(l, left ? simd.I8X16_SUB : simd.I8X16_ADD, constant(l, BYTES), count);
    setXmm(l, 0, v(l, simd.I8X16_SWIZZLE, value, index));
    return;
  }
  const count = Math.min(l.insn.immLow & 0xff, 16);
  const lanes = BYTES.map((i) => (left ? 16 + i - count : i + count));
  setXmm(l, 0, left ? shuffle(l, zero(l), value, lanes) : shuffle(l, value, zero(l), lanes));
}

/** PSHUFB: the low four bits of an index count, and its top bit. */
function shuffleBytes(l: Lifter, a: number, b: number): number {
  return v(l, simd.I8X16_SWIZZLE, a, v(l, simd.V128_AND, b, constant(l, new Array(16).fill(0x8f))));
}

// --- blends -----------------------------------------------------------------------------------------------------------

/** PBLENDW, BLENDPS, BLENDPD: lane i of the source where bit i of the immediate is set. */
function blend(lanes: number): (l: Lifter) => void {
  return binary((l, a, b) => {
    if (!l.dynamic)
      return shuffle(
        l,
        a,
        b,
        Array.from({ length: lanes }, (_, i) => i + ((l.insn.immLow >> i) & 1) * lanes),
      );
    const bits = constant(
      l,
      repeat(
        8 / lanes,
        Array.from({ length: lanes }, (_, i) => 1 << i),
      ),
    );
    const chosen = v(l, simd.V128_AND, splat(l, 2, l.immediate(1)), bits);
    return v(l, simd.V128_BITSELECT, b, a, v(l, simd.I16X8_EQ, chosen, bits));
  });
}

/** PBLENDVB, BLENDVPS, BLENDVPD: lanes of the source where the sign bit of XMM0's lane is set. */
function blendVariable(shift: number, bits: number): (l: Lifter) => void {
  return binary((l, a, b) => {
    const mask = v(l, shift, l.ir.add(op.XMM_READ, op.T_V128, 0, 0, 0, S_XMM), l.ir.i32(bits - 1));
    return v(l, simd.V128_BITSELECT, b, a, mask);
  });
}

// --- single lanes -----------------------------------------------------------------------------------------------------

/** Dynamic: a mask of lane `number` (i32) of `bytes` bytes; static callers replace the lane instead. */
function laneMask(l: Lifter, bytes: number, number: number): number {
  const lanes = BYTES.map((i) => Math.floor(i / bytes));
  return v(l, simd.I8X16_EQ, splat(l, 1, number), constant(l, lanes));
}

/** PINSRB, PINSRW, PINSRD, PINSRQ. */
function insert(bytesOf: (l: Lifter) => number): (l: Lifter) => void {
  return (l) => {
    const { ir } = l;
    const bytes = bytesOf(l);
    const value = l.get(1);
    const last = 16 / bytes - 1;
    const a = xmm(l, 0);
    if (l.dynamic) {
      const mask = laneMask(l, bytes, ir.op2(op.I32_AND, l.immediate(1), ir.i32(last)));
      setXmm(l, 0, v(l, simd.V128_BITSELECT, splat(l, bytes, value), a, mask));
    } else setXmm(l, 0, replace(l, bytes, a, l.insn.immLow & last, value));
  };
}

/** PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS. */
function extractLane(bytesOf: (l: Lifter) => number): (l: Lifter) => void {
  return (l) => {
    const { ir } = l;
    const bytes = bytesOf(l);
    const last = 16 / bytes - 1;
    const a = xmm(l, 1);
    if (!l.dynamic) {
      l.set(0, extract(l, bytes, a, l.insn.immLow & last));
      return;
    }
    const first = ir.op2(op.I32_MUL, ir.op2(op.I32_AND, l.immediate(1), ir.i32(last)), ir.i32(bytes));
    const index = v(l, simd.I8X16_ADD, splat(l, 1, first), constant(l, BYTES));
    l.set(0, extract(l, bytes, v(l, simd.I8X16_SWIZZLE, a, index), 0));
  };
}

/** INSERTPS: a lane of the source (bits 7:6) or a float in memory to a lane (bits 5:4); then lanes 3:0 cleared. */
function insertSingle(l: Lifter): void {
  const { ir } = l;
  if (l.dynamic) {
    const imm = l.immediate(1);
    let value: number;
    if (l.isMemory(1)) value = splat(l, 4, low(l, 1, 4));
    else {
      const index = indices(l, new Array(8).fill(1), 3, 0x0404, PAIR_OF_DOUBLEWORD);
      value = v(l, simd.I8X16_SWIZZLE, xmm(l, 1), index);
    }
    const lane = ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, imm, ir.i32(4)), ir.i32(3));
    const inserted = v(l, simd.V128_BITSELECT, value, xmm(l, 0), laneMask(l, 4, lane));
    const bits = constant(l, [1, 2, 4, 8]);
    const cleared = v(l, simd.I32X4_EQ, v(l, simd.V128_AND, splat(l, 4, imm), bits), bits);
    setXmm(l, 0, v(l, simd.V128_ANDNOT, inserted, cleared));
    return;
  }
  const imm = l.insn.immLow;
  const value = l.isMemory(1) ? low(l, 1, 4) : extract(l, 4, xmm(l, 1), (imm >> 6) & 3);
  const inserted = replace(l, 4, xmm(l, 0), (imm >> 4) & 3, value);
  const kept = [0, 1, 2, 3].map((i) => ((imm >> i) & 1 ? 0 : -1));
  setXmm(l, 0, v(l, simd.V128_AND, inserted, constant(l, kept)));
}

export const sseShuffles: Definitions = {
  PUNPCKLBW: unpack(1, false),
  PUNPCKLWD: unpack(2, false),
  PUNPCKLDQ: unpack(4, false),
  PUNPCKLQDQ: unpack(8, false),
  PUNPCKHBW: unpack(1, true),
  PUNPCKHWD: unpack(2, true),
  PUNPCKHDQ: unpack(4, true),
  PUNPCKHQDQ: unpack(8, true),
  UNPCKLPS: unpack(4, false),
  UNPCKLPD: unpack(8, false),
  UNPCKHPS: unpack(4, true),
  UNPCKHPD: unpack(8, true),
  PACKSSWB: pack(simd.I8X16_NARROW_I16X8_S),
  PACKUSWB: pack(simd.I8X16_NARROW_I16X8_U),
  PACKSSDW: pack(simd.I16X8_NARROW_I32X4_S),
  PACKUSDW: pack(simd.I16X8_NARROW_I32X4_U),
  PSHUFD: shuffleDoublewords,
  PSHUFLW: (l) => shuffleWords(l, false),
  PSHUFHW: (l) => shuffleWords(l, true),
  SHUFPS: shuffleSingles,
  SHUFPD: shuffleDoubles,
  PSHUFB: binary(shuffleBytes),
  PALIGNR: align,
  PSLLDQ: (l) => shiftBytes(l, true),
  PSRLDQ: (l) => shiftBytes(l, false),
  PBLENDW: blend(8),
  BLENDPS: blend(4),
  BLENDPD: blend(2),
  PBLENDVB: blendVariable(simd.I8X16_SHR_S, 8),
  BLENDVPS: blendVariable(simd.I32X4_SHR_S, 32),
  BLENDVPD: blendVariable(simd.I64X2_SHR_S, 64),
  PINSRB: insert(() => 1),
  PINSRW: insert(() => 2),
  PINSRD: insert((l) => l.bytes(1)),
  PEXTRB: extractLane(() => 1),
  PEXTRW: extractLane(() => 2),
  PEXTRD: extractLane((l) => l.bytes(0)),
  EXTRACTPS: extractLane(() => 4),
  INSERTPS: insertSingle,
};
