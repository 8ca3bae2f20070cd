/** Which instructions may not simply run in a mode: privilege and disabled units (SDM vol. 2, vol. 3A 2.5, 13.1). */
import type { Insn } from '../decode/insn.ts';
import { raise, VECTOR_NM, VECTOR_UD } from '../fault.ts';
import { byteColumn } from '../isa/columns.ts';
import { attributesOf } from '../isa/encoding.ts';
import { ATTR_MMX, ATTR_SSE, ATTR_X87 } from '../isa/table.ts';
import {
  codeSize,
  MODE_IOPL,
  MODE_MMX_UD,
  MODE_NO_X87,
  MODE_ONE,
  MODE_SSE_NM,
  MODE_SSE_UD,
  MODE_TRAP,
  MODE_WAIT_NM,
  MODE_WATCHED,
  privilegeLevel,
} from '../mode.ts';

/** Mnemonics whose definition holds only with IOPL rights (their helper does the rest). */
const needsIopl = byteColumn('legality.needsIopl', (row) => ['CLI', 'STI', 'IN', 'OUT'].includes(row.mnemonic));
const isSyscall = byteColumn('legality.isSyscall', (row) => row.mnemonic === 'SYSCALL');
const isSysret = byteColumn('legality.isSysret', (row) => row.mnemonic === 'SYSRET');
const isPopf = byteColumn('legality.isPopf', (row) => row.mnemonic === 'POPF');
const isWait = byteColumn('legality.isWait', (row) => row.mnemonic === 'FWAIT');

/** Must `insn` go to its helper in `mode` although it has a handler? */
export function needsHelper(insn: Insn, mode: number): boolean {
  const { row } = insn;
  if (needsIopl[row]) return !(mode & MODE_IOPL);
  if (isPopf[row]) return privilegeLevel(mode) !== 0 || !(mode & MODE_IOPL);
  if (isSyscall[row]) return !mayCallFast(mode);
  if (isSysret[row]) return !mayCallFast(mode) || privilegeLevel(mode) !== 0 || insn.operandSize !== 8;
  return unitFault(row, mode) !== 0;
}

/** Do the definitions of SYSCALL and SYSRET hold: 64-bit code that does not run step by step? */
function mayCallFast(mode: number): boolean {
  return codeSize(mode) === 8 && !(mode & (MODE_TRAP | MODE_WATCHED | MODE_ONE));
}

/** Vector of the exception that using the row's unit raises in `mode`; 0: none. */
function unitFault(row: number, mode: number): number {
  const attributes = attributesOf[row];
  if (attributes & ATTR_SSE) {
    if (mode & MODE_SSE_UD) return VECTOR_UD;
    if (mode & MODE_SSE_NM) return VECTOR_NM;
  } else if (attributes & ATTR_MMX) {
    if (mode & MODE_MMX_UD) return VECTOR_UD;
    if (mode & MODE_NO_X87) return VECTOR_NM;
  } else if (attributes & ATTR_X87) {
    if (isWait[row]) return mode & MODE_WAIT_NM ? VECTOR_NM : 0;
    if (mode & MODE_NO_X87) return VECTOR_NM;
  }
  return 0;
}

/** Raises what using the row's unit raises in `mode`. */
export function checkUnit(row: number, mode: number): void {
  const vector = unitFault(row, mode);
  if (vector !== 0) raise(vector);
}
