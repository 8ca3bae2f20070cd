/**
 * XSAVE, XSAVEOPT and XRSTOR in the standard form, for x87 and SSE state (Intel SDM vol. 1, ch. 13). Both components lie in
 * the legacy region, which is FXSAVE's image; a header of 64 bytes follows. XSAVEOPT saves all it is asked for.
 */
import type { Cpu } from '../cpu.ts';
import { HELPER_NEXT } from '../exits.ts';
import { raise, VECTOR_GP, VECTOR_NM, VECTOR_UD } from '../fault.ts';
import { fxrstor, fxsave, initialize } from '../fpu/x87-control.ts';
import { MODE_OSXSAVE } from '../mode.ts';
import { INFO_REXW } from '../record.ts';
import { S_CR0, S_FPU_OPERAND, S_MODE, S_X87, S_XCR0 } from '../state.ts';
import { CR0_TS } from '../system/mode-word.ts';
import { high, info, isCanonical, linearAddress, loadMemory, low, storeMemory } from './operands.ts';
import { defineHelpers } from './registry.ts';
import { checkMxcsr, restoreSse, saveSse } from './x87-fxsave.ts';

const RAX = 0;
const X87 = 1;
const SSE = 2;

const LEGACY_BYTES = 512;
/** The last byte that instructions write there. */
const LEGACY_USED = 416;
const HEADER_BYTES = 64;
const XSTATE_BV = LEGACY_BYTES;
const XCOMP_BV = LEGACY_BYTES + 8;
const XMM_IN_IMAGE = S_FPU_OPERAND + 160;

/** Where the area is. */
let areaLow = 0;
let areaHigh = 0;

/** Checks mode and alignment. @returns the components that the instruction is about. */
function begin(cpu: Cpu, op: number): number {
  if (!(cpu.i32[S_MODE >> 2] & MODE_OSXSAVE)) raise(VECTOR_UD);
  if (cpu.i32[S_CR0 >> 2] & CR0_TS) raise(VECTOR_NM);
  linearAddress(cpu, op);
  if (low & 63 && isCanonical(high)) raise(VECTOR_GP, 0);
  areaLow = low;
  areaHigh = high;
  return cpu.gprLow(RAX) & cpu.i32[S_XCR0 >> 2];
}

/** Eight bytes of the header → low, high. */
function loadHeader(cpu: Cpu, offset: number): void {
  linearHeader(offset);
  loadMemory(cpu, headerLow, headerHigh, 8);
}

let headerLow = 0;
let headerHigh = 0;

function linearHeader(offset: number): void {
  const sum = (areaLow >>> 0) + offset;
  headerLow = sum | 0;
  headerHigh = (areaHigh + (sum > 0xffffffff ? 1 : 0)) | 0;
}

function save(cpu: Cpu, op: number): number {
  const components = begin(cpu, op);
  const information = info(cpu, op);
  cpu.mmu.probe(areaLow, areaHigh, LEGACY_BYTES + HEADER_BYTES, true);
  // What is not saved stays as it is.
  cpu.mmu.copyIn(S_FPU_OPERAND, areaLow, areaHigh, LEGACY_BYTES);
  if (components & X87) fxsave(cpu.x87, (information & INFO_REXW) !== 0);
  if (components & SSE) saveSse(cpu, information);
  cpu.mmu.copyOut(S_FPU_OPERAND, areaLow, areaHigh, LEGACY_USED);
  loadHeader(cpu, XSTATE_BV);
  // Both components count as in use always.
  storeMemory(cpu, headerLow, headerHigh, 8, low | components, high);
  return HELPER_NEXT;
}

function restore(cpu: Cpu, op: number): number {
  const components = begin(cpu, op);
  const information = info(cpu, op);
  loadHeader(cpu, XSTATE_BV);
  const present = low;
  if (high !== 0 || present & ~cpu.i32[S_XCR0 >> 2]) raise(VECTOR_GP, 0);
  for (const offset of [XCOMP_BV, XCOMP_BV + 8]) {
    loadHeader(cpu, offset);
    if (low !== 0 || high !== 0) raise(VECTOR_GP, 0);
  }
  cpu.mmu.copyIn(S_FPU_OPERAND, areaLow, areaHigh, LEGACY_BYTES);
  if (components & SSE) checkMxcsr(cpu);
  if (components & X87) {
    if (present & X87) fxrstor(cpu.x87, (information & INFO_REXW) !== 0);
    else resetX87(cpu);
  }
  if (components & SSE) {
    // MXCSR is loaded even where the registers are to be initialized.
    if (!(present & SSE)) cpu.u8.fill(0, XMM_IN_IMAGE, XMM_IN_IMAGE + 256);
    restoreSse(cpu, information);
  }
  return HELPER_NEXT;
}

/** The initial configuration: as after FNINIT, with registers of zero. */
function resetX87(cpu: Cpu): void {
  cpu.x87.fetch();
  initialize(cpu.x87);
  cpu.x87.commit();
  cpu.u8.fill(0, S_X87, S_X87 + 128);
}

defineHelpers({ XSAVE: save, XSAVEOPT: save, XRSTOR: restore });
