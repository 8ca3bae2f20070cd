/** A CPU in 64-bit mode with the address space of layout.ts, which runs programs to their HLT and tells how it ended. */
import type { CoreFactory } from '../../../cpu/core.ts';
import { Cpu, type CpuOptions, STOP_HALT, STOP_SHUTDOWN } from '../../../cpu/cpu.ts';
import { CodeOutsideRam } from '../../../cpu/fault.ts';
import { setRflags } from '../../../cpu/helpers/flags.ts';
import { decodeParts, encodeParts } from '../../../cpu/jit/stored-format.ts';
import {
  RAM_BASE,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_EFER,
  S_FCW,
  S_FTW,
  S_GDTR,
  S_GPR,
  S_IDTR,
  S_MXCSR,
  S_RIP,
  S_X87,
  S_XMM,
  SEGMENT_LDTR,
  SEGMENT_SELECTOR,
  SEGMENT_TR,
  segmentOffset,
} from '../../../cpu/state.ts';
import { cacheSegment } from '../../../cpu/system/descriptors.ts';
import { updateMode, updateSseFast } from '../../../cpu/system/mode-word.ts';
import { setSegment } from '../../../cpu/system/reset.ts';
import { GPR_NAMES } from '../../isa/case.ts';
import { Rng } from '../../isa/rng.ts';
import { assemble, hex, type Item } from './assembler.ts';
import * as at from './layout.ts';
import { build, END_LABEL, type Program } from './program.ts';

const PRESENT = 0x61n; // accessed and dirty, so that no tier changes the tables
const DIRTY = 0x40;
const WRITABLE = 0x2n;
const ENTRY_LENGTH = 8;
const ERROR_CODES = [8, 10, 11, 12, 13, 14, 17];

/** Instructions after which a program is given up. */
const INSTRUCTION_LIMIT = 400_000;
const BUDGETS = [80, 120, 300, 2000];

/** The page table of the first 2 MiB: the first below the root's is that of directory pointers, then comes the directory. */
const PAGE_TABLE_FRAME = at.TABLE_FRAMES + 3 * at.PAGE;

/** Frames swapped in pairs: no page lies at its own address. */
const SWAP = at.PAGE;

export class FuzzMachine {
  readonly cpu: Cpu;
  readonly ram: Buffer;
  /** Is linear memory mapped 1:1, so that regions reach it through a direct window? */
  private readonly direct: boolean;
  readonly again: boolean;
  private readonly pristine: Buffer;
  private readonly view: DataView;
  private nextTable = at.TABLE_FRAMES;
  private interrupt = false;
  /** Of all values that devices were given, and how often they were asked. */
  private deviceHash = 0;

  /** @param again is it to run programs with what it translated before? */
  constructor(core: CoreFactory, options: Omit<CpuOptions, 'core' | 'ramSize'>, direct: boolean, again = false) {
    this.direct = direct;
    this.again = again;
    const read = (address: number, size: number): number => {
      this.mix(address * 8 + size);
      return (size === 4 ? this.deviceHash : this.deviceHash & (size === 2 ? 0xffff : 0xff)) >>> 0;
    };
    const write = (address: number, size: number, value: number): void => {
      this.mix(address * 8 + size);
      this.mix(value);
      if ((this.deviceHash & 7) !== 0) return;
      this.interrupt = true;
      this.cpu.requestEvent();
    };
    this.cpu = new Cpu(
      { ...options, core, ramSize: at.RAM_SIZE },
      {
        ports: { read, write },
        mmio: { read, write },
        interrupts: {
          pending: () => this.interrupt,
          acknowledge: () => {
            this.interrupt = false;
            return at.INTERRUPT;
          },
        },
        tsc: { low: 0, high: 0, read() {} },
        tscKHz: 2_000_000,
      },
    );
    this.ram = Buffer.from(this.cpu.buffer, RAM_BASE, at.RAM_SIZE);
    this.view = new DataView(this.cpu.buffer, RAM_BASE, at.RAM_SIZE);
    this.makeTables();
    this.makeHandlers();
    this.pristine = Buffer.from(this.ram);
  }

  private mix(value: number): void {
    this.deviceHash = Math.imul(this.deviceHash ^ value, 0x9e3779b1) ^ (this.deviceHash >>> 15);
  }

  /** Physical address of what lies below MAPPED_END. */
  private frame(address: number): number {
    return this.direct || address >= at.ISA_FRAMES ? address : address ^ SWAP;
  }

