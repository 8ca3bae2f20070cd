import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostTree } from '../../../devices/9p/host-tree.ts';
import * as m from '../../../devices/9p/messages.ts';
import { NinepServer } from '../../../devices/9p/server.ts';
import { Virtio9p } from '../../../devices/virtio/9p.ts';
import { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { DEVICE_NEEDS_RESET } from '../../../devices/virtio/virtio-device.ts';
import { Client, encode, text } from '../9p/client.ts';
import { makeMemory, type Piece } from './ring-driver.ts';
import { ModernPciDriver, recordingSlot } from './virtio-driver.ts';

const built = existsSync(fileURLToPath(new URL('../../../build/Release/tsvmm_net.node', import.meta.url)));
const unbuilt = built ? '' : " NOT RUN: the addon is not built ('node scripts/build-addon.mjs')";
const RAM = 4 << 20;
const REQUEST = 0x100000;
const REPLY = 0x200000;

let root: string;
let device: Virtio9p;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsvmm-9p-'));
  writeFileSync(join(root, 'motd'), 'hello from the host\n');
});
afterEach(() => {
  device.close();
  rmSync(root, { recursive: true });
});

function setUp() {
  const test = makeMemory(RAM);
  device = new Virtio9p(test.memory, new NinepServer(new HostTree(root)), 'fs0');
  const pci = new VirtioPci(device);
  pci.attach(recordingSlot().slot);
  const modern = new ModernPciDriver(pci);
  modern.start([], test.memory, 128);
  return { ...test, modern, pci };
}

/** Cuts `length` bytes at `address` into pieces of the given lengths, which repeat. */
function cut(address: number, length: number, lengths: readonly number[], write: boolean): Piece[] {
  const pieces: Piece[] = [];
  for (let i = 0, done = 0; done < length; i++) {
    const piece = Math.min(lengths[i % lengths.length], length - done);
    pieces.push({ address: address + done, length: piece, write });
    done += piece;
  }
  return pieces;
}

describe.skipIf(unbuilt)(`Virtio9p${unbuilt}`, () => {
  it('is a PCI function as QEMU’s, with the mount tag in its configuration', () => {
    const { modern, pci } = setUp();
    expect([pci.readConfig(2, 2), pci.readConfig(10, 2)]).toEqual([0x1009, 0x0002]);
    expect(modern.offered()).toContain(0);
    expect(modern.config(0, 2)).toBe(3);
    expect([2, 3, 4, 5].map((at) => modern.config(at, 1))).toEqual([...Buffer.from('fs0'), 0]);
  });

  it('carries messages and data through any layout of descriptors', () => {
    const { memory, modern, checkGuards } = setUp();
    let layout: readonly number[] = [4096];
    const ring = modern.rings[0];
    const client = new Client((request, room) => {
      memory.bytes.set(request, REQUEST);
      memory.bytes.fill(0xee, REPLY, REPLY + room);
      ring.add([...cut(REQUEST, request.length, layout, false), ...cut(REPLY, room, layout, true)]);
      modern.kick(0);
      const [used] = ring.takeUsed();
      return Buffer.from(memory.bytes.slice(REPLY, REPLY + used.length));
    });
    client.attach(8192);
    const fid = client.create('', 'data');
    const model = Buffer.alloc(8000);
    fc.assert(
      fc.property(
        fc.nat(4000),
        fc.uint8Array({ minLength: 1, maxLength: 4000 }),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }),
        (offset, data, write, lengths) => {
          layout = lengths.map((length) => Math.max(length, 250));
          layout = [lengths[0], ...layout, 8192];
          if (write) {
            expect(client.write(fid, offset, data)).toBe(data.length);
            model.set(data, offset);
          } else {
            const size = readFileSync(join(root, 'data')).length;
            const part = model.subarray(Math.min(offset, size), Math.min(offset + data.length, size));
            expect(client.read(fid, offset, data.length)).toEqual(part);
          }
        },
      ),
      { numRuns: 200 },
    );
    checkGuards();
  });

  it.each([
    ['a request that is longer than its chain', [0, 0, 1, 0, 100, 0, 0], 100],
    ['one without a whole header', [7, 0, 0, 0, 100, 0], 100],
    ['one that says it is shorter than its header', [6, 0, 0, 0, 100, 0, 0], 100],
    ['no room for a reply', [...encode(m.TVERSION, 1, ['4:8192', text('9P2000.L')])], 10],
  ])('%s breaks the queue', (_, request, room) => {
    const { memory, modern } = setUp();
    memory.bytes.set(request, REQUEST);
    modern.rings[0].add([
      { address: REQUEST, length: request.length },
      { address: REPLY, length: room, write: true },
    ]);
    modern.kick(0);
    expect(modern.status() & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
  });

  it('a reset of the device ends the session', () => {
    const { memory, modern } = setUp();
    const client = new Client((request, room) => {
      memory.bytes.set(request, REQUEST);
      modern.rings[0].add([
        { address: REQUEST, length: request.length },
        { address: REPLY, length: room, write: true },
      ]);
      modern.kick(0);
      return Buffer.from(memory.bytes.slice(REPLY, REPLY + modern.rings[0].takeUsed()[0].length));
    });
    client.attach();
    client.open('motd');
    modern.start([], memory, 128);
    expect(() => client.getattr(1)).toThrow('errno 9');
    client.attach();
    expect(client.read(client.open('motd'), 0, 5).toString()).toBe('hello');
  });
});
