import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize, BusDevice } from '../../devices/bus.ts';
import { MmioBus } from '../../devices/mmio-bus.ts';
import { PortBus } from '../../devices/port-bus.ts';

/** A window whose byte at offset n reads `tag + n`; keeps what was written. */
class Probe implements BusDevice {
  readonly writes: [number, AccessSize, number][] = [];
  private readonly tag: number;
  constructor(tag: number) {
    this.tag = tag;
  }
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= ((this.tag + offset + i) & 0xff) << (8 * i);
    return value >>> 0;
  }
  write(offset: number, size: AccessSize, value: number): void {
    this.writes.push([offset, size, value]);
  }
}

describe.each([
  ['PortBus', () => new PortBus()],
  ['MmioBus', () => new MmioBus()],
])('%s', (_name, create) => {
  test('reads ones and drops writes where nothing is mapped', () => {
    const bus = create();
    expect([bus.read(0x80, 1), bus.read(0x80, 2), bus.read(0x80, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
    expect(() => bus.write(0x80, 4, 1)).not.toThrow();
  });

  test('gives a device offsets in its own window', () => {
    const bus = create();
    const probe = new Probe(0x10);
    bus.add(0x3f8, 8, probe);
    expect(bus.read(0x3f9, 2)).toBe(0x1211);
    bus.write(0x3fc, 4, 0xdeadbeef);
    expect(probe.writes).toEqual([[4, 4, 0xdeadbeef]]);
  });

  test('splits an access that straddles two windows', () => {
    const bus = create();
    const low = new Probe(0x10);
    bus.add(0x100, 2, low);
    bus.add(0x102, 1, new Probe(0x80));
    expect(bus.read(0x101, 4)).toBe(0xffff8011);
    bus.write(0x101, 2, 0xbbaa);
    expect(low.writes).toEqual([[1, 1, 0xaa]]);
  });

  test('refuses to remove what was never added', () => {
    const bus = create();
    const probe = new Probe(0);
    bus.add(0x100, 4, probe);
    expect(() => bus.remove(0x104, probe)).toThrow();
    bus.remove(0x100, probe);
    expect(() => bus.remove(0x100, probe)).toThrow();
  });

  test('the window added last answers, whatever was added and removed before', () => {
    const step = fc.record({ base: fc.nat(60), length: fc.integer({ min: 1, max: 16 }), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const bus = create();
        const mapped: { base: number; length: number; tag: number; probe: Probe }[] = [];
        for (const [index, { base, length, remove }] of steps.entries()) {
          if (remove && mapped.length > 0) {
            const [gone] = mapped.splice(base % mapped.length, 1);
            bus.remove(gone.base, gone.probe);
          } else {
            const probe = new Probe(index * 10);
            mapped.push({ base, length, tag: index * 10, probe });
            bus.add(base, length, probe);
          }
          for (let address = 0; address < 80; address++) {
            const owner = mapped.findLast((window) => address >= window.base && address < window.base + window.length);
            expect(bus.read(address, 1)).toBe(owner ? (owner.tag + address - owner.base) & 0xff : 0xff);
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

test('PortBus refuses windows outside the 64 Ki ports, and wraps accesses at the end', () => {
  const bus = new PortBus();
  expect(() => bus.add(0xfff9, 8, new Probe(0))).toThrow(RangeError);
  expect(() => bus.add(-1, 8, new Probe(0))).toThrow(RangeError);
  bus.add(0, 1, new Probe(0x42));
  expect(bus.read(0xffff, 2)).toBe(0x42ff);
});

test('MmioBus reaches windows above 4 GiB and says what it covers', () => {
  const bus = new MmioBus();
  bus.add(2 ** 40, 0x1000, new Probe(1));
  expect(bus.read(2 ** 40 + 4, 1)).toBe(5);
  expect([bus.covers(2 ** 40 - 1), bus.covers(2 ** 40), bus.covers(2 ** 40 + 0x1000)]).toEqual([false, true, false]);
});
