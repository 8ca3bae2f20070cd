import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessSize, BusDevice } from '../../../devices/bus.ts';
import { PCI_COMMAND, PCI_COMMAND_MASTER } from '../../../devices/pci/config-space.ts';
import * as modern from '../../../devices/virtio/pci-modern-window.ts';
import * as mmio from '../../../devices/virtio/transport-mmio.ts';
import { VirtioMmio } from '../../../devices/virtio/transport-mmio.ts';
import { VIRTIO_MSI_NO_VECTOR, VirtioPci, type VirtioPciOptions } from '../../../devices/virtio/transport-pci.ts';
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
} from '../../../devices/virtio/virtio-device.ts';
import { EchoDevice } from './echo-device.ts';
import { makeMemory, type Piece, RingDriver } from './ring-driver.ts';
import {
  barOf,
  type Driver,
  LegacyPciDriver,
  MmioDriver,
  ModernPciDriver,
  RINGS,
  recordingSlot,
} from './virtio-driver.ts';

const RAM = 1 << 20;
const DATA = 0x80000;
const ANY_LAYOUT = 27;
const INDIRECT_DESC = 28;
const EVENT_IDX = 29;
const VERSION_1 = 32;

function pciSetUp(options: VirtioPciOptions = {}) {
  const test = makeMemory(RAM);
  const device = new EchoDevice(test.memory);
  const pci = new VirtioPci(device, options);
  const recorder = recordingSlot();
  pci.attach(recorder.slot);
  return { ...test, ...recorder, device, pci };
}

function mmioSetUp(version: 1 | 2 = 2) {
  const test = makeMemory(RAM);
  const device = new EchoDevice(test.memory);
  const line = { level: false };
  const irq = { set: (level: boolean) => (line.level = level) };
  const transport = new VirtioMmio(device, irq, { legacy: version === 1 });
  return { ...test, device, line, transport, driver: new MmioDriver(transport, version) };
}

const HELLO: Piece[] = [
  { address: DATA, length: 5 },
  { address: DATA + 100, length: 3, write: true },
  { address: DATA + 200, length: 8, write: true },
];

/** Sends five bytes through `queue` and checks the answer. */
function echo(driver: Driver, memory: RingDriver['memory'], queue = 0): void {
  memory.bytes.set([1, 2, 3, 4, 5], DATA);
  const head = driver.rings[queue].add(HELLO);
  driver.kick(queue);
  expect(driver.rings[queue].takeUsed()).toEqual([{ id: head, length: 5 }]);
  expect([...memory.bytes.subarray(DATA + 100, DATA + 103), ...memory.bytes.subarray(DATA + 200, DATA + 202)]).toEqual([
    1, 2, 3, 4, 5,
  ]);
}