  /** Copies bytes to linear addresses. */
  private put(address: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      const room = at.PAGE - ((address + i) & (at.PAGE - 1));
      this.ram.set(bytes.subarray(i, i + room), this.frame(address + i));
      i += room;
    }
  }

  private put64(address: number, value: bigint): void {
    this.view.setBigUint64(this.frame(address), value, true);
  }

  private map(linear: bigint, entry: bigint): void {
    const { view } = this;
    let table = at.TABLE_FRAMES;
    for (let level = 3; level > 0; level--) {
      const entryAt = table + Number((linear >> BigInt(12 + 9 * level)) & 511n) * ENTRY_LENGTH;
      if (view.getBigUint64(entryAt, true) === 0n) {
        this.nextTable += at.PAGE;
        view.setBigUint64(entryAt, BigInt(this.nextTable) | PRESENT | WRITABLE, true);
      }
      table = Number(view.getBigUint64(entryAt, true) & 0xffff_f000n);
    }
    view.setBigUint64(table + Number((linear >> 12n) & 511n) * ENTRY_LENGTH, entry, true);
  }

  private makeTables(): void {
    const map = (linear: number, physical: number, bits = PRESENT | WRITABLE) =>
      this.map(BigInt(linear), BigInt(physical) | bits);
    const repairable = PRESENT | WRITABLE | BigInt(at.REPAIRABLE);
    for (let page = at.PAGE; page < at.ALIASES; page += at.PAGE) {
      const isData = page >= at.DATA && page < at.DATA + at.DATA_LENGTH;
      const isLate = page >= at.LATE && page < at.LATE + at.LATE_PAGES * at.PAGE;
      map(page, this.frame(page), isData || isLate ? repairable : PRESENT | WRITABLE);
    }
    for (let i = 0; i < at.DEMAND_PAGES; i++) {
      const page = at.DEMAND + i * at.PAGE;
      map(page, page, i % 3 === 1 ? repairable : repairable & ~1n);
    }
    for (const [i, page] of at.ALIASED.entries()) map(at.ALIASES + i * at.PAGE, this.frame(page));
    map(at.READ_ONLY, at.READ_ONLY, PRESENT);
    map(at.MMIO, at.MMIO_PHYSICAL);
    map(at.PAGE_TABLE, PAGE_TABLE_FRAME);
    let frame = at.ISA_FRAMES;
    for (const region of at.ISA_REGIONS)
      for (let page = 0; page < region.length; page += at.PAGE, frame += at.PAGE)
        this.map(BigInt(region.address + page), BigInt(frame) | PRESENT | (region.writable ? WRITABLE : 0n));
  }

  private makeHandlers(): void {
    this.put64(at.GDT + at.CODE64, 0x00af9b000000ffffn);
    this.put64(at.GDT + at.FLAT, 0x00cf93000000ffffn);
    this.put64(at.GDT + at.TSS_SELECTOR, 0x0000890000000067n | (BigInt(at.TSS) << 16n));
    this.put64(at.TSS + 36, BigInt(at.EXCLUDED + at.EXCLUDED_LENGTH));
    for (let vector = 0; vector < 256; vector++) {
      const handler = BigInt(at.HANDLERS + vector * at.HANDLER_STRIDE);
      const stack = vector === at.INTERRUPT ? 1n : 0n;
      const gate = (handler & 0xffffn) | (BigInt(at.CODE64) << 16n) | (stack << 32n) | (0x8en << 40n);
      this.put64(at.IDT + vector * 16, gate);
    }
    this.put(at.HANDLERS, handlers());
  }

  /** Programs are translated anew, and kept. */
  forgetStored(): void {
    this.cpu.regions!.useStored([]);
  }

  /** The next run begins with what this one translated. */
  useStored(): void {
    const parts = this.cpu.regions!.toStore(0) ?? [];
    this.cpu.regions!.useStored(decodeParts(encodeParts(parts, 0), 0)!);
  }

  /**
   * Runs a program from its initial state to its end.
   * @param scheduling seed of the budgets and of the moments of interrupts
   * @returns whether it came to its end
   */
  run(program: Program, scheduling: number): boolean {
    const { cpu } = this;
    const rng = new Rng(scheduling);
    this.ram.set(this.pristine);
    const { code, labels, instructions } = build(program);
    this.put(at.CODE, code);
    const skips = new Uint16Array(at.CODE_LENGTH).map((_, i) => Math.min(i + 1, at.CODE_LENGTH - 1));
    for (const [first, end] of instructions) skips[first] = end;
    this.put(at.SKIPS, new Uint8Array(skips.buffer));
    this.put(at.DATA, program.data);
    for (const { address, labels: targets } of program.tables)
      for (const [i, label] of targets.entries()) this.put64(address + i * 8, BigInt(labels.get(label)!));
    const end = labels.get(END_LABEL)!;
    this.put64(at.RESUME, BigInt(end));
    this.put64(at.FUEL, BigInt(program.fuel));
    this.put64(at.END_ADDRESS, BigInt(end));
    this.cpu.ramWritten(0, at.RAM_SIZE);
    this.deviceHash = 0;
    this.interrupt = false;
    this.loadState(program);
    for (let left = INSTRUCTION_LIMIT; left > 0; ) {
      if (rng.chance(30)) this.interrupt = true;
      const before = cpu.instructions;
      const stop = this.slice(rng.pick(BUDGETS));
      left -= cpu.instructions - before + 1;
      if (stop === STOP_SHUTDOWN) return true;
      if (stop === STOP_HALT) {
        // HLT of the end: interrupts are off there.
        if (!(cpu.rflags & 0x200)) return true;
        this.interrupt = true;
      }
    }
    return false;
  }

  /** As `run` of the CPU. A jump out of RAM ends a program. */
  private slice(budget: number): number {
    try {
      return this.cpu.run(budget);
    } catch (error) {
      if (error instanceof CodeOutsideRam) return STOP_SHUTDOWN;
      throw error;
    }
  }

  private loadState(program: Program): void {
    const { cpu } = this;
    cpu.reset();
    const { i32, u8, u16 } = cpu;
    i32[S_CR0 >> 2] = 0x80050033 | 0;
    i32[S_CR4 >> 2] = 0x620;
    i32[S_EFER >> 2] = 0xd01;
    i32[S_CR3 >> 2] = at.TABLE_FRAMES;
    i32[S_GDTR >> 2] = at.GDT;
    i32[(S_GDTR + 8) >> 2] = 0x7f;
    i32[S_IDTR >> 2] = at.IDT;
    i32[(S_IDTR + 8) >> 2] = 0xfff;
    setSegment(cpu, SEGMENT_TR, at.TSS_SELECTOR, at.TSS, 0x67, 0x8b00);
    setSegment(cpu, SEGMENT_LDTR, 0, 0, 0, 0);
    cacheSegment(cpu, 1, at.CODE64, 0x0000ffff, 0x00af9b00);
    for (const n of [0, 2, 3, 4, 5]) cacheSegment(cpu, n, at.FLAT, 0x0000ffff, 0x00cf9300);
    new BigUint64Array(cpu.buffer).set(program.gpr, S_GPR >> 3);
    u8.set(program.xmm, S_XMM);
    i32[S_MXCSR >> 2] = program.mxcsr;
    u16[S_FCW >> 1] = 0x37f;
    u16[S_FTW >> 1] = 0;
    i32[S_RIP >> 2] = at.CODE;
    i32[(S_RIP + 4) >> 2] = 0;
    setRflags(cpu, 0x202);
    updateMode(cpu, 0);
    updateSseFast(cpu);
    cpu.mmu.flush();
    cpu.blocks.flush();
    cpu.halted = false;
    cpu.shutdown = false;
  }

  /** How a run ended, but for RAM: registers, and what devices saw. */
  state(): Record<string, string> {
    const { cpu } = this;
    const { u8, u16, i32 } = cpu;
    const words = new BigUint64Array(cpu.buffer);
    const state: Record<string, string> = {};
    for (const [i, name] of GPR_NAMES.entries()) state[name] = words[(S_GPR >> 3) + i].toString(16);
    state.rip = words[S_RIP >> 3].toString(16);
    state.rflags = cpu.rflags.toString(16);
    for (let i = 0; i < 16; i++)
      state[`xmm${i}`] = Buffer.from(u8.subarray(S_XMM + i * 16, S_XMM + i * 16 + 16)).toString('hex');
    state.mxcsr = (i32[S_MXCSR >> 2] >>> 0).toString(16);
    state.x87 = Buffer.from(u8.subarray(S_X87, S_FTW + 2)).toString('hex');
    for (let n = 0; n < 6; n++) state[`segment${n}`] = u16[(segmentOffset(n) + SEGMENT_SELECTOR) >> 1].toString(16);
    state.cr2 = words[S_CR2 >> 3].toString(16);
    state.devices = (this.deviceHash >>> 0).toString(16);
    state.shutdown = String(cpu.shutdown);
    return state;
  }

  /** Makes what may differ the same. */
  forgetExcluded(): void {
    for (let page = 0; page < at.EXCLUDED_LENGTH; page += at.PAGE) {
      const frame = this.frame(at.EXCLUDED + page);
      this.ram.fill(0, frame, frame + at.PAGE);
    }
    // Pages of a direct window are dirty when it is found, and not when they are written.
    const end = PAGE_TABLE_FRAME + at.PAGE;
    if (this.direct) for (let entry = PAGE_TABLE_FRAME; entry < end; entry += ENTRY_LENGTH) this.ram[entry] |= DIRTY;
  }

  /** Linear address of a physical one, to tell of a difference. */
  linear(physical: number): number {
    return this.frame(physical);
  }
}

