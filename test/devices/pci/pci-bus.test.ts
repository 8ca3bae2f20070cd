import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize, BusDevice } from '../../../devices/bus.ts';
import { MmioBus } from '../../../devices/mmio-bus.ts';
import { I440fx } from '../../../devices/pci/i440fx.ts';
import { PciBus } from '../../../devices/pci/pci-bus.ts';
import { PciDevice } from '../../../devices/pci/pci-device.ts';
import { Piix3 } from '../../../devices/pci/piix3.ts';
import { Piix4Pm } from '../../../devices/pci/piix4-pm.ts';
import { assignResources } from '../../../devices/pci/resource-allocator.ts';
import { PortBus } from '../../../devices/port-bus.ts';

const ROUTES = [10, 10, 11, 11];
const RESOURCES = {
  ioStart: 0xc000,
  ioEnd: 0x10000,
  memoryStart: 0xfe000000,
  memoryEnd: 0xfec00000,
  pirqIrqs: ROUTES,
};

const echo: BusDevice = { read: (offset) => offset & 0xff, write: () => {} };

function makeMachine() {
  const ports = new PortBus();
  const mmio = new MmioBus();
  const irqs = new Array<boolean>(16).fill(false);
  const messages: [number, number][] = [];
  const piix3 = new Piix3(
    irqs.map((_, irq) => ({ set: (level) => (irqs[irq] = level) })),
    ROUTES,
  );
  const bus = new PciBus(ports, mmio, { send: (address, data) => messages.push([address, data]) }, piix3);
  ports.add(0xcf8, 8, bus);
  bus.add(new I440fx(), 0);
  bus.add(piix3, 1);
  const config = (slot: number, offset: number, fn = 0) => {
    ports.write(0xcf8, 4, (0x80000000 | (slot << 11) | (fn << 8) | (offset & 0xfc)) >>> 0);
    return 0xcfc + (offset & 3);
  };
  return {
    ports,
    mmio,
    irqs,
    messages,
    bus,
    read: (slot: number, offset: number, size: AccessSize, fn = 0) => ports.read(config(slot, offset, fn), size),
    write: (slot: number, offset: number, size: AccessSize, value: number, fn = 0) =>
      ports.write(config(slot, offset, fn), size, value),
  };
}

const nic = () =>
  new PciDevice({
    vendorId: 0x1af4,
    deviceId: 0x1000,
    classCode: 0x020000,
    subsystemVendorId: 0x1af4,
    subsystemId: 1,
    interruptPin: 1,
  });

describe('configuration mechanism #1', () => {
  test('finds the chipset by dwords, words and bytes', () => {
    const { read } = makeMachine();
    expect(read(0, 0, 4)).toBe(0x12378086);
    expect(read(0, 2, 2)).toBe(0x1237);
    expect(read(0, 0x0b, 1)).toBe(0x06);
    expect(read(1, 0, 4)).toBe(0x70008086);
    expect(read(1, 8, 4)).toBe(0x06010000);
    expect(read(1, 0x0e, 1)).toBe(0x80);
  });

  test('absent functions, buses and a disabled address read ones and swallow writes', () => {
    const { ports, read, write } = makeMachine();
    expect(read(31, 0, 4)).toBe(0xffffffff);
    expect(read(0, 0, 2, 1)).toBe(0xffff);
    write(31, 4, 2, 7);
    ports.write(0xcf8, 4, 0x80010000);
    expect(ports.read(0xcfc, 4)).toBe(0xffffffff);
    ports.write(0xcf8, 4, 0);
    expect(ports.read(0xcfc, 4)).toBe(0xffffffff);
  });

  test('CONFIG_ADDRESS is a dword register with reserved bits zero', () => {
    const { ports } = makeMachine();
    ports.write(0xcf8, 4, 0xffffffff);
    expect(ports.read(0xcf8, 4)).toBe(0x80fffffc);
    ports.write(0xcf8, 1, 0);
    expect(ports.read(0xcf8, 4)).toBe(0x80fffffc);
    expect(ports.read(0xcf8, 1)).toBe(0xff);
  });

  test('read-only registers keep their values', () => {
    const { read, write } = makeMachine();
    write(0, 0, 4, 0);
    write(0, 8, 4, 0);
    expect([read(0, 0, 4), read(0, 8, 4)]).toEqual([0x12378086, 0x06000002]);
  });

  test('PAM registers store what is written', () => {
    const { read, write } = makeMachine();
    write(0, 0x59, 1, 0x30);
    write(0, 0x5c, 4, 0x33333333);
    expect(read(0, 0x59, 1)).toBe(0x30);
    expect(read(0, 0x5c, 4)).toBe(0x33333333);
  });

  test('slots: the first free one, a named one, no slot twice, no 33rd device', () => {
    const { bus } = makeMachine();
    expect(bus.add(nic())).toBe(2);
    expect(bus.add(nic(), 7)).toBe(7);
    expect(() => bus.add(nic(), 7)).toThrow('taken');
    for (let i = 0; i < 28; i++) bus.add(nic());
    expect(() => bus.add(nic())).toThrow(RangeError);
  });
});

