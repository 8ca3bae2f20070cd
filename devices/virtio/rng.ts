/** virtio-rng, the entropy device (virtio 1.2 §5.4): one queue of buffers, filled from the host's generator. */

import type { randomFillSync } from 'node:crypto';
import type { GuestMemory } from '../bus.ts';
import { createSegmentList, type SegmentList } from './segments.ts';
import { VIRTIO_ID_ENTROPY, VirtioDevice } from './virtio-device.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from './virtqueue.ts';

const REQUEST_QUEUE = 0;
const QUEUE_SIZES = [64];

/** Bytes per request at most; a driver asks again for more (§5.4.6.2: the device may use fewer). */
export const RNG_MAX_BYTES = 65536;
/** Requests in one go. */
const BUDGET = 16;

export class VirtioRng extends VirtioDevice {
  private readonly readable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly writable: SegmentList = createSegmentList(MAX_CHAIN_LENGTH);
  /** Of node:crypto, which only machines with this device load: it takes milliseconds. */
  private readonly randomFillSync: typeof randomFillSync;

  constructor(memory: GuestMemory) {
    super(memory, { id: VIRTIO_ID_ENTROPY, features: [], queueSizes: QUEUE_SIZES, configSize: 0 });
    this.randomFillSync = process.getBuiltinModule('node:crypto').randomFillSync;
  }

  override pump(): number {
    return this.live && this.queues[REQUEST_QUEUE].hasNext() ? this.serve() : 0;
  }

  protected override queueNotified(): void {
    this.serve();
  }

  /** @returns requests answered. */
  private serve(): number {
    const queue = this.queues[REQUEST_QUEUE];
    let requests = 0;
    for (; requests < BUDGET; requests++) {
      this.readable.count = 0;
      this.writable.count = 0;
      const id = queue.pop(this.readable, this.writable);
      if (id === NO_CHAIN) break;
      queue.complete(id, this.fill(this.writable));
    }
    queue.enableNotifications();
    this.publish(REQUEST_QUEUE);
    return requests;
  }

  /** @returns bytes filled. */
  private fill(list: SegmentList): number {
    let filled = 0;
    for (let i = 0; i < list.count && filled < RNG_MAX_BYTES; i++) {
      const length = Math.min(list.length[i], RNG_MAX_BYTES - filled);
      this.randomFillSync(this.memory.bytes, list.address[i], length);
      this.memory.written(list.address[i], length);
      filled += length;
    }
    return filled;
  }
}
