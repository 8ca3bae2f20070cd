/**
 * x87 control instructions and state images: FNINIT, FNCLEX, FLDCW, FLDENV, FNSTENV, FNSAVE, FRSTOR (SDM vol. 1, 8.1.10
 * and figures 8-9…8-12), FXSAVE and FXRSTOR (vol. 1, 10.5) and what MMX instructions do to the state (vol. 1, 9.5).
 */
import { S_FCS, S_FDP, S_FDS, S_FIP, S_X87 } from '../state.ts';
import { CW_FIXED, CW_INITIAL, CW_WRITABLE, OPERAND_WORD, SW_B, type X87State } from './x87-state.ts';

/** The four layouts of the environment. */
export const ENV_PROTECTED_32 = 0;
export const ENV_REAL_32 = 1;
export const ENV_PROTECTED_16 = 2;
export const ENV_REAL_16 = 3;

/** @returns the size of the environment in bytes: FLDENV, FNSTENV. */
export function environmentBytes(format: number): number {
  return format >= ENV_PROTECTED_16 ? 14 : 28;
}

/** @returns the size of the whole state in bytes, environment and eight registers: FNSAVE, FRSTOR. */
export function stateBytes(format: number): number {
  return environmentBytes(format) + 80;
}

/** FNINIT. */
export function initialize(x: X87State): void {
  reset(x);
  clearPointers(x);
}

function reset(x: X87State): void {
  x.cw = CW_INITIAL;
  x.sw = 0;
  x.tw = 0;
  x.fop = 0;
}

/** The pointers, which FNSAVE clears too, but only once it has been stored. */
export function clearPointers(x: X87State): void {
  x.i32.fill(0, S_FIP >> 2, (S_FIP >> 2) + 2);
  x.i32.fill(0, S_FDP >> 2, (S_FDP >> 2) + 2);
  x.u16[S_FCS >> 1] = 0;
  x.u16[S_FDS >> 1] = 0;
}

/** FNCLEX. */
export function clearExceptions(x: X87State): void {
  x.sw &= ~(0xff | SW_B);
}

function setControl(x: X87State, value: number): void {
  x.cw = (value & CW_WRITABLE) | CW_FIXED;
}

/** FLDCW. */
export function loadControl(x: X87State): void {
  setControl(x, x.u16[OPERAND_WORD]);
}

/** FNSTCW. */
export function storeControl(x: X87State): void {
  x.u16[OPERAND_WORD] = x.cw;
}

/** FNSTSW, to memory or AX. */
export function storeStatus(x: X87State): void {
  x.u16[OPERAND_WORD] = x.sw;
}

const TAG_VALID = 0;
const TAG_ZERO = 1;
const TAG_SPECIAL = 2;
const TAG_EMPTY = 3;

/** The two-bit tag of physical register `r`, found from its contents. */
function fullTag(x: X87State, r: number): number {
  if ((x.tw & (1 << r)) === 0) return TAG_EMPTY;
  const at = (S_X87 + 16 * r) >> 2;
  const exponent = x.i32[at + 2] & 0x7fff;
  const hi = x.i32[at + 1];
  if (exponent === 0 && (hi | x.i32[at]) === 0) return TAG_ZERO;
  return exponent === 0 || exponent === 0x7fff || hi >= 0 ? TAG_SPECIAL : TAG_VALID;
}

function fullTagWord(x: X87State): number {
  let word = 0;
  for (let r = 7; r >= 0; r--) word = (word << 2) | fullTag(x, r);
  return word;
}

function setFullTagWord(x: X87State, word: number): void {
  x.tw = 0;
  for (let r = 0; r < 8; r++) if (((word >>> (2 * r)) & 3) !== TAG_EMPTY) x.tw |= 1 << r;
}

/** FNSTENV: the environment to `x.operand`; then all exceptions are masked. */
export function storeEnvironment(x: X87State, format: number): void {
  writeEnvironment(x, format);
  x.cw |= 0x3f;
}

function writeEnvironment(x: X87State, format: number): void {
  const { i32, u16, operand16, operand32 } = x;
  const ip = i32[S_FIP >> 2];
  const dp = i32[S_FDP >> 2];
  const cs = u16[S_FCS >> 1];
  const ds = u16[S_FDS >> 1];
  const tags = fullTagWord(x);
  // The real-mode layouts hold linear addresses.
  const linearIp = ((cs << 4) + ip) | 0;
  const linearDp = ((ds << 4) + dp) | 0;
  if (format >= ENV_PROTECTED_16) {
    const real = format === ENV_REAL_16;
    operand16[0] = x.cw;
    operand16[1] = x.sw;
    operand16[2] = tags;
    operand16[3] = real ? linearIp : ip;
    operand16[4] = real ? ((linearIp >>> 4) & 0xf000) | x.fop : cs;
    operand16[5] = real ? linearDp : dp;
    operand16[6] = real ? (linearDp >>> 4) & 0xf000 : ds;
    return;
  }
  const unused = 0xffff0000;
  const real = format === ENV_REAL_32;
  operand32[0] = unused | x.cw;
  operand32[1] = unused | x.sw;
  operand32[2] = unused | tags;
  operand32[3] = real ? unused | (linearIp & 0xffff) : ip;
  operand32[4] = real ? ((linearIp >>> 4) & 0x0ffff000) | x.fop : (x.fop << 16) | cs;
  operand32[5] = real ? unused | (linearDp & 0xffff) : dp;
  operand32[6] = real ? (linearDp >>> 4) & 0x0ffff000 : unused | ds;
}

