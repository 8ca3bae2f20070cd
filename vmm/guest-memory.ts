/** Guest RAM as devices see it: one block of bytes from guest physical address 0. */

import { type GuestMemory, GuestMemoryError } from '../devices/bus.ts';

/** Hears that a device stored `length` bytes at guest physical `address`, so that stale translations go. */
export type WrittenCallback = (address: number, length: number) => void;

/** RAM in a part of an ArrayBuffer, usually the machine's WebAssembly.Memory. */
export class RamGuestMemory implements GuestMemory {
  readonly size: number;
  readonly bytes: Uint8Array;
  private readonly words: DataView;
  private readonly onWritten: WrittenCallback;

  /** @param byteOffset where guest physical address 0 lies in `buffer`. @param size bytes of RAM. */
  constructor(buffer: ArrayBufferLike, byteOffset: number, size: number, onWritten: WrittenCallback) {
    this.size = size;
    this.bytes = new Uint8Array(buffer, byteOffset, size);
    this.words = new DataView(buffer, byteOffset, size);
    this.onWritten = onWritten;
  }

  contains(address: number, length: number): boolean {
    return (
      address >= 0 &&
      length >= 0 &&
      address + length <= this.size &&
      Math.floor(address) === address &&
      Math.floor(length) === length
    );
  }

  read8(address: number): number {
    this.check(address, 1);
    return this.bytes[address];
  }

  read16(address: number): number {
    this.check(address, 2);
    return this.words.getUint16(address, true);
  }

  read32(address: number): number {
    this.check(address, 4);
    return this.words.getUint32(address, true);
  }

  read64(address: number): number {
    this.check(address, 8);
    return this.words.getUint32(address, true) + this.words.getUint32(address + 4, true) * 2 ** 32;
  }

  write8(address: number, value: number): void {
    this.check(address, 1);
    this.bytes[address] = value;
    this.onWritten(address, 1);
  }

  write16(address: number, value: number): void {
    this.check(address, 2);
    this.words.setUint16(address, value, true);
    this.onWritten(address, 2);
  }

  write32(address: number, value: number): void {
    this.check(address, 4);
    this.words.setUint32(address, value, true);
    this.onWritten(address, 4);
  }

  write64(address: number, value: number): void {
    this.check(address, 8);
    this.words.setUint32(address, value >>> 0, true);
    this.words.setUint32(address + 4, Math.floor(value / 2 ** 32) >>> 0, true);
    this.onWritten(address, 8);
  }

  view(address: number, length: number): Uint8Array {
    this.check(address, length);
    return this.bytes.subarray(address, address + length);
  }

  written(address: number, length: number): void {
    this.onWritten(address, length);
  }

  private check(address: number, length: number): void {
    if (!this.contains(address, length)) throw new GuestMemoryError(address, length);
  }
}
