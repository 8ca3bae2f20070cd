/**
 * Power management function 8086:7113 (Intel 82371AB datasheet §7.1): a PCI face that maps the ACPI register block,
 * which itself is legacy/acpi-pm.ts, at PMBA.
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import { PCI_INTERRUPT_LINE } from './config-space.ts';
import { PciDevice, type PciSlot } from './pci-device.ts';

const PMBA = 0x40;
const PMBA_IO = 0x01;
const PMBA_ADDRESS = 0xffc0;
const PM_BLOCK_SIZE = 0x40;
const PMREGMISC = 0x80;
const PMREGMISC_PMIOSE = 0x01;

export class Piix4Pm extends PciDevice {
  private readonly registers: BusDevice;
  private readonly initialBase: number;
  private readonly sciIrq: number;
  private mappedAt = -1;

  /** @param initialBase where firmware puts the 64-port block of `registers`; `sciIrq`: the line it notes. */
  constructor(registers: BusDevice, initialBase: number, sciIrq: number) {
    super({
      vendorId: 0x8086,
      deviceId: 0x7113,
      revisionId: 3,
      classCode: 0x068000,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
      interruptPin: 1,
    });
    this.registers = registers;
    this.initialBase = initialBase;
    this.sciIrq = sciIrq;
    this.config.setWritable(PMBA, 4, PMBA_ADDRESS);
    this.config.bytes[PMBA] = PMBA_IO;
    this.config.setWritable(PMREGMISC, 1, PMREGMISC_PMIOSE);
    this.loadFirmwareState();
  }

  override attach(slot: PciSlot): void {
    super.attach(slot);
    this.updateBlock();
  }

  override writeConfig(offset: number, size: AccessSize, value: number): void {
    super.writeConfig(offset, size, value);
    this.updateBlock();
  }

  override reset(): void {
    super.reset();
    this.loadFirmwareState();
    this.updateBlock();
  }

  private loadFirmwareState(): void {
    this.config.set32(PMBA, this.initialBase | PMBA_IO);
    this.config.bytes[PMREGMISC] = PMREGMISC_PMIOSE;
    this.config.bytes[PCI_INTERRUPT_LINE] = this.sciIrq;
  }

  private updateBlock(): void {
    if (!this.slot) return;
    const enabled = (this.config.bytes[PMREGMISC] & PMREGMISC_PMIOSE) !== 0;
    const base = enabled ? this.config.get32(PMBA) & PMBA_ADDRESS : -1;
    if (base === this.mappedAt) return;
    if (this.mappedAt >= 0) this.slot.ports.remove(this.mappedAt, this.registers);
    if (base >= 0) this.slot.ports.add(base, PM_BLOCK_SIZE, this.registers);
    this.mappedAt = base;
  }
}
