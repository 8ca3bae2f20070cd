/** Generates test cases from the opcode table: {@link single} instructions and {@link sequence}s of them. */
import {
  ATTR_CPL0,
  ATTR_END,
  ATTR_I64,
  ATTR_MMX,
  ATTR_REP,
  ATTR_SSE,
  ATTR_X87,
  ENTRY_UD,
  type OpcodeRow,
  rows,
} from '../../cpu/isa/table.ts';
import { CaseBuilder, RBX, RCX } from './builder.ts';
import { RFLAGS_FIXED, RFLAGS_IF, type TestCase } from './case.ts';
import { implemented, rowName, testable, untestable } from './coverage.ts';
import { decodedRow, type Encoded, encode } from './encode.ts';
import { randomMmx, randomSse, randomX87 } from './fpstate.ts';
import { CODE, CS32, CS64 } from './layout.ts';
import { Rng } from './rng.ts';
import { fillOperands, prepare } from './special.ts';
import type { ElementKind } from './values.ts';
import { avoided, namesSegment } from './vendors.ts';

export interface Instruction {
  readonly row: OpcodeRow;
  readonly bytes: Uint8Array;
}

/** A case that knows what its code is. */
export interface GeneratedCase extends TestCase {
  /** How it was generated, to find it again. */
  readonly name: string;
  readonly instructions: readonly Instruction[];
}

const STATUS_FLAGS = 0x8d5;
const RFLAGS_DF = 0x400;
const RFLAGS_AC = 0x40000;
const RFLAGS_ID = 0x200000;
const CS_PREFIX = 0x2e;
/** Bytes of an instruction. */
const LONGEST = 15;
/** Bytes that {@link SequenceWriter.storeX87} adds, at most. */
const LONGEST_X87 = 36;

/** How often chance may choose an encoding that belongs to another row. */
const ATTEMPTS = 40;

/** What the operands of `row` are made of. */
function elementKind(row: OpcodeRow, rng: Rng): ElementKind {
  for (const { type } of row.operands) {
    if (type === 'ps' || type === 'ss') return 'float32';
    if (type === 'pd' || type === 'sd') return 'float64';
  }
  if (row.mnemonic.startsWith('CVT')) return rng.pick(['integer', 'float32', 'float64']);
  return rng.pick(['integer', 'bytes']);
}

function begin(builder: CaseBuilder, row: OpcodeRow | undefined): void {
  const { rng, state } = builder;
  let rflags = RFLAGS_FIXED | RFLAGS_IF | (rng.u32() & STATUS_FLAGS);
  if (rng.chance(25)) rflags |= RFLAGS_DF;
  if (rng.chance(row ? 4 : 1)) rflags |= RFLAGS_AC;
  if (rng.chance(5)) rflags |= RFLAGS_ID;
  state.rflags = rflags;
  const attributes = row ? row.attributes : ATTR_SSE | ATTR_X87;
  builder.elementKind = row ? elementKind(row, rng) : rng.pick(['integer', 'float32', 'float64', 'bytes']);
  if (attributes & ATTR_SSE || row?.mnemonic.includes('XSAVE') || row?.mnemonic === 'FXSAVE')
    randomSse(state.fxsave, rng, builder.elementKind);
  // XSAVE need not store what is in its initial state.
  if (attributes & ATTR_X87 || row?.mnemonic === 'XSAVE' || (attributes & ATTR_MMX && rng.chance(10)))
    randomX87(state.fxsave, rng);
  else if (attributes & ATTR_MMX) randomMmx(state.fxsave, rng);
}

function finish(name: string, builder: CaseBuilder, instructions: readonly Instruction[]): GeneratedCase {
  builder.fillRegisters();
  const codeAddress = Number(builder.state.rip);
  const code = assemble(codeAddress, instructions);
  return { name, state: builder.state, codeAddress, code, memory: builder.words(), instructions };
}

/** @returns the bytes of `instructions`, cut off at the end of the code region. */
export function assemble(codeAddress: number, instructions: readonly Instruction[]): Uint8Array {
  return concatenate(instructions).subarray(0, CODE.address + CODE.length - codeAddress);
}

function concatenate(instructions: readonly Instruction[]): Uint8Array {
  return Uint8Array.from(instructions.flatMap(({ bytes }) => [...bytes]));
}

