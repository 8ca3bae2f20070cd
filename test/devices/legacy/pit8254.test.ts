import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PIT_HZ, Pit8254, SystemControlB } from '../../../devices/legacy/pit8254.ts';
import { FakeClock, FakeIrq } from '../fake-clock.ts';

/** Nanoseconds until `ticks` have surely been counted, and `ticks + 1` surely not. */
const ns = (ticks: number) => ((ticks + 0.5) * 1e9) / PIT_HZ;

function makePit() {
  const clock = new FakeClock();
  const irq = new FakeIrq();
  const pit = new Pit8254(clock, irq);
  const portB = new SystemControlB(pit, clock);
  const out = (port: number, value: number) => pit.write(port - 0x40, 1, value);
  const inb = (port: number) => pit.read(port - 0x40, 1);
  const program = (channel: number, mode: number, count: number, bcd = 0) => {
    out(0x43, (channel << 6) | 0x30 | (mode << 1) | bcd);
    out(0x40 + channel, count & 0xff);
    out(0x40 + channel, count >> 8);
  };
  const latch = (channel: number) => {
    out(0x43, channel << 6);
    return inb(0x40 + channel) | (inb(0x40 + channel) << 8);
  };
  const status = (channel: number) => {
    out(0x43, 0xe0 | (2 << channel));
    return inb(0x40 + channel);
  };
  return { clock, irq, pit, portB, out, inb, program, latch, status };
}

describe('counting', () => {
  test('mode 2 counts down by one and reloads', () => {
    const { clock, program, latch } = makePit();
    program(0, 2, 11931);
    expect(latch(0)).toBe(11931);
    clock.advance(ns(1));
    expect(latch(0)).toBe(11930);
    clock.advance((11930 * 1e9) / PIT_HZ);
    expect(latch(0)).toBe(11931);
  });

  test('mode 3 counts by two, through two rounds a period', () => {
    const { clock, program, latch, status } = makePit();
    program(0, 3, 1000);
    clock.advance(ns(100));
    expect([latch(0), status(0) & 0x80]).toEqual([800, 0x80]);
    clock.advance((500 * 1e9) / PIT_HZ);
    expect([latch(0), status(0) & 0x80]).toEqual([800, 0]);
  });

  test('modes 0 and 4 go on counting through zero', () => {
    for (const mode of [0, 4]) {
      const { clock, program, latch } = makePit();
      program(1, mode, 10);
      clock.advance(ns(12));
      expect(latch(1)).toBe(0xfffe);
    }
  });

  test('count 0 means 65536, and 10000 in BCD', () => {
    const { clock, program, latch } = makePit();
    program(1, 2, 0);
    program(2, 0, 0, 1);
    expect([latch(1), latch(2)]).toEqual([0, 0]);
    clock.advance(ns(1));
    expect([latch(1), latch(2)]).toEqual([0xffff, 0]);
  });

  test('BCD counts in decimal digits', () => {
    const { clock, program, latch } = makePit();
    program(1, 2, 0x1000, 1);
    clock.advance(ns(1));
    expect(latch(1)).toBe(0x0999);
  });

  test('least, most or both bytes are written and read as the control word says', () => {
    const { out, inb } = makePit();
    out(0x43, 0x54);
    out(0x41, 0x12);
    expect([inb(0x41), inb(0x41)]).toEqual([0x12, 0x12]);
    out(0x43, 0x64);
    out(0x41, 0x12);
    expect([inb(0x41), inb(0x41)]).toEqual([0x12, 0x12]);
    out(0x43, 0x74);
    out(0x41, 0x34);
    out(0x41, 0x12);
    expect([inb(0x41), inb(0x41), inb(0x41)]).toEqual([0x34, 0x12, 0x34]);
  });

  test('a latched count is held until it is read, later latches are ignored', () => {
    const { clock, out, inb, program } = makePit();
    program(1, 2, 0x8000);
    out(0x43, 0x40);
    clock.advance(ns(1000));
    out(0x43, 0x40);
    expect([inb(0x41), inb(0x41)]).toEqual([0x00, 0x80]);
    expect(inb(0x41) | (inb(0x41) << 8)).toBe(0x8000 - 1000);
  });

  test('read-back latches counts and status of several counters, status first', () => {
    const { clock, out, inb, program } = makePit();
    program(1, 2, 0x1234);
    out(0x43, 0x80 | 0x30 | 0);
    clock.advance(ns(4));
    out(0x43, 0xc0 | 0x04 | 0x08);
    expect([inb(0x41), inb(0x41), inb(0x41)]).toEqual([0xb4, 0x30, 0x12]);
    // Counter 2 has its control word, and no count yet.
    expect(inb(0x42)).toBe(0x70);
  });
});

