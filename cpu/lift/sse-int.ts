/** Packed integer arithmetic, comparison, logic and shifts of XMM registers (SDM vol. 2: PADDB … PXOR, PTEST). */
import * as op from '../ir/ops.ts';
import * as simd from '../ir/simd.ts';
import { FLAG_C, FLAG_Z } from '../isa/table.ts';
import { atFlag } from './alu.ts';
import type { Lifter } from './lifter.ts';
import { constant, type Definitions, low, setXmm, shuffle, v, vector, xmm, zero } from './vector.ts';

/** dst = `build`(dst, src) for a source of 16 aligned bytes. */
export function binary(build: (l: Lifter, a: number, b: number) => number): (l: Lifter) => void {
  return (l) => {
    const b = vector(l, 1);
    setXmm(l, 0, build(l, xmm(l, 0), b));
  };
}

/** dst = dst `opcode` src. */
function plain(opcode: number): (l: Lifter) => void {
  return binary((l, a, b) => v(l, opcode, a, b));
}

function unary(opcode: number): (l: Lifter) => void {
  return (l) => setXmm(l, 0, v(l, opcode, vector(l, 1)));
}

// --- shifts -----------------------------------------------------------------------------------------------------------

/** PSLLW … PSRAD by an immediate or by the low quadword of a register or memory operand. */
function shift(opcode: number, bits: number, arithmetic: boolean): (l: Lifter) => void {
  return (l) => {
    const { ir } = l;
    let count: number;
    let tooFar: number;
    if (l.row.operands[1].mode === 'I') {
      count = l.immediate(1);
      tooFar = l.dynamic ? ir.op2(op.I32_GT_U, count, ir.i32(bits - 1)) : ir.i32(l.insn.immLow & 0xff & -bits);
    } else {
      const wide = l.isMemory(1) ? v(l, simd.I64X2_EXTRACT_LANE, vector(l, 1)) : low(l, 1, 8);
      count = ir.op1(op.I32_WRAP_I64, wide);
      tooFar = ir.op2(op.I64_GT_U, wide, ir.i64(bits - 1));
    }
    const value = xmm(l, 0);
    // WebAssembly takes the count modulo the width.
    if (arithmetic) setXmm(l, 0, v(l, opcode, value, ir.select(tooFar, ir.i32(bits - 1), count)));
    else setXmm(l, 0, ir.select(tooFar, zero(l), v(l, opcode, value, count)));
  };
}

// --- multiplication ---------------------------------------------------------------------------------------------------

/** PMULHW, PMULHUW: the high words of the products. */
function multiplyHigh(extmulLow: number, extmulHigh: number): (l: Lifter) => void {
  return binary((l, a, b) => shuffle(l, v(l, extmulLow, a, b), v(l, extmulHigh, a, b), [1, 3, 5, 7, 9, 11, 13, 15]));
}

/** PMULDQ, PMULUDQ: products of the even doublewords. */
function multiplyEven(extmul: number): (l: Lifter) => void {
  return binary((l, a, b) => v(l, extmul, shuffle(l, a, a, [0, 2, 0, 2]), shuffle(l, b, b, [0, 2, 0, 2])));
}

/** PMULHRSW: as Q15 multiplication, but -1 × -1 wraps instead of saturating. */
function multiplyRounded(l: Lifter, a: number, b: number): number {
  const lowest = constant(l, new Array(8).fill(0x8000));
  const wraps = v(l, simd.V128_AND, v(l, simd.I16X8_EQ, a, lowest), v(l, simd.I16X8_EQ, b, lowest));
  return v(l, simd.V128_XOR, v(l, simd.I16X8_Q15MULR_SAT_S, a, b), wraps);
}

/** PMADDUBSW: unsigned bytes of the destination times signed bytes of the source, neighbours added. */
function multiplyAddBytes(l: Lifter, a: number, b: number): number {
  const eight = l.ir.i32(8);
  const even = v(
    l,
    simd.I16X8_MUL,
    v(l, simd.V128_AND, a, constant(l, new Array(8).fill(0xff))),
    v(l, simd.I16X8_SHR_S, v(l, simd.I16X8_SHL, b, eight), eight),
  );
  const odd = v(l, simd.I16X8_MUL, v(l, simd.I16X8_SHR_U, a, eight), v(l, simd.I16X8_SHR_S, b, eight));
  return v(l, simd.I16X8_ADD_SAT_S, even, odd);
}

