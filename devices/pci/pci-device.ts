/**
 * One PCI function with a type 0 header: identity, command and status, base address registers, INTx and the chain of
 * capabilities (PCI Local Bus 3.0 §6). Devices derive from it or own one; MSI-X is in msix.ts.
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { MmioBus } from '../mmio-bus.ts';
import type { PortBus } from '../port-bus.ts';
import {
  CONFIG_SPACE_SIZE,
  ConfigSpace,
  PCI_BASE_ADDRESS_0,
  PCI_CAPABILITY_LIST,
  PCI_CLASS_PROG,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE_ID,
  PCI_DEVICE_SPECIFIC,
  PCI_HEADER_MULTIFUNCTION,
  PCI_HEADER_TYPE,
  PCI_INTERRUPT_PIN,
  PCI_REVISION_ID,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STATUS_INTERRUPT,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from './config-space.ts';
import { Msix } from './msix.ts';

export const BAR_COUNT = 6;

// Low bits of a base address register, §6.2.5.1.
const BAR_IO = 0x1;
const BAR_MEMORY_64 = 0x4;
const BAR_PREFETCHABLE = 0x8;

/** Takes message-signalled interrupts: a write of `data` (32 bits) to physical `address`. */
export interface MsiSink {
  send(address: number, data: number): void;
}

/** What a function sees of the bus it sits on. */
export interface PciSlot {
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  readonly msi: MsiSink;
  /** The function's INTx pin changed to `level`; called for changes only. */
  setIntx(level: boolean): void;
}

export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId?: number;
  /** Base class, subclass and programming interface in one 24-bit number, as 0x020000 for Ethernet. */
  readonly classCode: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 1…4 for INTA#…INTD#; absent: none. */
  readonly interruptPin?: number;
  readonly multifunction?: boolean;
}

/** A base address register and the window behind it. */
export interface Bar {
  readonly index: number;
  readonly kind: 'io' | 'memory';
  /** Occupies two registers. */
  readonly is64: boolean;
  /** Bytes, a power of two. */
  readonly size: number;
  readonly device: BusDevice;
  /** Where the window is on its bus now; -1 when it is nowhere. */
  mappedAt: number;
}

export interface MemoryBarOptions {
  readonly is64?: boolean;
  readonly prefetchable?: boolean;
}

export class PciDevice {
  readonly config = new ConfigSpace();
  readonly bars: Bar[] = [];
  /** Set by {@link addMsix}. */
  msix: Msix | undefined;
  protected slot: PciSlot | undefined;
  private intxLevel = false;
  private intxDriven = false;
  private capabilityEnd = PCI_DEVICE_SPECIFIC;

  constructor(identity: PciIdentity) {
    const config = this.config;
    config.set16(PCI_VENDOR_ID, identity.vendorId);
    config.set16(PCI_DEVICE_ID, identity.deviceId);
    config.bytes[PCI_REVISION_ID] = identity.revisionId ?? 0;
    config.bytes[PCI_CLASS_PROG] = identity.classCode & 0xff;
    config.set16(PCI_CLASS_PROG + 1, identity.classCode >>> 8);
    config.set16(PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendorId ?? 0);
    config.set16(PCI_SUBSYSTEM_ID, identity.subsystemId ?? 0);
    config.bytes[PCI_INTERRUPT_PIN] = identity.interruptPin ?? 0;
    config.bytes[PCI_HEADER_TYPE] = identity.multifunction ? PCI_HEADER_MULTIFUNCTION : 0;
  }

  /** Puts the function on its bus; called once, by the bus. */
  attach(slot: PciSlot): void {
    this.slot = slot;
    this.updateMappings();
  }

  /** Declares BAR `index` as a window of `size` ports (a power of two, 4…256). */
  addIoBar(index: number, size: number, device: BusDevice): void {
    this.addBar({ index, kind: 'io', is64: false, size, device, mappedAt: -1 }, BAR_IO);
  }

  /** Declares BAR `index` as a window of `size` bytes of memory (a power of two, 16…2^31); 64-bit ones take two BARs. */
  addMemoryBar(index: number, size: number, device: BusDevice, options: MemoryBarOptions = {}): void {
    const is64 = options.is64 ?? false;
    const typeBits = (is64 ? BAR_MEMORY_64 : 0) | (options.prefetchable ? BAR_PREFETCHABLE : 0);
    this.addBar({ index, kind: 'memory', is64, size, device, mappedAt: -1 }, typeBits);
  }

