/**
 * Virtio over PCI (virtio 1.2 §4.1): a transitional function with a legacy window in I/O BAR 0 and the 1.x structures
 * in memory BAR 4, MSI-X in BAR 1, as QEMU lays them out. Interrupts go by MSI-X where the driver enabled it, else by
 * INTx and the ISR register.
 */

import type { AccessSize } from '../bus.ts';
import { PciDevice } from '../pci/pci-device.ts';
import { PciLegacyWindow } from './pci-legacy-window.ts';
import {
  COMMON_OFFSET,
  DEVICE_OFFSET,
  ISR_OFFSET,
  MODERN_WINDOW_SIZE,
  NOTIFY_OFF_MULTIPLIER,
  NOTIFY_OFFSET,
  PciModernWindow,
  STRUCTURE_SIZE,
} from './pci-modern-window.ts';
import {
  VIRTIO_ID_9P,
  VIRTIO_ID_BLOCK,
  VIRTIO_ID_ENTROPY,
  VIRTIO_ID_NET,
  type VirtioDevice,
  type VirtioTransport,
} from './virtio-device.ts';

const VIRTIO_VENDOR_ID = 0x1af4;
/** §4.1.2: plus the device type. */
const MODERN_DEVICE_ID = 0x1040;
/** Subsystem id of functions without a legacy interface, as QEMU gives it. */
const MODERN_SUBSYSTEM_ID = 0x1100;

const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;

/** No MSI-X vector for this event (§4.1.5.1.2.1). */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

// ISR status, §4.1.4.5.
const ISR_QUEUE = 0x1;
const ISR_CONFIG = 0x2;

// Vendor capabilities, §4.1.4. Offsets count from the start of the capability.
const PCI_CAP_ID_VNDR = 0x09;
const VIRTIO_PCI_CAP_COMMON_CFG = 1;
const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
const VIRTIO_PCI_CAP_ISR_CFG = 3;
const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
const VIRTIO_PCI_CAP_PCI_CFG = 5;
const CAP_BAR = 4;
const CAP_OFFSET = 8;
const CAP_LENGTH = 12;
const CAP_SIZE = 16;
/** What follows struct virtio_pci_cap: notify_off_multiplier, pci_cfg_data. */
const CAP_EXTRA = 16;

interface PciNumbers {
  /** Device id of the transitional function (§4.1.2). */
  readonly transitionalId: number;
  readonly classCode: number;
}

const PCI_NUMBERS: Record<number, PciNumbers> = {
  [VIRTIO_ID_NET]: { transitionalId: 0x1000, classCode: 0x020000 },
  [VIRTIO_ID_BLOCK]: { transitionalId: 0x1001, classCode: 0x010000 },
  [VIRTIO_ID_ENTROPY]: { transitionalId: 0x1005, classCode: 0x00ff00 },
  [VIRTIO_ID_9P]: { transitionalId: 0x1009, classCode: 0x000200 },
};

/** `-device virtio-…-pci,disable-legacy=…,disable-modern=…` */
export interface VirtioPciOptions {
  readonly disableLegacy?: boolean;
  readonly disableModern?: boolean;
}

export class VirtioPci extends PciDevice implements VirtioTransport {
  readonly device: VirtioDevice;
  /** The queue that the driver's next queue registers mean. */
  queueSelect = 0;
  private readonly modernWindow: PciModernWindow | undefined;
  /** Offset of the PCI configuration access capability; 0: none. */
  private pciCfg = 0;
  private isr = 0;
  private configVectorValue = VIRTIO_MSI_NO_VECTOR;
  private readonly queueVectors: Uint16Array;

