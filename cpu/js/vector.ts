/** SIMD operations on four int32 parts. Those on lanes up to 32 bits are one function of the library for each part. */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { arithmetic, compare, fromBits, round, toBits } from './float.ts';
import * as w from './int32.ts';
import type { Keep } from './int64.ts';
import * as q from './int64.ts';
import type { Scope } from './scope.ts';
import { constant, integer, type Part, type Value, vector, ZERO } from './value.ts';

type Parts = readonly Part[];

/** Calls a function of the library on each part of `a` and, if there, `b`. */
const LANEWISE: Record<number, string> = {
  [simd.I8X16_ADD]: 'add8',
  [simd.I8X16_SUB]: 'sub8',
  [simd.I8X16_ADD_SAT_S]: 'addSatS8',
  [simd.I8X16_ADD_SAT_U]: 'addSatU8',
  [simd.I8X16_SUB_SAT_S]: 'subSatS8',
  [simd.I8X16_SUB_SAT_U]: 'subSatU8',
  [simd.I8X16_MIN_S]: 'minS8',
  [simd.I8X16_MIN_U]: 'minU8',
  [simd.I8X16_MAX_S]: 'maxS8',
  [simd.I8X16_MAX_U]: 'maxU8',
  [simd.I8X16_AVGR_U]: 'average8',
  [simd.I8X16_ABS]: 'abs8',
  [simd.I8X16_EQ]: 'equal8',
  [simd.I8X16_GT_S]: 'greater8',
  [simd.I16X8_ADD]: 'add16',
  [simd.I16X8_SUB]: 'sub16',
  [simd.I16X8_MUL]: 'mul16',
  [simd.I16X8_ADD_SAT_S]: 'addSatS16',
  [simd.I16X8_ADD_SAT_U]: 'addSatU16',
  [simd.I16X8_SUB_SAT_S]: 'subSatS16',
  [simd.I16X8_SUB_SAT_U]: 'subSatU16',
  [simd.I16X8_MIN_S]: 'minS16',
  [simd.I16X8_MIN_U]: 'minU16',
  [simd.I16X8_MAX_S]: 'maxS16',
  [simd.I16X8_MAX_U]: 'maxU16',
  [simd.I16X8_AVGR_U]: 'average16',
  [simd.I16X8_ABS]: 'abs16',
  [simd.I16X8_EQ]: 'equal16',
  [simd.I16X8_GT_S]: 'greater16',
  [simd.I16X8_Q15MULR_SAT_S]: 'q15',
  [simd.I16X8_EXTADD_PAIRWISE_I8X16_U]: 'pairwise8',
  [simd.I32X4_DOT_I16X8_S]: 'dot16',
};

/** The same with a count for all lanes. */
const SHIFTS: Record<number, string> = {
  [simd.I8X16_SHR_S]: 'shrS8',
  [simd.I16X8_SHL]: 'shl16',
  [simd.I16X8_SHR_S]: 'shrS16',
  [simd.I16X8_SHR_U]: 'shrU16',
};

/** Two parts become one. */
const NARROW: Record<number, string> = {
  [simd.I8X16_NARROW_I16X8_S]: 'narrowS8',
  [simd.I8X16_NARROW_I16X8_U]: 'narrowU8',
  [simd.I16X8_NARROW_I32X4_S]: 'narrowS16',
  [simd.I16X8_NARROW_I32X4_U]: 'narrowU16',
};

/** A mask of all bits of a lane. */
function mask(holds: Part): Part {
  return holds.constant !== undefined ? constant(-holds.constant | 0) : w.int(`(0-(${holds.text}|0)|0)`, holds);
}

const EACH32: Record<number, (a: Part, b: Part) => Part> = {
  [simd.V128_AND]: w.and,
  [simd.V128_OR]: w.or,
  [simd.V128_XOR]: w.xor,
  [simd.V128_ANDNOT]: (a, b) => w.and(a, w.not(b)),
  [simd.I32X4_ADD]: w.add,
  [simd.I32X4_SUB]: w.sub,
  [simd.I32X4_MUL]: w.mul,
  [simd.I32X4_EQ]: (a, b) => mask(w.equal(a, b)),
  [simd.I32X4_LT_U]: (a, b) => mask(w.lessU('<', a, b)),
  [simd.I32X4_GT_S]: (a, b) => mask(w.lessS('>', a, b)),
  [simd.I32X4_GT_U]: (a, b) => mask(w.lessU('>', a, b)),
};

