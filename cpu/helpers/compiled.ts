/**
 * Helpers that generated code calls without a way through TypeScript: compiled ahead of time (aot/compile.ts) from the same
 * sources that the helpers in TypeScript use, for 64-bit code and the cases in which nothing is amiss. What these leave, the
 * helper in TypeScript does, from the start. Where there is no WebAssembly, TypeScript does it all.
 */
import type { Cpu } from '../cpu.ts';
import { CODE_64 } from '../decode/decoder.ts';
import { CANNOT } from '../exits.ts';
import { NO_ERROR_CODE, VECTOR_BP, VECTOR_DE, VECTOR_PF, VECTOR_UD } from '../fault.ts';
import { byteColumn } from '../isa/columns.ts';
import { codeSize, MODE_NO_X87, MODE_ONE, MODE_TRAP, MODE_WATCHED } from '../mode.ts';
import * as r from '../record.ts';
import { S_COMPILED_CALLS, S_COMPILED_EXCEPTIONS, S_MODE, S_OBSERVED, S_RIP } from '../state.ts';
import { setCr2 } from '../system/delivery.ts';
import { SOURCE_EXTERNAL, SOURCE_SOFTWARE } from '../system/gate.ts';
import { deliverLong } from '../system/gate-long.ts';
import { invalidatePage, loadCr3, moveFromControl } from './control.ts';
import { longReturn } from './iret.ts';
import { high, immediate, isMemory, low, nextRip, operandSize, readRegister, rmOffset } from './operands.ts';
import { swapGs } from './segment.ts';
import { moveStrings, storeStrings } from './string.ts';
import { isByteRow } from './string-run.ts';
import { wait, x87 } from './x87.ts';

const KIND_UNDEFINED = 1;
const KIND_INT = 2;
const KIND_INT3 = 3;
const KIND_IRET = 4;
const KIND_DIVIDE = 5;
const KIND_DIVIDE_BYTE = 6;
const KIND_INVLPG = 7;
const KIND_FROM_CR = 8;
const KIND_TO_CR = 9;
const KIND_SWAPGS = 10;
const KIND_MOVS = 11;
const KIND_MOVS_BYTE = 12;
const KIND_STOS = 13;
const KIND_STOS_BYTE = 14;
const KIND_X87 = 15;
const KIND_WAIT = 16;

const KINDS: Record<string, number> = {
  UD: KIND_UNDEFINED,
  UD2: KIND_UNDEFINED,
  INT: KIND_INT,
  INT3: KIND_INT3,
  IRET: KIND_IRET,
  INVLPG: KIND_INVLPG,
  MOV_FROM_CR: KIND_FROM_CR,
  MOV_TO_CR: KIND_TO_CR,
  SWAPGS: KIND_SWAPGS,
  DIV: KIND_DIVIDE,
  IDIV: KIND_DIVIDE,
  MOVS: KIND_MOVS,
  STOS: KIND_STOS,
  X87: KIND_X87,
  FLDCW: KIND_X87,
  FNSTCW: KIND_X87,
  FNSTSW: KIND_X87,
  FNCLEX: KIND_X87,
  FWAIT: KIND_WAIT,
};

/** Kinds of the rows on bytes, where those differ. */
const BYTE_KINDS: Record<string, number> = {
  DIV: KIND_DIVIDE_BYTE,
  IDIV: KIND_DIVIDE_BYTE,
  MOVS: KIND_MOVS_BYTE,
  STOS: KIND_STOS_BYTE,
};

const kindOf = byteColumn('compiled.kind', (row) => {
  return (isByteRow(row) ? BYTE_KINDS[row.mnemonic] : undefined) ?? KINDS[row.mnemonic] ?? 0;
});

/** 64-bit code that runs neither step by step nor watched. */
function isPlain(cpu: Cpu): boolean {
  const mode = cpu.i32[S_MODE >> 2];
  return (
    codeSize(mode) === CODE_64 && !(mode & (MODE_ONE | MODE_TRAP | MODE_WATCHED)) && cpu.i32[S_OBSERVED >> 2] === 0
  );
}

