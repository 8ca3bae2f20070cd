import { describe, expect, it } from 'vitest';
import { VIRTIO_F_EVENT_IDX } from '../../../devices/virtio/features.ts';
import { RNG_MAX_BYTES, VirtioRng } from '../../../devices/virtio/rng.ts';
import { VirtioPci } from '../../../devices/virtio/transport-pci.ts';
import { makeMemory } from './ring-driver.ts';
import { LegacyPciDriver, ModernPciDriver, recordingSlot } from './virtio-driver.ts';

const RAM = 2 << 20;
const DATA = 0x100000;

function setUp() {
  const test = makeMemory(RAM);
  const rng = new VirtioRng(test.memory);
  const pci = new VirtioPci(rng);
  pci.attach(recordingSlot().slot);
  return { ...test, rng, legacy: new LegacyPciDriver(pci), modern: new ModernPciDriver(pci) };
}

describe('VirtioRng', () => {
  it('fills every piece of a buffer, and nothing beside it', () => {
    for (const kind of ['legacy', 'modern'] as const) {
      const set = setUp();
      const driver = set[kind];
      driver.start([], set.memory);
      const head = driver.rings[0].add([
        { address: DATA, length: 64, write: true },
        { address: DATA + 100, length: 200, write: true },
      ]);
      set.written.length = 0;
      driver.kick(0);
      expect(driver.rings[0].takeUsed()).toEqual([{ id: head, length: 264 }]);
      const bytes = set.memory.bytes;
      expect(bytes.subarray(DATA, DATA + 64).filter((b) => b !== 0).length).toBeGreaterThan(40);
      expect(bytes.subarray(DATA + 100, DATA + 300).filter((b) => b !== 0).length).toBeGreaterThan(150);
      expect(bytes.subarray(DATA + 64, DATA + 100).every((b) => b === 0)).toBe(true);
      expect(bytes[DATA + 300]).toBe(0);
      expect(set.written).toEqual(expect.arrayContaining([{ address: DATA, length: 64 }]));
      set.checkGuards();
    }
  });

  it('asks for the next buffer by avail_event', () => {
    const { modern, memory } = setUp();
    modern.start([VIRTIO_F_EVENT_IDX], memory);
    for (let count = 1; count <= 3; count++) {
      modern.rings[0].add([{ address: DATA, length: 32, write: true }]);
      modern.kick(0);
      expect(modern.rings[0].availEvent).toBe(count);
    }
  });

  it('gives other bytes each time', () => {
    const { legacy, memory } = setUp();
    legacy.start([], memory);
    const take = () => {
      legacy.rings[0].add([{ address: DATA, length: 32, write: true }]);
      legacy.kick(0);
      return memory.bytes.slice(DATA, DATA + 32);
    };
    expect(take()).not.toEqual(take());
  });

  it('uses a part of a huge buffer, and says so', () => {
    const { modern, memory } = setUp();
    modern.start([], memory);
    modern.rings[0].add([
      { address: DATA, length: 40_000, write: true },
      { address: DATA + 40_000, length: 400_000, write: true },
    ]);
    modern.kick(0);
    expect(modern.rings[0].takeUsed()[0].length).toBe(RNG_MAX_BYTES);
    expect(memory.bytes[DATA + RNG_MAX_BYTES]).toBe(0);
  });

  it('serves a bounded number of requests at once, and the rest when pumped', () => {
    const { modern, memory, rng } = setUp();
    modern.start([], memory);
    for (let i = 0; i < 40; i++) modern.rings[0].add([{ address: DATA, length: 16, write: true }]);
    modern.kick(0);
    expect(modern.rings[0].takeUsed()).toHaveLength(16);
    expect([rng.pump(), rng.pump(), rng.pump()]).toEqual([16, 8, 0]);
    expect(modern.rings[0].takeUsed()).toHaveLength(24);
  });
});
