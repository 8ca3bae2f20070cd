/** The thread that writes to a TAP, on a file in the TAP's place: what was written follows in it, one after the other. */

import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { loadAddon } from '../../native/addon.ts';
import { ethernet, internetChecksum, ipBytes, ipv4 } from '../devices/net/frames.ts';

const ADDON = 'build/Release/tsvmm_net.node';
const why = existsSync(ADDON) ? '' : ' NOT RUN: the addon is not built';
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-tap-writer-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'written');

// struct ring of native/tap-writer.c, in words.
const TAIL = 0;
const HEAD = 16;
const PACKETS = 17;
const WRITES = 18;
const RECORDS = 48;
const CAPACITY = 1 << 17;

const [EBADF, EBUSY, EINVAL] = [-9, -16, -22];
const VNET = 12;
const IP_AT = VNET + 14;
const TCP_AT = IP_AT + 20;
const [NEEDS_CSUM, GSO_TCPV4] = [1, 1];
const DONT_FRAGMENT = 0x4000;
const [PSH, ACK] = [0x08, 0x10];

class Ring {
  readonly words = new Int32Array(new SharedArrayBuffer(4 * RECORDS + CAPACITY));
  private readonly bytes = Buffer.from(this.words.buffer);
  private tail: number;

  /** @param position what all that came before has brought it to */
  constructor(position = 0) {
    this.tail = position;
    this.words[HEAD] = position;
    this.words[TAIL] = position;
  }

  put(packet: Uint8Array): void {
    const size = (4 + packet.length + 7) & ~7;
    let offset = this.tail & (CAPACITY - 1);
    if (offset + size > CAPACITY) {
      this.words[RECORDS + offset / 4] = 0;
      this.tail += CAPACITY - offset;
      offset = 0;
    }
    this.words[RECORDS + offset / 4] = packet.length;
    this.bytes.set(packet, 4 * RECORDS + offset + 4);
    this.tail += size;
    Atomics.store(this.words, TAIL, this.tail | 0);
  }
}

/** What the thread makes of packets that wait together. */
function written(packets: readonly Uint8Array[], position?: number): { bytes: Buffer; ring: Ring } {
  const { tapWriterStart, tapWriterStop } = loadAddon();
  const ring = new Ring(position);
  for (const packet of packets) ring.put(packet);
  const fd = openSync(file, 'w');
  expect(tapWriterStart(fd, ring.words)).toBe(0);
  expect(tapWriterStop(fd)).toBe(0);
  closeSync(fd);
  return { bytes: readFileSync(file), ring };
}

interface Segment {
  from: string;
  port: number;
  seq: number;
  ack: number;
  id: number;
  flags: number;
  window: number;
  options: Uint8Array;
  payload: Uint8Array;
  dontFragment: boolean;
  /** Left to the host, or done. */
  partial: boolean;
}

const plain: Segment = {
  from: '10.0.0.2',
  port: 80,
  seq: 0xfffff000,
  ack: 77,
  id: 0xfffe,
  flags: ACK,
  window: 5000,
  options: new Uint8Array(0),
  payload: Buffer.alloc(1000, 'data'),
  dontFragment: false,
  partial: false,
};

const TO = '10.0.0.1';

function tcpChecksum(ip: Uint8Array, tcp: Uint8Array): number {
  const length = Buffer.from([0, 6, tcp.length >>> 8, tcp.length & 0xff]);
  return internetChecksum(ip.subarray(12, 20), length, tcp);
}

/** As a guest gives it to its card, virtio_net_hdr_v1 first. */
function packetOf(segment: Partial<Segment>): Buffer {
  const s = { ...plain, ...segment };
  const tcp = Buffer.alloc(20 + s.options.length + s.payload.length);
  tcp.writeUInt16BE(s.port, 0);
  tcp.writeUInt16BE(4321, 2);
  tcp.writeUInt32BE(s.seq % 2 ** 32, 4);
  tcp.writeUInt32BE(s.ack, 8);
  tcp[12] = (20 + s.options.length) << 2;
  tcp[13] = s.flags;
  tcp.writeUInt16BE(s.window, 14);
  tcp.set(s.options, 20);
  tcp.set(s.payload, 20 + s.options.length);
  const ip = ipv4({ from: s.from, to: TO, protocol: 6, id: s.id & 0xffff }, tcp);
  if (s.dontFragment) ip.writeUInt16BE(DONT_FRAGMENT, 6);
  ip.writeUInt16BE(0, 10);
  ip.writeUInt16BE(internetChecksum(ip.subarray(0, 20)), 10);
  const vnet = Buffer.alloc(VNET);
  if (s.partial) {
    vnet[0] = NEEDS_CSUM;
    vnet.writeUInt16LE(34, 6);
    vnet.writeUInt16LE(16, 8);
    const length = Buffer.from([0, 6, tcp.length >>> 8, tcp.length & 0xff]);
    ip.writeUInt16BE(~internetChecksum(ipBytes(s.from), ipBytes(TO), length) & 0xffff, 36);
  } else {
    ip.writeUInt16BE(tcpChecksum(ip, ip.subarray(20)), 36);
  }
  return Buffer.concat([vnet, ethernet('02:00:00:00:00:01', '02:00:00:00:00:02', 0x0800, ip)]);
}