/** May the x87 be used? What happens otherwise TypeScript knows (system/legality.ts). */
function hasX87(cpu: Cpu): boolean {
  return !(cpu.i32[S_MODE >> 2] & MODE_NO_X87);
}

/** Executes the instruction of record `op` if it is one of these. @returns HELPER_* or EXIT_*, or CANNOT */
export function compiledHelper(cpu: Cpu, op: number): number {
  if (!isPlain(cpu)) return CANNOT;
  const kind = kindOf[cpu.u16[(op + r.R_ROW) >> 1]];
  const result = kind < KIND_MOVS ? execute(cpu, op, kind) : executeLonger(cpu, op, kind);
  if (result !== CANNOT) cpu.i32[S_COMPILED_CALLS >> 2]++;
  return result;
}

function execute(cpu: Cpu, op: number, kind: number): number {
  switch (kind) {
    case KIND_UNDEFINED:
      return exception(cpu, VECTOR_UD, NO_ERROR_CODE);
    case KIND_INT:
      return interrupt(cpu, op, immediate(cpu, op) & 0xff);
    case KIND_INT3:
      return interrupt(cpu, op, VECTOR_BP);
    case KIND_IRET:
      return operandSize(cpu, op) === 8 ? longReturn(cpu) : CANNOT;
    case KIND_DIVIDE:
      return dividesByZero(cpu, op, operandSize(cpu, op)) ? exception(cpu, VECTOR_DE, NO_ERROR_CODE) : CANNOT;
    case KIND_DIVIDE_BYTE:
      return dividesByZero(cpu, op, 1) ? exception(cpu, VECTOR_DE, NO_ERROR_CODE) : CANNOT;
    case KIND_INVLPG:
      return invalidatePage(cpu, op);
    case KIND_FROM_CR:
      return moveFromControl(cpu, op);
    case KIND_TO_CR:
      return loadCr3(cpu, op);
    case KIND_SWAPGS:
      return swapGs(cpu);
    default:
      return CANNOT;
  }
}

/** The rest of the kinds: apart, so that exceptions and interrupts do not pay for room on the stack that these need. */
function executeLonger(cpu: Cpu, op: number, kind: number): number {
  switch (kind) {
    case KIND_MOVS:
      return moveStrings(cpu, op, operandSize(cpu, op));
    case KIND_MOVS_BYTE:
      return moveStrings(cpu, op, 1);
    case KIND_STOS:
      return storeStrings(cpu, op, operandSize(cpu, op));
    case KIND_STOS_BYTE:
      return storeStrings(cpu, op, 1);
    case KIND_X87:
      return hasX87(cpu) ? x87(cpu, op) : CANNOT;
    case KIND_WAIT:
      return hasX87(cpu) ? wait(cpu) : CANNOT;
    default:
      return CANNOT;
  }
}

function dividesByZero(cpu: Cpu, op: number, size: number): boolean {
  if (isMemory(cpu, op)) return false;
  readRegister(cpu, rmOffset(cpu, op), size);
  return (low | high) === 0;
}

function interrupt(cpu: Cpu, op: number, vector: number): number {
  nextRip(cpu, op);
  deliverLong(cpu, vector, NO_ERROR_CODE, SOURCE_SOFTWARE, low, high);
  return cpu.jumped();
}

/** An exception of the instruction at RIP. */
function exception(cpu: Cpu, vector: number, errorCode: number): number {
  deliverLong(cpu, vector, errorCode, SOURCE_EXTERNAL, cpu.i32[S_RIP >> 2], cpu.i32[(S_RIP + 4) >> 2]);
  cpu.i32[S_COMPILED_EXCEPTIONS >> 2]++;
  return cpu.jumped();
}

/** Delivers the exception that was noted (Mmu.fault) of the instruction at RIP. @returns as `compiledHelper` */
export function compiledFault(cpu: Cpu): number {
  const { fault } = cpu.mmu;
  if (!isPlain(cpu) || fault.notCanonical) return CANNOT;
  if (fault.vector === VECTOR_PF) setCr2(cpu, fault);
  return exception(cpu, fault.vector, fault.errorCode);
}
