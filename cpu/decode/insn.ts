/** One decoded instruction (Intel SDM vol. 2A ch. 2). Instances are reused: the decoder overwrites all fields. */

export const SEG_ES = 0;
export const SEG_CS = 1;
export const SEG_SS = 2;
export const SEG_DS = 3;
export const SEG_FS = 4;
export const SEG_GS = 5;

/** `base`/`index` when there is none. */
export const NO_REGISTER = -1;

export class Insn {
  /** Row of the opcode table (isa/table.ts). */
  row = 0;
  /** Bytes, 1…15. */
  length = 0;
  /** The last opcode byte. */
  opcode = 0;
  /** Effective operand size in bytes: 2, 4 or 8. */
  operandSize = 4;
  /** Effective address size in bytes: 2, 4 or 8. */
  addressSize = 8;
  /** Default stack-address size in bytes (SS.B, or 8 in 64-bit mode). */
  stackSize = 8;
  mode64 = true;
  hasRex = false;
  rexW = false;
  /** 0, 0xf2 or 0xf3: the last repeat prefix. */
  rep = 0;
  lock = false;
  hasModrm = false;
  modrm = 0;
  /** ModRM.mod; 3 means that the E operand is a register. */
  mod = 3;
  /** ModRM.reg with REX.R. */
  reg = 0;
  /** ModRM.rm with REX.B, or the register in the opcode with REX.B. */
  rm = 0;
  /** VEX.vvvv. */
  vvvv = 0;
  /** Effective segment, SEG_*. */
  segment = SEG_DS;
  /** Was the segment named by a prefix? */
  segmentOverride = false;
  base = NO_REGISTER;
  index = NO_REGISTER;
  /** log2 of the index' factor. */
  scale = 0;
  ripRelative = false;
  /** Displacement or absolute offset (moffs), sign-extended to 64 bits. */
  dispLow = 0;
  dispHigh = 0;
  /** First immediate, sign-extended to 64 bits; for far pointers the offset. */
  immLow = 0;
  immHigh = 0;
  /** Second immediate (ENTER's level, a far pointer's selector). */
  imm2 = 0;
}
