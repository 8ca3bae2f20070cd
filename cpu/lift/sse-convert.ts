/**
 * Conversions between integers, singles and doubles in XMM and general registers (SDM vol. 2: CVTDQ2PD … CVTTSS2SI).
 *
 * An exact conversion raises nothing whatever MXCSR says; an inexact one is done here only if it is fast (S_SSE_FAST).
 * What does not fit, NaNs and denormals where they count, is the helper's (helpers/sse-convert.ts).
 */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { isNan, notFast, notFinite, PD, PS, SD, SS, tiny } from './float-kind.ts';
import type { Lifter } from './lifter.ts';
import { constant, type Definitions, fromInteger, low, setXmm, v, vector, xmm } from './vector.ts';

/** i32: nonzero if `inexact` is and MXCSR does not allow that. */
function inexactUnlessFast(l: Lifter, inexact: number): number {
  const { ir } = l;
  return ir.op2(op.I32_AND, ir.op2(op.I32_NE, inexact, ir.i32(0)), notFast(l));
}

/** CVTSI2SS, CVTSI2SD. */
function fromGeneral(double: boolean): (l: Lifter) => void {
  const kind = double ? SD : SS;
  return (l) => {
    const { ir } = l;
    const bytes = l.bytes(1);
    const a = l.get(1);
    const bits = double ? 53 : 24;
    if (bytes * 8 > bits) {
      // Integers of magnitude up to 2^bits are exact.
      const reach = bytes === 8 ? ir.i64(double ? 0 : 1 << 24, double ? 1 << 21 : 0) : ir.i32(1 << 24);
      const span = bytes === 8 ? ir.i64(double ? 0 : 1 << 25, double ? 1 << 22 : 0) : ir.i32(1 << 25);
      const beyond = ir.op2(bytes === 8 ? op.I64_GT_U : op.I32_GT_U, l.arith(op.I32_ADD, bytes, a, reach), span);
      l.slowIf(inexactUnlessFast(l, beyond));
    }
    const convert = double
      ? bytes === 8
        ? op.F64_CONVERT_I64_S
        : op.F64_CONVERT_I32_S
      : bytes === 8
        ? op.F32_CONVERT_I64_S
        : op.F32_CONVERT_I32_S;
    kind.set(l, ir.op1(convert, a));
  };
}

/** CVTSS2SI, CVTSD2SI, CVTTSS2SI, CVTTSD2SI. */
function toGeneral(double: boolean, truncate: boolean): (l: Lifter) => void {
  return (l) => {
    const { ir } = l;
    const bytes = l.bytes(0);
    const source = (double ? SD : SS).get(l, 1);
    // A single is a double: nothing is lost, and a NaN fails the comparisons below.
    const a = double ? source : ir.op1(op.F64_PROMOTE_F32, source);
    const rounded = ir.op1(truncate ? op.F64_TRUNC : op.F64_NEAREST, a);
    const limit = 2 ** (bytes * 8 - 1);
    const fits = ir.op2(
      op.I32_AND,
      ir.op2(op.F64_GE, rounded, SD.constant(l, -limit)),
      ir.op2(op.F64_LT, rounded, SD.constant(l, limit)),
    );
    const inexact = inexactUnlessFast(l, ir.op2(op.F64_NE, rounded, a));
    l.slowIf(ir.op2(op.I32_OR, ir.op1(op.I32_EQZ, fits), inexact));
    l.set(0, ir.op1(bytes === 8 ? op.I64_TRUNC_F64_S : op.I32_TRUNC_F64_S, rounded));
  };
}

function singleToDouble(l: Lifter): void {
  const a = SS.get(l, 1);
  l.slowIf(SS.or(l, isNan(l, SS, a), SS.denormal(l, a)));
  SD.set(l, l.ir.op1(op.F64_PROMOTE_F32, a));
}

function doubleToSingle(l: Lifter): void {
  const { ir } = l;
  const a = SD.get(l, 1);
  const result = ir.op1(op.F32_DEMOTE_F64, a);
  const underflow = SD.and(l, tiny(l, SS, result), ir.op2(op.F64_NE, a, SD.constant(l, 0)));
  const special = SD.or(l, SD.or(l, underflow, notFinite(l, SS, result)), SD.denormal(l, a));
  const inexact = inexactUnlessFast(l, ir.op2(op.F64_NE, ir.op1(op.F64_PROMOTE_F32, result), a));
  l.slowIf(ir.op2(op.I32_OR, special, inexact));
  SS.set(l, result);
}