/** @returns a case of one instruction of `row`, or undefined if 64-bit or 32-bit mode does not have it. */
export function single(row: OpcodeRow, mode64: boolean, seed: number): GeneratedCase | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const rng = new Rng(Math.imul(seed, ATTEMPTS) + attempt);
    const builder = new CaseBuilder(rng, mode64, false);
    begin(builder, row);
    const encoded = instruction(builder, row);
    if (encoded) return finish(`${rowName(row)}, seed ${seed}`, builder, [{ row, bytes: encoded.bytes }]);
  }
  return undefined;
}

/**
 * @returns a case that is #UD whatever its operands: `row` with LOCK where that is not allowed (SDM vol. 2A, LOCK), or in
 * 64-bit mode although it is invalid there. Undefined where chance found none.
 */
export function undefinedForm(row: OpcodeRow, mode64: boolean, seed: number): GeneratedCase | undefined {
  if (untestable(row, true) && untestable(row, false)) return undefined;
  // C4, C5 and 62 are VEX and EVEX prefixes in 64-bit mode, which the host may have.
  if (mode64 && /^(LES|LDS|BOUND)$/.test(row.mnemonic)) return undefined;
  // AMD reads LOCK MOV CR0 as MOV CR8.
  if (row.mnemonic === 'MOV_FROM_CR' || row.mnemonic === 'MOV_TO_CR') return undefined;
  const valid = single(row, mode64 && !(row.attributes & ATTR_I64), seed);
  if (!valid) return undefined;
  const state = valid.state.clone();
  state.segments[1] = mode64 ? CS64 : CS32;
  const inValid = valid.instructions[0].bytes;
  const bytes = valid.state.mode64 === mode64 ? Uint8Array.of(0xf0, ...inValid) : inValid;
  if (decodedRow(bytes, mode64).row !== ENTRY_UD) return undefined;
  // How much of it is fetched, and may fault, before it is seen to be undefined, is open.
  if (valid.codeAddress + LONGEST > CODE.address + CODE.length) return undefined;
  const instructions = [{ row, bytes }];
  const code = assemble(valid.codeAddress, instructions);
  return { ...valid, name: `undefined ${valid.name}`, state, instructions, code };
}

/** @returns an encoding of `row` for `builder`, undefined where chance found none that can be tested. */
export function instruction(builder: CaseBuilder, row: OpcodeRow): Encoded | undefined {
  const encoded = encode(builder, row, prepare(builder, row));
  if (encoded === undefined || shiftsTooFar(builder, row, encoded) || leftOpen(builder, row, encoded)) return undefined;
  fillOperands(builder, row, encoded);
  return encoded;
}

/** SHLD and SHRD of 16-bit operands by more than 16: the result is undefined (SDM vol. 2B), and vendors differ. */
function shiftsTooFar(builder: CaseBuilder, row: OpcodeRow, { operandSize, bytes }: Encoded): boolean {
  if (operandSize !== 2 || (row.mnemonic !== 'SHLD' && row.mnemonic !== 'SHRD')) return false;
  if (row.operands[2].code === 'Ib') return (bytes.at(-1)! & 31) > 16;
  if (builder.sequence) return true;
  builder.prefer(RCX, BigInt(builder.rng.below(17)));
  return (builder.state.gpr[RCX] & 31n) > 16n;
}

/** F2XM1 FYL2X FPTAN FPATAN FYL2XP1 FSINCOS FSIN FCOS (D9 xx). */
const TRANSCENDENTAL = new Set([0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff]);

export function isTranscendental({ row, bytes }: Instruction): boolean {
  return row.mnemonic === 'X87' && row.opcode === 0xd9 && TRANSCENDENTAL.has(bytes.at(-1)!);
}

