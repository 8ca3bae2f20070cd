import { mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InterruptHub } from '../../devices/apic/interrupt-hub.ts';
import { MmioBus } from '../../devices/mmio-bus.ts';
import { PortBus } from '../../devices/port-bus.ts';
import { Board } from '../../vmm/board.ts';
import { HostClock } from '../../vmm/clock.ts';
import { Console } from '../../vmm/console/console.ts';
import { UserError } from '../../vmm/errors.ts';
import { RamGuestMemory } from '../../vmm/guest-memory.ts';
import { parseArguments } from '../../vmm/options/parse.ts';

const RAM = 2 ** 24;
const directory = mkdtempSync(join(tmpdir(), 'tsvmm-'));

function boardOf(line: string) {
  const command = parseArguments([
    '-kernel',
    'k',
    '-display',
    'none',
    ...line.split(' ').filter((word) => word !== ''),
  ]);
  if (command.kind !== 'run') throw new Error(command.kind);
  const { config } = command;
  const host = { ms: 0 };
  const clock = new HostClock(() => host.ms);
  const events: string[] = [];
  const ports = new PortBus();
  const mmio = new MmioBus();
  const interrupts = new InterruptHub({
    clock,
    timeOfTsc: (low, high) => clock.tsc.timeOf(low, high),
    onPending: () => events.push('pending'),
    onInit: () => {},
    onStartUp: () => {},
  });
  const console = new Console(config.characters, () => {});
  const board = new Board(config, {
    ports,
    mmio,
    interrupts,
    memory: new RamGuestMemory(new ArrayBuffer(RAM), 0, RAM, () => {}),
    clock,
    console,
    backends: new Map(),
    events: {
      powerOff: () => events.push('powerOff'),
      reset: () => events.push('reset'),
      exit: (status) => events.push(`exit ${status}`),
      panicked: () => events.push('panicked'),
    },
  });
  const config32 = (slot: number, fn: number, offset: number) => {
    ports.write(0xcf8, 4, (0x80000000 | (slot << 11) | (fn << 8) | offset) >>> 0);
    return ports.read(0xcfc, 4);
  };
  return { board, ports, mmio, interrupts, console, clock, host, events, config32 };
}

describe('what a guest finds on the board', () => {
  test('PCI as on QEMU’s pc, programmed as its firmware does', () => {
    const { config32 } = boardOf('-device virtio-net-pci -device virtio-rng-pci');
    expect(config32(0, 0, 0)).toBe(0x12378086);
    expect(config32(0, 0, 8) >>> 8).toBe(0x060000);
    expect(config32(1, 0, 0)).toBe(0x70008086);
    expect(config32(1, 3, 0)).toBe(0x71138086);
    // The card, in the first free slot: transitional, I/O BAR, decoding on, INTA routed to IRQ 11.
    expect(config32(2, 0, 0)).toBe(0x10001af4);
    expect(config32(2, 0, 0x10)).toBe(0xc001);
    expect(config32(2, 0, 0x04) & 7).toBe(7);
    expect(config32(2, 0, 0x3c) & 0xffff).toBe(0x010a);
    expect(config32(3, 0, 0)).toBe(0x10051af4);
    expect(config32(4, 0, 0)).toBe(0xffffffff);
  });

  test('a modern card only, and a legacy one only', () => {
    const { config32 } = boardOf('-device virtio-net-pci,disable-legacy=on -device virtio-net-pci,disable-modern=on');
    expect(config32(2, 0, 0)).toBe(0x10411af4);
    expect(config32(2, 0, 0x10)).toBe(0);
    expect(config32(3, 0, 0)).toBe(0x10001af4);
    expect(config32(3, 0, 0x20)).toBe(0);
  });

  test('the MAC address of the command line is in the card’s configuration', () => {
    const { ports, config32 } = boardOf('-device virtio-net-pci,mac=52:54:00:aa:bb:cc');
    const base = config32(2, 0, 0x10) & 0xfffc;
    const mac = Array.from({ length: 6 }, (_, index) => ports.read(base + 0x14 + index, 1));
    expect(mac).toEqual([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
  });

  test('ports that end the machine', () => {
    const { ports, events } = boardOf('-device isa-debug-exit -device pvpanic');
    ports.write(0x604, 2, 0x2000);
    ports.write(0x501, 2, 0x29);
    ports.write(0x505, 1, 1);
    ports.write(0x64, 1, 0xfe);
    ports.write(0x92, 1, 1);
    ports.write(0xcf9, 1, 0x0e);
    expect(events).toEqual(['powerOff', 'exit 83', 'panicked', 'reset', 'reset', 'reset']);
  });

  test('no debug exit unless it was asked for', () => {
    const { ports, events } = boardOf('');
    ports.write(0x501, 2, 0x29);
    expect(events).toEqual([]);
  });

  test('serial ports and debug console reach their files', () => {
    const path = (name: string) => join(directory, name);
    const { ports, console } = boardOf(
      `-serial file:${path('com1')} -serial none -serial file:${path('com3')} -debugcon file:${path('debug')}`,
    );
    ports.write(0x3f8, 1, 0x41);
    ports.write(0x2f8, 1, 0x42);
    ports.write(0x3e8, 1, 0x43);
    ports.write(0xe9, 1, 0x44);
    console.close(0);
    expect(['com1', 'com3', 'debug'].map((name) => readFileSync(path(name), 'latin1'))).toEqual(['A', 'C', 'D']);
    // COM2 is not there.
    expect(ports.read(0x2fd, 1)).toBe(0xff);
    expect(ports.read(0x3fd, 1)).toBe(0x60);
  });

  test('the PIT interrupts through the PIC', () => {
    const { ports, interrupts, clock, host, events } = boardOf('');
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
      [0x21, 0xfe],
      [0x43, 0x34],
      [0x40, 0xa9],
      [0x40, 0x04],
    ]) {
      ports.write(port, 1, value);
    }
    host.ms = 1.1;
    clock.runTimers();
    expect(interrupts.pending()).toBe(true);
    expect(events).toContain('pending');
    expect(interrupts.acknowledge()).toBe(0x20);
  });

  test('LAPIC and IOAPIC answer at their addresses', () => {
    const { mmio } = boardOf('');
    expect(mmio.read(0xfee00030, 4) & 0xff).toBeGreaterThanOrEqual(0x10);
    mmio.write(0xfec00000, 4, 1);
    expect(mmio.read(0xfec00010, 4)).toBe(0x00170011);
    expect(mmio.read(0xd0000000, 4)).toBe(0xffffffff);
  });

  test('a VGA card, or none', () => {
    expect(boardOf('').ports.read(0x3cc, 1)).toBe(0x67);
    expect(boardOf('-vga none').ports.read(0x3cc, 1)).toBe(0xff);
  });
});

