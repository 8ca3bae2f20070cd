/**
 * The four floating-point forms of SSE (SS, SD, PS, PD) behind one interface, so that each instruction and each check is
 * written once. Scalars are f32/f64 nodes and their masks i32 0/1; packed values are v128 and so are their masks.
 */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { S_SSE_FAST } from '../state.ts';
import type { Lifter } from './lifter.ts';
import { constant, floatBytes, low, setXmm, v, vector, xmm } from './vector.ts';

const SINGLE_MIN = 2 ** -126;
const DOUBLE_MIN = 2 ** -1022;

/** Opcodes of a form. */
interface Opcodes {
  add: number;
  sub: number;
  mul: number;
  div: number;
  sqrt: number;
  abs: number;
  eq: number;
  ne: number;
  lt: number;
  le: number;
  ceil: number;
  floor: number;
  trunc: number;
  nearest: number;
}

export abstract class FloatKind {
  readonly double: boolean;
  readonly opcodes: Opcodes;

  constructor(double: boolean, opcodes: Opcodes) {
    this.double = double;
    this.opcodes = opcodes;
  }

  /** Smallest normal number. */
  get min(): number {
    return this.double ? DOUBLE_MIN : SINGLE_MIN;
  }

  /** Operand `k`, from a register or memory. */
  abstract get(l: Lifter, k: number): number;
  /** Writes XMM operand 0; scalars leave its upper part. */
  abstract set(l: Lifter, value: number): void;
  /** `opcode` of one or two values. */
  abstract apply(l: Lifter, opcode: number, a: number, b?: number): number;
  /** `value` in all lanes. */
  abstract constant(l: Lifter, value: number): number;
  /** Mask of the denormal (not zero) lanes. */
  abstract denormal(l: Lifter, a: number): number;
  abstract and(l: Lifter, a: number, b: number): number;
  abstract or(l: Lifter, a: number, b: number): number;
  abstract not(l: Lifter, a: number): number;
  /** Lanes of `a` where the mask is set, else of `b`. */
  abstract choose(l: Lifter, mask: number, a: number, b: number): number;
  /** i32: nonzero if any lane of the mask is set. */
  abstract any(l: Lifter, mask: number): number;
}

class Scalar extends FloatKind {
  get(l: Lifter, k: number): number {
    const { double } = this;
    if (l.isMemory(k)) {
      const bits = low(l, k, double ? 8 : 4);
      return l.ir.op1(double ? op.F64_REINTERPRET_I64 : op.F32_REINTERPRET_I32, bits);
    }
    return v(l, double ? simd.F64X2_EXTRACT_LANE : simd.F32X4_EXTRACT_LANE, xmm(l, k));
  }

  set(l: Lifter, value: number): void {
    setXmm(l, 0, v(l, this.double ? simd.F64X2_REPLACE_LANE : simd.F32X4_REPLACE_LANE, xmm(l, 0), value));
  }

  apply(l: Lifter, opcode: number, a: number, b?: number): number {
    return b === undefined ? l.ir.op1(opcode, a) : l.ir.op2(opcode, a, b);
  }

  constant(l: Lifter, value: number): number {
    const view = new DataView(floatBytes(this.double, value).buffer);
    if (!this.double) return l.ir.add(op.F32_REINTERPRET_I32, op.T_F32, l.ir.i32(view.getInt32(0, true)));
    const bits = l.ir.i64(view.getInt32(0, true), view.getInt32(4, true));
    return l.ir.add(op.F64_REINTERPRET_I64, op.T_F64, bits);
  }

  /** Without the sign bit: above 0 and below the smallest normal number, as one unsigned comparison. */
  denormal(l: Lifter, a: number): number {
    const { ir } = l;
    if (!this.double) {
      const twice = ir.op2(op.I32_SHL, ir.op1(op.I32_REINTERPRET_F32, a), ir.i32(1));
      return ir.op2(op.I32_LT_U, ir.op2(op.I32_SUB, twice, ir.i32(1)), ir.i32(0x00ffffff));
    }
    const twice = ir.op2(op.I64_SHL, ir.op1(op.I64_REINTERPRET_F64, a), ir.i64(1));
    return ir.op2(op.I64_LT_U, ir.op2(op.I64_SUB, twice, ir.i64(1)), ir.i64(-1, 0x001fffff));
  }

  and(l: Lifter, a: number, b: number): number {
    return l.ir.op2(op.I32_AND, a, b);
  }

  or(l: Lifter, a: number, b: number): number {
    return l.ir.op2(op.I32_OR, a, b);
  }

  not(l: Lifter, a: number): number {
    return l.ir.op1(op.I32_EQZ, a);
  }

  choose(l: Lifter, mask: number, a: number, b: number): number {
    return l.ir.select(mask, a, b);
  }

  any(_l: Lifter, mask: number): number {
    return mask;
  }
}

class Packed extends FloatKind {
  get(l: Lifter, k: number): number {
    return vector(l, k);
  }

  set(l: Lifter, value: number): void {
    setXmm(l, 0, value);
  }

