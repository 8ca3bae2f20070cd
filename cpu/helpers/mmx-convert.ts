/** CVTPI2PS and its kin: conversions between MMX and XMM registers, by MXCSR (SDM vol. 1, 10.4.4; vol. 2A). */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_UD, VECTOR_XM } from '../fault.ts';
import { fp } from '../fpu/float.ts';
import { beginSse, sseFromInt32, sseToInt32 } from '../fpu/sse.ts';
import { enterMmx, markMmxWrite } from '../fpu/x87-control.ts';
import { S_CR4, S_FPU_OPERAND, S_MXCSR, S_X87 } from '../state.ts';
import { CR4_OSXMMEXCPT, updateSseFast } from '../system/mode-word.ts';
import { high, isMemory, linearAddress, low, regOffset, rmOffset } from './operands.ts';
import { defineHelpers, type Helper } from './registry.ts';
import { reportPending } from './x87.ts';
import { loadOperand } from './x87-memory.ts';

const ALL_EXCEPTIONS = 0x3f;

/** Notes the exceptions of the operation just done, in `fp`, and raises #XM if one is not masked. */
function settleExceptions(cpu: Cpu): void {
  cpu.i32[S_MXCSR >> 2] |= fp.flags;
  updateSseFast(cpu);
  if (fp.unmasked(ALL_EXCEPTIONS)) raise(cpu.i32[S_CR4 >> 2] & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
}

/** Word index of the operand in ModRM.rm; one in memory is loaded first. */
function source(cpu: Cpu, op: number, size: number): number {
  if (!isMemory(cpu, op)) return rmOffset(cpu, op) >> 2;
  linearAddress(cpu, op);
  if (size === 16 && low & 15) raise(VECTOR_GP, 0);
  loadOperand(cpu, low, high, size);
  return S_FPU_OPERAND >> 2;
}

function fromMmx(double: boolean): Helper {
  return (cpu, op) => {
    // With an operand in memory no MMX register is touched: MMX is not entered, nor an x87 exception reported.
    const usesMmx = !isMemory(cpu, op);
    if (usesMmx) reportPending(cpu);
    const from = source(cpu, op, 8);
    if (usesMmx) enterMmx(cpu.x87);
    beginSse(cpu.i32[S_MXCSR >> 2]);
    sseFromInt32(double, 2, cpu.i32, regOffset(cpu, op) >> 2, from);
    settleExceptions(cpu);
    return HELPER_NEXT;
  };
}

function toMmx(truncate: boolean, double: boolean): Helper {
  return (cpu, op) => {
    reportPending(cpu);
    const from = source(cpu, op, double ? 16 : 8);
    const target = regOffset(cpu, op);
    enterMmx(cpu.x87);
    beginSse(cpu.i32[S_MXCSR >> 2]);
    sseToInt32(truncate, double, 2, 2, cpu.i32, target >> 2, from);
    settleExceptions(cpu);
    markMmxWrite(cpu.x87, (target - S_X87) >> 4);
    return HELPER_NEXT;
  };
}

defineHelpers({
  CVTPI2PS: fromMmx(false),
  CVTPI2PD: fromMmx(true),
  CVTPS2PI: toMmx(false, false),
  CVTTPS2PI: toMmx(true, false),
  CVTPD2PI: toMmx(false, true),
  CVTTPD2PI: toMmx(true, true),
});