/** These print their operands twice. */
const CHOICE32: Record<number, (a: Part, b: Part) => Part> = {
  [simd.I32X4_MIN_S]: (a, b) => w.lessS('<', a, b),
  [simd.I32X4_MIN_U]: (a, b) => w.lessU('<', a, b),
  [simd.I32X4_MAX_S]: (a, b) => w.lessS('>', a, b),
  [simd.I32X4_MAX_U]: (a, b) => w.lessU('>', a, b),
};

const SHIFTS32: Record<number, (a: Part, n: Part) => Part> = {
  [simd.I32X4_SHL]: w.shl,
  [simd.I32X4_SHR_S]: w.shrS,
  [simd.I32X4_SHR_U]: w.shrU,
};
const SHIFTS64: Record<number, (keep: Keep, a: readonly [Part, Part], n: Part) => readonly [Part, Part]> = {
  [simd.I64X2_SHL]: q.shl,
  [simd.I64X2_SHR_S]: q.shrS,
  [simd.I64X2_SHR_U]: q.shrU,
};
const PAIRS: Record<number, number> = { [simd.I64X2_ADD]: op.I64_ADD, [simd.I64X2_SUB]: op.I64_SUB };
const PAIR_MASKS: Record<number, number> = { [simd.I64X2_EQ]: op.I64_EQ, [simd.I64X2_GT_S]: op.I64_GT_S };

/** Singles and doubles: the scalar operation on doubles. */
const FLOATS: Record<number, number> = {
  [simd.F32X4_ABS]: op.F64_ABS,
  [simd.F32X4_CEIL]: op.F64_CEIL,
  [simd.F32X4_FLOOR]: op.F64_FLOOR,
  [simd.F32X4_TRUNC]: op.F64_TRUNC,
  [simd.F32X4_NEAREST]: op.F64_NEAREST,
  [simd.F32X4_SQRT]: op.F64_SQRT,
  [simd.F32X4_ADD]: op.F64_ADD,
  [simd.F32X4_SUB]: op.F64_SUB,
  [simd.F32X4_MUL]: op.F64_MUL,
  [simd.F32X4_DIV]: op.F64_DIV,
  [simd.F64X2_ABS]: op.F64_ABS,
  [simd.F64X2_CEIL]: op.F64_CEIL,
  [simd.F64X2_FLOOR]: op.F64_FLOOR,
  [simd.F64X2_TRUNC]: op.F64_TRUNC,
  [simd.F64X2_NEAREST]: op.F64_NEAREST,
  [simd.F64X2_SQRT]: op.F64_SQRT,
  [simd.F64X2_ADD]: op.F64_ADD,
  [simd.F64X2_SUB]: op.F64_SUB,
  [simd.F64X2_MUL]: op.F64_MUL,
  [simd.F64X2_DIV]: op.F64_DIV,
};
const FLOAT_MASKS: Record<number, number> = {
  [simd.F32X4_EQ]: op.F64_EQ,
  [simd.F32X4_NE]: op.F64_NE,
  [simd.F32X4_LT]: op.F64_LT,
  [simd.F32X4_LE]: op.F64_LE,
  [simd.F64X2_EQ]: op.F64_EQ,
  [simd.F64X2_NE]: op.F64_NE,
  [simd.F64X2_LT]: op.F64_LT,
  [simd.F64X2_LE]: op.F64_LE,
};
const SINGLES = new Set<number>([
  simd.F32X4_ABS,
  simd.F32X4_CEIL,
  simd.F32X4_FLOOR,
  simd.F32X4_TRUNC,
  simd.F32X4_NEAREST,
  simd.F32X4_SQRT,
  simd.F32X4_ADD,
  simd.F32X4_SUB,
  simd.F32X4_MUL,
  simd.F32X4_DIV,
  simd.F32X4_EQ,
  simd.F32X4_NE,
  simd.F32X4_LT,
  simd.F32X4_LE,
]);

