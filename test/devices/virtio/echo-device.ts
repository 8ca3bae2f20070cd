/** The smallest device, for tests of what devices have in common: it answers each chain with the bytes it read. */

import type { AccessSize } from '../../../devices/bus.ts';
import { createSegmentList, gather, scatter, totalLength } from '../../../devices/virtio/segments.ts';
import { VIRTIO_ID_ENTROPY, VirtioDevice } from '../../../devices/virtio/virtio-device.ts';
import { MAX_CHAIN_LENGTH, NO_CHAIN } from '../../../devices/virtio/virtqueue.ts';
import type { RamGuestMemory } from '../../../vmm/guest-memory.ts';

/** Offered: bit 0, and bit 40 so that there is something in the second word; bit 5 to legacy drivers only. */
export const ECHO_FEATURES = [0, 5, 40];

export class EchoDevice extends VirtioDevice {
  readonly events: string[] = [];
  private readonly readable = createSegmentList(MAX_CHAIN_LENGTH);
  private readonly writable = createSegmentList(MAX_CHAIN_LENGTH);

  constructor(memory: RamGuestMemory) {
    super(memory, {
      id: VIRTIO_ID_ENTROPY,
      features: ECHO_FEATURES,
      legacyFeatures: [5],
      queueSizes: [64, 128],
      configSize: 8,
    });
    for (let i = 0; i < 8; i++) this.config.setUint8(i, 0x10 + i);
  }

  changeConfig(offset: number, value: number): void {
    this.config.setUint8(offset, value);
    this.configChanged();
  }

  override writeConfig(offset: number, size: AccessSize, value: number): void {
    this.events.push(`config ${offset}+${size}=${value}`);
  }

  protected override queueNotified(index: number): void {
    this.events.push(`notify ${index}`);
    const queue = this.queues[index];
    for (;;) {
      this.readable.count = 0;
      this.writable.count = 0;
      const id = queue.pop(this.readable, this.writable);
      if (id === NO_CHAIN) break;
      const bytes = new Uint8Array(totalLength(this.readable));
      gather(this.memory, this.readable, 0, bytes);
      queue.complete(id, scatter(this.memory, this.writable, 0, bytes));
    }
    this.publish(index);
  }

  protected override featuresAccepted(): void {
    this.events.push('features');
  }

  protected override driverOk(): void {
    this.events.push('ready');
  }

  protected override deviceReset(): void {
    this.events.push('reset');
  }
}
