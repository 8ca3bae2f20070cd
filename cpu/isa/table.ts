/**
 * The opcode table: parses the rows of the opcode maps into parallel arrays. The one place that says how each
 * instruction form is encoded (Intel SDM vol. 2D, appendix A); decoder, handler generator, coverage report and test
 * generator all read it.
 *
 * Row: `opcode[+][/ext][m|r][=modrm] MNEMONIC operands attributes…`
 *   `+`     the low three opcode bits name a register (operand Z)
 *   `/ext`  ModRM.reg must be this digit; `m`/`r` demands a memory/register ModRM; `=xx` demands this ModRM byte
 *   operands in the notation of appendix A.2 (Eb, Gv, Vps …), `-` for none
 *   attributes: NP 66 F3 F2 NP66 (mandatory prefix), lock, rep, i64 (invalid in 64-bit mode), o64 (only there), d64/f64
 *   (operand size defaults/is forced to 64), cpl0, end (ends a block), sse mmx x87 (state it needs), f= u= t= (flags
 *   written, left undefined, tested; letters o s z a p c)
 */
import { ONE_BYTE_MAP } from './one-byte.ts';
import { THREE_BYTE_3A_MAP, THREE_BYTE_38_MAP, VEX_0F3A_MAP, VEX_0F38_MAP } from './three-byte.ts';
import { TWO_BYTE_MAP } from './two-byte.ts';
import { X87_MAP } from './x87.ts';

export const MAP_1BYTE = 0;
export const MAP_0F = 1;
export const MAP_0F38 = 2;
export const MAP_0F3A = 3;
export const MAP_VEX_0F38 = 4;
export const MAP_VEX_0F3A = 5;
export const MAPS = 6;

export const PREFIX_NP = 1;
export const PREFIX_66 = 2;
export const PREFIX_F3 = 4;
export const PREFIX_F2 = 8;
const PREFIX_ANY = 15;

export const ATTR_LOCK = 1 << 0;
export const ATTR_REP = 1 << 1;
export const ATTR_I64 = 1 << 2;
export const ATTR_O64 = 1 << 3;
export const ATTR_D64 = 1 << 4;
export const ATTR_F64 = 1 << 5;
export const ATTR_CPL0 = 1 << 6;
export const ATTR_END = 1 << 7;
export const ATTR_SSE = 1 << 8;
export const ATTR_MMX = 1 << 9;
export const ATTR_X87 = 1 << 10;
/** Has a ModRM byte. */
export const ATTR_MODRM = 1 << 11;
/** The row demands a memory ModRM (mod ≠ 3). */
export const ATTR_MEM_ONLY = 1 << 12;

/** Status flags at their RFLAGS positions. */
export const FLAG_C = 0x001;
export const FLAG_P = 0x004;
export const FLAG_A = 0x010;
export const FLAG_Z = 0x040;
export const FLAG_S = 0x080;
export const FLAG_O = 0x800;

/** Row 0 stands for every undefined encoding. */
export const ENTRY_UD = 0;

/** One operand of a row: `mode` is the letter of the addressing method, or the name of a fixed register. */
export interface Operand {
  readonly code: string;
  readonly mode: string;
  readonly type: string;
}

export interface OpcodeRow {
  readonly index: number;
  readonly map: number;
  readonly opcode: number;
  readonly registerInOpcode: boolean;
  readonly mnemonic: string;
  readonly operands: readonly Operand[];
  readonly attributes: number;
  readonly prefixes: number;
  /** ModRM must satisfy `(modrm & modrmMask) === modrmValue`. */
  readonly modrmMask: number;
  readonly modrmValue: number;
  readonly written: number;
  readonly undefined: number;
  readonly tested: number;
}

const ATTRIBUTES: Record<string, number> = {
  lock: ATTR_LOCK,
  rep: ATTR_REP,
  i64: ATTR_I64,
  o64: ATTR_O64,
  d64: ATTR_D64,
  f64: ATTR_F64,
  cpl0: ATTR_CPL0,
  end: ATTR_END,
  sse: ATTR_SSE,
  mmx: ATTR_MMX,
  x87: ATTR_X87,
};
const PREFIXES: Record<string, number> = {
  NP: PREFIX_NP,
  '66': PREFIX_66,
  F3: PREFIX_F3,
  F2: PREFIX_F2,
  NP66: PREFIX_NP | PREFIX_66,
};
const FLAGS: Record<string, number> = { o: FLAG_O, s: FLAG_S, z: FLAG_Z, a: FLAG_A, p: FLAG_P, c: FLAG_C };

