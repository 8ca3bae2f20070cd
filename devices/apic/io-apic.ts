/**
 * The I/O APIC (Intel 82093AA datasheet, order 290566), version 0x11, 24 inputs. Window: IOREGSEL at 0, IOWIN at 0x10.
 */

import type { AccessSize, BusDevice, Clock, Timer } from '../bus.ts';
import { type ApicBus, MESSAGE_LEVEL_TRIGGERED, MESSAGE_MODE_SHIFT, MESSAGE_VECTOR } from './apic-bus.ts';

export const IO_APIC_PINS = 24;

const IOREGSEL = 0x00;
const IOWIN = 0x10;

const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;

const VERSION_VALUE = ((IO_APIC_PINS - 1) << 16) | 0x11;
const ID_MASK = 0x0f000000;

// Low half of a redirection entry, §3.2.4.
const ENTRY_LOGICAL = 0x800;
const ENTRY_REMOTE_IRR = 0x4000;
const ENTRY_MASKED = 0x10000;
const ENTRY_WRITABLE = 0x1afff;
const ENTRY_DESTINATION_SHIFT = 24;

/**
 * On hardware an EOI takes its time to come back as the next interrupt of a level that is still held, and the interrupted
 * program gets on. Here it would come back before a single instruction, for ever; so after this many in a row it waits.
 */
const REPEATS_AT_ONCE = 1000;
const REPEAT_DELAY_NS = 100_000;

export class IoApic implements BusDevice {
  private readonly bus: ApicBus;
  private readonly clock: Clock;
  private readonly low = new Uint32Array(IO_APIC_PINS);
  private readonly high = new Uint32Array(IO_APIC_PINS);
  private readonly pins = new Uint8Array(IO_APIC_PINS);
  /** EOIs since each input was last low. */
  private readonly repeats = new Uint32Array(IO_APIC_PINS);
  private readonly repeatTimer: Timer;
  private select = 0;
  private id = 0;

  constructor(bus: ApicBus, clock: Clock) {
    this.bus = bus;
    this.clock = clock;
    this.repeatTimer = clock.createTimer(() => this.repeat());
    bus.onEoi((vector) => this.endOfInterrupt(vector));
    this.reset();
  }

  reset(): void {
    this.select = 0;
    this.id = 0;
    this.low.fill(ENTRY_MASKED);
    this.high.fill(0);
    this.repeats.fill(0);
    this.repeatTimer.cancel();
  }

  /** Drives input `pin`, active high. An edge at a masked input is lost, as the datasheet has it. */
  setPin(pin: number, level: boolean): void {
    const rises = level && this.pins[pin] === 0;
    this.pins[pin] = level ? 1 : 0;
    if (!level) this.repeats[pin] = 0;
    if (this.low[pin] & MESSAGE_LEVEL_TRIGGERED) this.serviceLevel(pin);
    else if (rises && !(this.low[pin] & ENTRY_MASKED)) this.deliver(pin);
  }

  /** The redirection table entry of input `pin`, for those who look on. */
  entry(pin: number): { readonly low: number; readonly high: number } {
    return { low: this.low[pin], high: this.high[pin] };
  }

  read(offset: number, size: AccessSize): number {
    const value = offset === IOREGSEL ? this.select : offset === IOWIN ? this.readRegister() : 0;
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }

  /** IOREGSEL takes bytes too; IOWIN is written as a dword. */
  write(offset: number, size: AccessSize, value: number): void {
    if (offset === IOREGSEL) this.select = value & 0xff;
    else if (offset === IOWIN && size === 4) this.writeRegister(value);
  }

  private readRegister(): number {
    switch (this.select) {
      case IOAPICID:
      case IOAPICARB:
        return this.id;
      case IOAPICVER:
        return VERSION_VALUE;
    }
    const pin = (this.select - IOREDTBL) >> 1;
    if (pin < 0 || pin >= IO_APIC_PINS) return 0;
    return this.select & 1 ? this.high[pin] : this.low[pin];
  }

  private writeRegister(value: number): void {
    if (this.select === IOAPICID) {
      this.id = value & ID_MASK;
      return;
    }
    const pin = (this.select - IOREDTBL) >> 1;
    if (pin < 0 || pin >= IO_APIC_PINS) return;
    if (this.select & 1) {
      this.high[pin] = value;
      return;
    }
    // Remote IRR belongs to level-triggered entries; guests clear a stuck one by making the entry edge-triggered.
    const remoteIrr = value & MESSAGE_LEVEL_TRIGGERED ? this.low[pin] & ENTRY_REMOTE_IRR : 0;
    this.low[pin] = (value & ENTRY_WRITABLE) | remoteIrr;
    if (value & MESSAGE_LEVEL_TRIGGERED) this.serviceLevel(pin);
  }

  private endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      const entry = this.low[pin];
      if (!(entry & ENTRY_REMOTE_IRR) || (entry & MESSAGE_VECTOR) !== vector) continue;
      this.low[pin] = entry & ~ENTRY_REMOTE_IRR;
      if (this.pins[pin] !== 0 && ++this.repeats[pin] > REPEATS_AT_ONCE) this.repeatLater();
      else this.serviceLevel(pin);
    }
  }

  private repeatLater(): void {
    if (!this.repeatTimer.armed) this.repeatTimer.arm(this.clock.now() + REPEAT_DELAY_NS);
  }

  private repeat(): void {
    for (let pin = 0; pin < IO_APIC_PINS; pin++) {
      if (this.repeats[pin] <= REPEATS_AT_ONCE) continue;
      this.repeats[pin] = 0;
      if (this.low[pin] & MESSAGE_LEVEL_TRIGGERED) this.serviceLevel(pin);
    }
  }

  /** A held level is delivered once, until its EOI; remote IRR is set when a local APIC took it. */
  private serviceLevel(pin: number): void {
    const entry = this.low[pin];
    if (this.pins[pin] === 0 || entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) return;
    if (this.deliver(pin)) this.low[pin] |= ENTRY_REMOTE_IRR;
  }

  private deliver(pin: number): boolean {
    const entry = this.low[pin];
    return this.bus.deliver(
      this.high[pin] >>> ENTRY_DESTINATION_SHIFT,
      (entry & ENTRY_LOGICAL) !== 0,
      (entry >>> MESSAGE_MODE_SHIFT) & 7,
      entry & MESSAGE_VECTOR,
      (entry & MESSAGE_LEVEL_TRIGGERED) !== 0,
    );
  }
}
