/**
 * A CPU alone with its RAM, for tests of system behaviour: brought into a mode with tables of its own, it runs pieces of
 * machine code until HLT. Every exception handler is a HLT at an address that tells its vector.
 */
import { Cpu, type CpuEnvironment, type CpuOptions, STOP_HALT } from '../../../cpu/cpu.ts';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import {
  gprOffset,
  RAM_BASE,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_EFER,
  S_GDTR,
  S_IDTR,
  S_RIP,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../../../cpu/state.ts';
import { cacheSegment } from '../../../cpu/system/descriptors.ts';
import { updateMode } from '../../../cpu/system/mode-word.ts';
import { setSegment } from '../../../cpu/system/reset.ts';
import { accelerated } from '../core.ts';

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RSI = 6;
export const RDI = 7;

export const CS = 1;
export const SS = 2;
export const DS = 3;

/** Physical and linear addresses of the tables. */
export const GDT = 0x1000;
export const IDT = 0x2000;
export const HANDLERS = 0x3000;
export const TSS = 0x4000;
export const PML4 = 0x10000;
export const PDPT = 0x11000;
export const PD = 0x12000;
/** Page table of the first 2 MiB. */
export const PT = 0x13000;
export const CODE = 0x20000;
export const DATA = 0x40000;
export const KERNEL_STACK = 0x60000;
export const INNER_STACK = 0x70000;
export const RAM_SIZE = 8 << 20;

/** Selectors. */
export const CODE32 = 0x08;
export const CODE64 = 0x10;
export const FLAT = 0x18;
export const USER_CODE32 = 0x23;
export const USER_DATA = 0x2b;
export const USER_CODE64 = 0x33;
const CODE16 = 0x38;
export const TSS_SELECTOR = 0x40;
/** Free for a test; 16 bytes. */
export const SPARE = 0x50;

const DESCRIPTORS: Record<number, bigint> = {
  [CODE32]: 0x00cf9b000000ffffn,
  [CODE64]: 0x00af9b000000ffffn,
  [FLAT]: 0x00cf93000000ffffn,
  32: 0x00cffb000000ffffn,
  40: 0x00cff3000000ffffn,
  48: 0x00affb000000ffffn,
  [CODE16]: 0x00009b000000ffffn,
};

const HLT = 0xf4;
const ERROR_CODES = new Set([8, 10, 11, 12, 13, 14, 17]);

/** The bytes of a doubleword, as code is written for `put` and `run`. */
export function le32(value: number): string {
  return [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0')).join(' ');
}

/** mov edx, address; call rdx */
export const call = (address: number) => `ba ${le32(address)} ff d2`;

/** How a run ended: at a HLT of its own (`vector` −1), or in the handler of an exception. */
export interface Outcome {
  vector: number;
  error: number;
  /** Saved RIP, or the address behind the HLT. */
  rip: number;
  /** The saved frame, above the error code. */
  frame: number[];
}

export class BareCpu {
  readonly cpu: Cpu;
  readonly ram: Uint8Array;
  readonly view: DataView;
  /** Port accesses: what reads give, and what was written. */
  readonly portWrites: [port: number, size: number, value: number][] = [];
  portValue = 0xffffffff;
  /** Vectors that wait to interrupt. */
  readonly waiting: number[] = [];
  readonly tsc = { low: 0, high: 0, read() {} };
  private wide = 8;

  constructor(environment: Partial<CpuEnvironment> = {}, options: Partial<CpuOptions> = {}) {
    this.cpu = new Cpu(
      { ramSize: RAM_SIZE, ...accelerated(), ...options },
      {
        ports: {
          read: (_, size) => (size === 4 ? this.portValue : this.portValue & (size === 2 ? 0xffff : 0xff)) >>> 0,
          write: (port, size, value) => void this.portWrites.push([port, size, value]),
        },
        mmio: { read: () => 0xffffffff, write: () => {} },
        interrupts: { pending: () => this.waiting.length > 0, acknowledge: () => this.waiting.shift()! },
        tsc: this.tsc,
        tscKHz: 2_000_000,
        ...environment,
      },
    );
    this.ram = this.cpu.u8.subarray(RAM_BASE, RAM_BASE + RAM_SIZE);
    this.view = new DataView(this.ram.buffer, this.ram.byteOffset, RAM_SIZE);
  }

  /** 64-bit mode at privilege level `cpl`; the first 8 MiB are mapped 1:1, open to ring 3. */
  long(cpl = 0): this {
    const { view } = this;
    view.setBigUint64(PML4, BigInt(PDPT) | 7n, true);
    view.setBigUint64(PDPT, BigInt(PD) | 7n, true);
    view.setBigUint64(PD, BigInt(PT) | 7n, true);
    for (let n = 1; n < 4; n++) view.setBigUint64(PD + n * 8, BigInt(n << 21) | 0x87n, true);
    for (let n = 0; n < 512; n++) view.setBigUint64(PT + n * 8, BigInt(n << 12) | 7n, true);
    this.control(0x80050033, 0x00010620, 0xd01, PML4);
    this.wide = 8;
    this.tables(16);
    view.setBigUint64(TSS + 4, BigInt(INNER_STACK), true);
    this.enter(cpl === 0 ? CODE64 : USER_CODE64, cpl === 0 ? FLAT : USER_DATA, cpl);
    return this;
  }

  /** 32-bit protected mode without paging. */
  protected(cpl = 0): this {
    this.control(0x33, 0x620, 0, 0);
    this.wide = 4;
    this.tables(8);
    this.view.setUint32(TSS + 4, INNER_STACK, true);
    this.view.setUint32(TSS + 8, FLAT, true);
    this.enter(cpl === 0 ? CODE32 : USER_CODE32, cpl === 0 ? FLAT : USER_DATA, cpl);
    return this;
  }

  /** Real-address mode, CS = DS = SS = 0. */
  real(): this {
    const { cpu } = this;
    cpu.reset();
    this.wide = 2;
    for (let n = 0; n < 6; n++) setSegment(cpu, n, 0, 0, 0xffff, n === CS ? 0x9b00 : 0x9300);
    for (let vector = 0; vector < 256; vector++) this.view.setUint32(vector * 4, HANDLERS + vector, true);
    this.ram.fill(HLT, HANDLERS, HANDLERS + 256);
    updateMode(cpu, 0);
    cpu.setGpr(RSP, 0x8000, 0);
    return this;
  }

  private control(cr0: number, cr4: number, efer: number, cr3: number): void {
    const { cpu } = this;
    cpu.reset();
    const { i32 } = cpu;
    i32[S_CR0 >> 2] = cr0 | 0;
    i32[S_CR4 >> 2] = cr4;
    i32[S_EFER >> 2] = efer;
    i32[S_CR3 >> 2] = cr3;
    setRflags(cpu, 2);
  }

  private tables(gateSize: number): void {
    const { view, ram, cpu } = this;
    for (const [selector, descriptor] of Object.entries(DESCRIPTORS))
      view.setBigUint64(GDT + Number(selector), descriptor, true);
    view.setBigUint64(GDT + TSS_SELECTOR, 0x0000890000000067n | (BigInt(TSS) << 16n), true);
    const code = BigInt(gateSize === 16 ? CODE64 : CODE32);
    for (let vector = 0; vector < 256; vector++) {
      const gate = BigInt(HANDLERS + vector) | (code << 16n) | (0x8en << 40n);
      view.setBigUint64(IDT + vector * gateSize, gate, true);
    }
    ram.fill(HLT, HANDLERS, HANDLERS + 256);
    const table = (offset: number, base: number, limit: number) => {
      cpu.i32[offset >> 2] = base;
      cpu.i32[(offset + 8) >> 2] = limit;
    };
    table(S_GDTR, GDT, 0x7f);
    table(S_IDTR, IDT, 256 * gateSize - 1);
    setSegment(cpu, SEGMENT_TR, TSS_SELECTOR, TSS, 0x67, 0x8b00);
  }

  private enter(code: number, data: number, cpl: number): void {
    const { cpu } = this;
    const load = (n: number, selector: number) => {
      const descriptor = DESCRIPTORS[selector & 0xfff8];
      cacheSegment(cpu, n, selector, Number(descriptor & 0xffffffffn) | 0, Number(descriptor >> 32n) | 0);
    };
    load(CS, code);
    for (const n of [0, SS, DS, 4, 5]) load(n, data);
    updateMode(cpu, cpl);
    cpu.mmu.flush();
    cpu.blocks.flush();
    cpu.setGpr(RSP, KERNEL_STACK, 0);
  }

  /** Puts machine code, written in hexadecimal, at `address`, followed by a HLT. */
  put(address: number, hex: string): void {
    const bytes = hex
      .split(/\s+/)
      .filter((byte) => byte !== '')
      .map((byte) => Number.parseInt(byte, 16));
    this.ram.set([...bytes, HLT], address);
    this.cpu.ramWritten(address, bytes.length + 1);
  }

  /** Runs machine code at CODE until a HLT. */
  run(hex: string, budget = 100_000): Outcome {
    this.put(CODE, hex);
    return this.go(CODE, budget);
  }

  /** Goes on at an address. */
  go(address: number, budget = 100_000): Outcome {
    const { cpu, view } = this;
    cpu.i32[S_RIP >> 2] = address;
    cpu.i32[(S_RIP + 4) >> 2] = 0;
    cpu.halted = false;
    cpu.shutdown = false;
    const stop = cpu.run(budget);
    if (stop !== STOP_HALT) throw new Error(`stopped by ${stop} at 0x${(cpu.i32[S_RIP >> 2] >>> 0).toString(16)}`);
    const rip = cpu.i32[S_RIP >> 2];
    const vector = rip - HANDLERS - 1;
    if (vector < 0 || vector > 255) return { vector: -1, error: 0, rip, frame: [] };
    let at = cpu.gprLow(RSP);
    const base = this.wide === 2 ? cpu.i32[segmentOffset(SS) >> 2] : 0;
    const next = () => {
      const value =
        this.wide === 8
          ? Number(view.getBigUint64(at, true))
          : this.wide === 4
            ? view.getUint32(at, true)
            : view.getUint16(base + at, true);
      at += this.wide;
      return value;
    };
    const error = this.wide !== 2 && ERROR_CODES.has(vector) ? next() : 0;
    const frame = [0, 1, 2, 3, 4].map(next);
    return { vector, error, rip: frame[0], frame };
  }

  gpr(n: number): number {
    return this.cpu.gprLow(n) >>> 0;
  }

  set(n: number, value: number): void {
    this.cpu.setGpr(n, value | 0, Math.floor(value / 2 ** 32) | 0);
  }

  selector(n: number): number {
    return this.cpu.u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1];
  }

  get cr2(): number {
    return this.cpu.i32[S_CR2 >> 2] >>> 0;
  }

  /** A 64-bit general register. */
  gpr64(n: number): bigint {
    return new BigUint64Array(this.cpu.buffer)[gprOffset(n) >> 3];
  }
}