/** PSADBW: sums of absolute differences of eight bytes each. */
function sumOfDifferences(l: Lifter, a: number, b: number): number {
  const difference = v(l, simd.V128_OR, v(l, simd.I8X16_SUB_SAT_U, a, b), v(l, simd.I8X16_SUB_SAT_U, b, a));
  const words = v(l, simd.I16X8_EXTADD_PAIRWISE_I8X16_U, difference);
  const doublewords = v(l, simd.I32X4_EXTADD_PAIRWISE_I16X8_U, words);
  const odd = v(l, simd.I64X2_SHR_U, doublewords, l.ir.i32(32));
  return v(l, simd.V128_AND, v(l, simd.I32X4_ADD, doublewords, odd), constant(l, [-1, 0, -1, 0]));
}

// --- neighbours and signs ---------------------------------------------------------------------------------------------

/** PHADDx, PHSUBx: neighbours of the destination, then of the source. */
function horizontal(opcode: number, bytes: number): (l: Lifter) => void {
  const even = Array.from({ length: 16 / bytes }, (_, i) => i * 2);
  const odd = even.map((lane) => lane + 1);
  return binary((l, a, b) => v(l, opcode, shuffle(l, a, b, even), shuffle(l, a, b, odd)));
}

/** PSIGNx: negates, clears or keeps lanes of the destination by the sign of the source's. */
function sign(sub: number, greater: number, equal: number): (l: Lifter) => void {
  return binary((l, a, b) => {
    const nothing = zero(l);
    const negative = v(l, greater, nothing, b);
    const negated = v(l, sub, v(l, simd.V128_XOR, a, negative), negative);
    return v(l, simd.V128_ANDNOT, negated, v(l, equal, b, nothing));
  });
}

/** PTEST: ZF when dst & src is zero, CF when ~dst & src is. */
function test(l: Lifter): void {
  const { ir } = l;
  const b = vector(l, 1);
  const a = xmm(l, 0);
  const zf = ir.op1(op.I32_EQZ, v(l, simd.V128_ANY_TRUE, v(l, simd.V128_AND, a, b)));
  const cf = ir.op1(op.I32_EQZ, v(l, simd.V128_ANY_TRUE, v(l, simd.V128_ANDNOT, b, a)));
  l.flagsExplicit(ir.op2(op.I32_OR, atFlag(l, zf, FLAG_Z), atFlag(l, cf, FLAG_C)));
}

const andNot = binary((l, a, b) => v(l, simd.V128_ANDNOT, b, a));