/** The packets in a stream of them, by the length in their IP headers. */
function split(bytes: Buffer): Buffer[] {
  const packets: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = IP_AT + bytes.readUInt16BE(at + IP_AT + 2);
    packets.push(bytes.subarray(at, at + length));
    at += length;
  }
  return packets;
}

/** What a packet becomes on a wire, by its virtio_net_hdr: cut into segments, with checksums. Frames. */
function onTheWire(packet: Buffer): Buffer[] {
  const [flags, gsoType] = packet;
  const headers = VNET + packet.readUInt16LE(2);
  const size = packet.readUInt16LE(4);
  const pieces: Buffer[] = [];
  if (gsoType === 0) {
    pieces.push(Buffer.from(packet.subarray(VNET)));
  } else {
    expect([gsoType, flags]).toEqual([GSO_TCPV4, NEEDS_CSUM]);
    const pseudo = packet.readUInt16BE(TCP_AT + 16);
    const length = packet.length - TCP_AT;
    const wanted = internetChecksum(packet.subarray(IP_AT + 12, IP_AT + 20), Buffer.from([0, 6, length >>> 8, length]));
    expect(pseudo).toBe(~wanted & 0xffff);
    for (let at = headers, index = 0; at < packet.length; at += size, index++) {
      const piece = Buffer.concat([packet.subarray(VNET, headers), packet.subarray(at, at + size)]);
      const ip = piece.subarray(14);
      const tcp = ip.subarray(20);
      ip.writeUInt16BE(ip.length, 2);
      ip.writeUInt16BE((ip.readUInt16BE(4) + index) & 0xffff, 4);
      tcp.writeUInt32BE((tcp.readUInt32BE(4) + index * size) % 2 ** 32, 4);
      if (at + size < packet.length) tcp[13] &= ~PSH;
      ip.writeUInt16BE(0, 10);
      ip.writeUInt16BE(internetChecksum(ip.subarray(0, 20)), 10);
      pieces.push(piece);
    }
  }
  if (flags === NEEDS_CSUM) {
    for (const piece of pieces) {
      const tcp = piece.subarray(34);
      tcp.writeUInt16BE(0, 16);
      tcp.writeUInt16BE(tcpChecksum(piece.subarray(14), tcp), 16);
    }
  }
  return pieces;
}

/** Where packets are never fragmented, their identification means nothing. */
function withoutId(frame: Buffer): Buffer {
  const ip = frame.subarray(14);
  if (ip.readUInt16BE(6) === DONT_FRAGMENT) {
    ip.writeUInt16BE(0, 4);
    ip.writeUInt16BE(0, 10);
  }
  return frame;
}

/** Segments of a connection that follow each other. */
function stream(count: number, changes: Partial<Segment> = {}): Segment[] {
  const { seq, id, payload } = { ...plain, ...changes };
  return Array.from({ length: count }, (_, i) => ({
    ...plain,
    ...changes,
    seq: seq + i * payload.length,
    id: id + i,
    payload: Buffer.from(payload.map((byte) => byte + i)),
  }));
}

