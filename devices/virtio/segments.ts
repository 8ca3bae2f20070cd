/** Scatter-gather lists over guest RAM: what descriptor chains become once they are checked. */

import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from '../net/backend.ts';

export type { SegmentList };

/** The list that every user reuses for chain after chain. */
export function createSegmentList(capacity: number): SegmentList {
  return { count: 0, address: new Float64Array(capacity), length: new Uint32Array(capacity) };
}

/** Bytes in the whole list; a double, because pieces may overlap and sum up to more than RAM. */
export function totalLength(list: SegmentList): number {
  let total = 0;
  for (let i = 0; i < list.count; i++) total += list.length[i];
  return total;
}

/** Drops the first `count` pieces. */
export function dropSegments(list: SegmentList, count: number): void {
  list.count -= count;
  // A loop: lists are short, and copyWithin costs more than a dozen of its steps.
  for (let i = 0; i < list.count; i++) {
    list.address[i] = list.address[i + count];
    list.length[i] = list.length[i + count];
  }
}

/** Drops the first `bytes` bytes; the list holds as many. */
export function skipBytes(list: SegmentList, bytes: number): void {
  let whole = 0;
  while (whole < list.count && bytes >= list.length[whole]) bytes -= list.length[whole++];
  dropSegments(list, whole);
  if (bytes > 0) {
    list.address[0] += bytes;
    list.length[0] -= bytes;
  }
}

/** Drops all but the first `bytes` bytes. */
export function truncate(list: SegmentList, bytes: number): void {
  for (let i = 0; i < list.count; i++) {
    if (bytes <= list.length[i]) {
      list.length[i] = bytes;
      list.count = bytes === 0 ? i : i + 1;
      return;
    }
    bytes -= list.length[i];
  }
}

/** Copies the bytes from `offset` on into all of `target`. @returns bytes copied, fewer where the list ends. */
export function gather(memory: GuestMemory, list: SegmentList, offset: number, target: Uint8Array): number {
  let done = 0;
  for (let i = 0; i < list.count && done < target.length; i++) {
    const length = list.length[i];
    if (offset >= length) {
      offset -= length;
      continue;
    }
    const start = list.address[i] + offset;
    const piece = Math.min(length - offset, target.length - done);
    for (let j = 0; j < piece; j++) target[done + j] = memory.bytes[start + j];
    done += piece;
    offset = 0;
  }
  return done;
}

/** Copies `source` over the bytes from `offset` on. @returns bytes copied, fewer where the list ends. */
export function scatter(memory: GuestMemory, list: SegmentList, offset: number, source: Uint8Array): number {
  let done = 0;
  for (let i = 0; i < list.count && done < source.length; i++) {
    const length = list.length[i];
    if (offset >= length) {
      offset -= length;
      continue;
    }
    const start = list.address[i] + offset;
    const piece = Math.min(length - offset, source.length - done);
    for (let j = 0; j < piece; j++) memory.bytes[start + j] = source[done + j];
    memory.written(start, piece);
    done += piece;
    offset = 0;
  }
  return done;
}
