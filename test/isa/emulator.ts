/**
 * Our CPU as an executor of test cases: the regions of layout.ts behind real page tables in user mode, a GDT and an IDT
 * like Linux', handlers that halt, so that exceptions arrive the way a guest would see them.
 */
import { Cpu, type CpuOptions, STOP_HALT } from '../../cpu/cpu.ts';
import { SEG_CS, SEG_SS } from '../../cpu/decode/insn.ts';
import { VECTOR_AC, VECTOR_DF, VECTOR_GP, VECTOR_NP, VECTOR_PF, VECTOR_SS, VECTOR_TS } from '../../cpu/fault.ts';
import { setRflags } from '../../cpu/helpers/flags.ts';
import {
  RAM_BASE,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_EFER,
  S_FCW,
  S_FSW,
  S_FTW,
  S_GDTR,
  S_GPR,
  S_IDTR,
  S_MXCSR,
  S_RIP,
  S_X87,
  S_XCR0,
  S_XMM,
  SEGMENT_BASE,
  SEGMENT_LDTR,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../../cpu/state.ts';
import { cacheSegment } from '../../cpu/system/descriptors.ts';
import { updateMode, updateSseFast } from '../../cpu/system/mode-word.ts';
import { setSegment } from '../../cpu/system/reset.ts';
import { accelerated } from '../cpu/core.ts';
import {
  type CaseResult,
  CpuState,
  type Executor,
  FX_FCW,
  FX_FSW,
  FX_FTW,
  FX_MXCSR,
  FX_ST0,
  FX_XMM0,
  type MemoryWord,
  RSP,
  STATE_SIZE,
  type TestCase,
  TRAP_NONE,
  TRAP_SYSCALL,
  TRAP_TIMEOUT,
} from './case.ts';
import { CS32, CS64, contents, DS, REGIONS, type Region } from './layout.ts';

const PAGE = 4096;
const RAM_SIZE = 2 << 20;
/** Physical addresses of the emulator's own structures. */
const PML4 = 0x1000;
const GDT = 0x2000;
const IDT = 0x3000;
const TSS = 0x4000;
const HANDLERS = 0x5000;
const KERNEL_STACK = 0x8000;
/** Page tables are allocated from here, region pages from REGION_PAGES. */
const TABLES = 0x10000;
const REGION_PAGES = 0x80000;
/** Where the emulator's own pages appear to the guest: in the upper half. */
const KERNEL_HIGH = 0xffff8000;

const HLT = 0xf4;
const KERNEL_CS = 0x10;
const TSS_LIMIT = 0x67;
/** The segments as Linux has them: selector, low and high half of the descriptor. */
const DESCRIPTORS: readonly (readonly [number, number, number])[] = [
  [0x08, 0x0000ffff, 0x00cf9b00],
  [KERNEL_CS, 0x0000ffff, 0x00af9b00],
  [0x18, 0x0000ffff, 0x00cf9300],
  [CS32, 0x0000ffff, 0x00cffb00],
  [DS, 0x0000ffff, 0x00cff300],
  [CS64, 0x0000ffff, 0x00affb00],
];
const WITH_ERROR_CODE = new Set([VECTOR_DF, VECTOR_TS, VECTOR_NP, VECTOR_SS, VECTOR_GP, VECTOR_PF, VECTOR_AC]);
const INSTRUCTION_LIMIT = 100_000;

export class Emulator implements Executor {
  readonly name: string;
  readonly cpu: Cpu;
  /** The CPU's memory as qwords. */
  private readonly words: BigUint64Array;
  private readonly ram: Uint8Array;
  private readonly view: DataView;
  private nextTable = TABLES;
  /** The regions' pages in RAM, what they hold before the case at hand, and what before any case. */
  private readonly pages: Buffer;
  private readonly before: Buffer;
  private readonly pristine: Buffer;
  private readonly pagesView: DataView;
  private readonly beforeView: DataView;
  /** Where each region starts among these pages. */
  private readonly offsets = new Map<Region, number>();
  /** Offsets of the pages that are not pristine. */
  private readonly touched = new Set<number>();

  constructor(name = 'interpreter', options: Omit<CpuOptions, 'ramSize'> = accelerated()) {
    this.name = name;
    this.cpu = new Cpu(
      { ramSize: RAM_SIZE, ...options },
      {
        ports: { read: () => 0xffffffff, write: () => {} },
        mmio: { read: () => 0xffffffff, write: () => {} },
        interrupts: { pending: () => false, acknowledge: () => 0 },
        tsc: { low: 0, high: 0, read() {} },
        tscKHz: 2_000_000,
      },
    );
    this.words = new BigUint64Array(this.cpu.buffer);
    this.ram = this.cpu.u8.subarray(RAM_BASE, RAM_BASE + RAM_SIZE);
    this.view = new DataView(this.ram.buffer, this.ram.byteOffset, RAM_SIZE);
    let length = 0;
    for (const region of REGIONS) {
      this.offsets.set(region, length);
      for (let at = 0; at < region.length; at += PAGE) {
        const nx = region.executable ? 0n : 1n << 63n;
        const bits = (region.writable ? 7n : 5n) | nx;
        this.map(BigInt(region.address + at), BigInt(REGION_PAGES + length + at) | bits);
      }
      length += region.length;
    }
    this.pristine = Buffer.concat(REGIONS.map(contents));
    this.before = Buffer.from(this.pristine);
    this.pages = Buffer.from(this.ram.buffer, RAM_BASE + REGION_PAGES, length);
    this.pages.set(this.pristine);
    this.beforeView = new DataView(this.before.buffer, this.before.byteOffset, length);
    this.pagesView = new DataView(this.pages.buffer, this.pages.byteOffset, length);
    for (let address = 0; address < 0x10000; address += PAGE)
      this.map((BigInt(KERNEL_HIGH) << 32n) + BigInt(address), BigInt(address) | 3n);
    this.writeTables();
  }

  /** Maps the page at `linear` by the entry's physical address and bits. */
  private map(linear: bigint, entry: bigint): void {
    let table = PML4;
    for (let level = 3; level > 0; level--) {
      const at = table + Number((linear >> BigInt(12 + 9 * level)) & 511n) * 8;
      if (this.view.getBigUint64(at, true) === 0n) {
        this.view.setBigUint64(at, BigInt(this.nextTable) | 7n, true);
        this.nextTable += PAGE;
      }
      table = Number(this.view.getBigUint64(at, true) & 0xffff_f000n);
    }
    this.view.setBigUint64(table + Number((linear >> 12n) & 511n) * 8, entry, true);
  }

  private writeTables(): void {
    const { view } = this;
    for (const [selector, low, high] of DESCRIPTORS) {
      view.setUint32(GDT + (selector & ~7), low, true);
      view.setUint32(GDT + (selector & ~7) + 4, high, true);
    }
    const high = BigInt(KERNEL_HIGH) << 32n;
    view.setBigUint64(TSS + 4, high + BigInt(KERNEL_STACK), true);
    view.setUint16(TSS + 0x66, TSS_LIMIT + 1, true); // no I/O permission bitmap
    for (let vector = 0; vector < 256; vector++) {
      const handler = high + BigInt(HANDLERS + vector);
      const dpl = vector === 3 || vector === 4 || vector === 0x80 ? 0xee00n : 0x8e00n;
      const low = (handler & 0xffffn) | (BigInt(KERNEL_CS) << 16n) | (dpl << 32n) | ((handler & 0xffff_0000n) << 32n);
      view.setBigUint64(IDT + vector * 16, low, true);
      view.setBigUint64(IDT + vector * 16 + 8, handler >> 32n, true);
      this.ram[HANDLERS + vector] = HLT;
    }
  }

  async run(cases: readonly TestCase[]): Promise<CaseResult[]> {
    return cases.map((testCase) => this.runCase(testCase));
  }

  private runCase(testCase: TestCase): CaseResult {
    const { cpu, view } = this;
    this.place(testCase);
    cpu.reset();
    this.loadState(testCase.state);
    const stop = cpu.run(INSTRUCTION_LIMIT);
    const state = this.saveState();
    const memory = this.changes();
    const result = { state, trap: TRAP_TIMEOUT, error: 0, cr2: 0n, memory };
    if (stop !== STOP_HALT) return result;
    const vector = (cpu.i32[S_RIP >> 2] - HANDLERS - 1) & 0xffff;
    const stack = cpu.i32[(S_GPR + RSP * 8) >> 2] & 0xffff;
    const hasError = WITH_ERROR_CODE.has(vector);
    const frame = hasError ? stack + 8 : stack;
    state.rip = view.getBigUint64(frame, true);
    state.segments[SEG_CS] = view.getUint16(frame + 8, true);
    state.rflags = view.getUint32(frame + 16, true);
    state.gpr[RSP] = view.getBigUint64(frame + 24, true);
    state.segments[SEG_SS] = view.getUint16(frame + 32, true);
    const end = BigInt(testCase.codeAddress + testCase.code.length);
    const cr2 = BigInt.asUintN(64, (BigInt(cpu.i32[(S_CR2 + 4) >> 2]) << 32n) | BigInt(cpu.i32[S_CR2 >> 2] >>> 0));
    // The end of the code is a HLT, which user mode must not execute, or the end of the region.
    const ended = state.rip === end && (vector === VECTOR_GP || (vector === VECTOR_PF && cr2 === end));
    if (ended) return { ...result, trap: TRAP_NONE };
    const error = hasError ? view.getUint32(stack, true) : 0;
    const trap = vector === 0x80 ? TRAP_SYSCALL : vector;
    return { ...result, trap, error, cr2: trap === VECTOR_PF ? cr2 : 0n };
  }

  /** Offset in the region pages of a linear address, -1 outside the regions. */
  private offsetOf(address: number): number {
    for (const [region, offset] of this.offsets)
      if (address >= region.address && address < region.address + region.length)
        return offset + address - region.address;
    return -1;
  }

  /** Puts a case's memory and code in place, after undoing what the last one left. */
  private place({ codeAddress, code, memory }: TestCase): void {
    const { pages, before, pristine } = this;
    for (const at of this.touched) {
      before.set(pristine.subarray(at, at + PAGE), at);
      pages.set(pristine.subarray(at, at + PAGE), at);
    }
    this.touched.clear();
    for (const { address, value } of memory) {
      const at = this.offsetOf(address);
      this.beforeView.setBigUint64(at, value, true);
      this.touched.add(at & -PAGE);
    }
    const at = this.offsetOf(codeAddress);
    before.set(code, at);
    const end = this.offsetOf(codeAddress + code.length);
    if (end >= 0) before[end] = HLT;
    for (let page = at & -PAGE; page <= at + code.length && page < pages.length; page += PAGE) this.touched.add(page);
    for (const page of this.touched) pages.set(before.subarray(page, page + PAGE), page);
  }

  /** Qwords of the writable regions that differ from what the case put there. */
  private changes(): MemoryWord[] {
    const changed: MemoryWord[] = [];
    for (const [region, offset] of this.offsets) {
      if (!region.writable) continue;
      for (let at = offset; at < offset + region.length; at += PAGE) {
        if (this.before.compare(this.pages, at, at + PAGE, at, at + PAGE) === 0) continue;
        this.touched.add(at);
        for (let i = at; i < at + PAGE; i += 8) {
          const value = this.pagesView.getBigUint64(i, true);
          if (value !== this.beforeView.getBigUint64(i, true))
            changed.push({ address: region.address + i - offset, value });
        }
      }
    }
    return changed;
  }

  private loadState(state: CpuState): void {
    const { cpu } = this;
    const { i32, u8, u16 } = cpu;
    i32[S_CR0 >> 2] = 0x8005_0033 | 0;
    i32[S_CR4 >> 2] = 0x0005_0620;
    i32[S_CR3 >> 2] = PML4;
    i32[S_EFER >> 2] = 0xd01;
    i32[S_XCR0 >> 2] = 3;
    const table = (offset: number, address: number, limit: number) => {
      i32[offset >> 2] = address;
      i32[(offset + 4) >> 2] = KERNEL_HIGH | 0;
      i32[(offset + 8) >> 2] = limit;
    };
    table(S_GDTR, GDT, 0x7f);
    table(S_IDTR, IDT, 0xfff);
    setSegment(cpu, SEGMENT_TR, 0x40, TSS, TSS_LIMIT, 0x8b00, KERNEL_HIGH | 0);
    setSegment(cpu, SEGMENT_LDTR, 0, 0, 0, 0);
    for (let n = 0; n < 6; n++) {
      const selector = state.segments[n];
      const known = DESCRIPTORS.find(([known]) => known === selector);
      if (known) cacheSegment(cpu, n, selector, known[1], known[2]);
      else setSegment(cpu, n, selector, 0, 0, 0);
    }
    const { words } = this;
    words[(segmentOffset(4) + SEGMENT_BASE) >> 3] = state.fsBase;
    words[(segmentOffset(5) + SEGMENT_BASE) >> 3] = state.gsBase;
    words.set(state.gpr, S_GPR >> 3);
    words[S_RIP >> 3] = state.rip;
    setRflags(cpu, state.rflags);
    const fx = new DataView(state.fxsave.buffer, state.fxsave.byteOffset, 512);
    u16[S_FCW >> 1] = fx.getUint16(FX_FCW, true);
    u16[S_FSW >> 1] = fx.getUint16(FX_FSW, true);
    u16[S_FTW >> 1] = fx.getUint8(FX_FTW);
    i32[S_MXCSR >> 2] = fx.getUint32(FX_MXCSR, true);
    u8.set(state.fxsave.subarray(FX_XMM0, FX_XMM0 + 256), S_XMM);
    const top = (u16[S_FSW >> 1] >> 11) & 7;
    for (let i = 0; i < 8; i++)
      u8.set(state.fxsave.subarray(FX_ST0 + i * 16, FX_ST0 + i * 16 + 10), S_X87 + ((top + i) & 7) * 16);
    updateMode(cpu, 3);
    updateSseFast(cpu);
  }

  private saveState(): CpuState {
    const { cpu, words } = this;
    const { i32, u8, u16 } = cpu;
    const state = new CpuState(new ArrayBuffer(STATE_SIZE));
    for (let n = 0; n < 6; n++) state.segments[n] = u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1];
    state.gpr.set(words.subarray(S_GPR >> 3, (S_GPR >> 3) + 16));
    state.rip = words[S_RIP >> 3];
    state.rflags = cpu.rflags;
    state.fsBase = words[(segmentOffset(4) + SEGMENT_BASE) >> 3];
    state.gsBase = words[(segmentOffset(5) + SEGMENT_BASE) >> 3];
    const fx = new DataView(state.fxsave.buffer, state.fxsave.byteOffset, 512);
    fx.setUint16(FX_FCW, u16[S_FCW >> 1], true);
    fx.setUint16(FX_FSW, u16[S_FSW >> 1], true);
    fx.setUint8(FX_FTW, u16[S_FTW >> 1]);
    fx.setUint32(FX_MXCSR, i32[S_MXCSR >> 2], true);
    state.fxsave.set(u8.subarray(S_XMM, S_XMM + 256), FX_XMM0);
    const top = (u16[S_FSW >> 1] >> 11) & 7;
    for (let i = 0; i < 8; i++) {
      const at = S_X87 + ((top + i) & 7) * 16;
      state.fxsave.set(u8.subarray(at, at + 10), FX_ST0 + i * 16);
    }
    return state;
  }
}
