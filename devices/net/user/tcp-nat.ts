/** The TCP side of the user network: the guest's connections to the world, and hostfwd's connections to the guest. */

import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { GuestMemory } from '../../bus.ts';
import type { SegmentList } from '../backend.ts';
import { fold, sumBytes, sumPseudoHeader } from '../checksum.ts';
import { errorCode, NetBackendError } from '../errors.ts';
import { isLoopback, parseIpv4 } from './addresses.ts';
import { CODE_ADMINISTRATIVELY_PROHIBITED, CODE_HOST_UNREACHABLE, CODE_NET_UNREACHABLE, unreachable } from './icmp.ts';
import type { Link } from './link.ts';
import type { Neighbour } from './neighbours.ts';
import type { HostForward } from './options.ts';
import { IPV4_AT, IPV4_SIZE, Packet, PROTOCOL_ICMP, PROTOCOL_TCP, TRANSPORT_AT } from './packet.ts';
import type { Resolver } from './resolver.ts';
import { TcpConnection, type TcpOwner } from './tcp-connection.ts';
import { TCP_ACK, TCP_RST, TCP_SIZE, TCP_SYN, TcpSegment, writeTcpHeader } from './tcp-segment.ts';

/** Connections at once, so that a guest cannot use up the host's memory and descriptors. */
const MAX_CONNECTIONS = 1024;
/** Connections of hostfwd that wait until the guest's address is known. */
const MAX_WAITING = 128;
const BUCKETS = 1024;
const TICK_MS = 50;
const ARP_INTERVAL_MS = 250;
const DNS_PORT = 53;
/** Source ports of forwarded connections from this host, in the guest's view. */
const FIRST_PORT = 1024;

interface Forward {
  readonly rule: HostForward;
  readonly server: Server;
  readonly waiting: Socket[];
}

export class TcpNat implements TcpOwner {
  private readonly link: Link;
  private readonly resolver: Resolver;
  private readonly buckets: (TcpConnection | undefined)[] = new Array(BUCKETS).fill(undefined);
  private readonly connections = new Set<TcpConnection>();
  private readonly readyQueue: TcpConnection[] = [];
  private readonly forwards: Forward[] = [];
  private readonly segment = new TcpSegment();
  /** Resets are made here. */
  private readonly scratch = new Packet(TRANSPORT_AT + TCP_SIZE);
  private ticking: NodeJS.Timeout | undefined;
  private nextArp = 0;
  private lastPort = FIRST_PORT - 1;

  constructor(link: Link, resolver: Resolver) {
    this.link = link;
    this.resolver = resolver;
  }

