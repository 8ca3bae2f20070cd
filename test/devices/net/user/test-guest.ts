/**
 * A small guest on a UserBackend: answers ARP, sends datagrams, and has a TCP of its own, written apart from the code
 * under test, whose wire can lose and reorder packets.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { type NetBackend, VNET_HDR_SIZE } from '../../../../devices/net/backend.ts';
import { arp, ethernet, ipBytes, ipText, ipv4, parseTcp, type ReceivedTcp, tcp, udp } from '../frames.ts';
import { GuestBuffers } from '../guest-buffers.ts';

export const GATEWAY_MAC = '52:55:0a:00:02:02';
export const GUEST_MAC = '52:54:00:12:34:56';
export const GUEST_IP = '10.0.2.15';
export const GATEWAY = '10.0.2.2';
export const NAME_SERVER = '10.0.2.3';

/** What happens to each packet on the wire, both ways; the default passes all. */
export interface Wire {
  /** @returns whether the packet arrives */
  passes(): boolean;
  /** @returns whether the packet is overtaken by the next one */
  delays(): boolean;
}

const PERFECT: Wire = { passes: () => true, delays: () => false };

export class TestGuest {
  readonly buffers: GuestBuffers;
  readonly ip: string;
  /** Frames received that no connection took. */
  readonly frames: Buffer[] = [];
  readonly connections: TestConnection[] = [];
  /** Accepts connections when set. */
  onConnection: ((connection: TestConnection) => void) | undefined;
  /** Bytes of the buffer for each packet. */
  capacity = 2048;
  /** With the frame's header flags of the last packet. */
  lastHeader: Buffer = Buffer.alloc(0);
  wire = PERFECT;
  private held: Buffer[] = [];
  private nextPort = 40000;

  constructor(backend: NetBackend, ip = GUEST_IP) {
    this.buffers = new GuestBuffers(backend);
    this.ip = ip;
  }

  announce(): void {
    this.buffers.send(
      ethernet('ff:ff:ff:ff:ff:ff', GUEST_MAC, 0x0806, arp(1, GUEST_MAC, this.ip, '00:00:00:00:00:00', this.ip)),
    );
  }

  sendIp(packet: Buffer, header?: Uint8Array): void {
    this.buffers.send(ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, packet), [12, 14, 20, 1000], header);
  }

  sendUdp(port: number, to: string, toPort: number, payload: Uint8Array): void {
    this.sendIp(ipv4({ from: this.ip, to, protocol: 17 }, udp(this.ip, port, to, toPort, payload)));
  }

  sendTcp(segment: Buffer, to: string): void {
    if (!this.wire.passes()) return;
    const packet = ipv4({ from: this.ip, to, protocol: 6 }, segment);
    if (this.wire.delays()) {
      this.held.push(packet);
      return;
    }
    this.sendIp(packet);
    for (const late of this.held.splice(0)) this.sendIp(late);
  }

  connect(to: string, toPort: number): TestConnection {
    const connection = new TestConnection(this, this.nextPort++, to, toPort);
    this.connections.push(connection);
    connection.open();
    return connection;
  }

  /** Takes every packet that waits. @returns how many */
  receiveAll(): number {
    const frames: Buffer[] = [];
    for (let packet = this.buffers.receive(this.capacity); packet; packet = this.buffers.receive(this.capacity)) {
      this.lastHeader = packet.subarray(0, VNET_HDR_SIZE);
      frames.push(packet.subarray(VNET_HDR_SIZE));
    }
    for (let i = 0; i + 1 < frames.length; i++) {
      if (this.wire.delays()) [frames[i], frames[i + 1]] = [frames[i + 1], frames[i]];
    }
    for (const frame of frames) this.take(frame);
    return frames.length;
  }

  /** Lets both sides run until `done`; what was lost is repeated when nothing else happens. */
  async until(done: () => boolean, what: string, timeoutMs = 10_000, onIdle = () => {}): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let idle = 0;
    while (!done()) {
      if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
      idle = this.receiveAll() > 0 ? 0 : idle + 1;
      await turn();
      if (idle >= 20) {
        idle = 0;
        for (const connection of this.connections) connection.repeat();
        onIdle();
      }
    }
  }

  private take(frame: Buffer): void {
    if (frame.readUInt16BE(12) === 0x0806) {
      if (frame.readUInt16BE(20) === 1 && ipText(frame.subarray(38, 42)) === this.ip) {
        const asker = frame.subarray(22, 28).toString('hex');
        const reply = arp(2, GUEST_MAC, this.ip, asker, ipText(frame.subarray(28, 32)));
        this.buffers.send(ethernet(asker, GUEST_MAC, 0x0806, reply));
      }
      this.frames.push(frame);
      return;
    }
    const segment = parseTcp(frame);
    if (!segment || !frame.subarray(30, 34).equals(ipBytes(this.ip))) {
      this.frames.push(frame);
      return;
    }
    if (!this.wire.passes()) return;
    const known = this.connections.find(
      (c) => c.port === segment.toPort && c.remotePort === segment.fromPort && c.remote === segment.from,
    );
    if (known) {
      known.input(segment);
    } else if (segment.flags === 'S' && this.onConnection) {
      const connection = new TestConnection(this, segment.toPort, segment.from, segment.fromPort);
      this.connections.push(connection);
      connection.input(segment);
      this.onConnection(connection);
    } else {
      this.frames.push(frame);
      if (segment.flags === 'S') {
        const reset = { from: this.ip, fromPort: segment.toPort, to: segment.from, toPort: segment.fromPort };
        this.sendTcp(tcp({ ...reset, seq: 0, ack: segment.seq + 1, flags: 'RA', window: 0 }), segment.from);
      }
    }
  }
}

