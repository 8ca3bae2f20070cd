/** A back end that keeps what was sent and gives what it is told to, in the order that NetBackend promises. */

import type { GuestMemory } from '../../../devices/bus.ts';
import type { NetBackend, SegmentList } from '../../../devices/net/backend.ts';
import { gather, scatter, totalLength } from '../../../devices/virtio/segments.ts';

export class FakeBackend implements NetBackend {
  readonly offloads: number;
  guestOffloads = -1;
  /** Whether the run loop can be told of packets by a descriptor. */
  pollFd: number | undefined;
  /** Packets that wait for the guest, 12-byte header included. */
  readonly incoming: Uint8Array[] = [];
  /** Packets from the guest, 12-byte header included. */
  readonly sent: Uint8Array[] = [];
  dropped = 0;
  closed = false;

  constructor(offloads = 0) {
    this.offloads = offloads;
  }

  setGuestOffloads(flags: number): void {
    this.guestOffloads = flags;
  }

  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    for (;;) {
      const packet = this.incoming.shift();
      if (!packet) return 0;
      if (packet.length <= totalLength(segments)) return scatter(memory, segments, 0, packet);
      this.dropped++;
    }
  }

  send(memory: GuestMemory, segments: SegmentList): void {
    const packet = new Uint8Array(totalLength(segments));
    gather(memory, segments, 0, packet);
    this.sent.push(packet);
  }

  close(): void {
    this.closed = true;
  }
}