describe('IRQ 0', () => {
  test('mode 2 interrupts once a period, without drift', () => {
    const { clock, irq, program } = makePit();
    program(0, 2, 11931);
    clock.advance(10e9);
    expect(irq.edges).toBe(Math.floor((10 * PIT_HZ) / 11931));
  });

  test('late timers coalesce and keep the grid', () => {
    const { clock, irq, program } = makePit();
    program(0, 3, 11932);
    const period = (11932 * 1e9) / PIT_HZ;
    clock.lateness = 2.5 * period;
    clock.advance(30.5 * period);
    clock.lateness = 0;
    const sofar = irq.edges;
    expect(sofar).toBeGreaterThanOrEqual(9);
    expect(sofar).toBeLessThanOrEqual(11);
    clock.advance(10 * period);
    expect(irq.edges - sofar).toBeLessThanOrEqual(12);
    expect(irq.edges - sofar).toBeGreaterThanOrEqual(10);
  });

  test('modes 0 and 4 interrupt once, at the end of the count', () => {
    for (const mode of [0, 4]) {
      const { clock, irq, program } = makePit();
      program(0, mode, 5000);
      const before = irq.edges;
      clock.advance(ns(4990));
      expect(irq.edges).toBe(before);
      clock.advance(ns(20));
      expect(irq.edges).toBe(before + 1);
      clock.advance(1e9);
      expect(irq.edges).toBe(before + 1);
      expect(clock.busy).toBe(false);
    }
  });

  test('Unikraft idles by rewriting the count of mode 4: each write is one interrupt', () => {
    const { clock, irq, out } = makePit();
    out(0x43, 0x38);
    for (let i = 1; i <= 3; i++) {
      out(0x40, 0xff);
      out(0x40, 0x10);
      clock.advance(ns(0x1100));
      expect(irq.edges).toBe(i);
    }
  });

  test('a control word stops the counter until a count is written', () => {
    const { clock, irq, out, program } = makePit();
    program(0, 2, 100);
    out(0x43, 0x30);
    const before = irq.edges;
    clock.advance(1e9);
    expect(irq.edges).toBe(before);
  });
});

describe('counter 2 and port 0x61', () => {
  test('mode 0 under the gate, as Linux calibrates: OUT rises after the count', () => {
    const { clock, portB, program } = makePit();
    portB.write(0, 1, 0x01);
    program(2, 0, 11932);
    expect(portB.read(0, 1) & 0x21).toBe(0x01);
    clock.advance(ns(11931));
    expect(portB.read(0, 1) & 0x20).toBe(0);
    clock.advance(ns(1));
    expect(portB.read(0, 1) & 0x20).toBe(0x20);
  });

  test('a low gate suspends mode 0', () => {
    const { clock, portB, program, latch } = makePit();
    program(2, 0, 1000);
    clock.advance(ns(500));
    expect(latch(2)).toBe(1000);
    portB.write(0, 1, 1);
    clock.advance(ns(100));
    portB.write(0, 1, 0);
    clock.advance(1e6);
    expect(latch(2)).toBe(900);
    portB.write(0, 1, 1);
    clock.advance(ns(100));
    expect(latch(2)).toBe(799);
  });

  test('a rise of the gate triggers mode 1 and restarts mode 2', () => {
    const { clock, portB, program, latch } = makePit();
    program(2, 1, 1000);
    clock.advance(ns(5000));
    expect(portB.read(0, 1) & 0x20).toBe(0x20);
    portB.write(0, 1, 1);
    expect(portB.read(0, 1) & 0x20).toBe(0);
    clock.advance(ns(1000));
    expect(portB.read(0, 1) & 0x20).toBe(0x20);
    program(2, 2, 1000);
    clock.advance(ns(300));
    portB.write(0, 1, 0);
    portB.write(0, 1, 1);
    expect(latch(2)).toBe(1000);
  });

  test('the refresh bit toggles every 15 µs', () => {
    const { clock, portB } = makePit();
    let toggles = 0;
    let last = portB.read(0, 1) & 0x10;
    for (let i = 0; i < 1000; i++) {
      clock.advance(1000);
      const bit = portB.read(0, 1) & 0x10;
      if (bit !== last) toggles++;
      last = bit;
    }
    expect(toggles).toBe(Math.floor(1e6 / 15085));
  });
});

test('any byte to any port leaves counts in range and a timer that makes progress', () => {
  const write = fc.record({ port: fc.nat(3), value: fc.nat(255), ticks: fc.nat(70000), gate: fc.boolean() });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 50 }), (writes) => {
      const { clock, pit, portB } = makePit();
      for (const { port, value, ticks, gate } of writes) {
        pit.write(port, 1, value);
        portB.write(0, 1, gate ? 1 : 0);
        // A count of 1 in mode 2 interrupts at every tick; keep that run short.
        clock.advance(ns(ticks % 500));
        for (let n = 0; n < 4; n++) {
          const byte = pit.read(n, 1);
          expect(Number.isInteger(byte) && byte >= 0 && byte <= 255).toBe(true);
        }
      }
    }),
    { numRuns: 300 },
  );
});
