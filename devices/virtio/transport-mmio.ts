/**
 * Virtio over MMIO (virtio 1.2 §4.2): one window of registers and one interrupt line. Version 2 as Firecracker has it;
 * version 1 (§4.2.4) for guests that know only the legacy interface.
 */

import type { AccessSize, BusDevice, IrqLine } from '../bus.ts';
import type { VirtioDevice, VirtioTransport } from './virtio-device.ts';
import { QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER } from './virtqueue.ts';

// §4.2.2.
export const MAGIC_VALUE = 0x000;
export const VERSION = 0x004;
export const DEVICE_ID = 0x008;
const VENDOR_ID = 0x00c;
export const DEVICE_FEATURES = 0x010;
export const DEVICE_FEATURES_SEL = 0x014;
export const DRIVER_FEATURES = 0x020;
export const DRIVER_FEATURES_SEL = 0x024;
export const QUEUE_SEL = 0x030;
export const QUEUE_NUM_MAX = 0x034;
export const QUEUE_NUM = 0x038;
export const QUEUE_READY = 0x044;
export const QUEUE_NOTIFY = 0x050;
export const INTERRUPT_STATUS = 0x060;
export const INTERRUPT_ACK = 0x064;
export const STATUS = 0x070;
const QUEUE_DESC_LOW = 0x080;
const QUEUE_DESC_HIGH = 0x084;
const QUEUE_DRIVER_LOW = 0x090;
const QUEUE_DRIVER_HIGH = 0x094;
const QUEUE_DEVICE_LOW = 0x0a0;
const QUEUE_DEVICE_HIGH = 0x0a4;
const SHM_LEN_LOW = 0x0b0;
const SHM_BASE_HIGH = 0x0bc;
export const CONFIG_GENERATION = 0x0fc;
export const CONFIG = 0x100;
// §4.2.4, version 1 only.
export const GUEST_PAGE_SIZE = 0x028;
export const QUEUE_ALIGN = 0x03c;
export const QUEUE_PFN = 0x040;

/** "virt". */
const MAGIC = 0x74726976;
/** "QEMU". */
const VENDOR = 0x554d4551;

const INTERRUPT_QUEUE = 0x1;
const INTERRUPT_CONFIG = 0x2;

const PAGE_SIZE = 4096;

/** Words of VirtQueue.addressWords by register. */
const ADDRESS_WORDS: Record<number, number> = {
  [QUEUE_DESC_LOW]: QUEUE_DESC,
  [QUEUE_DESC_HIGH]: QUEUE_DESC + 1,
  [QUEUE_DRIVER_LOW]: QUEUE_DRIVER,
  [QUEUE_DRIVER_HIGH]: QUEUE_DRIVER + 1,
  [QUEUE_DEVICE_LOW]: QUEUE_DEVICE,
  [QUEUE_DEVICE_HIGH]: QUEUE_DEVICE + 1,
};

export interface VirtioMmioOptions {
  /** Version 1 instead of 2. */
  readonly legacy?: boolean;
}

export class VirtioMmio implements BusDevice, VirtioTransport {
  readonly device: VirtioDevice;
  private readonly irq: IrqLine;
  private readonly legacy: boolean;
  private deviceFeaturesSel = 0;
  private driverFeaturesSel = 0;
  private queueSel = 0;
  private interruptStatus = 0;
  private guestPageSize = PAGE_SIZE;
  private queueAlign = PAGE_SIZE;

  constructor(device: VirtioDevice, irq: IrqLine, options: VirtioMmioOptions = {}) {
    this.device = device;
    this.irq = irq;
    this.legacy = options.legacy ?? false;
    device.transport = this;
  }

  /** The machine is reset. */
  reset(): void {
    this.device.reset();
    this.resetRegisters();
  }

  queueInterrupt(): void {
    this.setInterruptStatus(this.interruptStatus | INTERRUPT_QUEUE);
  }

  configInterrupt(): void {
    this.setInterruptStatus(this.interruptStatus | INTERRUPT_CONFIG);
  }

