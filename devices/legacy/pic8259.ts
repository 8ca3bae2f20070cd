/**
 * The interrupt controllers of a PC: two 8259A (Intel 8259A datasheet, order 231468) in cascade, slave on IR2 of the
 * master, with the edge/level control registers of the PIIX (82371SB datasheet §2.5.5, ports 0x4d0/0x4d1).
 *
 * As in QEMU a request latched by an edge stays even if the line falls again before it is acknowledged.
 */

import type { AccessSize, BusDevice, InterruptController, IrqLine } from '../bus.ts';

const ICW1_INIT = 0x10;
const ICW1_LTIM = 0x08;
const ICW1_SNGL = 0x02;
const ICW1_IC4 = 0x01;
const ICW2_BASE = 0xf8;
const ICW4_SFNM = 0x10;
const ICW4_AEOI = 0x02;

const OCW3_SELECT = 0x08;
const OCW3_ESMM = 0x40;
const OCW3_SMM = 0x20;
const OCW3_POLL = 0x04;
const OCW3_RR = 0x02;
const OCW3_RIS = 0x01;

// OCW2 commands, bits 7…5 (R, SL, EOI).
const OCW2_ROTATE_AEOI_CLEAR = 0;
const OCW2_EOI = 1;
const OCW2_SPECIFIC_EOI = 3;
const OCW2_ROTATE_AEOI_SET = 4;
const OCW2_ROTATE_EOI = 5;
const OCW2_SET_PRIORITY = 6;
const OCW2_ROTATE_SPECIFIC_EOI = 7;

const POLL_INTERRUPT = 0x80;
const CASCADE_IR = 2;
/** The input that a request which has vanished is reported on (datasheet, "Edge and level triggered modes"). */
const SPURIOUS_IR = 7;
const NO_REQUEST = -1;

/** What a chip waits for at its odd port. */
const READY = 0;
const EXPECT_ICW2 = 2;
const EXPECT_ICW3 = 3;
const EXPECT_ICW4 = 4;

/** One 8259A. Ports: 0 = A0 low (ICW1, OCW2, OCW3, IRR/ISR), 1 = A0 high (ICW2–4, OCW1). */
export class Pic8259 implements BusDevice {
  /** Inputs that are level-triggered; the PIIX's ELCR. */
  elcr = 0;
  private irr = 0;
  private isr = 0;
  private imr = 0;
  /** Level of each input pin. */
  private pins = 0;
  private base = 0;
  /** The input with the highest priority; rotates. */
  private highest = 0;
  private levelTriggered = false;
  private single = false;
  private needsIcw4 = false;
  private autoEoi = false;
  private rotateOnAutoEoi = false;
  private specialMask = false;
  private specialFullyNested = false;
  private readIsr = false;
  private poll = false;
  private state = READY;
  private int = false;
  private readonly cascadeMask: number;
  private readonly setInt: (level: boolean) => void;

  /** @param cascadeMask inputs that carry another chip; `setInt` is told every change of the INT pin. */
  constructor(cascadeMask: number, setInt: (level: boolean) => void) {
    this.cascadeMask = cascadeMask;
    this.setInt = setInt;
  }

  /** For those who look on. */
  get registers() {
    const { irr, isr, imr, base, highest } = this;
    return { irr, isr, imr, base, highest };
  }

  /** The INT pin. */
  get output(): boolean {
    return this.int;
  }

  setPin(ir: number, level: boolean): void {
    const bit = 1 << ir;
    if (level) {
      if (this.isLevel(bit) || (this.pins & bit) === 0) this.irr |= bit;
      this.pins |= bit;
    } else {
      if (this.isLevel(bit)) this.irr &= ~bit;
      this.pins &= ~bit;
    }
    this.update();
  }

  /** INTA for this chip: moves the best request into service. @returns its input, or −1 if it has vanished. */
  acknowledge(): number {
    const ir = this.best();
    if (ir === NO_REQUEST) return NO_REQUEST;
    const bit = 1 << ir;
    if (!this.isLevel(bit)) this.irr &= ~bit;
    if (!this.autoEoi) this.isr |= bit;
    else if (this.rotateOnAutoEoi) this.highest = (ir + 1) & 7;
    // INTA takes INT down; a further request must be an edge at the master again.
    this.driveInt(false);
    this.update();
    return ir;
  }

