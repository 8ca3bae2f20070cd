/**
 * One TCP connection of the guest (RFC 9293) tied to one socket of the host. The guest's end is a real TCP endpoint;
 * bytes, half-closes and resets pass between it and the socket.
 *
 * Segments for the guest are made when the guest has a buffer for one (see {@link TcpConnection.emit}), straight into
 * it, so none waits and an acknowledgment is always up to date.
 */

import type { Socket } from 'node:net';
import type { GuestMemory } from '../../bus.ts';
import { type SegmentList, TUN_F_CSUM, TUN_F_TSO4, VNET_HDR_SIZE } from '../backend.ts';
import { fold, sumBytes, sumPseudoHeader } from '../checksum.ts';
import { errorCode } from '../errors.ts';
import { scatter } from '../segments.ts';
import { SocketReader, SocketWriter } from '../socket-pump.ts';
import type { Neighbour } from './neighbours.ts';
import {
  ETHERNET_SIZE,
  IPV4_DONT_FRAGMENT,
  IPV4_SIZE,
  MTU,
  type Packet,
  PROTOCOL_TCP,
  TRANSPORT_AT,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VNET_AT,
} from './packet.ts';
import { TcpReceiver, WINDOW_SCALE } from './tcp-receiver.ts';
import {
  TCP_ACK,
  TCP_FIN,
  TCP_OPTION_MSS,
  TCP_OPTION_NOP,
  TCP_OPTION_WINDOW_SCALE,
  TCP_PSH,
  TCP_RST,
  TCP_SIZE,
  TCP_SYN,
  type TcpSegment,
  writeTcpHeader,
} from './tcp-segment.ts';
import { TcpSender } from './tcp-sender.ts';

const OUR_MSS = MTU - IPV4_SIZE - TCP_SIZE;
const SYN_OPTIONS_SIZE = 8;
const HEADERS_SIZE = ETHERNET_SIZE + IPV4_SIZE + TCP_SIZE;
/** Payload of the longest IPv4 packet. */
const MAX_GSO_PAYLOAD = 65535 - IPV4_SIZE - TCP_SIZE;
/** How long a finished connection still answers a repeated FIN. The guest's packets cannot be older. */
const TIME_WAIT_MS = 1000;

/** connecting: the host's socket is not connected yet, and the guest's SYN not answered. */
type Phase = 'connecting' | 'syn-sent' | 'syn-received' | 'open' | 'time-wait' | 'closed';

/** What a connection asks of {@link TcpNat}. */
export interface TcpOwner {
  now(): number;
  /** The connection has something for the guest. */
  ready(connection: TcpConnection): void;
  /** A timer of the connection may have been started. */
  timed(): void;
  /** The connection is over. */
  remove(connection: TcpConnection): void;
  /** The guest's SYN, with this sequence number, got nowhere: the host's connect failed with this error code. */
  unreachable(connection: TcpConnection, syn: number, code: string): void;
  reset(connection: TcpConnection, sequence: number, acknowledgment: number, flags: number): void;
}

export class TcpConnection {
  readonly guest: Neighbour;
  readonly guestPort: number;
  /** The other end as the guest sees it. */
  readonly remoteAddress: number;
  readonly remotePort: number;
  /** Next in the same chain of the owner's table. */
  chain: TcpConnection | undefined;
  /** Is it in the owner's queue of connections with something to send? */
  queued = false;
  private readonly owner: TcpOwner;
  private readonly socket: Socket;
  private readonly sender: TcpSender;
  private readonly receiver: TcpReceiver;
  private readonly initialSequence = Math.floor(Math.random() * 2 ** 32);
  private phase: Phase;
  private synDue = false;
  private ackDue = false;
  /** The guest's window scale option; -1: none, so windows are not scaled either way. */
  private guestScale = -1;