const distance = (a: number, b: number) => (a - b) | 0;

/** Go-back-N, no options but MSS: as plain as TCP can be. */
export class TestConnection {
  readonly port: number;
  readonly remote: string;
  readonly remotePort: number;
  established = false;
  /** A reset arrived. */
  reset = false;
  /** The peer's FIN arrived. */
  ended = false;
  /** Our FIN was acknowledged. */
  finished = false;
  received: Buffer[] = [];
  receivedLength = 0;
  /** What we tell the peer it may send. */
  window = 65535;
  mss = 1460;
  checksumsGood = true;
  largestPayload = 0;
  /** Segments with data that came while the window was closed; their data is not taken. */
  probes = 0;
  /** Segments that came before those in front of them. */
  gaps = 0;
  private readonly guest: TestGuest;
  private readonly iss = Math.floor(Math.random() * 2 ** 32);
  private pending = Buffer.alloc(0);
  private una: number;
  private sent = 0;
  private peerWindow = 0;
  private rcvNext = 0;
  private finQueued = false;
  private early = new Map<number, Buffer>();

  constructor(guest: TestGuest, port: number, remote: string, remotePort: number) {
    this.guest = guest;
    this.port = port;
    this.remote = remote;
    this.remotePort = remotePort;
    this.una = this.iss;
  }

  get data(): Buffer {
    return Buffer.concat(this.received);
  }

  /** Bytes that the peer has not acknowledged. */
  get unacknowledged(): number {
    return this.pending.length;
  }

  open(): void {
    this.segment('S', this.iss, Buffer.alloc(0), Buffer.from([2, 4, this.mss >>> 8, this.mss & 0xff]));
  }

  write(data: Uint8Array): void {
    this.pending = Buffer.concat([this.pending, data]);
    this.transmit();
  }

  end(): void {
    this.finQueued = true;
    this.transmit();
  }

  sendReset(): void {
    this.segment('RA', (this.una + this.sent) >>> 0);
  }

  /** Tells the peer of a changed window. */
  acknowledge(): void {
    this.segment('A', (this.una + this.sent) >>> 0);
  }

  repeat(): void {
    if (this.reset) return;
    if (!this.established) {
      if (this.rcvNext === 0) this.open();
      else this.synAck();
      return;
    }
    this.sent = 0;
    this.transmit();
  }

