/**
 * Encodes rows of the opcode table with random operands (Intel SDM vol. 2A ch. 2), and checks by the project's decoder
 * that the bytes mean that row.
 */
import { CODE_32, CODE_64, decode } from '../../cpu/decode/decoder.ts';
import { Insn } from '../../cpu/decode/insn.ts';
import {
  ATTR_F64,
  ATTR_LOCK,
  ATTR_MEM_ONLY,
  ATTR_MODRM,
  ATTR_REP,
  MAP_0F,
  MAP_0F3A,
  MAP_0F38,
  MAP_VEX_0F3A,
  MAP_VEX_0F38,
  type OpcodeRow,
  type Operand,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NP,
} from '../../cpu/isa/table.ts';
import type { Address, CaseBuilder } from './builder.ts';
import { integer } from './values.ts';

const REX_W = 8;
const REX_R = 4;
const REX_X = 2;
const REX_B = 1;
const LEGACY_PREFIX = { [PREFIX_66]: 0x66, [PREFIX_F3]: 0xf3, [PREFIX_F2]: 0xf2 } as const;
const MAP_ESCAPE: Record<number, readonly number[]> = {
  [MAP_0F]: [0x0f],
  [MAP_0F38]: [0x0f, 0x38],
  [MAP_0F3A]: [0x0f, 0x3a],
};

/** What a row's preparation (special.ts) prescribes instead of chance. */
export interface Choices {
  /** Value of the immediate operand of this code (`Ib`, `Iw`, `Ap` …). */
  readonly immediate?: bigint;
  /** ENTER's second immediate. */
  readonly level?: bigint;
  /** Repeat prefixes are not wanted. */
  readonly noRepeat?: boolean;
  /** REX.W is not wanted. */
  readonly noRexW?: boolean;
}

export interface Encoded {
  readonly bytes: Uint8Array;
  /** Bytes: 2, 4, 8. */
  readonly operandSize: number;
  /** ModRM.reg with REX.R, or the register in the opcode. */
  readonly register: number;
  /** ModRM.rm with REX.B if it names a register, otherwise -1. */
  readonly rm: number;
  /** Address of the memory operand and its size in bytes, if there is one. */
  readonly memory: { readonly linear: bigint; readonly size: number } | undefined;
}

/** @returns bytes of an operand of type `type` (SDM vol. 2D, A.2.2) in memory. */
export function operandBytes(type: string, operandSize: number): number {
  switch (type) {
    case 'b':
    case 'RdMb':
      return 1;
    case 'w':
    case 'RdMw':
    case '16':
      return 2;
    case 'd':
    case 'ss':
    case '32':
      return 4;
    case 'q':
    case 'sd':
    case '64':
      return 8;
    case 'v':
      return operandSize;
    case 'z':
      return Math.min(operandSize, 4);
    case 'y':
      return operandSize === 8 ? 8 : 4;
    case 'p':
      return operandSize + 2;
    case 'a':
    case 'x':
      return Math.max(operandSize, 4) * 2;
    case '80':
    case 's':
      return 10;
    case '':
      return 108; // FSAVE's; FLDENV and FSTENV use the first 28
    case '512':
      return 576; // XSAVE's with its header
    default:
      return 16;
  }
}

const insn = new Insn();
const decodeBuffer = new Uint8Array(64);

/** @returns the row as which the project's decoder reads `bytes`, and the length that it sees. */
export function decodedRow(bytes: Uint8Array, mode64: boolean): { row: number; length: number } {
  decodeBuffer.fill(0);
  decodeBuffer.set(bytes);
  const length = decode(insn, decodeBuffer, 0, mode64 ? CODE_64 : CODE_32, mode64 ? 8 : 4);
  return { row: insn.row, length };
}

/** @returns one of `row`'s encodings, or undefined if what chance chose means another row. */
export function encode(builder: CaseBuilder, row: OpcodeRow, choices: Choices = {}): Encoded | undefined {
  const encoded = new Encoder(builder, row, choices).encode();
  const decoded = decodedRow(encoded.bytes, builder.mode64);
  return decoded.row === row.index && decoded.length === encoded.bytes.length ? encoded : undefined;
}

class Encoder {
  private readonly builder: CaseBuilder;
  private readonly row: OpcodeRow;
  private readonly choices: Choices;
  private readonly prefixes: number[] = [];
  private rex = 0;
  private operandSize: number;
  private reg = 0;
  private rm = -1;
  private memory: Encoded['memory'];
  private vvvv = 0;
  /** ModRM, SIB and displacement. */
  private readonly modrm: number[] = [];
  /** Index in {@link modrm} of a RIP-relative displacement. */
  private ripAt = -1;

  constructor(builder: CaseBuilder, row: OpcodeRow, choices: Choices) {
    this.builder = builder;
    this.row = row;
    this.choices = choices;
    this.operandSize = 4;
  }

  private get isVex(): boolean {
    return this.row.map === MAP_VEX_0F38 || this.row.map === MAP_VEX_0F3A;
  }

