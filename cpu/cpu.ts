/**
 * The vCPU: owns the memory, the generated core and the caches, and runs the guest until something outside is needed.
 * What instructions do lives in lift/ and helpers/; how exceptions and interrupts are delivered in system/.
 */
import type { AccessSize, BusDevice, InterruptController } from '../devices/bus.ts';
import { BlockCache } from './blocks.ts';
import type { Core, CoreFactory } from './core.ts';
import { CpuCounters } from './counters.ts';
import { SEG_CS } from './decode/insn.ts';
import {
  EXIT_BUDGET,
  EXIT_EVENT,
  EXIT_EXCEPTION,
  EXIT_HALT,
  EXIT_HOT,
  EXIT_MISS,
  EXIT_SHUTDOWN,
  EXIT_SITE,
  HELPER_JUMP,
} from './exits.ts';
import { NO_ERROR_CODE, VECTOR_DB, VECTOR_UD } from './fault.ts';
import { X87State } from './fpu/x87-state.ts';
import { helperOf } from './helpers/all.ts';
import { RFLAGS_RF, STATUS_FLAGS, setStatusFlags } from './helpers/flags.ts';
import { type CompilerOptions, RegionCompiler } from './jit/compiler.ts';
import { Mmu } from './mmu/mmu.ts';
import { codeSize, isStepped, MODE_ONE, MODE_TRAP, MODE_WATCHED } from './mode.ts';
import type { CpuObserver } from './observer.ts';
import { Pace, PICKY_THRESHOLD } from './pace.ts';
import * as r from './record.ts';
import {
  CC_EXPLICIT,
  gprOffset,
  RAM_BASE,
  S_BUDGET,
  S_CC_B,
  S_CC_OP,
  S_CODE_BASE,
  S_DR,
  S_EXIT_SITE,
  S_FAULT_OP,
  S_INTERRUPT_SHADOW,
  S_INTR_PENDING,
  S_MODE,
  S_NMI_BLOCKED,
  S_OBSERVED,
  S_RFLAGS,
  S_RIP,
  S_SHUTDOWN,
  SEGMENT_BASE,
  segmentOffset,
} from './state.ts';
import { BREAK_EXECUTE, breakpointsAt, DR6_BS } from './system/debug.ts';
import { deliverException, deliverInterrupt, deliverNmi } from './system/delivery.ts';
import { checkUnit } from './system/legality.ts';
import { resetState } from './system/reset.ts';
import { notCanonicalVector } from './system/stack-fault.ts';

/** Ports as the CPU sees them. */
export interface Ports {
  read(port: number, size: AccessSize): number;
  write(port: number, size: AccessSize, value: number): void;
}

/** What the CPU needs of the machine around it. */
export interface CpuEnvironment {
  readonly ports: Ports;
  /** Physical address space outside RAM. */
  readonly mmio: BusDevice;
  readonly interrupts: InterruptController;
  /** Time-stamp counter now, into `tsc.low` and `tsc.high`. */
  readonly tsc: { low: number; high: number; read(): void };
  /** TSC frequency in kHz, for CPUID. */
  readonly tscKHz: number;
  /** APIC registers behind MSRs (IA32_APIC_BASE, x2APIC, TSC deadline); absent: such MSRs are #GP. */
  readonly apic?: ApicRegisters;
  /** FERR#: an x87 exception is to be reported as IRQ 13 (CR0.NE = 0). */
  readonly coprocessorError?: () => void;
}

export interface ApicRegisters {
  /** @returns false when the MSR does not exist (#GP). The value is left in `low`/`high`. */
  readMsr(index: number): boolean;
  writeMsr(index: number, low: number, high: number): boolean;
  low: number;
  high: number;
  /** CR8: the task priority's upper four bits. */
  taskPriority: number;
}

export interface CpuOptions extends CompilerOptions {
  /** Guest RAM in bytes, a multiple of 4096. */
  ramSize: number;
  /** How generated code runs. */
  core: CoreFactory;
  /** Executions after which a block is translated; 0 or absent: never. */
  hotThreshold?: number;
  /** See pace.ts; 0 or absent: blocks are translated when they are hot, whatever the time. */
  warmUp?: number;
}

/** Executions after which translating a block pays (bench/RESULTS.md). */
export const HOT_THRESHOLD = 800;
/** For so many ms after the start the translator is picky (pace.ts). */
export const WARM_UP_MS = 150;

