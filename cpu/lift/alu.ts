/** Integer arithmetic and logic: ADD … CMP, INC, DEC, NEG, NOT, TEST, ADCX/ADOX, XADD, CMPXCHG (SDM vol. 2). */

import * as op from '../ir/ops.ts';
import { FLAG_A, FLAG_C, FLAG_O } from '../isa/table.ts';
import { CC_DEC, CC_INC } from '../state.ts';
import { type Lifter, RAX } from './lifter.ts';

/** dst = dst op src. */
function binary(l: Lifter, i32op: number, flags: (l: Lifter, bytes: number, a: number, b: number, r: number) => void) {
  const bytes = l.bytes(0);
  if (isIdiom(l, i32op)) {
    const result = i32op === op.I32_XOR || i32op === op.I32_SUB ? l.constant(bytes, 0) : l.get(0);
    l.set(0, result);
    l.flagsLogic(bytes, result);
    return;
  }
  const a = l.get(0, true);
  const b = l.get(1);
  const result = l.cut(bytes, l.arith(i32op, bytes, a, b));
  l.set(0, result);
  flags(l, bytes, a, b, result);
}

/** Do XOR, SUB, AND or OR combine a register with itself? The result is zero or that register, with flags as of logic. */
function isIdiom(l: Lifter, i32op: number): boolean {
  return i32op !== op.I32_ADD && l.isSameRegister();
}

const flagsAdd = (l: Lifter, bytes: number, a: number, b: number, r: number) => l.flagsAdd(bytes, a, b, r);
const flagsSub = (l: Lifter, bytes: number, a: number, b: number, r: number) => l.flagsSub(bytes, a, b, r);
const flagsLogic = (l: Lifter, bytes: number, _a: number, _b: number, r: number) => l.flagsLogic(bytes, r);

/** AF at its RFLAGS position: bit 4 of a ^ b ^ r. */
function auxiliary(l: Lifter, bytes: number, a: number, b: number, r: number): number {
  const { ir } = l;
  let x = l.arith(op.I32_XOR, bytes, l.arith(op.I32_XOR, bytes, a, b), r);
  if (bytes === 8) x = ir.op1(op.I32_WRAP_I64, x);
  return ir.op2(op.I32_AND, x, ir.i32(FLAG_A));
}

/** The sign bit (i32 0/1) of a value of `bytes`. */
export function signBit(l: Lifter, bytes: number, a: number): number {
  const { ir } = l;
  if (bytes === 8) return ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_SHR_U, a, ir.i64(63)));
  const bit = ir.op2(op.I32_SHR_U, a, ir.i32(bytes * 8 - 1));
  return bytes === 4 ? bit : ir.op2(op.I32_AND, bit, ir.i32(1));
}

/** `bit` (i32 0/1) moved to the RFLAGS position of `flag`. */
export function atFlag(l: Lifter, bit: number, flag: number): number {
  return l.ir.op2(op.I32_SHL, bit, l.ir.i32(31 - Math.clz32(flag)));
}

/** ADC and SBB: dst ± (src + CF). The carry-out vector gives CF; overflow comes from the signs. */
function withCarry(l: Lifter, subtract: boolean): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const carryIn = l.flags.condition(2);
  const carry = l.widen(bytes, carryIn);
  const a = l.get(0, true);
  const b = l.get(1);
  const i32op = subtract ? op.I32_SUB : op.I32_ADD;
  const result = l.cut(bytes, l.arith(i32op, bytes, l.arith(i32op, bytes, a, b), carry));
  // Carry out of each bit: ADD (a & b) | ((a | b) & ~r), SUB (~a & b) | ((~a | b) & r).
  const ones = l.constant(bytes, -1);
  const x = subtract ? l.arith(op.I32_XOR, bytes, a, ones) : a;
  const y = subtract ? result : l.arith(op.I32_XOR, bytes, result, ones);
  const both = l.arith(op.I32_AND, bytes, x, b);
  const either = l.arith(op.I32_AND, bytes, l.arith(op.I32_OR, bytes, x, b), y);
  const cf = signBit(l, bytes, l.arith(op.I32_OR, bytes, both, either));
  const ar = l.arith(op.I32_XOR, bytes, a, result);
  const other = l.arith(op.I32_XOR, bytes, subtract ? a : b, subtract ? b : result);
  const of = signBit(l, bytes, l.arith(op.I32_AND, bytes, ar, other));
  const bits = ir.op2(op.I32_OR, ir.op2(op.I32_OR, cf, atFlag(l, of, FLAG_O)), auxiliary(l, bytes, a, b, result));
  l.set(0, result);
  l.flagsResult(bytes, result, bits);
}

/** INC and DEC: as ADD and SUB of one, but CF stays. */
function step(l: Lifter, by: 1 | -1): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const a = l.get(0, true);
  const result = l.cut(bytes, l.arith(by === 1 ? op.I32_ADD : op.I32_SUB, bytes, a, l.constant(bytes, 1)));
  const carry = ir.op1(op.I64_EXTEND_I32_U, l.flags.read(FLAG_C));
  l.set(0, result);
  l.flags.write(by === 1 ? CC_INC : CC_DEC, l.signExtend(bytes, a), carry, l.signExtend(bytes, result));
}

