/**
 * Builds one test case: registers and memory, and the addresses that instructions use, which mostly hit the regions of
 * layout.ts.
 *
 * In a case of one instruction every register may serve for everything, and the registers of an address are solved for.
 * In a sequence some registers stay pointers, so that later instructions have valid addresses too.
 */
import { type CpuState, initialState, type MemoryWord, RSP } from './case.ts';
import { CODE, CS32, DATA, DS, HIGH, LOW, READ_ONLY, REGIONS, type Region, STACK, UNMAPPED } from './layout.ts';
import type { Rng } from './rng.ts';
import { type ElementKind, integer, qword } from './values.ts';

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;
const R12 = 12;
const R13 = 13;
const R14 = 14;
const R15 = 15;
const NONE = -1;

/** In a sequence these keep pointing to the middle of a region, and {@link SMALL} stays a small multiple of 16. */
const POINTERS64: readonly (readonly [number, Region])[] = [
  [RBX, DATA],
  [RBP, STACK],
  [RSI, DATA],
  [RDI, DATA],
  [R12, HIGH],
  [R13, DATA],
];
const POINTERS32 = POINTERS64.filter(([register]) => register < 8 && register !== RBP);
const SMALL = R15;
const DATA_REGISTERS64 = [RAX, RCX, RDX, 8, 9, 10, 11];
const DATA_REGISTERS32 = [RAX, RCX, RDX];

/** How an instruction names a memory operand. */
export interface Address {
  /** Bytes: 2, 4 or 8. */
  readonly size: number;
  readonly base: number;
  readonly index: number;
  /** log2 */
  readonly scale: number;
  readonly displacement: number;
  readonly ripRelative: boolean;
  /** 16-bit form: ModRM.rm. */
  readonly rm16: number;
  /** A segment override prefix, or 0. */
  readonly segmentPrefix: number;
}

const SEGMENT_PREFIXES32 = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
/** Base and index of the 16-bit forms, by ModRM.rm (SDM vol. 2A, table 2-1). */
const FORMS16: readonly (readonly [number, number])[] = [
  [RBX, RSI],
  [RBX, RDI],
  [RBP, RSI],
  [RBP, RDI],
  [RSI, NONE],
  [RDI, NONE],
  [RBP, NONE],
  [RBX, NONE],
];

const mask = (bytes: number): bigint => (1n << BigInt(bytes * 8)) - 1n;
const fits = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;

export class CaseBuilder {
  readonly rng: Rng;
  readonly mode64: boolean;
  readonly sequence: boolean;
  readonly state: CpuState = initialState();
  /** Where the next instruction will lie. */
  codeAddress: number;
  /** What fills memory operands. */
  elementKind: ElementKind = 'integer';
  private readonly memory = new Map<number, bigint>();
  /** Registers whose value something relies on. */
  private committed = 0;

  constructor(rng: Rng, mode64: boolean, sequence: boolean) {
    this.rng = rng;
    this.mode64 = mode64;
    this.sequence = sequence;
    this.codeAddress =
      CODE.address +
      rng.weighted([
        [0x100 + rng.below(64), 80],
        [0x1000 - rng.below(16), 15],
        [CODE.length - 6 - rng.below(16), 5],
      ]);
    this.state.rip = BigInt(this.codeAddress);
    if (!mode64) this.state.segments.set([DS, CS32, DS, DS, DS, DS]);
    if (sequence) this.commitPointers();
  }

  private commitPointers(): void {
    const middle = (region: Region) => BigInt(region.address + region.length / 2 + this.rng.below(8) * 64);
    for (const [register, region] of this.mode64 ? POINTERS64 : POINTERS32) this.commit(register, middle(region));
    this.commit(RSP, middle(STACK));
    if (this.mode64) this.commit(SMALL, BigInt(this.rng.below(4) * 16));
    this.commit(this.loopCounter, BigInt(1 + this.rng.below(6)));
  }

  /** In a sequence, the register that counts its loop. */
  get loopCounter(): number {
    return this.mode64 ? R14 : RBP;
  }

  isCommitted(register: number): boolean {
    return ((this.committed >> register) & 1) !== 0;
  }

  commit(register: number, value: bigint): void {
    this.state.gpr[register] = this.mode64 ? value : value & 0xffff_ffffn;
    this.committed |= 1 << register;
  }

  /** Commits unless the register is in use already. */
  prefer(register: number, value: bigint): void {
    if (!this.isCommitted(register)) this.commit(register, value);
  }

  /** @returns a register for a data operand. */
  register(): number {
    if (this.sequence) return this.rng.pick(this.mode64 ? DATA_REGISTERS64 : DATA_REGISTERS32);
    return this.rng.below(this.mode64 ? 16 : 8);
  }

  /** Gives every register that nothing relies on a value. */
  fillRegisters(): void {
    this.prefer(RSP, this.stackPointer());
    for (let r = 0; r < (this.mode64 ? 16 : 8); r++) this.prefer(r, integer(this.rng));
  }

