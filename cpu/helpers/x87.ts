/**
 * x87 instructions (SDM vol. 1 ch. 8, vol. 2A): the bridge from records to the library in fpu/x87.ts, which says what
 * each does. Here are pending exceptions, memory operands, pointers, and the ties to EFLAGS and AX.
 */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_MF, VECTOR_UD } from '../fault.ts';
import { bytesInMode, execute, retire } from '../fpu/x87.ts';
import { ENV_PROTECTED_16, ENV_PROTECTED_32, ENV_REAL_16, ENV_REAL_32 } from '../fpu/x87-control.ts';
import { AX, BY_FLAGS, isImage, NO_WAIT, OPERAND, OPERATION, STORES, TO_FLAGS, x87Form } from '../fpu/x87-forms.ts';
import { byteColumn } from '../isa/columns.ts';
import { MODE_PROTECTED } from '../mode.ts';
import * as r from '../record.ts';
import {
  gprOffset,
  S_CR0,
  S_FPU_OPERAND,
  S_MODE,
  S_RFLAGS,
  S_RIP,
  SEGMENT_BASE,
  SEGMENT_SELECTOR,
  segmentOffset,
} from '../state.ts';
import { CR0_NE } from '../system/mode-word.ts';
import { setStatusFlags } from './flags.ts';
import { high, linearAddress, low } from './operands.ts';
import { defineHelpers } from './registry.ts';
import { loadOperand, probeStore, storeOperand } from './x87-memory.ts';

const REGISTER_AX = gprOffset(0);
const CS_SELECTOR = segmentOffset(1) + SEGMENT_SELECTOR;
const RFLAGS_VM = 1 << 17;

const opcodeOf = byteColumn('x87.opcodeOf', (row) => row.opcode);

/** Reports an unmasked exception of an earlier instruction, before a waiting x87 or MMX instruction. */
export function reportPending(cpu: Cpu): void {
  if (cpu.x87.pending) reportError(cpu);
}

/** TypeScript only. */
function reportError(cpu: Cpu): void {
  if (cpu.i32[S_CR0 >> 2] & CR0_NE) raise(VECTOR_MF);
  // The interrupt comes later than the manual has it, after the instruction, as QEMU does it.
  cpu.env.coprocessorError?.();
}

/** The layout of the environment in memory, by operand size and mode. TypeScript only. */
function environment(cpu: Cpu, operandSize: number): number {
  const protectedMode = cpu.i32[S_MODE >> 2] & MODE_PROTECTED && !(cpu.i32[S_RFLAGS >> 2] & RFLAGS_VM);
  if (operandSize === 2) return protectedMode ? ENV_PROTECTED_16 : ENV_REAL_16;
  return protectedMode ? ENV_PROTECTED_32 : ENV_REAL_32;
}

/** Any x87 instruction with a ModRM byte. Compiled ahead of time too (aot/compile.ts), but for what is rare. */
export function x87(cpu: Cpu, op: number): number {
  const { x87: x, i32, u16 } = cpu;
  const info = i32[(op + r.R_INFO) >> 2];
  const modrm = (info >> r.INFO_MODRM_SHIFT) & 0xff;
  const opcode = opcodeOf[u16[(op + r.R_ROW) >> 1]];
  const form = x87Form(opcode, modrm);
  if ((form & OPERATION) === 0) raise(VECTOR_UD);
  if (!(form & NO_WAIT)) reportPending(cpu);
  x.ipLo = i32[S_RIP >> 2];
  x.ipHi = i32[(S_RIP + 4) >> 2];
  x.cs = u16[CS_SELECTOR >> 1];
  if (modrm >= 0xc0) onRegisters(cpu, form, opcode, modrm);
  else inMemory(cpu, op, form, opcode, modrm);
  return HELPER_NEXT;
}

/** FWAIT. Compiled ahead of time too. */
export function wait(cpu: Cpu): number {
  reportPending(cpu);
  return HELPER_NEXT;
}

function inMemory(cpu: Cpu, op: number, form: number, opcode: number, modrm: number): void {
  const { x87: x, i32, u16 } = cpu;
  const info = i32[(op + r.R_INFO) >> 2];
  linearAddress(cpu, op);
  const addressLow = low;
  const addressHigh = high;
  const segment = segmentOffset((info >> r.INFO_SEGMENT_SHIFT) & 7);
  if (info & r.INFO_MODE64) {
    x.dpLo = addressLow;
    x.dpHi = addressHigh;
  } else {
    x.dpLo = (addressLow - i32[(segment + SEGMENT_BASE) >> 2]) | 0;
    x.dpHi = 0;
  }
  x.ds = u16[(segment + SEGMENT_SELECTOR) >> 1];
  if (isImage(form)) x.environment = environment(cpu, info & r.INFO_SIZE_MASK);
  const size = bytesInMode(x, form);
  if (!(form & STORES)) {
    loadOperand(cpu, addressLow, addressHigh, size);
    execute(x, opcode, modrm);
    return;
  }
  execute(x, opcode, modrm);
  if (x.storeBytes !== 0) storeOperand(cpu, addressLow, addressHigh, size);
  else probeStore(cpu, addressLow, addressHigh, size);
  retire(x, opcode, modrm);
}

function onRegisters(cpu: Cpu, form: number, opcode: number, modrm: number): void {
  const { x87: x } = cpu;
  const operand = form & OPERAND;
  if (operand === BY_FLAGS) x.eflags = cpu.rflags;
  execute(x, opcode, modrm);
  if (operand === TO_FLAGS) setStatusFlags(cpu, x.eflags);
  if (operand === AX) {
    cpu.u16[REGISTER_AX >> 1] = cpu.u16[S_FPU_OPERAND >> 1];
    retire(x, opcode, modrm);
  }
}

defineHelpers({
  X87: x87,
  FLDENV: x87,
  FNSTENV: x87,
  FLDCW: x87,
  FNSTCW: x87,
  FNSTSW: x87,
  FRSTOR: x87,
  FNSAVE: x87,
  FNCLEX: x87,
  FNINIT: x87,
  FWAIT: wait,
});