/** Why `run` returned. */
export const STOP_BUDGET = 0;
export const STOP_HALT = 1;
/** Triple fault or shutdown. */
export const STOP_SHUTDOWN = 2;

export class Cpu {
  /** The machine's memory (state.ts). */
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  /** The same memory, for values at any alignment. */
  readonly view: DataView;
  readonly ramSize: number;
  readonly mmu: Mmu;
  readonly blocks: BlockCache;
  readonly x87: X87State;
  readonly env: CpuEnvironment;
  /** The translator; undefined: interpret only. */
  readonly regions: RegionCompiler | undefined;
  readonly observer: CpuObserver | undefined;
  private readonly core: Core;
  /** The budget that was left when an event cut it short. */
  private budgetSaved = 0;
  private eventRequested = false;
  /** Has each instruction run alone, by the interpreter, so that `run` may stop at any. */
  stepping = false;
  /** The instruction that runs alone is followed by a single-step trap; an instruction may take that back. */
  stepTrap = false;
  nmiPending = false;
  halted = false;
  readonly counters: CpuCounters;
  private readonly pace: Pace | undefined;
  /** Budget of the run at hand. */
  private slice = 0;
  /** Instructions executed since the start (double). */
  instructions = 0;

  constructor(options: CpuOptions, env: CpuEnvironment) {
    this.env = env;
    this.ramSize = options.ramSize;
    this.observer = options.observer;
    this.pace = options.warmUp ? new Pace(options.warmUp, performance.now()) : undefined;
    this.core = options.core(RAM_BASE + options.ramSize, {
      helper: (op) => this.help(op),
      load: (size) => this.mmu.slowLoad(size),
      store: (size) => this.mmu.slowStore(size),
      // What WebAssembly would make of the result, JavaScript has to be told.
      portIn: (port, size) => env.ports.read(port, size) | 0,
      portOut: (port, size, value) => env.ports.write(port, size, value >>> 0),
      regionAt: (low, high, mode) => this.blocks.regionAt(low, high, mode),
    });
    const { buffer } = this.core;
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.counters = new CpuCounters(this.i32);
    this.i32[S_OBSERVED >> 2] = this.observer === undefined ? 0 : 1;
    this.mmu = new Mmu(buffer, options.ramSize, env.mmio);
    this.blocks = new BlockCache(this.mmu, buffer);
    this.x87 = new X87State(buffer);
    this.mmu.onCodeWrite = (address, length) => this.ramWritten(address, length);
    if (options.hotThreshold) {
      const regions = new RegionCompiler(this.mmu, this.blocks, this.core, options);
      this.regions = regions;
      this.blocks.hotThreshold = options.hotThreshold;
      this.blocks.regionAt = (low, high, mode) => regions.indexAt(low, high, mode);
      this.blocks.onFlush = () => regions.reset();
    }
    this.reset();
  }

  /** Power-on state (SDM vol. 3A, table 10-1). */
  reset(): void {
    this.nmiPending = false;
    this.halted = false;
    this.blocks.flush();
    resetState(this);
    this.codeBase = this.i32[(segmentOffset(SEG_CS) + SEGMENT_BASE) >> 2];
  }

  /** Executes the instruction of record `op` by its helper; called by generated code. */
  private help(op: number): number {
    this.counters.helperCalls++;
    try {
      const row = this.u16[(op + r.R_ROW) >> 1];
      const helper = helperOf(row);
      checkUnit(row, this.i32[S_MODE >> 2]);
      return helper === undefined ? this.except(op, VECTOR_UD) : helper(this, op);
    } catch (error) {
      this.mmu.caught(error);
      return this.excepted(op);
    }
  }

  /** Result of a helper: its instruction, of record `op`, raises an exception without an error code. Cheaper than raise(). */
  except(op: number, vector: number): number {
    this.mmu.fault.note(vector, NO_ERROR_CODE);
    return this.excepted(op);
  }

  /** Delivers the exception in `mmu.fault` at once, unless the instruction runs alone: then runOne does. */
  private excepted(op: number): number {
    this.i32[S_FAULT_OP >> 2] = op;
    if (this.i32[S_MODE >> 2] & MODE_ONE) return EXIT_EXCEPTION;
    this.counters.exits[EXIT_EXCEPTION]++;
    this.deliver();
    return this.jumped();
  }