  private stackPointer(): bigint {
    const top = STACK.address + STACK.length;
    const offset = this.rng.weighted([
      [STACK.length / 2 + this.rng.below(64) * 8, 75],
      [STACK.length / 2 + this.rng.below(512), 10],
      [this.rng.below(24), 8],
      [STACK.length - this.rng.below(24), 7],
    ]);
    return BigInt(Math.min(top, STACK.address + offset));
  }

  /** Commits RSP to the stack; @returns it. */
  useStack(): number {
    this.prefer(RSP, this.stackPointer());
    return Number(this.state.gpr[RSP] & 0xffff_ffff_ffffn);
  }

  /** Writes a qword to memory before the case, at any address; what lies outside the writable regions is dropped. */
  poke(address: number, value: bigint): void {
    const shift = BigInt((address & 7) * 8);
    this.pokeBits(address - (address & 7), value << shift, 0xffff_ffff_ffff_ffffn << shift);
    if (shift !== 0n) this.pokeBits(address - (address & 7) + 8, value >> (64n - shift), ~(-1n << shift));
  }

  private pokeBits(address: number, value: bigint, bits: bigint): void {
    const region = REGIONS.find((r) => address >= r.address && address < r.address + r.length);
    if (!region?.writable || region === CODE) return;
    const old = this.memory.get(address) ?? 0n;
    this.memory.set(address, BigInt.asUintN(64, (old & ~bits) | (value & bits)));
  }

