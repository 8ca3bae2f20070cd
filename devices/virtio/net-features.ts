/** Feature bits of virtio-net (virtio 1.2 §5.1.3), and which of them a back end's offloads (TUN_F_*) stand behind. */

import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UFO,
  TUN_F_USO4,
  TUN_F_USO6,
} from '../net/backend.ts';
import type { FeatureSet } from './features.ts';

export const VIRTIO_NET_F_CSUM = 0;
export const VIRTIO_NET_F_GUEST_CSUM = 1;
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2;
export const VIRTIO_NET_F_MTU = 3;
export const VIRTIO_NET_F_MAC = 5;
/** Legacy: the device takes any kind of GSO packet (§5.1.3.2). */
export const VIRTIO_NET_F_GSO = 6;
export const VIRTIO_NET_F_GUEST_TSO4 = 7;
export const VIRTIO_NET_F_GUEST_TSO6 = 8;
const VIRTIO_NET_F_GUEST_ECN = 9;
const VIRTIO_NET_F_GUEST_UFO = 10;
export const VIRTIO_NET_F_HOST_TSO4 = 11;
const VIRTIO_NET_F_HOST_TSO6 = 12;
const VIRTIO_NET_F_HOST_ECN = 13;
const VIRTIO_NET_F_HOST_UFO = 14;
export const VIRTIO_NET_F_MRG_RXBUF = 15;
export const VIRTIO_NET_F_STATUS = 16;
const VIRTIO_NET_F_CTRL_VQ = 17;
export const VIRTIO_NET_F_CTRL_RX = 18;
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20;
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21;
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23;
const VIRTIO_NET_F_GUEST_USO4 = 54;
const VIRTIO_NET_F_GUEST_USO6 = 55;
const VIRTIO_NET_F_HOST_USO = 56;

/** What every card offers. */
const ALWAYS = [
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
];

/** Rows of [TUN_F_* bits the back end must have, the features that it then can]. */
const BY_OFFLOAD: [number, number[]][] = [
  [TUN_F_CSUM, [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS]],
  [TUN_F_CSUM | TUN_F_TSO4, [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4]],
  [TUN_F_CSUM | TUN_F_TSO6, [VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6]],
  [TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, [VIRTIO_NET_F_GSO]],
  [TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN, [VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN]],
  [TUN_F_CSUM | TUN_F_UFO, [VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO]],
  [TUN_F_CSUM | TUN_F_USO4, [VIRTIO_NET_F_GUEST_USO4]],
  [TUN_F_CSUM | TUN_F_USO6, [VIRTIO_NET_F_GUEST_USO6]],
  [TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6, [VIRTIO_NET_F_HOST_USO]],
];

/** Rows of [feature the driver accepts, TUN_F_* kind of packet it may then be given]. */
const GUEST_OFFLOADS: [number, number][] = [
  [VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM],
  [VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4],
  [VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6],
  [VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN],
  [VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO],
  [VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4],
  [VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6],
];

/** The features to offer in front of a back end with these TUN_F_* offloads. */
export function netFeatures(offloads: number): number[] {
  return [...ALWAYS, ...BY_OFFLOAD.flatMap(([needed, bits]) => ((offloads & needed) === needed ? bits : []))];
}

/** The TUN_F_* kinds of packet that a driver with these features takes. Nothing is possible without the checksum. */
export function guestOffloads(features: FeatureSet): number {
  if (!features.has(VIRTIO_NET_F_GUEST_CSUM)) return 0;
  return GUEST_OFFLOADS.reduce((flags, [bit, flag]) => (features.has(bit) ? flags | flag : flags), 0);
}

/** The bits that VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET may name. */
export function isGuestOffload(bit: number): boolean {
  return GUEST_OFFLOADS.some(([feature]) => feature === bit);
}
