/**
 * The built-in user-mode network, as QEMU's `-netdev user`: a private network with a gateway, a name server and DHCP
 * that needs no rights and no other program. The guest's connections become sockets of this process.
 *
 * This file is the wire: Ethernet, ARP (RFC 826), IPv4 (RFC 791) and the queue towards the guest. The protocols are in
 * user/. Not possible without rights, and therefore answered with "prohibited": ping beyond the gateway.
 */

import type { GuestMemory } from '../bus.ts';
import { type NetBackend, type SegmentList, TUN_F_CSUM, TUN_F_TSO4, VNET_HDR_SIZE } from './backend.ts';
import { fold, sumBytes } from './checksum.ts';
import { gather, scatter, segmentsLength } from './segments.ts';
import { BROADCAST_ADDRESS, formatIpv4, isUnicast } from './user/addresses.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer } from './user/dhcp.ts';
import { CODE_ADMINISTRATIVELY_PROHIBITED, echoReply, isEchoRequest, unreachable } from './user/icmp.ts';
import type { Link } from './user/link.ts';
import { Neighbours } from './user/neighbours.ts';
import type { UserNetOptions } from './user/options.ts';
import {
  ETHERNET_AT,
  ETHERNET_SIZE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  IPV4_AT,
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  IPV4_SIZE,
  MTU,
  PACKET_SIZE,
  Packet,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TRANSPORT_AT,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VNET_AT,
} from './user/packet.ts';
import { Reassembly } from './user/reassembly.ts';
import { hostResolver, type Resolver } from './user/resolver.ts';
import { TcpNat } from './user/tcp-nat.ts';
import { UdpNat } from './user/udp-nat.ts';

const ARP_SIZE = 28;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
/** Hardware type Ethernet, protocol IPv4, address lengths 6 and 4. */
const ARP_ETHERNET_IPV4 = [0, 1, 8, 0, 6, 4];

const BROADCAST_MAC = new Uint8Array(6).fill(0xff);

/** Packets other than TCP's that wait for the guest; more are lost, as on a wire. */
const MAX_QUEUED = 256;
/** Datagrams that wait for an answer to ARP. */
const MAX_UNRESOLVED = 16;

/** A hostfwd in effect. */
export interface ActiveForward {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress: string;
  readonly hostPort: number;
}

export class UserBackend implements NetBackend, Link {
  readonly offloads = TUN_F_CSUM | TUN_F_TSO4;
  readonly options: UserNetOptions;
  readonly neighbours: Neighbours;
  readonly forwards: ActiveForward[] = [];
  guestOffloads = 0;
  onReceive?: (() => void) | undefined;

  /** The packet that the guest is sending. */
  private readonly packet = new Packet(PACKET_SIZE);
  /** Headers of a TCP segment for the guest. */
  private readonly headers = new Packet(TRANSPORT_AT + 60);
  private readonly gatewayMac: Uint8Array;
  private readonly queue: Uint8Array[] = [];
  private unresolved: { address: number; frame: Uint8Array }[] = [];
  private readonly reassembly = new Reassembly();
  private readonly dhcp: DhcpServer;
  private readonly tcp: TcpNat;
  private readonly udp: UdpNat;
  private identification = 0;
  /** Did the device last hear that nothing waits? */
  private drained = true;
  /** While the guest's packet is being handled, news for it are held back: the device is in the midst of its queue. */
  private sending = false;

  private constructor(options: UserNetOptions, resolver: Resolver) {
    this.options = options;
    this.neighbours = new Neighbours(() => this.flushUnresolved());
    this.gatewayMac = macOf(options.host);
    this.headers.writeEthernet(BROADCAST_MAC, this.gatewayMac, ETHERTYPE_IPV4);
    this.dhcp = new DhcpServer(options);
    this.tcp = new TcpNat(this, resolver);
    this.udp = new UdpNat(this, resolver);
  }

  /**
   * @param resolver where the guest's queries go; the host's own when left out
   * @throws NetBackendError when a hostfwd cannot listen
   */
  static async open(options: UserNetOptions, resolver: Resolver = hostResolver()): Promise<UserBackend> {
    const backend = new UserBackend(options, resolver);
    try {
      for (const rule of options.forwards) {
        const { protocol, hostAddress } = rule;
        const hostPort = await (protocol === 'tcp' ? backend.tcp : backend.udp).forward(rule);
        backend.forwards.push({ protocol, hostAddress, hostPort });
      }
    } catch (error) {
      backend.close();
      throw error;
    }
    return backend;
  }

  // NetBackend

