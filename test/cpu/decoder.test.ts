/**
 * The decoder against iced-x86: validity, length, meaning and operands of structured random byte strings in 16-, 32- and
 * 64-bit code. `TSVMM_LONG` takes millions.
 */
import {
  CpuidFeature,
  Decoder,
  DecoderOptions,
  Instruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
} from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { decode, MAX_LENGTH } from '../../cpu/decode/decoder.ts';
import { Insn, NO_REGISTER } from '../../cpu/decode/insn.ts';
import { ENTRY_UD, type OpcodeRow, rows } from '../../cpu/isa/table.ts';
import { branchTarget, operandBytes, targetHigh, targetLow } from '../../cpu/lift/lifter.ts';
import { Rng } from '../isa/rng.ts';

const CASES = process.env.TSVMM_LONG ? 6_000_000 : 240_000;
/** Bytes per case. */
const SLOT = 32;
const IP = 0x1234_5000;

/** What the CPU offers: an instruction that needs anything else is #UD. */
const OFFERED = new Set(
  `INTEL8086 INTEL8086_ONLY INTEL186 INTEL286 INTEL286_ONLY INTEL386 INTEL386_ONLY INTEL486 X64 ADX BMI1 BMI2 CLFLUSHOPT
   CLFSH CLWB CMOV CMPXCHG16B CPUID CX8 FPU FPU287 FPU287XL_ONLY FPU387 FPU387SL_ONLY FSGSBASE FXSR LZCNT MMX MOVBE MSR
   MULTIBYTENOP PAUSE POPCNT PREFETCHW RDPID RDPMC RDRAND RDSEED RDTSCP SEP SMAP SSE SSE2 SSE3 SSE4_1 SSE4_2 SSSE3
   SYSCALL TSC XSAVE XSAVEOPT SMM`.split(/\s+/),
);
/** Hints that CPUs without the feature execute as NOP (SDM vol. 2B, NOP; vol. 1 17.3). */
const HINTS = /^(PREFETCH|NOP|RESERVEDNOP|ENDBR|CLDEMOTE|RDSSP)/;

/** Mnemonics of iced for those of the table that are named otherwise; several where the operand size makes the name. */
const NAMES: Record<string, string> = {
  IMUL1: 'IMUL',
  MOV_FROM_SREG: 'MOV',
  MOV_TO_SREG: 'MOV',
  MOV_FROM_CR: 'MOV',
  MOV_TO_CR: 'MOV',
  MOV_FROM_DR: 'MOV',
  MOV_TO_DR: 'MOV',
  CALLF: 'CALL',
  JMPF: 'JMP',
  CBW: 'CBW CWDE CDQE',
  CWD: 'CWD CDQ CQO',
  PUSHF: 'PUSHF PUSHFD PUSHFQ',
  POPF: 'POPF POPFD POPFQ',
  PUSHA: 'PUSHA PUSHAD',
  POPA: 'POPA POPAD',
  IRET: 'IRET IRETD IRETQ',
  INS: 'INSB INSW INSD',
  OUTS: 'OUTSB OUTSW OUTSD',
  MOVS: 'MOVSB MOVSW MOVSD MOVSQ',
  CMPS: 'CMPSB CMPSW CMPSD CMPSQ',
  STOS: 'STOSB STOSW STOSD STOSQ',
  LODS: 'LODSB LODSW LODSD LODSQ',
  SCAS: 'SCASB SCASW SCASD SCASQ',
  JCXZ: 'JCXZ JECXZ JRCXZ',
  XLAT: 'XLATB',
  SHL: 'SHL SAL',
  FWAIT: 'WAIT',
  MOVD: 'MOVD MOVQ',
  PCMPESTRI: 'PCMPESTRI PCMPESTRI64',
  PCMPESTRM: 'PCMPESTRM PCMPESTRM64',
  PINSRD: 'PINSRD PINSRQ',
  PEXTRD: 'PEXTRD PEXTRQ',
  CMPXCHG8B: 'CMPXCHG8B CMPXCHG16B',
  FXSAVE: 'FXSAVE FXSAVE64',
  FXRSTOR: 'FXRSTOR FXRSTOR64',
  XSAVE: 'XSAVE XSAVE64',
  XRSTOR: 'XRSTOR XRSTOR64',
  XSAVEOPT: 'XSAVEOPT XSAVEOPT64',
  SYSRET: 'SYSRET SYSRETQ',
  SYSEXIT: 'SYSEXIT SYSEXITQ',
};
const CONDITIONS: Record<string, string> = { NB: 'AE', Z: 'E', NZ: 'NE', NBE: 'A', NL: 'GE', NLE: 'G' };

