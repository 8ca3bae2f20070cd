/**
 * Segment checks ahead of instructions outside 64-bit mode (Intel SDM vol. 3A 5.3–5.5), for accesses that generated code
 * makes without any: where a segment is not flat, and for writes through CS, which is never writable. Each becomes an
 * operation of its own in front of the instruction's; the rest of what uses segments (string instructions, far transfers,
 * frames) checks for itself.
 */
import type { Cpu } from '../cpu.ts';
import { type Insn, SEG_CS, SEG_SS } from '../decode/insn.ts';
import { HELPER_NEXT } from '../exits.ts';
import * as op from '../ir/ops.ts';
import { byteColumn } from '../isa/columns.ts';
import { ATTR_MMX, ATTR_X87, ROW_COUNT, rowAt } from '../isa/table.ts';
import { definitionOf } from '../lift/lift.ts';
import { Lifter, operandBytes } from '../lift/lifter.ts';
import * as r from '../record.ts';
import { gprOffset, S_EA, S_MODE, SEGMENT_BASE, segmentOffset } from '../state.ts';
import { checkUnit } from '../system/legality.ts';
import { checkSegmentAccess } from '../system/segment-check.ts';
import { reportPending } from './x87.ts';

/** Stands for the row of the opcode table in such an operation's record. */
export const ROW_SEGMENT_ACCESS = ROW_COUNT;

/** Which offset is checked: the memory operand's (its linear address is in S_EA), or one that a register gives. */
const AT_OPERAND = 0;
const AT_STACK_PUSH = 1;
const AT_STACK_POP = 2;
const AT_FRAME = 3;
const AT_TABLE = 4;

/** One access: R_DISP of the record. */
export interface SegmentAccess {
  where: number;
  segment: number;
  bytes: number;
  write: boolean;
}

const PUSHES = new Set(['PUSH', 'PUSHF', 'CALL']);
const POPS = new Set(['POP', 'POPF', 'RET']);
/** Instructions without a definition that write their memory operand; of the x87 escapes those that /ext names. */
const STORES = new Set(
  'FNSTENV FNSAVE FNSTCW FNSTSW FXSAVE XSAVE XSAVEOPT STMXCSR SGDT SIDT SLDT STR SMSW CMPXCHG8B ARPL'.split(' '),
);
const X87_STORES: Record<number, number> = { 217: 0b1100, 219: 0b10001110, 221: 0b1110, 223: 0b11001110 };
/** These name an address without accessing it, or check for themselves. */
const checksItself = byteColumn(
  'segments.checksItself',
  ({ mnemonic, operands }) =>
    /^(LEA|INVLPG|NOP|BOUND)$/.test(mnemonic) || (/^BT[SRC]?$/.test(mnemonic) && operands[1].mode === 'G'),
);

/** x87 and MMX instructions that first report an exception of an earlier one. */
const waits = byteColumn(
  'segments.waits',
  ({ attributes, mnemonic }) => (attributes & (ATTR_X87 | ATTR_MMX)) !== 0 && !/^F(N|X)/.test(mnemonic),
);

const lifter = new Lifter(false);

/** What the definition of `insn` does to its memory operand: bytes, and whether it writes. */
function definedAccess(insn: Insn): { bytes: number; write: boolean } {
  const { ir } = lifter;
  ir.clear();
  lifter.flags.reset();
  lifter.begin(insn, 0, 0);
  definitionOf(insn.row)!(lifter);
  const address = lifter.address();
  let bytes = 0;
  let write = false;
  for (let n = 1; n < ir.length; n++) {
    if ((ir.op[n] !== op.LOAD && ir.op[n] !== op.STORE) || ir.a[n] !== address) continue;
    bytes = Math.max(bytes, ir.imm2[n] || operandBytes(lifter.row, 0, insn));
    write ||= ir.op[n] === op.STORE || ir.imm[n] !== 0;
  }
  return { bytes, write };
}

function operandAccess(insn: Insn): { bytes: number; write: boolean } {
  const row = rowAt(insn.row);
  if (definitionOf(insn.row) !== undefined) return definedAccess(insn);
  const k = row.operands.findIndex(({ mode }) => 'EMWQ'.includes(mode));
  if (k < 0) return { bytes: 0, write: false };
  const bytes = operandBytes(row, k, insn) || Math.max(1, Number(row.operands[k].type) / 8 || 1);
  const x87Store = row.mnemonic === 'X87' && ((X87_STORES[row.opcode] ?? 0) >> ((insn.modrm >> 3) & 7)) & 1;
  const mmxStore = (row.attributes & ATTR_MMX) !== 0 && k === 0;
  return { bytes, write: STORES.has(row.mnemonic) || x87Store === 1 || mmxStore };
}

/**
 * The accesses of `insn` that must be checked. `memory`: it has a memory operand; `checked`: some segment is not flat.
 */
export function segmentAccesses(insn: Insn, memory: boolean, checked: boolean): SegmentAccess[] {
  const { mnemonic } = rowAt(insn.row);
  const accesses: SegmentAccess[] = [];
  if (memory && !checksItself[insn.row] && (checked || insn.segment === SEG_CS)) {
    const { bytes, write } = operandAccess(insn);
    if (bytes > 0 && (checked || write)) accesses.push({ where: AT_OPERAND, segment: insn.segment, bytes, write });
  }
  if (!checked) return accesses;
  const bytes = insn.operandSize;
  if (PUSHES.has(mnemonic)) accesses.push({ where: AT_STACK_PUSH, segment: SEG_SS, bytes, write: true });
  if (POPS.has(mnemonic)) accesses.push({ where: AT_STACK_POP, segment: SEG_SS, bytes, write: false });
  if (mnemonic === 'LEAVE') accesses.push({ where: AT_FRAME, segment: SEG_SS, bytes, write: false });
  if (mnemonic === 'XLAT') accesses.push({ where: AT_TABLE, segment: insn.segment, bytes: 1, write: false });
  return accesses;
}

function cut(offset: number, bytes: number): number {
  return bytes === 2 ? offset & 0xffff : offset;
}

/** The helper of {@link ROW_SEGMENT_ACCESS}. */
export function checkAccess(cpu: Cpu, record: number): number {
  const { i32 } = cpu;
  const where = i32[(record + r.R_DISP) >> 2];
  const segment = i32[(record + r.R_DISP + 4) >> 2];
  const bytes = i32[(record + r.R_IMM) >> 2];
  const write = i32[(record + r.R_IMM + 4) >> 2] !== 0;
  const info = i32[(record + r.R_INFO) >> 2];
  const row = cpu.u16[(record + r.R_IMM2) >> 1];
  checkUnit(row, i32[S_MODE >> 2]);
  if (waits[row]) reportPending(cpu);
  const stack = (info >> r.INFO_STACK_SHIFT) & 15;
  const address = (info >> r.INFO_ADDRESS_SHIFT) & 15;
  let offset: number;
  if (where === AT_OPERAND) offset = (i32[S_EA >> 2] - i32[(segmentOffset(segment) + SEGMENT_BASE) >> 2]) | 0;
  else if (where === AT_STACK_PUSH) offset = cut(cpu.gprLow(4) - bytes, stack);
  else if (where === AT_STACK_POP) offset = cut(cpu.gprLow(4), stack);
  else if (where === AT_FRAME) offset = cut(cpu.gprLow(5), stack);
  else offset = cut(cpu.gprLow(3) + cpu.u8[gprOffset(0)], address);
  checkSegmentAccess(cpu, segment, offset, bytes, write);
  return HELPER_NEXT;
}
