/**
 * The x87 register state and what every instruction does to it: the stack of eight registers, the control, status and
 * tag words, stack faults, and the summary of exceptions (SDM vol. 1, 8.1 and 8.5–8.7).
 *
 * The state lives in the CPU's state block. An instruction works on copies of FCW, FSW and FTW in this object and `commit`
 * writes them back, which for a store to memory is only after the store (see x87.ts).
 */
import { S_FCS, S_FCW, S_FDP, S_FDS, S_FIP, S_FOP, S_FPU_OPERAND, S_FSW, S_FTW, S_X87 } from '../state.ts';
import { EXTENDED, EXTENDED_24, EXTENDED_53, fp, IE, PRE_COMPUTATION, setDefaultNan, Unpacked } from './float.ts';
import { round } from './round.ts';
import { pack80Hi, pack80SignExp, unpack80 } from './unpack.ts';

/** Status word bits. Below SF are the exceptions of float.ts. */
export const SW_SF = 1 << 6;
export const SW_ES = 1 << 7;
export const SW_C0 = 1 << 8;
export const SW_C1 = 1 << 9;
export const SW_C2 = 1 << 10;
const SW_TOP_SHIFT = 11;
export const SW_C3 = 1 << 14;
export const SW_B = 1 << 15;
const SW_TOP = 7 << SW_TOP_SHIFT;

/** Control word: rounding control, precision control; bit 6 reads as one on every x87 since the 387. */
const CW_RC_SHIFT = 10;
const CW_PC_SHIFT = 8;
export const CW_FIXED = 1 << 6;
export const CW_WRITABLE = 0x1f3f;
export const CW_INITIAL = 0x37f;

/** Where words on their way stand, in `u16`. */
export const OPERAND_WORD = S_FPU_OPERAND >> 1;
/** Room for the largest memory operand, the FXSAVE image. */
export const OPERAND_BYTES = 512;

/** Fields of the state block as indices into `u16`. */
const FCW = S_FCW >> 1;
const FSW = S_FSW >> 1;
const FOP = S_FOP >> 1;

/** Views of the operand's bytes: compiled code (aot/compile.ts) must not take them for the memory from its start. */
type OperandBytes = Uint8Array;
type OperandBytes16 = Uint16Array;
type OperandBytes32 = Int32Array;

export class X87State {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;

  /** Working copies; between instructions the state block is what counts. */
  cw = 0;
  sw = 0;
  tw = 0;
  fop = 0;

  /** The memory operand's bytes, as loaded by the caller or to be stored by it. */
  readonly operand: OperandBytes;
  readonly operand16: OperandBytes16;
  readonly operand32: OperandBytes32;
  /** Bytes of `operand` the caller has to store; 0 if an unmasked exception forbids the store. */
  storeBytes = 0;

  /** Where the instruction and its memory operand are, set by the caller before; kept by non-control instructions. */
  ipLo = 0;
  ipHi = 0;
  cs = 0;
  dpLo = 0;
  dpHi = 0;
  ds = 0;

  /** Layout of FLDENV, FNSTENV, FNSAVE and FRSTOR, one of x87-control.ts' ENV_…: by operand size and mode. */
  environment = 0;

  /** EFLAGS bits CF, PF, ZF: FCMOVcc reads them, FCOMI and its kin write them. */
  eflags = 0;

  /** @param buffer the state block's buffer (may be shared). */
  constructor(buffer: ArrayBufferLike) {
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.operand = new Uint8Array(buffer, S_FPU_OPERAND, OPERAND_BYTES);
    this.operand16 = new Uint16Array(buffer, S_FPU_OPERAND, OPERAND_BYTES / 2);
    this.operand32 = new Int32Array(buffer, S_FPU_OPERAND, OPERAND_BYTES / 4);
  }

  /** Takes the working copies from the state block. */
  fetch(): void {
    this.cw = this.u16[FCW];
    this.sw = this.u16[FSW];
    this.tw = this.u8[S_FTW];
    this.fop = this.u16[FOP];
  }

  /** Is an unmasked exception pending? */
  get pending(): boolean {
    return (this.u16[FSW] & SW_ES) !== 0;
  }

  /** Puts the working copies into the state block, with ES and B saying whether an unmasked exception is pending. */
  commit(): void {
    this.summarize();
    this.u16[FCW] = this.cw;
    this.u16[FSW] = this.sw;
    this.u8[S_FTW] = this.tw;
    this.u16[FOP] = this.fop;
  }

  /** Records the instruction in FIP and FOP, and its memory operand in FDP. */
  record(opcode: number, modrm: number): void {
    this.fop = ((opcode & 7) << 8) | modrm;
    this.i32[S_FIP >> 2] = this.ipLo;
    this.i32[(S_FIP + 4) >> 2] = this.ipHi;
    this.u16[S_FCS >> 1] = this.cs;
    if (modrm >= 0xc0) return;
    this.i32[S_FDP >> 2] = this.dpLo;
    this.i32[(S_FDP + 4) >> 2] = this.dpHi;
    this.u16[S_FDS >> 1] = this.ds;
  }