/** FLDENV: the environment from `x.operand`. */
export function loadEnvironment(x: X87State, format: number): void {
  const { i32, u16, operand16, operand32 } = x;
  const narrow = format >= ENV_PROTECTED_16;
  const step = narrow ? 1 : 2;
  setControl(x, operand16[0]);
  x.sw = operand16[step];
  setFullTagWord(x, operand16[2 * step]);
  let ip = narrow ? operand16[3] : operand32[3];
  let dp = narrow ? operand16[5] : operand32[5];
  let cs = narrow ? operand16[4] : operand16[8];
  let ds = operand16[6 * step];
  if (format === ENV_REAL_16) {
    x.fop = operand16[4] & 0x7ff;
    ip |= (operand16[4] & 0xf000) << 4;
    dp |= (operand16[6] & 0xf000) << 4;
  } else if (format === ENV_REAL_32) {
    x.fop = operand16[8] & 0x7ff;
    ip = (ip & 0xffff) | ((operand32[4] & 0x0ffff000) << 4);
    dp = (dp & 0xffff) | ((operand32[6] & 0x0ffff000) << 4);
  } else if (format === ENV_PROTECTED_32) {
    x.fop = operand16[9] & 0x7ff;
  }
  if (format === ENV_REAL_16 || format === ENV_REAL_32) cs = ds = 0;
  i32[S_FIP >> 2] = ip;
  i32[(S_FIP + 4) >> 2] = 0;
  i32[S_FDP >> 2] = dp;
  i32[(S_FDP + 4) >> 2] = 0;
  u16[S_FCS >> 1] = cs;
  u16[S_FDS >> 1] = ds;
}

/** FNSAVE: environment and registers, ST(0) first, to `x.operand`; then FNINIT. */
export function saveState(x: X87State, format: number): void {
  writeEnvironment(x, format);
  let at = environmentBytes(format) >> 1;
  for (let i = 0; i < 8; i++) {
    const register = x.wordOf(i) << 1;
    for (let half = 0; half < 5; half++) x.operand16[at++] = x.u16[register + half];
  }
  reset(x);
}

/** FRSTOR. */
export function restoreState(x: X87State, format: number): void {
  loadEnvironment(x, format);
  let at = environmentBytes(format) >> 1;
  for (let i = 0; i < 8; i++) {
    const register = x.wordOf(i) << 1;
    for (let half = 0; half < 5; half++) x.u16[register + half] = x.operand16[at++];
  }
}

/**
 * The x87 part of FXSAVE (bytes 0…23 and 32…159 of `x.operand`); MXCSR and the XMM registers are the CPU's.
 * @param wide whether FIP and FDP are 64-bit (REX.W) rather than 32 bits and a selector.
 */
export function fxsave(x: X87State, wide: boolean): void {
  x.fetch();
  const { i32, u16, operand, operand16, operand32 } = x;
  operand.fill(0, 0, 24);
  operand16[0] = x.cw;
  operand16[1] = x.sw;
  operand[4] = x.tw;
  operand16[3] = x.fop;
  operand32[2] = i32[S_FIP >> 2];
  operand32[3] = wide ? i32[(S_FIP + 4) >> 2] : u16[S_FCS >> 1];
  operand32[4] = i32[S_FDP >> 2];
  operand32[5] = wide ? i32[(S_FDP + 4) >> 2] : u16[S_FDS >> 1];
  for (let i = 0; i < 8; i++) {
    const register = x.wordOf(i);
    const at = 8 + 4 * i;
    operand32[at] = i32[register];
    operand32[at + 1] = i32[register + 1];
    operand32[at + 2] = i32[register + 2] & 0xffff;
    operand32[at + 3] = 0;
  }
}

/** The x87 part of FXRSTOR, from the same bytes. */
export function fxrstor(x: X87State, wide: boolean): void {
  const { i32, u16, operand, operand16, operand32 } = x;
  setControl(x, operand16[0]);
  x.sw = operand16[1];
  x.tw = operand[4];
  x.fop = operand16[3] & 0x7ff;
  i32[S_FIP >> 2] = operand32[2];
  i32[(S_FIP + 4) >> 2] = wide ? operand32[3] : 0;
  i32[S_FDP >> 2] = operand32[4];
  i32[(S_FDP + 4) >> 2] = wide ? operand32[5] : 0;
  u16[S_FCS >> 1] = wide ? 0 : operand32[3];
  u16[S_FDS >> 1] = wide ? 0 : operand32[5];
  for (let i = 0; i < 8; i++) {
    const register = x.wordOf(i);
    const at = 8 + 4 * i;
    i32[register] = operand32[at];
    i32[register + 1] = operand32[at + 1];
    u16[(register + 2) << 1] = operand32[at + 2];
  }
  x.commit();
}

/** Any MMX instruction but EMMS: TOP = 0 and every register valid. The CPU moves the data, bits 63:0 of Ri = MMi. */
export function enterMmx(x: X87State): void {
  x.fetch();
  x.top = 0;
  x.tw = 0xff;
  x.commit();
}

/** After an MMX instruction wrote MMi: the exponent and sign of Ri are all ones. */
export function markMmxWrite(x: X87State, i: number): void {
  x.u16[(S_X87 + 16 * i + 8) >> 1] = 0xffff;
}

/** EMMS: every register empty. */
export function leaveMmx(x: X87State): void {
  x.fetch();
  x.tw = 0;
  x.top = 0;
  x.commit();
}
