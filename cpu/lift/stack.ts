/** Stack and control transfer within a segment: PUSH POP CALL RET LEAVE ENTER, JMP Jcc LOOP JCXZ, PUSHF POPF CLI STI. */
import { FLAGS_ALL } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { S_INTR_PENDING, S_RFLAGS, SEGMENT_SELECTOR, segmentOffset } from '../state.ts';
import { type Lifter, RBP, RCX } from './lifter.ts';
import { RFLAGS_IF, RFLAGS_TF } from './move.ts';

const SEGMENT_NAMES = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
/** RFLAGS.RF and RFLAGS.VM read as zero in a pushed image. */
const RFLAGS_RF_VM = 0x30000;
/** RFLAGS bits that POPF changes at CPL 0 besides the status flags: TF IF DF IOPL NT AC ID. */
const POPF_MASK = 0x247700;
/** Of these, the ones whose change must reach the run loop or the decoder. */
const POPF_SLOW = RFLAGS_TF | 0x40000;

/** Width of a stack operand of the instruction. */
function stackBytes(l: Lifter): number {
  return l.insn.operandSize;
}

function push(l: Lifter): void {
  const bytes = stackBytes(l);
  const { mode } = l.row.operands[0];
  const segment = SEGMENT_NAMES.indexOf(mode);
  if (segment >= 0) l.push(bytes, l.widen(bytes, l.field(segmentOffset(segment) + SEGMENT_SELECTOR, 2)));
  else if (mode === 'I') l.push(bytes, l.immediate(bytes));
  else l.push(bytes, l.get(0));
}

function pop(l: Lifter): void {
  const bytes = stackBytes(l);
  const value = l.load(bytes, l.stackAddress(0));
  const pointer = l.stackPointer(bytes);
  if (l.isMemory(0)) {
    l.store(bytes, l.address(), value);
    l.setStackPointer(pointer);
  } else {
    l.setStackPointer(pointer);
    l.set(0, value);
  }
}

/** A target that is not canonical raises #GP at the branch: its helper does that. */
export function checkCanonical(l: Lifter, target: number): void {
  if (!l.insn.mode64) return;
  const { ir } = l;
  const extended = ir.op2(op.I64_SHR_S, ir.op2(op.I64_SHL, target, ir.i64(16)), ir.i64(16));
  l.slowIf(ir.op2(op.I64_NE, extended, target));
}

/** Target of CALL or JMP in a register or memory. */
function indirectTarget(l: Lifter): number {
  const target = l.zeroExtend(l.insn.operandSize, l.get(0));
  checkCanonical(l, target);
  return target;
}

function call(l: Lifter): void {
  const bytes = l.insn.operandSize;
  const target = l.row.operands[0].mode === 'J' ? l.target() : indirectTarget(l);
  const next = l.nextRip();
  l.push(bytes, bytes === 8 ? next : l.cut(bytes, l.ir.op1(op.I32_WRAP_I64, next)));
  l.jump(target, op.HINT_CALL);
}

function ret(l: Lifter): void {
  const { ir } = l;
  const bytes = l.insn.operandSize;
  const target = l.zeroExtend(bytes, l.load(bytes, l.stackAddress(0)));
  checkCanonical(l, target);
  if (l.row.operands.length === 0) l.setStackPointer(l.stackPointer(bytes));
  else {
    const extra = l.immediate(2);
    if (l.insn.stackSize === 8) {
      const sum = ir.op2(op.I64_ADD, l.stackPointer(bytes), ir.op1(op.I64_EXTEND_I32_U, extra));
      l.setStackPointer(sum);
    } else {
      const sum = ir.op2(op.I32_ADD, ir.op1(op.I32_WRAP_I64, l.stackPointer(bytes)), extra);
      l.setStackPointer(ir.op1(op.I64_EXTEND_I32_U, l.cut(l.insn.stackSize, sum)));
    }
  }
  l.jump(target, op.HINT_RETURN);
}

