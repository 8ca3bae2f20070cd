/** The SIMD instructions of WebAssembly (core specification §5.4.8) as pure IR operations: SIMD | sub-opcode. */
import { SIMD, T_F32, T_F64, T_I32, T_I64, T_V128 } from './ops.ts';

export const I8X16_SHUFFLE = SIMD | 0x0d;
export const I8X16_SWIZZLE = SIMD | 0x0e;
export const I8X16_SPLAT = SIMD | 0x0f;
export const I16X8_SPLAT = SIMD | 0x10;
export const I32X4_SPLAT = SIMD | 0x11;
export const I64X2_SPLAT = SIMD | 0x12;
export const F32X4_SPLAT = SIMD | 0x13;
export const F64X2_SPLAT = SIMD | 0x14;
export const I8X16_EXTRACT_LANE_U = SIMD | 0x16;
export const I8X16_REPLACE_LANE = SIMD | 0x17;
export const I16X8_EXTRACT_LANE_U = SIMD | 0x19;
export const I16X8_REPLACE_LANE = SIMD | 0x1a;
export const I32X4_EXTRACT_LANE = SIMD | 0x1b;
export const I32X4_REPLACE_LANE = SIMD | 0x1c;
export const I64X2_EXTRACT_LANE = SIMD | 0x1d;
export const I64X2_REPLACE_LANE = SIMD | 0x1e;
export const F32X4_EXTRACT_LANE = SIMD | 0x1f;
export const F32X4_REPLACE_LANE = SIMD | 0x20;
export const F64X2_EXTRACT_LANE = SIMD | 0x21;
export const F64X2_REPLACE_LANE = SIMD | 0x22;
export const I8X16_EQ = SIMD | 0x23;
export const I8X16_GT_S = SIMD | 0x27;
export const I16X8_EQ = SIMD | 0x2d;
export const I16X8_GT_S = SIMD | 0x31;
export const I32X4_EQ = SIMD | 0x37;
export const I32X4_LT_U = SIMD | 0x3a;
export const I32X4_GT_S = SIMD | 0x3b;
export const I32X4_GT_U = SIMD | 0x3c;
export const F32X4_EQ = SIMD | 0x41;
export const F32X4_NE = SIMD | 0x42;
export const F32X4_LT = SIMD | 0x43;
export const F32X4_LE = SIMD | 0x45;
export const F64X2_EQ = SIMD | 0x47;
export const F64X2_NE = SIMD | 0x48;
export const F64X2_LT = SIMD | 0x49;
export const F64X2_LE = SIMD | 0x4b;
export const V128_NOT = SIMD | 0x4d;
export const V128_AND = SIMD | 0x4e;
/** a & ~b. */
export const V128_ANDNOT = SIMD | 0x4f;
export const V128_OR = SIMD | 0x50;
export const V128_XOR = SIMD | 0x51;
/** (a & c) | (b & ~c). */
export const V128_BITSELECT = SIMD | 0x52;
export const V128_ANY_TRUE = SIMD | 0x53;
export const F32X4_DEMOTE_F64X2_ZERO = SIMD | 0x5e;
export const F64X2_PROMOTE_LOW_F32X4 = SIMD | 0x5f;
export const I8X16_ABS = SIMD | 0x60;
export const I8X16_BITMASK = SIMD | 0x64;
export const I8X16_NARROW_I16X8_S = SIMD | 0x65;
export const I8X16_NARROW_I16X8_U = SIMD | 0x66;
export const F32X4_NEAREST = SIMD | 0x6a;
export const F32X4_TRUNC = SIMD | 0x69;
export const F32X4_CEIL = SIMD | 0x67;
export const F32X4_FLOOR = SIMD | 0x68;
export const I8X16_SHR_S = SIMD | 0x6c;
export const I8X16_ADD = SIMD | 0x6e;
export const I8X16_ADD_SAT_S = SIMD | 0x6f;
export const I8X16_ADD_SAT_U = SIMD | 0x70;
export const I8X16_SUB = SIMD | 0x71;
export const I8X16_SUB_SAT_S = SIMD | 0x72;
export const I8X16_SUB_SAT_U = SIMD | 0x73;
export const F64X2_CEIL = SIMD | 0x74;
export const F64X2_FLOOR = SIMD | 0x75;
export const I8X16_MIN_S = SIMD | 0x76;
export const I8X16_MIN_U = SIMD | 0x77;
export const I8X16_MAX_S = SIMD | 0x78;
export const I8X16_MAX_U = SIMD | 0x79;
export const F64X2_TRUNC = SIMD | 0x7a;
export const I8X16_AVGR_U = SIMD | 0x7b;
export const I16X8_EXTADD_PAIRWISE_I8X16_U = SIMD | 0x7d;
export const I32X4_EXTADD_PAIRWISE_I16X8_U = SIMD | 0x7f;
export const I16X8_ABS = SIMD | 0x80;
export const I16X8_Q15MULR_SAT_S = SIMD | 0x82;
export const I16X8_NARROW_I32X4_S = SIMD | 0x85;
export const I16X8_NARROW_I32X4_U = SIMD | 0x86;
export const I16X8_EXTEND_LOW_I8X16_S = SIMD | 0x87;
export const I16X8_EXTEND_LOW_I8X16_U = SIMD | 0x89;
export const I16X8_SHL = SIMD | 0x8b;
export const I16X8_SHR_S = SIMD | 0x8c;
export const I16X8_SHR_U = SIMD | 0x8d;
export const I16X8_ADD = SIMD | 0x8e;
export const I16X8_ADD_SAT_S = SIMD | 0x8f;
export const I16X8_ADD_SAT_U = SIMD | 0x90;
export const I16X8_SUB = SIMD | 0x91;
export const I16X8_SUB_SAT_S = SIMD | 0x92;
export const I16X8_SUB_SAT_U = SIMD | 0x93;
export const F64X2_NEAREST = SIMD | 0x94;
export const I16X8_MUL = SIMD | 0x95;
export const I16X8_MIN_S = SIMD | 0x96;
export const I16X8_MIN_U = SIMD | 0x97;
export const I16X8_MAX_S = SIMD | 0x98;
export const I16X8_MAX_U = SIMD | 0x99;
export const I16X8_AVGR_U = SIMD | 0x9b;
export const I32X4_ABS = SIMD | 0xa0;
export const I32X4_BITMASK = SIMD | 0xa4;
export const I32X4_EXTEND_LOW_I16X8_S = SIMD | 0xa7;
export const I32X4_EXTEND_LOW_I16X8_U = SIMD | 0xa9;
export const I32X4_SHL = SIMD | 0xab;
export const I32X4_SHR_S = SIMD | 0xac;
export const I32X4_SHR_U = SIMD | 0xad;
export const I32X4_ADD = SIMD | 0xae;
export const I32X4_SUB = SIMD | 0xb1;
export const I32X4_MUL = SIMD | 0xb5;
export const I32X4_MIN_S = SIMD | 0xb6;
export const I32X4_MIN_U = SIMD | 0xb7;
export const I32X4_MAX_S = SIMD | 0xb8;
export const I32X4_MAX_U = SIMD | 0xb9;
export const I32X4_DOT_I16X8_S = SIMD | 0xba;
export const I32X4_EXTMUL_LOW_I16X8_S = SIMD | 0xbc;
export const I32X4_EXTMUL_HIGH_I16X8_S = SIMD | 0xbd;
export const I32X4_EXTMUL_LOW_I16X8_U = SIMD | 0xbe;
export const I32X4_EXTMUL_HIGH_I16X8_U = SIMD | 0xbf;
export const I64X2_BITMASK = SIMD | 0xc4;
export const I64X2_EXTEND_LOW_I32X4_S = SIMD | 0xc7;
export const I64X2_EXTEND_LOW_I32X4_U = SIMD | 0xc9;
export const I64X2_SHL = SIMD | 0xcb;
export const I64X2_SHR_S = SIMD | 0xcc;
export const I64X2_SHR_U = SIMD | 0xcd;
export const I64X2_ADD = SIMD | 0xce;
export const I64X2_SUB = SIMD | 0xd1;
export const I64X2_EQ = SIMD | 0xd6;
export const I64X2_GT_S = SIMD | 0xd9;
export const I64X2_EXTMUL_LOW_I32X4_S = SIMD | 0xdc;
export const I64X2_EXTMUL_LOW_I32X4_U = SIMD | 0xde;
export const F32X4_ABS = SIMD | 0xe0;
export const F32X4_SQRT = SIMD | 0xe3;
export const F32X4_ADD = SIMD | 0xe4;
export const F32X4_SUB = SIMD | 0xe5;
export const F32X4_MUL = SIMD | 0xe6;
export const F32X4_DIV = SIMD | 0xe7;
export const F64X2_ABS = SIMD | 0xec;
export const F64X2_SQRT = SIMD | 0xef;
export const F64X2_ADD = SIMD | 0xf0;
export const F64X2_SUB = SIMD | 0xf1;
export const F64X2_MUL = SIMD | 0xf2;
export const F64X2_DIV = SIMD | 0xf3;
export const I32X4_TRUNC_SAT_F32X4_S = SIMD | 0xf8;
export const F32X4_CONVERT_I32X4_S = SIMD | 0xfa;
export const I32X4_TRUNC_SAT_F64X2_S_ZERO = SIMD | 0xfc;
export const F64X2_CONVERT_LOW_I32X4_S = SIMD | 0xfe;

const scalarResult = new Map([
  [I8X16_EXTRACT_LANE_U, T_I32],
  [I16X8_EXTRACT_LANE_U, T_I32],
  [I32X4_EXTRACT_LANE, T_I32],
  [I64X2_EXTRACT_LANE, T_I64],
  [F32X4_EXTRACT_LANE, T_F32],
  [F64X2_EXTRACT_LANE, T_F64],
  [V128_ANY_TRUE, T_I32],
  [I8X16_BITMASK, T_I32],
  [I32X4_BITMASK, T_I32],
  [I64X2_BITMASK, T_I32],
]);

/** Result type of a SIMD operation. */
export function simdType(op: number): number {
  return scalarResult.get(op) ?? T_V128;
}