  /**
   * @param socket connecting, for a SYN that the guest sent ({@link listen} comes next); or connected, for the guest
   * to answer ({@link connect} comes next).
   */
  constructor(
    owner: TcpOwner,
    socket: Socket,
    guest: Neighbour,
    guestPort: number,
    remoteAddress: number,
    remotePort: number,
  ) {
    this.owner = owner;
    this.socket = socket;
    this.guest = guest;
    this.guestPort = guestPort;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.phase = 'connecting';
    const reader = new SocketReader(socket, () => owner.ready(this));
    const writer = new SocketWriter(socket, () => this.spaceFreed());
    this.sender = new TcpSender(reader);
    this.receiver = new TcpReceiver(writer);
    this.sender.unacknowledged = this.initialSequence;
    socket.on('end', () => {
      this.sender.ended = true;
      owner.ready(this);
    });
    socket.on('error', (error) => this.socketFailed(errorCode(error)));
    socket.on('close', () => this.socketFailed('closed'));
  }

  get timeWait(): boolean {
    return this.phase === 'time-wait';
  }

  /** When {@link expire} is due, ms. */
  get deadline(): number {
    return this.sender.deadline;
  }

  /** The guest's SYN waits until the host's socket is connected. */
  listen(syn: TcpSegment): void {
    this.takeSyn(syn);
    this.socket.once('connect', () => {
      this.phase = 'syn-received';
      this.sendSyn();
    });
  }

  /** Opens the connection to the guest. */
  connect(): void {
    this.phase = 'syn-sent';
    this.sendSyn();
  }

  /** A segment of the guest arrived; its payload lies in `bytes`. */
  input(segment: TcpSegment, bytes: Uint8Array): void {
    const { flags } = segment;
    switch (this.phase) {
      case 'connecting':
        if (flags & TCP_RST) this.abort();
        return;
      case 'syn-sent':
        this.inputSynSent(segment);
        return;
      case 'time-wait':
        if (flags & TCP_RST) this.close();
        else if (flags & TCP_FIN) this.acknowledgeNow();
        return;
      case 'closed':
        return;
    }
    if (flags & TCP_RST) {
      if (this.receiver.inWindow(segment.sequence)) this.abort();
      return;
    }
    if (flags & TCP_SYN) {
      // Our answer was lost, or (RFC 5961 §4) the guest forgot the connection and will say so.
      if (this.phase === 'syn-received') this.sendSyn();
      else this.acknowledgeNow();
      return;
    }
    if (!(flags & TCP_ACK)) return;
    if (this.phase === 'syn-received') {
      if (segment.acknowledgment !== (this.initialSequence + 1) >>> 0) {
        this.owner.reset(this, segment.acknowledgment, 0, TCP_RST);
        return;
      }
      this.open(segment, Math.max(0, this.guestScale));
    }
    if (!this.sender.acknowledge(segment, this.owner.now())) {
      this.acknowledgeNow();
      return;
    }
    this.inputData(segment, bytes);
    this.owner.timed();
    if (this.finishIfDone()) return;
    this.owner.ready(this);
  }

  /**
   * Makes the next segment for the guest, in `segments`.
   * @param room bytes in `segments`
   * @param out headers are made here; its Ethernet source address and type are filled in
   * @param offloads TUN_F_* kinds of packet that the guest takes
   * @returns bytes stored; 0: nothing to send now
   */
  emit(memory: GuestMemory, segments: SegmentList, room: number, out: Packet, offloads: number): number {
    const space = room - VNET_HDR_SIZE - HEADERS_SIZE;
    const now = this.owner.now();
    switch (this.phase) {
      case 'syn-sent':
      case 'syn-received':
        return this.synDue && space >= SYN_OPTIONS_SIZE ? this.emitSyn(memory, segments, out, now) : 0;
      case 'open': {
        const { sender } = this;
        const gso = offloads & TUN_F_TSO4 && offloads & TUN_F_CSUM;
        const planned = sender.plan(Math.min(space, gso ? MAX_GSO_PAYLOAD : sender.mss), now);
        this.owner.timed();
        if ((!planned && !this.ackDue) || space < 0) return 0;
        const sequence = planned ? (sender.unacknowledged + sender.planOffset) >>> 0 : sender.next;
        const length = planned ? sender.planLength : 0;
        const fin = planned && sender.planFin;
        const last = length > 0 && sender.planOffset + length === sender.ring.length;
        const flags = TCP_ACK | (last ? TCP_PSH : 0) | (fin ? TCP_FIN : 0);
        this.writeHeader(out, sequence, flags, this.receiver.advertise());
        const offset = sender.planOffset;
        if (length > 0) sender.ring.scatter(offset, length, memory, segments, VNET_HDR_SIZE + HEADERS_SIZE);
        const stored = this.finish(memory, segments, out, TCP_SIZE, offset, length, offloads);
        if (planned) sender.sent(now);
        this.ackDue = false;
        this.owner.timed();
        return stored;
      }
      case 'time-wait':
        if (!this.ackDue || space < 0) return 0;
        this.ackDue = false;
        this.writeHeader(out, this.sender.next, TCP_ACK, this.receiver.advertise());
        return this.finish(memory, segments, out, TCP_SIZE, 0, 0, offloads);
      default:
        return 0;
    }
  }

