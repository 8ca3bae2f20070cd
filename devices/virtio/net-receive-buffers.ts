/**
 * The buffers that a virtio-net driver has posted for receiving and the device has taken from the ring, as one list of
 * segments. With mergeable buffers (virtio 1.2 §5.1.6.4) a packet fills as many chains as it needs; else one chain
 * holds one packet.
 */

import type { GuestMemory } from '../bus.ts';
import { VNET_HDR_SIZE } from '../net/backend.ts';
import { HEADER_EXTRA_PIECES, insertNumBuffers, LEGACY_HDR_SIZE, RECEIVED, setNumBuffers } from './net-header.ts';
import { createSegmentList, dropSegments, type SegmentList } from './segments.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN, type VirtQueue } from './virtqueue.ts';

/** With so many pieces no further chain is added: back ends take about a thousand in one go (IOV_MAX). */
const ENOUGH_PIECES = 512;
const MAX_PIECES = ENOUGH_PIECES + MAX_CHAIN_LENGTH + HEADER_EXTRA_PIECES;

export class NetReceiveBuffers {
  /** What the back end fills next, starting with a 12-byte header. */
  readonly segments: SegmentList = createSegmentList(MAX_PIECES);
  /** Bytes in {@link segments}. */
  bytes = 0;

  private readonly memory: GuestMemory;
  private readonly queue: VirtQueue;
  private readonly readable = createSegmentList(MAX_CHAIN_LENGTH);
  /** Chains taken and not given back, and for each its id, pieces and bytes. */
  private chains = 0;
  private readonly chainId: Uint16Array;
  private readonly chainPieces: Uint16Array;
  private readonly chainBytes: Float64Array;
  private mergeable = false;
  private headerSize = LEGACY_HDR_SIZE;

  constructor(memory: GuestMemory, queue: VirtQueue) {
    this.memory = memory;
    this.queue = queue;
    this.chainId = new Uint16Array(queue.maxSize);
    this.chainPieces = new Uint16Array(queue.maxSize);
    this.chainBytes = new Float64Array(queue.maxSize);
  }

  /** Is at least one buffer posted? */
  get any(): boolean {
    return this.chains > 0 || this.queue.hasNext();
  }

  /** @param headerSize of the driver's packets: 10 or, always when `mergeable`, 12. */
  configure(mergeable: boolean, headerSize: number): void {
    this.mergeable = mergeable;
    this.headerSize = headerSize;
  }

  /** The ring is gone, and with it what was taken from it. */
  clear(): void {
    this.chains = 0;
    this.bytes = 0;
    this.segments.count = 0;
  }

  /** Takes chains from the ring: one, or while mergeable enough for `wanted` bytes, as far as there are any. */
  fill(wanted: number): void {
    while (this.mergeable ? this.bytes < wanted : this.chains === 0) {
      if (this.chains === this.queue.maxSize || this.segments.count >= ENOUGH_PIECES) return;
      if (!this.take()) return;
    }
  }

  /**
   * Gives the driver the packet of `length` bytes (12-byte header included) that stands at the start of the segments.
   * The driver sees it when the queue is published.
   */
  deliver(length: number): void {
    let used = 1;
    for (let room = this.chainBytes[0]; room < length; room += this.chainBytes[used++]);
    if (this.headerSize === VNET_HDR_SIZE) setNumBuffers(this.memory, this.segments, used);
    let left = length - (VNET_HDR_SIZE - this.headerSize);
    let pieces = 0;
    for (let i = 0; i < used; i++) {
      const written = Math.min(left, this.chainBytes[i]);
      this.queue.complete(this.chainId[i], written);
      left -= written;
      pieces += this.chainPieces[i];
      this.bytes -= this.chainBytes[i];
    }
    dropSegments(this.segments, pieces);
    this.chains -= used;
    for (let i = 0; i < this.chains; i++) {
      this.chainId[i] = this.chainId[i + used];
      this.chainPieces[i] = this.chainPieces[i + used];
      this.chainBytes[i] = this.chainBytes[i + used];
    }
  }

  /** Takes one chain. @returns false when there is none that could be used. */
  private take(): boolean {
    const { segments } = this;
    const firstPiece = segments.count;
    this.readable.count = 0;
    const id = this.queue.pop(this.readable, segments);
    if (id === NO_CHAIN) return false;
    let bytes = 0;
    for (let i = firstPiece; i < segments.count; i++) bytes += segments.length[i];
    // A mergeable buffer may be short, but the first of a packet must hold the header, and any may come first.
    if (bytes < VNET_HDR_SIZE) {
      segments.count = firstPiece;
      this.queue.fail('buffer unusable for this device');
      return false;
    }
    if (this.headerSize === LEGACY_HDR_SIZE) {
      insertNumBuffers(segments, RECEIVED);
      bytes += VNET_HDR_SIZE - LEGACY_HDR_SIZE;
    }
    this.chainId[this.chains] = id;
    this.chainPieces[this.chains] = segments.count - firstPiece;
    this.chainBytes[this.chains] = bytes;
    this.chains++;
    this.bytes += bytes;
    return true;
  }
}
