/**
 * PCI bus 0 with configuration mechanism #1 (PCI Local Bus 3.0 §3.2.2.3.2): CONFIG_ADDRESS is the dword at offset 0 of
 * an 8-port window, CONFIG_DATA the dword at offset 4, reachable in bytes and words too.
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { MmioBus } from '../mmio-bus.ts';
import { allOnes, type PortBus } from '../port-bus.ts';
import { PCI_INTERRUPT_PIN } from './config-space.ts';
import type { MsiSink, PciDevice } from './pci-device.ts';

const SLOT_COUNT = 32;
const FUNCTION_COUNT = 8;

const CONFIG_DATA = 4;
const CONFIG_ADDRESS_ENABLE = 0x80000000;
/** Bits of CONFIG_ADDRESS that can be stored; the others read as zero. */
const CONFIG_ADDRESS_MASK = 0x80fffffc;

/** Takes the four interrupt wires of the bus, PIRQA# (0) … PIRQD# (3). */
export interface PirqRouter {
  setPirq(pirq: number, level: boolean): void;
}

/** Which PIRQ wire pin 1…4 (INTA#…INTD#) of the function in `slot` is connected to, on an i440FX/PIIX board. */
export function pirqOf(slot: number, pin: number): number {
  return (slot + pin - 2) & 3;
}

export class PciBus implements BusDevice {
  private readonly ports: PortBus;
  private readonly mmio: MmioBus;
  private readonly msi: MsiSink;
  private readonly router: PirqRouter;
  private readonly functions: (PciDevice | undefined)[] = new Array(SLOT_COUNT * FUNCTION_COUNT).fill(undefined);
  /** How many functions pull each PIRQ wire. */
  private readonly asserted = [0, 0, 0, 0];
  private configAddress = 0;

  constructor(ports: PortBus, mmio: MmioBus, msi: MsiSink, router: PirqRouter) {
    this.ports = ports;
    this.mmio = mmio;
    this.msi = msi;
    this.router = router;
  }

  /**
   * Plugs `device` in, at the first free slot if none is named.
   * @returns its slot, 0…31. @throws RangeError if the place does not exist, is taken, or the bus is full.
   */
  add(device: PciDevice, slot = this.freeSlot(), fn = 0): number {
    const index = slot * FUNCTION_COUNT + fn;
    if (!(slot >= 0 && slot < SLOT_COUNT && fn >= 0 && fn < FUNCTION_COUNT)) {
      throw new RangeError(`no free PCI slot or no such place as ${slot}.${fn}`);
    }
    if (this.functions[index]) throw new RangeError(`PCI slot ${slot}.${fn} is taken`);
    this.functions[index] = device;
    device.attach({
      ports: this.ports,
      mmio: this.mmio,
      msi: this.msi,
      setIntx: (level) => this.setIntx(slot, device.config.bytes[PCI_INTERRUPT_PIN], level),
    });
    return slot;
  }

  /** Every function there is with its place, in order of slot and function. */
  *devices(): Iterable<{ slot: number; fn: number; device: PciDevice }> {
    for (let index = 0; index < this.functions.length; index++) {
      const device = this.functions[index];
      if (device) yield { slot: Math.floor(index / FUNCTION_COUNT), fn: index % FUNCTION_COUNT, device };
    }
  }

  /** RST#. Resources have to be assigned again afterwards. */
  reset(): void {
    this.configAddress = 0;
    for (const { device } of this.devices()) device.reset();
  }

  read(offset: number, size: AccessSize): number {
    if (offset < CONFIG_DATA) return offset === 0 && size === 4 ? this.configAddress : allOnes(size);
    const register = (this.configAddress & 0xfc) | (offset & 3);
    return this.selected()?.readConfig(register, size) ?? allOnes(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset < CONFIG_DATA) {
      if (offset === 0 && size === 4) this.configAddress = (value & CONFIG_ADDRESS_MASK) >>> 0;
      return;
    }
    this.selected()?.writeConfig((this.configAddress & 0xfc) | (offset & 3), size, value);
  }

  /** The function CONFIG_ADDRESS names: bits 23…16 the bus, of which there is only 0, 15…11 the slot, 10…8 the function. */
  private selected(): PciDevice | undefined {
    const address = this.configAddress;
    if ((address & CONFIG_ADDRESS_ENABLE) === 0 || (address & 0xff0000) !== 0) return undefined;
    return this.functions[(address >>> 8) & 0xff];
  }

  private setIntx(slot: number, pin: number, level: boolean): void {
    if (pin === 0) return;
    const pirq = pirqOf(slot, pin);
    this.asserted[pirq] += level ? 1 : -1;
    this.router.setPirq(pirq, this.asserted[pirq] > 0);
  }

  private freeSlot(): number {
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      const first = slot * FUNCTION_COUNT;
      if (!this.functions.slice(first, first + FUNCTION_COUNT).some((device) => device)) return slot;
    }
    return -1;
  }
}
