/**
 * The split virtqueue, device side (virtio 1.2 §2.7, legacy layout §2.7.2): descriptor table, available ring written
 * by the driver, used ring written by the device; indirect descriptors (§2.7.5.3), notification suppression by flags
 * or event indices (§2.7.7, §2.7.10).
 *
 * The driver is hostile: every index, address and length is read once, checked, and used only as checked. A driver's
 * mistake breaks the queue (`error`, `onError`) and nothing else.
 */

import type { GuestMemory } from '../bus.ts';
import type { SegmentList } from '../net/backend.ts';
import {
  MAX_CHAIN_BYTES,
  MAX_CHAIN_LENGTH,
  NO_CHAIN,
  QUEUE_DESC,
  QUEUE_DEVICE,
  QUEUE_DRIVER,
  type QueueError,
  type QueueFeatures,
  type VirtQueue,
} from './virtqueue.ts';

// struct virtq_desc, §2.7.5.
const DESC_SIZE = 16;
const DESC_LEN = 8;
const DESC_FLAGS = 12;
const DESC_NEXT = 14;
const VIRTQ_DESC_F_NEXT = 1;
const VIRTQ_DESC_F_WRITE = 2;
const VIRTQ_DESC_F_INDIRECT = 4;

// struct virtq_avail, §2.7.6; used_event follows the ring.
const AVAIL_FLAGS = 0;
const AVAIL_IDX = 2;
const AVAIL_RING = 4;
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

// struct virtq_used, §2.7.8; avail_event follows the ring.
const USED_FLAGS = 0;
const USED_IDX = 2;
const USED_RING = 4;
const USED_ELEM_SIZE = 8;
const USED_ELEM_LEN = 4;
const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Bytes of the available ring with its event index. */
const availSize = (entries: number) => AVAIL_RING + 2 * entries + 2;
/** Bytes of the used ring with its event index. */
const usedSize = (entries: number) => USED_RING + USED_ELEM_SIZE * entries + 2;

export class SplitQueue implements VirtQueue {
  readonly maxSize: number;
  size: number;
  readonly addressWords = new Uint32Array(6);
  ready = false;
  error: QueueError | undefined;

  private readonly memory: GuestMemory;
  private readonly onError: () => void;
  private eventIdx = false;
  private indirectDesc = false;
  // Where the rings are, once checked.
  private desc = 0;
  private avail = 0;
  private used = 0;
  /** Free-running index of the next chain to take from the available ring. */
  private nextAvail = 0;
  /** Free-running index of the next entry to fill in the used ring. */
  private nextUsed = 0;
  /** The used index that the driver was last shown. */
  private publishedUsed = 0;

  /** @param maxSize a power of two up to 32768. @param onError called when the driver breaks the queue. */
  constructor(memory: GuestMemory, maxSize: number, onError: () => void) {
    this.memory = memory;
    this.maxSize = maxSize;
    this.size = maxSize;
    this.onError = onError;
  }

  reset(): void {
    this.ready = false;
    this.error = undefined;
    this.size = this.maxSize;
    this.addressWords.fill(0);
    this.eventIdx = false;
    this.indirectDesc = false;
    this.nextAvail = 0;
    this.nextUsed = 0;
    this.publishedUsed = 0;
  }

  enable(features: QueueFeatures): void {
    this.setFeatures(features);
    this.start(this.addressAt(QUEUE_DESC), this.addressAt(QUEUE_DRIVER), this.addressAt(QUEUE_DEVICE));
  }

  enableLegacy(address: number, align: number): void {
    this.addressWords[QUEUE_DESC] = address >>> 0;
    this.addressWords[QUEUE_DESC + 1] = address / 2 ** 32;
    const avail = address + DESC_SIZE * this.size;
    this.start(address, avail, Math.ceil((avail + availSize(this.size)) / align) * align);
  }

  setFeatures(features: QueueFeatures): void {
    this.eventIdx = features.eventIdx;
    this.indirectDesc = features.indirectDesc;
  }

  hasNext(): boolean {
    return this.ready && this.memory.read16(this.avail + AVAIL_IDX) !== this.nextAvail;
  }

  pop(readable: SegmentList, writable: SegmentList): number {
    if (!this.ready) return NO_CHAIN;
    const waiting = (this.memory.read16(this.avail + AVAIL_IDX) - this.nextAvail) & 0xffff;
    if (waiting === 0) return NO_CHAIN;
    if (waiting > this.size) return this.fail('more buffers available than the queue has entries');
    const head = this.memory.read16(this.avail + AVAIL_RING + 2 * (this.nextAvail & (this.size - 1)));
    if (head >= this.size) return this.fail('head beyond the descriptor table');
    this.nextAvail = (this.nextAvail + 1) & 0xffff;
    return this.walk(head, readable, writable);
  }

