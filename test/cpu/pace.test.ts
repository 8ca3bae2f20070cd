/** When the translator wants more than usual: at first, and while the guest is idle. */
import { expect, test } from 'vitest';
import { Pace } from '../../cpu/pace.ts';

test('picky for as long as the guest warms up', () => {
  const pace = new Pace(150, 1000);
  expect(pace.delay(1010, 0, false)).toBe(1000);
  expect(pace.delay(1149, 10e6, false)).toBe(1000);
  expect(pace.delay(1170, 13e6, false)).toBe(0);
});

test('picky for as long as the guest does what it did before', () => {
  const pace = new Pace(150, 1000);
  expect(pace.delay(1170, 13e6, true)).toBe(1000);
  expect(pace.delay(1180, 14e6, false)).toBe(0);
});

test('picky while few instructions are executed, and no longer when there are many', () => {
  const pace = new Pace(1, 0);
  let instructions = 10e6;
  expect(pace.delay(100, instructions, false)).toBe(0);
  // Ticks of 500 instructions, 18 a second.
  for (let time = 155; time < 2000; time += 55) {
    instructions += 500;
    expect(pace.delay(time, instructions, false)).toBe(100);
    // Much happens within a tick for a moment only.
    expect(pace.delay(time + 0.01, instructions + 400, false)).toBe(100);
  }
  // A load sets in: what is hot first pays for the ticks before, and 20 ms later it is seen.
  expect(pace.delay(60_000, instructions, false)).toBe(100);
  expect(pace.delay(60_010, instructions + 1e6, false)).toBe(100);
  expect(pace.delay(60_021, instructions + 2e6, false)).toBe(0);
});