  setGuestOffloads(flags: number): void {
    this.guestOffloads = flags & this.offloads;
  }

  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    const room = segmentsLength(segments);
    for (let frame = this.queue.shift(); frame; frame = this.queue.shift()) {
      if (VNET_HDR_SIZE + frame.length > room) continue;
      const { bytes } = this.headers;
      bytes.fill(0, VNET_AT, VNET_AT + VNET_HDR_SIZE - 2);
      scatter(memory, segments, 0, bytes, VNET_AT, VNET_HDR_SIZE);
      scatter(memory, segments, VNET_HDR_SIZE, frame, 0, frame.length);
      return VNET_HDR_SIZE + frame.length;
    }
    const stored = this.tcp.emit(memory, segments, room, this.headers);
    if (stored === 0) this.drained = true;
    return stored;
  }

  send(memory: GuestMemory, segments: SegmentList): void {
    const { bytes, view } = this.packet;
    const end = VNET_AT + gather(memory, segments, bytes, VNET_AT);
    if (end < IPV4_AT) return;
    this.sending = true;
    const type = view.getUint16(ETHERNET_AT + 12);
    if (type === ETHERTYPE_IPV4) this.inputIpv4(end);
    else if (type === ETHERTYPE_ARP) this.inputArp(end);
    this.sending = false;
    this.notify();
  }

  close(): void {
    this.tcp.close();
    this.udp.close();
  }

  // Link

  now(): number {
    return performance.now();
  }

  wake(): void {
    if (!this.sending) this.notify();
  }

  hostAddress(address: number): string | undefined {
    const { host, net, mask } = this.options;
    if (address === host) return '127.0.0.1';
    if ((address & mask) >>> 0 === net || !isUnicast(address)) return undefined;
    return formatIpv4(address);
  }

  sendIpv4(source: number, destination: number, protocol: number, payload: Uint8Array): void {
    const id = (this.identification = (this.identification + 1) & 0xffff);
    // Fragments carry whole units of 8 bytes.
    const largest = payload.length <= MTU - IPV4_SIZE ? payload.length : (MTU - IPV4_SIZE) & ~7;
    let at = 0;
    do {
      const length = Math.min(largest, payload.length - at);
      const more = at + length < payload.length ? IPV4_MORE_FRAGMENTS : 0;
      const fragment = new Packet(TRANSPORT_AT + length);
      const neighbour = this.neighbours.find(destination);
      const mac = destination === BROADCAST_ADDRESS ? BROADCAST_MAC : neighbour?.mac;
      fragment.writeEthernet(mac ?? BROADCAST_MAC, this.gatewayMac, ETHERTYPE_IPV4);
      fragment.writeIpv4(source, destination, protocol, length, id, (at >>> 3) | more);
      fragment.bytes.set(payload.subarray(at, at + length), TRANSPORT_AT);
      const frame = fragment.bytes.subarray(ETHERNET_AT);
      if (mac) this.enqueue(frame);
      else this.resolve(destination, frame);
      at += length;
    } while (at < payload.length);
  }

  sendArpRequest(address: number): void {
    this.sendArp(ARP_REQUEST, this.options.host, BROADCAST_MAC, address);
  }

  /** Tells the device, once, when it thinks that nothing waits. */
  private notify(): void {
    if (!this.drained || this.sending || (this.queue.length === 0 && !this.tcp.waiting)) return;
    this.drained = false;
    this.onReceive?.();
  }

  private enqueue(frame: Uint8Array): void {
    if (this.queue.length < MAX_QUEUED) this.queue.push(frame);
    this.wake();
  }

  private resolve(address: number, frame: Uint8Array): void {
    if (this.unresolved.length === MAX_UNRESOLVED) this.unresolved.shift();
    this.unresolved.push({ address, frame });
    this.sendArpRequest(address);
  }

  /** A new neighbour: what waited for it goes out. */
  private flushUnresolved(): void {
    const waiting = this.unresolved;
    this.unresolved = [];
    for (const { address, frame } of waiting) {
      const neighbour = this.neighbours.find(address);
      if (neighbour) {
        frame.set(neighbour.mac);
        this.enqueue(frame);
      } else {
        this.unresolved.push({ address, frame });
      }
    }
    this.tcp.connectWaiting();
  }

  /** Notes the sender of a packet. @returns whether it has an address that a guest may have */
  private learn(address: number): boolean {
    const { net, mask, host, dns } = this.options;
    if ((address & mask) >>> 0 !== net || address === host || address === dns) return false;
    if (address === net || address === (net | ~mask) >>> 0) return false;
    this.neighbours.learn(address, this.packet.bytes, ETHERNET_AT + 6);
    return true;
  }

  // ARP

  private inputArp(end: number): void {
    const { bytes, view } = this.packet;
    const at = IPV4_AT;
    if (end - at < ARP_SIZE) return;
    for (let i = 0; i < ARP_ETHERNET_IPV4.length; i++) if (bytes[at + i] !== ARP_ETHERNET_IPV4[i]) return;
    const operation = view.getUint16(at + 6);
    const sender = view.getUint32(at + 14);
    const target = view.getUint32(at + 24);
    this.learn(sender);
    const ours = target === this.options.host || target === this.options.dns;
    if (operation === ARP_REQUEST && ours) this.sendArp(ARP_REPLY, target, bytes.slice(at + 8, at + 14), sender);
  }

  private sendArp(operation: number, sender: number, targetMac: Uint8Array, target: number): void {
    const frame = new Uint8Array(ETHERNET_SIZE + ARP_SIZE);
    const view = new DataView(frame.buffer);
    frame.set(targetMac);
    frame.set(macOf(sender), 6);
    view.setUint16(12, ETHERTYPE_ARP);
    frame.set(ARP_ETHERNET_IPV4, ETHERNET_SIZE);
    view.setUint16(ETHERNET_SIZE + 6, operation);
    frame.set(macOf(sender), ETHERNET_SIZE + 8);
    view.setUint32(ETHERNET_SIZE + 14, sender);
    if (operation === ARP_REPLY) frame.set(targetMac, ETHERNET_SIZE + 18);
    view.setUint32(ETHERNET_SIZE + 24, target);
    this.enqueue(frame);
  }

  // IPv4

  private inputIpv4(end: number): void {
    const { bytes, view } = this.packet;
    if (end - IPV4_AT < IPV4_SIZE || bytes[IPV4_AT] >>> 4 !== 4) return;
    const headerLength = (bytes[IPV4_AT] & 0xf) * 4;
    const total = view.getUint16(IPV4_AT + 2);
    if (headerLength < IPV4_SIZE || total < headerLength || IPV4_AT + total > end) return;
    if (fold(sumBytes(bytes, IPV4_AT, headerLength)) !== 0xffff) return;
    const source = view.getUint32(IPV4_AT + 12);
    const destination = view.getUint32(IPV4_AT + 16);
    const protocol = bytes[IPV4_AT + 9];
    let checksumDone = (bytes[VNET_AT] & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
    let at = IPV4_AT + headerLength;
    let length = total - headerLength;
    // Only DHCP is for those without an address.
    if (!this.learn(source) && protocol !== PROTOCOL_UDP) return;
    const fragment = view.getUint16(IPV4_AT + 6);
    const more = (fragment & IPV4_MORE_FRAGMENTS) !== 0;
    const offset = (fragment & IPV4_OFFSET_MASK) * 8;
    if (more || offset > 0) {
      const key = `${source} ${destination} ${protocol} ${view.getUint16(IPV4_AT + 4)}`;
      const whole = this.reassembly.add(key, bytes.subarray(at, at + length), offset, more, this.now());
      if (!whole) return;
      bytes.set(whole, TRANSPORT_AT);
      at = TRANSPORT_AT;
      length = whole.length;
      checksumDone = false;
    }
    switch (protocol) {
      case PROTOCOL_TCP:
        this.tcp.input(this.packet, at, length, source, destination, checksumDone);
        break;
      case PROTOCOL_UDP:
        this.inputUdp(at, length, source, destination, checksumDone);
        break;
      case PROTOCOL_ICMP:
        this.inputIcmp(at, length, source, destination);
        break;
    }
  }

  private inputUdp(at: number, length: number, source: number, destination: number, checksumDone: boolean): void {
    const { bytes, view } = this.packet;
    const toServer = destination === BROADCAST_ADDRESS || destination === this.options.host;
    if (length >= 8 && toServer && view.getUint16(at + 2) === DHCP_SERVER_PORT) {
      const answer = this.dhcp.answer(bytes.slice(at + 8, at + length));
      if (!answer) return;
      if (answer.address !== 0) this.neighbours.learn(answer.address, bytes, ETHERNET_AT + 6);
      this.udp.send(this.options.host, DHCP_SERVER_PORT, BROADCAST_ADDRESS, DHCP_CLIENT_PORT, answer.message);
      return;
    }
    if (!this.neighbours.find(source)) return;
    this.udp.input(bytes.subarray(at, at + length), source, destination, checksumDone);
  }

  private inputIcmp(at: number, length: number, source: number, destination: number): void {
    const { bytes } = this.packet;
    const message = bytes.subarray(at, at + length);
    if (!isEchoRequest(message)) return;
    const { host, dns } = this.options;
    if (destination === host || destination === dns) {
      this.sendIpv4(destination, source, PROTOCOL_ICMP, echoReply(message));
    } else if (isUnicast(destination)) {
      const packet = bytes.subarray(IPV4_AT, at + length);
      this.sendIpv4(host, source, PROTOCOL_ICMP, unreachable(CODE_ADMINISTRATIVELY_PROHIBITED, packet));
    }
  }
}

/** The MAC addresses of the network's own hosts, as QEMU makes them. */
function macOf(address: number): Uint8Array {
  return Uint8Array.of(0x52, 0x55, address >>> 24, address >>> 16, address >>> 8, address);
}