/** Half of a part as an int32: words of two, or bytes as words. */
const HALF: Record<number, (a: Part, upper: boolean) => Part> = {
  [simd.I32X4_EXTEND_LOW_I16X8_S]: (a, upper) => (upper ? w.shrS(a, constant(16)) : w.extend(a, 16)),
  [simd.I32X4_EXTEND_LOW_I16X8_U]: (a, upper) => (upper ? w.shrU(a, constant(16)) : w.and(a, constant(0xffff))),
  [simd.I16X8_EXTEND_LOW_I8X16_S]: (a, upper) => {
    const shift = constant(upper ? 16 : 0);
    const bytes = w.shrU(a, shift);
    return w.int(`words(${w.extend(bytes, 8).text},(${bytes.text}<<16>>24))`, a);
  },
  [simd.I16X8_EXTEND_LOW_I8X16_U]: (a, upper) => {
    const bytes = w.shrU(a, constant(upper ? 16 : 0));
    return w.int(`words((${bytes.text}&255),(${bytes.text}>>>8&255))`, a);
  },
};

/** Products of the words of one half: which parts, and how a word becomes an int32. */
const PRODUCTS: Record<number, readonly [first: number, extension: number]> = {
  [simd.I32X4_EXTMUL_LOW_I16X8_S]: [0, simd.I32X4_EXTEND_LOW_I16X8_S],
  [simd.I32X4_EXTMUL_HIGH_I16X8_S]: [2, simd.I32X4_EXTEND_LOW_I16X8_S],
  [simd.I32X4_EXTMUL_LOW_I16X8_U]: [0, simd.I32X4_EXTEND_LOW_I16X8_U],
  [simd.I32X4_EXTMUL_HIGH_I16X8_U]: [2, simd.I32X4_EXTEND_LOW_I16X8_U],
};

/** Operations on one vector (or scalar). */
const UNARY = new Set<number>([
  simd.I8X16_SPLAT,
  simd.I16X8_SPLAT,
  simd.I32X4_SPLAT,
  simd.I64X2_SPLAT,
  simd.F32X4_SPLAT,
  simd.F64X2_SPLAT,
  simd.V128_NOT,
  simd.V128_ANY_TRUE,
  simd.F32X4_DEMOTE_F64X2_ZERO,
  simd.F64X2_PROMOTE_LOW_F32X4,
  simd.I8X16_ABS,
  simd.I16X8_ABS,
  simd.I32X4_ABS,
  simd.I8X16_BITMASK,
  simd.I32X4_BITMASK,
  simd.I64X2_BITMASK,
  simd.I16X8_EXTADD_PAIRWISE_I8X16_U,
  simd.I32X4_EXTADD_PAIRWISE_I16X8_U,
  simd.I64X2_EXTEND_LOW_I32X4_S,
  simd.I64X2_EXTEND_LOW_I32X4_U,
  simd.I32X4_TRUNC_SAT_F32X4_S,
  simd.I32X4_TRUNC_SAT_F64X2_S_ZERO,
  simd.F32X4_CONVERT_I32X4_S,
  simd.F64X2_CONVERT_LOW_I32X4_S,
]);

export function operandCount(opcode: number): number {
  if (opcode === simd.V128_BITSELECT) return 3;
  const float = FLOATS[opcode];
  const unary = UNARY.has(opcode) || opcode in HALF || (float >= op.F64_ABS && float <= op.F64_SQRT);
  return unary ? 1 : 2;
}

/** Does a lane access put a value into a lane (rather than take one out)? */
export function replacesLane(opcode: number): boolean {
  return [
    simd.I8X16_REPLACE_LANE,
    simd.I16X8_REPLACE_LANE,
    simd.I32X4_REPLACE_LANE,
    simd.I64X2_REPLACE_LANE,
    simd.F32X4_REPLACE_LANE,
    simd.F64X2_REPLACE_LANE,
  ].includes(opcode);
}

function each(f: (i: number) => Part): Value {
  return vector([f(0), f(1), f(2), f(3)]);
}