function compare(l: Lifter): void {
  const bytes = l.bytes(0);
  const a = l.get(0);
  const b = l.get(1);
  l.flagsSub(bytes, a, b, l.cut(bytes, l.arith(op.I32_SUB, bytes, a, b)));
}

function negate(l: Lifter): void {
  const bytes = l.bytes(0);
  const a = l.get(0, true);
  const zero = l.constant(bytes, 0);
  const result = l.cut(bytes, l.arith(op.I32_SUB, bytes, zero, a));
  l.set(0, result);
  l.flagsSub(bytes, zero, a, result);
}

function exchangeAdd(l: Lifter): void {
  const bytes = l.bytes(0);
  const a = l.get(0, true);
  const b = l.get(1);
  const result = l.cut(bytes, l.arith(op.I32_ADD, bytes, a, b));
  // With both operands the same register the sum wins, so it is written last; memory is stored first.
  if (l.isMemory(0)) {
    l.set(0, result);
    l.set(1, a);
  } else {
    l.set(1, a);
    l.set(0, result);
  }
  l.flagsAdd(bytes, a, b, result);
}

function compareExchange(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const old = l.get(0, true);
  const accumulator = l.register(bytes, RAX);
  const source = l.get(1);
  const difference = l.cut(bytes, l.arith(op.I32_SUB, bytes, accumulator, old));
  const equal = l.isZero(bytes, difference);
  // Memory is written in either case, as the CPU does. A register destination that is unequal keeps its upper half.
  if (l.isMemory(0)) l.set(0, ir.select(equal, source, old));
  else if (bytes === 4) {
    const wide = l.gpr(8, l.slot(0));
    const taken = ir.op1(op.I64_EXTEND_I32_U, source);
    const before = l.register(8, RAX);
    const upper = ir.op1(op.I64_EXTEND_I32_U, old);
    l.setRegister(8, RAX, ir.select(equal, before, upper));
    l.setGpr(8, l.slot(0), ir.select(equal, taken, wide));
    l.flagsSub(bytes, accumulator, old, difference);
    return;
  } else {
    l.setRegister(bytes, RAX, ir.select(equal, accumulator, old));
    l.set(0, ir.select(equal, source, old));
    l.flagsSub(bytes, accumulator, old, difference);
    return;
  }
  if (bytes === 4) {
    const upper = ir.op1(op.I64_EXTEND_I32_U, old);
    l.setRegister(8, RAX, ir.select(equal, l.register(8, RAX), upper));
  } else l.setRegister(bytes, RAX, ir.select(equal, accumulator, old));
  l.flagsSub(bytes, accumulator, old, difference);
}

/** ADCX (carry) and ADOX (overflow): addition with one flag in and out. */
function addWithFlag(l: Lifter, flag: number, cc: number): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const carryIn = l.flags.condition(cc);
  const a = l.get(0);
  const b = l.get(1);
  const carry = l.widen(bytes, carryIn);
  const sum = l.arith(op.I32_ADD, bytes, a, b);
  const result = l.arith(op.I32_ADD, bytes, sum, carry);
  const lessThan = bytes === 8 ? op.I64_LT_U : op.I32_LT_U;
  const out = ir.op2(op.I32_OR, ir.op2(lessThan, sum, a), ir.op2(lessThan, result, sum));
  l.set(0, result);
  l.flags.merge(flag, atFlag(l, out, flag));
}

export const alu: Record<string, (l: Lifter) => void> = {
  ADD: (l) => binary(l, op.I32_ADD, flagsAdd),
  OR: (l) => binary(l, op.I32_OR, flagsLogic),
  ADC: (l) => withCarry(l, false),
  SBB: (l) => withCarry(l, true),
  AND: (l) => binary(l, op.I32_AND, flagsLogic),
  SUB: (l) => binary(l, op.I32_SUB, flagsSub),
  XOR: (l) => binary(l, op.I32_XOR, flagsLogic),
  CMP: compare,
  TEST: (l) => {
    const bytes = l.bytes(0);
    const a = l.get(0);
    l.flagsLogic(bytes, l.isSameRegister() ? a : l.arith(op.I32_AND, bytes, a, l.get(1)));
  },
  INC: (l) => step(l, 1),
  DEC: (l) => step(l, -1),
  NEG: negate,
  NOT: (l) => {
    const bytes = l.bytes(0);
    l.set(0, l.cut(bytes, l.arith(op.I32_XOR, bytes, l.get(0, true), l.constant(bytes, -1))));
  },
  XADD: exchangeAdd,
  CMPXCHG: compareExchange,
  ADCX: (l) => addWithFlag(l, FLAG_C, 2),
  ADOX: (l) => addWithFlag(l, FLAG_O, 0),
};