/** What the manuals leave to the processor, or what they say differently. */
function leftOpen(builder: CaseBuilder, row: OpcodeRow, { bytes, memory, operandSize }: Encoded): boolean {
  const { mode64, sequence } = builder;
  // How much of them is fetched, and may fault, before they are seen to be undefined: vendors differ.
  if (/^UD[01]$/.test(row.mnemonic) && builder.codeAddress + bytes.length > CODE.address + CODE.length) return true;
  // Flags and last bits of these vary; alone they are compared with a tolerance.
  if (sequence && isTranscendental({ row, bytes })) return true;
  // ARPL through CS that need not write: #GP by Intel's manual, nothing on AMD's CPUs.
  if (row.mnemonic === 'ARPL' && bytes.includes(CS_PREFIX)) return true;
  // Which comes first, #GP of the alignment or #SS of the address.
  if (
    (/^X(SAVE|RSTOR)/.test(row.mnemonic) || (row.mnemonic === 'CMPXCHG8B' && operandSize === 8)) &&
    memory &&
    memory.linear !== BigInt.asUintN(64, BigInt.asIntN(48, memory.linear))
  )
    return true;
  // Intel's manual has MOVSXD with 66 read a word, AMD's CPUs read a doubleword.
  if (row.mnemonic === 'MOVSXD' && operandSize === 2) return true;
  // Across the end of a 4 GiB segment there may or may not be a #GP (SDM vol. 3A 5.3).
  return memory !== undefined && !mode64 && memory.linear + BigInt(memory.size) > 1n << 32n;
}

/**
 * What a sequence must not contain, because it ends there, because later pointers would be wrong, because results are not
 * exactly defined, or because it shows the x87 instruction pointer, which AMD's CPUs store only while an exception is
 * pending.
 */
const NOT_IN_SEQUENCE = new Set(
  'POPA BOUND DIV IDIV IN OUT INS OUTS CLI STI CLAC STAC ARPL MOV_TO_SREG MOV_FROM_CR MOV_FROM_DR WRFSBASE WRGSBASE XRSTOR FXSAVE FXRSTOR FLDENV FRSTOR LDMXCSR XSAVE XSAVEOPT RCPPS RCPSS RSQRTPS RSQRTSS DPPS DPPD RDMSR'.split(
    ' ',
  ),
);

/** The rows of which sequences are made, by the registers they work on. */
export function sequencePool(mode64: boolean): readonly (readonly [readonly OpcodeRow[], number])[] {
  const usable = testable(mode64).filter(
    (row) =>
      implemented(row) &&
      !(row.attributes & (ATTR_END | ATTR_CPL0)) &&
      !NOT_IN_SEQUENCE.has(row.mnemonic) &&
      // RBP counts the loops of 32-bit sequences.
      (mode64 || !/^(ENTER|LEAVE)$/.test(row.mnemonic)),
  );
  const groupOf = ({ attributes }: OpcodeRow) => attributes & (ATTR_SSE | ATTR_MMX | ATTR_X87);
  const groups: (readonly [readonly OpcodeRow[], number])[] = [
    [usable.filter((row) => groupOf(row) === 0), 55],
    [usable.filter((row) => groupOf(row) & ATTR_SSE), 22],
    [usable.filter((row) => groupOf(row) === ATTR_MMX), 9],
    [usable.filter((row) => groupOf(row) === ATTR_X87), 14],
  ];
  return groups.filter(([group]) => group.length > 0);
}

const pools = { 64: sequencePool(true), 32: sequencePool(false) };
const rowOf = (opcode: number, mnemonic: string, extension = 0): OpcodeRow =>
  rows.find(
    (row) => row.map === 0 && row.opcode === opcode && row.mnemonic === mnemonic && row.modrmValue === extension << 3,
  )!;
const CMP = rowOf(0x38, 'CMP');
const MOV_ECX = rowOf(0xb8, 'MOV');
/** mov dword [esp-4], 0 */
const CLEAR_SLOT = [0xc7, 0x44, 0x24, 0xfc, 0, 0, 0, 0];
const SUB_IMMEDIATE = rowOf(0x83, 'SUB', 5);
const conditionalJumps = rows.filter((row) => row.map === 0 && row.opcode >= 0x70 && row.opcode <= 0x7f);
const JNZ = rowOf(0x75, 'JNZ');

/**
 * @returns a case of about `length` instructions, often with a conditional branch over some of them and often as a
 * counted loop. No instruction reads a flag that another one left undefined.
 */
export function sequence(mode64: boolean, seed: number, length: number): GeneratedCase {
  const rng = new Rng(seed);
  const builder = new CaseBuilder(rng, mode64, true);
  begin(builder, undefined);
  const out = new SequenceWriter(builder);
  const loopStart = rng.chance(50) ? 0 : undefined;
  let branch: Branch | undefined;
  let end = 0;
  for (let i = 0; i < length; i++) {
    if (branch && i === end) branch = out.land(branch);
    if (!branch && rng.chance(15)) {
      branch = out.branch(rng.pick(conditionalJumps));
      end = i + 1 + rng.below(3);
    }
    out.random();
  }
  if (branch) out.land(branch);
  if (loopStart !== undefined) out.loop(loopStart);
  return finish(`sequence, seed ${seed}`, builder, out.instructions);
}