/** A SIMD operation without immediates. Operands as WebAssembly has them on its stack, first to last. */
export function operation(scope: Scope, opcode: number, operands: readonly Value[]): Value {
  const { keep } = scope;
  const a = operands[0].parts;
  const b = operands[1]?.parts;
  if (opcode in LANEWISE) {
    const f = LANEWISE[opcode];
    return each((i) => (b ? w.int(`${f}(${a[i].text},${b[i].text})`, a[i], b[i]) : w.int(`${f}(${a[i].text})`, a[i])));
  }
  if (opcode in EACH32) return each((i) => EACH32[opcode](a[i], b[i]));
  if (opcode in CHOICE32)
    return each((i) => {
      const [x, y] = [keep(a[i]), keep(b[i])];
      return w.choose(CHOICE32[opcode](x, y), x, y);
    });
  if (opcode in SHIFTS) {
    const n = keep(integer(b[0]));
    return each((i) => w.int(`${SHIFTS[opcode]}(${a[i].text},${n.text})`, a[i], n));
  }
  if (opcode in SHIFTS32) {
    const n = keep(integer(b[0]));
    return each((i) => SHIFTS32[opcode](a[i], n));
  }
  if (opcode in SHIFTS64) {
    const n = keep(integer(b[0]));
    return pairwise((i) => SHIFTS64[opcode](keep, [a[i], a[i + 1]], n));
  }
  if (opcode in PAIRS) return pairwise((i) => q.operation(keep, PAIRS[opcode], [a[i], a[i + 1]], [b[i], b[i + 1]]));
  if (opcode in PAIR_MASKS)
    return pairwise((i) => {
      const all = keep(mask(q.compare(keep, PAIR_MASKS[opcode], [a[i], a[i + 1]], [b[i], b[i + 1]])));
      return [all, all];
    });
  if (opcode in NARROW) {
    const f = NARROW[opcode];
    const two = (x: Part, y: Part) => w.int(`${f}(${x.text},${y.text})`, x, y);
    return vector([two(a[0], a[1]), two(a[2], a[3]), two(b[0], b[1]), two(b[2], b[3])]);
  }
  if (opcode in FLOATS || opcode in FLOAT_MASKS) return floats(scope, opcode, a, b);
  if (opcode in HALF) {
    const [x, y] = [keep(a[0]), keep(a[1])];
    return each((i) => HALF[opcode](i < 2 ? x : y, (i & 1) === 1));
  }
  if (opcode in PRODUCTS) {
    const [first, extension] = PRODUCTS[opcode];
    const [x, y] = [a, b].map((parts) => parts.slice(first, first + 2).map(keep));
    return each((i) => {
      const half = (part: Part) => HALF[extension](part, (i & 1) === 1);
      return w.mul(half(x[i >> 1]), half(y[i >> 1]));
    });
  }
  return odd(scope, opcode, operands);
}

function pairwise(f: (i: number) => readonly Part[]): Value {
  const [low, high] = [f(0), f(2)];
  return vector([low[0], low[1], high[0], high[1]]);
}

function floats(scope: Scope, opcode: number, a: Parts, b: Parts | undefined): Value {
  const { keep } = scope;
  const isSingle = SINGLES.has(opcode);
  if (isSingle)
    return each((i) => {
      const x = scope.single(a[i]);
      const y = b && scope.single(b[i]);
      if (opcode in FLOAT_MASKS) return mask(compare(FLOAT_MASKS[opcode], x, y!));
      return scope.bitsOfSingle(arithmetic(FLOATS[opcode], true, x, y));
    });
  return pairwise((i) => {
    const x = scope.double(a[i], a[i + 1]);
    const y = b && scope.double(b[i], b[i + 1]);
    if (opcode in FLOAT_MASKS) {
      const all = keep(mask(compare(FLOAT_MASKS[opcode], x, y!)));
      return [all, all];
    }
    return scope.bitsOfDouble(arithmetic(FLOATS[opcode], false, x, y));
  });
}

