/**
 * The instruction decoder (Intel SDM vol. 2A ch. 2, vol. 2D appendix A): bytes → {@link Insn}, by the opcode table.
 * Allocates nothing. Compiled ahead of time too (aot/compile.ts).
 */
import { byteColumn, column } from '../isa/columns.ts';
import {
  attributesOf,
  candidates,
  firstCandidate,
  modrmMaskOf,
  modrmValueOf,
  opcodeHasModrm,
  prefixesOf,
} from '../isa/encoding.ts';
import {
  ATTR_D64,
  ATTR_F64,
  ATTR_I64,
  ATTR_LOCK,
  ATTR_MEM_ONLY,
  ATTR_O64,
  allRows,
  ENTRY_UD,
  MAP_0F,
  MAP_0F3A,
  MAP_0F38,
  MAP_1BYTE,
  MAP_VEX_0F3A,
  MAP_VEX_0F38,
  type OpcodeRow,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NP,
} from '../isa/table.ts';
import { type Insn, NO_REGISTER, SEG_DS, SEG_SS } from './insn.ts';

/** Longest instruction in bytes; anything longer is #GP(0). */
export const MAX_LENGTH = 15;

/** Code segment types: the default operand and address size in bytes. */
export const CODE_16 = 2;
export const CODE_32 = 4;
export const CODE_64 = 8;

const IMM_NONE = 0;
const IMM_8 = 1;
const IMM_16 = 2;
/** 16 or 32 bits by operand size. */
const IMM_Z = 3;
/** 16, 32 or 64 bits by operand size. */
const IMM_V = 4;
/** 16 bits, then 8 bits (ENTER). */
const IMM_16_8 = 5;
/** Far pointer: offset of operand size, then selector. */
const IMM_FAR = 6;
/** Absolute address of address size (moffs). */
const IMM_MOFFS = 7;

const immediateOf = byteColumn('immediate', (row) => {
  const codes = row.operands.map((operand) => operand.code);
  if (codes.includes('Iw')) return codes.includes('Ib') ? IMM_16_8 : IMM_16;
  if (codes.includes('Ib') || codes.includes('Ibs') || codes.includes('Jb')) return IMM_8;
  if (codes.includes('Iz') || codes.includes('Jz')) return IMM_Z;
  if (codes.includes('Iv')) return IMM_V;
  if (codes.includes('Ap')) return IMM_FAR;
  if (codes.includes('Ob') || codes.includes('Ov')) return IMM_MOFFS;
  return IMM_NONE;
});

/** Segment registers ES…GS, of which CS cannot be loaded; CR0, CR2, CR3, CR4 and CR8; DR0…DR7. */
const SEGMENTS = 0x3f;
const LOADABLE_SEGMENTS = 0x3d;
const CONTROLS = 0x11d;
const DEBUGS = 0xff;

/** The values of ModRM.reg (with REX.R, but for segment registers) that exist, one bit each. */
const registersOf = column('registers', Uint16Array, () => Uint16Array.from(allRows(), registers));

function registers(row: OpcodeRow): number {
  const modes = row.operands.map((operand) => operand.mode);
  if (modes.includes('S')) return row.mnemonic === 'MOV_TO_SREG' ? LOADABLE_SEGMENTS : SEGMENTS;
  if (modes.includes('C')) return CONTROLS;
  return modes.includes('D') ? DEBUGS : 0xffff;
}
const usesVvvv = byteColumn('usesVvvv', (row) => row.operands.some(({ mode }) => mode === 'B'));
const namesSegment = byteColumn('namesSegment', (row) => row.operands.some(({ mode }) => mode === 'S'));

let bytes: Uint8Array = new Uint8Array(0);
let at = 0;

function int8(): number {
  return (bytes[at++] << 24) >> 24;
}
function int16(): number {
  const value = bytes[at] | (bytes[at + 1] << 8);
  at += 2;
  return (value << 16) >> 16;
}
function int32(): number {
  const value = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
  at += 4;
  return value;
}

/**
 * Decodes the instruction at `code[start]`. At least 32 readable bytes must follow `start` (pad with zeroes); the
 * caller compares the length with the bytes that it really has.
 * @param codeSize CODE_16, CODE_32 or CODE_64.
 * @param stackSize 2, 4 or 8.
 * @returns the length in bytes; more than {@link MAX_LENGTH} is #GP(0). An undefined encoding yields row ENTRY_UD.
 */