  /**
   * Starts a hostfwd.
   * @returns the port of the host
   * @throws NetBackendError when the port cannot be had
   */
  async forward(rule: HostForward): Promise<number> {
    const waiting: Socket[] = [];
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    const { hostAddress, hostPort } = rule;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(new NetBackendError(listenFailure(rule, errorCode(error)))));
      server.listen(hostPort, hostAddress, resolve);
    });
    const forward = { rule, server, waiting };
    this.forwards.push(forward);
    server.on('connection', (socket) => {
      // A client that gives up while it waits must not end the program.
      socket.on('error', () => {});
      if (waiting.length === MAX_WAITING) {
        socket.destroy();
        return;
      }
      waiting.push(socket);
      this.connectWaiting();
      this.timed();
    });
    // Running out of descriptors loses a connection, not the listener.
    server.on('error', () => {});
    const address = server.address();
    return typeof address === 'object' && address ? address.port : hostPort;
  }

  /** Connects the clients that waited for the guest, where its address is known now. */
  connectWaiting(): void {
    for (const { rule, waiting } of this.forwards) {
      const guest = this.target(rule);
      if (!guest) continue;
      for (const socket of waiting.splice(0)) this.connectToGuest(rule, socket, guest);
    }
  }

  /** @param length bytes of TCP header and payload at `at` in `packet`. */
  input(packet: Packet, at: number, length: number, source: number, destination: number, checksumDone: boolean): void {
    const { segment } = this;
    if (!segment.parse(packet, at, length)) return;
    if (!checksumDone) {
      const sum = sumBytes(packet.bytes, at, length, sumPseudoHeader(source, destination, PROTOCOL_TCP, length));
      if (fold(sum) !== 0xffff) return;
    }
    let connection = this.find(source, segment.sourcePort, destination, segment.destinationPort);
    // A new connection from the port of one that is over (RFC 9293 §3.10.7.4, RFC 6191).
    if (connection?.timeWait && segment.flags & TCP_SYN) {
      connection.close();
      connection = undefined;
    }
    if (connection) connection.input(segment, packet.bytes);
    else if (segment.flags & TCP_RST) return;
    else if ((segment.flags & (TCP_SYN | TCP_ACK)) === TCP_SYN) this.accept(source, destination);
    else this.refuse(source, destination);
  }

  /** Might {@link emit} give something? */
  get waiting(): boolean {
    return this.readyQueue.length > 0;
  }

  /** The next segment of whichever connection's turn it is. @returns its bytes; 0: none has one */
  emit(memory: GuestMemory, segments: SegmentList, room: number, out: Packet): number {
    for (;;) {
      const connection = this.readyQueue[0];
      if (!connection) return 0;
      const stored = connection.emit(memory, segments, room, out, this.link.guestOffloads);
      this.readyQueue.shift();
      if (stored > 0) {
        this.readyQueue.push(connection);
        return stored;
      }
      connection.queued = false;
    }
  }

  close(): void {
    clearTimeout(this.ticking);
    for (const { server, waiting } of this.forwards) {
      server.close();
      for (const socket of waiting) socket.destroy();
    }
    for (const connection of this.connections) connection.abort();
  }

  // TcpOwner

  now(): number {
    return this.link.now();
  }

  ready(connection: TcpConnection): void {
    if (!connection.queued) {
      connection.queued = true;
      this.readyQueue.push(connection);
    }
    this.link.wake();
  }

  timed(): void {
    if (this.ticking) return;
    this.ticking = setTimeout(() => this.tick(), TICK_MS);
    this.ticking.unref();
  }

  remove(connection: TcpConnection): void {
    this.connections.delete(connection);
    const bucket = hash(
      connection.guest.address,
      connection.guestPort,
      connection.remoteAddress,
      connection.remotePort,
    );
    let previous: TcpConnection | undefined;
    for (let found = this.buckets[bucket]; found; previous = found, found = found.chain) {
      if (found !== connection) continue;
      if (previous) previous.chain = found.chain;
      else this.buckets[bucket] = found.chain;
      return;
    }
  }

  unreachable(connection: TcpConnection, syn: number, code: string): void {
    const { guest, guestPort, remoteAddress, remotePort } = connection;
    const icmp = ICMP_CODES.get(code);
    if (icmp === undefined) {
      this.sendReset(guest.address, guestPort, remoteAddress, remotePort, 0, syn + 1, TCP_RST | TCP_ACK);
    } else {
      this.sendUnreachable(icmp, guest.address, guestPort, remoteAddress, remotePort, syn);
    }
  }

  reset(connection: TcpConnection, sequence: number, acknowledgment: number, flags: number): void {
    const { guest, guestPort, remoteAddress, remotePort } = connection;
    this.sendReset(guest.address, guestPort, remoteAddress, remotePort, sequence, acknowledgment, flags);
  }

  // The guest connects to the world.

  private accept(source: number, destination: number): void {
    const { segment } = this;
    const guest = this.link.neighbours.find(source);
    const host = this.hostOf(destination);
    if (!guest || this.full()) {
      this.refuse(source, destination);
      return;
    }
    if (host === undefined) {
      const { sourcePort, destinationPort, sequence } = segment;
      const code = CODE_ADMINISTRATIVELY_PROHIBITED;
      this.sendUnreachable(code, source, sourcePort, destination, destinationPort, sequence);
      return;
    }
    const port = segment.destinationPort;
    const dns = destination === this.link.options.dns && port === DNS_PORT;
    const socket = createConnection({
      host,
      port: dns ? this.resolver.port : port,
      allowHalfOpen: true,
      noDelay: true,
    });
    this.add(new TcpConnection(this, socket, guest, segment.sourcePort, destination, port)).listen(segment);
  }

  private hostOf(destination: number): string | undefined {
    if (this.link.options.restrict) return undefined;
    if (destination === this.link.options.dns) return this.resolver.address;
    return this.link.hostAddress(destination);
  }

  /** Answers a segment that belongs to no connection (RFC 9293 §3.10.7.1). */
  private refuse(source: number, destination: number): void {
    const { sourcePort, destinationPort, sequence, acknowledgment, flags, payloadLength } = this.segment;
    if (flags & TCP_ACK) {
      this.sendReset(source, sourcePort, destination, destinationPort, acknowledgment, 0, TCP_RST);
    } else {
      const end = sequence + payloadLength + (flags & TCP_SYN ? 1 : 0);
      this.sendReset(source, sourcePort, destination, destinationPort, 0, end, TCP_RST | TCP_ACK);
    }
  }

  // The world connects to the guest.

  private target(rule: HostForward): Neighbour | undefined {
    const { neighbours } = this.link;
    return rule.guestAddress === 0 ? neighbours.latest : neighbours.find(rule.guestAddress);
  }

  private connectToGuest(rule: HostForward, socket: Socket, guest: Neighbour): void {
    if (socket.destroyed || this.full()) {
      socket.destroy();
      return;
    }
    const client = clientAddress(socket);
    // Clients on this host appear as the gateway. Their ports are taken in turn: many guests remember a closed
    // connection for minutes, and the host would use a port again sooner.
    const local = client === undefined || isLoopback(client) || client === guest.address;
    const address = local ? this.link.options.host : client;
    let port = local ? 0 : (socket.remotePort ?? 0);
    while (port === 0 || this.find(guest.address, rule.guestPort, address, port)) port = this.nextPort();
    socket.removeAllListeners('error');
    this.add(new TcpConnection(this, socket, guest, rule.guestPort, address, port)).connect();
    socket.resume();
  }

  private nextPort(): number {
    this.lastPort = this.lastPort === 65535 ? FIRST_PORT : this.lastPort + 1;
    return this.lastPort;
  }

  // The table.

  /** Is there no room for another connection? One that is over, and only waits for late segments, gives way. */
  private full(): boolean {
    if (this.connections.size < MAX_CONNECTIONS) return false;
    for (const connection of this.connections) {
      if (connection.timeWait) {
        connection.close();
        return false;
      }
    }
    return true;
  }

  private find(guest: number, guestPort: number, remoteAddress: number, remotePort: number): TcpConnection | undefined {
    let found = this.buckets[hash(guest, guestPort, remoteAddress, remotePort)];
    while (found) {
      if (
        found.guestPort === guestPort &&
        found.remotePort === remotePort &&
        found.remoteAddress === remoteAddress &&
        found.guest.address === guest
      ) {
        return found;
      }
      found = found.chain;
    }
    return undefined;
  }

  private add(connection: TcpConnection): TcpConnection {
    const { guest, guestPort, remoteAddress, remotePort } = connection;
    const bucket = hash(guest.address, guestPort, remoteAddress, remotePort);
    connection.chain = this.buckets[bucket];
    this.buckets[bucket] = connection;
    this.connections.add(connection);
    return connection;
  }

  /** Serves the timers of all connections, and asks for a guest that clients wait for. */
  private tick(): void {
    this.ticking = undefined;
    const now = this.now();
    let more = false;
    for (const connection of this.connections) {
      if (connection.deadline <= now) connection.expire();
      if (connection.deadline !== Number.POSITIVE_INFINITY) more = true;
    }
    for (const { rule, waiting } of this.forwards) {
      if (waiting.length === 0) continue;
      more = true;
      if (now >= this.nextArp) this.link.sendArpRequest(rule.guestAddress || this.link.options.dhcpStart);
    }
    if (now >= this.nextArp) this.nextArp = now + ARP_INTERVAL_MS;
    if (more) this.timed();
  }

  // Segments without a connection.

  private sendReset(
    guest: number,
    guestPort: number,
    remoteAddress: number,
    remotePort: number,
    sequence: number,
    acknowledgment: number,
    flags: number,
  ): void {
    const { scratch } = this;
    writeTcpHeader(scratch, remotePort, guestPort, sequence, acknowledgment, flags, 0);
    const sum = sumPseudoHeader(remoteAddress, guest, PROTOCOL_TCP, TCP_SIZE);
    scratch.view.setUint16(TRANSPORT_AT + 16, ~fold(sumBytes(scratch.bytes, TRANSPORT_AT, TCP_SIZE, sum)));
    this.link.sendIpv4(remoteAddress, guest, PROTOCOL_TCP, scratch.bytes.subarray(TRANSPORT_AT));
  }

  /** ICMP about a SYN, of which the headers are made anew as far as the message quotes them. */
  private sendUnreachable(
    code: number,
    guest: number,
    guestPort: number,
    remoteAddress: number,
    remotePort: number,
    sequence: number,
  ): void {
    const { scratch, link } = this;
    scratch.writeIpv4(guest, remoteAddress, PROTOCOL_TCP, TCP_SIZE, 0, 0);
    writeTcpHeader(scratch, guestPort, remotePort, sequence, 0, TCP_SYN, 0);
    const quoted = scratch.bytes.subarray(IPV4_AT, IPV4_AT + IPV4_SIZE + TCP_SIZE);
    link.sendIpv4(link.options.host, guest, PROTOCOL_ICMP, unreachable(code, quoted));
  }
}

