/**
 * MSI-X (PCI Local Bus 3.0 §6.8.2): the capability, and the table and pending bits in a memory BAR of their own, laid
 * out as QEMU does (table at 0, PBA in the upper half).
 */

import type { AccessSize, BusDevice } from '../bus.ts';
import type { PciDevice } from './pci-device.ts';

const PCI_CAP_ID_MSIX = 0x11;

// Message control, §6.8.2.3.
const MSIX_CONTROL = 2;
const MSIX_CONTROL_FUNCTION_MASK = 0x4000;
const MSIX_CONTROL_ENABLE = 0x8000;

// Table entry, §6.8.2.6…9.
const ENTRY_DWORDS = 4;
const ENTRY_ADDRESS_LOW = 0;
const ENTRY_ADDRESS_HIGH = 1;
const ENTRY_DATA = 2;
const ENTRY_CONTROL = 3;
const ENTRY_CONTROL_MASKED = 1;

const MAX_VECTORS = 2048;

export class Msix implements BusDevice {
  readonly vectors: number;
  private readonly device: PciDevice;
  private readonly capability: number;
  private readonly table: Uint32Array;
  private readonly pending: Uint32Array;
  private readonly pbaOffset: number;

  constructor(device: PciDevice, barIndex: number, vectors: number) {
    if (!(vectors >= 1 && vectors <= MAX_VECTORS)) throw new RangeError(`MSI-X cannot have ${vectors} vectors`);
    this.device = device;
    this.vectors = vectors;
    this.table = new Uint32Array(vectors * ENTRY_DWORDS);
    this.pending = new Uint32Array(Math.ceil(vectors / 64) * 2);
    let size = 4096;
    while (size / 2 < this.table.byteLength) size *= 2;
    this.pbaOffset = size / 2;
    device.addMemoryBar(barIndex, size, this);

    const body = new DataView(new ArrayBuffer(10));
    body.setUint16(0, vectors - 1, true);
    body.setUint32(2, barIndex, true);
    body.setUint32(6, this.pbaOffset | barIndex, true);
    this.capability = device.addCapability(PCI_CAP_ID_MSIX, new Uint8Array(body.buffer));
    device.config.setWritable(this.capability + MSIX_CONTROL, 2, MSIX_CONTROL_FUNCTION_MASK | MSIX_CONTROL_ENABLE);
    this.reset();
  }

  /** While true the function must not assert INTx. */
  get enabled(): boolean {
    return (this.device.config.get16(this.capability + MSIX_CONTROL) & MSIX_CONTROL_ENABLE) !== 0;
  }

  /** Signals `vector`; a masked one becomes pending. Does nothing for a vector there is not, or while disabled. */
  notify(vector: number): void {
    if (!(vector >= 0 && vector < this.vectors) || !this.enabled) return;
    if (this.masked(vector)) {
      this.pending[vector >>> 5] |= 1 << (vector & 31);
      return;
    }
    const entry = vector * ENTRY_DWORDS;
    const address = this.table[entry + ENTRY_ADDRESS_HIGH] * 2 ** 32 + this.table[entry + ENTRY_ADDRESS_LOW];
    this.device.sendMessage(address, this.table[entry + ENTRY_DATA]);
  }

  /** All vectors masked, none pending (§6.8.2.9). */
  reset(): void {
    this.table.fill(0);
    for (let entry = ENTRY_CONTROL; entry < this.table.length; entry += ENTRY_DWORDS) {
      this.table[entry] = ENTRY_CONTROL_MASKED;
    }
    this.pending.fill(0);
  }

  /** The device's configuration space was written: the function mask may be gone. */
  configWritten(): void {
    this.sendPending();
  }

  /** Table and PBA are read by whole dwords; smaller reads are undefined by the spec and give their part of the dword. */
  read(offset: number, size: AccessSize): number {
    const dword = this.readDword(offset & ~3);
    return size === 4 ? dword : (dword >>> (8 * (offset & 3))) & (size === 2 ? 0xffff : 0xff);
  }

  /** Only aligned dword writes to the table count (§6.8.2: software must use dword accesses); the PBA is read-only. */
  write(offset: number, size: AccessSize, value: number): void {
    const index = offset >>> 2;
    if (size !== 4 || (offset & 3) !== 0 || index >= this.table.length) return;
    this.table[index] = value;
    this.sendPending();
  }

  private readDword(offset: number): number {
    const index = offset >>> 2;
    if (index < this.table.length) return this.table[index];
    const word = (offset - this.pbaOffset) >>> 2;
    return offset >= this.pbaOffset && word < this.pending.length ? this.pending[word] : 0;
  }

  private masked(vector: number): boolean {
    const control = this.device.config.get16(this.capability + MSIX_CONTROL);
    return (
      (control & MSIX_CONTROL_FUNCTION_MASK) !== 0 ||
      (this.table[vector * ENTRY_DWORDS + ENTRY_CONTROL] & ENTRY_CONTROL_MASKED) !== 0
    );
  }

  private sendPending(): void {
    if (!this.enabled) return;
    for (let word = 0; word < this.pending.length; word++) {
      for (let bits = this.pending[word]; bits !== 0; bits &= bits - 1) {
        const vector = word * 32 + 31 - Math.clz32(bits & -bits);
        if (this.masked(vector)) continue;
        this.pending[word] &= ~(1 << (vector & 31));
        this.notify(vector);
      }
    }
  }
}
