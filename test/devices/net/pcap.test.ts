import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuestMemory } from '../../../devices/bus.ts';
import type { NetBackend, SegmentList } from '../../../devices/net/backend.ts';
import { NetBackendError } from '../../../devices/net/errors.ts';
import { NoneBackend } from '../../../devices/net/none.ts';
import { PcapBackend } from '../../../devices/net/pcap.ts';
import { gather, scatter } from '../../../devices/net/segments.ts';
import { GuestBuffers } from './guest-buffers.ts';

/** Gives back what was sent, as a cable with its ends joined. */
class Loopback implements NetBackend {
  readonly offloads = 0;
  readonly statistics = 'looped back';
  flushed = 0;
  private readonly packets: Uint8Array[] = [];
  setGuestOffloads(): void {}
  flush(): void {
    this.flushed++;
  }
  close(): void {}
  send(memory: GuestMemory, segments: SegmentList): void {
    const packet = new Uint8Array(70000);
    this.packets.push(packet.subarray(0, gather(memory, segments, packet, 0)));
  }
  receiveInto(memory: GuestMemory, segments: SegmentList): number {
    const packet = this.packets.shift();
    if (!packet) return 0;
    scatter(memory, segments, 0, packet, 0, packet.length);
    return packet.length;
  }
}

describe('PcapBackend', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'pcap-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('hides nothing of the back end behind it', () => {
    const inner = new Loopback();
    const backend = new PcapBackend(inner, { file: join(directory, 'x.pcap') });
    backend.flush();
    expect([inner.flushed, backend.statistics]).toEqual([1, 'looped back']);
    const none = new PcapBackend(new NoneBackend(), { file: join(directory, 'y.pcap') });
    none.flush();
    expect(none.statistics).toBeUndefined();
    for (const each of [backend, none]) each.close();
  });

  it('records both directions without the vnet header, cut at maxlen', () => {
    const file = join(directory, 'x.pcap');
    const backend = new PcapBackend(new Loopback(), { file, maxlen: 100 });
    const guest = new GuestBuffers(backend);
    const frame = Buffer.from(Array.from({ length: 150 }, (_, i) => i));
    const before = Date.now();
    guest.send(frame, [7, 20, 50]);
    expect(guest.receive(2048, [5, 11, 2000])?.subarray(12)).toEqual(frame);
    backend.close();

    const bytes = readFileSync(file);
    expect(bytes.length).toBe(24 + 2 * (16 + 100));
    expect(bytes.subarray(0, 24).toString('hex')).toBe('d4c3b2a1020004000000000000000000' + '6400000001000000');
    for (const at of [24, 24 + 116]) {
      const milliseconds = bytes.readUInt32LE(at) * 1000 + bytes.readUInt32LE(at + 4) / 1000;
      expect(Math.abs(milliseconds - before)).toBeLessThan(2000);
      expect(bytes.readUInt32LE(at + 4)).toBeLessThan(1_000_000);
      expect(bytes.readUInt32LE(at + 8)).toBe(100);
      expect(bytes.readUInt32LE(at + 12)).toBe(150);
      expect(bytes.subarray(at + 16, at + 116)).toEqual(frame.subarray(0, 100));
    }
  });

  it('passes on readiness and offloads of the back end it wraps', () => {
    const inner = new NoneBackend();
    const backend = new PcapBackend(inner, { file: join(directory, 'y.pcap') });
    const callback = () => {};
    backend.onReceive = callback;
    expect((inner as NetBackend).onReceive).toBe(callback);
    expect(backend.pollFd).toBeUndefined();
    expect(new GuestBuffers(backend).receive()).toBeUndefined();
    backend.close();
  });

  it('says in one line that the file cannot be written', () => {
    const file = join(directory, 'absent', 'x.pcap');
    expect(() => new PcapBackend(new NoneBackend(), { file })).toThrow(NetBackendError);
    expect(() => new PcapBackend(new NoneBackend(), { file })).toThrow(/cannot write .*x\.pcap \(ENOENT\)/);
  });
});