  complete(id: number, written: number): void {
    const element = this.used + USED_RING + USED_ELEM_SIZE * (this.nextUsed & (this.size - 1));
    this.memory.write32(element, id);
    this.memory.write32(element + USED_ELEM_LEN, written);
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
  }

  publish(): boolean {
    const shown = this.publishedUsed;
    const now = this.nextUsed;
    if (now === shown || !this.ready) return false;
    this.memory.write16(this.used + USED_IDX, now);
    this.publishedUsed = now;
    if (!this.eventIdx) return (this.memory.read16(this.avail + AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    // vring_need_event (§2.7.10): did the index pass used_event on its way?
    const usedEvent = this.memory.read16(this.avail + AVAIL_RING + 2 * this.size);
    return ((now - usedEvent - 1) & 0xffff) < ((now - shown) & 0xffff);
  }

  disableNotifications(): void {
    // With event indices an avail_event that stays behind suppresses by itself.
    if (this.ready && !this.eventIdx) this.memory.write16(this.used + USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
  }

  enableNotifications(): boolean {
    if (!this.ready) return false;
    if (this.eventIdx) this.memory.write16(this.used + USED_RING + USED_ELEM_SIZE * this.size, this.nextAvail);
    else this.memory.write16(this.used + USED_FLAGS, 0);
    // What the driver added before it could see the store above it will not notify.
    return this.hasNext();
  }

  fail(error: QueueError): number {
    this.ready = false;
    this.error = error;
    this.onError();
    return NO_CHAIN;
  }

  private addressAt(word: number): number {
    return this.addressWords[word] + this.addressWords[word + 1] * 2 ** 32;
  }

  private start(desc: number, avail: number, used: number): void {
    const size = this.size;
    if (size === 0 || size > this.maxSize || (size & (size - 1)) !== 0) {
      this.fail('queue size is not a power of two within the device’s limit');
      return;
    }
    const memory = this.memory;
    if (
      !memory.contains(desc, DESC_SIZE * size) ||
      !memory.contains(avail, availSize(size)) ||
      !memory.contains(used, usedSize(size))
    ) {
      this.fail('ring outside RAM');
      return;
    }
    this.desc = desc;
    this.avail = avail;
    this.used = used;
    this.ready = true;
  }

  /** Appends the chain that starts at entry `head` of the descriptor table. @returns `head`, or NO_CHAIN. */
  private walk(head: number, readable: SegmentList, writable: SegmentList): number {
    const memory = this.memory;
    let table = this.desc;
    let entries = this.size;
    let index = head;
    let indirect = false;
    let visited = 0;
    let pieces = 0;
    let bytes = 0;
    let writing = false;
    for (;;) {
      if (index >= entries) return this.fail('descriptor link beyond its table');
      if (visited++ === entries) return this.fail('descriptor chain loops');
      const descriptor = table + DESC_SIZE * index;
      const address = memory.read64(descriptor);
      const length = memory.read32(descriptor + DESC_LEN);
      const flags = memory.read16(descriptor + DESC_FLAGS);

      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // Its WRITE flag means nothing (§2.7.5.3.2), and its table may stand at any address.
        if (!this.indirectDesc) return this.fail('indirect descriptor without VIRTIO_F_INDIRECT_DESC');
        if (indirect) return this.fail('indirect descriptor within an indirect table');
        if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return this.fail('indirect descriptor with a successor');
        if (length === 0 || length % DESC_SIZE !== 0)
          return this.fail('indirect table of a length that holds no whole descriptors');
        if (!memory.contains(address, length)) return this.fail('indirect table outside RAM');
        table = address;
        entries = length / DESC_SIZE;
        index = 0;
        visited = 0;
        indirect = true;
        continue;
      }

      if (++pieces > MAX_CHAIN_LENGTH) return this.fail('descriptor chain too long');
      if (length !== 0 && !memory.contains(address, length)) return this.fail('descriptor outside RAM');
      bytes += length;
      if (bytes > MAX_CHAIN_BYTES) return this.fail('descriptor chain of more than 4 GiB');
      if ((flags & VIRTQ_DESC_F_WRITE) !== 0) writing = true;
      else if (writing) return this.fail('readable descriptor behind a writable one');
      if (length !== 0) {
        const list = writing ? writable : readable;
        list.address[list.count] = address;
        list.length[list.count++] = length;
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return head;
      index = memory.read16(descriptor + DESC_NEXT);
    }
  }
}
