/**
 * SSE floating-point arithmetic and comparison (SDM vol. 2: ADDPS … SQRTSD, CMPPS, COMISS, ROUNDPS).
 *
 * WebAssembly's operations round to nearest and raise no flags, so they stand in only where that is all that happens:
 * MXCSR at its usual setting with PE already raised (S_SSE_FAST), and operands and results that raise nothing but PE.
 * Everything else is the helper's (helpers/sse-float.ts).
 */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { FLAG_Z } from '../isa/table.ts';
import { atFlag } from './alu.ts';
import { type FloatKind, isNan, notFast, notFinite, PD, PS, SD, SS, tiny } from './float-kind.ts';
import type { Lifter } from './lifter.ts';
import { constant, type Definitions, shuffle, splat, v, vector, xmm } from './vector.ts';

function leaveUnlessFast(l: Lifter, kind: FloatKind, suspicious: number): void {
  l.slowIf(l.ir.op2(op.I32_OR, kind.any(l, suspicious), notFast(l)));
}

/** Mask: an operand is denormal (DE, DAZ). */
function eitherDenormal(l: Lifter, kind: FloatKind, a: number, b: number): number {
  return kind.or(l, kind.denormal(l, a), kind.denormal(l, b));
}

/** Sums and differences: a denormal one is exact, so only the operands' and overflow matter. */
function sum(l: Lifter, kind: FloatKind, opcode: number, a: number, b: number): void {
  const result = kind.apply(l, opcode, a, b);
  leaveUnlessFast(l, kind, kind.or(l, eitherDenormal(l, kind, a, b), notFinite(l, kind, result)));
  kind.set(l, result);
}

function additive(kind: FloatKind, opcode: number): (l: Lifter) => void {
  return (l) => {
    const b = kind.get(l, 1);
    sum(l, kind, opcode, kind.get(l, 0), b);
  };
}

/** Products and quotients: a tiny result is inexact unless a zero operand made it zero. */
function multiplicative(kind: FloatKind, divide: boolean): (l: Lifter) => void {
  const { opcodes } = kind;
  return (l) => {
    const b = kind.get(l, 1);
    const a = kind.get(l, 0);
    const result = kind.apply(l, divide ? opcodes.div : opcodes.mul, a, b);
    const zero = kind.constant(l, 0);
    let underflow = kind.and(l, tiny(l, kind, result), kind.apply(l, opcodes.ne, a, zero));
    if (!divide) underflow = kind.and(l, underflow, kind.apply(l, opcodes.ne, b, zero));
    const suspicious = kind.or(l, eitherDenormal(l, kind, a, b), notFinite(l, kind, result));
    leaveUnlessFast(l, kind, kind.or(l, suspicious, underflow));
    kind.set(l, result);
  };
}

function squareRoot(kind: FloatKind): (l: Lifter) => void {
  return (l) => {
    const a = kind.get(l, 1);
    const result = kind.apply(l, kind.opcodes.sqrt, a);
    leaveUnlessFast(l, kind, kind.or(l, kind.denormal(l, a), notFinite(l, kind, result)));
    kind.set(l, result);
  };
}

/** Leaves what raises anything in a comparison, whatever MXCSR says: NaNs and denormals. */
function leaveUnlessOrdered(l: Lifter, kind: FloatKind, a: number, b: number): void {
  const nan = kind.or(l, isNan(l, kind, a), isNan(l, kind, b));
  l.slowIf(kind.any(l, kind.or(l, nan, eitherDenormal(l, kind, a, b))));
}

/** MIN: dst < src ? dst : src; MAX: src < dst ? dst : src. Two zeros give the source. */
function extreme(kind: FloatKind, max: boolean): (l: Lifter) => void {
  const { lt } = kind.opcodes;
  return (l) => {
    const b = kind.get(l, 1);
    const a = kind.get(l, 0);
    leaveUnlessOrdered(l, kind, a, b);
    kind.set(l, kind.choose(l, max ? kind.apply(l, lt, b, a) : kind.apply(l, lt, a, b), a, b));
  };
}

