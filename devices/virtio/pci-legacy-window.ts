/** The registers of a legacy driver in I/O BAR 0 (virtio 1.2 §4.1.4.8, "Legacy Interfaces: A Note on PCI Device Layout"). */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { VirtioPci } from './transport-pci.ts';

export const VIRTIO_PCI_HOST_FEATURES = 0x00;
export const VIRTIO_PCI_GUEST_FEATURES = 0x04;
export const VIRTIO_PCI_QUEUE_PFN = 0x08;
export const VIRTIO_PCI_QUEUE_NUM = 0x0c;
export const VIRTIO_PCI_QUEUE_SEL = 0x0e;
export const VIRTIO_PCI_QUEUE_NOTIFY = 0x10;
export const VIRTIO_PCI_STATUS = 0x12;
export const VIRTIO_PCI_ISR = 0x13;
/** Only there while MSI-X is enabled: else the device's configuration begins here. */
const VIRTIO_MSI_CONFIG_VECTOR = 0x14;
const VIRTIO_MSI_QUEUE_VECTOR = 0x16;
const VIRTIO_PCI_CONFIG = 0x14;
const VIRTIO_PCI_CONFIG_MSIX = 0x18;

/** Rings lie on pages of 4 KiB, and the used ring starts on one. */
const VIRTIO_PCI_VRING_ALIGN = 4096;

export class PciLegacyWindow implements BusDevice {
  private readonly pci: VirtioPci;

  constructor(pci: VirtioPci) {
    this.pci = pci;
  }

  /** Ports that the window takes: a power of two. */
  get size(): number {
    return Math.max(32, 2 ** Math.ceil(Math.log2(VIRTIO_PCI_CONFIG_MSIX + this.pci.device.configSize)));
  }

  read(offset: number, size: AccessSize): number {
    const { pci } = this;
    const { device } = pci;
    if (offset >= this.configOffset) return device.readConfig(offset - this.configOffset, size);
    switch (offset) {
      case VIRTIO_PCI_HOST_FEATURES:
        return device.offeredWord(0, true);
      case VIRTIO_PCI_GUEST_FEATURES:
        return device.accepted.word(0);
      case VIRTIO_PCI_QUEUE_PFN:
        return device.legacyQueuePage(pci.queueSelect, VIRTIO_PCI_VRING_ALIGN);
      case VIRTIO_PCI_QUEUE_NUM:
        return device.queues[pci.queueSelect]?.maxSize ?? 0;
      case VIRTIO_PCI_QUEUE_SEL:
        return pci.queueSelect;
      case VIRTIO_PCI_STATUS:
        return device.status;
      case VIRTIO_PCI_ISR:
        return pci.takeIsr();
      case VIRTIO_MSI_CONFIG_VECTOR:
        return pci.configVector;
      case VIRTIO_MSI_QUEUE_VECTOR:
        return pci.queueVector;
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { pci } = this;
    const { device } = pci;
    if (offset >= this.configOffset) {
      device.writeConfig(offset - this.configOffset, size, value);
      return;
    }
    switch (offset) {
      case VIRTIO_PCI_GUEST_FEATURES:
        device.acceptWord(0, value, true);
        break;
      case VIRTIO_PCI_QUEUE_PFN:
        device.enableLegacyQueue(pci.queueSelect, value, VIRTIO_PCI_VRING_ALIGN, VIRTIO_PCI_VRING_ALIGN);
        break;
      case VIRTIO_PCI_QUEUE_SEL:
        pci.queueSelect = value & 0xffff;
        break;
      case VIRTIO_PCI_QUEUE_NOTIFY:
        device.notify(value & 0xffff);
        break;
      case VIRTIO_PCI_STATUS:
        pci.writeStatus(value & 0xff, true);
        break;
      case VIRTIO_MSI_CONFIG_VECTOR:
        pci.configVector = value;
        break;
      case VIRTIO_MSI_QUEUE_VECTOR:
        pci.queueVector = value;
        break;
    }
  }

  private get configOffset(): number {
    return this.pci.msixEnabled ? VIRTIO_PCI_CONFIG_MSIX : VIRTIO_PCI_CONFIG;
  }
}