export const sseIntegers: Definitions = {
  ANDPS: plain(simd.V128_AND),
  ANDPD: plain(simd.V128_AND),
  PAND: plain(simd.V128_AND),
  ANDNPS: andNot,
  ANDNPD: andNot,
  PANDN: andNot,
  ORPS: plain(simd.V128_OR),
  ORPD: plain(simd.V128_OR),
  POR: plain(simd.V128_OR),
  XORPS: plain(simd.V128_XOR),
  XORPD: plain(simd.V128_XOR),
  PXOR: plain(simd.V128_XOR),
  PTEST: test,
  PADDB: plain(simd.I8X16_ADD),
  PADDW: plain(simd.I16X8_ADD),
  PADDD: plain(simd.I32X4_ADD),
  PADDQ: plain(simd.I64X2_ADD),
  PADDSB: plain(simd.I8X16_ADD_SAT_S),
  PADDSW: plain(simd.I16X8_ADD_SAT_S),
  PADDUSB: plain(simd.I8X16_ADD_SAT_U),
  PADDUSW: plain(simd.I16X8_ADD_SAT_U),
  PSUBB: plain(simd.I8X16_SUB),
  PSUBW: plain(simd.I16X8_SUB),
  PSUBD: plain(simd.I32X4_SUB),
  PSUBQ: plain(simd.I64X2_SUB),
  PSUBSB: plain(simd.I8X16_SUB_SAT_S),
  PSUBSW: plain(simd.I16X8_SUB_SAT_S),
  PSUBUSB: plain(simd.I8X16_SUB_SAT_U),
  PSUBUSW: plain(simd.I16X8_SUB_SAT_U),
  PAVGB: plain(simd.I8X16_AVGR_U),
  PAVGW: plain(simd.I16X8_AVGR_U),
  PMULLW: plain(simd.I16X8_MUL),
  PMULLD: plain(simd.I32X4_MUL),
  PMULHW: multiplyHigh(simd.I32X4_EXTMUL_LOW_I16X8_S, simd.I32X4_EXTMUL_HIGH_I16X8_S),
  PMULHUW: multiplyHigh(simd.I32X4_EXTMUL_LOW_I16X8_U, simd.I32X4_EXTMUL_HIGH_I16X8_U),
  PMULHRSW: binary(multiplyRounded),
  PMULDQ: multiplyEven(simd.I64X2_EXTMUL_LOW_I32X4_S),
  PMULUDQ: multiplyEven(simd.I64X2_EXTMUL_LOW_I32X4_U),
  PMADDWD: plain(simd.I32X4_DOT_I16X8_S),
  PMADDUBSW: binary(multiplyAddBytes),
  PSADBW: binary(sumOfDifferences),
  PCMPEQB: plain(simd.I8X16_EQ),
  PCMPEQW: plain(simd.I16X8_EQ),
  PCMPEQD: plain(simd.I32X4_EQ),
  PCMPEQQ: plain(simd.I64X2_EQ),
  PCMPGTB: plain(simd.I8X16_GT_S),
  PCMPGTW: plain(simd.I16X8_GT_S),
  PCMPGTD: plain(simd.I32X4_GT_S),
  PCMPGTQ: plain(simd.I64X2_GT_S),
  PMINSB: plain(simd.I8X16_MIN_S),
  PMINSW: plain(simd.I16X8_MIN_S),
  PMINSD: plain(simd.I32X4_MIN_S),
  PMINUB: plain(simd.I8X16_MIN_U),
  PMINUW: plain(simd.I16X8_MIN_U),
  PMINUD: plain(simd.I32X4_MIN_U),
  PMAXSB: plain(simd.I8X16_MAX_S),
  PMAXSW: plain(simd.I16X8_MAX_S),
  PMAXSD: plain(simd.I32X4_MAX_S),
  PMAXUB: plain(simd.I8X16_MAX_U),
  PMAXUW: plain(simd.I16X8_MAX_U),
  PMAXUD: plain(simd.I32X4_MAX_U),
  PABSB: unary(simd.I8X16_ABS),
  PABSW: unary(simd.I16X8_ABS),
  PABSD: unary(simd.I32X4_ABS),
  PSIGNB: sign(simd.I8X16_SUB, simd.I8X16_GT_S, simd.I8X16_EQ),
  PSIGNW: sign(simd.I16X8_SUB, simd.I16X8_GT_S, simd.I16X8_EQ),
  PSIGND: sign(simd.I32X4_SUB, simd.I32X4_GT_S, simd.I32X4_EQ),
  PHADDW: horizontal(simd.I16X8_ADD, 2),
  PHADDD: horizontal(simd.I32X4_ADD, 4),
  PHADDSW: horizontal(simd.I16X8_ADD_SAT_S, 2),
  PHSUBW: horizontal(simd.I16X8_SUB, 2),
  PHSUBD: horizontal(simd.I32X4_SUB, 4),
  PHSUBSW: horizontal(simd.I16X8_SUB_SAT_S, 2),
  PSLLW: shift(simd.I16X8_SHL, 16, false),
  PSLLD: shift(simd.I32X4_SHL, 32, false),
  PSLLQ: shift(simd.I64X2_SHL, 64, false),
  PSRLW: shift(simd.I16X8_SHR_U, 16, false),
  PSRLD: shift(simd.I32X4_SHR_U, 32, false),
  PSRLQ: shift(simd.I64X2_SHR_U, 64, false),
  PSRAW: shift(simd.I16X8_SHR_S, 16, true),
  PSRAD: shift(simd.I32X4_SHR_S, 32, true),
};