  /** Below CONFIG only aligned 32-bit accesses count (§4.2.2.2). */
  read(offset: number, size: AccessSize): number {
    if (offset >= CONFIG) return this.device.readConfig(offset - CONFIG, size);
    if (size !== 4) return 0;
    const { device } = this;
    const queue = device.queues[this.queueSel];
    switch (offset) {
      case MAGIC_VALUE:
        return MAGIC;
      case VERSION:
        return this.legacy ? 1 : 2;
      case DEVICE_ID:
        return device.id;
      case VENDOR_ID:
        return VENDOR;
      case DEVICE_FEATURES:
        return device.offeredWord(this.deviceFeaturesSel, this.legacy);
      case QUEUE_NUM_MAX:
        return queue?.maxSize ?? 0;
      case QUEUE_PFN:
        return this.legacy ? device.legacyQueuePage(this.queueSel, this.guestPageSize) : 0;
      case QUEUE_READY:
        return !this.legacy && queue?.ready ? 1 : 0;
      case INTERRUPT_STATUS:
        return this.interruptStatus;
      case STATUS:
        return device.status;
      case CONFIG_GENERATION:
        return this.legacy ? 0 : device.configGeneration;
      default:
        // No shared memory region: all ones (§4.2.2.1).
        return offset >= SHM_LEN_LOW && offset <= SHM_BASE_HIGH ? 0xffffffff : 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { device } = this;
    if (offset >= CONFIG) {
      device.writeConfig(offset - CONFIG, size, value);
      return;
    }
    if (size !== 4) return;
    switch (offset) {
      case DEVICE_FEATURES_SEL:
        this.deviceFeaturesSel = value;
        break;
      case DRIVER_FEATURES:
        device.acceptWord(this.driverFeaturesSel, value, this.legacy);
        break;
      case DRIVER_FEATURES_SEL:
        this.driverFeaturesSel = value;
        break;
      case QUEUE_SEL:
        this.queueSel = value;
        break;
      case QUEUE_NOTIFY:
        device.notify(value);
        break;
      case INTERRUPT_ACK:
        this.setInterruptStatus(this.interruptStatus & ~value);
        break;
      case STATUS:
        if ((value & 0xff) === 0) this.resetRegisters();
        device.writeStatus(value & 0xff, this.legacy);
        break;
      default:
        if (this.legacy) this.writeLegacyQueue(offset, value);
        else this.writeQueue(offset, value);
    }
  }

  private writeQueue(offset: number, value: number): void {
    const { device } = this;
    const queue = device.queues[this.queueSel];
    if (!queue) return;
    if (offset === QUEUE_READY) {
      if (value === 1) device.enableQueue(this.queueSel);
      else if (value === 0) device.resetQueue(this.queueSel);
      return;
    }
    if (queue.ready || !device.queuesConfigurable) return;
    if (offset === QUEUE_NUM) queue.size = value;
    else if (ADDRESS_WORDS[offset] !== undefined) queue.addressWords[ADDRESS_WORDS[offset]] = value;
  }

  private writeLegacyQueue(offset: number, value: number): void {
    const queue = this.device.queues[this.queueSel];
    switch (offset) {
      case GUEST_PAGE_SIZE:
        if (isPowerOfTwo(value)) this.guestPageSize = value;
        break;
      case QUEUE_ALIGN:
        if (isPowerOfTwo(value)) this.queueAlign = value;
        break;
      case QUEUE_NUM:
        if (queue && !queue.ready) queue.size = value;
        break;
      case QUEUE_PFN:
        this.device.enableLegacyQueue(this.queueSel, value, this.guestPageSize, this.queueAlign);
        break;
    }
  }

  private resetRegisters(): void {
    this.deviceFeaturesSel = 0;
    this.driverFeaturesSel = 0;
    this.queueSel = 0;
    this.guestPageSize = PAGE_SIZE;
    this.queueAlign = PAGE_SIZE;
    this.setInterruptStatus(0);
  }

  private setInterruptStatus(status: number): void {
    this.interruptStatus = status;
    this.irq.set(status !== 0);
  }
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
