/**
 * Status flags in the IR. Instructions define flags far more often than they read them, so a definition is only noted
 * (FLAGS_WRITE: kind and operands; FLAGS_MERGE: some flags as bits) and whoever reads a flag builds just the expression
 * it needs: from the definition when that stands in the same block, else from the lazy flags in the state.
 */

import { FLAG_A, FLAG_C, FLAG_O, FLAG_P, FLAG_S, FLAG_Z } from '../isa/table.ts';
import { CC_ADD, CC_DEC, CC_EXPLICIT, CC_INC, CC_LOGIC, CC_RESULT, CC_SUB } from '../state.ts';
import type { IrBuffer } from './builder.ts';
import * as op from './ops.ts';

export const FLAGS_ALL = FLAG_C | FLAG_P | FLAG_A | FLAG_Z | FLAG_S | FLAG_O;
/** The flags one by one, in the order of FlagTracker's sources. */
const EACH = [FLAG_C, FLAG_P, FLAG_A, FLAG_Z, FLAG_S, FLAG_O];
const POSITION = [0, 2, 4, 6, 7, 11];
const C = 0;
const P = 1;
const A = 2;
const Z = 3;
const S = 4;
const O = 5;

/** Flags that condition `cc >> 1` tests. */
const CONDITION_FLAGS = [
  FLAG_O,
  FLAG_C,
  FLAG_Z,
  FLAG_C | FLAG_Z,
  FLAG_S,
  FLAG_P,
  FLAG_S | FLAG_O,
  FLAG_Z | FLAG_S | FLAG_O,
];

export class FlagTracker {
  private readonly ir: IrBuffer;
  private readonly complete: boolean;
  /** For each flag the FLAGS_WRITE or FLAGS_MERGE that defines it; 0: unknown, it stands in the state. */
  readonly source = new Int32Array(6);

  /** @param complete put a FLAGS_WRITE of all six flags beside each FLAGS_MERGE (for whoever emits only those). */
  constructor(ir: IrBuffer, complete = false) {
    this.ir = ir;
    this.complete = complete;
  }

  /** Forgets all definitions (at the start of a block, and after a helper ran). */
  reset(): void {
    this.source.fill(0);
  }

  write(kind: number, a: number, b: number, result: number): void {
    const n = this.ir.add(op.FLAGS_WRITE, op.T_NONE, a, b, result, kind);
    this.source.fill(n);
  }

  /** The flags of `mask` become those bits of `bits` (i32); the others stay. */
  merge(mask: number, bits: number): void {
    if (this.complete) {
      const all = this.ir.op2(op.I32_OR, this.read(FLAGS_ALL & ~mask), bits);
      this.ir.add(op.FLAGS_WRITE, op.T_NONE, 0, this.ir.op1(op.I64_EXTEND_I32_U, all), 0, CC_EXPLICIT);
    }
    const n = this.ir.add(op.FLAGS_MERGE, op.T_NONE, bits, 0, 0, mask);
    for (let i = 0; i < 6; i++) if (mask & EACH[i]) this.source[i] = n;
  }

  /** i32: the flags of `mask` at their RFLAGS positions. */
  read(mask: number): number {
    const { ir } = this;
    let unknown = 0;
    for (let i = 0; i < 6; i++) if (mask & EACH[i] && this.source[i] === 0) unknown |= EACH[i];
    let bits = unknown !== 0 ? ir.add(op.FLAGS_READ, op.T_I32, 0, 0, 0, unknown) : 0;
    // Flags that one definition gives as bits are taken together.
    for (let i = 0; i < 6; i++) {
      const n = this.source[i];
      if (!(mask & EACH[i]) || n === 0) continue;
      let part: number;
      const merged = ir.op[n] === op.FLAGS_MERGE;
      if (merged || ir.imm[n] === CC_EXPLICIT) {
        let together = 0;
        for (let k = i; k < 6; k++) if (this.source[k] === n && mask & EACH[k]) together |= EACH[k];
        part = ir.op2(op.I32_AND, merged ? ir.a[n] : ir.op1(op.I32_WRAP_I64, ir.b[n]), ir.i32(together));
        mask &= ~together;
      } else part = ir.op2(op.I32_SHL, this.bit(i), ir.i32(POSITION[i]));
      bits = bits === 0 ? part : ir.op2(op.I32_OR, bits, part);
    }
    return bits === 0 ? ir.i32(0) : bits;
  }

