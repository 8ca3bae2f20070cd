/**
 * What the definitions of instructions (the other files of this folder) are written with: operands, addresses, flags and
 * stack of the instruction at hand, as IR.
 *
 * The same definition serves two purposes. *Static* (regions): operands are those of a decoded instruction, registers
 * and immediates are constants of the IR. *Dynamic* (the interpreter's handlers): the instruction is only a shape;
 * registers, immediates and displacements are read from the operation record at run time.
 *
 * Rules for a definition: all loads and stores come before the first write of a register or of flags, and SLOW_IF comes
 * before all of these, so that a fault or a side exit leaves the state as it was before the instruction.
 */
import { type Insn, NO_REGISTER, SEG_FS, SEG_SS } from '../decode/insn.ts';
import { IrBuffer } from '../ir/builder.ts';
import { FlagTracker } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { type OpcodeRow, rowAt } from '../isa/table.ts';
import * as record from '../record.ts';
import {
  CC_ADD,
  CC_EXPLICIT,
  CC_LOGIC,
  CC_RESULT,
  CC_SUB,
  gprOffset,
  S_X87,
  S_XMM,
  SEGMENT_BASE,
  segmentOffset,
} from '../state.ts';

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** Bytes of a fixed operand type; `v z y` depend on the instruction. */
const TYPE_BYTES: Record<string, number> = {
  b: 1,
  bs: 0,
  w: 2,
  d: 4,
  q: 8,
  dq: 16,
  ps: 16,
  pd: 16,
  ss: 4,
  sd: 8,
  '16': 2,
  '32': 4,
  '64': 8,
  '80': 10,
  RdMb: 1,
  RdMw: 2,
};

/** Bytes of operand `k` of `insn`; 0 when the notion makes no sense for it. */
export function operandBytes(row: OpcodeRow, k: number, insn: Insn): number {
  const { mode, type } = row.operands[k];
  switch (mode) {
    case 'AL':
    case 'CL':
      return 1;
    case 'AX':
    case 'DX':
      return 2;
    case 'rAX':
      return insn.operandSize;
    case 'rAXz':
      return Math.min(insn.operandSize, 4);
    case '1':
      return 1;
    case 'J':
      return 8;
  }
  switch (type) {
    case 'v':
    case 'bs':
      return insn.operandSize;
    case 'z':
      // Immediates of `z` type are sign-extended to the operand size.
      return mode === 'I' ? insn.operandSize : Math.min(insn.operandSize, 4);
    case 'y':
      return insn.rexW || (insn.mode64 && (mode === 'R' || mode === 'C' || mode === 'D'))
        ? row.map === 1 && (row.opcode & 0xfc) === 0x20
          ? 8
          : insn.rexW
            ? 8
            : 4
        : 4;
    case 'RdMb':
    case 'RdMw':
      return insn.mod === 3 ? 4 : TYPE_BYTES[type];
    default:
      return TYPE_BYTES[type] ?? 0;
  }
}

export class Lifter {
  readonly ir = new IrBuffer();
  readonly flags: FlagTracker;
  /** Are operands read from the operation record at run time? */
  readonly dynamic: boolean;
  insn!: Insn;
  row!: OpcodeRow;
  /** Address of the next instruction (static mode), low and high half. */
  nextLow = 0;
  nextHigh = 0;
  private addressNode = 0;

  constructor(dynamic: boolean) {
    this.dynamic = dynamic;
    this.flags = new FlagTracker(this.ir, !dynamic);
  }

  /** Starts an instruction; in static mode `nextLow/High` is the address behind it. */
  begin(insn: Insn, nextLow: number, nextHigh: number): void {
    this.insn = insn;
    this.row = rowAt(insn.row);
    this.nextLow = nextLow;
    this.nextHigh = nextHigh;
    this.addressNode = 0;
  }

  // --- operands ---------------------------------------------------------------------------------------------------

