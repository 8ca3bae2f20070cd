/**
 * The path on which interrupt messages travel between I/O APIC, MSI writers and local APICs (SDM vol. 3 §11.6.2
 * "Determining IPI destination", §11.11 "Message signalled interrupts").
 */

import type { MsiSink } from '../pci/pci-device.ts';
import type { LocalApic } from './local-apic.ts';

// Delivery modes, the same three bits in ICR, LVT, redirection entries and MSI data. There is no SMI (2) here.
export const DELIVERY_FIXED = 0;
export const DELIVERY_LOWEST_PRIORITY = 1;
export const DELIVERY_NMI = 4;
export const DELIVERY_INIT = 5;
export const DELIVERY_START_UP = 6;
export const DELIVERY_EXTINT = 7;

/** Where in those four registers the fields of a message are. */
export const MESSAGE_VECTOR = 0xff;
export const MESSAGE_MODE_SHIFT = 8;
export const MESSAGE_LEVEL_TRIGGERED = 0x8000;

const MSI_ADDRESS_PREFIX = 0xfee;
const MSI_ADDRESS_DESTINATION_SHIFT = 12;
const MSI_ADDRESS_LOGICAL = 0x4;

export class ApicBus implements MsiSink {
  private readonly localApics: LocalApic[] = [];
  private readonly eoiListeners: ((vector: number) => void)[] = [];

  addLocalApic(apic: LocalApic): void {
    this.localApics.push(apic);
  }

  /** An I/O APIC wants to know when a level-triggered interrupt was ended. */
  onEoi(listener: (vector: number) => void): void {
    this.eoiListeners.push(listener);
  }

  broadcastEoi(vector: number): void {
    for (const listener of this.eoiListeners) listener(vector);
  }

  /**
   * Delivers a message to every local APIC that `destination` means; for lowest priority to one of them.
   * @returns whether any took it.
   */
  deliver(destination: number, logical: boolean, mode: number, vector: number, level: boolean): boolean {
    if (mode === DELIVERY_LOWEST_PRIORITY) {
      return this.leastBusy(destination, logical)?.accept(DELIVERY_FIXED, vector, level) ?? false;
    }
    let taken = false;
    for (const apic of this.localApics) {
      if (apic.isDestination(destination, logical) && apic.accept(mode, vector, level)) taken = true;
    }
    return taken;
  }

  /** Delivers to all but `except`; to all if that is undefined. */
  broadcast(except: LocalApic | undefined, mode: number, vector: number, level: boolean): void {
    for (const apic of this.localApics) {
      if (apic !== except) apic.accept(mode, vector, level);
    }
  }

  /** A device's write to the interrupt window 0xfeexxxxx; other addresses mean nothing here. */
  send(address: number, data: number): void {
    if (Math.floor(address / 0x100000) !== MSI_ADDRESS_PREFIX) return;
    this.deliver(
      (address >>> MSI_ADDRESS_DESTINATION_SHIFT) & 0xff,
      (address & MSI_ADDRESS_LOGICAL) !== 0,
      (data >>> MESSAGE_MODE_SHIFT) & 7,
      data & MESSAGE_VECTOR,
      (data & MESSAGE_LEVEL_TRIGGERED) !== 0,
    );
  }

  private leastBusy(destination: number, logical: boolean): LocalApic | undefined {
    let best: LocalApic | undefined;
    for (const apic of this.localApics) {
      if (!apic.isDestination(destination, logical)) continue;
      if (!best || apic.processorPriority < best.processorPriority) best = apic;
    }
    return best;
  }
}