export function decode(insn: Insn, code: Uint8Array, start: number, codeSize: number, stackSize: number): number {
  bytes = code;
  at = start;
  const mode64 = codeSize === CODE_64;
  let rex = 0;
  let rep = 0;
  let has66 = false;
  let has67 = false;
  let lock = false;
  let override = NO_REGISTER;
  let opcode = bytes[at++];
  prefixes: for (;;) {
    switch (opcode) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        if (!mode64) override = (opcode >> 3) & 3;
        break;
      case 0x64:
      case 0x65:
        override = opcode & 7;
        break;
      case 0x66:
        has66 = true;
        break;
      case 0x67:
        has67 = true;
        break;
      case 0xf0:
        lock = true;
        break;
      case 0xf2:
      case 0xf3:
        rep = opcode;
        break;
      default:
        if (mode64 && (opcode & 0xf0) === 0x40) {
          rex = opcode;
          opcode = bytes[at++];
          // A REX prefix counts only directly before the opcode.
          if ((opcode & 0xf0) === 0x40) continue;
          if (isLegacyPrefix(opcode)) {
            rex = 0;
            continue;
          }
        }
        break prefixes;
    }
    if (at - start > MAX_LENGTH) break;
    opcode = bytes[at++];
  }

  let map = MAP_1BYTE;
  let prefix = rep === 0xf3 ? PREFIX_F3 : rep === 0xf2 ? PREFIX_F2 : has66 ? PREFIX_66 : PREFIX_NP;
  let vvvv = 0;
  let invalid = false;
  if (opcode === 0x0f) {
    opcode = bytes[at++];
    map = MAP_0F;
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? MAP_0F38 : MAP_0F3A;
      opcode = bytes[at++];
    }
  } else if ((opcode === 0xc4 || opcode === 0xc5) && (mode64 || bytes[at] >= 0xc0)) {
    // VEX (SDM vol. 2A 2.3.5); in 32-bit modes only the forms that cannot be LES/LDS.
    if (rex || has66 || rep || lock) invalid = true;
    const first = bytes[at++];
    let last = first;
    rex = 0x40 | ((~first >> 5) & 4);
    let select = 1;
    if (opcode === 0xc4) {
      rex |= (~first >> 5) & 3;
      select = first & 31;
      last = bytes[at++];
      rex |= (last >> 4) & 8;
    }
    if (!mode64) rex = 0x40;
    vvvv = (~last >> 3) & 15;
    if (last & 4) invalid = true; // VEX.L = 1 would be a 256-bit form
    prefix = 1 << (last & 3); // NP, 66, F3, F2
    if (select === 2) map = MAP_VEX_0F38;
    else if (select === 3) map = MAP_VEX_0F3A;
    else invalid = true;
    opcode = bytes[at++];
  }

  const rexW = (rex & 8) !== 0;
  insn.opcode = opcode;
  insn.hasRex = rex !== 0;
  insn.rexW = rexW;
  insn.rep = rep;
  insn.lock = lock;
  insn.mode64 = mode64;
  insn.stackSize = stackSize;
  insn.vvvv = mode64 ? vvvv : vvvv & 7;
  insn.addressSize = mode64 ? (has67 ? 4 : 8) : has67 ? 6 - codeSize : codeSize;
  insn.base = NO_REGISTER;
  insn.index = NO_REGISTER;
  insn.scale = 0;
  insn.ripRelative = false;
  insn.dispLow = 0;
  insn.dispHigh = 0;
  insn.immLow = 0;
  insn.immHigh = 0;
  insn.imm2 = 0;
  insn.mod = 3;
  insn.reg = 0;
  insn.rm = (opcode & 7) | ((rex & 1) << 3);
  insn.segment = override === NO_REGISTER ? SEG_DS : override;
  insn.segmentOverride = override !== NO_REGISTER;

  const key = map * 256 + opcode;
  let modrm = 0;
  insn.hasModrm = opcodeHasModrm[key] === 1;
  if (insn.hasModrm) {
    modrm = bytes[at++];
    insn.mod = modrm >> 6;
    insn.reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    // MOV of control and debug registers: ModRM.mod is ignored, the operand is a register.
    if (map === MAP_0F && (opcode & 0xfc) === 0x20) insn.mod = 3;
  }

  insn.modrm = modrm;

  let row = ENTRY_UD;
  for (let c = firstCandidate[key]; c < firstCandidate[key + 1]; c++) {
    const candidate = candidates[c];
    const attributes = attributesOf[candidate];
    if ((modrm & modrmMaskOf[candidate]) !== modrmValueOf[candidate]) continue;
    if ((prefixesOf[candidate] & prefix) === 0) continue;
    if (attributes & ATTR_MEM_ONLY && insn.mod === 3) continue;
    if (attributes & (mode64 ? ATTR_I64 : ATTR_O64)) continue;
    row = candidate;
    // NOP 90 is XCHG rAX,rAX without REX.B; the more specific row comes later.
    if (key === 0x90 && (rex & 1) === 0) continue;
    break;
  }
  if (map >= MAP_VEX_0F38 && vvvv !== 0 && !usesVvvv[row]) invalid = true;
  if (invalid) row = ENTRY_UD;
  const attributes = attributesOf[row];

  if (mode64) {
    if (attributes & ATTR_F64) insn.operandSize = 8;
    else if (rexW) insn.operandSize = 8;
    else if (has66) insn.operandSize = 2;
    else insn.operandSize = attributes & ATTR_D64 ? 8 : 4;
  } else {
    insn.operandSize = has66 ? 6 - codeSize : codeSize;
  }

  if (insn.hasModrm) {
    if (insn.mod === 3) insn.rm = (modrm & 7) | ((rex & 1) << 3);
    else if (insn.addressSize === 2) decodeAddress16(insn, modrm);
    else decodeAddress(insn, modrm, rex);
  }
  decodeImmediate(insn, immediateOf[row]);
  // POP to memory computes its address with RSP already incremented.
  if (map === MAP_1BYTE && opcode === 0x8f && insn.base === 4) {
    insn.dispLow += insn.operandSize;
    insn.dispHigh = insn.dispLow >> 31;
  }

  if (namesSegment[row]) insn.reg &= 7;
  if (!((registersOf[row] >> insn.reg) & 1)) row = ENTRY_UD;
  if (lock && (!(attributes & ATTR_LOCK) || insn.mod === 3)) row = ENTRY_UD;
  insn.row = row;
  insn.length = at - start;
  return insn.length;
}

