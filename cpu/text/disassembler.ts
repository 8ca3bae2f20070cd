/** Decoded instructions as text, in Intel's syntax: for `-d in_asm`, from the opcode table that the decoder reads. */

import { type Insn, NO_REGISTER } from '../decode/insn.ts';
import { type OpcodeRow, type Operand, rowAt } from '../isa/table.ts';
import { branchTarget, operandBytes, targetHigh, targetLow } from '../lift/lifter.ts';
import { mnemonicOf, x87Operands } from './mnemonics.ts';

const GPR: Readonly<Record<number, readonly string[]>> = {
  1: 'al cl dl bl spl bpl sil dil'.split(' '),
  2: 'ax cx dx bx sp bp si di'.split(' '),
  4: 'eax ecx edx ebx esp ebp esi edi'.split(' '),
  8: 'rax rcx rdx rbx rsp rbp rsi rdi'.split(' '),
};
const HIGH_BYTES = 'ah ch dh bh'.split(' ');
const SUFFIX: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'd', 8: '' };
const SEGMENTS = 'es cs ss ds fs gs'.split(' ');
const SIZES: Readonly<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  6: 'fword',
  8: 'qword',
  10: 'tbyte',
  16: 'xmmword',
};
/** What they name is an address, not something at it. */
const ADDRESSES = /^(LEA|NOP|INVLPG|CLFLUSH|CLFLUSHOPT|CLWB)$/;
/** Repeat until something differs, or is the same: these two compare. */
const COMPARING = /^(CMPS|SCAS)$/;
const REP = 0xf3;

/** Hexadecimal of an int32 pair. */
export function hex64(low: number, high: number): string {
  const upper = high >>> 0;
  const text = (low >>> 0).toString(16);
  return upper === 0 ? text : upper.toString(16) + text.padStart(8, '0');
}

function gpr(n: number, bytes: number, hasRex: boolean): string {
  if (n >= 8) return `r${n}${SUFFIX[bytes]}`;
  if (bytes === 1 && !hasRex && n >= 4) return HIGH_BYTES[n - 4];
  return GPR[bytes][n];
}

function registerOf(mode: string, n: number, bytes: number, insn: Insn): string {
  if ('VWU'.includes(mode)) return `xmm${n}`;
  if ('PQN'.includes(mode)) return `mm${n & 7}`;
  if (mode === 'S') return SEGMENTS[n];
  if (mode === 'C') return `cr${n}`;
  if (mode === 'D') return `dr${n}`;
  return gpr(n, bytes === 0 ? insn.operandSize : bytes, insn.hasRex);
}

/** A value of so many bytes, in hexadecimal. */
function immediate(low: number, high: number, bytes: number): string {
  if (bytes === 8) return `0x${hex64(low, high)}`;
  return `0x${(bytes === 4 ? low >>> 0 : low & (bytes === 1 ? 0xff : 0xffff)).toString(16)}`;
}

function memory(insn: Insn, row: OpcodeRow, bytes: number, nextLow: number, nextHigh: number): string {
  const { addressSize, base, index, scale, mode64, segment } = insn;
  // POP to memory through RSP: the decoder has added what is popped.
  const popped = row.mnemonic === 'POP' && base === 4 ? insn.operandSize : 0;
  const parts = [
    ...(base === NO_REGISTER ? [] : [gpr(base, addressSize, true)]),
    ...(index === NO_REGISTER ? [] : [`${gpr(index, addressSize, true)}${scale > 0 ? `*${1 << scale}` : ''}`]),
  ];
  const displacement = insn.dispLow - popped;
  let text = parts.join('+');
  if (insn.ripRelative) {
    const low = (nextLow + insn.dispLow) | 0;
    const carry = low >>> 0 < nextLow >>> 0 ? 1 : 0;
    text = `0x${hex64(low, addressSize === 8 ? nextHigh + insn.dispHigh + carry : 0)}`;
  } else if (parts.length === 0) {
    const low = addressSize === 2 ? insn.dispLow & 0xffff : insn.dispLow;
    text = `0x${hex64(low, addressSize === 8 ? insn.dispHigh : 0)}`;
  } else if (displacement !== 0) {
    text += displacement < 0 ? `-0x${(-displacement).toString(16)}` : `+0x${displacement.toString(16)}`;
  }
  const prefix = insn.segmentOverride && (!mode64 || segment >= 4) ? `${SEGMENTS[segment]}:` : '';
  const size = ADDRESSES.test(row.mnemonic) ? undefined : SIZES[bytes];
  return `${size === undefined ? '' : `${size} ptr `}${prefix}[${text}]`;
}

