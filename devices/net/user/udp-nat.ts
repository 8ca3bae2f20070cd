/**
 * The UDP side of the user network: each port of the guest gets a socket of the host while it is in use; queries to
 * the network's name server go to the host's resolver; hostfwd sockets bring datagrams in.
 */

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { fold, sumBytes, sumPseudoHeader } from '../checksum.ts';
import { errorCode, NetBackendError } from '../errors.ts';
import { isLoopback, parseIpv4 } from './addresses.ts';
import type { Link } from './link.ts';
import type { HostForward } from './options.ts';
import { PROTOCOL_UDP } from './packet.ts';
import type { Resolver } from './resolver.ts';
import { listenFailure } from './tcp-nat.ts';

const HEADER_SIZE = 8;
const DNS_PORT = 53;

/** Sockets at once; the one idle for longest gives way. */
const MAX_FLOWS = 256;
/** RFC 4787 asks for at least two minutes. */
const FLOW_IDLE_MS = 120_000;
const DNS_IDLE_MS = 10_000;
const SWEEP_MS = 5000;
/** Clients that a hostfwd can answer; the oldest gives way. */
const MAX_CLIENTS = 1024;

/** One port of the guest, towards the world or towards the name server. */
interface Flow {
  readonly socket: Socket;
  readonly idleMs: number;
  lastUsed: number;
}

interface Forward {
  readonly rule: HostForward;
  readonly socket: Socket;
  /** Real addresses of the clients by the one that the guest sees. */
  readonly clients: Map<number, { address: string; port: number }>;
}

/** A socket's address as a Map key. */
const endpoint = (address: number, port: number): number => address * 65536 + port;