  /**
   * Appends a capability: `id`, the link, then `body`, dword-aligned, read-only until `config.setWritable` says else.
   * The capability added last stands first in the chain.
   * @returns its offset in configuration space. @throws RangeError when the space is full.
   */
  addCapability(id: number, body: Uint8Array): number {
    const offset = this.capabilityEnd;
    const end = (offset + 2 + body.length + 3) & ~3;
    if (end > CONFIG_SPACE_SIZE) throw new RangeError('no room for another PCI capability');
    const config = this.config;
    config.bytes[offset] = id;
    config.bytes[offset + 1] = config.bytes[PCI_CAPABILITY_LIST];
    config.bytes.set(body, offset + 2);
    config.bytes[PCI_CAPABILITY_LIST] = offset;
    config.set16(PCI_STATUS, config.get16(PCI_STATUS) | PCI_STATUS_CAP_LIST);
    this.capabilityEnd = end;
    return offset;
  }

  /** Gives the function MSI-X with `vectors` entries, table and PBA in memory BAR `barIndex` of their own. */
  addMsix(barIndex: number, vectors: number): Msix {
    this.msix = new Msix(this, barIndex, vectors);
    return this.msix;
  }

  /** Drives the function's level-triggered INTx request; INTx-disable holds it back, the status bit shows it. */
  setInterrupt(level: boolean): void {
    this.intxLevel = level;
    const status = this.config.bytes[PCI_STATUS];
    this.config.bytes[PCI_STATUS] = level ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT;
    this.updateIntx();
  }

  /** Sends a message-signalled interrupt, if the function may master the bus. */
  sendMessage(address: number, data: number): void {
    if (this.busMasterEnabled) this.slot?.msi.send(address, data);
  }

  get busMasterEnabled(): boolean {
    return (this.config.bytes[PCI_COMMAND] & PCI_COMMAND_MASTER) !== 0;
  }

  /** A configuration read by the guest, inside the 256 bytes. Derived devices may override to refresh registers. */
  readConfig(offset: number, size: AccessSize): number {
    return this.config.read(offset, size);
  }

  /** A configuration write by the guest. Derived devices override to act on their registers, and call this first. */
  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.config.write(offset, size, value);
    const end = offset + size;
    if (offset < PCI_BASE_ADDRESS_0 + 4 * BAR_COUNT && end > PCI_COMMAND) {
      this.updateMappings();
      this.updateIntx();
    }
    this.msix?.configWritten();
  }

  /** RST#: no BAR is mapped, nothing is enabled, no interrupt is asserted. */
  reset(): void {
    this.config.reset();
    this.msix?.reset();
    this.setInterrupt(false);
    this.updateMappings();
  }

  /** The address now in the register(s) of `bar`; meaningless until the guest or the allocator assigned one. */
  barAddress(bar: Bar): number {
    const register = PCI_BASE_ADDRESS_0 + 4 * bar.index;
    const low = this.config.get32(register);
    if (bar.kind === 'io') return (low & ~0x3) >>> 0;
    const high = bar.is64 ? this.config.get32(register + 4) : 0;
    return high * 2 ** 32 + ((low & ~0xf) >>> 0);
  }

  private addBar(bar: Bar, typeBits: number): void {
    const register = PCI_BASE_ADDRESS_0 + 4 * bar.index;
    const registers = bar.is64 ? 2 : 1;
    const minimum = bar.kind === 'io' ? 4 : 16;
    if (
      bar.index < 0 ||
      bar.index + registers > BAR_COUNT ||
      bar.size < minimum ||
      !Number.isInteger(Math.log2(bar.size))
    )
      throw new RangeError(`BAR ${bar.index} cannot have ${bar.size} bytes`);
    this.config.set32(register, typeBits);
    this.config.setWritable(register, 4, ~(bar.size - 1));
    if (bar.is64) this.config.setWritable(register + 4, 4, 0xffffffff);
    this.bars.push(bar);
  }

  /** Puts every BAR's window where command register and BAR say (§6.2.5), and takes it away where they do not. */
  private updateMappings(): void {
    if (!this.slot) return;
    const command = this.config.bytes[PCI_COMMAND];
    for (const bar of this.bars) {
      const bus = bar.kind === 'io' ? this.slot.ports : this.slot.mmio;
      const enabled = (command & (bar.kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) !== 0;
      const address = enabled ? this.decodedAddress(bar) : -1;
      if (address === bar.mappedAt) continue;
      if (bar.mappedAt >= 0) bus.remove(bar.mappedAt, bar.device);
      if (address >= 0) bus.add(address, bar.size, bar.device);
      bar.mappedAt = address;
    }
  }

  /** -1 for what a BAR holds before it is assigned (0) and while it is being sized (the top of its space). */
  private decodedAddress(bar: Bar): number {
    const address = this.barAddress(bar);
    const last = address + bar.size - 1;
    const limit = bar.kind === 'io' ? 0xffff : bar.is64 ? 2 ** 52 - 1 : 0xfffffffe;
    return address === 0 || last > limit || (bar.is64 && last === 0xffffffff) ? -1 : address;
  }

  private updateIntx(): void {
    const disabled = (this.config.get16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0;
    const level = this.intxLevel && !disabled;
    if (level === this.intxDriven) return;
    this.intxDriven = level;
    this.slot?.setIntx(level);
  }
}
