/**
 * SYSCALL and SYSRET between 64-bit rings (SDM vol. 2B): plain writes of the state. Whatever else they may meet is left to
 * their helpers (helpers/syscall.ts), partly by system/legality.ts when they are decoded: another code size, single steps.
 */
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import { FLAGS_ALL } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { MODE_CPL_SHIFT, MODE_IOPL } from '../mode.ts';
import {
  S_EFER,
  S_INTR_PENDING,
  S_LSTAR,
  S_MODE,
  S_RFLAGS,
  S_SFMASK,
  S_STAR,
  S_TLB_BASE,
  S_TLB_STRICT,
  S_TLB_SUPERVISOR,
  S_TLB_USER,
  SEGMENT_BASE,
  SEGMENT_CHECKED,
  SEGMENT_LIMIT,
  SEGMENT_SELECTOR,
  segmentOffset,
} from '../state.ts';
import { type Lifter, RCX } from './lifter.ts';
import { RFLAGS_TF } from './move.ts';
import { checkCanonical } from './stack.ts';

const R11 = 11;
const EFER_SCE = 1 << 0;
const RFLAGS_IOPL = 3 << 12;
const RFLAGS_RF = 1 << 16;
const RFLAGS_AC = 1 << 18;
/** What SYSRET takes of R11. */
const SYSRET_FLAGS = 0x3c7fd7;
const MODE_CPL = 3 << MODE_CPL_SHIFT;

/** Attributes of flat segments at DPL 0: 64-bit code, data; and DPL 3. */
const FLAT_CODE = 0x00a09b00;
const FLAT_DATA = 0x00c09300;
const DPL_3 = 3 << 13;

/** Fills a segment register with a flat segment; `selector`: i32. */
function setFlat(l: Lifter, n: number, selector: number, cpl: number, attributes: number): void {
  const { ir } = l;
  const at = segmentOffset(n);
  l.setField(at + SEGMENT_BASE, 8, ir.i64(0));
  // The attributes stand behind the limit.
  l.setField(at + SEGMENT_LIMIT, 8, ir.i64(-1, attributes | (cpl === 3 ? DPL_3 : 0)));
  const bits = ir.op2(op.I32_AND, selector, ir.i32(0xfffc));
  l.setField(at + SEGMENT_SELECTOR, 2, ir.op2(op.I32_OR, bits, ir.i32(cpl)));
  l.setField(at + SEGMENT_CHECKED, 4, ir.i32(0));
}

/** CS and SS: `distance` and 8 from the selector in STAR. */
function setSegments(l: Lifter, selector: number, distance: number, cpl: number): void {
  setFlat(l, SEG_CS, l.ir.op2(op.I32_ADD, selector, l.ir.i32(distance)), cpl, FLAT_CODE);
  setFlat(l, SEG_SS, l.ir.op2(op.I32_ADD, selector, l.ir.i32(8)), cpl, FLAT_DATA);
}

/** Sets all RFLAGS; `image`: i32. */
function setFlags(l: Lifter, image: number): void {
  const { ir } = l;
  const system = ir.op2(op.I32_AND, image, ir.i32(~FLAGS_ALL));
  l.setField(S_RFLAGS, 4, ir.op2(op.I32_OR, system, ir.i32(2)));
  l.flagsExplicit(ir.op2(op.I32_AND, image, ir.i32(FLAGS_ALL)));
}

function requireSyscall(l: Lifter): void {
  const { ir } = l;
  l.slowIf(ir.op1(op.I32_EQZ, ir.op2(op.I32_AND, l.field(S_EFER, 4), ir.i32(EFER_SCE))));
}

function syscall(l: Lifter): void {
  const { ir } = l;
  requireSyscall(l);
  // Operands are to be aligned in ring 3.
  l.slowIf(ir.op2(op.I32_EQ, l.field(S_TLB_BASE, 4), ir.i32(S_TLB_STRICT)));
  const target = l.field(S_LSTAR, 8);
  const selector = l.field(S_STAR, 4, 4);
  const system = ir.op2(op.I32_AND, l.field(S_RFLAGS, 4), ir.i32(~RFLAGS_RF));
  const image = ir.op2(op.I32_OR, l.flags.read(FLAGS_ALL), system);
  const kept = ir.op2(op.I32_AND, image, ir.op2(op.I32_XOR, l.field(S_SFMASK, 4), ir.i32(-1)));
  const mode = ir.op2(op.I32_AND, l.field(S_MODE, 4), ir.i32(~MODE_CPL));
  l.setRegister(8, RCX, l.nextRip());
  l.setRegister(8, R11, ir.op1(op.I64_EXTEND_I32_U, image));
  l.setField(S_MODE, 4, ir.op2(op.I32_OR, mode, ir.i32(MODE_IOPL)));
  l.setField(S_TLB_BASE, 4, ir.i32(S_TLB_SUPERVISOR));
  setSegments(l, selector, 0, 0);
  setFlags(l, kept);
  l.jump(target, op.HINT_JUMP);
}

function sysret(l: Lifter): void {
  const { ir } = l;
  requireSyscall(l);
  l.slowIf(l.field(S_INTR_PENDING, 4));
  const r11 = ir.op1(op.I32_WRAP_I64, l.register(8, R11));
  l.slowIf(ir.op2(op.I32_AND, r11, ir.i32(RFLAGS_TF | RFLAGS_AC)));
  const target = l.register(8, RCX);
  checkCanonical(l, target);
  const selector = ir.op2(op.I32_SHR_U, l.field(S_STAR, 4, 4), ir.i32(16));
  const image = ir.op2(op.I32_AND, r11, ir.i32(SYSRET_FLAGS));
  const mode = ir.op2(op.I32_AND, l.field(S_MODE, 4), ir.i32(~MODE_IOPL));
  const isAllowed = ir.op2(op.I32_EQ, ir.op2(op.I32_AND, image, ir.i32(RFLAGS_IOPL)), ir.i32(RFLAGS_IOPL));
  const iopl = ir.op2(op.I32_SHL, isAllowed, ir.i32(Math.log2(MODE_IOPL)));
  l.setField(S_MODE, 4, ir.op2(op.I32_OR, mode, ir.op2(op.I32_OR, iopl, ir.i32(MODE_CPL))));
  l.setField(S_TLB_BASE, 4, ir.i32(S_TLB_USER));
  setSegments(l, selector, 16, 3);
  setFlags(l, image);
  l.jump(target, op.HINT_JUMP);
}

export const syscalls: Record<string, (l: Lifter) => void> = { SYSCALL: syscall, SYSRET: sysret };
