/**
 * The x87 register state and what every instruction does to it: the stack of eight registers, the control, status and
 * tag words, stack faults, and the summary of exceptions (SDM vol. 1, 8.1 and 8.5–8.7).
 *
 * The state lives in the CPU's state block at offsets given once. An instruction works on copies of FCW, FSW and FTW in
 * this object and `commit` writes them back, which for a store to memory is only after the store (see x87.ts).
 */
import {
  EXTENDED,
  EXTENDED_24,
  EXTENDED_53,
  type Format,
  fp,
  IE,
  PRE_COMPUTATION,
  setDefaultNan,
  Unpacked,
} from './float.ts';
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

/**
 * Byte offsets of the x87 state in the state block. `registers`: R0…R7 in physical order, 16 bytes each, 16-aligned: the
 * significand little endian, then 16 bits of sign and exponent. `ftw`: one byte, bit i set when Ri is not empty, as FXSAVE
 * stores it. FCW, FSW, FOP, FCS and FDS are 16-bit, FIP and FDP 64-bit fields; all aligned to their size. `operand`: where
 * memory operands stand on their way, OPERAND_BYTES long, 16-aligned.
 */
export interface X87Layout {
  readonly registers: number;
  readonly fcw: number;
  readonly fsw: number;
  readonly ftw: number;
  readonly fop: number;
  readonly fip: number;
  readonly fcs: number;
  readonly fdp: number;
  readonly fds: number;
  readonly operand: number;
}

/** Room for the largest memory operand, the FXSAVE image. */
export const OPERAND_BYTES = 512;

/** Precision control 00, 01 (reserved, acts as extended), 10, 11. */
const PRECISIONS: readonly Format[] = [EXTENDED_24, EXTENDED, EXTENDED_53, EXTENDED];

export class X87State {
  readonly layout: X87Layout;
  /** The layout as indices into `u16` (`fcwAt` …) and `i32` (`fipAt`, `fdpAt`), at hand in every instruction. */
  private readonly fcwAt: number;
  private readonly fswAt: number;
  private readonly ftwAt: number;
  private readonly fopAt: number;
  private readonly fcsAt: number;
  private readonly fdsAt: number;
  private readonly fipAt: number;
  private readonly fdpAt: number;
  private readonly registersAt: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;

  /** Working copies; between instructions the state block is what counts. */
  cw = 0;
  sw = 0;
  tw = 0;
  fop = 0;

  /** The memory operand's bytes, as loaded by the caller or to be stored by it. */
  readonly operand: Uint8Array;
  readonly operand16: Uint16Array;
  readonly operand32: Int32Array;
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
  constructor(buffer: ArrayBufferLike, layout: X87Layout) {
    this.layout = layout;
    this.fcwAt = layout.fcw >> 1;
    this.fswAt = layout.fsw >> 1;
    this.ftwAt = layout.ftw;
    this.fopAt = layout.fop >> 1;
    this.fcsAt = layout.fcs >> 1;
    this.fdsAt = layout.fds >> 1;
    this.fipAt = layout.fip >> 2;
    this.fdpAt = layout.fdp >> 2;
    this.registersAt = layout.registers >> 2;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.operand = new Uint8Array(buffer, layout.operand, OPERAND_BYTES);
    this.operand16 = new Uint16Array(buffer, layout.operand, OPERAND_BYTES / 2);
    this.operand32 = new Int32Array(buffer, layout.operand, OPERAND_BYTES / 4);
  }

  /** Takes the working copies from the state block. */
  fetch(): void {
    this.cw = this.u16[this.fcwAt];
    this.sw = this.u16[this.fswAt];
    this.tw = this.u8[this.ftwAt];
    this.fop = this.u16[this.fopAt];
  }

  /** Is an unmasked exception pending? */
  get pending(): boolean {
    return (this.u16[this.fswAt] & SW_ES) !== 0;
  }

  /** Puts the working copies into the state block, with ES and B saying whether an unmasked exception is pending. */
  commit(): void {
    this.summarize();
    this.u16[this.fcwAt] = this.cw;
    this.u16[this.fswAt] = this.sw;
    this.u8[this.ftwAt] = this.tw;
    this.u16[this.fopAt] = this.fop;
  }

  /** Records the instruction in FIP and FOP, and its memory operand in FDP. */
  record(opcode: number, modrm: number): void {
    this.fop = ((opcode & 7) << 8) | modrm;
    this.i32[this.fipAt] = this.ipLo;
    this.i32[this.fipAt + 1] = this.ipHi;
    this.u16[this.fcsAt] = this.cs;
    if (modrm >= 0xc0) return;
    this.i32[this.fdpAt] = this.dpLo;
    this.i32[this.fdpAt + 1] = this.dpHi;
    this.u16[this.fdsAt] = this.ds;
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

  /** The format precision control asks for. */
  get format(): Format {
    return PRECISIONS[(this.cw >>> CW_PC_SHIFT) & 3];
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
    return this.registersAt + 4 * ((this.top + i) & 7);
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

  /**
   * Rounds `z` to `format` into ST(i), and pops `pops` times, unless an unmasked exception forbids.
   * @returns whether it did.
   */
  finish(z: Unpacked, i: number, pops: number, format: Format): boolean {
    if (fp.unmasked(PRE_COMPUTATION)) return false;
    this.write(round(z, format, true), i);
    for (; pops > 0; pops--) this.pop();
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
    for (; pops > 0; pops--) this.pop();
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

  /** Pushes `z`, for which `canPush` has said yes. */
  push(z: Unpacked): void {
    this.top--;
    this.write(z, 0);
  }
}

const faulty = new Unpacked();
