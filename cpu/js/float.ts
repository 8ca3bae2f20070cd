/** Floating-point operations: JavaScript's numbers are doubles; singles are rounded after each operation. */
import * as op from '../ir/ops.ts';
import { T_F32, T_F64, T_I32, T_I64 } from '../ir/ops.ts';
import { condition } from './int32.ts';
import type { Scope } from './scope.ts';
import { expression, INTEGER, integer, NUMBER, type Part, type Value } from './value.ts';

export function number(text: string, ...operands: Part[]): Part {
  return expression(text, NUMBER, ...operands);
}

const ARITHMETIC: Record<number, string> = {
  [op.F64_ADD]: '+',
  [op.F64_SUB]: '-',
  [op.F64_MUL]: '*',
  [op.F64_DIV]: '/',
};
const FUNCTIONS: Record<number, string> = {
  [op.F64_ABS]: 'abs',
  [op.F64_CEIL]: 'ceil',
  [op.F64_FLOOR]: 'floor',
  [op.F64_TRUNC]: 'trunc',
  [op.F64_NEAREST]: 'nearest',
  [op.F64_SQRT]: 'sqrt',
};
const COMPARISONS: Record<number, string> = {
  [op.F64_EQ]: '===',
  [op.F64_NE]: '!==',
  [op.F64_LT]: '<',
  [op.F64_GT]: '>',
  [op.F64_LE]: '<=',
  [op.F64_GE]: '>=',
};

export function compare(opcode: number, a: Part, b: Part): Part {
  const twin = opcode < op.F64_EQ ? opcode + (op.F64_EQ - op.F32_EQ) : opcode;
  return condition(`(${a.text}${COMPARISONS[twin]}${b.text})`, a, b);
}

/** A double's arithmetic; `single` rounds it to a single. */
export function arithmetic(twin: number, single: boolean, a: Part, b: Part | undefined): Part {
  if (b === undefined) {
    const result = number(`${FUNCTIONS[twin]}(${a.text})`, a);
    return single && twin === op.F64_SQRT ? round(result) : result;
  }
  const result = number(`(${a.text}${ARITHMETIC[twin]}${b.text})`, a, b);
  return single ? round(result) : result;
}

export function round(a: Part): Part {
  return number(`fround(${a.text})`, a);
}

/** The single or double of some bits (atoms), remembered as such. */
export function fromBits(scope: Scope, type: number, bits: readonly Part[]): Value {
  return { type, parts: [type === T_F32 ? scope.single(bits[0]) : scope.double(bits[0], bits[1])], bits };
}

/** Bits of a single or double. */
export function toBits(scope: Scope, value: Value): readonly Part[] {
  const [x] = value.parts;
  return value.bits ?? (value.type === T_F32 ? [scope.bitsOfSingle(x)] : scope.bitsOfDouble(x));
}

/** A scalar operation whose result is a float, or an integer made of a float. */
export function operation(scope: Scope, opcode: number, a: Value, b: Value | undefined): Value {
  const { keep } = scope;
  const [x] = a.parts;
  switch (opcode) {
    case op.I32_TRUNC_F32_S:
    case op.I32_TRUNC_F64_S:
      return { type: T_I32, parts: [expression(`(${x.text}|0)`, INTEGER, x)] };
    case op.I64_TRUNC_F32_S:
    case op.I64_TRUNC_F64_S: {
      const kept = keep(number(`trunc(${x.text})`, x));
      const low = expression(`(${kept.text}|0)`, INTEGER, kept);
      return { type: T_I64, parts: [low, expression(`highOf(${kept.text})`, INTEGER, kept)] };
    }
    case op.F32_CONVERT_I32_S:
      return { type: T_F32, parts: [round(integer(x))] };
    case op.F64_CONVERT_I32_S:
      return { type: T_F64, parts: [{ ...integer(x), kind: NUMBER, constant: undefined }] };
    case op.F32_CONVERT_I64_S:
      return { type: T_F32, parts: [number(`singleFromI64(${x.text},${a.parts[1].text})`, x, a.parts[1])] };
    case op.F64_CONVERT_I64_S:
      return { type: T_F64, parts: [number(`fromI64(${x.text},${a.parts[1].text})`, x, a.parts[1])] };
    case op.F32_DEMOTE_F64:
      return { type: T_F32, parts: [round(x)] };
    case op.F64_PROMOTE_F32:
      return { type: T_F64, parts: [x] };
    case op.I32_REINTERPRET_F32:
      return { type: T_I32, parts: toBits(scope, a) };
    case op.I64_REINTERPRET_F64:
      return { type: T_I64, parts: toBits(scope, a) };
    case op.F32_REINTERPRET_I32:
      return fromBits(scope, T_F32, [keep(integer(x))]);
    case op.F64_REINTERPRET_I64:
      return fromBits(scope, T_F64, [keep(x), keep(a.parts[1])]);
  }
  const single = opcode < op.F64_ABS;
  const twin = single ? opcode + (op.F64_ABS - op.F32_ABS) : opcode;
  return { type: single ? T_F32 : T_F64, parts: [arithmetic(twin, single, x, b?.parts[0])] };
}