/** Operations of which there is no other like them. */
function odd(scope: Scope, opcode: number, operands: readonly Value[]): Value {
  const { keep } = scope;
  const a = operands[0].parts;
  const b = operands[1]?.parts;
  switch (opcode) {
    case simd.V128_NOT:
      return each((i) => w.not(a[i]));
    case simd.V128_BITSELECT:
      return each((i) => {
        const m = keep(operands[2].parts[i]);
        return w.or(w.and(a[i], m), w.and(b[i], w.not(m)));
      });
    case simd.V128_ANY_TRUE:
      return { type: op.T_I32, parts: [w.notEqual(w.or(w.or(a[0], a[1]), w.or(a[2], a[3])), ZERO)] };
    case simd.I8X16_BITMASK: {
      const nibble = (i: number) => w.shl(w.int(`mask8(${a[i].text})`, a[i]), constant(4 * i));
      return { type: op.T_I32, parts: [w.or(w.or(nibble(0), nibble(1)), w.or(nibble(2), nibble(3)))] };
    }
    case simd.I32X4_BITMASK: {
      const bit = (i: number) => w.shl(w.shrU(a[i], constant(31)), constant(i));
      return { type: op.T_I32, parts: [w.or(w.or(bit(0), bit(1)), w.or(bit(2), bit(3)))] };
    }
    case simd.I64X2_BITMASK:
      return {
        type: op.T_I32,
        parts: [w.or(w.shrU(a[1], constant(31)), w.shl(w.shrU(a[3], constant(31)), constant(1)))],
      };
    case simd.I8X16_SPLAT:
      return vector(new Array(4).fill(keep(w.mul(w.and(integer(a[0]), constant(0xff)), constant(0x01010101)))));
    case simd.I16X8_SPLAT:
      return vector(new Array(4).fill(keep(w.mul(w.and(integer(a[0]), constant(0xffff)), constant(0x00010001)))));
    case simd.I32X4_SPLAT:
      return vector(new Array(4).fill(keep(integer(a[0]))));
    case simd.F32X4_SPLAT:
      return vector(new Array(4).fill(keep(toBits(scope, operands[0])[0])));
    case simd.I64X2_SPLAT:
    case simd.F64X2_SPLAT: {
      const [low, high] = opcode === simd.I64X2_SPLAT ? a : toBits(scope, operands[0]);
      const [l, h] = [keep(low), keep(high)];
      return vector([l, h, l, h]);
    }
    case simd.I32X4_ABS:
      return each((i) => {
        const x = keep(a[i]);
        return w.int(`(${x.text}<0?-${x.text}|0:${x.text})`, x);
      });
    case simd.I32X4_EXTADD_PAIRWISE_I16X8_U:
      return each((i) => {
        const x = keep(a[i]);
        return w.add(w.and(x, constant(0xffff)), w.shrU(x, constant(16)));
      });
    case simd.I64X2_EXTEND_LOW_I32X4_S:
      return pairwise((i) => q.signed(keep(a[i >> 1])));
    case simd.I64X2_EXTEND_LOW_I32X4_U:
      return pairwise((i) => [a[i >> 1], ZERO]);
    case simd.I64X2_EXTMUL_LOW_I32X4_S:
      return pairwise((i) => q.operation(keep, op.I64_MUL, q.signed(keep(a[i >> 1])), q.signed(keep(b[i >> 1]))));
    case simd.I64X2_EXTMUL_LOW_I32X4_U:
      return pairwise((i) => q.operation(keep, op.I64_MUL, [a[i >> 1], ZERO], [b[i >> 1], ZERO]));
    case simd.I8X16_SWIZZLE: {
      keep(w.int(`picked(${a.map(({ text }) => text)})`, ...a));
      return each((i) => keep({ ...w.int(`pick(${b[i].text})`, b[i]), memory: true }));
    }
    case simd.F32X4_DEMOTE_F64X2_ZERO: {
      const half = (i: number) => scope.bitsOfSingle(round(scope.double(a[i], a[i + 1])));
      return vector([half(0), half(2), ZERO, ZERO]);
    }
    case simd.F64X2_PROMOTE_LOW_F32X4:
      return pairwise((i) => scope.bitsOfDouble(scope.single(a[i >> 1])));
    case simd.I32X4_TRUNC_SAT_F32X4_S:
      return each((i) => truncated(scope.single(a[i])));
    case simd.I32X4_TRUNC_SAT_F64X2_S_ZERO:
      return vector([truncated(scope.double(a[0], a[1])), truncated(scope.double(a[2], a[3])), ZERO, ZERO]);
    case simd.F32X4_CONVERT_I32X4_S:
      return each((i) => scope.bitsOfSingle(round(a[i])));
    case simd.F64X2_CONVERT_LOW_I32X4_S:
      return pairwise((i) => scope.bitsOfDouble(a[i >> 1]));
    default:
      throw new Error(`no JavaScript for SIMD operation 0x${opcode.toString(16)}`);
  }
}