  encode(): Encoded {
    const { builder, row } = this;
    this.chooseSize();
    const opcode = this.chooseOperands();
    const immediate = row.operands.flatMap((operand) => this.immediate(operand));
    if (this.prefixes.length > 1 && builder.rng.chance(50)) this.prefixes.reverse();
    const head = this.isVex ? this.vex() : [...this.prefixes, ...this.rexByte(), ...(MAP_ESCAPE[row.map] ?? [])];
    const bytes = Uint8Array.from([...head, opcode, ...this.modrm, ...immediate]);
    if (this.ripAt >= 0) {
      const at = head.length + 1 + this.ripAt;
      const view = new DataView(bytes.buffer);
      view.setInt32(at, view.getInt32(at, true) - (builder.codeAddress + bytes.length), true);
    }
    return { bytes, operandSize: this.operandSize, register: this.reg, rm: this.rm, memory: this.memory };
  }

  /** Operand size and mandatory, repeat and lock prefixes. */
  private chooseSize(): void {
    const { builder, row, choices } = this;
    const { rng, mode64 } = builder;
    const mandatory = ([PREFIX_66, PREFIX_F3, PREFIX_F2] as const).find((p) => row.prefixes === p);
    if (mandatory && !this.isVex) this.prefixes.push(LEGACY_PREFIX[mandatory]);
    const sized = row.operands.some(({ mode, type }) => 'vzyx'.includes(type || '-') || mode.startsWith('rAX'));
    const any = (row.prefixes & (PREFIX_66 | PREFIX_NP)) === (PREFIX_66 | PREFIX_NP);
    // Vendors differ in what 66 does to near branches in 64-bit mode.
    const may66 = !this.isVex && (any || (sized && mandatory !== undefined && mandatory !== PREFIX_66));
    if (may66 && !(mode64 && row.attributes & ATTR_F64) && rng.chance(20)) {
      this.prefixes.push(0x66);
      this.operandSize = 2;
    }
    if (mode64 && !choices.noRexW && rng.chance(sized || any ? 40 : 10)) {
      this.rex |= REX_W;
      this.operandSize = 8;
    }
    if (row.attributes & ATTR_REP && !choices.noRepeat && rng.chance(50)) this.prefixes.push(rng.pick([0xf2, 0xf3]));
  }

  /** @returns the opcode byte. */
  private chooseOperands(): number {
    const { builder, row } = this;
    const { rng, mode64 } = builder;
    if (row.registerInOpcode) {
      const register = builder.register();
      this.reg = register;
      if (register & 8) this.rex |= REX_B;
      return row.opcode | (register & 7);
    }
    for (const { mode } of row.operands) if (mode === 'B') this.vvvv = builder.register();
    if (row.attributes & ATTR_MODRM) this.chooseModrm();
    else if (row.operands.some(({ mode }) => mode === 'X' || mode === 'Y' || mode === 'O') && rng.chance(10))
      this.prefixes.push(0x67);
    if (mode64 && row.attributes === 0 && rng.chance(5)) this.rex |= rng.below(8);
    return row.opcode;
  }

  private chooseModrm(): void {
    const { builder, row } = this;
    const { rng } = builder;
    const regOperand = row.operands.find(({ mode }) => 'GVPSCD'.includes(mode));
    const rmOperand = row.operands.find(({ mode }) => 'EWQMUNR'.includes(mode));
    let reg = this.operandRegister(regOperand);
    if (row.modrmMask & 0x38) reg = (row.modrmValue >> 3) & 7;
    this.reg = reg;
    if (reg & 8) this.rex |= REX_R;
    const registerOnly = (row.modrmMask & 0xc0) === 0xc0 || 'UNR'.includes(rmOperand?.mode ?? 'U');
    const memoryOnly = row.attributes & ATTR_MEM_ONLY;
    if (memoryOnly || (!registerOnly && rng.chance(50))) {
      const size = operandBytes(rmOperand?.type ?? '', this.operandSize);
      const { address, linear } = builder.address(size);
      this.memory = { linear, size };
      if (row.attributes & ATTR_LOCK && rng.chance(20)) this.prefixes.push(0xf0);
      this.memoryForm(address, (reg & 7) << 3);
      return;
    }
    let rm = this.operandRegister(rmOperand);
    if (row.modrmMask & 7) rm = row.modrmValue & 7;
    this.rm = rm;
    if (rm & 8) this.rex |= REX_B;
    this.modrm.push(0xc0 | ((reg & 7) << 3) | (rm & 7));
  }

  /** @returns a register for an operand in ModRM, 0…15. */
  private operandRegister(operand: Operand | undefined): number {
    const { builder } = this;
    const { rng, mode64 } = builder;
    switch (operand?.mode) {
      case 'E':
      case 'G':
      case 'R': {
        const register = builder.register();
        // AH … BH: byte registers 4 to 7 without REX.
        return operand.type === 'b' && builder.sequence && register < 4 && rng.chance(20) ? register + 4 : register;
      }
      case 'V':
      case 'W':
      case 'U':
        return rng.below(mode64 ? 16 : 8);
      default:
        return rng.below(8);
    }
  }

