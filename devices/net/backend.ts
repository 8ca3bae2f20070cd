/** What a network device asks of the host side (Design §7). */

import type { GuestMemory } from '../bus.ts';

/**
 * A scatter-gather list over guest RAM: `count` pieces, each `length[i]` bytes at guest physical `address[i]`.
 * Pieces were checked against RAM by whoever filled the list. Reused, so that a packet allocates nothing.
 */
export interface SegmentList {
  count: number;
  readonly address: Float64Array;
  readonly length: Uint32Array;
}

/** Offloads as the TUN driver names them (linux/if_tun.h); the same bits serve all back ends. */
export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_TSO6 = 0x04;
export const TUN_F_TSO_ECN = 0x08;
export const TUN_F_UFO = 0x10;
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;

/** Bytes of `struct virtio_net_hdr_v1` (virtio 1.2 §5.1.6): every packet at this interface starts with one. */
export const VNET_HDR_SIZE = 12;

/**
 * The host end of a network card. Every packet in either direction is a 12-byte virtio_net_hdr_v1 followed by an
 * Ethernet frame without FCS; a device whose guest negotiated the 10-byte header converts at its own edge.
 */
export interface NetBackend {
  /** TUN_F_* bits this back end can take in `send` (guest → host) and could be told to give in `receiveInto`. */
  readonly offloads: number;
  /** The guest accepts these TUN_F_* kinds of packet (VIRTIO_NET_F_GUEST_*); others must not be given to it. */
  setGuestOffloads(flags: number): void;
  /**
   * Takes the next packet for the guest into `segments`.
   * @returns bytes stored, header included; 0 when no packet waits; a packet that does not fit is dropped (returns 0
   * only if nothing else waits).
   */
  receiveInto(memory: GuestMemory, segments: SegmentList): number;
  /** Sends one packet. Never blocks; a packet that cannot be sent now is dropped, as on a wire. */
  send(memory: GuestMemory, segments: SegmentList): void;
  /** The guest waits: what `send` holds back to send more at a time goes now. */
  flush?(): void;
  /** What was done, for `-d stats`. */
  readonly statistics?: string | undefined;
  /** A file descriptor whose readability means that `receiveInto` will give a packet; absent: see `onReceive`. */
  readonly pollFd?: number | undefined;
  /** Event-driven back ends call this when a packet became available for an empty queue. Set by the device's owner. */
  onReceive?: (() => void) | undefined;
  /** Closes sockets and descriptors; the back end is not used afterwards. */
  close(): void;
}