function sameMnemonic(row: OpcodeRow, name: string): boolean {
  if (row.mnemonic === 'X87') return name.startsWith('F');
  if (row.mnemonic === 'NOP') return HINTS.test(name) || (row.attributes & 0x400) !== 0;
  const [, family, condition] = /^(J|SET|CMOV)(NB|Z|NZ|NBE|NL|NLE)$/.exec(row.mnemonic) ?? [];
  if (family) return name === family + CONDITIONS[condition];
  return (NAMES[row.mnemonic] ?? row.mnemonic).split(' ').includes(name);
}

const REGISTERS: string[] = [];
for (const [name, value] of Object.entries(Register)) if (typeof value === 'number') REGISTERS[value] = name;
const MNEMONICS: string[] = [];
for (const [name, value] of Object.entries(Mnemonic))
  if (typeof value === 'number') MNEMONICS[value] = name.toUpperCase();

const GPR: Record<number, string[]> = {
  1: 'AL CL DL BL SPL BPL SIL DIL'.split(' '),
  2: 'AX CX DX BX SP BP SI DI'.split(' '),
  4: 'EAX ECX EDX EBX ESP EBP ESI EDI'.split(' '),
  8: 'RAX RCX RDX RBX RSP RBP RSI RDI'.split(' '),
};
const HIGH = 'AH CH DH BH'.split(' ');
const SEGMENTS = 'ES CS SS DS FS GS'.split(' ');
const SUFFIX: Record<number, string> = { 1: 'L', 2: 'W', 4: 'D', 8: '' };

function gpr(n: number, bytes: number, hasRex = true): string {
  if (n >= 8) return `R${n}${SUFFIX[bytes]}`;
  if (bytes === 1 && !hasRex && n >= 4) return HIGH[n - 4];
  return GPR[bytes][n];
}

/** Operands whose register iced names by another width than the table does; the number counts. */
const anyWidth = (name: string): string => {
  for (const bytes of [1, 2, 4, 8]) for (let n = 0; n < 16; n++) if (gpr(n, bytes) === name) return `gpr${n}`;
  return name;
};
/** In these the width of the register is not the table's: 16-bit sources read as r32, results zero-extended to r64. */
const LAX_WIDTH = new Set(
  `LAR LSL VERR VERW LLDT LTR LMSW MOV_TO_SREG MOV_FROM_SREG PINSRB PINSRW PEXTRB PEXTRW PMOVMSKB MOVMSKPS MOVMSKPD
   EXTRACTPS CRC32 NOP MOVSXD RDPID SLDT STR SMSW ARPL`.split(/\s+/),
);
/** The size of what these access is not that of an operand type. */
const LAX_SIZE = /^(NOP|LEA|SLDT|STR|SMSW|MOV_FROM_SREG|MOVSXD|INVLPG|CLFLUSH|CLWB|X87|MASKMOV|LDDQU)/;

/** In 64-bit mode only FS and GS count; iced names the others all the same. */
function segmentOf(insn: Insn, name: string): string {
  return insn.mode64 && !/[FG]S/.test(name) ? 'flat' : name;
}