  /** i32 0/1: condition `cc` (0…15 in the order of Jcc). */
  condition(cc: number): number {
    const { ir } = this;
    const needed = CONDITION_FLAGS[cc >> 1];
    let source = -1;
    for (let i = 0; i < 6; i++) {
      if (!(needed & EACH[i])) continue;
      if (source === -1) source = this.source[i];
      else if (source !== this.source[i]) source = -2;
    }
    if (source === 0) return ir.add(op.FLAGS_CONDITION, op.T_I32, 0, 0, 0, cc);
    let value: number;
    if (source > 0 && ir.op[source] === op.FLAGS_WRITE) value = this.known(source, cc >> 1);
    else value = this.combine(cc >> 1);
    return cc & 1 ? ir.op1(op.I32_EQZ, value) : value;
  }

  /** Condition from one definition, as directly as its kind allows. */
  private known(n: number, test: number): number {
    const { ir } = this;
    const kind = ir.imm[n];
    if (kind === CC_SUB) {
      const a = ir.a[n];
      const b = ir.b[n];
      if (test === 1) return this.compare(op.I64_LT_U, a, b);
      if (test === 2) return this.compare(op.I64_EQ, a, b);
      if (test === 3) return this.compare(op.I64_LE_U, a, b);
      if (test === 6) return this.compare(op.I64_LT_S, a, b);
      if (test === 7) return this.compare(op.I64_LE_S, a, b);
    } else if (kind === CC_LOGIC) {
      const zero = ir.i64(0);
      if (test === 3) return this.bit(Z);
      if (test === 6) return this.compare(op.I64_LT_S, ir.c[n], zero);
      if (test === 7) return this.compare(op.I64_LE_S, ir.c[n], zero);
    }
    return this.combine(test);
  }

  private combine(test: number): number {
    const { ir } = this;
    switch (test) {
      case 0:
        return this.bit(O);
      case 1:
        return this.bit(C);
      case 2:
        return this.bit(Z);
      case 3:
        return ir.op2(op.I32_OR, this.bit(C), this.bit(Z));
      case 4:
        return this.bit(S);
      case 5:
        return this.bit(P);
      case 6:
        return ir.op2(op.I32_XOR, this.bit(S), this.bit(O));
      default:
        return ir.op2(op.I32_OR, this.bit(Z), ir.op2(op.I32_XOR, this.bit(S), this.bit(O)));
    }
  }

  /** i32 0/1: flag number `i`. */
  private bit(i: number): number {
    const { ir } = this;
    const n = this.source[i];
    if (n === 0) return this.pick(ir.add(op.FLAGS_READ, op.T_I32, 0, 0, 0, EACH[i]), i);
    if (ir.op[n] === op.FLAGS_MERGE) return this.pick(ir.a[n], i);
    return flagOf(ir, ir.imm[n], ir.a[n], ir.b[n], ir.c[n], i);
  }

  private pick(bits: number, i: number): number {
    return pickBit(this.ir, bits, i);
  }

  /** A comparison of sign-extended values: of the i32 values underneath when both are. */
  private compare(i64op: number, a: number, b: number): number {
    return compareNarrow(this.ir, i64op, a, b);
  }
}

function pickBit(ir: IrBuffer, bits: number, i: number): number {
  return ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, bits, ir.i32(POSITION[i])), ir.i32(1));
}

/** An i64 comparison (I64_EQ …), done on the i32 values underneath when both sides are sign-extended i32 values. */
function compareNarrow(ir: IrBuffer, i64op: number, a: number, b: number): number {
  if (ir.op[a] === op.I64_EXTEND_I32_S) {
    if (ir.op[b] === op.I64_EXTEND_I32_S) return compareExtended(ir, i64op - (op.I64_EQ - op.I32_EQ), ir.a[a], ir.a[b]);
    if (ir.isConst(b) && ir.imm2[b] === ir.imm[b] >> 31)
      return compareExtended(ir, i64op - (op.I64_EQ - op.I32_EQ), ir.a[a], ir.i32(ir.imm[b]));
  }
  return ir.op2(i64op, a, b);
}

/** An i32 comparison, done without the sign extension of bytes or words where the order is the same without. */
function compareExtended(ir: IrBuffer, i32op: number, a: number, b: number): number {
  const mask = extendedFrom(ir, a);
  const hasOrder = i32op === op.I32_EQ || i32op === op.I32_LT_U || i32op === op.I32_LE_U;
  if (mask !== 0 && hasOrder && isBelow(ir, ir.a[a], mask)) {
    if (ir.isConst(b) && isExtended(ir.imm[b], mask)) return ir.op2(i32op, ir.a[a], ir.i32(ir.imm[b] & mask));
    if (ir.op[b] === ir.op[a] && isBelow(ir, ir.a[b], mask)) return ir.op2(i32op, ir.a[a], ir.a[b]);
  }
  return ir.op2(i32op, a, b);
}

