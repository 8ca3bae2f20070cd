/**
 * Layout of a packet as the user network holds it in a buffer: vnet header (virtio 1.2 §5.1.6), Ethernet II, IPv4
 * (RFC 791). Two bytes of padding in front align the IPv4 header.
 */

import { VNET_HDR_SIZE } from '../backend.ts';
import { fold, sumBytes } from '../checksum.ts';

export const VNET_AT = 2;
export const ETHERNET_AT = VNET_AT + VNET_HDR_SIZE;
export const ETHERNET_SIZE = 14;
export const IPV4_AT = ETHERNET_AT + ETHERNET_SIZE;
export const IPV4_SIZE = 20;
/** Where the payload of an IPv4 header without options lies. */
export const TRANSPORT_AT = IPV4_AT + IPV4_SIZE;

/** Room for the largest packet that an unsegmented IPv4 datagram can make, a VLAN tag or two included. */
export const PACKET_SIZE = IPV4_AT + 65535 + 8;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;

/** Largest IPv4 packet on the virtual wire. */
export const MTU = 1500;
const TTL = 64;

export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;

/** A buffer and the two ways to look at it. */
export class Packet {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.bytes[VNET_AT + 10] = 1; // num_buffers
  }

  writeEthernet(destination: Uint8Array, source: Uint8Array, type: number): void {
    this.writeDestination(destination);
    for (let i = 0; i < 6; i++) this.bytes[ETHERNET_AT + 6 + i] = source[i];
    this.view.setUint16(ETHERNET_AT + 12, type);
  }

  writeDestination(destination: Uint8Array): void {
    for (let i = 0; i < 6; i++) this.bytes[ETHERNET_AT + i] = destination[i];
  }

  /** @param payload bytes after the header. @param fragment flags and offset as in the header. */
  writeIpv4(
    source: number,
    destination: number,
    protocol: number,
    payload: number,
    id: number,
    fragment: number,
  ): void {
    const { view } = this;
    view.setUint16(IPV4_AT, 0x4500);
    view.setUint16(IPV4_AT + 2, IPV4_SIZE + payload);
    view.setUint16(IPV4_AT + 4, id);
    view.setUint16(IPV4_AT + 6, fragment);
    view.setUint16(IPV4_AT + 8, (TTL << 8) | protocol);
    view.setUint16(IPV4_AT + 10, 0);
    view.setUint32(IPV4_AT + 12, source);
    view.setUint32(IPV4_AT + 16, destination);
    view.setUint16(IPV4_AT + 10, ~fold(sumBytes(this.bytes, IPV4_AT, IPV4_SIZE)));
  }
}
