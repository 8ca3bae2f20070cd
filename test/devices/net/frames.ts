/** Frames as a guest would build them, written apart from the code under test. */

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export const macBytes = (mac: string) => Buffer.from(mac.replaceAll(':', ''), 'hex');
export const ipBytes = (ip: string) => Buffer.from(ip.split('.').map(Number));
export const ipText = (bytes: Uint8Array) => [...bytes].join('.');
const u16 = (value: number) => Buffer.from([(value >>> 8) & 0xff, value & 0xff]);
const u32 = (value: number) => Buffer.from([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);

/** The internet checksum (RFC 1071), in the plainest way. */
export function internetChecksum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat([...parts, Buffer.alloc(parts.reduce((n, part) => n + part.length, 0) & 1)]);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

export function ethernet(to: string, from: string, type: number, payload: Uint8Array): Buffer {
  return Buffer.concat([macBytes(to), macBytes(from), u16(type), payload]);
}

export interface Ipv4Fields {
  from: string;
  to: string;
  protocol: number;
  id?: number;
  /** Bytes; with the more-fragments flag apart. */
  fragmentOffset?: number;
  moreFragments?: boolean;
}

export function ipv4(fields: Ipv4Fields, payload: Uint8Array): Buffer {
  const { from, to, protocol, id = 0, fragmentOffset = 0, moreFragments = false } = fields;
  const fragment = (fragmentOffset >>> 3) | (moreFragments ? 0x2000 : 0);
  const before = Buffer.concat([Buffer.from([0x45, 0]), u16(20 + payload.length), u16(id), u16(fragment)]);
  const lifetime = Buffer.from([64, protocol]);
  const addresses = Buffer.concat([ipBytes(from), ipBytes(to)]);
  const checksum = internetChecksum(before, lifetime, addresses);
  return Buffer.concat([before, lifetime, u16(checksum), addresses, payload]);
}

function pseudoHeader(from: string, to: string, protocol: number, length: number): Buffer {
  return Buffer.concat([ipBytes(from), ipBytes(to), u16(protocol), u16(length)]);
}

export function udp(from: string, fromPort: number, to: string, toPort: number, payload: Uint8Array): Buffer {
  const length = 8 + payload.length;
  const ports = Buffer.concat([u16(fromPort), u16(toPort), u16(length)]);
  const checksum = internetChecksum(pseudoHeader(from, to, 17, length), ports, u16(0), payload) || 0xffff;
  return Buffer.concat([ports, u16(checksum), payload]);
}

export interface TcpFields {
  from: string;
  fromPort: number;
  to: string;
  toPort: number;
  seq: number;
  ack?: number;
  /** Letters of SFRPA. */
  flags: string;
  window: number;
  options?: Uint8Array;
}

const TCP_FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };

export function tcp(fields: TcpFields, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const { from, fromPort, to, toPort, seq, ack = 0, flags, window, options = Buffer.alloc(0) } = fields;
  const bits = [...flags].reduce((all, letter) => all | TCP_FLAGS[letter], 0);
  const offset = ((20 + options.length) / 4) << 4;
  const head = Buffer.concat([
    u16(fromPort),
    u16(toPort),
    u32(seq),
    u32(ack),
    Buffer.from([offset, bits]),
    u16(window),
  ]);
  const tail = Buffer.concat([u16(0), options, payload]);
  const length = head.length + 2 + tail.length;
  const checksum = internetChecksum(pseudoHeader(from, to, 6, length), head, u16(0), tail);
  return Buffer.concat([head, u16(checksum), tail]);
}

export interface ReceivedTcp extends TcpFields {
  payload: Buffer;
  checksumGood: boolean;
}

/** @returns the TCP segment in an Ethernet frame, or undefined when it holds none. */
export function parseTcp(frame: Buffer): ReceivedTcp | undefined {
  if (frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 6) return undefined;
  const segment = frame.subarray(34, 14 + frame.readUInt16BE(16));
  const from = ipText(frame.subarray(26, 30));
  const to = ipText(frame.subarray(30, 34));
  const offset = (segment[12] >>> 4) * 4;
  return {
    from,
    to,
    fromPort: segment.readUInt16BE(0),
    toPort: segment.readUInt16BE(2),
    seq: segment.readUInt32BE(4),
    ack: segment.readUInt32BE(8),
    flags: Object.keys(TCP_FLAGS)
      .filter((letter) => segment[13] & TCP_FLAGS[letter])
      .join(''),
    window: segment.readUInt16BE(14),
    options: segment.subarray(20, offset),
    payload: segment.subarray(offset),
    checksumGood:
      internetChecksum(pseudoHeader(from, to, 6, segment.length), segment) === 0 &&
      internetChecksum(frame.subarray(14, 34)) === 0,
  };
}

export function arp(operation: number, fromMac: string, fromIp: string, toMac: string, toIp: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4]),
    u16(operation),
    macBytes(fromMac),
    ipBytes(fromIp),
    macBytes(toMac),
    ipBytes(toIp),
  ]);
}

/** A DHCP message of a client (RFC 2131), as a UDP payload. */
export function dhcp(mac: string, xid: number, options: [number, Uint8Array][]): Buffer {
  const head = Buffer.alloc(240);
  head.set([1, 1, 6, 0]);
  head.writeUInt32BE(xid, 4);
  head.set(macBytes(mac), 28);
  head.set([0x63, 0x82, 0x53, 0x63], 236);
  const encoded = options.map(([code, value]) => Buffer.concat([Buffer.from([code, value.length]), value]));
  return Buffer.concat([head, ...encoded, Buffer.from([255])]);
}

export interface ReceivedDhcp {
  xid: number;
  address: string;
  options: Map<number, Buffer>;
}

/** @returns the DHCP reply in an Ethernet frame, or undefined when it holds none. */
export function parseDhcp(frame: Buffer): ReceivedDhcp | undefined {
  if (frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 17 || frame.readUInt16BE(34) !== 67) return undefined;
  const message = frame.subarray(42);
  const options = new Map<number, Buffer>();
  for (let at = 240; at < message.length && message[at] !== 255; ) {
    if (message[at] === 0) {
      at++;
      continue;
    }
    options.set(message[at], message.subarray(at + 2, at + 2 + message[at + 1]));
    at += 2 + message[at + 1];
  }
  return { xid: message.readUInt32BE(4), address: ipText(message.subarray(16, 20)), options };
}
