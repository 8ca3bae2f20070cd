/** Writes decoded instructions as the interpreter's records (record.ts). Compiled ahead of time too (aot/compile.ts). */
import { type Insn, NO_REGISTER, SEG_CS, SEG_FS } from '../decode/insn.ts';
import { ROW_SEGMENT_ACCESS, segmentAccesses } from '../helpers/segment-access.ts';
import { byteColumn } from '../isa/columns.ts';
import { branchTarget, isRegField, registerFile, registerOffset, targetHigh, targetLow } from '../lift/lifter.ts';
import * as r from '../record.ts';
import { gprOffset, S_EA, S_ZERO, SEGMENT_BASE, segmentOffset } from '../state.ts';
import { H_ADDRESS, H_HELPER, handlerOf } from './shapes.ts';

/** Register files of the operand in ModRM.reg, and of that in ModRM.rm or the opcode. */
const regFileOf = byteColumn('record.regFile', (row) =>
  registerFile(row.operands.find(({ mode }) => isRegField(mode))?.mode ?? 'G'),
);
const rmFileOf = byteColumn('record.rmFile', (row) =>
  registerFile(row.operands.find(({ mode }) => 'ERWQUNZ'.includes(mode))?.mode ?? 'E'),
);
const regIsByte = byteColumn('record.regIsByte', (row) =>
  row.operands.some(({ mode, type }) => mode === 'G' && type === 'b'),
);
const rmIsByte = byteColumn('record.rmIsByte', (row) =>
  row.operands.some(({ mode, type }) => (mode === 'E' || mode === 'Z') && type === 'b'),
);
const isRelative = byteColumn('record.isRelative', (row) => row.operands.some(({ mode }) => mode === 'J'));
const isMoffs = byteColumn('record.isMoffs', (row) => row.operands.some(({ mode }) => mode === 'O'));
const isXlat = byteColumn('record.isXlat', (row) => row.mnemonic === 'XLAT');
const isLea = byteColumn('record.isLea', (row) => row.mnemonic === 'LEA');

export class RecordWriter {
  private readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  private readonly u8: Uint8Array;

  constructor(buffer: ArrayBufferLike) {
    this.i32 = new Int32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }

  /** A record that is no instruction, with nothing else in it. @returns the offset behind it. */
  special(at: number, handler: number, ripOffset: number): number {
    // By hand: `fill` costs more for so few words.
    const { i32 } = this;
    for (let word = at >> 2; word < (at + r.RECORD_SIZE) >> 2; word++) i32[word] = 0;
    this.u16[(at + r.R_HANDLER) >> 1] = handler;
    this.u16[(at + r.R_RIP_OFFSET) >> 1] = ripOffset;
    return at + r.RECORD_SIZE;
  }

