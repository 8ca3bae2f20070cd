/**
 * A local APIC in xAPIC and x2APIC mode (SDM vol. 3 chapter 11). Registers are numbered as in x2APIC: register n is at
 * offset 16·n of the memory window and is MSR 0x800 + n.
 */

import type { AccessSize, BusDevice, Clock } from '../bus.ts';
import { allOnes } from '../port-bus.ts';
import {
  type ApicBus,
  DELIVERY_EXTINT,
  DELIVERY_FIXED,
  DELIVERY_INIT,
  DELIVERY_LOWEST_PRIORITY,
  DELIVERY_NMI,
  DELIVERY_START_UP,
  MESSAGE_LEVEL_TRIGGERED,
  MESSAGE_MODE_SHIFT,
  MESSAGE_VECTOR,
} from './apic-bus.ts';
import { ApicTimer } from './apic-timer.ts';

// Registers, table 11-6.
const ID = 0x02;
const VERSION = 0x03;
const TPR = 0x08;
const APR = 0x09;
const PPR = 0x0a;
const EOI = 0x0b;
const LDR = 0x0d;
const DFR = 0x0e;
const SVR = 0x0f;
const ISR = 0x10;
const TMR = 0x18;
const IRR = 0x20;
const ESR = 0x28;
const ICR_LOW = 0x30;
const ICR_HIGH = 0x31;
const LVT_TIMER = 0x32;
const LVT_LINT0 = 0x35;
const LVT_LINT1 = 0x36;
const LVT_ERROR = 0x37;
const INITIAL_COUNT = 0x38;
const CURRENT_COUNT = 0x39;
const DIVIDE_CONFIGURATION = 0x3e;
const SELF_IPI = 0x3f;

/** Version 0x14, six LVT entries. */
const VERSION_VALUE = 0x00050014;
const SVR_ENABLE = 0x100;
const SVR_MASK = 0x1ff;
const DFR_FLAT = 0xf;
const DFR_RESERVED = 0x0fffffff;

const LVT_MASKED = 0x10000;
/** Bits that can be written in LVT_TIMER … LVT_ERROR. */
const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];
const LVT_TIMER_MODE_SHIFT = 17;

const ESR_SEND_ILLEGAL_VECTOR = 0x20;
const ESR_RECEIVE_ILLEGAL_VECTOR = 0x40;
const ESR_ILLEGAL_REGISTER = 0x80;
/** Vectors below are exceptions. */
const FIRST_LEGAL_VECTOR = 16;

const ICR_WRITABLE = 0xccfff;
const ICR_LOGICAL = 0x800;
const ICR_ASSERT = 0x4000;
const ICR_SHORTHAND_SHIFT = 18;
const SHORTHAND_SELF = 1;
const SHORTHAND_ALL = 2;
const SHORTHAND_OTHERS = 3;

const MSR_APIC_BASE = 0x1b;
const MSR_TSC_DEADLINE = 0x6e0;
const MSR_X2APIC_FIRST = 0x800;
const MSR_X2APIC_LAST = 0x8ff;
const APIC_BASE_BSP = 0x100;
const APIC_BASE_X2APIC = 0x400;
const APIC_BASE_ENABLE = 0x800;
const APIC_BASE_ADDRESS = 0xfee00000;

const NONE = -1;

/** What a local APIC tells the processor it belongs to. */
export interface ApicSignals {
  /** What the APIC would deliver may have changed. */
  changed(): void;
  nmi(): void;
  init(): void;
  /** SIPI: start in real mode at `vector` × 4 KiB. */
  startUp(vector: number): void;
}

export interface LocalApicOptions {
  readonly id: number;
  readonly clock: Clock;
  readonly bus: ApicBus;
  readonly signals: ApicSignals;
  /** The clock's time (ns) at which the guest's TSC reaches lo + 2^32·hi. */
  readonly timeOfTsc: (lo: number, hi: number) => number;
}

