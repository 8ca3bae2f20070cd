import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import * as blk from '../../../devices/virtio/blk.ts';
import { VirtioBlk } from '../../../devices/virtio/blk.ts';
import { BlkImage } from '../../../devices/virtio/blk-image.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../../../devices/virtio/features.ts';
import { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { DEVICE_NEEDS_RESET } from '../../../devices/virtio/virtio-device.ts';
import { makeMemory, type Piece } from './ring-driver.ts';
import { LegacyPciDriver, ModernPciDriver, recordingSlot } from './virtio-driver.ts';

const RAM = 4 << 20;
const DATA = 0x100000;
const SECTORS = 64;

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-blk-'));
const open: BlkImage[] = [];
afterEach(() => {
  for (const image of open.splice(0)) image.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

interface SetUp {
  bytes?: Uint8Array;
  readonly?: boolean;
  serial?: string;
}

function setUp({ bytes = pattern(SECTORS * 512), readonly = false, serial = 'disk-7' }: SetUp = {}) {
  const path = join(directory, `image-${open.length}-${Math.random()}`);
  writeFileSync(path, bytes);
  const image = new BlkImage(path, readonly);
  open.push(image);
  const test = makeMemory(RAM);
  const device = new VirtioBlk(test.memory, { image, serial });
  const pci = new VirtioPci(device);
  pci.attach(recordingSlot().slot);
  return { ...test, path, image, device, legacy: new LegacyPciDriver(pci), modern: new ModernPciDriver(pci) };
}

function pattern(length: number, seed = 3): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i * 13 + (i >> 9)) & 0xff);
}

function header(type: number, sector: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, type, true);
  view.setUint32(8, sector, true);
  view.setUint32(12, Math.floor(sector / 2 ** 32), true);
  return new Uint8Array(view.buffer);
}

/** Cuts `length` bytes at `address` into pieces of the given lengths, which repeat. */
function cut(address: number, length: number, lengths: number[], write: boolean): Piece[] {
  const pieces: Piece[] = [];
  for (let i = 0, done = 0; done < length; i++) {
    const piece = Math.min(lengths[i % lengths.length], length - done);
    pieces.push({ address: address + done, length: piece, write });
    done += piece;
  }
  return pieces;
}

/** One request as the driver sees it. @returns status, answer and used.len. */
function request(
  set: ReturnType<typeof setUp>,
  type: number,
  sector: number,
  options: { out?: Uint8Array; answer?: number; layout?: number[]; indirect?: boolean } = {},
) {
  const { out = new Uint8Array(0), answer = 0, layout = [4096], indirect = false } = options;
  const { memory } = set;
  const driver = set.modern.rings.length > 0 ? set.modern : set.legacy;
  const ring = driver.rings[0];
  memory.bytes.set(header(type, sector), DATA);
  memory.bytes.set(out, DATA + 16);
  const answerAt = DATA + 0x80000;
  memory.bytes.fill(0xee, answerAt, answerAt + answer + 1);
  const pieces = [...cut(DATA, 16 + out.length, layout, false), ...cut(answerAt, answer + 1, layout, true)];
  const head = indirect ? ring.addIndirect(pieces) : ring.add(pieces);
  driver.kick(0);
  const used = ring.takeUsed();
  expect(used.map((u) => u.id)).toEqual([head]);
  return {
    status: memory.read8(answerAt + answer),
    data: memory.bytes.slice(answerAt, answerAt + answer),
    length: used[0].length,
  };
}

const { VIRTIO_BLK_T_IN: IN, VIRTIO_BLK_T_OUT: OUT, VIRTIO_BLK_T_FLUSH: FLUSH, VIRTIO_BLK_T_GET_ID: GET_ID } = blk;
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR, VIRTIO_BLK_S_UNSUPP: UNSUPP } = blk;