  summarize(): void {
    if (this.sw & ~this.cw & 0x3f) this.sw |= SW_ES | SW_B;
    else this.sw &= ~(SW_ES | SW_B);
  }

  /** Starts an arithmetic instruction: environment from FCW, no exceptions yet. */
  begin(): void {
    fp.x87 = true;
    fp.daz = fp.ftz = false;
    fp.rc = (this.cw >>> CW_RC_SHIFT) & 3;
    fp.masks = this.cw & 0x3f;
    fp.flags = 0;
    fp.roundedUp = 0;
  }

  /** Ends it: exceptions into FSW, and C1 = rounded up (or, after a stack fault, whether that was an overflow). */
  end(keepsC1: boolean): void {
    if (!keepsC1 || fp.flags & SW_SF) this.sw &= ~SW_C1;
    this.sw |= fp.flags | (fp.roundedUp ? SW_C1 : 0);
  }

  get top(): number {
    return (this.sw >>> SW_TOP_SHIFT) & 7;
  }

  set top(value: number) {
    this.sw = (this.sw & ~SW_TOP) | ((value & 7) << SW_TOP_SHIFT);
  }

  /** The format precision control asks for: 00, 01 (reserved, acts as extended), 10, 11. */
  get format(): number {
    const control = (this.cw >>> CW_PC_SHIFT) & 3;
    return control === 0 ? EXTENDED_24 : control === 2 ? EXTENDED_53 : EXTENDED;
  }

  /** Sets C0, C2 and C3, leaving C1. */
  setConditions(bits: number): void {
    this.sw = (this.sw & ~(SW_C0 | SW_C2 | SW_C3)) | bits;
  }

  isEmpty(i: number): boolean {
    return (this.tw & (1 << ((this.top + i) & 7))) === 0;
  }

  setEmpty(i: number): void {
    this.tw &= ~(1 << ((this.top + i) & 7));
  }

  setValid(i: number): void {
    this.tw |= 1 << ((this.top + i) & 7);
  }

  /** Word index of ST(i) in `i32`. */
  wordOf(i: number): number {
    return (S_X87 >> 2) + 4 * ((this.top + i) & 7);
  }

  /** z = ST(i), whatever its tag. */
  read(z: Unpacked, i: number): Unpacked {
    const at = this.wordOf(i);
    unpack80(z, this.i32[at], this.i32[at + 1], this.i32[at + 2]);
    return z;
  }

  /** ST(i) = z, which fits the 80-bit format; the register becomes valid. */
  write(z: Unpacked, i: number): void {
    const at = this.wordOf(i);
    this.i32[at] = z.lo;
    this.i32[at + 1] = pack80Hi(z);
    this.u16[(at + 2) << 1] = pack80SignExp(z);
    this.setValid(i);
  }

  pop(): void {
    this.setEmpty(0);
    this.top++;
  }

  popTimes(pops: number): void {
    for (let left = pops; left > 0; left--) this.pop();
  }

  /**
   * Rounds `z` to `format` into ST(i), and pops `pops` times, unless an unmasked exception forbids.
   * @returns whether it did.
   */
  finish(z: Unpacked, i: number, pops: number, format: number): boolean {
    if (fp.unmasked(PRE_COMPUTATION)) return false;
    this.write(round(z, format, true), i);
    this.popTimes(pops);
    return true;
  }

  /** An empty source register. @returns whether the masked response, the default NaN, is to be given. */
  stackUnderflow(): boolean {
    fp.flags |= IE | SW_SF;
    fp.roundedUp = 0;
    return !fp.unmasked(IE);
  }

  /** An empty source: the default NaN to ST(i) and `pops` pops if invalid operation is masked. */
  underflowTo(i: number, pops: number): void {
    if (!this.stackUnderflow()) return;
    this.write(setDefaultNan(faulty), i);
    this.popTimes(pops);
  }

  /** May something be pushed? If not, the stack overflow is raised and its masked response given. */
  canPush(): boolean {
    if (this.isEmpty(-1)) return true;
    fp.flags |= IE | SW_SF;
    fp.roundedUp = 1;
    if (!fp.unmasked(IE)) {
      this.top--;
      this.write(setDefaultNan(faulty), 0);
    }
    return false;
  }

  /** May ST(0) be replaced and something pushed? If not, the stack fault is raised and its masked response, two NaNs, given. */
  canReplaceAndPush(): boolean {
    if (!this.isEmpty(0) && this.isEmpty(-1)) return true;
    const masked = this.stackUnderflow();
    if (!this.isEmpty(0)) fp.roundedUp = 1;
    if (!masked) return false;
    this.write(setDefaultNan(faulty), 0);
    this.push(faulty);
    return false;
  }

  /** Pushes `z`, for which `canPush` has said yes. */
  push(z: Unpacked): void {
    this.top--;
    this.write(z, 0);
  }
}

const faulty = new Unpacked();