export class LocalApic implements BusDevice {
  readonly id: number;
  /** Result of the last {@link readMsr}. */
  msrLo = 0;
  msrHi = 0;
  private readonly bus: ApicBus;
  private readonly signals: ApicSignals;
  private readonly timer: ApicTimer;
  /** In service, trigger mode (1 = level) and request: 256 bits each. */
  private readonly isr = new Uint32Array(8);
  private readonly tmr = new Uint32Array(8);
  private readonly irr = new Uint32Array(8);
  private readonly lvt = new Uint32Array(LVT_WRITABLE.length);
  private base = 0;
  private tpr = 0;
  private ldr = 0;
  private dfr = 0;
  private svr = 0;
  private esr = 0;
  private esrPending = 0;
  private icrLow = 0;
  private icrHigh = 0;
  private lint0 = false;

  constructor(options: LocalApicOptions) {
    this.id = options.id;
    this.bus = options.bus;
    this.signals = options.signals;
    this.timer = new ApicTimer(options.clock, options.timeOfTsc, () => this.raiseLvt(LVT_TIMER));
    this.reset();
    this.bus.addLocalApic(this);
  }

  /** As firmware leaves the boot processor's: enabled as a virtual wire, PIC on LINT0 and NMI on LINT1. */
  reset(): void {
    this.base = (APIC_BASE_ADDRESS | APIC_BASE_ENABLE | (this.id === 0 ? APIC_BASE_BSP : 0)) >>> 0;
    this.initialize();
    if (this.id !== 0) return;
    this.svr = SVR_MASK;
    this.lvt[LVT_LINT0 - LVT_TIMER] = (DELIVERY_EXTINT << MESSAGE_MODE_SHIFT) | MESSAGE_LEVEL_TRIGGERED;
    this.lvt[LVT_LINT1 - LVT_TIMER] = (DELIVERY_NMI << MESSAGE_MODE_SHIFT) | MESSAGE_LEVEL_TRIGGERED;
    this.signals.changed();
  }

  /** INIT: everything but ID and IA32_APIC_BASE (§11.4.7.1). */
  private initialize(): void {
    for (const bits of [this.isr, this.tmr, this.irr]) bits.fill(0);
    this.lvt.fill(LVT_MASKED);
    this.timer.reset();
    this.tpr = 0;
    this.ldr = 0;
    this.dfr = DFR_FLAT;
    this.svr = 0xff;
    this.esr = this.esrPending = 0;
    this.icrLow = this.icrHigh = 0;
    this.signals.changed();
  }

  // ── Towards the processor ──────────────────────────────────────────────────────────────────────────────────────────

  /** The vector that would be delivered now, or −1. */
  pendingVector(): number {
    if (!this.enabled) return NONE;
    const vector = highestBit(this.irr);
    return vector !== NONE && vector >> 4 > this.processorPriority >> 4 ? vector : NONE;
  }

  /** INTA. @returns the vector, now in service, or the spurious vector. */
  acknowledge(): number {
    const vector = this.pendingVector();
    if (vector === NONE) return this.svr & MESSAGE_VECTOR;
    this.irr[vector >> 5] &= ~(1 << (vector & 31));
    this.isr[vector >> 5] |= 1 << (vector & 31);
    this.signals.changed();
    return vector;
  }

  /** Does the PIC's INT reach the processor: through an ExtINT LINT0, or directly while the APIC is off? */
  get passesPic(): boolean {
    if (!this.globallyEnabled) return true;
    const lint0 = this.lvt[LVT_LINT0 - LVT_TIMER];
    return (lint0 & LVT_MASKED) === 0 && ((lint0 >>> MESSAGE_MODE_SHIFT) & 7) === DELIVERY_EXTINT;
  }

  /** PPR, §11.8.3.1. */
  get processorPriority(): number {
    const inService = Math.max(0, highestBit(this.isr)) & 0xf0;
    return this.tpr >> 4 >= inService >> 4 ? this.tpr : inService;
  }

  /** CR8: the task priority class, 0…15. */
  get cr8(): number {
    return this.tpr >> 4;
  }

  set cr8(value: number) {
    this.tpr = (value & 0xf) << 4;
    this.signals.changed();
  }

