/** What the protocols of the user network need of the wire to the guest. */

import type { Neighbours } from './neighbours.ts';
import type { UserNetOptions } from './options.ts';

export interface Link {
  readonly options: UserNetOptions;
  readonly neighbours: Neighbours;
  /** TUN_F_* kinds of packet that the guest takes. */
  readonly guestOffloads: number;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Queues a datagram for the guest, in fragments where it is longer than the MTU. */
  sendIpv4(source: number, destination: number, protocol: number, payload: Uint8Array): void;
  /** Asks the guest who has `address`. */
  sendArpRequest(address: number): void;
  /** Where on the internet `address` of the guest's view lies; undefined: nowhere. */
  hostAddress(address: number): string | undefined;
  /** There is something for the guest to receive. */
  wake(): void;
}