function singlesToDoubles(l: Lifter): void {
  const a = l.isMemory(1) ? fromInteger(l, 8, low(l, 1, 8)) : xmm(l, 1);
  const halves = v(l, simd.V128_AND, a, constant(l, [-1, -1, 0, 0]));
  l.slowIf(PS.any(l, PS.or(l, isNan(l, PS, halves), PS.denormal(l, halves))));
  setXmm(l, 0, v(l, simd.F64X2_PROMOTE_LOW_F32X4, halves));
}

function doublesToSingles(l: Lifter): void {
  const a = vector(l, 1);
  const result = v(l, simd.F32X4_DEMOTE_F64X2_ZERO, a);
  const back = v(l, simd.F64X2_PROMOTE_LOW_F32X4, result);
  const nonzero = v(l, simd.F64X2_NE, a, PD.constant(l, 0));
  const small = v(l, simd.F64X2_LE, v(l, simd.F64X2_ABS, back), PD.constant(l, SS.min));
  const special = PD.or(l, PD.or(l, PD.and(l, small, nonzero), notFinite(l, PD, back)), PD.denormal(l, a));
  const inexact = inexactUnlessFast(l, PD.any(l, v(l, simd.F64X2_NE, back, a)));
  l.slowIf(l.ir.op2(op.I32_OR, PD.any(l, special), inexact));
  setXmm(l, 0, result);
}

function integersToSingles(l: Lifter): void {
  const a = vector(l, 1);
  const beyond = v(
    l,
    simd.I32X4_GT_U,
    v(l, simd.I32X4_ADD, a, constant(l, new Array(4).fill(1 << 24))),
    constant(l, new Array(4).fill(1 << 25)),
  );
  l.slowIf(inexactUnlessFast(l, PS.any(l, beyond)));
  setXmm(l, 0, v(l, simd.F32X4_CONVERT_I32X4_S, a));
}

function integersToDoubles(l: Lifter): void {
  const a = l.isMemory(1) ? fromInteger(l, 8, low(l, 1, 8)) : xmm(l, 1);
  setXmm(l, 0, v(l, simd.F64X2_CONVERT_LOW_I32X4_S, a));
}

/** CVTPS2DQ, CVTTPS2DQ, CVTPD2DQ, CVTTPD2DQ. */
function toIntegers(double: boolean, truncate: boolean): (l: Lifter) => void {
  const kind = double ? PD : PS;
  const { opcodes } = kind;
  const limit = 2 ** 31;
  return (l) => {
    const a = vector(l, 1);
    const rounded = kind.apply(l, truncate ? opcodes.trunc : opcodes.nearest, a);
    const fits = kind.and(
      l,
      kind.apply(l, opcodes.le, kind.constant(l, -limit), rounded),
      kind.apply(l, opcodes.lt, rounded, kind.constant(l, limit)),
    );
    const inexact = inexactUnlessFast(l, kind.any(l, kind.apply(l, opcodes.ne, rounded, a)));
    l.slowIf(l.ir.op2(op.I32_OR, kind.any(l, kind.not(l, fits)), inexact));
    setXmm(l, 0, v(l, double ? simd.I32X4_TRUNC_SAT_F64X2_S_ZERO : simd.I32X4_TRUNC_SAT_F32X4_S, rounded));
  };
}

export const sseConversions: Definitions = {
  CVTSI2SS: fromGeneral(false),
  CVTSI2SD: fromGeneral(true),
  CVTSS2SI: toGeneral(false, false),
  CVTSD2SI: toGeneral(true, false),
  CVTTSS2SI: toGeneral(false, true),
  CVTTSD2SI: toGeneral(true, true),
  CVTSS2SD: singleToDouble,
  CVTSD2SS: doubleToSingle,
  CVTPS2PD: singlesToDoubles,
  CVTPD2PS: doublesToSingles,
  CVTDQ2PS: integersToSingles,
  CVTDQ2PD: integersToDoubles,
  CVTPS2DQ: toIntegers(false, false),
  CVTTPS2DQ: toIntegers(false, true),
  CVTPD2DQ: toIntegers(true, false),
  CVTTPD2DQ: toIntegers(true, true),
};
