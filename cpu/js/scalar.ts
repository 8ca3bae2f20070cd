/** The core numeric instructions on values: which parts they work on, by the types of their operands. */
import * as op from '../ir/ops.ts';
import * as float from './float.ts';
import * as w from './int32.ts';
import type { Keep } from './int64.ts';
import * as q from './int64.ts';
import type { Scope } from './scope.ts';
import { constant, i32, integer, type Part, type Value, ZERO } from './value.ts';

const COMPARE32: Record<number, (a: Part, b: Part) => Part> = {
  [op.I32_EQ]: w.equal,
  [op.I32_NE]: w.notEqual,
  [op.I32_LT_S]: (a, b) => w.lessS('<', a, b),
  [op.I32_LT_U]: (a, b) => w.lessU('<', a, b),
  [op.I32_GT_S]: (a, b) => w.lessS('>', a, b),
  [op.I32_GT_U]: (a, b) => w.lessU('>', a, b),
  [op.I32_LE_S]: (a, b) => w.lessS('<=', a, b),
  [op.I32_LE_U]: (a, b) => w.lessU('<=', a, b),
  [op.I32_GE_S]: (a, b) => w.lessS('>=', a, b),
  [op.I32_GE_U]: (a, b) => w.lessU('>=', a, b),
};

const BINARY32: Record<number, (keep: Keep, a: Part, b: Part) => Part> = {
  [op.I32_ADD]: (_, a, b) => w.add(a, b),
  [op.I32_SUB]: (_, a, b) => w.sub(a, b),
  [op.I32_MUL]: (_, a, b) => w.mul(a, b),
  [op.I32_DIV_S]: (_, a, b) => w.int(`(${a.text}/${b.text}|0)`, a, b),
  [op.I32_DIV_U]: (_, a, b) => w.int(`((${a.text}>>>0)/(${b.text}>>>0)|0)`, a, b),
  [op.I32_REM_S]: (_, a, b) => w.int(`(${a.text}%${b.text}|0)`, a, b),
  [op.I32_REM_U]: (_, a, b) => w.int(`((${a.text}>>>0)%(${b.text}>>>0)|0)`, a, b),
  [op.I32_SHL]: (_, a, b) => w.shl(a, b),
  [op.I32_SHR_S]: (_, a, b) => w.shrS(a, b),
  [op.I32_SHR_U]: (_, a, b) => w.shrU(a, b),
  [op.I32_ROTL]: (keep, a, b) => w.rotl(keep(a), keep(b)),
  [op.I32_ROTR]: (keep, a, b) => w.rotr(keep(a), keep(b)),
};

const UNARY32: Record<number, (a: Part) => Part> = {
  [op.I32_CLZ]: (a) => w.int(`clz(${a.text})`, a),
  [op.I32_CTZ]: (a) => w.int(`ctz(${a.text})`, a),
  [op.I32_POPCNT]: (a) => w.int(`popcnt(${a.text})`, a),
  [op.I32_EXTEND8_S]: (a) => w.extend(a, 8),
  [op.I32_EXTEND16_S]: (a) => w.extend(a, 16),
};

/** These take conditions as they are. */
const LOGIC32: Record<number, (a: Part, b: Part) => Part> = {
  [op.I32_AND]: w.and,
  [op.I32_OR]: w.or,
  [op.I32_XOR]: w.xor,
};

function pair(value: Value): readonly [Part, Part] {
  return [value.parts[0], value.parts[1]];
}

function i64([low, high]: readonly [Part, Part]): Value {
  return { type: op.T_I64, parts: [low, high] };
}

/** A core numeric instruction (opcode below 0x100) on one or two operands. */
export function scalar(scope: Scope, opcode: number, a: Value, b: Value | undefined): Value {
  const { keep } = scope;
  if (a.type === op.T_F32 || a.type === op.T_F64) {
    if (opcode >= op.F32_EQ && opcode <= op.F64_GE) return i32(float.compare(opcode, a.parts[0], b!.parts[0]));
    return float.operation(scope, opcode, a, b);
  }
  if (op.resultType[opcode] === op.T_F32 || op.resultType[opcode] === op.T_F64)
    return float.operation(scope, opcode, a, b);
  if (a.type === op.T_I64) {
    if (opcode === op.I32_WRAP_I64) return i32(a.parts[0]);
    if (opcode === op.I64_EQZ) return i32(q.isZero(pair(a)));
    if (op.resultType[opcode] === op.T_I32) return i32(q.compare(keep, opcode, pair(a), pair(b!)));
    return i64(q.operation(keep, opcode, pair(a), b && pair(b)));
  }
  if (opcode === op.I32_EQZ) return i32(w.isZero(a.parts[0]));
  if (opcode in LOGIC32) return i32(LOGIC32[opcode](a.parts[0], b!.parts[0]));
  const x = integer(a.parts[0]);
  if (opcode === op.I64_EXTEND_I32_U) return i64([x, ZERO]);
  if (opcode === op.I64_EXTEND_I32_S)
    return i64(x.constant === undefined ? q.signed(keep(x)) : [x, constant(x.constant >> 31)]);
  if (b === undefined) return i32(UNARY32[opcode](x));
  const y = integer(b.parts[0]);
  return i32(opcode in COMPARE32 ? COMPARE32[opcode](x, y) : BINARY32[opcode](keep, x, y));
}