  /** Delivers the exception in `mmu.fault` of record S_FAULT_OP. */
  private deliver(): void {
    const { fault } = this.mmu;
    if (fault.notCanonical) fault.note(notCanonicalVector(this, this.i32[S_FAULT_OP >> 2]), fault.errorCode);
    deliverException(this, fault);
  }

  /** Result of a helper that set RIP, and maybe mode and flags: the run loop is needed only if something waits for it. */
  jumped(): number {
    const { i32 } = this;
    const waits = i32[S_INTR_PENDING >> 2] | (i32[S_MODE >> 2] & (MODE_TRAP | MODE_WATCHED));
    return waits !== 0 || this.interruptShadow || this.shutdown ? EXIT_EVENT : HELPER_JUMP;
  }

  /** All RFLAGS as the guest would see them. Status flags that were computed are kept. */
  get rflags(): number {
    const { i32 } = this;
    if (i32[S_CC_OP >> 2] !== CC_EXPLICIT) setStatusFlags(this, this.core.flags());
    return i32[S_RFLAGS >> 2] | (i32[S_CC_B >> 2] & STATUS_FLAGS);
  }

  /** Asks the run loop to look at interrupts at the next block boundary. */
  requestEvent(): void {
    if (this.eventRequested) return;
    this.eventRequested = true;
    this.i32[S_INTR_PENDING >> 2] = 1;
    this.budgetSaved = this.i32[S_BUDGET >> 2];
    this.i32[S_BUDGET >> 2] = -1;
  }

  /**
   * Something that the translation of all addresses depends on changed.
   * @returns whether code is now mapped or to be translated in another way, so that what runs must be looked up anew
   */
  remapped(): boolean {
    const { mmu } = this;
    mmu.flush();
    return mmu.spaces.stays() && mmu.codeIsMapped() ? false : this.codeRemapped();
  }

  /** TypeScript only. */
  private codeRemapped(): boolean {
    const windowMoved = this.regions?.remapped() ?? false;
    return this.forgetCodeIf(!this.mmu.codeIsMapped() || windowMoved);
  }

  /** The guest has the translation of one page forgotten (INVLPG). @returns as `remapped` */
  pageRemapped(low: number, high: number): boolean {
    const { mmu } = this;
    mmu.flushPage(low, high);
    return mmu.spaces.isUnchanged && !mmu.code.has(low, high) ? false : this.codePageRemapped(low, high);
  }

  /** TypeScript only. */
  private codePageRemapped(low: number, high: number): boolean {
    const windowMoved = this.regions?.remapped() ?? false;
    return this.forgetCodeIf(this.mmu.code.has(low, high) || windowMoved);
  }

  /** Empties the jump cache if code has moved, or else the window that regions were made for. @returns whether it did */
  private forgetCodeIf(moved: boolean): boolean {
    if (!moved) return false;
    this.blocks.jumps.flush();
    this.mmu.code.clear();
    this.regions?.forgetMappings();
    return true;
  }

  /** Bytes of RAM were written by a device. */
  ramWritten(address: number, length: number): void {
    this.blocks.written(address, length);
    this.regions?.written(address, length);
  }

  /**
   * Runs up to about `budget` instructions (blocks are not split).
   * @returns STOP_*; after STOP_HALT only an interrupt makes the guest go on.
   */
  run(budget: number): number {
    const { i32 } = this;
    i32[S_BUDGET >> 2] = budget;
    this.slice = budget;
    this.eventRequested = false;
    this.regions?.compileIfDue();
    let stop = -1;
    while (stop < 0) {
      if (this.eventRequested) {
        this.eventRequested = false;
        i32[S_BUDGET >> 2] = this.budgetSaved;
      }
      this.takeInterrupt();
      if (this.shutdown) stop = STOP_SHUTDOWN;
      else if (this.halted) stop = STOP_HALT;
      else if (this.runsAlone()) stop = this.runOne();
      else stop = this.handle(this.core.run(0));
    }
    const left = this.eventRequested ? this.budgetSaved : i32[S_BUDGET >> 2];
    this.instructions += budget - left;
    return stop;
  }