  /** IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR, into msrLo and msrHi. @returns false for #GP. */
  readMsr(index: number): boolean {
    this.msrHi = 0;
    if (index === MSR_APIC_BASE) {
      this.msrLo = this.base;
    } else if (index === MSR_TSC_DEADLINE) {
      this.msrLo = this.timer.tscDeadlineLo;
      this.msrHi = this.timer.tscDeadlineHi;
    } else {
      const register = this.x2apicRegister(index);
      const value = register === NONE || register === EOI ? undefined : this.readRegister(register);
      if (value === undefined) return false;
      this.msrLo = value;
      if (register === ICR_LOW) this.msrHi = this.icrHigh;
    }
    return true;
  }

  /** @returns false for #GP. */
  writeMsr(index: number, lo: number, hi: number): boolean {
    lo >>>= 0;
    hi >>>= 0;
    if (index === MSR_APIC_BASE) return this.writeBase(lo, hi);
    if (index === MSR_TSC_DEADLINE) {
      this.timer.setTscDeadline(lo, hi);
      return true;
    }
    const register = this.x2apicRegister(index);
    if (register === ICR_LOW) {
      this.icrHigh = hi;
    } else if (hi !== 0) {
      return false;
    }
    switch (register) {
      case NONE:
      case ID:
      case LDR:
        return false;
      case EOI:
      case ESR:
        if (lo !== 0) return false;
        break;
      case SELF_IPI:
        this.sendIpi(lo & MESSAGE_VECTOR, SHORTHAND_SELF);
        return true;
    }
    return this.writeRegister(register, lo);
  }

  // ── From the bus ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** §11.6.2: is this APIC meant? `destination` is 8 bits wide, or 32 from an x2APIC; all ones is everybody. */
  isDestination(destination: number, logical: boolean): boolean {
    if (!this.globallyEnabled) return false;
    if (destination === 0xff || destination === 0xffffffff) return true;
    if (!logical) return destination === this.id;
    const ldr = this.logicalId();
    if (this.x2apic) return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    const own = ldr >>> 24;
    if (this.dfr === DFR_FLAT) return (destination & own) !== 0;
    return destination >> 4 === own >> 4 && (destination & own & 0xf) !== 0;
  }

  /** Takes a message that is meant for this APIC. @returns false if it is refused. */
  accept(mode: number, vector: number, level: boolean): boolean {
    switch (mode) {
      case DELIVERY_FIXED:
        return this.request(vector, level);
      case DELIVERY_NMI:
        this.signals.nmi();
        return true;
      case DELIVERY_INIT:
        this.initialize();
        this.signals.init();
        return true;
      case DELIVERY_START_UP:
        this.signals.startUp(vector);
        return true;
      default:
        // SMI has no SMM to go to, and ExtINT comes by LINT0 only.
        return false;
    }
  }

  /** The PIC's INT, on LINT0. As ExtINT it is looked at by {@link passesPic}; other modes act on its rise. */
  setLint0(level: boolean): void {
    const rises = level && !this.lint0;
    this.lint0 = level;
    if (rises && this.globallyEnabled && !this.passesPic) this.raiseLvt(LVT_LINT0);
  }

  /** A pulse on LINT1, where the board has its NMI. */
  pulseLint1(): void {
    if (this.globallyEnabled) this.raiseLvt(LVT_LINT1);
    else this.signals.nmi();
  }

  // ── Memory window ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Registers are 32 bits at 16-byte steps; narrower reads give their part. */
  read(offset: number, size: AccessSize): number {
    if (!this.globallyEnabled || this.x2apic) return allOnes(size);
    if ((offset & 0xc) !== 0) return 0;
    let value = this.readRegister(offset >> 4);
    if (value === undefined) {
      this.error(ESR_ILLEGAL_REGISTER);
      value = 0;
    }
    value >>>= 8 * (offset & 3);
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }

  /** Only aligned 32-bit writes are defined (§11.4.1); others do nothing. */
  write(offset: number, size: AccessSize, value: number): void {
    if (!this.globallyEnabled || this.x2apic || size !== 4 || (offset & 0xf) !== 0) return;
    if (!this.writeRegister(offset >> 4, value)) this.error(ESR_ILLEGAL_REGISTER);
  }

