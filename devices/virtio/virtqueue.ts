/**
 * What devices and transports ask of a virtqueue, whatever its layout (virtio 1.2 §2.6). The split ring is in
 * split-queue.ts; a packed ring (§2.8) would be a second implementation.
 */

import type { SegmentList } from '../net/backend.ts';

/** {@link VirtQueue.pop}: the driver has made nothing available, or the queue is broken. */
export const NO_CHAIN = -1;

/**
 * Pieces in one chain at most, indirect ones included, as in QEMU and Linux (IOV_MAX). It bounds the work of a chain
 * and the room that {@link VirtQueue.pop} needs in each list.
 */
export const MAX_CHAIN_LENGTH = 1024;

/** Bytes in one chain at most (§2.7.4). */
export const MAX_CHAIN_BYTES = 2 ** 32;

/** What a driver did wrong; the queue is dead until it is reset. */
export type QueueError =
  | 'queue size is not a power of two within the device’s limit'
  | 'ring outside RAM'
  | 'more buffers available than the queue has entries'
  | 'head beyond the descriptor table'
  | 'descriptor link beyond its table'
  | 'descriptor chain loops'
  | 'descriptor chain too long'
  | 'descriptor chain of more than 4 GiB'
  | 'descriptor outside RAM'
  | 'readable descriptor behind a writable one'
  | 'indirect descriptor without VIRTIO_F_INDIRECT_DESC'
  | 'indirect descriptor within an indirect table'
  | 'indirect descriptor with a successor'
  | 'indirect table of a length that holds no whole descriptors'
  | 'indirect table outside RAM'
  | 'buffer unusable for this device';

/** The features that change how a queue works, as the driver accepted them. */
export interface QueueFeatures {
  readonly eventIdx: boolean;
  readonly indirectDesc: boolean;
}

/** 32-bit words of {@link VirtQueue.addressWords}. */
export const QUEUE_DESC = 0;
export const QUEUE_DRIVER = 2;
export const QUEUE_DEVICE = 4;

export interface VirtQueue {
  /** Entries the device allows. */
  readonly maxSize: number;
  /** Entries the driver chose; checked when the queue is enabled. */
  size: number;
  /** Low and high words of the three ring addresses, at QUEUE_DESC, QUEUE_DRIVER and QUEUE_DEVICE. */
  readonly addressWords: Uint32Array;
  /** Enabled, and not broken. */
  readonly ready: boolean;
  readonly error: QueueError | undefined;

  /** The modern set-up: takes over size and addresses. A wrong one breaks the queue at once. */
  enable(features: QueueFeatures): void;
  /** The legacy set-up (§2.7.2): all rings in one block at `address`, the used ring at the next multiple of `align`. */
  enableLegacy(address: number, align: number): void;
  /** The features, where the driver accepts them after enabling queues (legacy drivers may). */
  setFeatures(features: QueueFeatures): void;
  reset(): void;

  /** Has the driver made a chain available that {@link pop} would give? */
  hasNext(): boolean;
  /**
   * Takes the next chain, *appending* its pieces to the two lists; each must have room for MAX_CHAIN_LENGTH more.
   * All pieces lie in RAM and none is empty. A malformed chain breaks the queue.
   * @returns the chain's id for {@link complete}, or NO_CHAIN.
   */
  pop(readable: SegmentList, writable: SegmentList): number;
  /** Gives a chain back with the number of bytes written into it. The driver sees it after {@link publish}. */
  complete(id: number, written: number): void;
  /** Shows all completed chains to the driver. @returns whether it wants an interrupt for them. */
  publish(): boolean;
  /** Asks the driver not to notify; it may still. */
  disableNotifications(): void;
  /**
   * Asks the driver to notify about the next chain it makes available.
   * @returns whether chains became available before it could see that: they will not be notified, so look again.
   */
  enableNotifications(): boolean;
  /** Breaks the queue for a reason that only the device can see. @returns NO_CHAIN */
  fail(error: QueueError): number;
}
