/** The processor about itself: CPUID, RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC, RDPID, XGETBV, XSETBV (Intel SDM vol. 2). */
import type { Cpu } from '../cpu.ts';
import { EXIT_EVENT, HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_UD } from '../fault.ts';
import { MODE_OSXSAVE } from '../mode.ts';
import { S_CR4, S_MODE, S_TSC_AUX, S_XCR0 } from '../state.ts';
import { CR4_TSD } from '../system/control.ts';
import { readCpuid, result } from '../system/cpu-model.ts';
import { currentPrivilegeLevel } from '../system/mode-word.ts';
import { msr, readMsr, readTsc, writeMsr } from '../system/msr.ts';
import { requirePrivilege } from './interrupt.ts';
import { advanceRip, isMode64, rmOffset, writeRegister } from './operands.ts';
import { defineHelpers } from './registry.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;

/** Components of XCR0: x87 always, SSE. */
const XCR0_X87 = 1;
const XCR0_SSE = 2;

function setEdxEax(cpu: Cpu, low: number, high: number): void {
  cpu.setGpr(RAX, low, 0);
  cpu.setGpr(RDX, high, 0);
}

function readTimeStamp(cpu: Cpu): void {
  if (cpu.i32[S_CR4 >> 2] & CR4_TSD && currentPrivilegeLevel(cpu) !== 0) raise(VECTOR_GP, 0);
  readTsc(cpu);
  setEdxEax(cpu, msr.low, msr.high);
}

function requireOsxsave(cpu: Cpu): void {
  if (!(cpu.i32[S_MODE >> 2] & MODE_OSXSAVE)) raise(VECTOR_UD);
}

defineHelpers({
  CPUID: (cpu) => {
    readCpuid(cpu, cpu.gprLow(RAX), cpu.gprLow(RCX));
    cpu.setGpr(RAX, result[0], 0);
    cpu.setGpr(RBX, result[1], 0);
    cpu.setGpr(RCX, result[2], 0);
    cpu.setGpr(RDX, result[3], 0);
    return HELPER_NEXT;
  },
  RDMSR: (cpu) => {
    requirePrivilege(cpu);
    if (!readMsr(cpu, cpu.gprLow(RCX))) raise(VECTOR_GP, 0);
    setEdxEax(cpu, msr.low, msr.high);
    return HELPER_NEXT;
  },
  /** Ends the block: EFER changes the mode, the APIC what interrupts wait. */
  WRMSR: (cpu, op) => {
    requirePrivilege(cpu);
    if (!writeMsr(cpu, cpu.gprLow(RCX), cpu.gprLow(RAX), cpu.gprLow(RDX))) raise(VECTOR_GP, 0);
    advanceRip(cpu, op);
    return EXIT_EVENT;
  },
  RDTSC: (cpu) => {
    readTimeStamp(cpu);
    return HELPER_NEXT;
  },
  RDTSCP: (cpu) => {
    readTimeStamp(cpu);
    cpu.setGpr(RCX, cpu.i32[S_TSC_AUX >> 2], 0);
    return HELPER_NEXT;
  },
  RDPID: (cpu, op) => {
    writeRegister(cpu, rmOffset(cpu, op), isMode64(cpu, op) ? 8 : 4, cpu.i32[S_TSC_AUX >> 2]);
    return HELPER_NEXT;
  },
  /** There are no performance counters. */
  RDPMC: () => raise(VECTOR_GP, 0),
  XGETBV: (cpu) => {
    requireOsxsave(cpu);
    if (cpu.gprLow(RCX) !== 0) raise(VECTOR_GP, 0);
    setEdxEax(cpu, cpu.i32[S_XCR0 >> 2], 0);
    return HELPER_NEXT;
  },
  XSETBV: (cpu) => {
    requireOsxsave(cpu);
    requirePrivilege(cpu);
    const value = cpu.gprLow(RAX);
    if (cpu.gprLow(RCX) !== 0 || cpu.gprLow(RDX) !== 0) raise(VECTOR_GP, 0);
    if (!(value & XCR0_X87) || value & ~(XCR0_X87 | XCR0_SSE)) raise(VECTOR_GP, 0);
    cpu.i32[S_XCR0 >> 2] = value;
    return HELPER_NEXT;
  },
});