  private memoryForm(address: Address, reg: number): void {
    const { mode64 } = this.builder;
    if (address.segmentPrefix) this.prefixes.push(address.segmentPrefix);
    if (address.size !== (mode64 ? 8 : 4)) this.prefixes.push(0x67);
    const { base, index, scale, displacement } = address;
    if (address.size === 2) {
      if (base < 0) this.push(reg | 6, displacement, 2);
      else this.withDisplacement(reg | address.rm16, [], displacement, address.rm16 !== 6, 2);
      return;
    }
    if (address.ripRelative) {
      this.ripAt = 1;
      this.push(reg | 5, displacement, 4);
      return;
    }
    if (base & 8 && base >= 0) this.rex |= REX_B;
    if (index & 8 && index >= 0) this.rex |= REX_X;
    if (base < 0) {
      // In 64-bit mode an address without base needs a SIB byte; in 32-bit mode it may have one.
      if (index < 0 && !mode64 && this.builder.rng.chance(50)) this.push(reg | 5, displacement, 4);
      else {
        this.modrm.push(reg | 4);
        this.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | 5, displacement, 4);
      }
      return;
    }
    const mayOmit = (base & 7) !== 5;
    if (index < 0 && (base & 7) !== 4 && !this.builder.rng.chance(5))
      this.withDisplacement(reg | (base & 7), [], displacement, mayOmit, 4);
    else {
      const sib = (scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7);
      this.withDisplacement(reg | 4, [sib], displacement, mayOmit, 4);
    }
  }

  /** @param wide bytes of the long displacement. */
  private withDisplacement(modrm: number, sib: number[], displacement: number, mayOmit: boolean, wide: number): void {
    if (displacement === 0 && mayOmit && this.builder.rng.chance(90)) this.modrm.push(modrm, ...sib);
    else if (displacement === (displacement << 24) >> 24 && this.builder.rng.chance(90)) {
      this.modrm.push(0x40 | modrm, ...sib);
      this.modrm.push(displacement & 0xff);
    } else {
      this.modrm.push(0x80 | modrm, ...sib);
      for (let i = 0; i < wide; i++) this.modrm.push((displacement >> (8 * i)) & 0xff);
    }
  }

  /** ModRM or SIB byte and displacement. */
  private push(byte: number, displacement: number, bytes: number): void {
    this.modrm.push(byte);
    for (let i = 0; i < bytes; i++) this.modrm.push((displacement >> (8 * i)) & 0xff);
  }

  private rexByte(): number[] {
    const { rng, mode64 } = this.builder;
    if (!mode64 || (this.rex === 0 && !rng.chance(7))) return [];
    return [0x40 | this.rex];
  }

  /** SDM vol. 2A, 2.3.5; R, X, B and vvvv are inverted. */
  private vex(): number[] {
    const { row } = this;
    const { rng, mode64 } = this.builder;
    const pp = { [PREFIX_66]: 1, [PREFIX_F3]: 2, [PREFIX_F2]: 3 }[row.prefixes] ?? 0;
    const rxb = mode64 ? this.rex & 7 : 0;
    const w = mode64 ? this.rex & REX_W : rng.chance(10) ? REX_W : 0;
    const map = row.map === MAP_VEX_0F38 ? 2 : 3;
    const uses = row.operands.some(({ mode }) => mode === 'B');
    const vvvv = uses ? this.vvvv : 0;
    return [...this.prefixes, 0xc4, ((~rxb << 5) & 0xe0) | map, (w << 4) | ((~vvvv & 15) << 3) | pp];
  }

  /** A branch's: not to itself, which would not end, nor into the runner's JMP that follows the code. */
  private distance(limit: number): number {
    const { rng } = this.builder;
    if (rng.chance(20)) return 0;
    return rng.chance(60) ? 5 + rng.below(limit - 5) : -16 - rng.below(limit - 16);
  }

  private immediate({ code }: Operand): number[] {
    const { builder, choices, operandSize } = this;
    const { rng, mode64 } = builder;
    const chosen = choices.immediate ?? integer(rng);
    const bytes = (value: bigint, count: number) =>
      Array.from({ length: count }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
    switch (code) {
      case 'Ib':
      case 'Ibs':
        return bytes(choices.level ?? chosen, 1);
      case 'Iw':
        return bytes(chosen, 2);
      case 'Iz':
        return bytes(chosen, Math.min(operandSize, 4));
      case 'Iv':
        return bytes(chosen, operandSize);
      case 'Jb':
        return bytes(BigInt(this.distance(128)), 1);
      case 'Jz':
        return bytes(BigInt(this.distance(0x1000)), operandSize === 2 ? 2 : 4);
      case 'Ap':
        return bytes(choices.immediate ?? rng.u64(), Math.min(operandSize, 4) + 2);
      case 'Ob':
      case 'Ov': {
        const addressSize = mode64 ? (this.prefixes.includes(0x67) ? 4 : 8) : this.prefixes.includes(0x67) ? 2 : 4;
        const size = code === 'Ob' ? 1 : operandSize;
        const linear = builder.target(size, addressSize) & ((1n << BigInt(addressSize * 8)) - 1n);
        this.memory = { linear, size };
        return bytes(linear, addressSize);
      }
      default:
        return [];
    }
  }
}