  /** Width of operand `k` in bytes. */
  bytes(k: number): number {
    return operandBytes(this.row, k, this.insn);
  }

  isMemory(k: number): boolean {
    const mode = this.row.operands[k].mode;
    return mode === 'M' || mode === 'O' || ((mode === 'E' || mode === 'W' || mode === 'Q') && this.insn.mod !== 3);
  }

  /** Are the first two operands known to be the same register? */
  isSameRegister(): boolean {
    const [{ mode: first }, { mode: second }] = this.row.operands;
    if (this.dynamic || !'EG'.includes(first) || !'EG'.includes(second)) return false;
    return !this.isMemory(0) && !this.isMemory(1) && this.slot(0) === this.slot(1);
  }

  /** Value of operand `k`: i32 (zero-extended) up to 4 bytes, i64 for 8. `forWrite`: it will also be stored. */
  get(k: number, forWrite = false): number {
    const bytes = this.bytes(k);
    const { mode } = this.row.operands[k];
    if (mode === 'I') return this.immediate(bytes);
    if (mode === '1') return this.ir.i32(1);
    if (this.isMemory(k)) return this.load(bytes, this.address(), forWrite);
    return this.gpr(bytes, this.slot(k));
  }

  /** Stores `value` to operand `k`. */
  set(k: number, value: number): void {
    const bytes = this.bytes(k);
    if (this.isMemory(k)) this.store(bytes, this.address(), value);
    else this.setGpr(bytes, this.slot(k), value);
  }

  /** The first immediate, `bytes` wide. */
  immediate(bytes: number): number {
    const { ir, insn } = this;
    if (this.dynamic) {
      if (bytes === 8) return ir.add(op.RECORD_READ, op.T_I64, 0, 0, 0, record.R_IMM, 8);
      return ir.add(op.RECORD_READ, op.T_I32, 0, 0, 0, record.R_IMM, bytes);
    }
    if (bytes === 8) return ir.i64(insn.immLow, insn.immHigh);
    return ir.i32(bytes === 4 ? insn.immLow : insn.immLow & (bytes === 1 ? 0xff : 0xffff));
  }

  /** Register operand `k` as a slot of GPR_READ and XMM_READ. */
  slot(k: number): number {
    const { mode } = this.row.operands[k];
    switch (mode) {
      case 'AL':
      case 'AX':
      case 'rAX':
      case 'rAXz':
        return gprOffset(RAX);
      case 'CL':
        return gprOffset(RCX);
      case 'DX':
        return gprOffset(RDX);
    }
    if (this.dynamic)
      return op.SLOT_RECORD + (mode === 'B' ? record.R_AUX : isRegField(mode) ? record.R_REG : record.R_RM);
    const { insn } = this;
    const n = mode === 'B' ? insn.vvvv : isRegField(mode) ? insn.reg : insn.rm;
    return registerOffset(registerFile(mode), n, this.bytes(k) === 1 && !insn.hasRex);
  }

  // --- registers --------------------------------------------------------------------------------------------------

  gpr(bytes: number, slot: number): number {
    return this.ir.add(op.GPR_READ, bytes === 8 ? op.T_I64 : op.T_I32, 0, 0, 0, slot, bytes);
  }

  setGpr(bytes: number, slot: number, value: number): void {
    this.ir.add(op.GPR_WRITE, op.T_NONE, value, 0, 0, slot, bytes);
  }

  /** General register number `n` (RAX …). */
  register(bytes: number, n: number): number {
    return this.gpr(bytes, gprOffset(n));
  }

  setRegister(bytes: number, n: number, value: number): void {
    this.setGpr(bytes, gprOffset(n), value);
  }

  /** A field of the state block, `bytes` wide, `within` a structure at `slot`; i64 when 8. */
  field(slot: number, bytes: number, within = 0): number {
    return this.ir.add(op.FIELD_READ, bytes === 8 ? op.T_I64 : op.T_I32, 0, 0, 0, slot, bytes | (within << 8));
  }

