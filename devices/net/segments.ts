/** Copies between host buffers and the scatter-gather lists of guest RAM that network devices hand over. */

import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from './backend.ts';

/** From this length on, a view and a block copy beat a loop (measured: a view costs about as much as 64 bytes). */
const BLOCK_COPY_BYTES = 64;

/** Copies `length` bytes between arrays that do not overlap. */
export function copyBytes(target: Uint8Array, to: number, source: Uint8Array, from: number, length: number): void {
  if (length < BLOCK_COPY_BYTES) {
    for (let i = 0; i < length; i++) target[to + i] = source[from + i];
  } else {
    target.set(source.subarray(from, from + length), to);
  }
}

/** @returns bytes in all pieces. */
export function segmentsLength(segments: SegmentList): number {
  let total = 0;
  for (let i = 0; i < segments.count; i++) total += segments.length[i];
  return total;
}

/**
 * Copies guest RAM out into `target` from `offset` on.
 * @returns bytes copied, or -1 when they do not fit (nothing useful was copied then).
 */
export function gather(memory: GuestMemory, segments: SegmentList, target: Uint8Array, offset: number): number {
  let end = offset;
  for (let i = 0; i < segments.count; i++) {
    const length = segments.length[i];
    if (end + length > target.length) return -1;
    copyBytes(target, end, memory.bytes, segments.address[i], length);
    end += length;
  }
  return end - offset;
}

/**
 * Copies `length` bytes of `source` into guest RAM, beginning `at` bytes into the list. The caller has checked that
 * they fit.
 */
export function scatter(
  memory: GuestMemory,
  segments: SegmentList,
  at: number,
  source: Uint8Array,
  from: number,
  length: number,
): void {
  for (let i = 0; i < segments.count && length > 0; i++) {
    const room = segments.length[i] - at;
    if (room <= 0) {
      at -= segments.length[i];
      continue;
    }
    const count = Math.min(room, length);
    const address = segments.address[i] + at;
    copyBytes(memory.bytes, address, source, from, count);
    memory.written(address, count);
    from += count;
    length -= count;
    at = 0;
  }
}