describe('microvm', () => {
  test('virtio-mmio where Firecracker has it, and no PCI', () => {
    const { board, mmio, config32, ports, events } = boardOf(
      '-M microvm -nic none -device virtio-net-device -device virtio-rng-device',
    );
    expect(board.virtioMmio).toEqual([
      { base: 0xd0000000, irq: 5 },
      { base: 0xd0001000, irq: 6 },
    ]);
    expect([0, 4, 8].map((at) => mmio.read(0xd0000000 + at, 4))).toEqual([0x74726976, 2, 1]);
    expect(mmio.read(0xd0001008, 4)).toBe(4);
    expect(config32(0, 0, 0)).toBe(0xffffffff);
    ports.write(0x604, 2, 0x2000);
    expect(events).toEqual(['powerOff']);
  });

  test('has room for nine devices', () => {
    expect(() => boardOf(`-M microvm${' -device virtio-rng-device'.repeat(10)}`)).toThrow(/room for 9/);
  });
});

test('reset brings back what firmware left', () => {
  const { board, ports, config32 } = boardOf('-device virtio-net-pci');
  ports.write(0xcf8, 4, 0x80001010);
  ports.write(0xcfc, 4, 0xd001);
  ports.write(0xcf8, 4, 0x80001004);
  ports.write(0xcfc, 2, 0);
  ports.write(0x21, 1, 0);
  expect(config32(2, 0, 0x10)).toBe(0xd001);
  board.reset();
  expect(config32(2, 0, 0x10)).toBe(0xc001);
  expect(config32(2, 0, 0x04) & 7).toBe(7);
  expect(ports.read(0x21, 1)).toBe(0xb8);
});

test('a disk shows its size', () => {
  const image = join(directory, 'disk');
  writeFileSync(image, '');
  truncateSync(image, 1024 * 1024);
  const { board, ports, config32 } = boardOf(`-drive file=${image},if=virtio,readonly=on`);
  expect(config32(2, 0, 0)).toBe(0x10011af4);
  expect(ports.read((config32(2, 0, 0x10) & 0xfffc) + 0x14, 4)).toBe(2048);
  board.close();
});

test('what cannot be had is named', () => {
  expect(() => boardOf('-drive file=/no/such,if=virtio')).toThrow(
    new UserError('-drive file=/no/such: could not open the image: no such file or directory'),
  );
  expect(() => boardOf('-device vhost-vsock-pci,guest-cid=3')).toThrow('-device vhost-vsock-pci: not supported yet');
});