describe('VirtioBlk', () => {
  it('describes the disk', () => {
    const { modern, legacy } = setUp();
    for (const driver of [modern, legacy]) {
      expect([driver.config(0, 4), driver.config(4, 4)]).toEqual([SECTORS, 0]);
      expect([driver.config(12, 4), driver.config(20, 4), driver.config(32, 1)]).toEqual([254, 512, 1]);
    }
    expect(modern.offered()).toEqual(expect.arrayContaining([2, 6, 9, 11, 14]));
    expect(modern.offered()).not.toContain(5);
    const readonly = setUp({ readonly: true }).modern.offered();
    expect(readonly).toContain(5);
    expect(readonly).not.toContain(14);
  });

  it('reads and writes any sectors through any descriptor layout, byte for byte', () => {
    const set = setUp();
    set.modern.start([VIRTIO_F_INDIRECT_DESC, blk.VIRTIO_BLK_F_FLUSH], set.memory, 256);
    const model = pattern(SECTORS * 512);
    fc.assert(
      fc.property(
        fc.nat(SECTORS - 1),
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(255),
        (sector, wanted, lengths, write, indirect, seed) => {
          const bytes = Math.min(wanted, SECTORS - sector) * 512;
          const layout = lengths.map((n) => Math.max(n, Math.ceil(bytes / (indirect ? 900 : 100))));
          if (write) {
            const out = pattern(bytes, seed);
            model.set(out, sector * 512);
            const result = request(set, OUT, sector, { out, layout, indirect });
            expect([result.status, result.length]).toEqual([OK, 1]);
          } else {
            const result = request(set, IN, sector, { answer: bytes, layout, indirect });
            expect([result.status, result.length]).toEqual([OK, bytes + 1]);
            expect(Buffer.compare(result.data, model.subarray(sector * 512, sector * 512 + bytes))).toBe(0);
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(Buffer.compare(readFileSync(set.path), model)).toBe(0);
    set.checkGuards();
  });

  it('works for a legacy driver', () => {
    const set = setUp();
    set.legacy.start([], set.memory);
    expect(request(set, IN, 1, { answer: 512 }).data).toEqual(pattern(SECTORS * 512).slice(512, 1024));
  });

  it('tells its serial number, cut or padded', () => {
    const set = setUp();
    set.modern.start([], set.memory);
    const id = (size: number) => Buffer.from(request(set, GET_ID, 0, { answer: size }).data).toString('latin1');
    expect(id(20)).toBe('disk-7'.padEnd(20, '\0'));
    expect(id(4)).toBe('disk');
    expect(id(30)).toBe('disk-7'.padEnd(30, '\0'));
    const long = setUp({ serial: 'a-serial-number-that-is-too-long' });
    long.modern.start([], long.memory);
    expect(Buffer.from(request(long, GET_ID, 0, { answer: 20 }).data).toString()).toBe('a-serial-number-that');
  });

  it('answers requests behind the end, of odd lengths, or overflowing, with an error and no stale bytes', () => {
    const set = setUp();
    set.modern.start([], set.memory);
    for (const [sector, answer] of [
      [SECTORS, 512],
      [SECTORS - 1, 1024],
      [0, 511],
      [0, 513],
      [2 ** 63, 512],
      [2 ** 64 - 2048, 512],
    ]) {
      const result = request(set, IN, sector, { answer });
      expect([result.status, result.length]).toEqual([IOERR, answer + 1]);
      expect(result.data.every((b) => b === 0)).toBe(true);
    }
    expect(request(set, OUT, SECTORS, { out: pattern(512) }).status).toBe(IOERR);
    expect(request(set, OUT, 0, { out: pattern(100) }).status).toBe(IOERR);
    expect(Buffer.compare(readFileSync(set.path), pattern(SECTORS * 512))).toBe(0);
  });

  it('refuses what it does not know', () => {
    const set = setUp();
    set.modern.start([], set.memory);
    for (const type of [2, 3, 5, 11, 13, 14, 99, 0xffffffff]) expect(request(set, type, 0).status).toBe(UNSUPP);
  });

  it('writes nothing to a readonly disk', () => {
    const set = setUp({ readonly: true });
    const write = vi.spyOn(set.image, 'write');
    set.modern.start([blk.VIRTIO_BLK_F_RO], set.memory);
    expect(request(set, OUT, 0, { out: pattern(512, 99) }).status).toBe(IOERR);
    expect(write).not.toHaveBeenCalled();
    expect(request(set, FLUSH, 0).status).toBe(OK);
    expect(Buffer.compare(readFileSync(set.path), pattern(SECTORS * 512))).toBe(0);
  });

  it('writes zeroes where it was accepted', () => {
    const set = setUp();
    set.modern.start([blk.VIRTIO_BLK_F_WRITE_ZEROES], set.memory);
    const range = (sector: number, count: number, flags = 0) => {
      const view = new DataView(new ArrayBuffer(16));
      view.setUint32(0, sector, true);
      view.setUint32(8, count, true);
      view.setUint32(12, flags, true);
      return { out: new Uint8Array(view.buffer) };
    };
    expect(request(set, 13, 0, range(2, 3)).status).toBe(OK);
    expect(request(set, 13, 0, range(10, 1, 1)).status).toBe(OK);
    expect(request(set, 13, 0, range(10, 1, 2)).status).toBe(UNSUPP);
    expect(request(set, 13, 0, range(SECTORS - 1, 2)).status).toBe(IOERR);
    expect(request(set, 13, 0, range(0, 0xffffffff)).status).toBe(IOERR);
    expect(request(set, 13, 0, { out: pattern(15) }).status).toBe(UNSUPP);
    const expected = pattern(SECTORS * 512);
    expected.fill(0, 1024, 2560);
    expected.fill(0, 5120, 5632);
    expect(Buffer.compare(readFileSync(set.path), expected)).toBe(0);
  });

  it('flushes each write unless the driver can flush by itself and wants to', () => {
    const flushes = (features: number[], writeback?: number) => {
      const set = setUp();
      const flush = vi.spyOn(set.image, 'flush');
      set.modern.start(features, set.memory);
      if (writeback !== undefined) set.modern.setConfig(32, 1, writeback);
      request(set, OUT, 0, { out: pattern(512) });
      return flush.mock.calls.length;
    };
    const { VIRTIO_BLK_F_FLUSH: F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE: F_WCE } = blk;
    expect([flushes([]), flushes([F_FLUSH]), flushes([F_FLUSH, F_WCE])]).toEqual([1, 0, 0]);
    expect([flushes([F_FLUSH, F_WCE], 0), flushes([F_FLUSH, F_WCE], 1), flushes([F_FLUSH], 0)]).toEqual([1, 0, 0]);
  });

  it('a failing host disk is an I/O error, a failing program is not', () => {
    const set = setUp();
    set.modern.start([], set.memory);
    const read = vi.spyOn(set.image, 'read');
    read.mockImplementationOnce(() => {
      closeSync(openSync('/nonexistent/disk', 'r'));
    });
    expect(request(set, IN, 0, { answer: 512 }).status).toBe(IOERR);
    read.mockImplementationOnce(() => {
      throw new TypeError('a bug');
    });
    expect(() => request(set, IN, 0, { answer: 512 })).toThrow('a bug');
  });

  it('a last sector that the file does not fill reads as zeroes behind its end', () => {
    const set = setUp({ bytes: pattern(700) });
    set.modern.start([], set.memory);
    expect(set.modern.config(0, 4)).toBe(2);
    const { status, data } = request(set, IN, 0, { answer: 1024 });
    expect(status).toBe(OK);
    expect([...data]).toEqual([...pattern(700), ...new Uint8Array(324)]);
    truncateSync(set.path, 0); // shrunk behind our back
    expect(request(set, IN, 0, { answer: 512 }).data.every((b) => b === 0)).toBe(true);
  });

  it('a chain without room for the status, or larger than any request, breaks the queue', () => {
    for (const pieces of [
      [{ address: DATA, length: 16 }],
      Array.from({ length: 9 }, () => ({ address: 0, length: RAM, write: true })),
    ]) {
      const { modern, memory } = setUp();
      modern.start([], memory);
      modern.rings[0].add(pieces);
      modern.kick(0);
      expect(modern.status() & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
    }
  });

  it('a request without a whole header is an error', () => {
    const { modern, memory } = setUp();
    modern.start([], memory);
    modern.rings[0].add([
      { address: DATA, length: 15 },
      { address: DATA + 64, length: 1, write: true },
    ]);
    modern.kick(0);
    expect(memory.read8(DATA + 64)).toBe(IOERR);
  });

  it('serves a bounded number of requests at once, and the rest when pumped', () => {
    const { modern, memory, device } = setUp();
    modern.start([], memory, 256);
    memory.bytes.set(header(FLUSH, 0), DATA);
    for (let i = 0; i < 100; i++) {
      modern.rings[0].add([
        { address: DATA, length: 16 },
        { address: DATA + 64, length: 1, write: true },
      ]);
    }
    modern.kick(0);
    expect(modern.rings[0].takeUsed()).toHaveLength(64);
    expect([device.pump(), device.pump()]).toEqual([36, 0]);
  });

  it('random rings and headers never throw, never leave RAM, never grow the disk', () => {
    const set = setUp();
    const { memory, modern, device } = set;
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            address: fc.oneof(fc.nat(RAM + 100), fc.constant(DATA)),
            length: fc.oneof(fc.constantFrom(1, 16, 512), fc.nat(5000), fc.nat(0xffffffff)),
            flags: fc.nat(7),
            next: fc.nat(70),
            availIdx: fc.nat(64),
          }),
          { minLength: 1, maxLength: 30 },
        ),
        fc.nat(14),
        fc.nat(2 * SECTORS),
        (writes, type, sector) => {
          memory.bytes.fill(0, 0, 0x10000);
          modern.start([VIRTIO_F_INDIRECT_DESC, blk.VIRTIO_BLK_F_FLUSH, blk.VIRTIO_BLK_F_WRITE_ZEROES], memory);
          memory.bytes.set(header(type, sector), DATA);
          for (const [i, { address, length, flags, next, availIdx }] of writes.entries()) {
            modern.rings[0].descriptor(i, address, length, flags, next);
            memory.write16(modern.rings[0].avail + 4 + 2 * i, next);
            modern.rings[0].setAvailIdx(availIdx);
            modern.kick(0);
            device.pump();
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(readFileSync(set.path).length).toBe(SECTORS * 512);
    set.checkGuards();
  });
});

describe('BlkImage', () => {
  it('says what is wrong with a path', () => {
    expect(() => new BlkImage(join(directory, 'missing'), true)).toThrow('ENOENT');
    expect(() => new BlkImage('/dev/null', true)).toThrow('neither a file nor a block device');
    expect(() => new BlkImage(directory, true)).toThrow('neither a file nor a block device');
  });
});