  setField(offset: number, bytes: number, value: number): void {
    this.ir.add(op.FIELD_WRITE, op.T_NONE, value, 0, 0, offset, bytes);
  }

  // --- memory -----------------------------------------------------------------------------------------------------

  /** Linear address of the memory operand (i64). */
  address(): number {
    if (this.addressNode === 0) this.addressNode = this.inOperandSegment(this.offset());
    return this.addressNode;
  }

  /** Effective address (offset in the segment) of the memory operand, i64. */
  offset(): number {
    const { ir, insn } = this;
    if (this.dynamic) {
      const base = this.gpr(8, op.SLOT_RECORD + record.R_BASE);
      const index = this.gpr(8, op.SLOT_RECORD + record.R_INDEX);
      const scale = ir.op1(op.I64_EXTEND_I32_U, ir.add(op.RECORD_READ, op.T_I32, 0, 0, 0, record.R_SCALE, 1));
      const disp = ir.add(op.RECORD_READ, op.T_I64, 0, 0, 0, record.R_DISP, 8);
      return ir.op2(op.I64_ADD, ir.op2(op.I64_ADD, base, disp), ir.op2(op.I64_SHL, index, scale));
    }
    let sum = 0;
    if (insn.base !== NO_REGISTER) sum = this.register(8, insn.base);
    if (insn.index !== NO_REGISTER) {
      let index = this.register(8, insn.index);
      if (insn.scale !== 0) index = ir.op2(op.I64_SHL, index, ir.i64(insn.scale, 0));
      sum = sum === 0 ? index : ir.op2(op.I64_ADD, sum, index);
    }
    let disp = ir.i64(insn.dispLow, insn.dispHigh);
    if (insn.ripRelative) disp = ir.op2(op.I64_ADD, ir.i64(this.nextLow, this.nextHigh), disp);
    return this.cutAddress(sum === 0 ? disp : ir.op2(op.I64_ADD, sum, disp));
  }

  /** Cuts an offset (i64) to the instruction's address size. */
  cutAddress(offset: number): number {
    const { ir, insn } = this;
    if (insn.addressSize === 8) return offset;
    return ir.op2(op.I64_AND, offset, ir.i64(insn.addressSize === 4 ? -1 : 0xffff, 0));
  }

  /** `offset` in the segment of the memory operand as a linear address. */
  inOperandSegment(offset: number): number {
    const { ir, insn } = this;
    if (this.dynamic) {
      const base = this.gpr(8, op.SLOT_RECORD + record.R_SEGMENT);
      return ir.op2(op.I64_ADD, offset, base);
    }
    return this.inSegment(insn.segment, offset);
  }

  /** `offset` in segment `n` as a linear address (static mode, and fixed segments in both). */
  inSegment(n: number, offset: number): number {
    const { ir, insn } = this;
    if (insn.mode64) {
      if (n < SEG_FS) return offset;
      return ir.op2(op.I64_ADD, offset, this.field(segmentOffset(n) + SEGMENT_BASE, 8));
    }
    const linear = ir.op2(op.I64_ADD, offset, this.field(segmentOffset(n) + SEGMENT_BASE, 8));
    return ir.op2(op.I64_AND, linear, ir.i64(-1, 0));
  }

  /** Loads `bytes` at a linear address: i32 (zero-extended) up to 4 bytes, i64 for 8, v128 for 16. */
  load(bytes: number, address: number, forWrite = false): number {
    const type = bytes === 16 ? op.T_V128 : bytes === 8 ? op.T_I64 : op.T_I32;
    return this.ir.add(op.LOAD, type, address, 0, 0, forWrite ? 1 : 0, bytes);
  }

  store(bytes: number, address: number, value: number): void {
    this.ir.add(op.STORE, op.T_NONE, address, value, 0, 0, bytes);
  }