describe.skipIf(why)(`packets that wait together${why}`, () => {
  it.each([
    ['checksums done', {}],
    ['checksums left to the host', { partial: true }],
    ['TCP options', { options: Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) }],
    ['an odd length', { payload: Buffer.alloc(1001, 'odd') }],
  ])('of one connection are one packet that tells how it was cut: %s', (_name, changes) => {
    const packets = stream(10, changes).map(packetOf);
    const { bytes, ring } = written(packets);
    const [merged, ...more] = split(bytes);
    expect(more).toEqual([]);
    expect(onTheWire(merged)).toEqual(packets.flatMap(onTheWire));
    expect([ring.words[PACKETS], ring.words[WRITES]]).toEqual([10, 1]);
  });

  it('end with the one that is to be pushed, and with a shorter one', () => {
    const segments = stream(9);
    segments[2].flags |= PSH;
    segments[6].payload = segments[6].payload.subarray(1);
    const sizes = split(written(segments.map(packetOf)).bytes).map((packet) => onTheWire(packet).length);
    expect(sizes).toEqual([3, 4, 2]);
  });

  it('are no larger than IP allows', () => {
    const packets = stream(100, { payload: Buffer.alloc(1460) }).map(packetOf);
    const parts = split(written(packets.slice(0, 80)).bytes);
    expect(parts.map((packet) => onTheWire(packet).length)).toEqual([44, 36]);
    const small = stream(100, { payload: Buffer.alloc(100) }).map(packetOf);
    expect(split(written(small).bytes).map((packet) => onTheWire(packet).length)).toEqual([64, 36]);
  });

  it.each<[string, (second: Segment) => Segment | Buffer]>([
    ['another port', (s) => ({ ...s, port: 81 })],
    ['another address', (s) => ({ ...s, from: '10.0.0.3' })],
    ['a gap', (s) => ({ ...s, seq: s.seq + 1 })],
    ['sent again', (s) => ({ ...s, seq: s.seq - s.payload.length })],
    ['another acknowledgement', (s) => ({ ...s, ack: 78 })],
    ['another window', (s) => ({ ...s, window: 5001 })],
    ['another identification', (s) => ({ ...s, id: s.id + 1 })],
    ['options', (s) => ({ ...s, options: Buffer.alloc(4, 1) })],
    ['longer', (s) => ({ ...s, payload: Buffer.alloc(1001) })],
    ['empty', (s) => ({ ...s, payload: Buffer.alloc(0) })],
    ['FIN', (s) => ({ ...s, flags: ACK | 1 })],
    ['RST', (s) => ({ ...s, flags: ACK | 4 })],
    ['URG', (s) => ({ ...s, flags: ACK | 0x20 })],
    ['CWR', (s) => ({ ...s, flags: ACK | 0x80 })],
    ['a wrong checksum of TCP', (s) => withByte(packetOf(s), TCP_AT + 30)],
    ['a wrong checksum of IP', (s) => withByte(packetOf(s), IP_AT + 10)],
    ['an IP length that is none', (s) => withByte(packetOf(s), IP_AT + 3)],
    ['a fragment', (s) => withByte(packetOf(s), IP_AT + 7)],
    ['a TCP header beyond its end', (s) => withByte(packetOf({ ...s, payload: Buffer.alloc(1) }), TCP_AT + 12, 0xf0)],
    ['a TCP header too short', (s) => withByte(packetOf(s), TCP_AT + 12, 0x40)],
    ['IPv6', (s) => withByte(packetOf(s), IP_AT - 2, 0x86)],
    ['a checksum elsewhere', (s) => withByte(packetOf({ ...s, partial: true }), 6, 35)],
    ['segmented by the guest', (s) => withByte(packetOf({ ...s, partial: true }), 1, GSO_TCPV4)],
    ['cut short', (s) => packetOf(s).subarray(0, 40)],
  ])('stay as they are where the second does not follow: %s', (_name, change) => {
    const [first, second] = stream(2);
    const changed = change(second);
    const packets = [packetOf(first), Buffer.isBuffer(changed) ? changed : packetOf(changed)];
    expect(written(packets).bytes).toEqual(Buffer.concat(packets));
  });

  it('reach the wire as they were sent, whatever they are', () => {
    const segment = fc.record({
      port: fc.constantFrom(80, 80, 80, 80, 443),
      step: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, -1000),
      size: fc.constantFrom(100, 100, 100, 100, 100, 99, 101, 1, 0),
      flags: fc.constantFrom(ACK, ACK, ACK, ACK, ACK | PSH, ACK | 1),
      dontFragment: fc.constantFrom(false, false, false, true),
      partial: fc.boolean(),
      seed: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 40 }), fc.nat(2 ** 29 - 1), (list, place) => {
        let { seq, id } = plain;
        const packets = list.map(({ step, size, seed, ...rest }) => {
          seq += step;
          const packet = packetOf({ ...rest, seq, id: id++, payload: Buffer.alloc(size, seed) });
          seq += size;
          return packet;
        });
        const { bytes, ring } = written(packets, place * 8);
        expect(split(bytes).flatMap(onTheWire).map(withoutId)).toEqual(packets.flatMap(onTheWire).map(withoutId));
        expect(ring.words[HEAD]).toBe(ring.words[TAIL]);
      }),
      { numRuns: 300 },
    );
  });
});