  apply(l: Lifter, opcode: number, a: number, b = 0): number {
    return v(l, opcode, a, b);
  }

  constant(l: Lifter, value: number): number {
    return l.ir.v128(floatBytes(this.double, value));
  }

  denormal(l: Lifter, a: number): number {
    if (!this.double) {
      const twice = v(l, simd.I32X4_SHL, a, l.ir.i32(1));
      const less = v(l, simd.I32X4_ADD, twice, constant(l, [-1, -1, -1, -1]));
      return v(l, simd.I32X4_LT_U, less, constant(l, new Array(4).fill(0x00ffffff)));
    }
    const tiny = v(l, simd.F64X2_LT, v(l, simd.F64X2_ABS, a), this.constant(l, DOUBLE_MIN));
    return v(l, simd.V128_AND, tiny, v(l, simd.F64X2_NE, a, this.constant(l, 0)));
  }

  and(l: Lifter, a: number, b: number): number {
    return v(l, simd.V128_AND, a, b);
  }

  or(l: Lifter, a: number, b: number): number {
    return v(l, simd.V128_OR, a, b);
  }

  not(l: Lifter, a: number): number {
    return v(l, simd.V128_NOT, a);
  }

  choose(l: Lifter, mask: number, a: number, b: number): number {
    return v(l, simd.V128_BITSELECT, a, b, mask);
  }

  any(l: Lifter, mask: number): number {
    return v(l, simd.V128_ANY_TRUE, mask);
  }
}

export const SS: FloatKind = new Scalar(false, {
  add: op.F32_ADD,
  sub: op.F32_SUB,
  mul: op.F32_MUL,
  div: op.F32_DIV,
  sqrt: op.F32_SQRT,
  abs: op.F32_ABS,
  eq: op.F32_EQ,
  ne: op.F32_NE,
  lt: op.F32_LT,
  le: op.F32_LE,
  ceil: op.F32_CEIL,
  floor: op.F32_FLOOR,
  trunc: op.F32_TRUNC,
  nearest: op.F32_NEAREST,
});
export const SD: FloatKind = new Scalar(true, {
  add: op.F64_ADD,
  sub: op.F64_SUB,
  mul: op.F64_MUL,
  div: op.F64_DIV,
  sqrt: op.F64_SQRT,
  abs: op.F64_ABS,
  eq: op.F64_EQ,
  ne: op.F64_NE,
  lt: op.F64_LT,
  le: op.F64_LE,
  ceil: op.F64_CEIL,
  floor: op.F64_FLOOR,
  trunc: op.F64_TRUNC,
  nearest: op.F64_NEAREST,
});
export const PS: FloatKind = new Packed(false, {
  add: simd.F32X4_ADD,
  sub: simd.F32X4_SUB,
  mul: simd.F32X4_MUL,
  div: simd.F32X4_DIV,
  sqrt: simd.F32X4_SQRT,
  abs: simd.F32X4_ABS,
  eq: simd.F32X4_EQ,
  ne: simd.F32X4_NE,
  lt: simd.F32X4_LT,
  le: simd.F32X4_LE,
  ceil: simd.F32X4_CEIL,
  floor: simd.F32X4_FLOOR,
  trunc: simd.F32X4_TRUNC,
  nearest: simd.F32X4_NEAREST,
});
export const PD: FloatKind = new Packed(true, {
  add: simd.F64X2_ADD,
  sub: simd.F64X2_SUB,
  mul: simd.F64X2_MUL,
  div: simd.F64X2_DIV,
  sqrt: simd.F64X2_SQRT,
  abs: simd.F64X2_ABS,
  eq: simd.F64X2_EQ,
  ne: simd.F64X2_NE,
  lt: simd.F64X2_LT,
  le: simd.F64X2_LE,
  ceil: simd.F64X2_CEIL,
  floor: simd.F64X2_FLOOR,
  trunc: simd.F64X2_TRUNC,
  nearest: simd.F64X2_NEAREST,
});

/** i32: nonzero unless MXCSR is such that an inexact result, rounded to nearest, changes nothing but the destination. */
export function notFast(l: Lifter): number {
  return l.ir.op1(op.I32_EQZ, l.field(S_SSE_FAST, 4));
}

/** Mask: `a` is infinite or NaN. */
export function notFinite(l: Lifter, kind: FloatKind, a: number): number {
  const { opcodes } = kind;
  return kind.not(l, kind.apply(l, opcodes.lt, kind.apply(l, opcodes.abs, a), kind.constant(l, Infinity)));
}

/** Mask: `a` is zero, denormal, or the smallest normal number (which rounding may have reached from below). */
export function tiny(l: Lifter, kind: FloatKind, a: number): number {
  const { opcodes } = kind;
  return kind.apply(l, opcodes.le, kind.apply(l, opcodes.abs, a), kind.constant(l, kind.min));
}

/** Mask: `a` is a NaN. */
export function isNan(l: Lifter, kind: FloatKind, a: number): number {
  return kind.apply(l, kind.opcodes.ne, a, a);
}
