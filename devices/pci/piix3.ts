/**
 * PCI-to-ISA bridge 8086:7000 and its interrupt router (Intel 82371SB datasheet §2.2.5: PIRQRC[A:D], 0x60–0x63).
 * Each PIRQ wire is level-triggered and drives one ISA interrupt, or none.
 */

import type { AccessSize, IrqLine } from '../bus.ts';
import type { PirqRouter } from './pci-bus.ts';
import { PciDevice } from './pci-device.ts';

const PIRQRCA = 0x60;
const PIRQ_COUNT = 4;
const PIRQRC_DISABLED = 0x80;
const PIRQRC_IRQ = 0x0f;

export class Piix3 extends PciDevice implements PirqRouter {
  private readonly irqLines: readonly IrqLine[];
  private readonly initialRoutes: readonly number[];
  private readonly pirqLevels = [false, false, false, false];
  private readonly driven: boolean[];

  /**
   * @param irqLines an input of the interrupt controllers for each of IRQ 0…15, of this router's own
   * @param routes the IRQ that firmware gives each of PIRQA#…PIRQD#
   */
  constructor(irqLines: readonly IrqLine[], routes: readonly number[]) {
    super({
      vendorId: 0x8086,
      deviceId: 0x7000,
      classCode: 0x060100,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
      multifunction: true,
    });
    this.irqLines = irqLines;
    this.initialRoutes = routes;
    this.driven = irqLines.map(() => false);
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
      this.config.setWritable(PIRQRCA + pirq, 1, PIRQRC_DISABLED | PIRQRC_IRQ);
    }
    this.loadRoutes();
  }

  setPirq(pirq: number, level: boolean): void {
    this.pirqLevels[pirq] = level;
    this.driveIrqs();
  }

  override writeConfig(offset: number, size: AccessSize, value: number): void {
    super.writeConfig(offset, size, value);
    if (offset < PIRQRCA + PIRQ_COUNT && offset + size > PIRQRCA) this.driveIrqs();
  }

  override reset(): void {
    super.reset();
    this.loadRoutes();
    this.driveIrqs();
  }

  private loadRoutes(): void {
    this.config.bytes.set(this.initialRoutes, PIRQRCA);
  }

  /** Each IRQ follows the wired OR of the PIRQs routed to it. */
  private driveIrqs(): void {
    for (let irq = 0; irq < this.irqLines.length; irq++) {
      let level = false;
      for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
        if (this.config.bytes[PIRQRCA + pirq] === irq && this.pirqLevels[pirq]) level = true;
      }
      if (level === this.driven[irq]) continue;
      this.driven[irq] = level;
      this.irqLines[irq].set(level);
    }
  }
}