  /** Acts on an exit of the core. @returns STOP_*, or -1 to go on. */
  private handle(code: number): number {
    const { i32 } = this;
    this.counters.exits[code]++;
    switch (code) {
      case EXIT_MISS:
        return this.missed();
      case EXIT_BUDGET:
        if (this.eventRequested) return -1;
        if (this.regions?.sample(this.slice, this.instructions)) this.regions.compile();
        return STOP_BUDGET;
      case EXIT_HOT:
        this.hot();
        return -1;
      case EXIT_EXCEPTION:
        this.deliver();
        return -1;
      case EXIT_HALT:
        this.halted = true;
        return -1;
      case EXIT_EVENT:
        return -1;
      case EXIT_SITE:
        if (this.regions!.attend(i32[S_EXIT_SITE >> 2], i32[S_RIP >> 2], i32[(S_RIP + 4) >> 2]))
          this.regions!.compile();
        return -1;
      case EXIT_SHUTDOWN:
        return STOP_SHUTDOWN;
      default:
        throw new Error(`core returned ${code}`);
    }
  }

  /** Must the next instruction run alone? In the shadow of STI or MOV SS, for RFLAGS.TF's trap, for breakpoints … */
  private runsAlone(): boolean {
    return this.stepping || this.interruptShadow || (this.i32[S_MODE >> 2] & (MODE_TRAP | MODE_WATCHED)) !== 0;
  }

  /** Runs one instruction. */
  private runOne(): number {
    const { i32 } = this;
    const budget = i32[S_BUDGET >> 2];
    if (budget <= 0) return STOP_BUDGET;
    if (i32[S_MODE >> 2] & MODE_WATCHED && this.breakBefore()) return -1;
    this.stepTrap = (i32[S_MODE >> 2] & MODE_TRAP) !== 0;
    this.interruptShadow = false;
    // Blocks of this mode are one instruction long; a budget of one stops at the next.
    i32[S_MODE >> 2] |= MODE_ONE;
    i32[S_BUDGET >> 2] = 1;
    let code = this.core.run(0);
    if (code === EXIT_MISS && i32[S_BUDGET >> 2] === 1 && this.miss()) code = this.core.run(0);
    // Nothing is translated for that.
    if (code === EXIT_HOT) code = this.core.run(0);
    i32[S_MODE >> 2] &= ~MODE_ONE;
    // Not even begun: fetching it faulted.
    const executed = i32[S_BUDGET >> 2] !== 1;
    if (this.eventRequested) this.budgetSaved = budget - 1;
    else i32[S_BUDGET >> 2] = budget - 1;
    const stop = code === EXIT_BUDGET || code === EXIT_MISS ? -1 : this.handle(code);
    if (executed && code !== EXIT_EXCEPTION) {
      // A data breakpoint met by MOV SS waits for the next instruction.
      const reasons = (this.stepTrap ? DR6_BS : 0) | (this.interruptShadow ? 0 : this.mmu.hits);
      if (reasons !== 0) this.debugException(reasons);
    } else this.mmu.hits = 0;
    return stop;
  }

  /** Stops before the instruction at RIP if a breakpoint stands there and RFLAGS.RF does not skip it. RF is used up. */
  private breakBefore(): boolean {
    const { i32 } = this;
    const mode = i32[S_MODE >> 2];
    const long = codeSize(mode) === 8;
    const low = i32[S_RIP >> 2] + (long ? 0 : i32[(segmentOffset(SEG_CS) + SEGMENT_BASE) >> 2]);
    const resume = (i32[S_RFLAGS >> 2] & RFLAGS_RF) !== 0;
    i32[S_RFLAGS >> 2] &= ~RFLAGS_RF;
    const hits = resume ? 0 : breakpointsAt(i32, BREAK_EXECUTE, low | 0, long ? i32[(S_RIP + 4) >> 2] : 0, 1);
    if (hits !== 0) this.debugException(hits);
    return hits !== 0;
  }

  /** #DB for `reasons`, bits of DR6. */
  private debugException(reasons: number): void {
    this.i32[(S_DR + 6 * 8) >> 2] |= reasons;
    this.mmu.hits = 0;
    this.halted = false;
    this.mmu.fault.note(VECTOR_DB, NO_ERROR_CODE);
    deliverException(this, this.mmu.fault);
  }