/** Failures of connect(2) that are no refusal by the peer. */
const ICMP_CODES = new Map([
  ['EHOSTUNREACH', CODE_HOST_UNREACHABLE],
  ['ETIMEDOUT', CODE_HOST_UNREACHABLE],
  ['ENETUNREACH', CODE_NET_UNREACHABLE],
  ['EACCES', CODE_ADMINISTRATIVELY_PROHIBITED],
  ['EPERM', CODE_ADMINISTRATIVELY_PROHIBITED],
]);

function hash(guest: number, guestPort: number, remoteAddress: number, remotePort: number): number {
  let mixed = Math.imul(guest ^ (guestPort << 16) ^ remotePort, 0x9e3779b1) ^ Math.imul(remoteAddress, 0x85ebca6b);
  mixed ^= mixed >>> 15;
  return mixed & (BUCKETS - 1);
}

/** The client's IPv4 address; undefined when it has none. */
function clientAddress(socket: Socket): number | undefined {
  return parseIpv4((socket.remoteAddress ?? '').replace(/^::ffff:/, ''));
}

export function listenFailure(rule: HostForward, code: string): string {
  const where = `hostfwd ${rule.protocol} ${rule.hostAddress}:${rule.hostPort}`;
  switch (code) {
    case 'EADDRINUSE':
      return `user: ${where}: the port is in use: stop the program that has it, or take another host port`;
    case 'EACCES':
    case 'EPERM':
      return `user: ${where}: not permitted: take a host port from 1024 on`;
    case 'EADDRNOTAVAIL':
      return `user: ${where}: this host has no such address: take one of its own, or leave it out`;
    default:
      return `user: ${where}: cannot listen (${code}): take another address or port`;
  }
}
