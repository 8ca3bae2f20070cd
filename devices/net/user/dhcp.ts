/** The DHCP server of the user network (RFC 2131, options of RFC 2132): a function from message to answer. */

import type { UserNetOptions } from './options.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

/** Fields of the message (RFC 2131 §2). */
const OP = 0;
const HTYPE = 1;
const HLEN = 2;
const XID = 4;
const FLAGS = 10;
const CIADDR = 12;
const YIADDR = 16;
const CHADDR = 28;
const COOKIE = 236;
const OPTIONS = 240;
const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const MAGIC_COOKIE = 0x63825363;

const OPTION_PAD = 0;
const OPTION_SUBNET_MASK = 1;
const OPTION_ROUTER = 3;
const OPTION_DOMAIN_NAME_SERVER = 6;
const OPTION_HOST_NAME = 12;
const OPTION_REQUESTED_ADDRESS = 50;
const OPTION_LEASE_TIME = 51;
const OPTION_MESSAGE_TYPE = 53;
const OPTION_SERVER_IDENTIFIER = 54;
const OPTION_END = 255;

const DHCPDISCOVER = 1;
const DHCPOFFER = 2;
const DHCPREQUEST = 3;
const DHCPACK = 5;
const DHCPNAK = 6;
const DHCPINFORM = 8;

const LEASE_SECONDS = 86400;
/** Addresses from dhcpstart on that are given out, as many as QEMU has. */
const MAX_LEASES = 16;
/** BOOTP clients may insist on the old fixed length. */
const MIN_LENGTH = 300;

export interface DhcpAnswer {
  readonly message: Uint8Array;
  /** The address that the client has from now on; 0 when this answer gives none. */
  readonly address: number;
}

interface Request {
  type: number;
  requested: number;
  server: number;
}

export class DhcpServer {
  private readonly options: UserNetOptions;
  private readonly leases = new Map<string, number>();

  constructor(options: UserNetOptions) {
    this.options = options;
  }

  /** @returns the answer to a client's message, or undefined when there is none. */
  answer(message: Uint8Array): DhcpAnswer | undefined {
    const view = new DataView(message.buffer, message.byteOffset, message.length);
    if (message.length < OPTIONS || message[OP] !== BOOTREQUEST) return undefined;
    if (message[HTYPE] !== 1 || message[HLEN] !== 6 || view.getUint32(COOKIE) !== MAGIC_COOKIE) return undefined;
    const request = parseOptions(message, view);
    if (request.server !== 0 && request.server !== this.options.host) return undefined;
    const ciaddr = view.getUint32(CIADDR);
    const client = Buffer.from(message.subarray(CHADDR, CHADDR + 6)).toString('hex');
    switch (request.type) {
      case DHCPDISCOVER: {
        const address = this.lease(client, request.requested);
        return address === 0 ? undefined : { message: this.reply(message, DHCPOFFER, address), address: 0 };
      }
      case DHCPREQUEST: {
        const wanted = request.requested || ciaddr;
        const address = this.lease(client, wanted);
        if (address === 0 || (wanted !== 0 && wanted !== address)) {
          return { message: this.reply(message, DHCPNAK, 0), address: 0 };
        }
        return { message: this.reply(message, DHCPACK, address), address };
      }
      case DHCPINFORM:
        return { message: this.reply(message, DHCPACK, 0), address: 0 };
      default:
        return undefined;
    }
  }

  /** The client's address: the one it has, else the one it wants if free, else the first free one; 0: none left. */
  private lease(client: string, wanted: number): number {
    const known = this.leases.get(client);
    if (known !== undefined) return known;
    const taken = new Set(this.leases.values());
    const free: number[] = [];
    const { dhcpStart, host, dns, net, mask } = this.options;
    for (let i = 0; i < MAX_LEASES; i++) {
      const address = dhcpStart + i;
      const usable = (address & mask) >>> 0 === net && address !== (net | ~mask) >>> 0;
      if (usable && address !== host && address !== dns && !taken.has(address)) free.push(address);
    }
    const address = free.includes(wanted) ? wanted : (free[0] ?? 0);
    if (address !== 0) this.leases.set(client, address);
    return address;
  }

  private reply(request: Uint8Array, type: number, address: number): Uint8Array {
    const { host, mask, dns, hostname, restrict } = this.options;
    const options: number[] = [OPTION_MESSAGE_TYPE, 1, type, OPTION_SERVER_IDENTIFIER, 4, ...bytesOf(host)];
    if (type !== DHCPNAK) {
      if (address !== 0) options.push(OPTION_LEASE_TIME, 4, ...bytesOf(LEASE_SECONDS));
      options.push(OPTION_SUBNET_MASK, 4, ...bytesOf(mask));
      if (!restrict) {
        options.push(OPTION_ROUTER, 4, ...bytesOf(host));
        options.push(OPTION_DOMAIN_NAME_SERVER, 4, ...bytesOf(dns));
      }
      if (hostname) {
        const name = Buffer.from(hostname).subarray(0, 255);
        options.push(OPTION_HOST_NAME, name.length, ...name);
      }
    }
    options.push(OPTION_END);
    const reply = new Uint8Array(Math.max(MIN_LENGTH, OPTIONS + options.length));
    const view = new DataView(reply.buffer);
    reply.set([BOOTREPLY, 1, 6, 0]);
    reply.set(request.subarray(XID, XID + 4), XID);
    reply.set(request.subarray(FLAGS, FLAGS + 2), FLAGS);
    if (type !== DHCPNAK) reply.set(request.subarray(CIADDR, CIADDR + 4), CIADDR);
    view.setUint32(YIADDR, address);
    reply.set(request.subarray(CHADDR, CHADDR + 16), CHADDR);
    view.setUint32(COOKIE, MAGIC_COOKIE);
    reply.set(options, OPTIONS);
    return reply;
  }
}

/** A message without a type is BOOTP's: treated as a request, as QEMU does. */
function parseOptions(message: Uint8Array, view: DataView): Request {
  const request: Request = { type: DHCPREQUEST, requested: 0, server: 0 };
  for (let at = OPTIONS; at < message.length && message[at] !== OPTION_END; ) {
    if (message[at] === OPTION_PAD) {
      at++;
      continue;
    }
    if (at + 2 > message.length) break;
    const length = message[at + 1];
    const value = at + 2;
    if (value + length > message.length) break;
    if (message[at] === OPTION_MESSAGE_TYPE && length === 1) request.type = message[value];
    if (message[at] === OPTION_REQUESTED_ADDRESS && length === 4) request.requested = view.getUint32(value);
    if (message[at] === OPTION_SERVER_IDENTIFIER && length === 4) request.server = view.getUint32(value);
    at = value + length;
  }
  return request;
}

function bytesOf(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}