/** COMISS, UCOMISS and their twins: ZF when equal, CF when less; unordered is the helper's. */
function compareFlags(kind: FloatKind): (l: Lifter) => void {
  return (l) => {
    const b = kind.get(l, 1);
    const a = kind.get(l, 0);
    leaveUnlessOrdered(l, kind, a, b);
    const zf = atFlag(l, kind.apply(l, kind.opcodes.eq, a, b), FLAG_Z);
    l.flagsExplicit(l.ir.op2(op.I32_OR, zf, kind.apply(l, kind.opcodes.lt, a, b)));
  };
}

// --- CMPPS … CMPSD ----------------------------------------------------------------------------------------------------

/** Predicates (bits 2:0 of the immediate): EQ LT LE UNORD NEQ NLT NLE ORD. Operands are ordered here. */
function comparePredicate(l: Lifter, kind: FloatKind, a: number, b: number): number {
  const { ir } = l;
  const { eq, lt, le } = kind.opcodes;
  if (!l.dynamic) {
    const base = l.insn.immLow & 3;
    const result = base === 3 ? kind.constant(l, 0) : kind.apply(l, [eq, lt, le][base], a, b);
    return l.insn.immLow & 4 ? v(l, simd.V128_NOT, result) : result;
  }
  const predicate = l.immediate(1);
  const bit = (n: number) => ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, predicate, ir.i32(n)), ir.i32(1));
  const low = bit(0);
  // EQ and LE look at equality, LT and LE at less; the upper four negate.
  const equality = splat(l, 4, ir.op2(op.I32_SUB, low, ir.i32(1)));
  const less = splat(l, 4, ir.op2(op.I32_SUB, ir.i32(0), ir.op2(op.I32_XOR, low, bit(1))));
  const negation = splat(l, 4, ir.op2(op.I32_SUB, ir.i32(0), bit(2)));
  const holds = v(
    l,
    simd.V128_OR,
    v(l, simd.V128_AND, kind.apply(l, eq, a, b), equality),
    v(l, simd.V128_AND, kind.apply(l, lt, a, b), less),
  );
  return v(l, simd.V128_XOR, holds, negation);
}

function comparePacked(kind: FloatKind): (l: Lifter) => void {
  return (l) => {
    const b = kind.get(l, 1);
    const a = kind.get(l, 0);
    leaveUnlessOrdered(l, kind, a, b);
    kind.set(l, comparePredicate(l, kind, a, b));
  };
}

/** The scalar forms compare vectors of which only the low lane is looked at. */
function compareScalar(scalar: FloatKind, packed: FloatKind): (l: Lifter) => void {
  const mask = scalar.double ? [-1, 0] : [-1, 0, 0, 0];
  const splatLane = scalar.double ? simd.F64X2_SPLAT : simd.F32X4_SPLAT;
  return (l) => {
    const b = scalar.get(l, 1);
    const a = scalar.get(l, 0);
    leaveUnlessOrdered(l, scalar, a, b);
    const old = xmm(l, 0);
    const result = comparePredicate(l, packed, v(l, splatLane, a), v(l, splatLane, b));
    packed.set(l, v(l, simd.V128_BITSELECT, result, old, constant(l, mask)));
  };
}

// --- ROUNDPS … ROUNDSD ------------------------------------------------------------------------------------------------