  /** The interrupt vector of input `ir`. */
  vector(ir: number): number {
    return this.base + ir;
  }

  /** Sets what firmware has programmed: vector base and mask. Level of the pins is not touched. */
  reset(base: number, mask: number): void {
    this.initialize();
    this.levelTriggered = false;
    this.single = false;
    this.needsIcw4 = true;
    this.state = READY;
    this.base = base;
    this.imr = mask;
    this.update();
  }

  read(offset: number, _size: AccessSize): number {
    if (this.poll) {
      this.poll = false;
      const ir = this.acknowledge();
      return ir === NO_REQUEST ? 0 : POLL_INTERRUPT | ir;
    }
    if (offset === 1) return this.imr;
    return this.readIsr ? this.isr : this.irr;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    value &= 0xff;
    if (offset === 1) this.writeData(value);
    else if (value & ICW1_INIT) this.writeIcw1(value);
    else if (value & OCW3_SELECT) this.writeOcw3(value);
    else this.writeOcw2(value);
    this.update();
  }

  setElcr(value: number): void {
    this.elcr = value;
    // An input that became level-triggered requests as long as its pin is up, and only then.
    this.irr = (this.irr & ~value) | (this.pins & value);
    this.update();
  }

  private writeIcw1(value: number): void {
    this.initialize();
    this.levelTriggered = (value & ICW1_LTIM) !== 0;
    this.single = (value & ICW1_SNGL) !== 0;
    this.needsIcw4 = (value & ICW1_IC4) !== 0;
    this.state = EXPECT_ICW2;
  }

  /** ICW1's effects a…f: edge sense, mask, priority, special mask and status read are reset. */
  private initialize(): void {
    this.irr &= this.elcr & this.pins;
    this.isr = 0;
    this.imr = 0;
    this.base = 0;
    this.highest = 0;
    this.autoEoi = false;
    this.rotateOnAutoEoi = false;
    this.specialMask = false;
    this.specialFullyNested = false;
    this.readIsr = false;
    this.poll = false;
  }

  private writeData(value: number): void {
    switch (this.state) {
      case EXPECT_ICW2:
        this.base = value & ICW2_BASE;
        this.state = this.single ? this.afterIcw3() : EXPECT_ICW3;
        break;
      case EXPECT_ICW3:
        // The cascade is wired on the board; what software says about it changes nothing.
        this.state = this.afterIcw3();
        break;
      case EXPECT_ICW4:
        this.specialFullyNested = (value & ICW4_SFNM) !== 0;
        this.autoEoi = (value & ICW4_AEOI) !== 0;
        this.state = READY;
        break;
      default:
        this.imr = value;
    }
  }

  private afterIcw3(): number {
    return this.needsIcw4 ? EXPECT_ICW4 : READY;
  }

  private writeOcw3(value: number): void {
    if (value & OCW3_POLL) this.poll = true;
    if (value & OCW3_RR) this.readIsr = (value & OCW3_RIS) !== 0;
    if (value & OCW3_ESMM) this.specialMask = (value & OCW3_SMM) !== 0;
  }

  private writeOcw2(value: number): void {
    const level = value & 7;
    switch (value >> 5) {
      case OCW2_ROTATE_AEOI_CLEAR:
        this.rotateOnAutoEoi = false;
        break;
      case OCW2_ROTATE_AEOI_SET:
        this.rotateOnAutoEoi = true;
        break;
      case OCW2_EOI:
        this.endOfInterrupt(this.inService(), false);
        break;
      case OCW2_ROTATE_EOI:
        this.endOfInterrupt(this.inService(), true);
        break;
      case OCW2_SPECIFIC_EOI:
        this.endOfInterrupt(level, false);
        break;
      case OCW2_ROTATE_SPECIFIC_EOI:
        this.endOfInterrupt(level, true);
        break;
      case OCW2_SET_PRIORITY:
        this.highest = (level + 1) & 7;
        break;
    }
  }

  private endOfInterrupt(ir: number, rotate: boolean): void {
    if (ir === NO_REQUEST) return;
    this.isr &= ~(1 << ir);
    if (rotate) this.highest = (ir + 1) & 7;
  }

