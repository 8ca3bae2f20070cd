/**
 * The packet header of virtio-net (virtio 1.2 §5.1.6). Back ends always speak the 12-byte struct virtio_net_hdr_v1;
 * legacy drivers without mergeable buffers know a header of 10 bytes, without `num_buffers` (§5.1.6.1). The two bytes
 * are made up by *repeating* bytes of the driver's own buffer in the list of segments, so that no payload moves.
 */

import type { GuestMemory } from '../bus.ts';
import { type SegmentList, VNET_HDR_SIZE } from '../net/backend.ts';
import { scatter } from './segments.ts';

export const LEGACY_HDR_SIZE = 10;
const NUM_BUFFERS = 10;
/** Pieces that {@link insertNumBuffers} adds at most: two of one byte, and the half of the piece that it splits. */
export const HEADER_EXTRA_PIECES = 3;

/** `from` of {@link insertNumBuffers} for packets that are sent: `num_buffers` has no meaning there, any bytes will do. */
export const SENT = 0;
/**
 * … and for buffers that are received into: pieces are filled in order, so the frame overwrites `num_buffers` with its
 * own first bytes.
 */
export const RECEIVED = LEGACY_HDR_SIZE;

/**
 * Makes a list that starts with a 10-byte header look as if it started with 12, by inserting the two bytes at offset
 * `from` behind the header once more. The list holds at least `from + 2` bytes and has room for HEADER_EXTRA_PIECES.
 */
export function insertNumBuffers(list: SegmentList, from: number): void {
  const first = addressOf(list, from);
  const second = addressOf(list, from + 1);
  const at = splitAt(list, LEGACY_HDR_SIZE);
  if (second === first + 1) {
    insert(list, at, first, 2);
  } else {
    insert(list, at, first, 1);
    insert(list, at + 1, second, 1);
  }
}

/** Writes `num_buffers` into a 12-byte header that stands at the start of `list`. */
export function setNumBuffers(memory: GuestMemory, list: SegmentList, count: number): void {
  if (list.length[0] >= VNET_HDR_SIZE) {
    memory.write16(list.address[0] + NUM_BUFFERS, count);
    return;
  }
  numBuffers[0] = count;
  numBuffers[1] = count >>> 8;
  scatter(memory, list, NUM_BUFFERS, numBuffers);
}

const numBuffers = new Uint8Array(2);

/** The guest address of byte `offset` of the list. */
function addressOf(list: SegmentList, offset: number): number {
  let i = 0;
  while (offset >= list.length[i]) offset -= list.length[i++];
  return list.address[i] + offset;
}

/** Makes a piece begin at byte `offset`. @returns its index. */
function splitAt(list: SegmentList, offset: number): number {
  let i = 0;
  while (i < list.count && offset >= list.length[i]) offset -= list.length[i++];
  if (offset === 0) return i;
  const { address, length } = list;
  insert(list, i, address[i], offset);
  address[i + 1] += offset;
  length[i + 1] -= offset;
  return i + 1;
}

function insert(list: SegmentList, at: number, address: number, length: number): void {
  // A loop: lists are short, and copyWithin costs more than a dozen of its steps.
  for (let i = list.count++; i > at; i--) {
    list.address[i] = list.address[i - 1];
    list.length[i] = list.length[i - 1];
  }
  list.address[at] = address;
  list.length[at] = length;
}