function operandText(
  insn: Insn,
  row: OpcodeRow,
  k: number,
  { mode, code, type }: Operand,
  nextLow: number,
  nextHigh: number,
): string {
  const bytes = operandBytes(row, k, insn);
  switch (mode) {
    case 'E':
    case 'W':
    case 'Q':
    case 'M':
    case 'U':
    case 'N':
    case 'R':
      if (insn.mod === 3) return registerOf(mode, insn.rm, bytes, insn);
      return memory(insn, row, row.mnemonic === 'CMPXCHG8B' && insn.rexW ? 16 : bytes, nextLow, nextHigh);
    case 'O':
      return memory(insn, row, bytes, nextLow, nextHigh);
    case 'Z':
      return registerOf(mode, insn.rm, bytes, insn);
    case 'G':
    case 'V':
    case 'P':
    case 'S':
    case 'C':
    case 'D':
      return registerOf(mode, insn.reg, bytes, insn);
    case 'B':
      return gpr(insn.vvvv, bytes, true);
    case 'AL':
    case 'AX':
    case 'rAX':
    case 'rAXz':
      return gpr(0, bytes, true);
    case 'I':
      // ENTER's second one.
      if (k === 1 && type === 'b' && row.operands[0].code === 'Iw') return `0x${insn.imm2.toString(16)}`;
      return immediate(insn.immLow, insn.immHigh, bytes);
    case 'J':
      branchTarget(insn, nextLow, nextHigh);
      return `0x${hex64(targetLow, targetHigh)}`;
    case 'A':
      return `0x${insn.imm2.toString(16)}:0x${(insn.immLow >>> 0).toString(16)}`;
    default:
      return code.toLowerCase();
  }
}

/** Of the string instructions, PUSHF …: their names tell the operands. */
function isImplied({ mode }: Operand): boolean {
  return mode === 'X' || mode === 'Y' || mode === 'F';
}

/** Text of an instruction that `nextLow/nextHigh` is the address behind of. */
export function disassemble(insn: Insn, nextLow: number, nextHigh: number): string {
  const row = rowAt(insn.row);
  const prefixes = [];
  if (insn.lock) prefixes.push('lock');
  if (insn.segmentOverride && row.operands.some(({ mode }) => mode === 'X') && (!insn.mode64 || insn.segment >= 4))
    prefixes.push(SEGMENTS[insn.segment]);
  const isString = row.operands.some(({ mode }) => mode === 'X' || mode === 'Y');
  if (insn.rep !== 0 && isString) {
    if (COMPARING.test(row.mnemonic)) prefixes.push(insn.rep === REP ? 'repe' : 'repne');
    else prefixes.push('rep');
  }
  const name = [...prefixes, mnemonicOf(insn, row)].join(' ');
  let operands: string[] = [];
  if (row.mnemonic === 'X87' && insn.mod === 3) operands = x87Operands(insn);
  else if (!isString)
    operands = row.operands.flatMap((operand, k) =>
      isImplied(operand) ? [] : [operandText(insn, row, k, operand, nextLow, nextHigh)],
    );
  return operands.length === 0 ? name : `${name} ${operands.join(', ')}`;
}