  // ── Registers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private get globallyEnabled(): boolean {
    return (this.base & APIC_BASE_ENABLE) !== 0;
  }

  private get x2apic(): boolean {
    return (this.base & APIC_BASE_X2APIC) !== 0;
  }

  private get enabled(): boolean {
    return this.globallyEnabled && (this.svr & SVR_ENABLE) !== 0;
  }

  private logicalId(): number {
    return this.x2apic ? (((this.id >>> 4) << 16) | (1 << (this.id & 0xf))) >>> 0 : this.ldr;
  }

  /** The register that an MSR is in x2APIC mode; −1 for those that are none, DFR and ICR_HIGH among them. */
  private x2apicRegister(index: number): number {
    if (!this.x2apic || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) return NONE;
    const register = index - MSR_X2APIC_FIRST;
    return register === DFR || register === ICR_HIGH || register === APR ? NONE : register;
  }

  private readRegister(register: number): number | undefined {
    if (register >= ISR && register < ISR + 8) return this.isr[register - ISR];
    if (register >= TMR && register < TMR + 8) return this.tmr[register - TMR];
    if (register >= IRR && register < IRR + 8) return this.irr[register - IRR];
    if (register >= LVT_TIMER && register <= LVT_ERROR) return this.lvt[register - LVT_TIMER];
    switch (register) {
      case ID:
        return this.x2apic ? this.id : (this.id << 24) >>> 0;
      case VERSION:
        return VERSION_VALUE;
      case TPR:
        return this.tpr;
      case APR:
      case EOI:
        return 0;
      case PPR:
        return this.processorPriority;
      case LDR:
        return this.logicalId();
      case DFR:
        return ((this.dfr << 28) | DFR_RESERVED) >>> 0;
      case SVR:
        return this.svr;
      case ESR:
        return this.esr;
      case ICR_LOW:
        return this.icrLow;
      case ICR_HIGH:
        return this.icrHigh;
      case INITIAL_COUNT:
        return this.timer.initialCount;
      case CURRENT_COUNT:
        return this.timer.currentCount;
      case DIVIDE_CONFIGURATION:
        return this.timer.divideConfiguration;
      default:
        return undefined;
    }
  }

  /** @returns false if there is no such register to write. */
  private writeRegister(register: number, value: number): boolean {
    if (register >= LVT_TIMER && register <= LVT_ERROR) {
      this.writeLvt(register, value);
      return true;
    }
    switch (register) {
      case ID:
        // Read-only, as on processors since the Pentium 4 it may be (§11.4.6).
        break;
      case TPR:
        this.tpr = value & 0xff;
        this.signals.changed();
        break;
      case EOI:
        this.endOfInterrupt();
        break;
      case LDR:
        this.ldr = (value & 0xff000000) >>> 0;
        break;
      case DFR:
        this.dfr = value >>> 28;
        break;
      case SVR:
        this.writeSvr(value);
        break;
      case ESR:
        this.esr = this.esrPending;
        this.esrPending = 0;
        break;
      case ICR_LOW:
        this.icrLow = value & ICR_WRITABLE;
        this.sendIpi(this.icrLow, (value >>> ICR_SHORTHAND_SHIFT) & 3);
        break;
      case ICR_HIGH:
        this.icrHigh = (value & 0xff000000) >>> 0;
        break;
      case INITIAL_COUNT:
        this.timer.initialCount = value;
        break;
      case DIVIDE_CONFIGURATION:
        this.timer.divideConfiguration = value;
        break;
      default:
        return false;
    }
    return true;
  }

  /** §11.4.4, §11.12.5: the window cannot be moved, and x2APIC is left only by way of disabled. */
  private writeBase(lo: number, hi: number): boolean {
    const mode = lo & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    const known = APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    if (hi !== 0 || (lo & ~known) !== 0 || (lo & 0xfffff000) >>> 0 !== APIC_BASE_ADDRESS) return false;
    if (mode === APIC_BASE_X2APIC) return false;
    if (this.x2apic && mode === APIC_BASE_ENABLE) return false;
    if (!this.globallyEnabled && mode === (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) return false;
    const wasEnabled = this.globallyEnabled;
    this.base = (APIC_BASE_ADDRESS | (this.base & APIC_BASE_BSP) | mode) >>> 0;
    if (wasEnabled && mode === 0) this.initialize();
    this.signals.changed();
    return true;
  }

  /** A disabled APIC keeps all local interrupts masked. */
  private writeSvr(value: number): void {
    this.svr = value & SVR_MASK;
    if (!this.enabled) {
      for (let register = LVT_TIMER; register <= LVT_ERROR; register++) {
        this.writeLvt(register, this.lvt[register - LVT_TIMER]);
      }
    }
    this.signals.changed();
  }

  private writeLvt(register: number, value: number): void {
    const index = register - LVT_TIMER;
    this.lvt[index] = (value & LVT_WRITABLE[index]) | (this.enabled ? 0 : LVT_MASKED);
    if (register === LVT_TIMER) {
      this.timer.configure((value >>> LVT_TIMER_MODE_SHIFT) & 3, (this.lvt[index] & LVT_MASKED) !== 0);
    }
    this.signals.changed();
  }

  // ── Interrupts ─────────────────────────────────────────────────────────────────────────────────────────────────────

  private request(vector: number, level: boolean): boolean {
    if (!this.enabled) return false;
    if (vector < FIRST_LEGAL_VECTOR) {
      this.error(ESR_RECEIVE_ILLEGAL_VECTOR);
      return false;
    }
    const bit = 1 << (vector & 31);
    if (level) this.tmr[vector >> 5] |= bit;
    else this.tmr[vector >> 5] &= ~bit;
    this.irr[vector >> 5] |= bit;
    this.signals.changed();
    return true;
  }

  private endOfInterrupt(): void {
    const vector = highestBit(this.isr);
    if (vector === NONE) return;
    const bit = 1 << (vector & 31);
    this.isr[vector >> 5] &= ~bit;
    if (this.tmr[vector >> 5] & bit) this.bus.broadcastEoi(vector);
    this.signals.changed();
  }

  private raiseLvt(register: number): void {
    const entry = this.lvt[register - LVT_TIMER];
    if (entry & LVT_MASKED) return;
    const fixed = register === LVT_TIMER || register === LVT_ERROR;
    const mode = fixed ? DELIVERY_FIXED : (entry >>> MESSAGE_MODE_SHIFT) & 7;
    this.accept(mode, entry & MESSAGE_VECTOR, false);
  }

  private error(bit: number): void {
    const isNew = (this.esrPending & bit) === 0;
    this.esrPending |= bit;
    // An error interrupt with an illegal vector of its own must not go round in circles.
    const vector = this.lvt[LVT_ERROR - LVT_TIMER] & MESSAGE_VECTOR;
    if (isNew && vector >= FIRST_LEGAL_VECTOR) this.raiseLvt(LVT_ERROR);
  }

  private sendIpi(command: number, shorthand: number): void {
    const vector = command & MESSAGE_VECTOR;
    const mode = (command >>> MESSAGE_MODE_SHIFT) & 7;
    const level = (command & MESSAGE_LEVEL_TRIGGERED) !== 0;
    if (mode <= DELIVERY_LOWEST_PRIORITY && vector < FIRST_LEGAL_VECTOR) {
      this.error(ESR_SEND_ILLEGAL_VECTOR);
      return;
    }
    // "INIT level de-assert" is for APIC buses of old.
    if (mode === DELIVERY_INIT && level && (command & ICR_ASSERT) === 0) return;
    // IPIs are edges, whatever the trigger bit says (§11.6.1).
    switch (shorthand) {
      case SHORTHAND_SELF:
        this.accept(mode, vector, false);
        break;
      case SHORTHAND_ALL:
        this.bus.broadcast(undefined, mode, vector, false);
        break;
      case SHORTHAND_OTHERS:
        this.bus.broadcast(this, mode, vector, false);
        break;
      default: {
        const destination = this.x2apic ? this.icrHigh : this.icrHigh >>> 24;
        this.bus.deliver(destination, (command & ICR_LOGICAL) !== 0, mode, vector, false);
      }
    }
  }
}

/** Index of the highest bit set in 256, or −1. */
function highestBit(bits: Uint32Array): number {
  for (let word = 7; word >= 0; word--) {
    if (bits[word] !== 0) return 32 * word + 31 - Math.clz32(bits[word]);
  }
  return NONE;
}
