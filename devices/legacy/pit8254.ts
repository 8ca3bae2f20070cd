/**
 * The 8254 programmable interval timer (Intel 8254 datasheet, order 231164): three 16-bit counters at 1.193182 MHz.
 *
 * Nothing ticks: counts and outputs are computed from the clock when they are read, and a timer exists only for counter
 * 0, whose output is IRQ 0. A new count takes effect at once in modes 2 and 3 too, as in QEMU.
 */

import type { AccessSize, BusDevice, Clock, IrqLine, Timer } from '../bus.ts';

export const PIT_HZ = 1193182;
const TICKS_PER_NS = PIT_HZ / 1e9;
const NS_PER_TICK = 1e9 / PIT_HZ;

const CONTROL_PORT = 3;

// Control word: SC, RW, M, BCD.
const SELECT_READ_BACK = 3;
const RW_LATCH = 0;
const RW_MSB = 2;
const RW_WORD = 3;
const CONTROL_BCD = 0x01;

// Read-back command (active-low selects) and status byte.
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;
const STATUS_OUTPUT = 0x80;
const STATUS_NULL_COUNT = 0x40;

const MODE_TERMINAL_COUNT = 0;
const MODE_ONE_SHOT = 1;
const MODE_RATE = 2;
const MODE_SQUARE = 3;
const MODE_SOFTWARE_STROBE = 4;
const MODE_HARDWARE_STROBE = 5;

/** One counter, as a function of the time that is passed in (ns). */
class Counter {
  mode = MODE_SQUARE;
  /** Ticks of one round: 1…0x10000. */
  count = 0x10000;
  /** Time at which `count` began to run, shifted by the pauses since. */
  start = 0;
  /** False until a count was loaded, and in modes 1 and 5 until the gate triggers. */
  running = false;
  private bcd = false;
  private access = RW_WORD;
  private nullCount = true;
  private gate: boolean;
  /** Time at which the gate stopped the counter. */
  private pausedAt = -1;
  private writeLow = -1;
  private readHigh = false;
  private latchedCount = -1;
  private latchedStatus = -1;

  constructor(gate: boolean) {
    this.gate = gate;
  }

  setControl(value: number, now: number): void {
    this.access = (value >> 4) & 3;
    // Modes 6 and 7 are 2 and 3 (M2 is "don't care").
    const mode = (value >> 1) & 7;
    this.mode = mode > MODE_HARDWARE_STROBE ? mode & 3 : mode;
    this.bcd = (value & CONTROL_BCD) !== 0;
    this.nullCount = true;
    this.running = false;
    this.start = now;
    this.pausedAt = -1;
    this.writeLow = -1;
    this.readHigh = false;
    this.latchedCount = -1;
    this.latchedStatus = -1;
  }

  /** A byte for the counter's own port. @returns whether it completed a count. */
  writeCount(byte: number, now: number): boolean {
    if (this.access === RW_WORD) {
      if (this.writeLow < 0) {
        this.writeLow = byte;
        return false;
      }
      this.load(this.writeLow | (byte << 8), now);
      this.writeLow = -1;
    } else {
      this.load(this.access === RW_MSB ? byte << 8 : byte, now);
    }
    return true;
  }

  readByte(now: number): number {
    if (this.latchedStatus >= 0) {
      const status = this.latchedStatus;
      this.latchedStatus = -1;
      return status;
    }
    const value = this.latchedCount >= 0 ? this.latchedCount : this.currentCount(now);
    const high = this.access === RW_WORD ? this.readHigh : this.access === RW_MSB;
    if (this.access === RW_WORD) this.readHigh = !this.readHigh;
    if (this.access !== RW_WORD || high) this.latchedCount = -1;
    return high ? value >> 8 : value & 0xff;
  }

  latchCount(now: number): void {
    if (this.latchedCount < 0) this.latchedCount = this.currentCount(now);
  }