/** A byte changed: to `value`, or somehow. */
function withByte(packet: Buffer, at: number, value = packet[at] ^ 1): Buffer {
  packet[at] = value;
  return packet;
}

describe.skipIf(why)(`the thread${why}`, () => {
  const { tapWriterStart, tapWriterWake, tapWriterDrain, tapWriterStop } = why ? ({} as never) : loadAddon();

  it('takes what comes later, asleep or not', async () => {
    const ring = new Ring();
    const fd = openSync(file, 'w');
    tapWriterStart(fd, ring.words);
    const packets = [0, 1, 50].map((milliseconds) => ({ milliseconds, packet: packetOf({ id: milliseconds }) }));
    for (const { milliseconds, packet } of packets) {
      await new Promise((done) => setTimeout(done, milliseconds));
      ring.put(packet);
      tapWriterWake(fd);
      while (Atomics.load(ring.words, HEAD) !== ring.words[TAIL]) await new Promise((done) => setTimeout(done, 1));
    }
    expect(tapWriterStop(fd)).toBe(0);
    expect(readFileSync(file)).toEqual(Buffer.concat(packets.map(({ packet }) => packet)));
    closeSync(fd);
  });

  it('is done without by who cannot wait', () => {
    const ring = new Ring();
    const fd = openSync(file, 'w');
    tapWriterStart(fd, ring.words);
    for (let i = 0; i < 1000; i++) {
      ring.put(packetOf({ id: 2 * i }));
      tapWriterDrain(fd, true);
      expect(Atomics.load(ring.words, HEAD)).toBe(ring.words[TAIL]);
    }
    tapWriterStop(fd);
    expect(split(readFileSync(file)).map((packet) => packet.readUInt16BE(IP_AT + 4))).toEqual(
      Array.from({ length: 1000 }, (_, i) => 2 * i),
    );
    closeSync(fd);
  });

  it('goes on when nothing can be written', () => {
    const ring = new Ring();
    const fd = openSync('/dev/null', 'r');
    tapWriterStart(fd, ring.words);
    for (let i = 0; i < 100; i++) ring.put(packetOf({ id: 2 * i }));
    expect(tapWriterStop(fd)).toBe(0);
    expect([ring.words[PACKETS], ring.words[HEAD]]).toEqual([100, ring.words[TAIL]]);
    closeSync(fd);
  });

  it('refuses rings of another size, a second thread, and descriptors that have none', () => {
    const words = (bytes: number) => new Int32Array(new SharedArrayBuffer(bytes));
    for (const size of [0, 100, 4 * RECORDS, 4 * RECORDS + 65536, 4 * RECORDS + CAPACITY + 8])
      expect(tapWriterStart(1, words(size))).toBe(EINVAL);
    expect(tapWriterStart(1, new Uint8Array(4 * RECORDS + CAPACITY) as never)).toBe(EINVAL);
    expect(tapWriterStart(undefined as never, words(4 * RECORDS + CAPACITY))).toBe(EINVAL);
    for (const call of [tapWriterWake, tapWriterStop]) expect(call(1)).toBe(EBADF);
    expect(tapWriterDrain(1, true)).toBe(EBADF);
    const ring = new Ring();
    const fd = openSync(file, 'w');
    expect(tapWriterStart(fd, ring.words)).toBe(0);
    expect(tapWriterStart(fd, ring.words)).toBe(EBUSY);
    expect(tapWriterDrain(fd, undefined as never)).toBe(EINVAL);
    tapWriterStop(fd);
    expect(tapWriterStop(fd)).toBe(EBADF);
    closeSync(fd);
  });

  it.each(['', 'process.exit(0)', 'new Worker'])('ends with its process, and has written all: %s', (end) => {
    const body = `
      const { openSync } = require('node:fs');
      const module = { exports: {} };
      process.dlopen(module, ${JSON.stringify(resolve(ADDON))});
      const words = new Int32Array(new SharedArrayBuffer(${4 * RECORDS + CAPACITY}));
      words[${RECORDS}] = 50;
      words.fill(0x41414141, ${RECORDS + 1}, ${RECORDS + 14});
      words[0] = 56;
      module.exports.tapWriterStart(openSync(${JSON.stringify(file)}, 'w'), words);`;
    const program = end.startsWith('new')
      ? `new (require('node:worker_threads').Worker)(${JSON.stringify(body)}, { eval: true })`
      : `${body}\n${end === '' ? '' : `setTimeout(() => ${end}, 50)`}`;
    execFileSync(process.execPath, ['-e', program], { timeout: 10_000 });
    expect(readFileSync(file, 'latin1')).toBe('A'.repeat(50));
  });
});
