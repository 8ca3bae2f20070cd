/**
 * A bounded queue of bytes between a socket and the guest. Bytes may also be stored ahead of the queue's end, with a
 * gap, and be committed once the gap is filled: that is how TCP segments that overtook others wait in place.
 *
 * The storage is borrowed from a pool while there is something to hold, so thousands of idle connections cost nothing.
 */

import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from './backend.ts';
import { fold, sumBytes } from './checksum.ts';
import { copyBytes, scatter } from './segments.ts';

/** Bytes a ring holds: several of the largest TCP segments (64 KiB); a power of two. */
export const RING_CAPACITY = 256 * 1024;
const MASK = RING_CAPACITY - 1;

/** Storages kept for reuse; more are left to the garbage collector. */
const POOL_LIMIT = 32;
const pool: Buffer[] = [];
const EMPTY = Buffer.alloc(0);

export class ByteRing {
  /** Bytes in the queue. */
  length = 0;
  private start = 0;
  /** How far beyond the queue's end bytes were stored and not yet committed. */
  private ahead = 0;
  private storage: Buffer = EMPTY;

  /** Bytes that can be appended. */
  get free(): number {
    return RING_CAPACITY - this.length;
  }

  /** Stores bytes `gap` bytes beyond the queue's end, without appending them; gap + length must be within `free`. */
  store(gap: number, source: Uint8Array, from: number, length: number): void {
    if (this.storage.length === 0) this.storage = pool.pop() ?? Buffer.alloc(RING_CAPACITY);
    const at = (this.start + this.length + gap) & MASK;
    const first = Math.min(length, RING_CAPACITY - at);
    copyBytes(this.storage, at, source, from, first);
    copyBytes(this.storage, 0, source, from + first, length - first);
    this.ahead = Math.max(this.ahead, gap + length);
  }

  /** Appends the next `length` bytes that were stored beyond the end. */
  commit(length: number): void {
    this.length += length;
    this.ahead = Math.max(0, this.ahead - length);
  }

  push(source: Uint8Array, from: number, length: number): void {
    this.store(0, source, from, length);
    this.commit(length);
  }

  /** Removes bytes at the front. */
  skip(length: number): void {
    this.start = (this.start + length) & MASK;
    this.length -= length;
    if (this.length === 0 && this.ahead === 0) this.giveBack();
  }

  /** One byte, `offset` bytes from the front. */
  at(offset: number): number {
    return this.storage[(this.start + offset) & MASK];
  }

  /** The bytes at the front, as far as they lie in one piece; a view, valid until they are skipped. */
  front(): Buffer {
    return this.storage.subarray(this.start, Math.min(this.start + this.length, RING_CAPACITY));
  }

  /** Copies `length` bytes from `offset` on into guest RAM, beginning `at` bytes into the list. */
  scatter(offset: number, length: number, memory: GuestMemory, segments: SegmentList, at: number): void {
    const from = (this.start + offset) & MASK;
    const first = Math.min(length, RING_CAPACITY - from);
    scatter(memory, segments, at, this.storage, from, first);
    if (length > first) scatter(memory, segments, at + first, this.storage, 0, length - first);
  }

  /** The internet checksum's sum (RFC 1071) over `length` bytes from `offset` on. @returns 16 bits */
  sum(offset: number, length: number): number {
    const from = (this.start + offset) & MASK;
    const first = Math.min(length, RING_CAPACITY - from);
    const sum = sumBytes(this.storage, from, first);
    if (first === length) return sum;
    const second = sumBytes(this.storage, 0, length - first);
    // After an odd number of bytes high and low change places.
    return fold(sum + (first & 1 ? ((second & 0xff) << 8) | (second >>> 8) : second));
  }

  /** Forgets everything. The storage is not reused: a write of the kernel may still be reading it. */
  abandon(): void {
    this.storage = EMPTY;
    this.start = 0;
    this.length = 0;
    this.ahead = 0;
  }

  private giveBack(): void {
    if (this.storage.length !== 0 && pool.length < POOL_LIMIT) pool.push(this.storage);
    this.storage = EMPTY;
    // From the start again: a queue that is emptied often touches few pages.
    this.start = 0;
  }
}