  latchStatus(now: number): void {
    if (this.latchedStatus >= 0) return;
    this.latchedStatus =
      (this.output(now) ? STATUS_OUTPUT : 0) |
      (this.nullCount ? STATUS_NULL_COUNT : 0) |
      (this.access << 4) |
      (this.mode << 1) |
      (this.bcd ? CONTROL_BCD : 0);
  }

  /** The GATE pin: modes 1 and 5 are triggered by its rise, 2 and 3 restart at it, 0 and 4 wait while it is low. */
  setGate(level: boolean, now: number): void {
    if (level === this.gate) return;
    this.gate = level;
    const triggered = this.mode === MODE_ONE_SHOT || this.mode === MODE_HARDWARE_STROBE;
    if (!level) {
      if (!triggered) this.pausedAt = now;
    } else if (triggered || this.mode === MODE_RATE || this.mode === MODE_SQUARE) {
      this.start = now;
      this.pausedAt = -1;
      this.running = !this.nullCount;
    } else if (this.pausedAt >= 0) {
      this.start += now - this.pausedAt;
      this.pausedAt = -1;
    }
  }

  /** The OUT pin. */
  output(now: number): boolean {
    const idle = this.mode !== MODE_TERMINAL_COUNT;
    if (!this.running) return idle;
    const ticks = this.elapsed(now);
    switch (this.mode) {
      case MODE_TERMINAL_COUNT:
      case MODE_ONE_SHOT:
        return ticks >= this.count;
      case MODE_RATE:
        return !this.gate || ticks % this.count !== this.count - 1;
      case MODE_SQUARE:
        return !this.gate || ticks % this.count < (this.count + 1) >> 1;
      default:
        return ticks !== this.count;
    }
  }

  /** Whole ticks counted since the start of the first round. */
  elapsed(now: number): number {
    return Math.max(0, Math.floor(((this.pausedAt >= 0 ? this.pausedAt : now) - this.start) * TICKS_PER_NS));
  }

  private load(value: number, now: number): void {
    const full = this.bcd ? 10000 : 0x10000;
    this.count = (this.bcd ? fromBcd(value) : value) || full;
    this.nullCount = false;
    if (this.mode === MODE_ONE_SHOT || this.mode === MODE_HARDWARE_STROBE) return;
    this.running = true;
    this.start = now;
    this.pausedAt = this.gate ? -1 : now;
  }

  private currentCount(now: number): number {
    const ticks = this.running ? this.elapsed(now) : 0;
    let value: number;
    switch (this.mode) {
      case MODE_RATE:
        value = this.count - (ticks % this.count);
        break;
      case MODE_SQUARE:
        // Counts by two, a whole round for each half wave.
        value = this.count - ((2 * ticks) % this.count);
        break;
      default:
        value = this.count - ticks;
    }
    if (!this.bcd) return value & 0xffff;
    return toBcd(((value % 10000) + 10000) % 10000);
  }
}

