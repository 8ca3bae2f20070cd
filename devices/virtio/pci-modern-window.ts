/**
 * The structures of a modern driver in a memory BAR (virtio 1.2 §4.1.4), a page each as in QEMU: common configuration,
 * ISR, device-specific configuration, notifications.
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { VirtioPci } from './transport-pci.ts';
import { QUEUE_DESC } from './virtqueue.ts';

export const COMMON_OFFSET = 0x0000;
export const ISR_OFFSET = 0x1000;
export const DEVICE_OFFSET = 0x2000;
export const NOTIFY_OFFSET = 0x3000;
export const STRUCTURE_SIZE = 0x1000;
export const MODERN_WINDOW_SIZE = 0x4000;
/** Bytes between the notification addresses of two queues. */
export const NOTIFY_OFF_MULTIPLIER = 4;

// struct virtio_pci_common_cfg, §4.1.4.3.
export const DEVICE_FEATURE_SELECT = 0x00;
export const DEVICE_FEATURE = 0x04;
export const DRIVER_FEATURE_SELECT = 0x08;
export const DRIVER_FEATURE = 0x0c;
export const CONFIG_MSIX_VECTOR = 0x10;
export const NUM_QUEUES = 0x12;
export const DEVICE_STATUS = 0x14;
export const CONFIG_GENERATION = 0x15;
export const QUEUE_SELECT = 0x16;
export const QUEUE_SIZE = 0x18;
export const QUEUE_MSIX_VECTOR = 0x1a;
export const QUEUE_ENABLE = 0x1c;
const QUEUE_NOTIFY_OFF = 0x1e;
/** The three ring addresses, low word first: queue_desc, queue_driver, queue_device. */
export const QUEUE_ADDRESSES = 0x20;
const COMMON_CFG_SIZE = 0x38;

export class PciModernWindow implements BusDevice {
  private readonly pci: VirtioPci;
  private deviceFeatureSelect = 0;
  private driverFeatureSelect = 0;

  constructor(pci: VirtioPci) {
    this.pci = pci;
  }

  reset(): void {
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
  }

  read(offset: number, size: AccessSize): number {
    const within = offset % STRUCTURE_SIZE;
    switch (offset - within) {
      case COMMON_OFFSET:
        return this.readCommon(within);
      case ISR_OFFSET:
        return within === 0 ? this.pci.takeIsr() : 0;
      case DEVICE_OFFSET:
        return this.pci.device.readConfig(within, size);
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const within = offset % STRUCTURE_SIZE;
    switch (offset - within) {
      case COMMON_OFFSET:
        this.writeCommon(within, value);
        break;
      case DEVICE_OFFSET:
        this.pci.device.writeConfig(within, size, value);
        break;
      case NOTIFY_OFFSET:
        this.pci.device.notify(Math.floor(within / NOTIFY_OFF_MULTIPLIER));
        break;
    }
  }

  /** Fields answer at their own offset only (§4.1.3.1 demands accesses of the field's width). */
  private readCommon(offset: number): number {
    const { pci } = this;
    const { device } = pci;
    const queue = device.queues[pci.queueSelect];
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        return this.deviceFeatureSelect;
      case DEVICE_FEATURE:
        return device.offeredWord(this.deviceFeatureSelect, false);
      case DRIVER_FEATURE_SELECT:
        return this.driverFeatureSelect;
      case DRIVER_FEATURE:
        return device.accepted.word(this.driverFeatureSelect);
      case CONFIG_MSIX_VECTOR:
        return pci.configVector;
      case NUM_QUEUES:
        return device.queues.length;
      case DEVICE_STATUS:
        return device.status;
      case CONFIG_GENERATION:
        return device.configGeneration;
      case QUEUE_SELECT:
        return pci.queueSelect;
      case QUEUE_SIZE:
        return queue?.size ?? 0;
      case QUEUE_MSIX_VECTOR:
        return pci.queueVector;
      case QUEUE_ENABLE:
        return queue?.ready ? 1 : 0;
      case QUEUE_NOTIFY_OFF:
        return pci.queueSelect;
      default:
        return queue && offset >= QUEUE_ADDRESSES && offset < COMMON_CFG_SIZE
          ? queue.addressWords[QUEUE_DESC + ((offset - QUEUE_ADDRESSES) >>> 2)]
          : 0;
    }
  }

  private writeCommon(offset: number, value: number): void {
    const { pci } = this;
    const { device } = pci;
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        this.deviceFeatureSelect = value;
        return;
      case DRIVER_FEATURE_SELECT:
        this.driverFeatureSelect = value;
        return;
      case DRIVER_FEATURE:
        device.acceptWord(this.driverFeatureSelect, value, false);
        return;
      case CONFIG_MSIX_VECTOR:
        pci.configVector = value;
        return;
      case DEVICE_STATUS:
        pci.writeStatus(value & 0xff, false);
        return;
      case QUEUE_SELECT:
        pci.queueSelect = value & 0xffff;
        return;
      case QUEUE_MSIX_VECTOR:
        pci.queueVector = value;
        return;
      case QUEUE_ENABLE:
        if (value === 1) device.enableQueue(pci.queueSelect);
        return;
    }
    const queue = device.queues[pci.queueSelect];
    if (!queue || queue.ready || !device.queuesConfigurable) return;
    if (offset === QUEUE_SIZE) queue.size = value;
    else if (offset >= QUEUE_ADDRESSES && offset < COMMON_CFG_SIZE && offset % 4 === 0)
      queue.addressWords[QUEUE_DESC + ((offset - QUEUE_ADDRESSES) >>> 2)] = value;
  }
}
