/** The card on a real PCI bus, driven port by port as the Unikraft guests do it, and by capabilities as modern ones do. */

import { describe, expect, it } from 'vitest';
import type { AccessSize } from '../../../devices/bus.ts';
import { MmioBus } from '../../../devices/mmio-bus.ts';
import { TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 } from '../../../devices/net/backend.ts';
import { PciBus } from '../../../devices/pci/pci-bus.ts';
import { assignResources } from '../../../devices/pci/resource-allocator.ts';
import { PortBus } from '../../../devices/port-bus.ts';
import { VirtioNet } from '../../../devices/virtio/net.ts';
import { VirtioPci, type VirtioPciOptions } from '../../../devices/virtio/transport-pci.ts';
import { FakeBackend } from './fake-backend.ts';
import { makeMemory, RingDriver } from './ring-driver.ts';

const SLOT = 3;
const DATA = 0x100000;
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const HEADER = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0];

function setUp(options: VirtioPciOptions = {}) {
  const { memory } = makeMemory(4 << 20);
  const backend = new FakeBackend(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
  const net = new VirtioNet(memory, { backend, mac: MAC });
  const ports = new PortBus();
  const mmio = new MmioBus();
  const lines: boolean[] = [];
  const router = {
    setPirq(pirq: number, level: boolean) {
      lines[pirq] = level;
    },
  };
  const bus = new PciBus(ports, mmio, { send() {} }, router);
  ports.add(0xcf8, 8, bus);
  bus.add(new VirtioPci(net, options), SLOT);
  assignResources(bus, {
    ioStart: 0xc000,
    ioEnd: 0x10000,
    memoryStart: 0xe0000000,
    memoryEnd: 0xfec00000,
    pirqIrqs: [10, 10, 11, 11],
  });
  const config = (offset: number, size: AccessSize = 4) => {
    ports.write(0xcf8, 4, (0x80000000 | (SLOT << 11) | (offset & 0xfc)) >>> 0);
    return ports.read(0xcfc + (offset & 3), size);
  };
  return { memory, backend, net, ports, mmio, config, interrupted: () => lines.some(Boolean) };
}

describe('virtio-net on the bus', () => {
  it('is found and driven as Unikraft’s legacy driver does it', () => {
    const { memory, backend, net, ports, config, interrupted } = setUp();
    expect([config(0), config(0x08) >>> 8, config(0x2c)]).toEqual([0x10001af4, 0x020000, 0x00011af4]);
    const base = config(0x10) & ~3;
    expect(config(0x04, 2) & 7).toBe(7);

    ports.write(base + 0x12, 1, 0);
    expect(ports.read(base + 0x12, 1)).toBe(0);
    ports.write(base + 0x12, 1, 1);
    ports.write(base + 0x12, 1, 3);
    const wanted = 0x20210863;
    expect((ports.read(base, 4) & wanted) >>> 0).toBe(wanted);
    ports.write(base + 4, 4, wanted);
    expect([0, 1, 2, 3, 4, 5].map((i) => ports.read(base + 0x14 + i, 1))).toEqual([...MAC]);
    ports.write(base + 0x12, 1, 0x0b);
    const rings = [0, 1].map((queue) => {
      ports.write(base + 0x0e, 2, queue);
      const size = ports.read(base + 0x0c, 2);
      expect(size).toBe(256);
      const ring = new RingDriver(memory, 0x4000 * (queue + 1), size);
      ports.write(base + 0x0e, 2, queue);
      ports.write(base + 0x08, 4, ring.base / 4096);
      return ring;
    });
    ports.write(base + 0x12, 1, 0x0f);
    expect(ports.read(base + 0x12, 1)).toBe(0x0f);

    for (let i = 0; i < 100; i++) {
      rings[0].add([
        { address: DATA + 4096 * i, length: 10, write: true },
        { address: DATA + 4096 * i + 64, length: 2000, write: true },
      ]);
    }
    const frame = Array.from({ length: 64 }, (_, i) => i);
    backend.incoming.push(Uint8Array.from([...HEADER, 0, 0, ...frame]));
    expect(net.pump()).toBe(1);
    expect(interrupted()).toBe(true);
    expect([ports.read(base + 0x13, 1), ports.read(base + 0x13, 1), interrupted()]).toEqual([1, 0, false]);
    expect(rings[0].takeUsed()).toEqual([{ id: 0, length: 74 }]);
    expect([...memory.bytes.subarray(DATA, DATA + 10)]).toEqual(HEADER);
    expect([...memory.bytes.subarray(DATA + 64, DATA + 128)]).toEqual(frame);

    memory.bytes.set([...HEADER, ...frame], DATA);
    rings[1].usedEvent = 0xffff;
    rings[1].add([
      { address: DATA, length: 10 },
      { address: DATA + 10, length: 64 },
    ]);
    ports.write(base + 0x10, 2, 1);
    expect([...backend.sent[0].subarray(0, 10), ...backend.sent[0].subarray(12)]).toEqual([...HEADER, ...frame]);
    expect(rings[1].takeUsed()).toEqual([{ id: 0, length: 0 }]);
    expect(interrupted()).toBe(false); // used_event was not passed
  });

  it('is found by its capabilities when legacy is disabled', () => {
    const { mmio, config } = setUp({ disableLegacy: true });
    expect(config(0)).toBe(0x10411af4);
    expect(config(0x10)).toBe(0);
    const structures = new Map<number, number>();
    for (let at = config(0x34, 1); at !== 0; at = config(at + 1, 1)) {
      if (config(at, 1) !== 9 || config(at + 3, 1) === 5) continue;
      const bar = 0x10 + 4 * config(at + 4, 1);
      const address = ((config(bar) & ~0xf) >>> 0) + config(bar + 4) * 2 ** 32;
      structures.set(config(at + 3, 1), address + config(at + 8));
    }
    expect([...structures.keys()].sort()).toEqual([1, 2, 3, 4]);
    const common = structures.get(1)!;
    expect(mmio.read(common + 0x12, 2)).toBe(3);
    expect([0, 1, 2, 3, 4, 5].map((i) => mmio.read(structures.get(4)! + i, 1))).toEqual([...MAC]);
    mmio.write(common + 0x14, 1, 3);
    expect(mmio.read(common + 0x14, 1)).toBe(3);
  });
});