/** The operands as text, from the decoder's result. */
function ours(insn: Insn, next: number): string[] {
  const row = rows[insn.row];
  const texts: string[] = [];
  for (const [k, { mode, type }] of row.operands.entries()) {
    const bytes = operandBytes(row, k, insn);
    switch (mode) {
      case 'E':
      case 'W':
      case 'Q':
      case 'M':
      case 'U':
      case 'N':
      case 'R':
        if (insn.mod !== 3) {
          texts.push(memory(insn, row, type === 'dMb' ? 1 : type === 'dMw' ? 2 : bytes, next));
          break;
        }
        texts.push(register(mode, insn.rm, bytes, insn));
        break;
      case 'Z':
        texts.push(register(mode, insn.rm, bytes, insn));
        break;
      case 'G':
      case 'V':
      case 'P':
      case 'S':
      case 'C':
      case 'D':
        texts.push(register(mode, insn.reg, bytes, insn));
        break;
      case 'B':
        texts.push(gpr(insn.vvvv, bytes));
        break;
      case 'AL':
      case 'AX':
      case 'rAX':
      case 'rAXz':
        texts.push(gpr(0, bytes));
        break;
      case 'CL':
        texts.push('CL');
        break;
      case 'DX':
        texts.push('DX');
        break;
      case '1':
        texts.push('#1');
        break;
      case 'I': {
        // ENTER's second immediate.
        const value = k === 1 && type === 'b' && row.operands[0].code === 'Iw' ? BigInt(insn.imm2) : immediate(insn);
        texts.push(`#${BigInt.asUintN(bytes * 8, value).toString(16)}`);
        break;
      }
      case 'J': {
        const low = next | 0;
        branchTarget(insn, low, 0);
        texts.push(`→${BigInt.asUintN(64, (BigInt(targetHigh) << 32n) | BigInt(targetLow >>> 0)).toString(16)}`);
        break;
      }
      case 'A':
        texts.push(`far ${insn.imm2.toString(16)}:${(insn.immLow >>> 0).toString(16)}`);
        break;
      case 'O':
        texts.push(memory(insn, row, bytes, next));
        break;
      case 'X':
        texts.push(`string ${segmentOf(insn, SEGMENTS[insn.segment])}:${gpr(6, insn.addressSize)}`);
        break;
      case 'Y':
        texts.push(`string ES:${gpr(7, insn.addressSize)}`);
        break;
      case 'F':
        break;
      default:
        texts.push(mode);
    }
  }
  return texts;
}

const immediate = (insn: Insn): bigint => (BigInt(insn.immHigh) << 32n) | BigInt(insn.immLow >>> 0);

function register(mode: string, n: number, bytes: number, insn: Insn): string {
  switch (mode) {
    case 'V':
    case 'W':
    case 'U':
      return `XMM${n}`;
    case 'P':
    case 'Q':
    case 'N':
      return `MM${n & 7}`;
    case 'S':
      return SEGMENTS[n];
    case 'C':
      return `CR${n}`;
    case 'D':
      return `DR${n}`;
    default: {
      const name = gpr(n, bytes, insn.hasRex);
      return LAX_WIDTH.has(rows[insn.row].mnemonic) ? anyWidth(name) : name;
    }
  }
}

function memory(insn: Insn, row: OpcodeRow, bytes: number, next: number): string {
  const { addressSize } = insn;
  let displacement = (BigInt(insn.dispHigh) << 32n) | BigInt(insn.dispLow >>> 0);
  if (row.mnemonic === 'POP' && insn.base === 4) displacement -= BigInt(insn.operandSize);
  if (insn.ripRelative) displacement += BigInt(next);
  const base = insn.base === NO_REGISTER ? (insn.ripRelative ? 'IP' : '') : gpr(insn.base, addressSize);
  const index = insn.index === NO_REGISTER ? '' : `${gpr(insn.index, addressSize)}*${1 << insn.scale}`;
  const disp = BigInt.asUintN(addressSize * 8, displacement).toString(16);
  return `${segmentOf(insn, SEGMENTS[insn.segment])}:[${base}+${index}+${disp}]${LAX_SIZE.test(row.mnemonic) || !bytes ? '' : bytes}`;
}

