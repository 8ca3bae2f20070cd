/**
 * The real-time clock and CMOS memory of a PC (Motorola MC146818A data sheet; IBM PC/AT for ports and memory map).
 * Ports: 0 = index (0x70), 1 = data (0x71).
 *
 * Nothing ticks: time is computed from the machine's clock when it is looked at, and a timer is armed only while the
 * guest has an interrupt of the RTC enabled.
 */

import type { AccessSize, BusDevice, Clock, IrqLine, Timer } from '../bus.ts';

const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const DAY_OF_WEEK = 0x06;
const DAY_OF_MONTH = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
const CENTURY = 0x32;
/** The same on IBM PS/2. */
const CENTURY_PS2 = 0x37;

const A_UIP = 0x80;
const A_DIVIDER = 0x70;
/** The divider settings that run a 32.768 kHz crystal; 11x holds the chain in reset. */
const A_DIVIDER_32KHZ = 0x20;
const A_RATE = 0x0f;
const B_SET = 0x80;
const B_PIE = 0x40;
const B_AIE = 0x20;
const B_UIE = 0x10;
const B_SQWE = 0x08;
const B_BINARY = 0x04;
const B_24H = 0x02;
const C_IRQF = 0x80;
const C_PF = 0x40;
const C_AF = 0x20;
const C_UF = 0x10;
const D_VRT = 0x80;
const HOURS_PM = 0x80;
/** An alarm register with both top bits set matches every value. */
const ALARM_ANY = 0xc0;

const INDEX_NMI_DISABLE = 0x80;
const CMOS_SIZE = 128;

const NS_PER_SECOND = 1e9;
const NS_PER_MS = 1e6;
const CRYSTAL_HZ = 32768;
/** UIP is set for this long before each update: 8 periods of the crystal, as data sheet and QEMU have it. */
const UIP_NS = (8 * NS_PER_SECOND) / CRYSTAL_HZ;
const SECONDS_PER_DAY = 86400;

// Sizes that firmware reads (IBM PC/AT; 0x34 and 0x5b as QEMU).
const CMOS_EQUIPMENT = 0x14;
const CMOS_BASE_MEMORY = 0x15;
const CMOS_EXTENDED_MEMORY = 0x17;
const CMOS_EXTENDED_MEMORY_POST = 0x30;
const CMOS_MEMORY_ABOVE_16M = 0x34;
const CMOS_CPU_COUNT = 0x5f;
const EQUIPMENT_FPU_AND_MOUSE = 0x06;
const BASE_MEMORY_KIB = 640;

/** Whole part of `a / b` towards minus infinity, and the rest. */
const floorDiv = (a: number, b: number) => Math.floor(a / b);
const floorMod = (a: number, b: number) => a - b * Math.floor(a / b);

/**
 * What `-rtc base=` says, as the time the RTC shows at start.
 * @returns milliseconds since 1970-01-01T00:00 on the RTC's own face, or undefined if `base` is not
 * utc | localtime | YYYY-MM-DD | YYYY-MM-DDThh:mm:ss.
 */
export function rtcBase(base: string, wallClock: number): number | undefined {
  if (base === 'utc') return wallClock;
  if (base === 'localtime') return wallClock - new Date(wallClock).getTimezoneOffset() * 60_000;
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?$/.test(base)) return undefined;
  const time = Date.parse(base.includes('T') ? `${base}Z` : `${base}T00:00:00Z`);
  return Number.isNaN(time) ? undefined : time;
}

export interface RtcOptions {
  /** The RTC's face at start, ms since 1970; see {@link rtcBase}. */
  readonly time: number;
  /** RAM below 4 GiB in bytes. */
  readonly ramSize: number;
  readonly cpus: number;
}

export class RtcCmos implements BusDevice {
  private readonly clock: Clock;
  private readonly irq: IrqLine;
  private readonly timer: Timer;
  private readonly cmos = new Uint8Array(CMOS_SIZE);
  private index = 0;
  private nmiOff = false;
  /** The face of the RTC in ns since 1970, less the machine's clock. */
  private offset: number;
  /** Time of the machine's clock up to which the flags of register C are up to date. */
  private seen: number;

  /** @param irq IRQ 8 */
  constructor(clock: Clock, irq: IrqLine, options: RtcOptions) {
    this.clock = clock;
    this.irq = irq;
    this.timer = clock.createTimer(() => this.updateInterrupts());
    this.seen = clock.now();
    this.offset = options.time * NS_PER_MS - this.seen;
    this.cmos[REGISTER_A] = A_DIVIDER_32KHZ | 0x06;
    this.cmos[REGISTER_B] = B_24H;
    this.cmos[REGISTER_D] = D_VRT;
    this.storeSizes(options);
    this.refresh();
  }