/** Operands that are fixed registers or constants rather than addressing methods. */
const FIXED = new Set(['AL', 'AX', 'rAX', 'rAXz', 'CL', 'DX', '1', 'ES', 'CS', 'SS', 'DS', 'FS', 'GS']);
/** Addressing methods that take a ModRM byte. */
const MODRM_MODES = 'EGMRVWUPQNSCD';

const operands = new Map<string, Operand>();

function parseOperand(code: string): Operand {
  let operand = operands.get(code);
  if (operand === undefined) {
    if (FIXED.has(code)) operand = { code, mode: code, type: '' };
    else if (code.startsWith('Rd') && code.length > 2) operand = { code, mode: 'E', type: code };
    else operand = { code, mode: code[0], type: code.slice(1) };
    operands.set(code, operand);
  }
  return operand;
}

function parseFlags(letters: string): number {
  let flags = 0;
  for (const letter of letters) flags |= FLAGS[letter];
  return flags;
}

function parseRow(line: string, map: number, index: number): OpcodeRow {
  const [key, mnemonic, operandText, ...words] = line.split(' ');
  const [, opcodeText, plus, , ext, mod, , exact] = /^(..)(\+?)(\/([0-7]?)([mr]?))?(=(..))?$/.exec(key)!;
  const operandList = operandText === '-' ? [] : operandText.split(',').map(parseOperand);
  let attributes = 0;
  let prefixes = PREFIX_ANY;
  let written = 0;
  let undefined_ = 0;
  let tested = 0;
  for (const word of words) {
    if (word[1] === '=') {
      const flags = parseFlags(word.slice(2));
      if (word[0] === 'f') written = flags;
      else if (word[0] === 'u') undefined_ = flags;
      else tested = flags;
    } else if (PREFIXES[word] !== undefined) prefixes = PREFIXES[word];
    else attributes |= ATTRIBUTES[word];
  }
  let modrmMask = 0;
  let modrmValue = 0;
  if (ext) {
    modrmMask |= 0x38;
    modrmValue |= Number(ext) << 3;
  }
  if (exact) {
    modrmMask = 0xff;
    modrmValue = Number.parseInt(exact, 16);
  }
  if (mod === 'r') {
    modrmMask |= 0xc0;
    modrmValue |= 0xc0;
  }
  if (mod === 'm' || operandList.some((o) => o.mode === 'M')) attributes |= ATTR_MEM_ONLY;
  const isX87 = map === MAP_1BYTE && (Number.parseInt(opcodeText, 16) & 0xf8) === 0xd8;
  if (isX87 || modrmMask || mod || map >= MAP_0F38 || operandList.some((o) => MODRM_MODES.includes(o.mode)))
    attributes |= ATTR_MODRM;
  return {
    index,
    map,
    opcode: Number.parseInt(opcodeText, 16),
    registerInOpcode: plus === '+',
    mnemonic,
    operands: operandList,
    attributes,
    prefixes,
    modrmMask,
    modrmValue,
    written: written | undefined_,
    undefined: undefined_,
    tested,
  };
}

/** Row ENTRY_UD, then those of the maps. */
const MAP_TEXTS: readonly (readonly [number, string])[] = [
  [MAP_1BYTE, 'ff UD -'],
  [MAP_1BYTE, ONE_BYTE_MAP],
  [MAP_1BYTE, X87_MAP],
  [MAP_0F, TWO_BYTE_MAP],
  [MAP_0F38, THREE_BYTE_38_MAP],
  [MAP_0F3A, THREE_BYTE_3A_MAP],
  [MAP_VEX_0F38, VEX_0F38_MAP],
  [MAP_VEX_0F3A, VEX_0F3A_MAP],
];

const lines: string[] = [];
/** Index of the first row of each of MAP_TEXTS. */
const starts: number[] = [];
for (const [, text] of MAP_TEXTS) {
  starts.push(lines.length);
  lines.push(...text.trim().split('\n'));
}

export const ROW_COUNT = lines.length;

const parsed: OpcodeRow[] = [];

/** The row of an index, parsed when it is first asked for. */
export function rowAt(index: number): OpcodeRow {
  return (parsed[index] ??= parseRow(lines[index], MAP_TEXTS[starts.findLastIndex((s) => s <= index)][0], index));
}

export function allRows(): OpcodeRow[] {
  return lines.map((_, index) => rowAt(index));
}

/** All rows; `rows[i].index === i`. Not for the program itself, which would parse them all (see columns.ts). */
export const rows: readonly OpcodeRow[] = /* @__PURE__ */ allRows();