  // --- stack ------------------------------------------------------------------------------------------------------

  /** Linear address of the stack at RSP + `displacement`, i64. */
  stackAddress(displacement: number): number {
    return this.inSegment(SEG_SS, this.stackPointer(displacement));
  }

  /** RSP + `displacement` cut to the stack-address size, i64. */
  stackPointer(displacement: number): number {
    const { ir, insn } = this;
    if (insn.stackSize === 8) return ir.op2(op.I64_ADD, this.register(8, RSP), ir.i64(displacement));
    const sum = ir.op2(op.I32_ADD, this.register(insn.stackSize, RSP), ir.i32(displacement));
    return ir.op1(op.I64_EXTEND_I32_U, insn.stackSize === 2 ? ir.op2(op.I32_AND, sum, ir.i32(0xffff)) : sum);
  }

  setStackPointer(value: number): void {
    const bytes = this.insn.stackSize;
    this.setRegister(bytes, RSP, bytes === 8 ? value : this.ir.op1(op.I32_WRAP_I64, value));
  }

  push(bytes: number, value: number): void {
    const pointer = this.stackPointer(-bytes);
    this.store(bytes, this.inSegment(SEG_SS, pointer), value);
    this.setStackPointer(pointer);
  }

  // --- integer arithmetic by width --------------------------------------------------------------------------------

  constant(bytes: number, value: number): number {
    return bytes === 8 ? this.ir.i64(value) : this.ir.i32(value);
  }

  /** `i32op` (an I32_* operation) at `bytes`: itself up to 4 bytes, its I64_* twin for 8. Not cut to 1 or 2 bytes. */
  arith(i32op: number, bytes: number, a: number, b: number): number {
    return this.ir.op2(bytes === 8 ? i32op + (op.I64_ADD - op.I32_ADD) : i32op, a, b);
  }

  /** Cuts an i32 to 1 or 2 bytes (zero-extended); wider values stay. */
  cut(bytes: number, a: number): number {
    if (bytes >= 4) return a;
    return this.ir.op2(op.I32_AND, a, this.ir.i32(bytes === 1 ? 0xff : 0xffff));
  }

  /** Sign-extends a value of `bytes` to i64. */
  signExtend(bytes: number, a: number): number {
    if (bytes === 8) return a;
    return this.ir.op1(op.I64_EXTEND_I32_S, this.signExtend32(bytes, a));
  }

  /** Sign-extends a value of 1, 2 or 4 bytes to i32. */
  signExtend32(bytes: number, a: number): number {
    if (bytes === 1) return this.ir.op1(op.I32_EXTEND8_S, a);
    if (bytes === 2) return this.ir.op1(op.I32_EXTEND16_S, a);
    return a;
  }

  /** Zero-extends a value of `bytes` to i64. */
  zeroExtend(bytes: number, a: number): number {
    return bytes === 8 ? a : this.ir.op1(op.I64_EXTEND_I32_U, a);
  }

  /** An i32 (a carry, a count) as a value of `bytes`: zero-extended to i64 for 8, itself otherwise. */
  widen(bytes: number, a: number): number {
    return bytes === 8 ? this.ir.op1(op.I64_EXTEND_I32_U, a) : a;
  }

  /** i32 0/1: is `a` (of `bytes`) zero? */
  isZero(bytes: number, a: number): number {
    return this.ir.op1(bytes === 8 ? op.I64_EQZ : op.I32_EQZ, a);
  }

  // --- flags ------------------------------------------------------------------------------------------------------

  /** Flags of `result` = `a` + `b`. */
  flagsAdd(bytes: number, a: number, b: number, result: number): void {
    this.flags.write(CC_ADD, this.signExtend(bytes, a), this.signExtend(bytes, b), this.signExtend(bytes, result));
  }

  flagsSub(bytes: number, a: number, b: number, result: number): void {
    this.flags.write(CC_SUB, this.signExtend(bytes, a), this.signExtend(bytes, b), this.signExtend(bytes, result));
  }

