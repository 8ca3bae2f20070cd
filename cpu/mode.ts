/**
 * The mode word: everything besides the address that the meaning of code bytes depends on. Blocks and regions are made
 * for one mode word, so that nothing of this is checked when they run.
 */
import { CODE_16, CODE_32, CODE_64 } from './decode/decoder.ts';

/** Bits 0–3: code size in bytes (CODE_16, CODE_32, CODE_64). Bits 4–7: stack-address size. */
export const MODE_CODE_MASK = 0x0f;
export const MODE_STACK_SHIFT = 4;
/** Bits 8–9: current privilege level. */
export const MODE_CPL_SHIFT = 8;
/** CR0.PE. */
export const MODE_PROTECTED = 1 << 10;
/** EFER.LMA: also set in compatibility mode. */
export const MODE_LONG = 1 << 11;
/** Some segment in use is not flat: memory operands outside 64-bit mode check limits. */
export const MODE_CHECKED = 1 << 12;
/** x87 and MMX instructions raise #NM (CR0.EM or CR0.TS). */
export const MODE_NO_X87 = 1 << 13;
/** SSE instructions raise #NM (CR0.TS). */
export const MODE_SSE_NM = 1 << 14;
/** SSE instructions raise #UD (CR0.EM, or no CR4.OSFXSR). */
export const MODE_SSE_UD = 1 << 15;
/** RFLAGS.TF: one instruction at a time. */
export const MODE_TRAP = 1 << 16;
/** CR0.MP and CR0.TS: FWAIT raises #NM. */
export const MODE_WAIT_NM = 1 << 17;
/** MMX: CR0.EM gives #UD rather than #NM. */
export const MODE_MMX_UD = 1 << 18;
/** CR4.OSXSAVE. */
export const MODE_OSXSAVE = 1 << 19;
/** IOPL allows CLI, STI, POPF … their full effect (CPL ≤ IOPL, or real mode). */
export const MODE_IOPL = 1 << 20;
/** CR4.FSGSBASE. */
export const MODE_FSGSBASE = 1 << 21;

/** Breakpoints are on: one instruction at a time, and its accesses are looked at. */
export const MODE_WATCHED = 1 << 23;

/** The run loop wants one instruction only (interrupt shadow, single step). */
export const MODE_ONE = 1 << 22;

/** Must the run loop see to it that only one instruction runs? */
export function isStepped(mode: number): boolean {
  return (mode & (MODE_TRAP | MODE_WATCHED)) !== 0 && !(mode & MODE_ONE);
}

export function codeSize(mode: number): number {
  return mode & MODE_CODE_MASK;
}

export function stackSize(mode: number): number {
  return (mode >> MODE_STACK_SHIFT) & 15;
}

export function privilegeLevel(mode: number): number {
  return (mode >> MODE_CPL_SHIFT) & 3;
}

export { CODE_16, CODE_32, CODE_64 };
