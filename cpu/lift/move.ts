/** Data movement: MOV and its extending forms, LEA, XCHG, CMOVcc, SETcc, CBW/CWD, XLAT, LAHF/SAHF, flag setters. */

import { FLAGS_ALL } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { FLAG_C } from '../isa/table.ts';
import { gprOffset, S_RFLAGS, SEGMENT_SELECTOR } from '../state.ts';
import { type Lifter, RAX, RBX, RDX } from './lifter.ts';

/** RFLAGS bits outside the status flags. */
export const RFLAGS_TF = 1 << 8;
export const RFLAGS_IF = 1 << 9;
export const RFLAGS_DF = 1 << 10;

function exchange(l: Lifter): void {
  const a = l.get(0, true);
  const b = l.get(1);
  l.set(0, b);
  l.set(1, a);
}

function conditionalMove(l: Lifter): void {
  const { ir } = l;
  const bytes = l.bytes(0);
  const condition = l.flags.condition(l.row.opcode & 15);
  // The source is loaded whatever the condition; a 32-bit destination is always cleared above.
  const source = l.get(1);
  l.set(0, ir.select(condition, source, l.gpr(bytes, l.slot(0))));
}

/** CBW/CWDE/CDQE and CWD/CDQ/CQO. */
function signInto(l: Lifter, high: boolean): void {
  const { ir } = l;
  const bytes = l.insn.operandSize;
  if (high) {
    const a = l.register(bytes, RAX);
    const signed = bytes === 8 ? a : l.signExtend32(bytes, a);
    l.setRegister(
      bytes,
      RDX,
      l.cut(bytes, l.arith(op.I32_SHR_S, bytes, signed, l.constant(bytes, bytes === 8 ? 63 : 31))),
    );
    return;
  }
  const half = bytes / 2;
  const a = l.register(half, RAX);
  l.setRegister(bytes, RAX, bytes === 8 ? ir.op1(op.I64_EXTEND_I32_S, a) : l.cut(bytes, l.signExtend32(half, a)));
}

/** MOVSX, MOVSXD, MOVZX. */
function extend(l: Lifter, signed: boolean): void {
  const { ir } = l;
  const to = l.bytes(0);
  const from = Math.min(l.bytes(1), to);
  const memory = l.isMemory(1);
  const a = memory ? l.load(from, l.address()) : l.gpr(from, l.slot(1));
  if (!signed) l.set(0, to === 8 ? ir.op1(op.I64_EXTEND_I32_U, a) : a);
  else if (to === 8) l.set(0, l.signExtend(from, a));
  else l.set(0, l.cut(to, l.signExtend32(from, a)));
}

/** MOV from a segment register: 16 bits to memory, zero-extended to a register. */
function fromSegment(l: Lifter): void {
  const selector = l.field(l.slot(1), 2, SEGMENT_SELECTOR);
  if (l.isMemory(0)) l.store(2, l.address(), selector);
  else l.set(0, l.widen(l.bytes(0), selector));
}

export const moves: Record<string, (l: Lifter) => void> = {
  MOV: (l) => l.set(0, l.get(1)),
  MOVNTI: (l) => l.set(0, l.get(1)),
  MOVZX: (l) => extend(l, false),
  MOVSX: (l) => extend(l, true),
  MOVSXD: (l) => extend(l, true),
  MOV_FROM_SREG: fromSegment,
  LEA: (l) => {
    const bytes = l.bytes(0);
    const offset = l.offset();
    l.set(0, bytes === 8 ? offset : l.cut(bytes, l.ir.op1(op.I32_WRAP_I64, offset)));
  },
  XCHG: exchange,
  CBW: (l) => signInto(l, false),
  CWD: (l) => signInto(l, true),
  XLAT: (l) => {
    const { ir } = l;
    const al = ir.op1(op.I64_EXTEND_I32_U, l.register(1, RAX));
    const offset = l.cutAddress(ir.op2(op.I64_ADD, l.register(8, RBX), al));
    l.setRegister(1, RAX, l.load(1, l.inOperandSegment(offset)));
  },
  LAHF: (l) => {
    const status = l.flags.read(FLAGS_ALL & 0xff);
    l.setGpr(1, gprOffset(RAX) + 1, l.ir.op2(op.I32_OR, status, l.ir.i32(2)));
  },
  SAHF: (l) => l.flags.merge(FLAGS_ALL & 0xff, l.ir.op2(op.I32_AND, l.gpr(1, gprOffset(RAX) + 1), l.ir.i32(0xd5))),
  SALC: (l) =>
    l.setRegister(
      1,
      RAX,
      l.ir.op2(op.I32_AND, l.ir.op2(op.I32_SUB, l.ir.i32(0), l.flags.condition(2)), l.ir.i32(0xff)),
    ),
  CLC: (l) => l.flags.merge(FLAG_C, l.ir.i32(0)),
  STC: (l) => l.flags.merge(FLAG_C, l.ir.i32(FLAG_C)),
  CMC: (l) => l.flags.merge(FLAG_C, l.ir.op2(op.I32_XOR, l.flags.read(FLAG_C), l.ir.i32(FLAG_C))),
  CLD: (l) => l.setField(S_RFLAGS, 4, l.ir.op2(op.I32_AND, l.field(S_RFLAGS, 4), l.ir.i32(~RFLAGS_DF))),
  STD: (l) => l.setField(S_RFLAGS, 4, l.ir.op2(op.I32_OR, l.field(S_RFLAGS, 4), l.ir.i32(RFLAGS_DF))),
  NOP: () => {},
  PAUSE: () => {},
  LFENCE: () => {},
  MFENCE: () => {},
  SFENCE: () => {},
};

const CONDITIONS = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE'];
for (const name of CONDITIONS) {
  moves[`CMOV${name}`] = conditionalMove;
  moves[`SET${name}`] = (l) => l.set(0, l.flags.condition(l.row.opcode & 15));
}