function isLegacyPrefix(byte: number): boolean {
  return (
    byte === 0x66 ||
    byte === 0x67 ||
    byte === 0xf0 ||
    byte === 0xf2 ||
    byte === 0xf3 ||
    byte === 0x64 ||
    byte === 0x65 ||
    (byte & 0xe7) === 0x26
  );
}

/** 32- and 64-bit addressing forms (SDM vol. 2A, tables 2-2 and 2-3). */
function decodeAddress(insn: Insn, modrm: number, rex: number): void {
  const mod = modrm >> 6;
  let base = modrm & 7;
  if (base === 4) {
    const sib = bytes[at++];
    const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (index !== 4) {
      insn.index = index;
      insn.scale = sib >> 6;
    }
    base = sib & 7;
    if (base === 5 && mod === 0) base = NO_REGISTER;
  } else if (base === 5 && mod === 0) {
    base = NO_REGISTER;
    insn.ripRelative = insn.mode64;
  }
  if (base !== NO_REGISTER) {
    insn.base = base | ((rex & 1) << 3);
    if (!insn.segmentOverride && (insn.base === 4 || insn.base === 5)) insn.segment = SEG_SS;
  }
  if (mod === 1) insn.dispLow = int8();
  else if (mod === 2 || base === NO_REGISTER) insn.dispLow = int32();
  insn.dispHigh = insn.dispLow >> 31;
}

/** Base registers of the 16-bit addressing forms: BX BX BP BP SI DI BP BX. */
const BASE_16 = Uint8Array.of(3, 3, 5, 5, 6, 7, 5, 3);

/** 16-bit addressing forms (SDM vol. 2A, table 2-1). */
function decodeAddress16(insn: Insn, modrm: number): void {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  if (rm === 6 && mod === 0) insn.dispLow = int16();
  else {
    insn.base = BASE_16[rm];
    if (rm < 4) insn.index = rm & 1 ? 7 : 6;
    if (!insn.segmentOverride && insn.base === 5) insn.segment = SEG_SS;
    if (mod === 1) insn.dispLow = int8();
    else if (mod === 2) insn.dispLow = int16();
  }
  insn.dispHigh = insn.dispLow >> 31;
}

function decodeImmediate(insn: Insn, kind: number): void {
  switch (kind) {
    case IMM_NONE:
      return;
    case IMM_8:
      insn.immLow = int8();
      break;
    case IMM_16:
      insn.immLow = int16();
      break;
    case IMM_Z:
      insn.immLow = insn.operandSize === 2 ? int16() : int32();
      break;
    case IMM_V:
      insn.immLow = insn.operandSize === 2 ? int16() : int32();
      if (insn.operandSize === 8) {
        insn.immHigh = int32();
        return;
      }
      break;
    case IMM_16_8:
      insn.immLow = int16() & 0xffff;
      insn.imm2 = int8() & 0xff;
      break;
    case IMM_FAR:
      insn.immLow = insn.operandSize === 2 ? int16() & 0xffff : int32();
      insn.imm2 = int16() & 0xffff;
      insn.immHigh = 0;
      return;
    default:
      insn.dispLow = insn.addressSize === 2 ? int16() & 0xffff : int32();
      insn.dispHigh = insn.addressSize === 8 ? int32() : 0;
      return;
  }
  insn.immHigh = insn.immLow >> 31;
}
