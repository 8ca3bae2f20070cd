/** Multiplication and division: MUL IMUL DIV IDIV MULX (SDM vol. 2). Faults and 128-bit dividends go to the helpers. */

import * as op from '../ir/ops.ts';
import { FLAG_C, FLAG_O } from '../isa/table.ts';
import { type Lifter, RAX, RDX } from './lifter.ts';

/** The upper 64 bits of the unsigned product of two i64. */
function highProduct(l: Lifter, a: number, b: number): number {
  const { ir } = l;
  const mask = ir.i64(-1, 0);
  const half = ir.i64(32);
  const al = ir.op2(op.I64_AND, a, mask);
  const ah = ir.op2(op.I64_SHR_U, a, half);
  const bl = ir.op2(op.I64_AND, b, mask);
  const bh = ir.op2(op.I64_SHR_U, b, half);
  const low = ir.op2(op.I64_SHR_U, ir.op2(op.I64_MUL, al, bl), half);
  const middle = ir.op2(op.I64_ADD, ir.op2(op.I64_MUL, ah, bl), low);
  const cross = ir.op2(op.I64_ADD, ir.op2(op.I64_MUL, al, bh), ir.op2(op.I64_AND, middle, mask));
  const top = ir.op2(op.I64_ADD, ir.op2(op.I64_MUL, ah, bh), ir.op2(op.I64_SHR_U, middle, half));
  return ir.op2(op.I64_ADD, top, ir.op2(op.I64_SHR_U, cross, half));
}

/** The upper 64 bits of the signed product. */
function signedHighProduct(l: Lifter, a: number, b: number): number {
  const { ir } = l;
  const sign = ir.i64(63);
  const correction = ir.op2(
    op.I64_ADD,
    ir.op2(op.I64_AND, ir.op2(op.I64_SHR_S, a, sign), b),
    ir.op2(op.I64_AND, ir.op2(op.I64_SHR_S, b, sign), a),
  );
  return ir.op2(op.I64_SUB, highProduct(l, a, b), correction);
}

/** CF = OF = `overflow` (i32 0/1); SF, ZF, AF and PF are undefined and left as the result would give them. */
function productFlags(l: Lifter, bytes: number, low: number, overflow: number): void {
  const { ir } = l;
  const mask = ir.op2(op.I32_SUB, ir.i32(0), overflow);
  l.flagsResult(bytes, low, ir.op2(op.I32_AND, mask, ir.i32(FLAG_C | FLAG_O)));
}

/** MUL and one-operand IMUL: rDX:rAX = rAX × src (AX for bytes). */
function widening(l: Lifter, signed: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const a = l.register(bytes, RAX);
  const b = l.get(0);
  if (bytes === 8) {
    const low = ir.op2(op.I64_MUL, a, b);
    const high = signed ? signedHighProduct(l, a, b) : highProduct(l, a, b);
    const fill = signed ? ir.op2(op.I64_SHR_S, low, ir.i64(63)) : ir.i64(0);
    const overflow = ir.op2(op.I64_NE, high, fill);
    l.setRegister(8, RAX, low);
    l.setRegister(8, RDX, high);
    productFlags(l, 8, low, overflow);
    return;
  }
  const x = signed ? l.signExtend(bytes, a) : ir.op1(op.I64_EXTEND_I32_U, a);
  const y = signed ? l.signExtend(bytes, b) : ir.op1(op.I64_EXTEND_I32_U, b);
  const product = ir.op2(op.I64_MUL, x, y);
  const low = ir.op1(op.I32_WRAP_I64, product);
  const lowPart = l.cut(bytes, low);
  const again = signed ? l.signExtend(bytes, lowPart) : ir.op1(op.I64_EXTEND_I32_U, lowPart);
  const overflow = ir.op2(op.I64_NE, product, again);
  const high = ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_SHR_U, product, ir.i64(bytes * 8)));
  if (bytes === 1) l.setRegister(2, RAX, l.cut(2, low));
  else {
    l.setRegister(bytes, RAX, lowPart);
    l.setRegister(bytes, RDX, l.cut(bytes, high));
  }
  productFlags(l, bytes, lowPart, overflow);
}

/** Two- and three-operand IMUL. */
function truncating(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const three = l.row.operands.length === 3;
  const a = three ? l.get(1) : l.get(0);
  const b = three ? l.get(2) : l.get(1);
  let result: number;
  let overflow: number;
  if (bytes === 8) {
    result = ir.op2(op.I64_MUL, a, b);
    overflow = ir.op2(op.I64_NE, signedHighProduct(l, a, b), ir.op2(op.I64_SHR_S, result, ir.i64(63)));
  } else {
    result = l.cut(bytes, ir.op2(op.I32_MUL, a, b));
    const product = ir.op2(op.I64_MUL, l.signExtend(bytes, a), l.signExtend(bytes, b));
    overflow = ir.op2(op.I64_NE, product, l.signExtend(bytes, result));
  }
  l.set(0, result);
  productFlags(l, bytes, result, overflow);
}