  /** The timer ended. */
  expire(): void {
    if (this.phase === 'time-wait') {
      this.close();
    } else if (this.sender.expire()) {
      this.synDue = true;
      this.owner.ready(this);
    } else {
      if (this.phase === 'open') this.owner.reset(this, this.sender.next, this.receiver.next, TCP_RST | TCP_ACK);
      this.abort();
    }
  }

  /** Ends both sides at once; the host's peer sees a reset. */
  abort(): void {
    this.close();
    if (this.socket.connecting) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** Forgets the connection. What the host's socket still has to send, it sends by itself. */
  close(): void {
    if (this.phase === 'closed') return;
    this.phase = 'closed';
    this.sender.deadline = Number.POSITIVE_INFINITY;
    this.owner.remove(this);
  }

  private takeSyn(syn: TcpSegment): void {
    this.guestScale = syn.windowScale;
    this.sender.mss = Math.min(syn.mss, OUR_MSS);
    this.sender.setWindow(syn, 0);
    this.receiver.start((syn.sequence + 1) >>> 0, this.guestScale < 0 ? 0 : WINDOW_SCALE);
  }

  private sendSyn(): void {
    this.synDue = true;
    this.owner.ready(this);
  }

  private inputSynSent(segment: TcpSegment): void {
    const { flags, acknowledgment } = segment;
    if (flags & TCP_ACK && acknowledgment !== (this.initialSequence + 1) >>> 0) {
      if (!(flags & TCP_RST)) this.owner.reset(this, acknowledgment, 0, TCP_RST);
      return;
    }
    if (flags & TCP_RST) {
      if (flags & TCP_ACK) this.abort();
      return;
    }
    // A SYN alone would be a simultaneous open: our port numbers are our own, so no guest means that.
    if (!(flags & TCP_SYN) || !(flags & TCP_ACK)) return;
    this.takeSyn(segment);
    this.open(segment, 0);
    this.acknowledgeNow();
  }

  /** @param scale of the window in this segment: none if it is a SYN. */
  private open(segment: TcpSegment, scale: number): void {
    this.phase = 'open';
    this.synDue = false;
    this.sender.start((this.initialSequence + 1) >>> 0, Math.max(0, this.guestScale));
    this.sender.setWindow(segment, scale);
  }

  private inputData(segment: TcpSegment, bytes: Uint8Array): void {
    const { sequence, payloadLength } = segment;
    const fin = (segment.flags & TCP_FIN) !== 0;
    if (payloadLength === 0 && !fin) {
      // Keep-alives and probes of a closed window lie outside of what is expected, and want an answer.
      if (!this.receiver.inWindow(sequence)) this.ackDue = true;
      return;
    }
    this.ackDue = true;
    const push = (segment.flags & TCP_PSH) !== 0;
    this.receiver.accept(sequence, bytes, segment.payloadAt, payloadLength, push, fin);
    this.endSocketIfDrained();
  }

  /** The guest's bytes left the ring. */
  private spaceFreed(): void {
    this.endSocketIfDrained();
    if (this.phase === 'open' && this.receiver.updateDue()) this.acknowledgeNow();
  }

  private endSocketIfDrained(): void {
    if (this.receiver.finished && this.receiver.ring.length === 0 && !this.socket.writableEnded) this.socket.end();
  }

  private acknowledgeNow(): void {
    this.ackDue = true;
    this.owner.ready(this);
  }

  /** Both directions are closed and acknowledged. */
  private finishIfDone(): boolean {
    if (!this.receiver.finished || !this.sender.finished) return false;
    // The guest's FIN still wants its acknowledgment; when ours came later, the guest acknowledged that one already.
    if (this.phase === 'open' && this.ackDue) {
      this.phase = 'time-wait';
      this.sender.deadline = this.owner.now() + TIME_WAIT_MS;
      this.owner.ready(this);
      this.owner.timed();
    } else {
      this.close();
    }
    return true;
  }

  /** The host's socket broke or was closed; afterwards it is of no use. */
  private socketFailed(code: string): void {
    switch (this.phase) {
      case 'connecting':
        this.close();
        this.owner.unreachable(this, (this.receiver.next - 1) >>> 0, code);
        return;
      case 'syn-sent':
        this.close();
        return;
      case 'syn-received':
      case 'open':
        // An orderly close: both sides said all they had to say; the rest is between the ring and the guest.
        if (code === 'closed' && this.sender.ended && this.socket.writableFinished) return;
        this.owner.reset(this, this.sender.next, this.receiver.next, TCP_RST | TCP_ACK);
        this.close();
        this.socket.destroy();
    }
  }

  private emitSyn(memory: GuestMemory, segments: SegmentList, out: Packet, now: number): number {
    const answer = this.phase === 'syn-received';
    const flags = answer ? TCP_SYN | TCP_ACK : TCP_SYN;
    const scaled = !answer || this.guestScale >= 0;
    this.writeHeader(out, this.initialSequence, flags, this.receiver.advertiseUnscaled());
    const { view } = out;
    const options = TRANSPORT_AT + TCP_SIZE;
    view.setUint32(options, (TCP_OPTION_MSS << 24) | (4 << 16) | OUR_MSS);
    view.setUint32(
      options + 4,
      scaled ? (TCP_OPTION_NOP << 24) | (TCP_OPTION_WINDOW_SCALE << 16) | (3 << 8) | WINDOW_SCALE : 0,
    );
    const headerLength = TCP_SIZE + SYN_OPTIONS_SIZE;
    view.setUint8(TRANSPORT_AT + 12, (headerLength / 4) << 4);
    this.synDue = false;
    this.sender.startTimer(now);
    this.owner.timed();
    return this.finish(memory, segments, out, headerLength, 0, 0, 0);
  }

  private writeHeader(out: Packet, sequence: number, flags: number, window: number): void {
    const acknowledgment = flags & TCP_ACK ? this.receiver.next : 0;
    writeTcpHeader(out, this.remotePort, this.guestPort, sequence, acknowledgment, flags, window);
  }

  /** Completes the headers and stores them in front of the payload. @returns bytes of the packet */
  private finish(
    memory: GuestMemory,
    segments: SegmentList,
    out: Packet,
    headerLength: number,
    offset: number,
    length: number,
    offloads: number,
  ): number {
    const { view, bytes } = out;
    const { sender } = this;
    const { mac, address } = this.guest;
    out.writeDestination(mac);
    out.writeIpv4(this.remoteAddress, address, PROTOCOL_TCP, headerLength + length, 0, IPV4_DONT_FRAGMENT);
    const pseudo = sumPseudoHeader(this.remoteAddress, address, PROTOCOL_TCP, headerLength + length);
    const gso = length > sender.mss;
    // virtio_net_hdr_v1, little-endian
    if (offloads & TUN_F_CSUM) {
      view.setUint16(TRANSPORT_AT + 16, pseudo);
      bytes[VNET_AT] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
      bytes[VNET_AT + 1] = gso ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
      view.setUint16(VNET_AT + 2, gso ? HEADERS_SIZE : 0, true);
      view.setUint16(VNET_AT + 4, gso ? sender.mss : 0, true);
      view.setUint16(VNET_AT + 6, ETHERNET_SIZE + IPV4_SIZE, true);
      view.setUint16(VNET_AT + 8, 16, true);
    } else {
      const payload = length > 0 ? sender.ring.sum(offset, length) : 0;
      view.setUint16(TRANSPORT_AT + 16, ~fold(sumBytes(bytes, TRANSPORT_AT, headerLength, pseudo + payload)));
      bytes.fill(0, VNET_AT, VNET_AT + 10);
    }
    const total = VNET_HDR_SIZE + ETHERNET_SIZE + IPV4_SIZE + headerLength;
    scatter(memory, segments, 0, bytes, VNET_AT, total);
    return total + length;
  }
}
