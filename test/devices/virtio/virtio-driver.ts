/** Drivers of the three register interfaces, for tests: legacy PCI, modern PCI, MMIO. Each brings a device up as guests do. */

import type { BusDevice } from '../../../devices/bus.ts';
import type { PciSlot } from '../../../devices/pci/pci-device.ts';
import * as legacy from '../../../devices/virtio/pci-legacy-window.ts';
import * as modern from '../../../devices/virtio/pci-modern-window.ts';
import * as mmio from '../../../devices/virtio/transport-mmio.ts';
import type { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK } from '../../../devices/virtio/virtio-device.ts';
import { RingDriver } from './ring-driver.ts';

export const VERSION_1 = 32;
/** Where test drivers lay their rings: queue n at RINGS + n × RING_SPACE. */
export const RINGS = 0x4000;
export const RING_SPACE = 0x4000;

export interface Driver {
  readonly rings: RingDriver[];
  /** Reads the whole offer. */
  offered(): number[];
  /** Reset, negotiation of `features`, all queues with `size` entries, DRIVER_OK. */
  start(features: number[], memory: RingDriver['memory'], size?: number): void;
  kick(queue: number): void;
  status(): number;
  setStatus(value: number): void;
  config(offset: number, size: 1 | 2 | 4): number;
  setConfig(offset: number, size: 1 | 2 | 4, value: number): void;
}

const bitsOf = (words: number[]) =>
  words.flatMap((word, i) =>
    Array.from({ length: 32 }, (_, bit) => bit)
      .filter((b) => (word >>> b) & 1)
      .map((b) => 32 * i + b),
  );
const wordOf = (bits: number[], index: number) =>
  bits.filter((b) => b >>> 5 === index).reduce((word, b) => (word | (1 << (b & 31))) >>> 0, 0);

/** A slot whose pins and messages can be looked at. */
export function recordingSlot() {
  const messages: [number, number][] = [];
  const state = { intx: false, edges: 0 };
  const noBus = { add() {}, remove() {} };
  const slot = {
    ports: noBus,
    mmio: noBus,
    msi: { send: (address: number, data: number) => messages.push([address, data]) },
    setIntx(level: boolean) {
      state.intx = level;
      if (level) state.edges++;
    },
  } as unknown as PciSlot;
  return { slot, state, messages };
}

export const barOf = (pci: VirtioPci, index: number): BusDevice => {
  const bar = pci.bars.find((b) => b.index === index);
  if (!bar) throw new Error(`no BAR ${index}`);
  return bar.device;
};

export class LegacyPciDriver implements Driver {
  rings: RingDriver[] = [];
  readonly io: BusDevice;
  private readonly pci: VirtioPci;

  constructor(pci: VirtioPci) {
    this.pci = pci;
    this.io = barOf(pci, 0);
  }

  offered(): number[] {
    return bitsOf([this.io.read(legacy.VIRTIO_PCI_HOST_FEATURES, 4)]);
  }

  start(features: number[], memory: RingDriver['memory']): void {
    this.setStatus(0);
    this.setStatus(ACKNOWLEDGE);
    this.setStatus(ACKNOWLEDGE | DRIVER);
    this.io.write(legacy.VIRTIO_PCI_GUEST_FEATURES, 4, wordOf(features, 0));
    this.rings = [];
    for (let queue = 0; ; queue++) {
      this.io.write(legacy.VIRTIO_PCI_QUEUE_SEL, 2, queue);
      const size = this.io.read(legacy.VIRTIO_PCI_QUEUE_NUM, 2);
      if (size === 0) break;
      const ring = new RingDriver(memory, RINGS + RING_SPACE * queue, size);
      this.io.write(legacy.VIRTIO_PCI_QUEUE_PFN, 4, ring.base / 4096);
      this.rings.push(ring);
    }
    this.setStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  }

  kick(queue: number): void {
    this.io.write(legacy.VIRTIO_PCI_QUEUE_NOTIFY, 2, queue);
  }

  status(): number {
    return this.io.read(legacy.VIRTIO_PCI_STATUS, 1);
  }

  setStatus(value: number): void {
    this.io.write(legacy.VIRTIO_PCI_STATUS, 1, value);
  }

  config(offset: number, size: 1 | 2 | 4): number {
    return this.io.read((this.pci.msixEnabled ? 0x18 : 0x14) + offset, size);
  }

  setConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.io.write((this.pci.msixEnabled ? 0x18 : 0x14) + offset, size, value);
  }

  isr(): number {
    return this.io.read(legacy.VIRTIO_PCI_ISR, 1);
  }
}

export class ModernPciDriver implements Driver {
  rings: RingDriver[] = [];
  readonly window: BusDevice;

  constructor(pci: VirtioPci) {
    this.window = barOf(pci, 4);
  }

  offered(): number[] {
    return bitsOf(
      [0, 1].map((word) => {
        this.window.write(modern.DEVICE_FEATURE_SELECT, 4, word);
        return this.window.read(modern.DEVICE_FEATURE, 4);
      }),
    );
  }

