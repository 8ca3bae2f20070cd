/**
 * One step of the string instructions with 64-bit addresses: MOVS CMPS STOS LODS SCAS (SDM vol. 2). Repeated forms and
 * other address sizes are helpers (helpers/string.ts), which work on whole runs.
 */
import { SEG_ES } from '../decode/insn.ts';
import * as op from '../ir/ops.ts';
import { S_RFLAGS } from '../state.ts';
import { type Lifter, RAX, RDI, RSI } from './lifter.ts';

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
    l.store(bytes, destination(l), l.load(bytes, source(l)));
    const by = increment(l, bytes);
    advance(l, RSI, by);
    advance(l, RDI, by);
  },
  STOS: (l) => {
    const bytes = width(l);
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
