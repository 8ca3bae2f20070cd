/** No network: a card without a cable. */

import type { GuestMemory } from '../bus.ts';
import type { NetBackend, SegmentList } from './backend.ts';

export class NoneBackend implements NetBackend {
  readonly offloads = 0;

  setGuestOffloads(_flags: number): void {}

  receiveInto(_memory: GuestMemory, _segments: SegmentList): number {
    return 0;
  }

  send(_memory: GuestMemory, _segments: SegmentList): void {}

  close(): void {}
}