/** The same from iced's. */
function theirs(insn: Insn, iced: Instruction): string[] {
  const row = rows[insn.row];
  const texts: string[] = [];
  for (let k = 0; k < iced.opCount; k++) {
    const kind = iced.opKind(k);
    switch (kind) {
      case OpKind.Register: {
        const name = REGISTERS[iced.opRegister(k)];
        texts.push(LAX_WIDTH.has(row.mnemonic) ? anyWidth(name) : name);
        break;
      }
      case OpKind.NearBranch16:
      case OpKind.NearBranch32:
      case OpKind.NearBranch64:
        texts.push(`→${iced.nearBranchTarget.toString(16)}`);
        break;
      case OpKind.FarBranch16:
        texts.push(`far ${iced.farBranchSelector.toString(16)}:${iced.farBranch16.toString(16)}`);
        break;
      case OpKind.FarBranch32:
        texts.push(`far ${iced.farBranchSelector.toString(16)}:${iced.farBranch32.toString(16)}`);
        break;
      case OpKind.MemorySegSI:
      case OpKind.MemorySegESI:
      case OpKind.MemorySegRSI:
        texts.push(`string ${segmentOf(insn, REGISTERS[iced.memorySegment])}:${gpr(6, insn.addressSize)}`);
        break;
      case OpKind.MemoryESDI:
      case OpKind.MemoryESEDI:
      case OpKind.MemoryESRDI:
        texts.push(`string ES:${gpr(7, insn.addressSize)}`);
        break;
      case OpKind.MemorySegDI:
      case OpKind.MemorySegEDI:
      case OpKind.MemorySegRDI:
        break; // MASKMOVQ's implicit operand
      case OpKind.Memory: {
        const { memoryBase, memoryIndex } = iced;
        const ip = memoryBase === Register.RIP || memoryBase === Register.EIP;
        const base = memoryBase === Register.None ? '' : ip ? 'IP' : REGISTERS[memoryBase];
        const index = memoryIndex === Register.None ? '' : `${REGISTERS[memoryIndex]}*${iced.memoryIndexScale}`;
        const disp = BigInt.asUintN(insn.addressSize * 8, iced.memoryDisplacement).toString(16);
        const k = row.operands.findIndex(({ mode }) => 'EWQMUNRO'.includes(mode));
        const known = k >= 0 && !LAX_SIZE.test(row.mnemonic) && operandBytes(row, k, insn) !== 0;
        const size = known ? MemorySizeExt.size(iced.memorySize) : '';
        texts.push(`${segmentOf(insn, REGISTERS[iced.memorySegment])}:[${base}+${index}+${disp}]${size}`);
        break;
      }
      default:
        texts.push(`#${immediateOf(iced, k, kind)}`);
    }
  }
  return texts;
}

/** Width in bits of what an immediate is extended to. */
function immediateOf(iced: Instruction, k: number, kind: OpKind): string {
  let bits = 64;
  if (kind === OpKind.Immediate8 || kind === OpKind.Immediate8_2nd) bits = 8;
  else if (kind === OpKind.Immediate16 || kind === OpKind.Immediate8to16) bits = 16;
  else if (kind === OpKind.Immediate32 || kind === OpKind.Immediate8to32) bits = 32;
  return BigInt.asUintN(bits, iced.immediate(k)).toString(16);
}

const PREFIXES = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/** Prefixes, an opcode of some map, and random bytes behind it. */
function generate(rng: Rng, slot: Uint8Array): void {
  for (let i = 0; i < SLOT; i++) slot[i] = rng.u32();
  let at = 0;
  while (at < 12 && rng.chance(at === 0 ? 50 : 30)) slot[at++] = rng.pick(PREFIXES);
  if (rng.chance(1)) while (at < 14) slot[at++] = rng.pick(PREFIXES);
  if (rng.chance(40)) slot[at++] = 0x40 | rng.below(16);
  switch (rng.below(10)) {
    case 0:
    case 1:
    case 2:
      break;
    case 3:
    case 4:
    case 5:
      slot[at] = 0x0f;
      break;
    case 6:
      slot[at++] = 0x0f;
      slot[at] = 0x38;
      break;
    case 7:
      slot[at++] = 0x0f;
      slot[at] = 0x3a;
      break;
    case 8:
      // VEX, of which the 128-bit forms of maps 2 and 3 without vvvv concern us most.
      slot[at++] = 0xc4;
      slot[at] = (slot[at] & 0xe0) | (2 + rng.below(2));
      at++;
      if (rng.chance(80)) slot[at] &= ~4;
      at++;
      if (rng.chance(80)) slot[at] = 0xf0 | rng.below(8);
      break;
    default:
      slot[at++] = rng.pick([
        0x0f, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xf6, 0xf7, 0xff, 0xc4, 0xc5, 0x8f, 0x62,
      ]);
      if (slot[at - 1] === 0x0f)
        slot[at] = rng.pick([0x00, 0x01, 0xae, 0xc7, 0xba, 0x71, 0x72, 0x73, 0x18, 0x1e, 0x0d]);
  }
}

const features: string[] = [];
for (const [name, value] of Object.entries(CpuidFeature)) if (typeof value === 'number') features[value] = name;

