/** A local APIC in xAPIC and x2APIC mode (SDM vol. 3 chapter 11). */

import type { AccessSize, BusDevice, Clock } from '../bus.ts';
import { allOnes } from '../port-bus.ts';
import { ApicAddress } from './apic-address.ts';
import {
  type ApicBus,
  DELIVERY_EXTINT,
  DELIVERY_FIXED,
  DELIVERY_INIT,
  DELIVERY_NMI,
  DELIVERY_START_UP,
  MESSAGE_LEVEL_TRIGGERED,
  MESSAGE_MODE_SHIFT,
  MESSAGE_VECTOR,
} from './apic-bus.ts';
import { ICR_WRITABLE, sendIpi } from './apic-ipi.ts';
import { ApicMode } from './apic-mode.ts';
import { ApicMsrs } from './apic-msrs.ts';
import {
  APR,
  CURRENT_COUNT,
  DFR,
  DIVIDE_CONFIGURATION,
  EOI,
  ESR,
  ESR_ILLEGAL_REGISTER,
  ESR_RECEIVE_ILLEGAL_VECTOR,
  FIRST_LEGAL_VECTOR,
  ICR_HIGH,
  ICR_LOW,
  ID,
  INITIAL_COUNT,
  IRR,
  ISR,
  LDR,
  LVT_ERROR,
  LVT_LINT0,
  LVT_LINT1,
  LVT_MASKED,
  LVT_TIMER,
  LVT_TIMER_MODE_SHIFT,
  LVT_WRITABLE,
  PPR,
  SVR,
  SVR_ENABLE,
  SVR_MASK,
  TMR,
  TPR,
  VERSION,
  VERSION_VALUE,
} from './apic-registers.ts';
import { ApicTimer } from './apic-timer.ts';
import { VectorSet } from './vector-set.ts';

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
  readonly bus: ApicBus;
  readonly mode: ApicMode;
  readonly msrs: ApicMsrs;
  readonly timer: ApicTimer;
  /** The upper half of ICR: where the next IPI goes. */
  icrHigh = 0;
  private readonly address: ApicAddress;
  private readonly signals: ApicSignals;
  /** In service, trigger mode (1 = level) and request. */
  private readonly isr = new VectorSet();
  private readonly tmr = new VectorSet();
  private readonly irr = new VectorSet();
  private readonly lvt = new Uint32Array(LVT_WRITABLE.length);
  private tpr = 0;
  private svr = 0;
  private esr = 0;
  private esrPending = 0;
  private icrLow = 0;
  private lint0 = false;

  constructor(options: LocalApicOptions) {
    this.id = options.id;
    this.mode = new ApicMode(options.id);
    this.msrs = new ApicMsrs(this);
    this.address = new ApicAddress(this.id, this.mode);
    this.bus = options.bus;
    this.signals = options.signals;
    this.timer = new ApicTimer(options.clock, options.timeOfTsc, () => this.raiseLvt(LVT_TIMER));
    this.reset();
    this.bus.addLocalApic(this);
  }

  /** As firmware leaves the boot processor's: enabled as a virtual wire, PIC on LINT0 and NMI on LINT1. */
  reset(): void {
    this.mode.reset();
    this.initialize();
    if (this.id !== 0) return;
    this.svr = SVR_MASK;
    this.lvt[LVT_LINT0 - LVT_TIMER] = (DELIVERY_EXTINT << MESSAGE_MODE_SHIFT) | MESSAGE_LEVEL_TRIGGERED;
    this.lvt[LVT_LINT1 - LVT_TIMER] = (DELIVERY_NMI << MESSAGE_MODE_SHIFT) | MESSAGE_LEVEL_TRIGGERED;
    this.signals.changed();
  }

  /** INIT: everything but ID and IA32_APIC_BASE (§11.4.7.1). */
  private initialize(): void {
    for (const vectors of [this.isr, this.tmr, this.irr]) vectors.clear();
    this.lvt.fill(LVT_MASKED);
    this.timer.reset();
    this.tpr = 0;
    this.address.reset();
    this.svr = 0xff;
    this.esr = this.esrPending = 0;
    this.icrLow = this.icrHigh = 0;
    this.signals.changed();
  }

  // ── Towards the processor ──────────────────────────────────────────────────────────────────────────────────────────

  /** The vector that would be delivered now, or −1. */
  pendingVector(): number {
    if (!this.enabled) return NONE;
    const vector = this.irr.highest();
    return vector !== NONE && vector >> 4 > this.processorPriority >> 4 ? vector : NONE;
  }

  /** INTA. @returns the vector, now in service, or the spurious vector. */
  acknowledge(): number {
    const vector = this.pendingVector();
    if (vector === NONE) return this.svr & MESSAGE_VECTOR;
    this.irr.set(vector, false);
    this.isr.set(vector, true);
    this.signals.changed();
    return vector;
  }

  /** Does the PIC's INT reach the processor: through an ExtINT LINT0, or directly while the APIC is off? */
  get passesPic(): boolean {
    if (!this.mode.enabled) return true;
    const lint0 = this.lvt[LVT_LINT0 - LVT_TIMER];
    return (lint0 & LVT_MASKED) === 0 && ((lint0 >>> MESSAGE_MODE_SHIFT) & 7) === DELIVERY_EXTINT;
  }

  /** PPR, §11.8.3.1. */
  get processorPriority(): number {
    const inService = Math.max(0, this.isr.highest()) & 0xf0;
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

  // ── From the bus ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Is this APIC meant? `destination` is 8 bits wide, or 32 from an x2APIC; all ones is everybody. */
  isDestination(destination: number, logical: boolean): boolean {
    return this.mode.enabled && this.address.isMeant(destination, logical);
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
    if (rises && this.mode.enabled && !this.passesPic) this.raiseLvt(LVT_LINT0);
  }

  /** A pulse on LINT1, where the board has its NMI. */
  pulseLint1(): void {
    if (this.mode.enabled) this.raiseLvt(LVT_LINT1);
    else this.signals.nmi();
  }

  // ── Memory window ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Registers are 32 bits at 16-byte steps; narrower reads give their part. */
  read(offset: number, size: AccessSize): number {
    if (!this.mode.enabled || this.mode.x2apic) return allOnes(size);
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
    if (!this.mode.enabled || this.mode.x2apic || size !== 4 || (offset & 0xf) !== 0) return;
    if (!this.writeRegister(offset >> 4, value)) this.error(ESR_ILLEGAL_REGISTER);
  }

  // ── Registers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private get enabled(): boolean {
    return this.mode.enabled && (this.svr & SVR_ENABLE) !== 0;
  }

  /** @returns undefined if there is no such register to read. */
  readRegister(register: number): number | undefined {
    if (register >= ISR && register < ISR + 8) return this.isr.words[register - ISR];
    if (register >= TMR && register < TMR + 8) return this.tmr.words[register - TMR];
    if (register >= IRR && register < IRR + 8) return this.irr.words[register - IRR];
    if (register >= LVT_TIMER && register <= LVT_ERROR) return this.lvt[register - LVT_TIMER];
    switch (register) {
      case ID:
        return this.address.idRegister;
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
        return this.address.ldr;
      case DFR:
        return this.address.dfr;
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
  writeRegister(register: number, value: number): boolean {
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
        this.address.ldr = value;
        break;
      case DFR:
        this.address.dfr = value;
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
        sendIpi(this, this.bus, this.icrLow);
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

  /** IA32_APIC_BASE. @returns false for #GP. */
  writeBase(lo: number, hi: number): boolean {
    const wasEnabled = this.mode.enabled;
    if (!this.mode.write(lo, hi)) return false;
    if (wasEnabled && !this.mode.enabled) this.initialize();
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
    this.tmr.set(vector, level);
    this.irr.set(vector, true);
    this.signals.changed();
    return true;
  }

  private endOfInterrupt(): void {
    const vector = this.isr.highest();
    if (vector === NONE) return;
    this.isr.set(vector, false);
    if (this.tmr.has(vector)) this.bus.broadcastEoi(vector);
    this.signals.changed();
  }

  private raiseLvt(register: number): void {
    const entry = this.lvt[register - LVT_TIMER];
    if (entry & LVT_MASKED) return;
    const fixed = register === LVT_TIMER || register === LVT_ERROR;
    const mode = fixed ? DELIVERY_FIXED : (entry >>> MESSAGE_MODE_SHIFT) & 7;
    this.accept(mode, entry & MESSAGE_VECTOR, false);
  }

  /** Notes an error in ESR, and tells it by the error interrupt. */
  error(bit: number): void {
    const isNew = (this.esrPending & bit) === 0;
    this.esrPending |= bit;
    // An error interrupt with an illegal vector of its own must not go round in circles.
    const vector = this.lvt[LVT_ERROR - LVT_TIMER] & MESSAGE_VECTOR;
    if (isNew && vector >= FIRST_LEGAL_VECTOR) this.raiseLvt(LVT_ERROR);
  }
}