  pokeBytes(address: number, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let i = 0; i + 8 <= bytes.length; i += 8) this.poke(address + i, view.getBigUint64(i, true));
  }

  words(): MemoryWord[] {
    return [...this.memory].map(([address, value]) => ({ address, value }));
  }

  /** @returns a linear address for an operand of `size` bytes: mostly valid and aligned. */
  target(size: number, addressSize: number): bigint {
    const { rng } = this;
    if (addressSize === 2) return BigInt(LOW.address + rng.below(LOW.length));
    const far = addressSize === 8;
    const region = rng.weighted([
      [DATA, 70],
      [STACK, 8],
      [HIGH, far ? 8 : 0],
      [READ_ONLY, 5],
    ]);
    // Writable code, away from the case's own: behind that the executors need not hold the same bytes.
    if (rng.chance(1)) return BigInt(CODE.address + 0x400 + rng.below(0x400));
    const aligned = BigInt(region.address + 0x100 + (rng.below(region.length - 0x400) & ~63));
    return rng.weighted<bigint>([
      [aligned, size >= 16 ? 77 : 62],
      [aligned + BigInt(rng.below(64)), size >= 16 ? 5 : 20],
      [BigInt(DATA.address + 0x1000 - rng.below(size + 1)), 8], // across a page
      [BigInt(region.address + region.length - rng.below(size + 1)), 3], // across the end
      [BigInt(region.address - rng.below(size + 1)), 3],
      [BigInt(UNMAPPED + rng.below(4096)), 2],
      [BigInt(rng.below(4096)), 1],
      [far ? 0x8000_0000_0000n + rng.u64() / 2n : BigInt(rng.u32()), 1], // not canonical
    ]);
  }

  /** Fills what `address` … `address + size` holds with values of the case's kind. */
  fill(address: bigint, size: number): void {
    for (let i = 0; i < size; i += 8) this.poke(Number(address) + i, qword(this.rng, this.elementKind));
  }

  /**
   * Plans a memory operand of `size` bytes.
   * @returns its linear address too. A RIP-relative `displacement` is the absolute address.
   */
  address(size: number): { address: Address; linear: bigint } {
    const { rng, mode64 } = this;
    const addressSize = mode64 ? (rng.chance(12) ? 4 : 8) : rng.chance(10) && !this.sequence ? 2 : 4;
    const segmentPrefix = this.segmentPrefix();
    const segmentBase = this.segmentBase(segmentPrefix);
    const wanted = (this.target(size, addressSize) - segmentBase) & mask(addressSize);
    const form = addressSize === 2 ? this.form16(wanted) : this.form(wanted, addressSize);
    const sum =
      (form.base === NONE ? 0n : this.state.gpr[form.base]) +
      (form.index === NONE ? 0n : this.state.gpr[form.index] << BigInt(form.scale)) +
      BigInt(form.displacement);
    const linear = BigInt.asUintN(
      mode64 ? 64 : 32,
      segmentBase + (form.ripRelative ? wanted : sum & mask(addressSize)),
    );
    return { address: { size: addressSize, segmentPrefix, ...form }, linear };
  }

  private segmentPrefix(): number {
    if (!this.mode64) return this.rng.chance(15) ? this.rng.pick(SEGMENT_PREFIXES32) : 0;
    if (this.sequence) return 0;
    return this.rng.weighted([
      [0, 80],
      [0x64, 6],
      [0x65, 6],
      [this.rng.pick([0x26, 0x2e, 0x36, 0x3e]), 8],
    ]);
  }

  /** In 64-bit mode FS and GS have bases, which are chosen here; in 32-bit mode every segment is flat. */
  private segmentBase(prefix: number): bigint {
    if (!this.mode64 || (prefix !== 0x64 && prefix !== 0x65)) return 0n;
    // The offset must be canonical too: AMD's CPUs raise #GP for it, whatever the sum.
    const base = this.rng.pick([0n, 0x1000n, BigInt(DATA.address), 0x7000_0000_0000n, 0xffff_ffff_8000_0000n]);
    if (prefix === 0x64) this.state.fsBase = base;
    else this.state.gsBase = base;
    return base;
  }

  private form16(wanted: bigint) {
    const { rng, state } = this;
    const rm16 = rng.below(8);
    const [base, index] = FORMS16[rm16];
    // ModRM.mod 0 with rm 6 is a bare displacement.
    if (rm16 === 6 && rng.chance(50))
      return {
        base: NONE,
        index: NONE,
        scale: 0,
        rm16,
        ripRelative: false,
        displacement: Number(BigInt.asIntN(16, wanted)),
      };
    const displacement = this.displacement(16);
    if (index !== NONE) this.prefer(index, integer(rng));
    const rest = wanted - BigInt(displacement) - (index === NONE ? 0n : state.gpr[index]);
    this.prefer(base, (BigInt(rng.u32()) << 16n) | (rest & 0xffffn));
    return { base, index, scale: 0, rm16, ripRelative: false, displacement };
  }

  private displacement(bits: number): number {
    return this.rng.weighted([
      [0, 30],
      [this.rng.below(256) - 128, 45],
      [bits === 16 ? this.rng.below(0x10000) - 0x8000 : this.rng.u32() | 0, this.sequence ? 0 : 25],
    ]);
  }

  private form(wanted: bigint, addressSize: number) {
    const none = { base: NONE, index: NONE, scale: 0, rm16: 0, ripRelative: false, displacement: 0 };
    if (this.sequence) return this.formFromPointers(wanted);
    const { rng, state, mode64 } = this;
    const kind = rng.weighted([
      ['base', 45],
      ['base+index', 30],
      ['index', 10],
      ['rip', mode64 ? 10 : 0],
      ['absolute', 5],
    ]);
    const absolute = BigInt.asIntN(addressSize * 8, wanted);
    if (kind === 'rip' && fits(absolute - BigInt(this.codeAddress), 31))
      return { ...none, ripRelative: true, displacement: Number(absolute) };
    if (kind === 'absolute' && fits(absolute, 32)) return { ...none, displacement: Number(absolute) };

    const scale = rng.below(4);
    const factor = 1n << BigInt(scale);
    let index = NONE;
    if (kind === 'index' || kind === 'base+index') while ((index = this.addressRegister()) === RSP);
    if (kind === 'index') {
      this.prefer(index, BigInt(rng.below(0x1000)));
      const rest = BigInt.asIntN(addressSize * 8, wanted - state.gpr[index] * factor);
      return { ...none, index, scale, displacement: fits(rest, 32) ? Number(rest) : 0 };
    }
    const base = this.addressRegister();
    let displacement = this.displacement(32);
    if (base === index && !this.isCommitted(base)) {
      const both = factor + 1n;
      const rest = wanted - BigInt(displacement | 0);
      displacement += Number(((rest % both) + both) % both);
      displacement |= 0;
      this.commit(base, this.rubbishAbove((wanted - BigInt(displacement)) / both, addressSize));
      return { ...none, base, index, scale, displacement };
    }
    if (index !== NONE) this.prefer(index, integer(rng));
    const offset = BigInt(displacement) + (index === NONE ? 0n : state.gpr[index] * factor);
    if (!this.isCommitted(base)) this.commit(base, this.rubbishAbove(wanted - offset, addressSize));
    return { ...none, base, index, scale, displacement };
  }

  private addressRegister(): number {
    return this.rng.below(this.mode64 ? 16 : 8);
  }

  /** In an address of 32 bits the upper half of a register does not count. */
  private rubbishAbove(value: bigint, addressSize: number): bigint {
    const low = value & mask(addressSize);
    return addressSize === 4 && this.mode64 ? low | (BigInt(this.rng.u32()) << 32n) : low;
  }

  private formFromPointers(wanted: bigint) {
    const { rng, mode64 } = this;
    const none = { base: NONE, index: NONE, scale: 0, rm16: 0, ripRelative: false, displacement: 0 };
    const displacement = rng.chance(90) ? (rng.below(32) - 16) * 16 : rng.below(512) - 256;
    const index = mode64 && rng.chance(25) ? SMALL : NONE;
    const pointers = mode64 ? POINTERS64 : POINTERS32;
    if (rng.chance(8) && wanted < 0x7000_0000n)
      return { ...none, ripRelative: mode64 && rng.chance(70), displacement: Number(wanted) };
    const base = rng.chance(15) ? RSP : rng.pick(pointers)[0];
    return { ...none, base, index, scale: rng.below(4), displacement };
  }
}