function fromBcd(value: number): number {
  return (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
}

function toBcd(value: number): number {
  const digit = (n: number) => Math.floor(value / n) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}

export class Pit8254 implements BusDevice {
  private readonly clock: Clock;
  private readonly irq: IrqLine;
  private readonly timer: Timer;
  private readonly counters = [new Counter(true), new Counter(true), new Counter(false)];
  /** Number of counter 0's next rise of OUT since its start. */
  private nextEdge = 0;

  /** @param irq the input that OUT of counter 0 drives: IRQ 0. */
  constructor(clock: Clock, irq: IrqLine) {
    this.clock = clock;
    this.irq = irq;
    this.timer = clock.createTimer(() => this.edgeDue());
    this.reset();
  }

  /** As firmware leaves it: counter 0 in mode 2 at 18.2 Hz, the gate of counter 2 low. */
  reset(): void {
    this.setGate2(false);
    for (let n = 0; n < CONTROL_PORT; n++) {
      this.write(CONTROL_PORT, 1, (n << 6) | (RW_WORD << 4) | (MODE_RATE << 1));
      this.write(n, 1, 0);
      this.write(n, 1, 0);
    }
  }

  read(offset: number, _size: AccessSize): number {
    // The control word cannot be read; the bus floats.
    return offset === CONTROL_PORT ? 0xff : this.counters[offset].readByte(this.clock.now());
  }

  write(offset: number, _size: AccessSize, value: number): void {
    value &= 0xff;
    const now = this.clock.now();
    if (offset === CONTROL_PORT) this.writeControl(value, now);
    else if (this.counters[offset].writeCount(value, now) && offset === 0) this.restartIrq();
  }

  /** OUT of counter 2, which port 0x61 shows. */
  get output2(): boolean {
    return this.counters[2].output(this.clock.now());
  }

  /** GATE of counter 2, which port 0x61 drives; those of the others are tied high. */
  setGate2(level: boolean): void {
    this.counters[2].setGate(level, this.clock.now());
  }

  private writeControl(value: number, now: number): void {
    const select = value >> 6;
    if (select === SELECT_READ_BACK) {
      for (const [n, counter] of this.counters.entries()) {
        if ((value & (2 << n)) === 0) continue;
        if ((value & READ_BACK_NO_COUNT) === 0) counter.latchCount(now);
        if ((value & READ_BACK_NO_STATUS) === 0) counter.latchStatus(now);
      }
    } else if (((value >> 4) & 3) === RW_LATCH) {
      this.counters[select].latchCount(now);
    } else {
      this.counters[select].setControl(value, now);
      if (select === 0) this.restartIrq();
    }
  }

  /** Counter 0 was programmed: OUT is low or will have to rise anew, and the next rise is planned. */
  private restartIrq(): void {
    this.irq.set(false);
    this.timer.cancel();
    this.nextEdge = 1;
    if (this.counters[0].running) this.armEdge();
  }

  private armEdge(): void {
    const counter = this.counters[0];
    // The strobe of mode 4 is one tick low; its end is the rise.
    const strobe = counter.mode === MODE_SOFTWARE_STROBE ? 1 : 0;
    this.timer.arm(counter.start + (this.nextEdge * counter.count + strobe) * NS_PER_TICK);
  }

  /** Rises that were missed are one interrupt; the following ones stay on the grid of the first. */
  private edgeDue(): void {
    this.irq.set(false);
    this.irq.set(true);
    const counter = this.counters[0];
    if (counter.mode !== MODE_RATE && counter.mode !== MODE_SQUARE) return;
    this.nextEdge = Math.max(this.nextEdge, Math.floor(counter.elapsed(this.clock.now()) / counter.count)) + 1;
    this.armEdge();
  }
}

const SYSTEM_B_GATE2 = 0x01;
const SYSTEM_B_SPEAKER = 0x02;
const SYSTEM_B_REFRESH = 0x10;
const SYSTEM_B_OUT2 = 0x20;
/** DRAM refresh period of a PC/AT; software of its time measures delays by it. */
const REFRESH_NS = 15085;

/** System control port B, 0x61 (IBM PC/AT Technical Reference §1): gate and output of counter 2, refresh toggle. */
export class SystemControlB implements BusDevice {
  private readonly pit: Pit8254;
  private readonly clock: Clock;
  private control = 0;

  constructor(pit: Pit8254, clock: Clock) {
    this.pit = pit;
    this.clock = clock;
  }

  read(_offset: number, _size: AccessSize): number {
    const refresh = Math.floor(this.clock.now() / REFRESH_NS) % 2 === 1;
    return this.control | (refresh ? SYSTEM_B_REFRESH : 0) | (this.pit.output2 ? SYSTEM_B_OUT2 : 0);
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.control = value & (SYSTEM_B_GATE2 | SYSTEM_B_SPEAKER);
    this.pit.setGate2((value & SYSTEM_B_GATE2) !== 0);
  }

  reset(): void {
    this.write(0, 1, 0);
  }
}
