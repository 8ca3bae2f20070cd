import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RtcCmos, rtcBase } from '../../../devices/legacy/rtc-cmos.ts';
import { FakeClock, FakeIrq } from '../fake-clock.ts';

const START = Date.UTC(2024, 1, 28, 23, 59, 57);
const SECOND = 1e9;

function makeRtc(time = START, ramSize = 64 * 2 ** 20) {
  const clock = new FakeClock();
  const irq = new FakeIrq();
  const rtc = new RtcCmos(clock, irq, { time, ramSize, cpus: 1 });
  const get = (index: number) => {
    rtc.write(0, 1, index);
    return rtc.read(1, 1);
  };
  const set = (index: number, value: number) => {
    rtc.write(0, 1, index);
    rtc.write(1, 1, value);
  };
  const face = () => [0x32, 9, 8, 7, 4, 2, 0].map(get);
  return { clock, irq, rtc, get, set, face };
}

describe('time', () => {
  test('is in BCD and 24 h at first, and runs over a leap day', () => {
    const { clock, face, get } = makeRtc();
    expect(face()).toEqual([0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x57]);
    expect(get(6)).toBe(4);
    clock.advance(3 * SECOND);
    expect(face()).toEqual([0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00]);
    expect([get(0x0b), get(0x0d)]).toEqual([0x02, 0x80]);
  });

  test('binary and 12 h formats', () => {
    const { set, get } = makeRtc();
    set(0x0b, 0x04);
    expect([get(0), get(4)]).toEqual([57, 0x80 | 11]);
    set(0x0b, 0x00);
    expect(get(4)).toBe(0x91);
  });

  test('noon and midnight are 12 in 12 h format', () => {
    for (const [hour, register] of [
      [0, 0x12],
      [1, 0x01],
      [12, 0x92],
      [13, 0x81],
    ]) {
      const { set, get } = makeRtc(Date.UTC(2024, 0, 1, hour));
      set(0x0b, 0x00);
      expect(get(4)).toBe(register);
      set(4, register);
      set(0x0b, 0x02);
      expect(get(4)).toBe(Math.floor(hour / 10) * 16 + (hour % 10));
    }
  });

  test('setting the time in any format shows it again, and it goes on from there', () => {
    const time = fc.record({
      ms: fc.integer({ min: Date.UTC(1980, 0, 1) / 1000, max: Date.UTC(2079, 11, 31) / 1000 }),
      format: fc.constantFrom(0x00, 0x02, 0x04, 0x06),
    });
    fc.assert(
      fc.property(time, ({ ms, format }) => {
        const other = makeRtc(ms * 1000);
        other.set(0x0b, format);
        const { set, face, clock, get } = makeRtc();
        set(0x0b, 0x80 | format);
        for (const [i, index] of [0x32, 9, 8, 7, 4, 2, 0].entries()) set(index, other.face()[i]);
        clock.advance(5 * SECOND);
        set(0x0b, format);
        expect(face()).toEqual(other.face());
        clock.advance(59 * SECOND);
        other.clock.advance(59 * SECOND);
        expect(face()).toEqual(other.face());
        expect(get(6)).toBe(other.get(6));
      }),
      { numRuns: 200 },
    );
  });

  test('SET holds the time', () => {
    const { set, face, clock } = makeRtc();
    set(0x0b, 0x82);
    clock.advance(10 * SECOND);
    expect(face().at(-1)).toBe(0x57);
  });

  test('the divider in reset holds the time; the first update comes half a second after', () => {
    const { set, get, clock } = makeRtc();
    set(0x0a, 0x76);
    clock.advance(10 * SECOND);
    expect(get(0)).toBe(0x57);
    set(0x0a, 0x26);
    clock.advance(0.49 * SECOND);
    expect(get(0)).toBe(0x57);
    clock.advance(0.02 * SECOND);
    expect(get(0)).toBe(0x58);
  });

  test('UIP is set for the 244 µs before each update', () => {
    const { clock, get } = makeRtc();
    clock.advance(SECOND - 250_000);
    expect(get(0x0a)).toBe(0x26);
    clock.advance(10_000);
    expect(get(0x0a)).toBe(0xa6);
    clock.advance(239_000);
    expect([get(0x0a), get(0)]).toEqual([0xa6, 0x57]);
    clock.advance(2_000);
    expect([get(0x0a), get(0)]).toEqual([0x26, 0x58]);
  });
});