export class UdpNat {
  private readonly link: Link;
  private readonly resolver: Resolver;
  private readonly flows = new Map<string, Flow>();
  private readonly forwards: Forward[] = [];
  private sweeping: NodeJS.Timeout | undefined;

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
    const socket = createSocket('udp4');
    const forward: Forward = { rule, socket, clients: new Map() };
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => reject(new NetBackendError(listenFailure(rule, errorCode(error)))));
      socket.bind(rule.hostPort, rule.hostAddress, resolve);
    });
    socket.on('error', () => {});
    socket.on('message', (payload, { address, port }) => this.fromClient(forward, payload, address, port));
    this.forwards.push(forward);
    return socket.address().port;
  }

  /** @param message header and payload, valid during the call. */
  input(message: Uint8Array, source: number, destination: number, checksumDone: boolean): void {
    if (message.length < HEADER_SIZE) return;
    const view = new DataView(message.buffer, message.byteOffset, message.length);
    const length = view.getUint16(4);
    if (length < HEADER_SIZE || length > message.length) return;
    if (view.getUint16(6) !== 0 && !checksumDone) {
      const sum = sumBytes(message, 0, length, sumPseudoHeader(source, destination, PROTOCOL_UDP, length));
      if (fold(sum) !== 0xffff) return;
    }
    const sourcePort = view.getUint16(0);
    const destinationPort = view.getUint16(2);
    const payload = Buffer.from(message.subarray(HEADER_SIZE, length));
    if (this.toClient(sourcePort, destination, destinationPort, payload) || this.link.options.restrict) return;
    if (destination === this.link.options.dns) {
      if (destinationPort === DNS_PORT) this.query(source, sourcePort, payload);
      return;
    }
    const host = this.link.hostAddress(destination);
    if (host === undefined || destinationPort === 0) return;
    this.flow(source, sourcePort).socket.send(payload, destinationPort, host);
  }

  /** Queues a datagram for the guest. */
  send(source: number, sourcePort: number, destination: number, destinationPort: number, payload: Uint8Array): void {
    const message = new Uint8Array(HEADER_SIZE + payload.length);
    const view = new DataView(message.buffer);
    view.setUint16(0, sourcePort);
    view.setUint16(2, destinationPort);
    view.setUint16(4, message.length);
    message.set(payload, HEADER_SIZE);
    const sum = sumPseudoHeader(source, destination, PROTOCOL_UDP, message.length);
    const checksum = ~fold(sumBytes(message, 0, message.length, sum)) & 0xffff;
    // Zero would mean: none.
    view.setUint16(6, checksum || 0xffff);
    this.link.sendIpv4(source, destination, PROTOCOL_UDP, message);
  }

  close(): void {
    clearTimeout(this.sweeping);
    for (const { socket } of this.flows.values()) socket.close();
    for (const { socket } of this.forwards) socket.close();
  }

  // The guest talks to the world.

  private query(guest: number, guestPort: number, payload: Buffer): void {
    const { dns } = this.link.options;
    const { address, port } = this.resolver;
    const flow = this.open(`dns ${guest}:${guestPort}`, isIPv6(address.split('%')[0]), DNS_IDLE_MS, (answer) => {
      this.send(dns, DNS_PORT, guest, guestPort, answer);
    });
    flow.socket.send(payload, port, address);
  }

  private flow(guest: number, guestPort: number): Flow {
    return this.open(`${guest}:${guestPort}`, false, FLOW_IDLE_MS, (payload, address, port) => {
      const from = parseIpv4(address);
      if (from === undefined) return;
      this.send(isLoopback(from) ? this.link.options.host : from, port, guest, guestPort, payload);
    });
  }

  private open(
    key: string,
    ipv6: boolean,
    idleMs: number,
    onMessage: (payload: Buffer, address: string, port: number) => void,
  ): Flow {
    const now = this.link.now();
    let flow = this.flows.get(key);
    if (flow) {
      flow.lastUsed = now;
      return flow;
    }
    if (this.flows.size === MAX_FLOWS) this.dropOldest();
    const socket = createSocket(ipv6 ? 'udp6' : 'udp4');
    flow = { socket, idleMs, lastUsed: now };
    // A datagram that cannot be sent is lost, as datagrams are.
    socket.on('error', () => this.drop(key));
    const opened = flow;
    socket.on('message', (payload, { address, port }) => {
      opened.lastUsed = this.link.now();
      onMessage(payload, address, port);
    });
    this.flows.set(key, flow);
    this.sweepLater();
    return flow;
  }

  private drop(key: string): void {
    const flow = this.flows.get(key);
    if (this.flows.delete(key)) flow?.socket.close();
  }

  private dropOldest(): void {
    let oldest: string | undefined;
    let when = Number.POSITIVE_INFINITY;
    for (const [key, { lastUsed }] of this.flows) {
      if (lastUsed < when) {
        oldest = key;
        when = lastUsed;
      }
    }
    if (oldest !== undefined) this.drop(oldest);
  }

  private sweepLater(): void {
    if (this.sweeping) return;
    this.sweeping = setTimeout(() => {
      this.sweeping = undefined;
      const now = this.link.now();
      for (const [key, { lastUsed, idleMs }] of this.flows) if (now - lastUsed > idleMs) this.drop(key);
      if (this.flows.size > 0) this.sweepLater();
    }, SWEEP_MS);
    this.sweeping.unref();
  }

  // The world talks to the guest.

  private fromClient(forward: Forward, payload: Uint8Array, address: string, port: number): void {
    const { rule, clients } = forward;
    const { options, neighbours } = this.link;
    const guest = rule.guestAddress || neighbours.latest?.address || options.dhcpStart;
    const client = parseIpv4(address);
    if (client === undefined) return;
    const seen = isLoopback(client) || client === guest ? options.host : client;
    const key = endpoint(seen, port);
    if (!clients.has(key) && clients.size === MAX_CLIENTS) clients.delete(clients.keys().next().value as number);
    clients.set(key, { address, port });
    this.send(seen, port, guest, rule.guestPort, payload);
  }

  /** An answer of the guest to a client of a hostfwd. @returns whether it was one */
  private toClient(guestPort: number, destination: number, destinationPort: number, payload: Buffer): boolean {
    for (const { rule, socket, clients } of this.forwards) {
      const client = rule.guestPort === guestPort && clients.get(endpoint(destination, destinationPort));
      if (!client) continue;
      socket.send(payload, client.port, client.address);
      return true;
    }
    return false;
  }
}