  /** Bit 7 of the last write to the index port: the board keeps NMIs from the CPU. */
  get nmiDisabled(): boolean {
    return this.nmiOff;
  }

  /** RESET# clears the interrupt enables and flags; time and memory have a battery. */
  reset(): void {
    this.index = 0;
    this.nmiOff = false;
    this.cmos[REGISTER_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    this.readFlags();
    this.updateInterrupts();
  }

  read(offset: number, _size: AccessSize): number {
    // The index port is write-only.
    if (offset === 0) return 0xff;
    switch (this.index) {
      case REGISTER_A:
        return this.cmos[REGISTER_A] | (this.updateInProgress() ? A_UIP : 0);
      case REGISTER_C:
        return this.readFlags();
      default:
        this.refresh();
        return this.cmos[this.index];
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === 0) {
      this.index = value & (CMOS_SIZE - 1);
      this.nmiOff = (value & INDEX_NMI_DISABLE) !== 0;
      if (size > 1) this.write(1, 1, (value >>> 8) & 0xff);
      return;
    }
    value &= 0xff;
    // What happened so far happened under the old settings.
    this.catchUp();
    switch (this.index) {
      case REGISTER_A:
        this.changeRun(() => (this.cmos[REGISTER_A] = value & ~A_UIP));
        break;
      case REGISTER_B:
        // SET aborts updates and clears UIE (data sheet, "SET").
        this.changeRun(() => (this.cmos[REGISTER_B] = value & B_SET ? value & ~B_UIE : value));
        break;
      case REGISTER_C:
      case REGISTER_D:
        break;
      default:
        this.refresh();
        this.cmos[this.index] = value;
        if (this.running && isTimeRegister(this.index)) this.setTime();
    }
    this.updateInterrupts();
  }

  /** Neither SET nor the divider reset holds the time. */
  private get running(): boolean {
    return (this.cmos[REGISTER_B] & B_SET) === 0 && (this.cmos[REGISTER_A] & A_DIVIDER) <= A_DIVIDER_32KHZ;
  }

  /** The face of the RTC, ns since 1970. */
  private face(): number {
    return this.clock.now() + this.offset;
  }

  private updateInProgress(): boolean {
    return this.running && floorMod(this.face(), NS_PER_SECOND) >= NS_PER_SECOND - UIP_NS;
  }

  /** Makes a change that may stop or start the time: the registers keep it meanwhile. */
  private changeRun(change: () => void): void {
    const ran = this.running;
    const dividerWasReset = (this.cmos[REGISTER_A] & A_DIVIDER) > A_DIVIDER_32KHZ;
    this.refresh();
    change();
    if (ran || !this.running) return;
    this.setTime();
    // The first update comes half a second after the divider is let go (data sheet, "DV0–DV2").
    if (dividerWasReset) this.offset += NS_PER_SECOND / 2;
  }

  /** Writes the running time into its registers. */
  private refresh(): void {
    if (!this.running) return;
    const date = new Date(Math.floor(this.face() / NS_PER_MS));
    const cmos = this.cmos;
    cmos[SECONDS] = this.encode(date.getUTCSeconds());
    cmos[MINUTES] = this.encode(date.getUTCMinutes());
    cmos[HOURS] = this.encodeHours(date.getUTCHours());
    cmos[DAY_OF_WEEK] = this.encode(date.getUTCDay() + 1);
    cmos[DAY_OF_MONTH] = this.encode(date.getUTCDate());
    cmos[MONTH] = this.encode(date.getUTCMonth() + 1);
    cmos[YEAR] = this.encode(floorMod(date.getUTCFullYear(), 100));
    cmos[CENTURY] = cmos[CENTURY_PS2] = this.encode(floorDiv(date.getUTCFullYear(), 100));
  }

  /** Takes the time from its registers; the fraction of the second goes on. */
  private setTime(): void {
    const cmos = this.cmos;
    const year = this.decode(cmos[CENTURY]) * 100 + this.decode(cmos[YEAR]);
    const ms = Date.UTC(
      year,
      this.decode(cmos[MONTH]) - 1,
      this.decode(cmos[DAY_OF_MONTH]),
      this.decodeHours(cmos[HOURS]),
      this.decode(cmos[MINUTES]),
      this.decode(cmos[SECONDS]),
    );
    const fraction = floorMod(this.face(), NS_PER_SECOND);
    this.offset = ms * NS_PER_MS + fraction - this.clock.now();
  }

  private encode(value: number): number {
    return this.cmos[REGISTER_B] & B_BINARY ? value : (floorDiv(value, 10) << 4) | (value % 10);
  }

  private decode(value: number): number {
    return this.cmos[REGISTER_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0x0f);
  }

  private encodeHours(hours: number): number {
    if (this.cmos[REGISTER_B] & B_24H) return this.encode(hours);
    return this.encode(hours % 12 || 12) | (hours >= 12 ? HOURS_PM : 0);
  }

  private decodeHours(value: number): number {
    if (this.cmos[REGISTER_B] & B_24H) return this.decode(value);
    return (this.decode(value & ~HOURS_PM) % 12) + (value & HOURS_PM ? 12 : 0);
  }

  /** Period of the periodic interrupt in ns; 0 when it is off (data sheet, table "Periodic interrupt rate"). */
  private period(): number {
    const rate = this.cmos[REGISTER_A] & A_RATE;
    if (rate === 0) return 0;
    return (2 ** ((rate <= 2 ? rate + 7 : rate) - 1) / CRYSTAL_HZ) * NS_PER_SECOND;
  }

  /** Sets the flags for what happened since they were last looked at. */
  private catchUp(): void {
    const now = this.clock.now();
    const from = this.seen;
    this.seen = now;
    const period = this.period();
    let flags = 0;
    if (period !== 0 && floorDiv(now, period) !== floorDiv(from, period)) flags |= C_PF;
    if (this.running) {
      const firstSecond = floorDiv(from + this.offset, NS_PER_SECOND) + 1;
      const lastSecond = floorDiv(now + this.offset, NS_PER_SECOND);
      if (lastSecond >= firstSecond) flags |= C_UF;
      if (this.alarmWithin(firstSecond, lastSecond)) flags |= C_AF;
    }
    this.cmos[REGISTER_C] |= flags;
  }

  /** Does the alarm match one of these seconds since 1970? */
  private alarmWithin(first: number, last: number): boolean {
    for (let second = first; second <= Math.min(last, first + SECONDS_PER_DAY - 1); second++) {
      const time = floorMod(second, SECONDS_PER_DAY);
      if (
        this.alarmMatches(SECONDS_ALARM, this.encode(time % 60)) &&
        this.alarmMatches(MINUTES_ALARM, this.encode(floorDiv(time, 60) % 60)) &&
        this.alarmMatches(HOURS_ALARM, this.encodeHours(floorDiv(time, 3600)))
      ) {
        return true;
      }
    }
    return false;
  }

  private alarmMatches(register: number, value: number): boolean {
    return (this.cmos[register] & ALARM_ANY) === ALARM_ANY || this.cmos[register] === value;
  }

  private readFlags(): number {
    this.catchUp();
    this.updateInterrupts();
    const flags = this.cmos[REGISTER_C];
    this.cmos[REGISTER_C] = 0;
    this.irq.set(false);
    return flags;
  }

  /** Brings flags and IRQ up to date and plans the next event that can interrupt. */
  private updateInterrupts(): void {
    this.catchUp();
    const enabled = this.cmos[REGISTER_B] & (B_PIE | B_AIE | B_UIE);
    if (this.cmos[REGISTER_C] & enabled) {
      this.cmos[REGISTER_C] |= C_IRQF;
      this.irq.set(true);
    }
    let wait = Number.POSITIVE_INFINITY;
    const period = this.period();
    if (enabled & B_PIE && period !== 0) wait = period - floorMod(this.seen, period);
    if (enabled & (B_AIE | B_UIE) && this.running) {
      wait = Math.min(wait, NS_PER_SECOND - floorMod(this.seen + this.offset, NS_PER_SECOND));
    }
    if (wait === Number.POSITIVE_INFINITY) this.timer.cancel();
    // Rounded up, so that the event has happened when the timer calls.
    else this.timer.arm(Math.ceil(this.seen + wait));
  }

  private storeSizes(options: RtcOptions): void {
    const { cmos } = this;
    const put16 = (at: number, value: number) => {
      cmos[at] = value & 0xff;
      cmos[at + 1] = value >> 8;
    };
    const extendedKib = Math.min(0xffff, Math.max(0, floorDiv(options.ramSize, 1024) - 1024));
    cmos[CMOS_EQUIPMENT] = EQUIPMENT_FPU_AND_MOUSE;
    put16(CMOS_BASE_MEMORY, BASE_MEMORY_KIB);
    put16(CMOS_EXTENDED_MEMORY, extendedKib);
    put16(CMOS_EXTENDED_MEMORY_POST, extendedKib);
    put16(CMOS_MEMORY_ABOVE_16M, Math.min(0xffff, Math.max(0, floorDiv(options.ramSize - 2 ** 24, 65536))));
    cmos[CMOS_CPU_COUNT] = options.cpus - 1;
  }
}

function isTimeRegister(index: number): boolean {
  switch (index) {
    case SECONDS:
    case MINUTES:
    case HOURS:
    case DAY_OF_WEEK:
    case DAY_OF_MONTH:
    case MONTH:
    case YEAR:
    case CENTURY:
    case CENTURY_PS2:
      return true;
    default:
      return false;
  }
}