describe('every register interface', () => {
  const interfaces: [string, () => { driver: Driver; device: EchoDevice; memory: RingDriver['memory'] }][] = [
    ['legacy PCI', () => pciWith(LegacyPciDriver)],
    ['modern PCI', () => pciWith(ModernPciDriver)],
    ['MMIO version 2', () => mmioSetUp(2)],
    ['MMIO version 1', () => mmioSetUp(1)],
  ];
  function pciWith(DriverClass: typeof LegacyPciDriver | typeof ModernPciDriver) {
    const set = pciSetUp();
    return { ...set, driver: new DriverClass(set.pci) };
  }

  it.each(interfaces)('%s: brings the device up and moves data on each queue', (_, make) => {
    const { driver, memory, device } = make();
    driver.start([EVENT_IDX, INDIRECT_DESC, 0], memory);
    expect(device.events.filter((event) => event === 'ready')).toHaveLength(1);
    for (const queue of [0, 1, 0, 1]) echo(driver, memory, queue);
    expect([device.accepted.has(0), device.accepted.has(5), device.accepted.has(EVENT_IDX)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  it.each(interfaces)('%s: offers each driver what is meant for it', (name, make) => {
    const legacyOnly = [5, ANY_LAYOUT];
    const offered = make().driver.offered();
    if (name === 'legacy PCI' || name === 'MMIO version 1')
      expect(offered).toEqual([0, ...legacyOnly, INDIRECT_DESC, EVENT_IDX]);
    else expect(offered).toEqual([0, INDIRECT_DESC, EVENT_IDX, VERSION_1, 40]);
  });

  it.each(interfaces)('%s: reads and writes the configuration by 1, 2 and 4 bytes', (_, make) => {
    const { driver, device } = make();
    expect([driver.config(0, 1), driver.config(1, 2), driver.config(4, 4)]).toEqual([0x10, 0x1211, 0x17161514]);
    expect([driver.config(6, 4), driver.config(8, 4), driver.config(60, 1)]).toEqual([0x1716, 0, 0]);
    driver.setConfig(3, 2, 0x1234);
    expect(device.events).toContain('config 3+2=4660');
  });

  it.each(interfaces)('%s: a reset forgets everything', (_, make) => {
    const { driver, memory, device } = make();
    driver.start([EVENT_IDX], memory);
    echo(driver, memory);
    driver.setStatus(0);
    expect([driver.status(), device.accepted.word(0), device.queues[0].ready]).toEqual([0, 0, false]);
    driver.rings[0].add(HELLO);
    driver.kick(0);
    expect(driver.rings[0].takeUsed()).toEqual([]);
    memory.bytes.fill(0, 0x4000, 0x10000);
    driver.start([], memory);
    echo(driver, memory);
  });

  it.each(interfaces)('%s: kicks of queues that are not there do nothing', (_, make) => {
    const { driver, memory, device } = make();
    for (const queue of [0, 2, 0xffff]) driver.kick(queue);
    driver.start([], memory);
    for (const queue of [2, 3, 0xffff]) driver.kick(queue);
    expect(device.events.filter((event) => event.startsWith('notify'))).toEqual([]);
  });

  it.each(interfaces)('%s: after FAILED the device does nothing more', (_, make) => {
    const { driver, memory, device } = make();
    driver.start([], memory);
    driver.setStatus(driver.status() | FAILED);
    driver.kick(0);
    expect(device.events).not.toContain('notify 0');
  });

  it.each(interfaces)('%s: a bad descriptor is answered, and a reset cures it', (name, make) => {
    const { driver, memory, device } = make();
    driver.start([], memory);
    const before = driver.status();
    driver.rings[0].add([{ address: RAM, length: 1 }]);
    driver.kick(0);
    const isLegacy = name === 'legacy PCI' || name === 'MMIO version 1';
    expect(driver.status()).toBe(isLegacy ? before : before | DEVICE_NEEDS_RESET);
    expect(device.queues[0].error).toBe('descriptor outside RAM');
    driver.setStatus(0);
    memory.bytes.fill(0, 0x4000, 0x10000);
    driver.start([], memory);
    echo(driver, memory);
  });
});

describe('status and features', () => {
  it('FEATURES_OK is refused for features that were not offered, and without VERSION_1', () => {
    const driver = new ModernPciDriver(pciSetUp().pci);
    const asked = ACKNOWLEDGE | DRIVER;
    expect(driver.negotiate([0])).toBe(asked);
    expect(driver.negotiate([VERSION_1, 1])).toBe(asked);
    expect(driver.negotiate([VERSION_1, 5])).toBe(asked); // offered to legacy drivers only
    expect(driver.negotiate([VERSION_1, 64])).toBe(asked);
    expect(driver.negotiate([VERSION_1, 127])).toBe(asked);
    expect(driver.negotiate([VERSION_1, 40, 0])).toBe(asked | FEATURES_OK);
  });

  it('DRIVER_OK needs FEATURES_OK, and bits once set stay', () => {
    const { device, pci } = pciSetUp();
    const driver = new ModernPciDriver(pci);
    driver.setStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    expect([driver.status(), device.live]).toEqual([ACKNOWLEDGE | DRIVER, false]);
    driver.setStatus(ACKNOWLEDGE);
    expect(driver.status()).toBe(ACKNOWLEDGE | DRIVER);
    driver.setStatus(DEVICE_NEEDS_RESET);
    expect(driver.status()).toBe(ACKNOWLEDGE | DRIVER);
  });

  it('features cannot change after FEATURES_OK', () => {
    const { device, pci } = pciSetUp();
    const driver = new ModernPciDriver(pci);
    driver.negotiate([VERSION_1]);
    driver.window.write(modern.DRIVER_FEATURE_SELECT, 4, 0);
    driver.window.write(modern.DRIVER_FEATURE, 4, 1);
    expect(device.accepted.has(0)).toBe(false);
  });

  it('a legacy driver may use its queues before DRIVER_OK and is never given what it did not accept', () => {
    const { memory, pci, device } = pciSetUp();
    const driver = new LegacyPciDriver(pci);
    driver.start([EVENT_IDX, 1, VERSION_1], memory);
    expect(device.accepted.word(0)).toBe(1 << EVENT_IDX);
    expect(device.accepted.has(VERSION_1)).toBe(false);
    driver.setStatus(0);
    memory.bytes.fill(0, RINGS, RINGS + 0x8000);
    driver.setStatus(ACKNOWLEDGE | DRIVER);
    driver.io.write(0x0e, 2, 0);
    driver.io.write(0x08, 4, RINGS / 4096);
    driver.rings = [new RingDriver(memory, RINGS, 64)];
    expect(driver.io.read(0x08, 4)).toBe(RINGS / 4096);
    echo(driver, memory);
  });

  it('queue configuration counts only between FEATURES_OK and DRIVER_OK', () => {
    const { memory, pci, device } = pciSetUp();
    const driver = new ModernPciDriver(pci);
    const ring = new RingDriver(memory, RINGS, 32);
    driver.setStatus(ACKNOWLEDGE | DRIVER);
    driver.selectQueue(0);
    expect(driver.setUpQueue(ring)).toBe(0);
    expect([device.queues[0].size, ...device.queues[0].addressWords]).toEqual([64, 0, 0, 0, 0, 0, 0]);
    driver.negotiate([VERSION_1]);
    driver.selectQueue(0);
    expect(driver.setUpQueue(ring)).toBe(1);
    driver.window.write(modern.QUEUE_SIZE, 2, 16); // enabled: fixed
    expect(driver.window.read(modern.QUEUE_SIZE, 2)).toBe(32);
    driver.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    driver.selectQueue(1);
    expect(driver.setUpQueue(new RingDriver(memory, RINGS + 0x4000, 32))).toBe(0);
    driver.rings = [ring];
    echo(driver, memory);
  });

  it.each([0, 3, 128])('a modern queue size of %d for a queue of 64 asks for a reset', (size) => {
    const { memory, pci } = pciSetUp();
    const driver = new ModernPciDriver(pci);
    driver.negotiate([VERSION_1]);
    driver.selectQueue(0);
    expect(driver.setUpQueue(new RingDriver(memory, RINGS, 64), size)).toBe(0);
    expect(driver.status() & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
  });

  it('a change of the configuration bumps the generation and interrupts a driver that is ready', () => {
    const { memory, pci, device, state } = pciSetUp();
    const driver = new ModernPciDriver(pci);
    device.changeConfig(0, 1);
    expect([driver.window.read(modern.CONFIG_GENERATION, 1), state.intx]).toEqual([1, false]);
    driver.start([], memory);
    device.changeConfig(0, 2);
    expect([driver.window.read(modern.CONFIG_GENERATION, 1), state.intx, driver.isr()]).toEqual([2, true, 2]);
  });
});

describe('VirtioPci', () => {
  it.each<[VirtioPciOptions, number, number, number, number[]]>([
    [{}, 0x1005, 4, 0, [0, 1, 4]],
    [{ disableLegacy: true }, 0x1044, 0x1100, 1, [1, 4]],
    [{ disableModern: true }, 0x1005, 4, 0, [0, 1]],
  ])('with %j has the ids and BARs of that kind', (options, deviceId, subsystem, revision, bars) => {
    const { pci } = pciSetUp(options);
    expect([pci.config.get16(0), pci.config.get16(2), pci.config.get16(0x2c), pci.config.get16(0x2e)]).toEqual([
      0x1af4,
      deviceId,
      0x1af4,
      subsystem,
    ]);
    expect(pci.config.bytes[8]).toBe(revision);
    expect(pci.config.bytes[0x3d]).toBe(1);
    expect(pci.bars.map((bar) => bar.index).sort()).toEqual(bars);
  });

  it('refuses to have no interface at all', () => {
    expect(() => pciSetUp({ disableLegacy: true, disableModern: true })).toThrow(RangeError);
  });

  it('describes each structure by a capability that lies in BAR 4', () => {
    const { pci } = pciSetUp();
    const found = new Map<number, number[]>();
    for (let at = pci.config.bytes[0x34]; at !== 0; at = pci.config.bytes[at + 1]) {
      if (pci.config.bytes[at] !== 9) continue;
      found.set(pci.config.bytes[at + 3], [
        pci.config.bytes[at + 2],
        pci.config.bytes[at + 4],
        pci.config.get32(at + 8),
        pci.config.get32(at + 12),
      ]);
    }
    expect(found).toEqual(
      new Map([
        [1, [16, 4, 0x0000, 0x1000]],
        [3, [16, 4, 0x1000, 0x1000]],
        [4, [16, 4, 0x2000, 0x1000]],
        [2, [20, 4, 0x3000, 0x1000]],
        [5, [20, 0, 0, 0]],
      ]),
    );
  });

  it('INTx follows the ISR register, which reading clears', () => {
    const { memory, pci, state } = pciSetUp();
    const driver = new LegacyPciDriver(pci);
    driver.start([], memory);
    echo(driver, memory);
    expect(state.intx).toBe(true);
    expect([driver.isr(), driver.isr(), state.intx]).toEqual([1, 0, false]);
    driver.rings[1].add([{ address: RAM, length: 1 }]);
    driver.kick(1);
    expect([driver.isr(), state.intx]).toEqual([2, false]);
    echo(driver, memory);
    driver.setStatus(0);
    expect(state.intx).toBe(false);
  });

  const enableMsix = (pci: VirtioPci, on = true) => {
    let at = pci.config.bytes[0x34];
    while (pci.config.bytes[at] !== 0x11) at = pci.config.bytes[at + 1];
    pci.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    pci.writeConfig(at + 2, 2, on ? 0x8000 : 0);
    const table = barOf(pci, 1);
    for (let vector = 0; vector < 3; vector++) {
      table.write(16 * vector, 4, 0xfee00000);
      table.write(16 * vector + 8, 4, 0x40 + vector);
      table.write(16 * vector + 12, 4, 0);
    }
  };

  it('MSI-X takes the place of INTx, by queue and for the configuration', () => {
    const { memory, pci, device, state, messages } = pciSetUp();
    enableMsix(pci);
    const driver = new ModernPciDriver(pci);
    driver.negotiate([VERSION_1]);
    driver.rings = [0, 1].map((queue) => {
      driver.selectQueue(queue);
      driver.window.write(modern.QUEUE_MSIX_VECTOR, 2, queue + 1);
      const ring = new RingDriver(memory, RINGS + 0x4000 * queue, 16);
      driver.setUpQueue(ring);
      return ring;
    });
    driver.window.write(modern.CONFIG_MSIX_VECTOR, 2, 0);
    driver.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    echo(driver, memory, 0);
    echo(driver, memory, 1);
    device.changeConfig(0, 1);
    expect(messages.map(([, data]) => data)).toEqual([0x41, 0x42, 0x40]);
    expect(state.edges).toBe(0);
    driver.selectQueue(1);
    driver.window.write(modern.QUEUE_MSIX_VECTOR, 2, 3); // there are three: 0…2
    expect(driver.window.read(modern.QUEUE_MSIX_VECTOR, 2)).toBe(VIRTIO_MSI_NO_VECTOR);
    echo(driver, memory, 1);
    expect(messages).toHaveLength(3);
  });

  it('MSI-X moves the legacy configuration from 0x14 to 0x18', () => {
    const { pci } = pciSetUp();
    const driver = new LegacyPciDriver(pci);
    expect(driver.io.read(0x14, 4)).toBe(0x13121110);
    enableMsix(pci);
    driver.io.write(0x14, 2, 2);
    driver.io.write(0x0e, 2, 1);
    driver.io.write(0x16, 2, 1);
    expect([driver.io.read(0x14, 2), driver.io.read(0x16, 2), driver.io.read(0x18, 4)]).toEqual([2, 1, 0x13121110]);
    enableMsix(pci, false);
    expect(driver.io.read(0x14, 4)).toBe(0x13121110);
  });

  it('the PCI configuration access capability reaches the BAR', () => {
    const { pci } = pciSetUp();
    let at = pci.config.bytes[0x34];
    while (pci.config.bytes[at] !== 9 || pci.config.bytes[at + 3] !== 5) at = pci.config.bytes[at + 1];
    const access = (offset: number, length: number) => {
      pci.writeConfig(at + 4, 1, 4);
      pci.writeConfig(at + 8, 4, offset);
      pci.writeConfig(at + 12, 4, length);
    };
    access(modern.DEVICE_STATUS, 1);
    pci.writeConfig(at + 16, 1, ACKNOWLEDGE);
    expect(pci.readConfig(at + 16, 1)).toBe(ACKNOWLEDGE);
    access(modern.DEVICE_OFFSET + 4, 4);
    expect(pci.readConfig(at + 16, 4)).toBe(0x17161514);
    for (const [offset, length] of [
      [0x4000, 1],
      [0xfffffffc, 4],
      [1, 4],
      [0, 3],
      [0, 0xffffffff],
    ]) {
      access(offset, length);
      pci.writeConfig(at + 16, 4, 0x55aa);
      expect(pci.readConfig(at + 16, 4)).toBe(0x55aa);
    }
  });
});

describe('VirtioMmio', () => {
  it('names itself', () => {
    const { transport } = mmioSetUp(2);
    expect([mmio.MAGIC_VALUE, mmio.VERSION, mmio.DEVICE_ID].map((r) => transport.read(r, 4))).toEqual([
      0x74726976, 2, 4,
    ]);
    expect(mmioSetUp(1).transport.read(mmio.VERSION, 4)).toBe(1);
    expect([transport.read(0, 1), transport.read(0, 2)]).toEqual([0, 0]); // only whole registers
  });

  it('holds its line until the driver acknowledges every cause', () => {
    const { driver, memory, line, transport, device } = mmioSetUp(2);
    driver.start([], memory);
    echo(driver, memory);
    device.changeConfig(0, 9);
    expect([transport.read(mmio.INTERRUPT_STATUS, 4), line.level]).toEqual([3, true]);
    transport.write(mmio.INTERRUPT_ACK, 4, 1);
    expect([transport.read(mmio.INTERRUPT_STATUS, 4), line.level]).toEqual([2, true]);
    transport.write(mmio.INTERRUPT_ACK, 4, 2);
    expect([transport.read(mmio.INTERRUPT_STATUS, 4), line.level]).toEqual([0, false]);
    expect(transport.read(mmio.CONFIG_GENERATION, 4)).toBe(1);
  });

  it('a queue that is made not ready stops', () => {
    const { driver, memory, transport } = mmioSetUp(2);
    driver.start([], memory);
    transport.write(mmio.QUEUE_SEL, 4, 0);
    transport.write(mmio.QUEUE_READY, 4, 0);
    expect(transport.read(mmio.QUEUE_READY, 4)).toBe(0);
    driver.rings[0].add(HELLO);
    driver.kick(0);
    expect(driver.rings[0].takeUsed()).toEqual([]);
  });

  it('says that there is no shared memory', () => {
    expect(mmioSetUp(2).transport.read(0xb0, 4)).toBe(0xffffffff);
  });
});

describe('hostile drivers', () => {
  const access = fc.record({
    write: fc.boolean(),
    // Mostly registers, sometimes anywhere.
    offset: fc.oneof(fc.nat(0x1ff), fc.nat(0x3fff)),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.oneof(fc.nat(0xf), fc.nat(0xffff), fc.nat(0xffffffff)),
  });

  it.each<[string, (set: ReturnType<typeof pciSetUp>) => BusDevice]>([
    ['legacy window', ({ pci }) => barOf(pci, 0)],
    ['modern window', ({ pci }) => barOf(pci, 4)],
    ['MMIO v2', ({ device }) => new VirtioMmio(device, { set() {} })],
    ['MMIO v1', ({ device }) => new VirtioMmio(device, { set() {} }, { legacy: true })],
  ])('random accesses to the %s never throw and never leave RAM', (_, pick) => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), fc.uint8Array({ maxLength: 64 }), (accesses, noise) => {
        const set = pciSetUp();
        set.memory.bytes.set(noise);
        const window = pick(set);
        for (const { write, offset, size, value } of accesses) {
          if (write) window.write(offset, size, size === 4 ? value : value % 2 ** (8 * size));
          else {
            const read = window.read(offset, size);
            expect(Number.isInteger(read) && read >= 0 && read <= 0xffffffff).toBe(true);
          }
        }
        set.checkGuards();
      }),
      { numRuns: 150 },
    );
  });
});
