/** Fast system calls: SYSCALL, SYSRET, SYSENTER, SYSEXIT (Intel SDM vol. 2B; vol. 3A 5.8.7, 5.8.8). */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import { raise, VECTOR_GP, VECTOR_UD } from '../fault.ts';
import { MODE_PROTECTED } from '../mode.ts';
import {
  S_EFER,
  S_LSTAR,
  S_MODE,
  S_RFLAGS,
  S_RIP,
  S_SFMASK,
  S_STAR,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
} from '../state.ts';
import { cacheSegment, isLong } from '../system/descriptors.ts';
import { ATTR_DB, ATTR_DPL_SHIFT, ATTR_L, EFER_SCE, updateMode } from '../system/mode-word.ts';
import { RFLAGS_IF, RFLAGS_RF, RFLAGS_TF, RFLAGS_VM, setRflags } from './flags.ts';
import { requirePrivilege } from './interrupt.ts';
import { high, isCanonical, low, nextRip, operandSize } from './operands.ts';
import { defineHelpers } from './registry.ts';

const RCX = 1;
const RDX = 2;
const RSP = 4;
const R11 = 11;

/** Descriptors of flat segments, present and accessed: first dword, second dword of code and data at DPL 0. */
const FLAT_LOW = 0x0000ffff;
const FLAT_CODE = 0x008f9b00;
const FLAT_DATA = 0x00cf9300;
/** What SYSRET takes of R11. */
const SYSRET_FLAGS = 0x3c7fd7;

/** Loads CS and SS with the flat segments that these instructions imply, and goes to `ripLow`, `ripHigh`. */
function go(cpu: Cpu, cs: number, ss: number, cpl: number, code64: boolean, ripLow: number, ripHigh: number): number {
  const dpl = cpl << ATTR_DPL_SHIFT;
  cacheSegment(cpu, SEG_CS, (cs & 0xfffc) | cpl, FLAT_LOW, FLAT_CODE | dpl | (code64 ? ATTR_L : ATTR_DB));
  cacheSegment(cpu, SEG_SS, (ss & 0xfffc) | cpl, FLAT_LOW, FLAT_DATA | dpl);
  cpu.i32[S_RIP >> 2] = ripLow;
  cpu.i32[(S_RIP + 4) >> 2] = code64 ? ripHigh : 0;
  updateMode(cpu, cpl);
  cpu.codeSegmentChanged();
  // The trap behind an instruction that clears TF does not come.
  if (!(cpu.i32[S_RFLAGS >> 2] & RFLAGS_TF)) cpu.stepTrap = false;
  return cpu.jumped();
}

function requireSyscall(cpu: Cpu): void {
  if (!(cpu.i32[S_EFER >> 2] & EFER_SCE)) raise(VECTOR_UD);
}

/** The selector in IA32_SYSENTER_CS; null is #GP(0). */
function sysenterSelector(cpu: Cpu): number {
  const selector = cpu.i32[S_SYSENTER_CS >> 2] & 0xffff;
  if (!(cpu.i32[S_MODE >> 2] & MODE_PROTECTED) || (selector & 0xfffc) === 0) raise(VECTOR_GP, 0);
  return selector;
}

defineHelpers({
  SYSCALL: (cpu, op) => {
    requireSyscall(cpu);
    nextRip(cpu, op);
    cpu.setGpr(RCX, low, high);
    const flags = cpu.rflags & ~RFLAGS_RF;
    cpu.setGpr(R11, flags, 0);
    setRflags(cpu, flags & ~cpu.i32[S_SFMASK >> 2]);
    const selector = cpu.i32[(S_STAR + 4) >> 2] & 0xffff;
    return go(cpu, selector, selector + 8, 0, true, cpu.i32[S_LSTAR >> 2], cpu.i32[(S_LSTAR + 4) >> 2]);
  },
  SYSRET: (cpu, op) => {
    requireSyscall(cpu);
    requirePrivilege(cpu);
    const to64 = operandSize(cpu, op) === 8;
    const ripLow = cpu.gprLow(RCX);
    const ripHigh = cpu.gprHigh(RCX);
    if (to64 && !isCanonical(ripHigh)) raise(VECTOR_GP, 0);
    setRflags(cpu, cpu.gprLow(R11) & SYSRET_FLAGS);
    const selector = cpu.i32[(S_STAR + 4) >> 2] >>> 16;
    return go(cpu, to64 ? selector + 16 : selector, selector + 8, 3, to64, ripLow, ripHigh);
  },
  SYSENTER: (cpu) => {
    const selector = sysenterSelector(cpu);
    const long = isLong(cpu);
    setRflags(cpu, cpu.rflags & ~(RFLAGS_IF | RFLAGS_RF | RFLAGS_VM));
    cpu.setGpr(RSP, cpu.i32[S_SYSENTER_ESP >> 2], long ? cpu.i32[(S_SYSENTER_ESP + 4) >> 2] : 0);
    return go(cpu, selector, selector + 8, 0, long, cpu.i32[S_SYSENTER_EIP >> 2], cpu.i32[(S_SYSENTER_EIP + 4) >> 2]);
  },
  SYSEXIT: (cpu, op) => {
    const selector = sysenterSelector(cpu);
    requirePrivilege(cpu);
    const to64 = operandSize(cpu, op) === 8;
    const ripLow = cpu.gprLow(RDX);
    const ripHigh = cpu.gprHigh(RDX);
    const stackHigh = to64 ? cpu.gprHigh(RCX) : 0;
    if (to64 && !(isCanonical(ripHigh) && isCanonical(stackHigh))) raise(VECTOR_GP, 0);
    cpu.setGpr(RSP, cpu.gprLow(RCX), stackHigh);
    const first = selector + (to64 ? 32 : 16);
    return go(cpu, first, first + 8, 3, to64, ripLow, ripHigh);
  },
});