/** Must this instruction of iced be #UD although it is valid on some CPU? */
function notOffered(iced: Instruction): boolean {
  if (HINTS.test(MNEMONICS[iced.mnemonic])) return false;
  return [...iced.cpuidFeatures()].some((feature) => !OFFERED.has(features[feature]));
}

/** Forms that one vendor's CPUs have and the other's have not. */
function vendorsDiffer(insn: Insn, name: string): boolean {
  // Intel's have SYSCALL and SYSRET in 64-bit mode only.
  if (name === 'SYSCALL' || name === 'SYSRET') return !insn.mode64;
  // 0F 0D with a register is a reserved NOP on Intel's, #UD on AMD's.
  return name === 'RESERVEDNOP' && insn.opcode === 0x0d;
}

interface Difference {
  readonly key: string;
  readonly text: string;
}

function compare(insn: Insn, length: number, iced: Instruction, bytes: Uint8Array): Difference | undefined {
  const row = rows[insn.row];
  const name = MNEMONICS[iced.mnemonic];
  const invalid = insn.row === ENTRY_UD || length > MAX_LENGTH;
  const describe = (what: string, key: string): Difference => ({
    key,
    text: `${Buffer.from(bytes.subarray(0, 16)).toString('hex')}: ${what}`,
  });
  if (invalid) {
    if (iced.isInvalid || notOffered(iced) || vendorsDiffer(insn, name)) return undefined;
    return describe(`#UD, iced: ${iced.toString()} ${[...iced.cpuidFeatures()].map((f) => features[f])}`, `ud ${name}`);
  }
  // F3 90 with REX.B exchanges RAX and R8, as processors do; iced takes it for PAUSE.
  if (row.mnemonic === 'XCHG' && name === 'PAUSE' && insn.rm === 8) return undefined;
  if (iced.isInvalid)
    return describe(`${row.mnemonic}, iced: invalid`, `invalid ${row.mnemonic} ${row.map} ${row.opcode.toString(16)}`);
  if (!sameMnemonic(row, name))
    return describe(`${row.mnemonic}, iced: ${iced.toString()}`, `name ${row.mnemonic} ${name}`);
  if (length !== iced.length)
    return describe(`length ${length}, iced: ${iced.length} ${iced.toString()}`, `length ${row.mnemonic}`);
  const next = IP + length;
  let mine = ours(insn, next);
  let other = theirs(insn, iced);
  if (row.mnemonic === 'X87' || row.mnemonic === 'NOP') {
    // Registers of the x87 stack and of reserved NOPs are of no interest.
    mine = mine.filter((text) => text.includes('['));
    other = other.filter((text) => text.includes('['));
  }
  if (row.mnemonic === 'XLAT') other = [];
  if (mine.join(' ') === other.join(' ')) return undefined;
  return describe(
    `${row.mnemonic} ${mine}, iced: ${other} ${iced.toString()}`,
    `operands ${row.mnemonic} ${row.operands.map((o) => o.code)}`,
  );
}

describe('decoder', () => {
  it.each([16, 32, 64])(
    'agrees with iced-x86 in %i-bit code',
    (bits) => {
      const count = Math.ceil(CASES / 3);
      const chunk = 4096;
      const rng = new Rng(bits);
      const code = new Uint8Array(chunk * SLOT + 64);
      const insn = new Insn();
      const iced = new Instruction();
      const found = new Map<string, string[]>();
      for (let done = 0; done < count; done += chunk) {
        for (let i = 0; i < chunk; i++) generate(rng, code.subarray(i * SLOT, (i + 1) * SLOT));
        const decoder = new Decoder(bits, code, DecoderOptions.NoWbnoinvd);
        for (let i = 0; i < chunk; i++) {
          const at = i * SLOT;
          const length = decode(insn, code, at, bits / 8, bits / 8);
          decoder.position = at;
          decoder.ip = BigInt(IP);
          decoder.decodeOut(iced);
          const difference = compare(insn, length, iced, code.subarray(at, at + SLOT));
          if (difference === undefined) continue;
          const list = found.get(difference.key);
          if (list === undefined) found.set(difference.key, [difference.text]);
          else list.push(difference.text);
        }
        decoder.free();
      }
      iced.free();
      const report = [...found].map(([key, texts]) => `${key} (${texts.length} times)\n  ${texts[0]}`).join('\n');
      expect(report).toBe('');
    },
    3_600_000,
  );
});