  /**
   * Writes the records of `insn`, whose next instruction is at `nextLow/High` and which starts `ripOffset` bytes into
   * its block. `helper`: have its helper execute it; `checked`: some segment is not flat (MODE_CHECKED).
   * @returns the offset behind them (0 only where {@link segmentChecks} is not at hand).
   */
  instruction(
    at: number,
    insn: Insn,
    nextLow: number,
    nextHigh: number,
    ripOffset: number,
    helper: boolean,
    checked = false,
  ): number {
    const memory = (insn.hasModrm && insn.mod !== 3) || isMoffs[insn.row] === 1;
    const handler = helper ? H_HELPER : handlerOf(insn);
    let dispLow = insn.dispLow;
    let dispHigh = insn.dispHigh;
    if (insn.ripRelative) {
      dispLow = (nextLow + dispLow) | 0;
      dispHigh = (dispHigh + nextHigh + (dispLow >>> 0 < nextLow >>> 0 ? 1 : 0)) | 0;
    }
    const base = insn.base === NO_REGISTER ? S_ZERO : gprOffset(insn.base);
    const index = insn.index === NO_REGISTER ? S_ZERO : gprOffset(insn.index);
    const flat = insn.mode64 && insn.segment < SEG_FS;
    const segment = flat || isLea[insn.row] ? S_ZERO : segmentOffset(insn.segment) + SEGMENT_BASE;
    const narrow = memory && (insn.addressSize !== 8 || !insn.mode64);
    if (narrow) {
      // Address pre-operation; the instruction itself then finds the linear address in S_EA.
      const pre = at;
      at = this.special(at, H_ADDRESS, ripOffset);
      this.u16[(pre + r.R_BASE) >> 1] = base;
      this.u16[(pre + r.R_INDEX) >> 1] = index;
      this.u16[(pre + r.R_SEGMENT) >> 1] = segment;
      this.u8[pre + r.R_SCALE] = insn.scale;
      this.i32[(pre + r.R_DISP) >> 2] = dispLow;
      this.i32[(pre + r.R_DISP + 4) >> 2] = dispHigh;
      this.i32[(pre + r.PRE_ADDRESS_MASK) >> 2] = insn.addressSize === 2 ? 0xffff : -1;
      this.i32[(pre + r.PRE_LINEAR_MASK) >> 2] = -1;
      this.i32[(pre + r.PRE_LINEAR_MASK + 4) >> 2] = insn.mode64 ? -1 : 0;
    }
    const info =
      insn.operandSize |
      (memory ? r.INFO_MEMORY : 0) |
      (insn.rep === 0xf3 ? r.INFO_REPE : insn.rep === 0xf2 ? r.INFO_REPNE : 0) |
      (insn.addressSize << r.INFO_ADDRESS_SHIFT) |
      (insn.stackSize << r.INFO_STACK_SHIFT) |
      (insn.modrm << r.INFO_MODRM_SHIFT) |
      (insn.segment << r.INFO_SEGMENT_SHIFT) |
      (insn.mode64 ? r.INFO_MODE64 : 0) |
      (insn.lock ? r.INFO_LOCK : 0) |
      (insn.rexW ? r.INFO_REXW : 0);
    if (!insn.mode64 && (checked || (memory && insn.segment === SEG_CS))) {
      at = this.segmentChecks(at, insn, memory, checked, ripOffset, info);
      if (at === 0) return 0;
    }
    const { u16, i32, u8 } = this;
    u16[(at + r.R_HANDLER) >> 1] = handler;
    u16[(at + r.R_RIP_OFFSET) >> 1] = ripOffset;
    const xlat = isXlat[insn.row] === 1;
    const highByte = !insn.hasRex;
    u16[(at + r.R_REG) >> 1] = registerOffset(regFileOf[insn.row], insn.reg, regIsByte[insn.row] === 1 && highByte);
    if (!memory)
      u16[(at + r.R_RM) >> 1] = registerOffset(rmFileOf[insn.row], insn.rm, rmIsByte[insn.row] === 1 && highByte);
    else u16[(at + r.R_BASE) >> 1] = narrow ? S_EA : base;
    u16[(at + r.R_INDEX) >> 1] = memory && !narrow ? index : S_ZERO;
    u16[(at + r.R_SEGMENT) >> 1] = memory && narrow ? S_ZERO : memory || xlat || !insn.hasModrm ? segment : S_ZERO;
    u8[at + r.R_SCALE] = narrow ? 0 : insn.scale;
    u8[at + r.R_LENGTH] = insn.length;
    u16[(at + r.R_AUX) >> 1] = gprOffset(insn.vvvv);
    i32[(at + r.R_DISP) >> 2] = narrow ? 0 : dispLow;
    i32[(at + r.R_DISP + 4) >> 2] = narrow ? 0 : dispHigh;
    if (isRelative[insn.row]) {
      branchTarget(insn, nextLow, nextHigh);
      i32[(at + r.R_IMM) >> 2] = targetLow;
      i32[(at + r.R_IMM + 4) >> 2] = targetHigh;
    } else {
      i32[(at + r.R_IMM) >> 2] = insn.immLow;
      i32[(at + r.R_IMM + 4) >> 2] = insn.immHigh;
    }
    i32[(at + r.R_INFO) >> 2] = info;
    u16[(at + r.R_ROW) >> 1] = insn.row;
    u16[(at + r.R_IMM2) >> 1] = insn.imm2;
    return at + r.RECORD_SIZE;
  }

  /** Writes the operations in front of an instruction that check its segments. @returns the offset behind them. */
  private segmentChecks(
    at: number,
    insn: Insn,
    memory: boolean,
    checked: boolean,
    ripOffset: number,
    info: number,
  ): number {
    for (const access of segmentAccesses(insn, memory, checked)) {
      const check = at;
      at = this.special(at, H_HELPER, ripOffset);
      this.u16[(check + r.R_ROW) >> 1] = ROW_SEGMENT_ACCESS;
      this.u16[(check + r.R_IMM2) >> 1] = insn.row;
      this.i32[(check + r.R_INFO) >> 2] = info;
      this.i32[(check + r.R_DISP) >> 2] = access.where;
      this.i32[(check + r.R_DISP + 4) >> 2] = access.segment;
      this.i32[(check + r.R_IMM) >> 2] = access.bytes;
      this.i32[(check + r.R_IMM + 4) >> 2] = Number(access.write);
    }
    return at;
  }
}