  /** @returns the status register after asking for FEATURES_OK. */
  negotiate(features: number[]): number {
    this.setStatus(0);
    this.setStatus(ACKNOWLEDGE);
    this.setStatus(ACKNOWLEDGE | DRIVER);
    for (let word = 0; word < 4; word++) {
      this.window.write(modern.DRIVER_FEATURE_SELECT, 4, word);
      this.window.write(modern.DRIVER_FEATURE, 4, wordOf(features, word));
    }
    this.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return this.status();
  }

  selectQueue(queue: number): void {
    this.window.write(modern.QUEUE_SELECT, 2, queue);
  }

  /** Sets up the selected queue and enables it. @returns queue_enable. */
  setUpQueue(ring: RingDriver, size = ring.size): number {
    this.window.write(modern.QUEUE_SIZE, 2, size);
    for (const [i, word] of ring.addressWords.entries()) this.window.write(modern.QUEUE_ADDRESSES + 4 * i, 4, word);
    this.window.write(modern.QUEUE_ENABLE, 2, 1);
    return this.window.read(modern.QUEUE_ENABLE, 2);
  }

  start(features: number[], memory: RingDriver['memory'], size = 64): void {
    this.negotiate([...features, VERSION_1]);
    this.rings = [];
    const queues = this.window.read(modern.NUM_QUEUES, 2);
    for (let queue = 0; queue < queues; queue++) {
      this.selectQueue(queue);
      const maximum = this.window.read(modern.QUEUE_SIZE, 2);
      const ring = new RingDriver(memory, RINGS + RING_SPACE * queue, Math.min(size, maximum));
      this.setUpQueue(ring);
      this.rings.push(ring);
    }
    this.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  kick(queue: number): void {
    this.window.write(modern.NOTIFY_OFFSET + modern.NOTIFY_OFF_MULTIPLIER * queue, 2, queue);
  }

  status(): number {
    return this.window.read(modern.DEVICE_STATUS, 1);
  }

  setStatus(value: number): void {
    this.window.write(modern.DEVICE_STATUS, 1, value);
  }

  config(offset: number, size: 1 | 2 | 4): number {
    return this.window.read(modern.DEVICE_OFFSET + offset, size);
  }

  setConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.window.write(modern.DEVICE_OFFSET + offset, size, value);
  }

  isr(): number {
    return this.window.read(modern.ISR_OFFSET, 1);
  }
}

/** Version 2, and version 1 when `version` says so. */
export class MmioDriver implements Driver {
  rings: RingDriver[] = [];
  private readonly window: BusDevice;
  private readonly version: 1 | 2;

  constructor(window: BusDevice, version: 1 | 2 = 2) {
    this.window = window;
    this.version = version;
  }

  offered(): number[] {
    return bitsOf(
      [0, 1].map((word) => {
        this.window.write(mmio.DEVICE_FEATURES_SEL, 4, word);
        return this.window.read(mmio.DEVICE_FEATURES, 4);
      }),
    );
  }

  start(features: number[], memory: RingDriver['memory'], size = 64): void {
    const { window } = this;
    const bits = this.version === 2 ? [...features, VERSION_1] : features;
    this.setStatus(0);
    this.setStatus(ACKNOWLEDGE);
    this.setStatus(ACKNOWLEDGE | DRIVER);
    for (let word = 0; word < 2; word++) {
      window.write(mmio.DRIVER_FEATURES_SEL, 4, word);
      window.write(mmio.DRIVER_FEATURES, 4, wordOf(bits, word));
    }
    if (this.version === 2) this.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    else window.write(mmio.GUEST_PAGE_SIZE, 4, 4096);
    this.rings = [];
    for (let queue = 0; ; queue++) {
      window.write(mmio.QUEUE_SEL, 4, queue);
      if (window.read(mmio.QUEUE_NUM_MAX, 4) === 0) break;
      const ring = new RingDriver(memory, RINGS + RING_SPACE * queue, size);
      window.write(mmio.QUEUE_NUM, 4, size);
      if (this.version === 2) {
        const registers = [0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4];
        for (const [i, word] of ring.addressWords.entries()) window.write(registers[i], 4, word);
        window.write(mmio.QUEUE_READY, 4, 1);
      } else {
        window.write(mmio.QUEUE_ALIGN, 4, 4096);
        window.write(mmio.QUEUE_PFN, 4, ring.base / 4096);
      }
      this.rings.push(ring);
    }
    this.setStatus(ACKNOWLEDGE | DRIVER | (this.version === 2 ? FEATURES_OK : 0) | DRIVER_OK);
  }

  kick(queue: number): void {
    this.window.write(mmio.QUEUE_NOTIFY, 4, queue);
  }

  status(): number {
    return this.window.read(mmio.STATUS, 4);
  }

  setStatus(value: number): void {
    this.window.write(mmio.STATUS, 4, value);
  }

  config(offset: number, size: 1 | 2 | 4): number {
    return this.window.read(mmio.CONFIG + offset, size);
  }

  setConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.window.write(mmio.CONFIG + offset, size, value);
  }
}