/** The immediate's bits 1:0 are the rounding (nearest, down, up, to zero), or bit 2 takes MXCSR's; bit 3 is "no PE". */
function round(kind: FloatKind): (l: Lifter) => void {
  const { nearest, floor, ceil, trunc, ne } = kind.opcodes;
  return (l) => {
    const { ir } = l;
    if (l.dynamic && (kind === PS || kind === PD)) {
      // Too rare to have code for each rounding in the interpreter.
      l.slowIf(ir.i32(1));
      return;
    }
    const a = kind.get(l, 1);
    const imm = l.immediate(1);
    let result: number;
    if (l.dynamic) {
      const [one, two, four] = [1, 2, 4].map((bit) => ir.op2(op.I32_AND, imm, ir.i32(bit)));
      const toNearest = kind.apply(l, nearest, a);
      const even = ir.select(two, kind.apply(l, ceil, a), toNearest);
      const odd = ir.select(two, kind.apply(l, trunc, a), kind.apply(l, floor, a));
      result = ir.select(four, toNearest, ir.select(one, odd, even));
    } else {
      const rounding = l.insn.immLow & 4 ? nearest : [nearest, floor, ceil, trunc][l.insn.immLow & 3];
      result = kind.apply(l, rounding, a);
    }
    const special = kind.any(l, kind.or(l, isNan(l, kind, a), kind.denormal(l, a)));
    const inexact = kind.any(l, kind.apply(l, ne, result, a));
    const byMxcsr = ir.op2(op.I32_AND, imm, ir.i32(4));
    const delicate = ir.op2(op.I32_AND, ir.op2(op.I32_NE, ir.op2(op.I32_OR, inexact, byMxcsr), ir.i32(0)), notFast(l));
    l.slowIf(ir.op2(op.I32_OR, special, delicate));
    kind.set(l, result);
  };
}

// --- neighbours -------------------------------------------------------------------------------------------------------

/** HADDPS, HSUBPS and their twins: neighbours of the destination, then of the source. */
function horizontal(kind: FloatKind, opcode: number): (l: Lifter) => void {
  const even = kind.double ? [0, 2] : [0, 2, 4, 6];
  return (l) => {
    const b = vector(l, 1);
    const a = xmm(l, 0);
    const odd = even.map((lane) => lane + 1);
    sum(l, kind, opcode, shuffle(l, a, b, even), shuffle(l, a, b, odd));
  };
}

/** ADDSUBPS, ADDSUBPD: even lanes subtract. */
function addSubtract(kind: FloatKind): (l: Lifter) => void {
  const signs = kind.double ? [0, 0x80000000, 0, 0] : [0x80000000, 0, 0x80000000, 0];
  return (l) => {
    const b = v(l, simd.V128_XOR, vector(l, 1), constant(l, signs));
    sum(l, kind, kind.opcodes.add, xmm(l, 0), b);
  };
}

export const sseFloats: Definitions = {
  HADDPS: horizontal(PS, PS.opcodes.add),
  HADDPD: horizontal(PD, PD.opcodes.add),
  HSUBPS: horizontal(PS, PS.opcodes.sub),
  HSUBPD: horizontal(PD, PD.opcodes.sub),
  ADDSUBPS: addSubtract(PS),
  ADDSUBPD: addSubtract(PD),
  CMPPS: comparePacked(PS),
  CMPPD: comparePacked(PD),
  CMPSS: compareScalar(SS, PS),
  CMPSD: compareScalar(SD, PD),
  COMISS: compareFlags(SS),
  COMISD: compareFlags(SD),
  UCOMISS: compareFlags(SS),
  UCOMISD: compareFlags(SD),
};

for (const [suffix, kind] of Object.entries({ SS, SD, PS, PD })) {
  sseFloats[`ADD${suffix}`] = additive(kind, kind.opcodes.add);
  sseFloats[`SUB${suffix}`] = additive(kind, kind.opcodes.sub);
  sseFloats[`MUL${suffix}`] = multiplicative(kind, false);
  sseFloats[`DIV${suffix}`] = multiplicative(kind, true);
  sseFloats[`SQRT${suffix}`] = squareRoot(kind);
  sseFloats[`MIN${suffix}`] = extreme(kind, false);
  sseFloats[`MAX${suffix}`] = extreme(kind, true);
  sseFloats[`ROUND${suffix}`] = round(kind);
}