  flagsLogic(bytes: number, result: number): void {
    this.flags.write(CC_LOGIC, 0, 0, this.signExtend(bytes, result));
  }

  /** ZF, SF, PF of `result`, and CF, OF, AF as `bits` (i32 at RFLAGS positions). */
  flagsResult(bytes: number, result: number, bits: number): void {
    this.flags.write(CC_RESULT, 0, this.ir.op1(op.I64_EXTEND_I32_U, bits), this.signExtend(bytes, result));
  }

  /** All six flags as `bits` (i32). */
  flagsExplicit(bits: number): void {
    this.flags.write(CC_EXPLICIT, 0, this.ir.op1(op.I64_EXTEND_I32_U, bits), 0);
  }

  // --- control ----------------------------------------------------------------------------------------------------

  /** i64 address of the next instruction. */
  nextRip(): number {
    if (this.dynamic) return this.ir.add(op.RIP_NEXT, op.T_I64);
    return this.ir.i64(this.nextLow, this.nextHigh);
  }

  /** i64 target of a relative branch. */
  target(): number {
    if (this.dynamic) return this.ir.add(op.RECORD_READ, op.T_I64, 0, 0, 0, record.R_IMM, 8);
    branchTarget(this.insn, this.nextLow, this.nextHigh);
    return this.ir.i64(targetLow, targetHigh);
  }

  jump(target: number, hint: number): void {
    this.ir.add(op.JUMP, op.T_NONE, target, 0, 0, hint);
  }

  /** Goes to the relative target if `condition` (i32), else on. */
  branch(condition: number): void {
    this.ir.add(op.BRANCH, op.T_NONE, condition, this.target());
  }

  /** Has the mnemonic's helper execute the whole instruction when `condition` (i32) is nonzero. */
  slowIf(condition: number): void {
    this.ir.add(op.SLOW_IF, op.T_NONE, condition);
  }
}

/** Is an operand of this mode named by ModRM.reg (otherwise by ModRM.rm or the opcode)? */
export function isRegField(mode: string): boolean {
  return mode === 'G' || mode === 'V' || mode === 'P' || mode === 'S' || mode === 'C' || mode === 'D';
}

/** Register files. */
const FILE_GPR = 0;
const FILE_XMM = 1;
const FILE_MMX = 2;
const FILE_SEGMENT = 3;

/** The register file of an operand mode. */
export function registerFile(mode: string): number {
  if (mode === 'V' || mode === 'W' || mode === 'U') return FILE_XMM;
  if (mode === 'P' || mode === 'Q' || mode === 'N') return FILE_MMX;
  // Helpers want the number of a control or debug register; it goes as that of a general register.
  return mode === 'S' ? FILE_SEGMENT : FILE_GPR;
}

/** Offset of register `n` of a register file in the state block; `high`: 4…7 are AH…BH. */
export function registerOffset(file: number, n: number, high: boolean): number {
  switch (file) {
    case FILE_XMM:
      return S_XMM + n * 16;
    case FILE_MMX:
      return S_X87 + (n & 7) * 16;
    case FILE_SEGMENT:
      return segmentOffset(n);
    default:
      return high && n >= 4 && n < 8 ? gprOffset(n - 4) + 1 : gprOffset(n);
  }
}

export let targetLow = 0;
export let targetHigh = 0;

/** Computes the absolute target of a relative branch into `targetLow/High`. */
export function branchTarget(insn: Insn, nextLow: number, nextHigh: number): void {
  targetLow = (nextLow + insn.immLow) | 0;
  targetHigh = (nextHigh + insn.immHigh + (targetLow >>> 0 < nextLow >>> 0 ? 1 : 0)) | 0;
  if (!insn.mode64) {
    targetHigh = 0;
    if (insn.operandSize === 2) targetLow &= 0xffff;
  }
}