describe('base address registers', () => {
  test('sizing tells size and type of every kind of BAR', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 31 }), fc.boolean(), fc.boolean(), (log2, is64, prefetchable) => {
        const { bus, read, write } = makeMachine();
        const device = nic();
        device.addMemoryBar(2, 2 ** log2, echo, { is64, prefetchable });
        const slot = bus.add(device);
        write(slot, 4, 2, 3);
        write(slot, 0x18, 4, 0xffffffff);
        write(slot, 0x1c, 4, 0xffffffff);
        const low = read(slot, 0x18, 4);
        expect(low & 0xf).toBe((is64 ? 4 : 0) | (prefetchable ? 8 : 0));
        expect((~(low & ~0xf) >>> 0) + 1).toBe(2 ** log2);
        expect(read(slot, 0x1c, 4)).toBe(is64 ? 0xffffffff : 0);
      }),
    );
  });

  test('a window is where command and BAR say, and nowhere else, after any sequence of writes', () => {
    const write = fc.record({ offset: fc.constantFrom(4, 0x10, 0x14), value: fc.integer({ min: 0, max: 0xffffffff }) });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 12 }), (writes) => {
        const machine = makeMachine();
        const device = nic();
        device.addIoBar(0, 32, { read: () => 0x11, write: () => {} });
        device.addMemoryBar(1, 4096, { read: () => 0x22, write: () => {} });
        const slot = machine.bus.add(device);
        for (const { offset, value } of writes) {
          machine.write(slot, offset, 4, value);
          const command = machine.read(slot, 4, 2);
          const io = (machine.read(slot, 0x10, 4) & ~3) >>> 0;
          const memory = (machine.read(slot, 0x14, 4) & ~0xf) >>> 0;
          const ioMapped = (command & 1) !== 0 && io !== 0 && io + 32 <= 0x10000;
          const memoryMapped = (command & 2) !== 0 && memory !== 0 && memory !== 0xfffff000;
          if (io + 32 <= 0xcf8) expect(machine.ports.read(io + 31, 1) === 0x11).toBe(ioMapped);
          expect(machine.mmio.covers(memory + 4095)).toBe(memoryMapped);
        }
      }),
    );
  });

  test('a BAR moves with its window and reset unmaps it', () => {
    const { bus, ports, write } = makeMachine();
    const device = nic();
    device.addIoBar(0, 32, echo);
    const slot = bus.add(device);
    write(slot, 0x10, 4, 0xc000);
    expect(ports.read(0xc005, 1)).toBe(0xff);
    write(slot, 4, 2, 1);
    expect(ports.read(0xc005, 1)).toBe(5);
    write(slot, 0x10, 4, 0xd020);
    expect([ports.read(0xc005, 1), ports.read(0xd025, 1)]).toEqual([0xff, 5]);
    bus.reset();
    expect(ports.read(0xd025, 1)).toBe(0xff);
  });
});

describe('resources as firmware leaves them', () => {
  test('BARs are aligned and disjoint, decoding is on, the line is noted', () => {
    const { bus, ports, mmio, read } = makeMachine();
    const device = nic();
    device.addIoBar(0, 32, echo);
    device.addMemoryBar(1, 4096, echo);
    device.addMemoryBar(4, 16384, echo, { is64: true, prefetchable: true });
    const slot = bus.add(device, 3);
    assignResources(bus, RESOURCES);
    expect(read(slot, 0x10, 4)).toBe(0xc001);
    expect(read(slot, 0x14, 4)).toBe(0xfe000000);
    expect([read(slot, 0x20, 4), read(slot, 0x24, 4)]).toEqual([0xfe00400c, 0]);
    expect(read(slot, 4, 2) & 7).toBe(7);
    expect(read(slot, 0x3c, 1)).toBe(11);
    expect(ports.read(0xc01f, 1)).toBe(31);
    expect(mmio.read(0xfe004010, 1)).toBe(0x10);
  });

  test('too little room is an error', () => {
    const { bus } = makeMachine();
    const device = nic();
    device.addMemoryBar(0, 2 ** 24, echo);
    bus.add(device);
    expect(() => assignResources(bus, RESOURCES)).toThrow('no memory space left');
  });
});

