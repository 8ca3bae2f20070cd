/** FXSAVE and FXRSTOR (SDM vol. 1, 10.5; vol. 2A). The parts of the image are shared with XSAVE's legacy region. */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { fxrstor, fxsave } from '../fpu/x87-control.ts';
import * as r from '../record.ts';
import { S_FPU_OPERAND, S_MXCSR, S_XMM } from '../state.ts';
import { updateSseFast } from '../system/mode-word.ts';
import { high, info, isCanonical, linearAddress, low } from './operands.ts';
import { defineHelpers } from './registry.ts';

/** Offsets in the image. */
const FX_MXCSR = 24;
const FX_MXCSR_MASK = 28;
const FX_XMM = 160;
const FX_SIZE = 512;

/** Bits of MXCSR that exist. */
export const MXCSR_MASK = 0xffff;

/** Bytes of the XMM registers that the mode has: sixteen in 64-bit mode, else eight. */
function xmmBytes(information: number): number {
  return information & r.INFO_MODE64 ? 256 : 128;
}

/** MXCSR and the XMM registers into the image at S_FPU_OPERAND. @param information INFO_* of the record. */
export function saveSse(cpu: Cpu, information: number): void {
  const { i32, u8 } = cpu;
  i32[(S_FPU_OPERAND + FX_MXCSR) >> 2] = i32[S_MXCSR >> 2];
  i32[(S_FPU_OPERAND + FX_MXCSR_MASK) >> 2] = MXCSR_MASK;
  u8.copyWithin(S_FPU_OPERAND + FX_XMM, S_XMM, S_XMM + xmmBytes(information));
}

/** @throws #GP(0) if the image's MXCSR has reserved bits set. */
export function checkMxcsr(cpu: Cpu): void {
  if (cpu.i32[(S_FPU_OPERAND + FX_MXCSR) >> 2] & ~MXCSR_MASK) raise(VECTOR_GP, 0);
}

/** MXCSR and the XMM registers from the image. */
export function restoreSse(cpu: Cpu, information: number): void {
  const { i32, u8 } = cpu;
  i32[S_MXCSR >> 2] = i32[(S_FPU_OPERAND + FX_MXCSR) >> 2];
  u8.copyWithin(S_XMM, S_FPU_OPERAND + FX_XMM, S_FPU_OPERAND + FX_XMM + xmmBytes(information));
  updateSseFast(cpu);
}

/** The operand's address → low, high of operands.ts; it must be a multiple of 16: #GP, or #AC where that is on. */
function imageAddress(cpu: Cpu, op: number): void {
  linearAddress(cpu, op);
  cpu.mmu.checkAlignment(low, high, 4);
  if (low & 15 && isCanonical(high)) raise(VECTOR_GP, 0);
}

defineHelpers({
  FXSAVE: (cpu, op) => {
    const information = info(cpu, op);
    imageAddress(cpu, op);
    cpu.mmu.probe(low, high, FX_SIZE, true);
    fxsave(cpu.x87, (information & r.INFO_REXW) !== 0);
    saveSse(cpu, information);
    // What lies behind the registers is the program's.
    cpu.mmu.copyOut(S_FPU_OPERAND, low, high, FX_XMM + xmmBytes(information));
    return HELPER_NEXT;
  },
  FXRSTOR: (cpu, op) => {
    const information = info(cpu, op);
    imageAddress(cpu, op);
    cpu.mmu.copyIn(S_FPU_OPERAND, low, high, FX_SIZE);
    checkMxcsr(cpu);
    fxrstor(cpu.x87, (information & r.INFO_REXW) !== 0);
    restoreSse(cpu, information);
    return HELPER_NEXT;
  },
});
