/** The driver's side of a split virtqueue, for tests: lays rings into guest RAM and reads back what the device did. */

import { RamGuestMemory } from '../../../vmm/guest-memory.ts';

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

export interface Piece {
  address: number;
  length: number;
  write?: boolean;
}

/** Guard bytes on both sides of a test's RAM: a device must never touch them. */
const GUARD = 4096;
const GUARD_BYTE = 0xa5;

export interface TestMemory {
  memory: RamGuestMemory;
  written: { address: number; length: number }[];
  /** Throws if a byte outside RAM changed. */
  checkGuards(): void;
}

export function makeMemory(size: number): TestMemory {
  const buffer = new ArrayBuffer(size + 2 * GUARD);
  const all = new Uint8Array(buffer).fill(GUARD_BYTE);
  const written: { address: number; length: number }[] = [];
  const memory = new RamGuestMemory(buffer, GUARD, size, (address, length) => written.push({ address, length }));
  memory.bytes.fill(0);
  return {
    memory,
    written,
    checkGuards() {
      const outside = [...all.subarray(0, GUARD), ...all.subarray(GUARD + size)];
      if (outside.some((byte) => byte !== GUARD_BYTE)) throw new Error('the device wrote outside RAM');
    },
  };
}

export class RingDriver {
  readonly memory: RamGuestMemory;
  readonly base: number;
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** Room for indirect tables behind the rings; deliberately at an odd address. */
  indirectAt: number;
  private availIdx = 0;
  private usedIdx = 0;
  private nextDescriptor = 0;

  /** Rings in one block at `base` (page-aligned), in the legacy layout, which modern addresses can express too. */
  constructor(memory: RamGuestMemory, base: number, size: number) {
    this.memory = memory;
    this.base = base;
    this.size = size;
    this.desc = base;
    this.avail = base + 16 * size;
    this.used = Math.ceil((this.avail + 6 + 2 * size) / 4096) * 4096;
    this.indirectAt = this.used + 6 + 8 * size + 1;
  }

  /** The words of VirtQueue.addressWords. */
  get addressWords(): number[] {
    return [this.desc, 0, this.avail, 0, this.used, 0];
  }

  writeDescriptor(at: number, address: number, length: number, flags: number, next: number): void {
    this.memory.write64(at, address);
    this.memory.write32(at + 8, length);
    this.memory.write16(at + 12, flags);
    this.memory.write16(at + 14, next);
  }

  descriptor(index: number, address: number, length: number, flags = 0, next = 0): void {
    this.writeDescriptor(this.desc + 16 * index, address, length, flags, next);
  }

  /** Fills in a chain of direct descriptors. @returns its head. */
  chain(pieces: Piece[]): number {
    const head = this.nextDescriptor;
    for (const [i, piece] of pieces.entries()) {
      const index = (head + i) % this.size;
      const flags = (piece.write ? WRITE : 0) | (i < pieces.length - 1 ? NEXT : 0);
      this.descriptor(index, piece.address, piece.length, flags, (index + 1) % this.size);
    }
    this.nextDescriptor = (head + pieces.length) % this.size;
    return head;
  }

  /** Writes an indirect table of `pieces`. @returns its place and length. */
  table(pieces: Piece[]): Piece {
    const address = this.indirectAt;
    for (const [i, piece] of pieces.entries()) {
      const flags = (piece.write ? WRITE : 0) | (i < pieces.length - 1 ? NEXT : 0);
      this.writeDescriptor(address + 16 * i, piece.address, piece.length, flags, i + 1);
    }
    this.indirectAt += 16 * pieces.length;
    return { address, length: 16 * pieces.length };
  }

  /** Makes the chain at `head` available. */
  offer(head: number): void {
    this.memory.write16(this.avail + 4 + 2 * (this.availIdx % this.size), head);
    this.setAvailIdx(this.availIdx + 1);
  }

  setAvailIdx(index: number): void {
    this.availIdx = index & 0xffff;
    this.memory.write16(this.avail + 2, this.availIdx);
  }

  add(pieces: Piece[]): number {
    const head = this.chain(pieces);
    this.offer(head);
    return head;
  }

  addIndirect(pieces: Piece[], direct: Piece[] = []): number {
    const table = this.table(pieces);
    const head = this.chain([...direct, table]);
    const last = (head + direct.length) % this.size;
    this.memory.write16(this.desc + 16 * last + 12, INDIRECT);
    this.offer(head);
    return head;
  }

  get usedFlags(): number {
    return this.memory.read16(this.used);
  }

  get availEvent(): number {
    return this.memory.read16(this.used + 4 + 8 * this.size);
  }

  set usedEvent(index: number) {
    this.memory.write16(this.avail + 4 + 2 * this.size, index & 0xffff);
  }

  set noInterrupt(on: boolean) {
    this.memory.write16(this.avail, on ? 1 : 0);
  }

  /** The used entries that are new since the last call. */
  takeUsed(): { id: number; length: number }[] {
    const fresh: { id: number; length: number }[] = [];
    const end = this.memory.read16(this.used + 2);
    for (; this.usedIdx !== end; this.usedIdx = (this.usedIdx + 1) & 0xffff) {
      const element = this.used + 4 + 8 * (this.usedIdx % this.size);
      fresh.push({ id: this.memory.read32(element), length: this.memory.read32(element + 4) });
    }
    return fresh;
  }
}