describe('INTx', () => {
  test('INTA# of slots 2…5 reaches IRQ 10, 11, 11, 10 through the PIIX3', () => {
    for (const [slot, irq] of [
      [2, 10],
      [3, 11],
      [4, 11],
      [5, 10],
    ]) {
      const { bus, irqs } = makeMachine();
      const device = nic();
      bus.add(device, slot);
      device.setInterrupt(true);
      expect(irqs.flatMap((level, n) => (level ? [n] : []))).toEqual([irq]);
      device.setInterrupt(false);
      expect(irqs).not.toContain(true);
    }
  });

  test('the line stays up until the last of those who share it lets go', () => {
    const devices = [nic(), nic(), nic()];
    const { bus, irqs } = makeMachine();
    for (const [index, device] of devices.entries()) bus.add(device, [2, 5, 6][index]);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.boolean())), (steps) => {
        const levels = [false, false, false];
        for (const device of devices) device.setInterrupt(false);
        for (const [index, level] of steps) {
          devices[index].setInterrupt(level);
          levels[index] = level;
          expect(irqs[10]).toBe(levels[0] || levels[1] || levels[2]);
        }
      }),
    );
  });

  test('INTx disable holds the line, not the status bit', () => {
    const { bus, irqs, read, write } = makeMachine();
    const device = nic();
    bus.add(device, 2);
    write(2, 4, 2, 0x400);
    device.setInterrupt(true);
    expect([irqs[10], read(2, 6, 2) & 8]).toEqual([false, 8]);
    write(2, 4, 2, 0);
    expect(irqs[10]).toBe(true);
    device.setInterrupt(false);
    expect([irqs[10], read(2, 6, 2) & 8]).toEqual([false, 0]);
  });

  test('rerouting or disabling a PIRQ moves a held level', () => {
    const { bus, irqs, write } = makeMachine();
    const device = nic();
    bus.add(device, 2);
    device.setInterrupt(true);
    write(1, 0x61, 1, 5);
    expect([irqs[10], irqs[5]]).toEqual([false, true]);
    write(1, 0x61, 1, 0x80);
    expect(irqs).not.toContain(true);
  });
});

describe('MSI-X', () => {
  function withMsix() {
    const machine = makeMachine();
    const device = nic();
    const msix = device.addMsix(1, 3);
    const slot = machine.bus.add(device);
    assignResources(machine.bus, RESOURCES);
    const capability = machine.read(slot, 0x34, 1);
    const table = machine.read(slot, 0x14, 4);
    for (let vector = 0; vector < 3; vector++) {
      machine.mmio.write(table + 16 * vector, 4, 0xfee00000);
      machine.mmio.write(table + 16 * vector + 8, 4, 0x40 + vector);
      machine.mmio.write(table + 16 * vector + 12, 4, 0);
    }
    return { ...machine, device, msix, slot, capability, table };
  }

  test('the capability describes table and PBA', () => {
    const { read, slot, capability } = withMsix();
    expect(read(slot, 6, 2) & 0x10).toBe(0x10);
    expect(read(slot, capability, 4)).toBe(0x00020011);
    expect(read(slot, capability + 4, 4)).toBe(0x001);
    expect(read(slot, capability + 8, 4)).toBe(0x801);
  });

  test('sends address and data of the entry only while enabled', () => {
    const { msix, messages, write, slot, capability } = withMsix();
    msix.notify(1);
    expect(messages).toEqual([]);
    write(slot, capability + 2, 2, 0x8000);
    msix.notify(1);
    msix.notify(3);
    msix.notify(-1);
    expect(messages).toEqual([[0xfee00000, 0x41]]);
  });

  test('a vector masked by entry or function is pending and sent once when unmasked', () => {
    const { msix, messages, mmio, table, write, slot, capability } = withMsix();
    write(slot, capability + 2, 2, 0x8000);
    mmio.write(table + 16 + 12, 4, 1);
    msix.notify(1);
    msix.notify(1);
    expect([messages.length, mmio.read(table + 0x800, 4)]).toEqual([0, 2]);
    write(slot, capability + 2, 2, 0xc000);
    mmio.write(table + 16 + 12, 4, 0);
    expect(messages).toEqual([]);
    write(slot, capability + 2, 2, 0x8000);
    expect(messages).toEqual([[0xfee00000, 0x41]]);
    expect(mmio.read(table + 0x800, 4)).toBe(0);
  });

  test('needs bus mastering', () => {
    const { msix, messages, write, slot, capability } = withMsix();
    write(slot, capability + 2, 2, 0x8000);
    write(slot, 4, 2, 3);
    msix.notify(0);
    expect(messages).toEqual([]);
  });

  test('reset masks all and forgets what was pending', () => {
    const { msix, device, mmio, table, messages, write, slot, capability, bus } = withMsix();
    write(slot, capability + 2, 2, 0xc000);
    msix.notify(0);
    device.reset();
    expect(msix.enabled).toBe(false);
    assignResources(bus, RESOURCES);
    write(slot, capability + 2, 2, 0x8000);
    expect(messages).toEqual([]);
    expect(mmio.read(table + 12, 4)).toBe(1);
  });
});

test('the PIIX4 maps its register block at PMBA while enabled', () => {
  const { bus, ports, read, write } = makeMachine();
  bus.add(new Piix4Pm(echo, 0x600, 9), 1, 3);
  assignResources(bus, RESOURCES);
  expect(read(1, 0, 4, 3)).toBe(0x71138086);
  expect(read(1, 0x40, 4, 3)).toBe(0x601);
  expect(read(1, 0x3c, 1, 3)).toBe(9);
  expect(ports.read(0x608, 1)).toBe(8);
  write(1, 0x40, 4, 0xb041, 3);
  expect([ports.read(0x608, 1), ports.read(0xb048, 1)]).toEqual([0xff, 8]);
  write(1, 0x80, 1, 0, 3);
  expect(ports.read(0xb048, 1)).toBe(0xff);
  bus.reset();
  expect(ports.read(0x608, 1)).toBe(8);
});
