/**
 * The 256-byte configuration space of one PCI function (PCI Local Bus 3.0 §6.1): plain bytes with, for every bit, what
 * a guest's write does to it.
 */

import type { AccessSize } from '../bus.ts';

export const CONFIG_SPACE_SIZE = 256;

// Type 0 header, §6.1 figure 6-1.
export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_REVISION_ID = 0x08;
export const PCI_CLASS_PROG = 0x09;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_HEADER_TYPE = 0x0e;
export const PCI_BASE_ADDRESS_0 = 0x10;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_CAPABILITY_LIST = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;
/** First byte behind the header: room for capabilities and device-specific registers. */
export const PCI_DEVICE_SPECIFIC = 0x40;

export const PCI_COMMAND_IO = 0x001;
export const PCI_COMMAND_MEMORY = 0x002;
export const PCI_COMMAND_MASTER = 0x004;
export const PCI_COMMAND_PARITY = 0x040;
export const PCI_COMMAND_SERR = 0x100;
export const PCI_COMMAND_INTX_DISABLE = 0x400;

export const PCI_STATUS_INTERRUPT = 0x0008;
export const PCI_STATUS_CAP_LIST = 0x0010;
/** The error bits, cleared by writing ones (§6.2.3). */
const PCI_STATUS_ERRORS = 0xf900;

export const PCI_HEADER_MULTIFUNCTION = 0x80;

export class ConfigSpace {
  readonly bytes = new Uint8Array(CONFIG_SPACE_SIZE);
  /** Bits a guest may change. */
  readonly writable = new Uint8Array(CONFIG_SPACE_SIZE);
  /** Bits a guest clears by writing ones. */
  readonly writeOneToClear = new Uint8Array(CONFIG_SPACE_SIZE);
  private readonly view = new DataView(this.bytes.buffer);

  constructor() {
    this.setWritable(
      PCI_COMMAND,
      2,
      PCI_COMMAND_IO |
        PCI_COMMAND_MEMORY |
        PCI_COMMAND_MASTER |
        PCI_COMMAND_PARITY |
        PCI_COMMAND_SERR |
        PCI_COMMAND_INTX_DISABLE,
    );
    this.setWritable(PCI_CACHE_LINE_SIZE, 1, 0xff);
    this.setWritable(PCI_INTERRUPT_LINE, 1, 0xff);
    this.writeOneToClear[PCI_STATUS + 1] = PCI_STATUS_ERRORS >> 8;
  }

  /** The `size` bytes at `offset`, unsigned; bytes behind the end of the space read as ones. */
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      value |= (offset + i < CONFIG_SPACE_SIZE ? this.bytes[offset + i] : 0xff) << (8 * i);
    }
    return value >>> 0;
  }

  /** A guest's write: only writable bits change; bytes behind the end of the space are dropped. */
  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size && offset + i < CONFIG_SPACE_SIZE; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const mask = this.writable[at];
      this.bytes[at] = ((this.bytes[at] & ~mask) | (byte & mask)) & ~(byte & this.writeOneToClear[at]);
    }
  }

  get16(offset: number): number {
    return this.view.getUint16(offset, true);
  }

  set16(offset: number, value: number): void {
    this.view.setUint16(offset, value, true);
  }

  get32(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  set32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  /** Lets guests change the bits of `mask` in the `size`-byte register at `offset`. */
  setWritable(offset: number, size: AccessSize, mask: number): void {
    for (let i = 0; i < size; i++) this.writable[offset + i] = (mask >>> (8 * i)) & 0xff;
  }

  /** All that a guest can change goes back to zero. */
  reset(): void {
    for (let i = 0; i < CONFIG_SPACE_SIZE; i++) this.bytes[i] &= ~(this.writable[i] | this.writeOneToClear[i]);
  }
}