function leave(l: Lifter): void {
  const { ir } = l;
  const bytes = stackBytes(l);
  const { stackSize } = l.insn;
  const frame = stackSize === 8 ? l.register(8, RBP) : ir.op1(op.I64_EXTEND_I32_U, l.register(stackSize, RBP));
  const value = l.load(bytes, l.inSegment(2, frame));
  let pointer = ir.op2(op.I64_ADD, frame, ir.i64(bytes));
  if (stackSize === 2) pointer = ir.op2(op.I64_AND, pointer, ir.i64(0xffff, 0));
  l.setStackPointer(pointer);
  l.setRegister(bytes, RBP, value);
}

function loop(l: Lifter): void {
  const { ir } = l;
  const bytes = l.insn.addressSize;
  const count = l.cut(bytes, l.arith(op.I32_SUB, bytes, l.register(bytes, RCX), l.constant(bytes, 1)));
  let taken = ir.op1(op.I32_EQZ, l.isZero(bytes, count));
  if (l.row.mnemonic === 'LOOPE') taken = ir.op2(op.I32_AND, taken, l.flags.condition(4));
  if (l.row.mnemonic === 'LOOPNE') taken = ir.op2(op.I32_AND, taken, l.flags.condition(5));
  const target = l.target();
  l.setRegister(bytes, RCX, count);
  l.ir.add(op.BRANCH, op.T_NONE, taken, target);
}

/** PUSHF: status flags and system flags together. */
function pushFlags(l: Lifter): void {
  const { ir } = l;
  const bytes = stackBytes(l);
  const system = ir.op2(op.I32_AND, l.field(S_RFLAGS, 4), ir.i32(~RFLAGS_RF_VM));
  const image = ir.op2(op.I32_OR, l.flags.read(FLAGS_ALL), system);
  l.push(bytes, bytes === 8 ? ir.op1(op.I64_EXTEND_I32_U, image) : l.cut(bytes, image));
}

/** POPF at CPL 0 (other levels: the helper, chosen when the block is decoded). */
function popFlags(l: Lifter): void {
  const { ir } = l;
  const bytes = stackBytes(l);
  const value = l.load(bytes, l.stackAddress(0));
  const image = bytes === 8 ? ir.op1(op.I32_WRAP_I64, value) : value;
  const old = l.field(S_RFLAGS, 4);
  const mask = bytes === 2 ? POPF_MASK & 0xffff : POPF_MASK;
  const changed = ir.op2(op.I32_AND, ir.op2(op.I32_XOR, old, image), ir.i32(POPF_SLOW & mask));
  l.slowIf(ir.op2(op.I32_OR, changed, l.field(S_INTR_PENDING, 4)));
  const kept = ir.op2(op.I32_AND, old, ir.i32(~(mask | 0x10000)));
  l.setField(S_RFLAGS, 4, ir.op2(op.I32_OR, kept, ir.op2(op.I32_AND, image, ir.i32(mask))));
  l.setStackPointer(l.stackPointer(bytes));
  l.flagsExplicit(ir.op2(op.I32_AND, image, ir.i32(FLAGS_ALL)));
}

const CONDITIONS = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE'];

export const stack: Record<string, (l: Lifter) => void> = {
  PUSH: push,
  POP: pop,
  CALL: call,
  RET: ret,
  LEAVE: leave,
  JMP: (l) => l.jump(l.row.operands[0].mode === 'J' ? l.target() : indirectTarget(l), op.HINT_JUMP),
  LOOP: loop,
  LOOPE: loop,
  LOOPNE: loop,
  JCXZ: (l) => l.branch(l.isZero(l.insn.addressSize, l.register(l.insn.addressSize, RCX))),
  PUSHF: pushFlags,
  POPF: popFlags,
  CLI: (l) => l.setField(S_RFLAGS, 4, l.ir.op2(op.I32_AND, l.field(S_RFLAGS, 4), l.ir.i32(~RFLAGS_IF))),
  STI: (l) => {
    l.slowIf(l.field(S_INTR_PENDING, 4));
    l.setField(S_RFLAGS, 4, l.ir.op2(op.I32_OR, l.field(S_RFLAGS, 4), l.ir.i32(RFLAGS_IF)));
  },
};
for (const name of CONDITIONS) stack[`J${name}`] = (l) => l.branch(l.flags.condition(l.row.opcode & 15));