/** Is a number the sign extension of a byte or word? */
function isExtended(value: number, mask: number): boolean {
  const shift = mask === 0xff ? 24 : 16;
  return (value << shift) >> shift === value;
}

function isZero(ir: IrBuffer, n: number): number {
  const mask = extendedFrom(ir, n);
  return ir.op1(op.I32_EQZ, mask !== 0 && isBelow(ir, ir.a[n], mask) ? ir.a[n] : n);
}

/** All bits of what an i32 is the sign extension of; 0: of nothing. */
function extendedFrom(ir: IrBuffer, n: number): number {
  return ir.op[n] === op.I32_EXTEND8_S ? 0xff : ir.op[n] === op.I32_EXTEND16_S ? 0xffff : 0;
}

/** Does an i32 surely have no bits above those of `mask`? */
function isBelow(ir: IrBuffer, n: number, mask: number): boolean {
  const bytes = mask === 0xff ? 1 : 2;
  switch (ir.op[n]) {
    case op.LOAD:
    case op.GPR_READ:
      return ir.imm2[n] <= bytes;
    case op.I32_AND:
      return ir.isConst(ir.b[n]) && (ir.imm[ir.b[n]] & ~mask) === 0;
    default:
      return false;
  }
}

/** i32 0/1: flag number `i` (order of EACH) of lazy flags of a known kind with operands a, b, result (i64 nodes). */
export function flagOf(ir: IrBuffer, kind: number, a: number, b: number, result: number, i: number): number {
  const step = kind === CC_INC || kind === CC_DEC;
  if (kind === CC_EXPLICIT || (kind === CC_RESULT && (i === C || i === A || i === O)) || (step && i === C))
    return pickBit(ir, ir.op1(op.I32_WRAP_I64, b), i);
  switch (i) {
    case Z:
      if (ir.op[result] === op.I64_EXTEND_I32_S) return isZero(ir, ir.a[result]);
      return ir.op1(op.I64_EQZ, result);
    case S:
      return compareNarrow(ir, op.I64_LT_S, result, ir.i64(0));
    case P: {
      const low = ir.op2(op.I32_AND, ir.op1(op.I32_WRAP_I64, result), ir.i32(0xff));
      return ir.op2(op.I32_AND, ir.op2(op.I32_XOR, ir.add(op.I32_POPCNT, op.T_I32, low), ir.i32(1)), ir.i32(1));
    }
    case C:
      if (kind === CC_ADD) return compareNarrow(ir, op.I64_LT_U, result, a);
      if (kind === CC_SUB) return compareNarrow(ir, op.I64_LT_U, a, b);
      return ir.i32(0);
    case A: {
      if (kind === CC_LOGIC) return ir.i32(0);
      const x = ir.op1(op.I32_WRAP_I64, ir.op2(op.I64_XOR, ir.op2(op.I64_XOR, a, step ? ir.i64(1) : b), result));
      return ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, x, ir.i32(4)), ir.i32(1));
    }
    default: {
      if (kind === CC_LOGIC) return ir.i32(0);
      if (step) {
        // The sign changes the one way that a step without overflow cannot change it.
        const [was, is] = kind === CC_INC ? [result, a] : [a, result];
        return ir.op2(op.I64_LT_S, ir.op2(op.I64_AND, was, ir.op2(op.I64_XOR, is, ir.i64(-1))), ir.i64(0));
      }
      // Overflow: the operands' signs say what the result's sign must be.
      const ar = ir.op2(op.I64_XOR, a, result);
      const other = kind === CC_ADD ? ir.op2(op.I64_XOR, b, result) : ir.op2(op.I64_XOR, a, b);
      return ir.op2(op.I64_LT_S, ir.op2(op.I64_AND, ar, other), ir.i64(0));
    }
  }
}

/** i32: the flags of `mask` of lazy flags of a known kind, at their RFLAGS positions. */
export function flagBits(ir: IrBuffer, kind: number, a: number, b: number, result: number, mask: number): number {
  let bits = 0;
  for (let i = 0; i < 6; i++) {
    if (!(mask & EACH[i])) continue;
    const bit = ir.op2(op.I32_SHL, flagOf(ir, kind, a, b, result, i), ir.i32(POSITION[i]));
    bits = bits === 0 ? bit : ir.op2(op.I32_OR, bits, bit);
  }
  return bits === 0 ? ir.i32(0) : bits;
}