  /** @throws RangeError when both interfaces are disabled. */
  constructor(device: VirtioDevice, options: VirtioPciOptions = {}) {
    const { disableLegacy = false, disableModern = false } = options;
    if (disableLegacy && disableModern) throw new RangeError('disable-legacy and disable-modern leave no interface');
    const numbers = PCI_NUMBERS[device.id];
    super({
      vendorId: VIRTIO_VENDOR_ID,
      deviceId: disableLegacy ? MODERN_DEVICE_ID + device.id : numbers.transitionalId,
      revisionId: disableLegacy ? 1 : 0,
      classCode: numbers.classCode,
      subsystemVendorId: VIRTIO_VENDOR_ID,
      subsystemId: disableLegacy ? MODERN_SUBSYSTEM_ID : device.id,
      interruptPin: 1,
    });
    this.device = device;
    device.transport = this;
    this.queueVectors = new Uint16Array(device.queues.length).fill(VIRTIO_MSI_NO_VECTOR);
    this.addMsix(MSIX_BAR, device.queues.length + 1);
    if (!disableLegacy) {
      const window = new PciLegacyWindow(this);
      this.addIoBar(LEGACY_BAR, window.size, window);
    }
    if (!disableModern) {
      this.modernWindow = new PciModernWindow(this);
      this.addMemoryBar(MODERN_BAR, MODERN_WINDOW_SIZE, this.modernWindow, { is64: true, prefetchable: true });
      this.addVirtioCapability(VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET);
      this.addVirtioCapability(VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET);
      if (device.configSize > 0) this.addVirtioCapability(VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFFSET);
      this.addVirtioCapability(VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFFSET, NOTIFY_OFF_MULTIPLIER);
      this.pciCfg = this.addVirtioCapability(VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
      this.config.setWritable(this.pciCfg + CAP_BAR, 1, 0xff);
      this.config.setWritable(this.pciCfg + CAP_OFFSET, 4, 0xffffffff);
      this.config.setWritable(this.pciCfg + CAP_LENGTH, 4, 0xffffffff);
      this.config.setWritable(this.pciCfg + CAP_EXTRA, 4, 0xffffffff);
    }
  }

  get msixEnabled(): boolean {
    return this.msix?.enabled ?? false;
  }

  get configVector(): number {
    return this.configVectorValue;
  }

  /** A vector that does not exist reads back as none (§4.1.5.1.2.1). */
  set configVector(vector: number) {
    this.configVectorValue = this.existingVector(vector);
  }

  /** The vector of the selected queue. */
  get queueVector(): number {
    return this.queueVectors[this.queueSelect] ?? VIRTIO_MSI_NO_VECTOR;
  }

  set queueVector(vector: number) {
    if (this.queueSelect < this.queueVectors.length) this.queueVectors[this.queueSelect] = this.existingVector(vector);
  }

  /** The ISR register: reading clears it and takes INTx away. */
  takeIsr(): number {
    const isr = this.isr;
    this.isr = 0;
    this.updateInterrupt();
    return isr;
  }

  writeStatus(value: number, legacy: boolean): void {
    if (value === 0) this.resetRegisters();
    this.device.writeStatus(value, legacy);
  }

  queueInterrupt(index: number): void {
    if (this.msixEnabled) {
      this.msix?.notify(this.queueVectors[index]);
      return;
    }
    this.isr |= ISR_QUEUE;
    this.updateInterrupt();
  }

  configInterrupt(): void {
    this.isr |= ISR_CONFIG;
    this.msix?.notify(this.configVectorValue);
    this.updateInterrupt();
  }

  override readConfig(offset: number, size: AccessSize): number {
    if (this.touchesPciCfgData(offset, size)) this.accessThroughConfig(false);
    return super.readConfig(offset, size);
  }

  override writeConfig(offset: number, size: AccessSize, value: number): void {
    super.writeConfig(offset, size, value);
    this.updateInterrupt(); // MSI-X may have been switched
    if (this.touchesPciCfgData(offset, size)) this.accessThroughConfig(true);
  }

  override reset(): void {
    this.device.reset();
    this.resetRegisters();
    super.reset();
  }

  private resetRegisters(): void {
    this.isr = 0;
    this.queueSelect = 0;
    this.configVectorValue = VIRTIO_MSI_NO_VECTOR;
    this.queueVectors.fill(VIRTIO_MSI_NO_VECTOR);
    this.modernWindow?.reset();
    this.updateInterrupt();
  }

  private existingVector(vector: number): number {
    return vector < (this.msix?.vectors ?? 0) ? vector : VIRTIO_MSI_NO_VECTOR;
  }

  private updateInterrupt(): void {
    this.setInterrupt(this.isr !== 0 && !this.msixEnabled);
  }

  /** @returns the capability's offset in configuration space. */
  private addVirtioCapability(cfgType: number, offset: number, extra?: number): number {
    const length = CAP_SIZE + (extra === undefined ? 0 : 4);
    const capability = new DataView(new ArrayBuffer(length));
    capability.setUint8(2, length);
    capability.setUint8(3, cfgType);
    if (cfgType !== VIRTIO_PCI_CAP_PCI_CFG) {
      capability.setUint8(CAP_BAR, MODERN_BAR);
      capability.setUint32(CAP_OFFSET, offset, true);
      capability.setUint32(CAP_LENGTH, STRUCTURE_SIZE, true);
    }
    if (extra !== undefined) capability.setUint32(CAP_EXTRA, extra, true);
    return this.addCapability(PCI_CAP_ID_VNDR, new Uint8Array(capability.buffer, 2));
  }

  private touchesPciCfgData(offset: number, size: number): boolean {
    const data = this.pciCfg + CAP_EXTRA;
    return this.pciCfg !== 0 && offset < data + 4 && offset + size > data;
  }

  /** §4.1.4.9: reaches into the BAR that the capability names, for drivers that cannot map it. */
  private accessThroughConfig(write: boolean): void {
    const { config, pciCfg, modernWindow } = this;
    const offset = config.get32(pciCfg + CAP_OFFSET);
    const length = config.get32(pciCfg + CAP_LENGTH);
    if (!modernWindow || config.bytes[pciCfg + CAP_BAR] !== MODERN_BAR) return;
    if (length !== 1 && length !== 2 && length !== 4) return;
    if (offset % length !== 0 || offset + length > MODERN_WINDOW_SIZE) return;
    const data = pciCfg + CAP_EXTRA;
    if (write) modernWindow.write(offset, length, config.read(data, length));
    else config.set32(data, modernWindow.read(offset, length));
  }
}