  input(segment: ReceivedTcp): void {
    this.checksumsGood &&= segment.checksumGood;
    if (segment.flags.includes('R')) {
      this.reset = true;
      return;
    }
    if (segment.flags.includes('S')) {
      this.rcvNext = (segment.seq + 1) >>> 0;
      if (!segment.flags.includes('A')) {
        this.synAck();
        return;
      }
      if (!this.established) {
        this.established = true;
        this.una = (this.iss + 1) >>> 0;
        this.peerWindow = segment.window;
      }
      this.acknowledge();
      this.transmit();
      return;
    }
    if (!this.established) {
      if (segment.ack !== (this.iss + 1) >>> 0) return;
      this.established = true;
      this.una = segment.ack;
    }
    this.takeAck(segment);
    if (segment.payload.length > 0 || segment.flags.includes('F')) this.takeData(segment);
    this.transmit();
  }

  private synAck(): void {
    this.segment('SA', this.iss, Buffer.alloc(0), Buffer.from([2, 4, this.mss >>> 8, this.mss & 0xff]));
  }

  private takeAck(segment: ReceivedTcp): void {
    this.peerWindow = segment.window;
    const acked = distance(segment.ack ?? 0, this.una);
    if (acked <= 0) return;
    this.una = segment.ack ?? 0;
    this.sent = Math.max(0, this.sent - acked);
    if (acked > this.pending.length) this.finished = true;
    this.pending = this.pending.subarray(Math.min(acked, this.pending.length));
  }

  private takeData(segment: ReceivedTcp): void {
    if (this.window === 0) {
      this.probes++;
      this.acknowledge();
      return;
    }
    if (distance(segment.seq, this.rcvNext) > 0) this.gaps++;
    this.largestPayload = Math.max(this.largestPayload, segment.payload.length);
    this.early.set(segment.seq, segment.flags.includes('F') ? Buffer.concat([segment.payload, FIN]) : segment.payload);
    for (let progress = true; progress; ) {
      progress = false;
      for (const [seq, bytes] of this.early) {
        const skip = distance(this.rcvNext, seq);
        if (skip < 0) continue;
        this.early.delete(seq);
        const fin = bytes.length >= FIN.length && bytes.subarray(bytes.length - FIN.length).equals(FIN);
        const payload = fin ? bytes.subarray(0, bytes.length - FIN.length) : bytes;
        const fresh = payload.subarray(Math.min(skip, payload.length));
        this.received.push(Buffer.from(fresh));
        this.receivedLength += fresh.length;
        this.rcvNext = (this.rcvNext + fresh.length) >>> 0;
        if (fin && !this.ended && distance(this.rcvNext, (seq + payload.length) >>> 0) === 0) {
          this.ended = true;
          this.rcvNext = (this.rcvNext + 1) >>> 0;
        }
        progress = true;
      }
    }
    this.acknowledge();
  }

  private transmit(): void {
    if (!this.established) return;
    while (this.sent < this.pending.length) {
      const length = Math.min(this.mss, this.pending.length - this.sent, this.peerWindow - this.sent);
      if (length <= 0) return;
      const seq = (this.una + this.sent) >>> 0;
      this.sent += length;
      this.segment('PA', seq, this.pending.subarray(this.sent - length, this.sent));
    }
    if (this.finQueued && !this.finished && this.sent === this.pending.length) {
      this.segment('FA', (this.una + this.sent) >>> 0);
      this.sent++;
    }
  }

  private segment(flags: string, seq: number, payload = Buffer.alloc(0), options = Buffer.alloc(0)): void {
    const { port, remote, remotePort, guest, window } = this;
    const ends = { from: guest.ip, fromPort: port, to: remote, toPort: remotePort };
    guest.sendTcp(tcp({ ...ends, seq, ack: this.rcvNext, flags, window, options }, payload), remote);
  }
}

/** Marks a payload that a FIN follows; long enough to be in no test's data by chance. */
const FIN = Buffer.from('<the FIN of this connection follows here>');