/** MULX: no flags; the first destination gets the upper half and wins when both are the same register. */
function mulx(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const a = l.register(bytes, RDX);
  const b = l.get(2);
  if (bytes === 8) {
    const high = highProduct(l, a, b);
    l.set(1, ir.op2(op.I64_MUL, a, b));
    l.set(0, high);
    return;
  }
  const product = ir.op2(op.I64_MUL, ir.op1(op.I64_EXTEND_I32_U, a), ir.op1(op.I64_EXTEND_I32_U, b));
  l.set(1, ir.op1(op.I32_WRAP_I64, product));
  l.set(0, ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_SHR_U, product, ir.i64(32))));
}

/** The dividend as one i64: AX, DX:AX or EDX:EAX. */
function dividend(l: Lifter, bytes: number): number {
  const { ir } = l;
  if (bytes === 1) return ir.op1(op.I64_EXTEND_I32_U, l.register(2, RAX));
  const low = ir.op1(op.I64_EXTEND_I32_U, l.register(bytes, RAX));
  const high = ir.op1(op.I64_EXTEND_I32_U, l.register(bytes, RDX));
  return ir.op2(op.I64_OR, low, ir.op2(op.I64_SHL, high, ir.i64(bytes * 8)));
}

function setQuotient(l: Lifter, bytes: number, quotient: number, remainder: number): void {
  const { ir } = l;
  if (bytes === 8) {
    l.setRegister(8, RAX, quotient);
    l.setRegister(8, RDX, remainder);
    return;
  }
  const q = l.cut(bytes, ir.op1(op.I32_WRAP_I64, quotient));
  const r = l.cut(bytes, ir.op1(op.I32_WRAP_I64, remainder));
  if (bytes === 1) l.setRegister(2, RAX, ir.op2(op.I32_OR, q, ir.op2(op.I32_SHL, r, ir.i32(8))));
  else {
    l.setRegister(bytes, RAX, q);
    l.setRegister(bytes, RDX, r);
  }
}

function divide(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const divisor = l.get(0);
  l.slowIf(l.isZero(bytes, divisor));
  if (bytes === 8) {
    // A 128-bit dividend, or a quotient that overflows, is rare.
    l.slowIf(ir.op2(op.I64_NE, l.register(8, RDX), ir.i64(0)));
    const a = l.register(8, RAX);
    setQuotient(l, 8, ir.op2(op.I64_DIV_U, a, divisor), ir.op2(op.I64_REM_U, a, divisor));
    return;
  }
  const a = dividend(l, bytes);
  const b = ir.op1(op.I64_EXTEND_I32_U, divisor);
  const quotient = ir.op2(op.I64_DIV_U, a, b);
  l.slowIf(ir.op2(op.I64_NE, ir.op2(op.I64_SHR_U, quotient, ir.i64(bytes * 8)), ir.i64(0)));
  setQuotient(l, bytes, quotient, ir.op2(op.I64_REM_U, a, b));
}

function divideSigned(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const divisor = l.get(0);
  l.slowIf(l.isZero(bytes, divisor));
  if (bytes === 8) {
    const a = l.register(8, RAX);
    l.slowIf(ir.op2(op.I64_NE, l.register(8, RDX), ir.op2(op.I64_SHR_S, a, ir.i64(63))));
    // The smallest number divided by -1 overflows.
    l.slowIf(ir.op2(op.I64_EQ, divisor, ir.i64(-1)));
    setQuotient(l, 8, ir.op2(op.I64_DIV_S, a, divisor), ir.op2(op.I64_REM_S, a, divisor));
    return;
  }
  const raw = dividend(l, bytes);
  const a = bytes === 4 ? raw : ir.op1(bytes === 1 ? op.I64_EXTEND16_S : op.I64_EXTEND32_S, raw);
  const b = l.signExtend(bytes, divisor);
  if (bytes === 4) l.slowIf(ir.op2(op.I64_EQ, b, ir.i64(-1)));
  const quotient = ir.op2(op.I64_DIV_S, a, b);
  const narrow = l.signExtend(bytes, ir.op1(op.I32_WRAP_I64, quotient));
  l.slowIf(ir.op2(op.I64_NE, quotient, narrow));
  setQuotient(l, bytes, quotient, ir.op2(op.I64_REM_S, a, b));
}

export const muldiv: Record<string, (l: Lifter) => void> = {
  MUL: (l) => widening(l, false),
  IMUL1: (l) => widening(l, true),
  IMUL: truncating,
  MULX: mulx,
  DIV: divide,
  IDIV: divideSigned,
};
