/** Recomputes what follows from control registers, segments and flags: the mode word, the TLB in use, SSE's fast path. */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import {
  CODE_16,
  CODE_32,
  CODE_64,
  MODE_CHECKED,
  MODE_CPL_SHIFT,
  MODE_FSGSBASE,
  MODE_IOPL,
  MODE_LONG,
  MODE_MMX_UD,
  MODE_NO_X87,
  MODE_OSXSAVE,
  MODE_PROTECTED,
  MODE_SSE_NM,
  MODE_SSE_UD,
  MODE_STACK_SHIFT,
  MODE_TRAP,
  MODE_WAIT_NM,
  MODE_WATCHED,
} from '../mode.ts';
import {
  S_CR0,
  S_CR4,
  S_EFER,
  S_MODE,
  S_MXCSR,
  S_RFLAGS,
  S_SSE_FAST,
  S_TLB_BASE,
  S_TLB_STRICT,
  S_TLB_SUPERVISOR,
  S_TLB_USER,
  SEGMENT_ATTR,
  SEGMENT_CHECKED,
  segmentOffset,
} from '../state.ts';
import { hasBreakpoints } from './debug.ts';

export const CR0_PE = 1 << 0;
export const CR0_MP = 1 << 1;
export const CR0_EM = 1 << 2;
export const CR0_TS = 1 << 3;
export const CR0_NE = 1 << 5;
export const CR0_WP = 1 << 16;
export const CR0_AM = 1 << 18;
export const CR0_PG = 1 << 31;
export const CR4_PAE = 1 << 5;
export const CR4_PGE = 1 << 7;
export const CR4_OSFXSR = 1 << 9;
export const CR4_OSXMMEXCPT = 1 << 10;
export const CR4_FSGSBASE = 1 << 16;
export const CR4_OSXSAVE = 1 << 18;
export const EFER_SCE = 1 << 0;
export const EFER_LME = 1 << 8;
export const EFER_LMA = 1 << 10;
export const EFER_NXE = 1 << 11;

const RFLAGS_AC = 1 << 18;

/** Descriptor attributes as SEGMENT_ATTR holds them (positions of the second dword). */
export const ATTR_L = 1 << 21;
export const ATTR_DB = 1 << 22;
export const ATTR_PRESENT = 1 << 15;
export const ATTR_DPL_SHIFT = 13;
export const ATTR_S = 1 << 12;

/** Current privilege level: the DPL of SS. */
export function currentPrivilegeLevel(cpu: Cpu): number {
  return (cpu.i32[S_MODE >> 2] >> MODE_CPL_SHIFT) & 3;
}

/** The bits of the mode word that follow from CR0 and CR4. */
function controlBits(cr0: number, cr4: number): number {
  let bits = 0;
  if (cr0 & CR0_PE) bits |= MODE_PROTECTED;
  if (cr0 & (CR0_EM | CR0_TS)) bits |= MODE_NO_X87;
  if (cr0 & CR0_EM) bits |= MODE_MMX_UD | MODE_SSE_UD;
  if (!(cr4 & CR4_OSFXSR)) bits |= MODE_SSE_UD;
  if (cr0 & CR0_TS) bits |= MODE_SSE_NM;
  if ((cr0 & (CR0_MP | CR0_TS)) === (CR0_MP | CR0_TS)) bits |= MODE_WAIT_NM;
  if (cr4 & CR4_OSXSAVE) bits |= MODE_OSXSAVE;
  if (cr4 & CR4_FSGSBASE) bits |= MODE_FSGSBASE;
  return bits;
}

/** Compiled ahead of time too (aot/compile.ts). Recomputes the mode word at privilege level `cpl`. Call after every change of its inputs. */
export function updateMode(cpu: Cpu, cpl = currentPrivilegeLevel(cpu)): void {
  const { i32 } = cpu;
  const cr0 = i32[S_CR0 >> 2];
  const cr4 = i32[S_CR4 >> 2];
  const long = (i32[S_EFER >> 2] & EFER_LMA) !== 0;
  const cs = i32[(segmentOffset(SEG_CS) + SEGMENT_ATTR) >> 2];
  const ss = i32[(segmentOffset(SEG_SS) + SEGMENT_ATTR) >> 2];
  const rflags = i32[S_RFLAGS >> 2];
  let mode: number;
  if (long && cs & ATTR_L) mode = CODE_64 | (8 << MODE_STACK_SHIFT);
  else {
    mode = (cs & ATTR_DB ? CODE_32 : CODE_16) | ((ss & ATTR_DB ? 4 : 2) << MODE_STACK_SHIFT);
    for (let n = 0; n < 6; n++) if (i32[(segmentOffset(n) + SEGMENT_CHECKED) >> 2]) mode |= MODE_CHECKED;
  }
  mode |= cpl << MODE_CPL_SHIFT;
  mode |= controlBits(cr0, cr4);
  if (long) mode |= MODE_LONG;
  if (!(cr0 & CR0_PE) || cpl <= ((rflags >> 12) & 3)) mode |= MODE_IOPL;
  if (rflags & 0x100) mode |= MODE_TRAP;
  const watching = hasBreakpoints(i32);
  if (watching) mode |= MODE_WATCHED;
  i32[S_MODE >> 2] = mode;
  const aligning = cpl === 3 && (cr0 & CR0_AM) !== 0 && (rflags & RFLAGS_AC) !== 0;
  i32[S_TLB_BASE >> 2] = aligning || watching ? S_TLB_STRICT : cpl === 3 ? S_TLB_USER : S_TLB_SUPERVISOR;
}

/** MXCSR: all exceptions masked, round to nearest, no DAZ or FTZ, and the precision flag set already. */
const MXCSR_FAST_MASK = 0xffe0;
const MXCSR_FAST = 0x1fa0;

/** Call after every change of MXCSR. */
export function updateSseFast(cpu: Cpu): void {
  cpu.i32[S_SSE_FAST >> 2] = (cpu.i32[S_MXCSR >> 2] & MXCSR_FAST_MASK) === MXCSR_FAST ? 1 : 0;
}