describe('interrupts', () => {
  test('update-ended: once a second, acknowledged by reading register C', () => {
    const { clock, irq, set, get } = makeRtc();
    set(0x0b, 0x12);
    clock.advance(1.5 * SECOND);
    expect([irq.level, get(0x0c) & 0x90, irq.level, get(0x0c)]).toEqual([true, 0x90, false, 0]);
    clock.advance(SECOND);
    expect(irq.edges).toBe(2);
  });

  test('periodic: the rate of register A, one edge for each acknowledged period', () => {
    const { clock, irq, set, get } = makeRtc();
    set(0x0b, 0x42);
    for (let i = 0; i < 4096; i++) {
      clock.advance(SECOND / 4096);
      if (irq.level) expect(get(0x0c) & 0xc0).toBe(0xc0);
    }
    expect(irq.edges).toBeGreaterThanOrEqual(1023);
    expect(irq.edges).toBeLessThanOrEqual(1024);
    set(0x0a, 0x20);
    const before = irq.edges;
    clock.advance(SECOND);
    expect(irq.edges).toBe(before);
  });

  test('rates 1 and 2 are those of 8 and 9', () => {
    for (const [rate, hz] of [
      [1, 256],
      [2, 128],
      [3, 8192],
      [15, 2],
    ]) {
      const { clock, irq, set, get } = makeRtc();
      set(0x0a, 0x20 | rate);
      set(0x0b, 0x42);
      clock.advance(SECOND / hz + 10);
      expect(irq.edges).toBe(1);
      get(0x0c);
      clock.advance(0.9 * (SECOND / hz));
      expect(irq.edges).toBe(1);
    }
  });

  test('alarm at a time of day, and with wildcards', () => {
    const { clock, irq, set, get } = makeRtc();
    for (const [index, value] of [
      [1, 0x02],
      [3, 0x00],
      [5, 0x00],
    ])
      set(index, value);
    set(0x0b, 0x22);
    clock.advance(4.9 * SECOND);
    expect(irq.edges).toBe(0);
    clock.advance(0.2 * SECOND);
    expect(irq.edges).toBe(1);
    expect(get(0x0c) & 0xa0).toBe(0xa0);
    for (const index of [1, 3, 5]) set(index, 0xc0);
    clock.advance(SECOND);
    expect(irq.edges).toBe(2);
  });

  test('flags are set without interrupts, for those who poll, and no timer runs for them', () => {
    const { clock, irq, get } = makeRtc();
    expect(clock.busy).toBe(false);
    clock.advance(1.1 * SECOND);
    expect([get(0x0c), get(0x0c), irq.edges]).toEqual([0x50, 0, 0]);
  });

  test('reset disables interrupts and keeps the time', () => {
    const { clock, irq, rtc, set, get } = makeRtc();
    set(0x0b, 0x72);
    clock.advance(1.1 * SECOND);
    rtc.reset();
    expect([irq.level, get(0x0b), get(0), clock.busy]).toEqual([false, 0x02, 0x58, false]);
  });
});

test('CMOS tells the memory size as QEMU does', () => {
  const sizes = (mib: number) => {
    const { get } = makeRtc(START, mib * 2 ** 20);
    return [0x15, 0x17, 0x30, 0x34].map((at) => get(at) | (get(at + 1) << 8));
  };
  expect(sizes(8)).toEqual([640, 7 * 1024, 7 * 1024, 0]);
  expect(sizes(64)).toEqual([640, 63 * 1024, 63 * 1024, 48 * 16]);
  expect(sizes(3072)).toEqual([640, 0xffff, 0xffff, (3072 - 16) * 16]);
});

test('the index port is write-only and carries the NMI mask; free bytes are memory', () => {
  const { rtc, get, set } = makeRtc();
  rtc.write(0, 1, 0x8f);
  expect([rtc.nmiDisabled, rtc.read(0, 1)]).toEqual([true, 0xff]);
  set(0x40, 0xa5);
  expect([rtc.nmiDisabled, get(0x40)]).toEqual([false, 0xa5]);
  set(0x0d, 0);
  expect(get(0x0d)).toBe(0x80);
});

test('-rtc base', () => {
  const now = Date.UTC(2024, 5, 1, 12);
  expect(rtcBase('utc', now)).toBe(now);
  expect(rtcBase('localtime', now)).toBe(now - new Date(now).getTimezoneOffset() * 60_000);
  expect(rtcBase('2006-06-17T16:01:21', now)).toBe(Date.UTC(2006, 5, 17, 16, 1, 21));
  expect(rtcBase('2006-06-17', now)).toBe(Date.UTC(2006, 5, 17));
  for (const bad of ['', 'gmt', '2006-13-01', '2006-06-17T25:00:00', '17.6.2006'])
    expect(rtcBase(bad, now)).toBe(undefined);
});

test('any bytes to the registers leave byte values and a clock that can be moved', () => {
  const write = fc.record({ index: fc.nat(127), value: fc.nat(255), ns: fc.nat(2e9) });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      const { clock, set, get } = makeRtc();
      for (const { index, value, ns } of writes) {
        set(index, value);
        clock.advance(ns / 100);
        for (const register of [0, 2, 4, 6, 7, 8, 9, 0x0c, 0x32]) {
          const byte = get(register);
          expect(Number.isInteger(byte) && byte >= 0 && byte <= 255).toBe(true);
        }
      }
    }),
    { numRuns: 200 },
  );
});