  /** The input a non-specific EOI ends: in special mask mode a masked one is not seen. */
  private inService(): number {
    return this.inputAt(this.rank(this.specialMask ? this.isr & ~this.imr : this.isr));
  }

  /** The input to be served now, or −1. */
  private best(): number {
    let blocking = this.isr;
    if (this.specialMask) blocking &= ~this.imr;
    if (this.specialFullyNested) blocking &= ~this.cascadeMask;
    const request = this.rank(this.irr & ~this.imr);
    return request < this.rank(blocking) ? this.inputAt(request) : NO_REQUEST;
  }

  /** Rank of the most urgent of `bits`: 0 the highest … 7, and 8 for none. */
  private rank(bits: number): number {
    if (bits === 0) return 8;
    const rotated = ((bits | (bits << 8)) >> this.highest) & 0xff;
    return 31 - Math.clz32(rotated & -rotated);
  }

  private inputAt(rank: number): number {
    return rank === 8 ? NO_REQUEST : (rank + this.highest) & 7;
  }

  private isLevel(bit: number): boolean {
    return this.levelTriggered || (this.elcr & bit) !== 0;
  }

  private update(): void {
    this.driveInt(this.best() !== NO_REQUEST);
  }

  private driveInt(level: boolean): void {
    if (level === this.int) return;
    this.int = level;
    this.setInt(level);
  }
}

/** Mask and vector base that SeaBIOS leaves in the chips, which a guest without firmware finds (and Unikraft keeps). */
const FIRMWARE_MASTER = { base: 0x08, mask: 0xb8 };
const FIRMWARE_SLAVE = { base: 0x70, mask: 0x8e };
/** IRQ 10 and 11, the PCI interrupts, are level-triggered. */
const FIRMWARE_ELCR_SLAVE = 0x0c;
/** IRQ 0, 1, 2 and 8, 13 are always edge-triggered. */
const ELCR_MASTER_MASK = 0xf8;
const ELCR_SLAVE_MASK = 0xde;

/** Both chips. Ports: `master` at 0x20, `slave` at 0xa0, `elcr` at 0x4d0, two each. */
export class Pic8259Pair implements InterruptController {
  readonly master: Pic8259;
  readonly slave: Pic8259;
  readonly elcr: BusDevice;
  /** IRQ 0…15; IRQ 2 is the cascade and its line goes nowhere. */
  readonly irqLines: readonly IrqLine[];

  /** @param onOutput told every change of the pair's INT pin. */
  constructor(onOutput: (level: boolean) => void) {
    this.master = new Pic8259(1 << CASCADE_IR, onOutput);
    this.slave = new Pic8259(0, (level) => this.master.setPin(CASCADE_IR, level));
    const chips = [this.master, this.slave];
    const masks = [ELCR_MASTER_MASK, ELCR_SLAVE_MASK];
    this.elcr = {
      read: (offset) => chips[offset].elcr,
      write: (offset, size, value) => {
        for (let i = 0; i < size; i++) chips[offset + i].setElcr((value >>> (8 * i)) & masks[offset + i]);
      },
    };
    this.irqLines = Array.from({ length: 16 }, (_, irq) => {
      if (irq === CASCADE_IR) return { set: () => {} };
      const chip = chips[irq >> 3];
      return { set: (level: boolean) => chip.setPin(irq & 7, level) };
    });
    this.reset();
  }

  pending(): boolean {
    return this.master.output;
  }

  acknowledge(): number {
    const ir = this.master.acknowledge();
    if (ir === NO_REQUEST) return this.master.vector(SPURIOUS_IR);
    if (ir !== CASCADE_IR) return this.master.vector(ir);
    const slaveIr = this.slave.acknowledge();
    return this.slave.vector(slaveIr === NO_REQUEST ? SPURIOUS_IR : slaveIr);
  }

  /** The state after firmware ran. */
  reset(): void {
    this.master.setElcr(0);
    this.slave.setElcr(FIRMWARE_ELCR_SLAVE);
    this.slave.reset(FIRMWARE_SLAVE.base, FIRMWARE_SLAVE.mask);
    this.master.reset(FIRMWARE_MASTER.base, FIRMWARE_MASTER.mask);
  }
}