/** Does `row` leave the flags as they were when its count is zero? */
export function writesOnCondition(row: OpcodeRow): boolean {
  return (row.attributes & ATTR_REP) !== 0 || row.operands.some(({ code }) => code === 'CL' || code === 'Ib');
}

/** A forward branch whose target is not known yet. */
interface Branch {
  readonly index: number;
  /** Flags undefined there. */
  readonly undefined: number;
}

class SequenceWriter {
  readonly instructions: Instruction[] = [];
  private readonly builder: CaseBuilder;
  /** Flags undefined here. */
  private undefined = 0;

  constructor(builder: CaseBuilder) {
    this.builder = builder;
  }

  private add(row: OpcodeRow, bytes: ArrayLike<number>): void {
    this.instructions.push({ row, bytes: Uint8Array.from(bytes) });
    this.builder.codeAddress += bytes.length;
    if (!writesOnCondition(row)) this.undefined &= ~row.written;
    this.undefined |= row.undefined;
  }

  /** Before an instruction that reads flags: defines them all if need be. */
  private defineFlags(row: OpcodeRow): void {
    const read = row.mnemonic === 'PUSHF' ? STATUS_FLAGS : row.tested;
    if (read & this.undefined) this.add(CMP, [0x38, 0xc8]);
  }

  random(): void {
    const { builder } = this;
    const { rng } = builder;
    for (;;) {
      const row = rng.pick(rng.weighted(pools[builder.mode64 ? 64 : 32]));
      this.defineFlags(row);
      if (row.attributes & ATTR_REP) this.add(MOV_ECX, [0xb9, rng.below(20), 0, 0, 0]);
      if (avoided.x87Pointers && /^FN(STENV|SAVE)$/.test(row.mnemonic)) {
        // The end of the code region would cut the zeros off.
        if (builder.codeAddress > CODE.address + CODE.length - LONGEST_X87) continue;
        this.storeX87(row);
        return;
      }
      const encoded = instruction(builder, row);
      if (encoded) {
        const clears = avoided.segmentPushes && !builder.mode64 && row.mnemonic === 'PUSH' && namesSegment(row);
        this.add(row, clears ? [...CLEAR_SLOT, ...encoded.bytes] : encoded.bytes);
        return;
      }
    }
  }

  /**
   * FNSTENV or FNSAVE, and zeros over FCS, FOP, FDP and FDS in its image (SDM vol. 1, figures 8-9 to 8-12). It is added as
   * one instruction, which shrinking a case does not take apart.
   */
  private storeX87(row: OpcodeRow): void {
    const { rng } = this.builder;
    const displacement = (rng.below(32) - 16) * 16;
    const narrow = rng.chance(20);
    const at = (opcode: number, extension: number, offset: number): number[] => [
      ...(narrow ? [0x66] : []),
      opcode,
      0x80 | (extension << 3) | RBX,
      ...new Uint8Array(Int32Array.of(displacement + offset).buffer),
    ];
    const size = narrow ? 2 : 4;
    const zeros = [4, 5, 6].flatMap((field) => [...at(0xc7, 0, field * size), ...new Uint8Array(size)]);
    this.add(row, [...at(row.opcode, 6, 0), ...zeros]);
  }

  branch(row: OpcodeRow): Branch {
    this.defineFlags(row);
    this.add(row, [row.opcode, 0]);
    return { index: this.instructions.length - 1, undefined: this.undefined };
  }

  /** The branch arrives here. */
  land({ index, undefined: atBranch }: Branch): undefined {
    const distance = concatenate(this.instructions.slice(index + 1)).length;
    // A distance beyond a byte: leave the branch without effect.
    if (distance < 0x80) this.instructions[index].bytes[1] = distance;
    this.undefined |= atBranch;
  }

  /** Counts down and jumps back to instruction `start` until the count is 0. */
  loop(start: number): void {
    const { mode64, loopCounter } = this.builder;
    this.add(SUB_IMMEDIATE, [...(mode64 ? [0x49] : []), 0x83, 0xe8 | (loopCounter & 7), 1]);
    const distance = -(concatenate(this.instructions.slice(start)).length + 2);
    if (distance >= -0x80) this.add(JNZ, [0x75, distance & 0xff]);
  }
}
