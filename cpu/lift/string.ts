/**
 * One step of the string instructions with 64-bit addresses: MOVS CMPS STOS LODS SCAS (SDM vol. 2). Repeated forms and
 * other address sizes are helpers (helpers/string.ts), which work on whole runs; regions do the short runs of REP MOVS
 * and REP STOS themselves.
 */
import { type Insn, SEG_ES } from '../decode/insn.ts';
import * as op from '../ir/ops.ts';
import { byteColumn } from '../isa/columns.ts';
import { S_RFLAGS } from '../state.ts';
import { type Lifter, RAX, RCX, RDI, RSI } from './lifter.ts';

const RFLAGS_DF = 0x400;

const hasBulkForm = byteColumn('string.hasBulkForm', (row) => row.mnemonic === 'MOVS' || row.mnemonic === 'STOS');

/** Is this a repeated instruction that a region can do by BULK_COPY or BULK_FILL? */
export function isBulk(insn: Insn): boolean {
  return insn.rep !== 0 && hasBulkForm[insn.row] === 1 && insn.addressSize === 8;
}

/** Ends a repeated instruction that has dealt with `length` bytes (i64) by `registers`. */
function finishBulk(l: Lifter, length: number, ...registers: number[]): void {
  for (const register of registers) advance(l, register, length);
  l.setRegister(8, RCX, l.ir.i64(0));
}

/** i64: length of a repeated instruction's run in bytes; leaves it to the helper if that is long or runs backwards. */
function bulkLength(l: Lifter, bytes: number): number {
  const { ir } = l;
  const count = l.register(8, RCX);
  const long = ir.op2(op.I64_GT_U, count, ir.i64(op.BULK_MOST / bytes));
  const backwards = ir.op2(op.I32_AND, l.field(S_RFLAGS, 4), ir.i32(RFLAGS_DF));
  l.slowIf(ir.op2(op.I32_OR, long, backwards));
  return ir.op2(op.I64_SHL, count, ir.i64(Math.log2(bytes)));
}

/** i64: +bytes or -bytes as RFLAGS.DF says. */
function increment(l: Lifter, bytes: number): number {
  const { ir } = l;
  // DF is bit 10: 0 or 1024, brought to 0 or 2 × bytes.
  const df = ir.op2(op.I32_AND, ir.op2(op.I32_SHR_U, l.field(S_RFLAGS, 4), ir.i32(10)), ir.i32(1));
  const twice = ir.op2(op.I32_SHL, df, ir.i32(Math.log2(bytes) + 1));
  return ir.op1(op.I64_EXTEND_I32_S, ir.op2(op.I32_SUB, ir.i32(bytes), twice));
}

function advance(l: Lifter, register: number, by: number): void {
  l.setRegister(8, register, l.ir.op2(op.I64_ADD, l.register(8, register), by));
}

const width = (l: Lifter): number => l.bytes(0) || l.insn.operandSize;
const source = (l: Lifter): number => l.inOperandSegment(l.register(8, RSI));
const destination = (l: Lifter): number => l.inSegment(SEG_ES, l.register(8, RDI));

export const strings: Record<string, (l: Lifter) => void> = {
  MOVS: (l) => {
    const bytes = width(l);
    if (isBulk(l.insn)) {
      const { ir } = l;
      const length = bulkLength(l, bytes);
      const from = source(l);
      const to = destination(l);
      // A run onto its own rear repeats what it has written.
      l.slowIf(ir.op2(op.I64_LT_U, ir.op2(op.I64_SUB, to, from), length));
      ir.add(op.BULK_COPY, op.T_NONE, to, from, length);
      finishBulk(l, length, RSI, RDI);
      return;
    }
    l.store(bytes, destination(l), l.load(bytes, source(l)));
    const by = increment(l, bytes);
    advance(l, RSI, by);
    advance(l, RDI, by);
  },
  STOS: (l) => {
    const bytes = width(l);
    if (isBulk(l.insn)) {
      const { ir } = l;
      const length = bulkLength(l, bytes);
      const first = l.register(1, RAX);
      if (bytes > 1) {
        const value = l.register(bytes, RAX);
        const repeated = ir.op2(op.I32_MUL, first, ir.i32(bytes === 2 ? 0x0101 : 0x01010101));
        const all = bytes === 8 ? ir.op2(op.I64_MUL, ir.op1(op.I64_EXTEND_I32_U, repeated), ir.i64(1, 1)) : repeated;
        l.slowIf(ir.op2(bytes === 8 ? op.I64_NE : op.I32_NE, value, all));
      }
      ir.add(op.BULK_FILL, op.T_NONE, destination(l), first, length);
      finishBulk(l, length, RDI);
      return;
    }
    l.store(bytes, destination(l), l.register(bytes, RAX));
    advance(l, RDI, increment(l, bytes));
  },
  LODS: (l) => {
    const bytes = width(l);
    const value = l.load(bytes, source(l));
    const by = increment(l, bytes);
    l.setRegister(bytes, RAX, value);
    advance(l, RSI, by);
  },
  CMPS: (l) => {
    const bytes = width(l);
    // Where both fault, the destination's counts.
    const b = l.load(bytes, destination(l));
    const a = l.load(bytes, source(l));
    const by = increment(l, bytes);
    advance(l, RSI, by);
    advance(l, RDI, by);
    l.flagsSub(bytes, a, b, l.cut(bytes, l.arith(op.I32_SUB, bytes, a, b)));
  },
  SCAS: (l) => {
    const bytes = width(l);
    const a = l.register(bytes, RAX);
    const b = l.load(bytes, destination(l));
    advance(l, RDI, increment(l, bytes));
    l.flagsSub(bytes, a, b, l.cut(bytes, l.arith(op.I32_SUB, bytes, a, b)));
  },
};
