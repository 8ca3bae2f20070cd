/**
 * The interrupt wiring of a PC: every line goes to both PIC and I/O APIC, the PIC's INT to LINT0 of the boot processor's
 * local APIC, and what that processor is to take comes out here (MultiProcessor Specification 1.4 §3.6.2).
 */

import type { Clock, InterruptController, IrqLine } from '../bus.ts';
import { Pic8259Pair } from '../legacy/pic8259.ts';
import { ApicBus } from './apic-bus.ts';
import { IO_APIC_PINS, IoApic } from './io-apic.ts';
import { LocalApic } from './local-apic.ts';

const ISA_IRQS = 16;
/** IRQ 0 is on input 2 of the I/O APIC, where the PIC's cascade would be. */
const ioApicPin = (irq: number) => (irq === 0 ? 2 : irq);

export interface InterruptHubOptions {
  readonly clock: Clock;
  /** The clock's time (ns) at which the guest's TSC reaches lo + 2^32·hi. */
  readonly timeOfTsc: (lo: number, hi: number) => number;
  /** An interrupt or NMI began to wait: the run loop should look soon. */
  readonly onPending: () => void;
  /** The processor was sent INIT. */
  readonly onInit: () => void;
  /** The processor was sent a start-up IPI. */
  readonly onStartUp: (vector: number) => void;
}

export class InterruptHub implements InterruptController {
  readonly pic: Pic8259Pair;
  readonly ioApic: IoApic;
  readonly localApic: LocalApic;
  /** Takes MSIs. */
  readonly apicBus = new ApicBus();
  /** How many interrupts of each vector the processor took. */
  readonly delivered = new Float64Array(256);
  private readonly onPending: () => void;
  /** For each input, how many of its sources are high. */
  private readonly sources = new Uint16Array(IO_APIC_PINS);
  private waiting = false;
  private nmiWaiting = false;

  constructor(options: InterruptHubOptions) {
    this.onPending = options.onPending;
    this.ioApic = new IoApic(this.apicBus, options.clock);
    this.pic = new Pic8259Pair((level) => {
      this.localApic.setLint0(level);
      this.update();
    });
    this.localApic = new LocalApic({
      id: 0,
      clock: options.clock,
      bus: this.apicBus,
      timeOfTsc: options.timeOfTsc,
      signals: {
        changed: () => this.update(),
        nmi: () => {
          this.nmiWaiting = true;
          this.onPending();
        },
        init: options.onInit,
        startUp: options.onStartUp,
      },
    });
  }

  /**
   * A new source for interrupt input `irq`: 0…15 are ISA IRQs on both controllers, 16…23 are on the I/O APIC alone.
   * Sources of one input are wired together: it is high while any of them is.
   */
  line(irq: number): IrqLine {
    let driven = false;
    return {
      set: (level) => {
        if (level === driven) return;
        driven = level;
        this.sources[irq] += level ? 1 : -1;
        this.drive(irq, this.sources[irq] > 0);
      },
    };
  }

  pending(): boolean {
    return this.waiting;
  }

  acknowledge(): number {
    const vector =
      this.localApic.pendingVector() < 0 && this.picWaits() ? this.pic.acknowledge() : this.localApic.acknowledge();
    this.delivered[vector]++;
    this.update();
    return vector;
  }

  /** Does an NMI wait? */
  get nmiPending(): boolean {
    return this.nmiWaiting;
  }

  /** The processor takes the NMI. @returns whether one waited. */
  takeNmi(): boolean {
    const waited = this.nmiWaiting;
    this.nmiWaiting = false;
    return waited;
  }

  /** The board's NMI. */
  pulseNmi(): void {
    this.localApic.pulseLint1();
  }

  reset(): void {
    this.nmiWaiting = false;
    this.pic.reset();
    this.ioApic.reset();
    this.localApic.reset();
  }

  private drive(irq: number, level: boolean): void {
    if (irq < ISA_IRQS) this.pic.irqLines[irq].set(level);
    this.ioApic.setPin(ioApicPin(irq), level);
  }

  private picWaits(): boolean {
    return this.localApic.passesPic && this.pic.pending();
  }

  private update(): void {
    // The controllers report while they are being built, before there is all of a hub.
    if (!this.localApic) return;
    const waiting = this.localApic.pendingVector() >= 0 || this.picWaits();
    if (waiting && !this.waiting) this.onPending();
    this.waiting = waiting;
  }
}
