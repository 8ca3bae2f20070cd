/**
 * Control registers and EFER: what may be written (Intel SDM vol. 3A 2.5, 4.1, 10.8.5), and what follows from a change:
 * translations, mode word, code found by address.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS } from '../decode/insn.ts';
import { raise, VECTOR_GP } from '../fault.ts';
import { codeSize } from '../mode.ts';
import { RAM_BASE, S_CR0, S_CR3, S_CR4, S_EFER, S_MODE, SEGMENT_ATTR, segmentOffset } from '../state.ts';
import { XSAVE_PRESENT } from './cpu-model.ts';
import {
  ATTR_L,
  CR0_AM,
  CR0_EM,
  CR0_MP,
  CR0_NE,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_FSGSBASE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PGE,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  updateMode,
} from './mode-word.ts';

const CR0_ET = 1 << 4;
const CR0_NW = 1 << 29;
const CR0_CD = 1 << 30;
const CR0_DEFINED = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

export const CR4_TSD = 1 << 2;
export const CR4_DE = 1 << 3;
const CR4_PSE = 1 << 4;
const CR4_MCE = 1 << 6;
export const CR4_PCE = 1 << 8;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const CR4_DEFINED =
  CR4_TSD |
  CR4_DE |
  CR4_PSE |
  CR4_PAE |
  CR4_MCE |
  CR4_PGE |
  CR4_PCE |
  CR4_OSFXSR |
  CR4_OSXMMEXCPT |
  CR4_FSGSBASE |
  (XSAVE_PRESENT ? CR4_OSXSAVE : 0) |
  CR4_SMEP |
  CR4_SMAP;

/** Physical address bits 40…63 in the upper half. */
const ABOVE_PHYSICAL = ~0xff;

function general(): never {
  raise(VECTOR_GP, 0);
}

export function writeCr0(cpu: Cpu, low: number, high: number): void {
  const { i32 } = cpu;
  const old = i32[S_CR0 >> 2];
  const value = (low & CR0_DEFINED) | CR0_ET;
  if (high !== 0) general();
  if (value & CR0_PG && !(value & CR0_PE)) general();
  if (value & CR0_NW && !(value & CR0_CD)) general();
  const efer = i32[S_EFER >> 2];
  const cs = i32[(segmentOffset(SEG_CS) + SEGMENT_ATTR) >> 2];
  if (value & CR0_PG && !(old & CR0_PG)) {
    if (efer & EFER_LME) {
      if (!(i32[S_CR4 >> 2] & CR4_PAE) || cs & ATTR_L) general();
      i32[S_EFER >> 2] = efer | EFER_LMA;
    } else checkPdptes(cpu, i32[S_CR3 >> 2]);
  } else if (!(value & CR0_PG) && old & CR0_PG) {
    if (codeSize(i32[S_MODE >> 2]) === 8) general();
    i32[S_EFER >> 2] = efer & ~EFER_LMA;
  }
  i32[S_CR0 >> 2] = value;
  if ((old ^ value) & (CR0_PG | CR0_WP | CR0_PE)) cpu.remapped();
  updateMode(cpu);
}

/** @returns whether code is now mapped in another way, so that what runs must be looked up anew */
export function writeCr3(cpu: Cpu, low: number, high: number): boolean {
  const { i32 } = cpu;
  if (i32[S_EFER >> 2] & EFER_LMA) {
    if (high & ABOVE_PHYSICAL) general();
  } else if (i32[S_CR0 >> 2] & CR0_PG) checkPdptes(cpu, low);
  i32[S_CR3 >> 2] = low;
  i32[(S_CR3 + 4) >> 2] = high;
  return cpu.remapped();
}

export function writeCr4(cpu: Cpu, low: number, high: number): void {
  const { i32 } = cpu;
  const old = i32[S_CR4 >> 2];
  if (high !== 0 || low & ~CR4_DEFINED) general();
  if (i32[S_EFER >> 2] & EFER_LMA && !(low & CR4_PAE)) general();
  i32[S_CR4 >> 2] = low;
  if ((old ^ low) & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)) {
    try {
      if (i32[S_CR0 >> 2] & CR0_PG) checkPdptes(cpu, i32[S_CR3 >> 2]);
    } catch (fault) {
      i32[S_CR4 >> 2] = old;
      throw fault;
    }
    cpu.remapped();
  }
  updateMode(cpu);
}

export function writeEfer(cpu: Cpu, low: number, high: number): void {
  const { i32 } = cpu;
  const old = i32[S_EFER >> 2];
  if (high !== 0 || low & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) general();
  if ((old ^ low) & EFER_LME && i32[S_CR0 >> 2] & CR0_PG) general();
  // LMA follows from LME and CR0.PG; what is written there does not count.
  i32[S_EFER >> 2] = (low & ~EFER_LMA) | (old & EFER_LMA);
  if ((old ^ low) & EFER_NXE) cpu.remapped();
  updateMode(cpu);
}

/**
 * PAE paging: the four page-directory pointers are checked when CR0, CR3 or CR4 is loaded (SDM vol. 3A 4.4.1). The walker
 * reads them anew at each walk.
 */
function checkPdptes(cpu: Cpu, cr3: number): void {
  const { i32 } = cpu;
  if (!(i32[S_CR4 >> 2] & CR4_PAE) || i32[S_EFER >> 2] & (EFER_LMA | EFER_LME)) return;
  const table = (cr3 & ~0x1f) >>> 0;
  for (let n = 0; n < 4; n++) {
    const address = table + n * 8;
    if (address + 8 > cpu.ramSize) return;
    const at = (RAM_BASE + address) >> 2;
    const reserved = i32[at] & 0x1e6 || i32[at + 1] & ABOVE_PHYSICAL;
    if (i32[at] & 1 && reserved) general();
  }
}
