import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import * as blk from '../../../devices/virtio/blk.ts';
import { VirtioBlk, type VirtioBlkOptions } from '../../../devices/virtio/blk.ts';
import { BlkImage, type BlkImageOptions } from '../../../devices/virtio/blk-image.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../../../devices/virtio/features.ts';
import { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { DEVICE_NEEDS_RESET } from '../../../devices/virtio/virtio-device.ts';
import { makeMemory, type Piece } from './ring-driver.ts';
import { LegacyPciDriver, ModernPciDriver, recordingSlot } from './virtio-driver.ts';

const ADDON = fileURLToPath(new URL('../../../build/Release/tsvmm_net.node', import.meta.url));
const RAM = 4 << 20;
const DATA = 0x100000;
const SECTORS = 64;

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-blk-'));
const open: BlkImage[] = [];
afterEach(() => {
  for (const image of open.splice(0)) image.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

interface SetUp extends Omit<VirtioBlkOptions, 'image'> {
  bytes?: Uint8Array;
  readonly?: boolean;
  imageOptions?: BlkImageOptions;
}

function setUp({ bytes = pattern(SECTORS * 512), readonly = false, imageOptions = {}, ...options }: SetUp = {}) {
  const path = join(directory, `image-${open.length}-${Math.random()}`);
  writeFileSync(path, bytes);
  const image = new BlkImage(path, { readonly, ...imageOptions });
  open.push(image);
  const test = makeMemory(RAM);
  const device = new VirtioBlk(test.memory, { image, serial: 'disk-7', ...options });
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
    expect(modern.offered()).toEqual(expect.arrayContaining([2, 4, 6, 9, 10, 11, 13, 14]));
    expect(modern.offered()).not.toContain(5);
    const readonly = setUp({ readonly: true }).modern.offered();
    expect(readonly).toContain(5);
    expect(readonly).not.toContain(13);
    expect(readonly).not.toContain(14);
  });

  it('has a geometry, and block sizes that requests keep to', () => {
    const set = setUp({ logicalBlockSize: 2048, physicalBlockSize: 4096 });
    set.modern.start([], set.memory);
    const { modern } = set;
    expect([modern.config(16, 2), modern.config(18, 1), modern.config(19, 1)]).toEqual([2, 16, 63]);
    expect([modern.config(20, 4), modern.config(24, 1), modern.config(34, 2)]).toEqual([2048, 1, 1]);
    expect([modern.config(36, 4), modern.config(40, 4), modern.config(44, 4)]).toEqual([0x3fffff, 1, 8]);
    expect(request(set, IN, 4, { answer: 2048 }).status).toBe(OK);
    expect(request(set, IN, 4, { answer: 512 }).status).toBe(IOERR);
    expect(request(set, IN, 1, { answer: 2048 }).status).toBe(IOERR);
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

  const range = (sector: number, count: number, flags = 0) => {
    const view = new DataView(new ArrayBuffer(16));
    view.setUint32(0, sector, true);
    view.setUint32(8, count, true);
    view.setUint32(12, flags, true);
    return { out: new Uint8Array(view.buffer) };
  };

  it('writes zeroes where it was accepted', () => {
    const set = setUp();
    set.modern.start([blk.VIRTIO_BLK_F_WRITE_ZEROES], set.memory);
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

  it('starts with the cache that the drive has, which the driver may not be allowed to change', () => {
    const flushes = (options: SetUp, features: number[], writeback?: number) => {
      const set = setUp(options);
      const flush = vi.spyOn(set.image, 'flush');
      set.modern.start(features, set.memory);
      const initial = set.modern.config(32, 1);
      if (writeback !== undefined) set.modern.setConfig(32, 1, writeback);
      request(set, OUT, 0, { out: pattern(512) });
      return [initial, flush.mock.calls.length];
    };
    const both = [blk.VIRTIO_BLK_F_FLUSH, blk.VIRTIO_BLK_F_CONFIG_WCE];
    expect(flushes({ writeback: false }, both)).toEqual([0, 1]);
    expect(flushes({ writeback: false }, both, 1)).toEqual([0, 0]);
    expect(setUp({ writeback: false, configWce: false }).modern.offered()).not.toContain(blk.VIRTIO_BLK_F_FLUSH);
    expect(setUp({ configWce: false }).modern.offered()).not.toContain(blk.VIRTIO_BLK_F_CONFIG_WCE);
    expect(flushes({ writeback: false, configWce: false }, [])).toEqual([0, 1]);
  });

  const unbuilt = existsSync(ADDON) ? '' : " NOT RUN: the addon is not built ('node scripts/build-addon.mjs')";
  it.skipIf(unbuilt)(`discards: a hint that is checked, and taken where the drive says so${unbuilt}`, () => {
    for (const discard of [false, true]) {
      const set = setUp({ imageOptions: { discard } });
      set.modern.start([blk.VIRTIO_BLK_F_DISCARD], set.memory);
      const discardOf = (...args: Parameters<typeof range>) =>
        request(set, blk.VIRTIO_BLK_T_DISCARD, 0, range(...args)).status;
      expect(discardOf(8, 16)).toBe(OK);
      expect(discardOf(8, 16, 1)).toBe(UNSUPP);
      expect(discardOf(SECTORS - 1, 2)).toBe(IOERR);
      const expected = pattern(SECTORS * 512);
      if (discard) expected.fill(0, 8 * 512, 24 * 512);
      expect(Buffer.compare(readFileSync(set.path), expected)).toBe(0);
    }
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
    expect(() => new BlkImage(join(directory, 'missing'))).toThrow('ENOENT');
    expect(() => new BlkImage('/dev/null', { readonly: true })).toThrow('neither a file nor a block device');
    expect(() => new BlkImage(directory, { readonly: true })).toThrow('neither a file nor a block device');
  });

  it('flushes to the disk unless told not to', () => {
    const path = join(directory, 'flushed');
    writeFileSync(path, pattern(512));
    for (const flush of [true, false]) {
      const image = new BlkImage(path, { flush });
      const { fd } = image as unknown as { fd: number };
      closeSync(fd); // so that whoever reaches for the disk fails
      if (flush) expect(() => image.flush()).toThrow('EBADF');
      else image.flush();
    }
  });

  const loop = loopDevice();
  it.skipIf(typeof loop === 'string')(
    `serves block devices${typeof loop === 'string' ? ` NOT RUN: ${loop}` : ''}`,
    () => {
      const { device, file, release } = loop as Exclude<typeof loop, string>;
      try {
        const image = new BlkImage(device, { discard: true });
        open.push(image);
        expect(image.sectors).toBe(2048);
        const { memory } = makeMemory(RAM);
        const pieces = { count: 1, address: Float64Array.of(100), length: Uint32Array.of(1024) };
        memory.bytes.set(pattern(1024, 5), 100);
        image.write(memory, pieces, 2046 * 512);
        image.flush();
        expect(readFileSync(file).subarray(2046 * 512)).toEqual(Buffer.from(pattern(1024, 5)));
        memory.bytes.fill(0);
        image.read(memory, pieces, 2046 * 512);
        expect(memory.bytes.slice(100, 1124)).toEqual(pattern(1024, 5));
        image.discard(2040 * 512, 8 * 512);
        image.read(memory, pieces, 2046 * 512);
        expect(memory.bytes.slice(100, 1124)).toEqual(new Uint8Array(1024));
      } finally {
        release();
      }
    },
  );
});

/** A block device of 1 MiB on a file. @returns why it cannot be had otherwise */
function loopDevice() {
  if (!existsSync(ADDON)) return "the addon is not built ('node scripts/build-addon.mjs')";
  const file = join(directory, 'backing');
  writeFileSync(file, new Uint8Array(1 << 20));
  const { status, stdout, stderr, error } = spawnSync('losetup', ['--find', '--show', file], { encoding: 'utf8' });
  if (status !== 0) return error?.message ?? stderr.trim();
  const device = stdout.trim();
  return { device, file, release: () => spawnSync('losetup', ['--detach', device]) };
}