/** Labels of the handlers' code. */
const COMMON = 0;
const PAGE_FAULT = 1;
const SKIP = 2;
const OUTSIDE = 3;
const GIVE_UP = 4;
const LEAVE = 5;
const LEAVE_RESTORED = 6;

const jump = (opcode: string, label: number): Item => {
  const bytes = hex(opcode, 0);
  return { bytes, references: [{ at: bytes.length - 4, label, kind: 'relative' }] };
};

/**
 * A fault is counted, its instruction skipped; the #PF of a missing page that is REPAIRABLE makes that present. After MOST_FAULTS, and
 * when RIP is not in CODE (where RESUME then says how to go on), the program ends.
 */
function handlers(): Uint8Array {
  const stub = (vector: number): number[] => {
    if (vector === at.INTERRUPT) return hex('ff 04 25', at.EXCLUDED).concat(hex('48 cf'));
    if (vector === 1 || vector === 3 || vector >= 32) return hex('ff 04 25', at.FAULTS + 4).concat(hex('48 cf'));
    return ERROR_CODES.includes(vector) ? [] : hex('6a 00');
  };
  const items: Item[] = [];
  const size = 256 * at.HANDLER_STRIDE;
  // The shared part lies behind the stubs.
  for (let vector = 0; vector < 256; vector++) {
    const bytes = stub(vector);
    items.push({ bytes });
    let length = bytes.length;
    if (bytes.length < 3) {
      items.push(jump('e9', vector === 14 ? PAGE_FAULT : COMMON));
      length += 5;
    }
    items.push({ bytes: Array(at.HANDLER_STRIDE - length).fill(0x90) });
  }
  const code = (text: string, ...immediates: number[]) => items.push({ bytes: hex(text, ...immediates) });
  items.push({ label: PAGE_FAULT });
  code('50'); // push rax
  code('53'); // push rbx
  code('ff 04 25', at.FAULTS);
  code('81 3c 25', at.FAULTS, at.MOST_FAULTS); // cmp
  items.push(jump('0f 87', GIVE_UP));
  code('f6 44 24 10 01'); // test byte [rsp + 16], 1: a violation
  items.push(jump('0f 85', SKIP));
  code('0f 20 d0'); // mov rax, cr2
  code('48 3d', at.MAPPED_END); // cmp rax
  items.push(jump('0f 83', SKIP));
  code('c1 e8 0c'); // shr eax, 12
  items.push({ bytes: [...hex('f6 04 c5', at.PAGE_TABLE + 1), at.REPAIRABLE >> 8] }); // test byte [rax * 8 + …]
  items.push(jump('0f 84', SKIP));
  items.push({ bytes: [...hex('80 0c c5', at.PAGE_TABLE), 1] }); // or byte [rax * 8 + …], 1
  items.push(jump('e9', LEAVE));
  items.push({ label: COMMON });
  code('50');
  code('53');
  code('ff 04 25', at.FAULTS);
  code('81 3c 25', at.FAULTS, at.MOST_FAULTS);
  items.push(jump('0f 87', GIVE_UP));
  items.push({ label: SKIP });
  code('48 8b 44 24 18'); // mov rax, [rsp + 24]
  code('48 2d', at.CODE);
  code('48 3d', at.CODE_LENGTH);
  items.push(jump('0f 83', OUTSIDE));
  code('0f b7 04 45', at.SKIPS); // movzx eax, word [rax * 2 + SKIPS]
  code('48 05', at.CODE);
  code('48 89 44 24 18');
  items.push({ label: LEAVE });
  code('5b');
  code('58');
  items.push({ label: LEAVE_RESTORED });
  code('48 83 c4 08'); // add rsp, 8
  code('48 cf');
  items.push({ label: OUTSIDE });
  code('48 8b 04 25', at.RESUME);
  code('48 8b 1c 25', at.END_ADDRESS);
  code('48 89 1c 25', at.RESUME);
  code('48 89 44 24 18');
  items.push(jump('e9', LEAVE));
  items.push({ label: GIVE_UP });
  code('48 8b 04 25', at.END_ADDRESS);
  code('48 89 44 24 18');
  items.push(jump('e9', LEAVE));
  return assemble(items, at.HANDLERS, size + 0x200).code;
}