  /** Delivers a waiting interrupt if the guest takes it now. @returns whether one was taken. */
  private takeInterrupt(): boolean {
    if (this.interruptShadow) return false;
    if (this.nmiPending && !this.nmiBlocked) {
      this.nmiPending = false;
      this.halted = false;
      deliverNmi(this);
      return true;
    }
    const pending = this.env.interrupts.pending();
    this.i32[S_INTR_PENDING >> 2] = pending || this.nmiPending ? 1 : 0;
    if (!pending || !(this.i32[S_RFLAGS >> 2] & 0x200)) return false;
    this.halted = false;
    deliverInterrupt(this, this.env.interrupts.acknowledge());
    this.i32[S_INTR_PENDING >> 2] = this.env.interrupts.pending() ? 1 : 0;
    return true;
  }

  /**
   * Sees to code that is unknown. A fetch that faults counts as an instruction: a guest may do nothing else, for ever.
   * @returns STOP_*, or -1 to go on
   */
  private missed(): number {
    if (this.miss() || this.eventRequested) return -1;
    return --this.i32[S_BUDGET >> 2] < 0 ? STOP_BUDGET : -1;
  }

  /** Decodes what stands at RIP. @returns false when fetching it faulted (the exception is delivered). */
  private miss(): boolean {
    const { i32 } = this;
    // The mode has just changed: what comes next runs alone (runOne).
    if (isStepped(i32[S_MODE >> 2])) return true;
    try {
      this.blocks.lookup(i32[S_RIP >> 2], i32[(S_RIP + 4) >> 2], i32[S_MODE >> 2]);
      return true;
    } catch (error) {
      this.mmu.caught(error);
      deliverException(this, this.mmu.fault);
      return false;
    }
  }

  /** CS changed its base, limit or type: what was found by offset alone may be other code. */
  codeSegmentChanged(): void {
    const base = this.i32[(segmentOffset(SEG_CS) + SEGMENT_BASE) >> 2];
    if (base === this.codeBase) return;
    this.codeBase = base;
    this.blocks.jumps.flush();
  }

  /** Has the block at RIP, which has become hot, translated. */
  private hot(): void {
    const { i32 } = this;
    const low = i32[S_RIP >> 2];
    const high = i32[(S_RIP + 4) >> 2];
    const mode = i32[S_MODE >> 2];
    const regions = this.regions!;
    regions.restore(low);
    const delay = this.pace?.delay(performance.now(), this.instructions, regions.isForeknown) ?? 0;
    if (delay > 0 && this.blocks.executions(low, high, mode) < PICKY_THRESHOLD)
      this.blocks.restartCounter(low, high, mode, delay);
    else if (regions.request(low, high, mode)) regions.compile();
  }

  // --- state that TypeScript shares with code that is compiled ahead of time ------------------------------------------

  /** Interrupts are held off for one more instruction (STI, MOV SS). */
  get interruptShadow(): boolean {
    return this.i32[S_INTERRUPT_SHADOW >> 2] !== 0;
  }

  set interruptShadow(value: boolean) {
    this.i32[S_INTERRUPT_SHADOW >> 2] = value ? 1 : 0;
  }

  /** A triple fault stopped the processor. */
  get shutdown(): boolean {
    return this.i32[S_SHUTDOWN >> 2] !== 0;
  }

  set shutdown(value: boolean) {
    this.i32[S_SHUTDOWN >> 2] = value ? 1 : 0;
  }

  get nmiBlocked(): boolean {
    return this.i32[S_NMI_BLOCKED >> 2] !== 0;
  }

  set nmiBlocked(value: boolean) {
    this.i32[S_NMI_BLOCKED >> 2] = value ? 1 : 0;
  }

  /** Base of CS that the jump cache's entries were made with. */
  private get codeBase(): number {
    return this.i32[S_CODE_BASE >> 2];
  }

  private set codeBase(value: number) {
    this.i32[S_CODE_BASE >> 2] = value;
  }

  // --- register access by TypeScript ----------------------------------------------------------------------------------

  gprLow(n: number): number {
    return this.i32[gprOffset(n) >> 2];
  }

  gprHigh(n: number): number {
    return this.i32[(gprOffset(n) + 4) >> 2];
  }

  setGpr(n: number, low: number, high: number): void {
    this.i32[gprOffset(n) >> 2] = low;
    this.i32[(gprOffset(n) + 4) >> 2] = high;
  }
}