function truncated(x: Part): Part {
  return w.int(`truncSat(${x.text})`, x);
}

/** Lane accesses, whose lane is an immediate. */
export function laneOperation(scope: Scope, opcode: number, lane: number, a: Value, b: Value | undefined): Value {
  const { keep } = scope;
  const parts = [...a.parts];
  const i32 = (part: Part): Value => ({ type: op.T_I32, parts: [part] });
  const replaceBits = (bits: number) => {
    const shift = (lane * bits) & 31;
    const i = (lane * bits) >> 5;
    const ones = bits === 8 ? 0xff : 0xffff;
    const inserted = w.shl(w.and(integer(b!.parts[0]), constant(ones)), constant(shift));
    parts[i] = w.or(w.and(parts[i], constant(~(ones << shift))), inserted);
    return vector(parts);
  };
  switch (opcode) {
    case simd.I8X16_EXTRACT_LANE_U:
      return i32(w.and(w.shrU(parts[lane >> 2], constant((lane & 3) * 8)), constant(0xff)));
    case simd.I16X8_EXTRACT_LANE_U:
      return i32(w.and(w.shrU(parts[lane >> 1], constant((lane & 1) * 16)), constant(0xffff)));
    case simd.I32X4_EXTRACT_LANE:
      return i32(parts[lane]);
    case simd.I64X2_EXTRACT_LANE:
      return { type: op.T_I64, parts: [parts[lane * 2], parts[lane * 2 + 1]] };
    case simd.F32X4_EXTRACT_LANE:
      return fromBits(scope, op.T_F32, [keep(parts[lane])]);
    case simd.F64X2_EXTRACT_LANE:
      return fromBits(scope, op.T_F64, [keep(parts[lane * 2]), keep(parts[lane * 2 + 1])]);
    case simd.I8X16_REPLACE_LANE:
      return replaceBits(8);
    case simd.I16X8_REPLACE_LANE:
      return replaceBits(16);
    case simd.I32X4_REPLACE_LANE:
      parts[lane] = integer(b!.parts[0]);
      return vector(parts);
    case simd.F32X4_REPLACE_LANE:
      [parts[lane]] = toBits(scope, b!);
      return vector(parts);
    case simd.I64X2_REPLACE_LANE:
    case simd.F64X2_REPLACE_LANE:
      [parts[lane * 2], parts[lane * 2 + 1]] = opcode === simd.I64X2_REPLACE_LANE ? b!.parts : toBits(scope, b!);
      return vector(parts);
    default:
      throw new Error(`no JavaScript for lane operation 0x${opcode.toString(16)}`);
  }
}

/** Bytes of `a` (0…15) and `b` (16…31) by constant numbers: runs of them that stay together are moved together. */
export function shuffle(keep: Keep, a: Value, b: Value, lanes: Uint8Array): Value {
  const source = [...a.parts, ...b.parts];
  const whole = (i: number) =>
    (lanes[i] & 3) === 0 && [1, 2, 3].every((k) => lanes[i + k] === lanes[i] + k) ? lanes[i] >> 2 : -1;
  const wholes = [0, 4, 8, 12].map(whole);
  for (let i = 0; i < 8; i++) {
    // What is printed more than once needs a name.
    const uses = [0, 1, 2, 3].filter(
      (k) => wholes[k] === i || lanes.subarray(k * 4, k * 4 + 4).some((n) => n >> 2 === i),
    );
    if (uses.length > 1 || uses.some((k) => wholes[k] !== i)) source[i] = keep(source[i]);
  }
  return each((i) => {
    if (wholes[i] >= 0) return source[wholes[i]];
    let sum = ZERO;
    for (let k = 0; k < 4; ) {
      const from = lanes[i * 4 + k];
      let length = 1;
      while (k + length < 4 && lanes[i * 4 + k + length] === from + length && (from + length) & 3) length++;
      const run = w.and(
        w.shrU(source[from >> 2], constant((from & 3) * 8)),
        constant(length === 4 ? -1 : (1 << (length * 8)) - 1),
      );
      sum = w.or(sum, w.shl(run, constant(k * 8)));
      k += length;
    }
    return sum;
  });
}
