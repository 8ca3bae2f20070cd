/**
 * What firmware does to PCI before a kernel runs: BARs assigned, the interrupt line noted, decoding and bus mastering
 * enabled. Guests that never write configuration space (Unikraft) depend on it.
 */

import {
  PCI_BASE_ADDRESS_0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
} from './config-space.ts';
import { type PciBus, pirqOf } from './pci-bus.ts';

/** The windows to assign from, ends exclusive, and the IRQ that each of PIRQA#…PIRQD# is routed to. */
export interface PciResources {
  readonly ioStart: number;
  readonly ioEnd: number;
  readonly memoryStart: number;
  readonly memoryEnd: number;
  readonly pirqIrqs: readonly number[];
}

/** Programs every function of `bus`. @throws RangeError when the windows are too small. */
export function assignResources(bus: PciBus, resources: PciResources): void {
  const next = { io: resources.ioStart, memory: resources.memoryStart };
  const end = { io: resources.ioEnd, memory: resources.memoryEnd };
  for (const { slot, device } of bus.devices()) {
    for (const bar of device.bars) {
      const address = Math.ceil(next[bar.kind] / bar.size) * bar.size;
      next[bar.kind] = address + bar.size;
      if (next[bar.kind] > end[bar.kind])
        throw new RangeError(`no ${bar.kind} space left for the PCI device in slot ${slot}`);
      device.writeConfig(PCI_BASE_ADDRESS_0 + 4 * bar.index, 4, address);
    }
    const pin = device.config.bytes[PCI_INTERRUPT_PIN];
    // A function that came with a line of its own (the PIIX4's SCI) keeps it.
    if (pin !== 0 && device.config.bytes[PCI_INTERRUPT_LINE] === 0) {
      device.writeConfig(PCI_INTERRUPT_LINE, 1, resources.pirqIrqs[pirqOf(slot, pin)]);
    }
    const enable = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR;
    device.writeConfig(PCI_COMMAND, 2, enable);
  }
}
