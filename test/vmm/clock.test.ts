import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Timer } from '../../devices/bus.ts';
import { HostClock, IcountClock, TSC_KHZ } from '../../vmm/clock.ts';
import { TimerQueue } from '../../vmm/timer-queue.ts';

describe('HostClock', () => {
  function clockAt(start: number) {
    const host = { ms: start };
    return { host, clock: new HostClock(() => host.ms) };
  }

  test('counts nanoseconds from its making', () => {
    const { host, clock } = clockAt(1234.5);
    expect(clock.now()).toBe(0);
    host.ms += 0.25;
    expect(clock.now()).toBe(250_000);
  });

  test('stands still while paused, and goes on from there', () => {
    const { host, clock } = clockAt(0);
    host.ms = 2;
    clock.pause();
    host.ms = 50;
    expect(clock.now()).toBe(2e6);
    clock.pause();
    clock.resume();
    host.ms = 51;
    expect(clock.now()).toBe(3e6);
    clock.resume();
    expect(clock.now()).toBe(3e6);
  });

  test('resolves microseconds on the real host, and never goes back', () => {
    const clock = new HostClock();
    let last = clock.now();
    let least = Number.POSITIVE_INFINITY;
    let back = 0;
    for (let i = 0; i < 10_000; i++) {
      const now = clock.now();
      if (now < last) back++;
      if (now > last) least = Math.min(least, now - last);
      last = now;
    }
    expect(back).toBe(0);
    expect(least).toBeLessThan(1000);
    expect(Math.abs(clock.wallClock() - Date.now())).toBeLessThan(1000);
  });

  test('the TSC is time at its frequency, in two halves', () => {
    const { host, clock } = clockAt(0);
    for (const ms of [0, 0.000001, 1, 1073.741824, 2147.483648, 5_000_000, 86_400_000]) {
      host.ms = ms;
      const { tsc } = clock;
      tsc.read();
      const ticks = (tsc.high >>> 0) * 2 ** 32 + (tsc.low >>> 0);
      expect(Math.abs(ticks - ms * TSC_KHZ)).toBeLessThanOrEqual(1);
      expect(Math.abs(tsc.timeOf(tsc.low, tsc.high) - clock.now())).toBeLessThanOrEqual(1);
    }
  });

  test('timers fire when time has come', () => {
    const { host, clock } = clockAt(0);
    const fired: number[] = [];
    const timer = clock.createTimer(() => fired.push(clock.now()));
    expect(clock.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    timer.arm(1e6);
    expect(clock.nextDeadline()).toBe(1e6);
    host.ms = 0.999;
    clock.runTimers();
    expect(fired).toEqual([]);
    host.ms = 1;
    clock.runTimers();
    clock.runTimers();
    expect(fired).toEqual([1e6]);
    expect(timer.armed).toBe(false);
  });
});

test('IcountClock: time is instructions, and idle time is skipped', () => {
  let instructions = 0;
  const clock = new IcountClock(() => instructions, 3);
  instructions = 100;
  expect(clock.now()).toBe(800);
  clock.skipTo(5000);
  expect(clock.now()).toBe(5000);
  clock.skipTo(10);
  expect(clock.now()).toBe(5000);
  instructions = 101;
  expect(clock.now()).toBe(5008);
  const before = clock.wallClock();
  clock.skipTo(1e9);
  expect(clock.wallClock() - before).toBeCloseTo(1000, 0);
});

describe('TimerQueue', () => {
  test('fires in order of deadlines, and of arming where they are equal', () => {
    const queue = new TimerQueue();
    const fired: string[] = [];
    const timers = ['a', 'b', 'c', 'd'].map((name) => queue.create(() => fired.push(name)));
    timers[2].arm(5);
    timers[0].arm(7);
    timers[3].arm(5);
    timers[1].arm(6);
    timers[1].cancel();
    queue.runDue(10);
    expect(fired).toEqual(['c', 'd', 'a']);
  });

  test('a timer that is armed in the past by its own callback waits for the next call', () => {
    const queue = new TimerQueue();
    let count = 0;
    const timer: Timer = queue.create(() => {
      count++;
      timer.arm(0);
    });
    timer.arm(0);
    queue.runDue(100);
    expect(count).toBe(1);
    queue.runDue(100);
    expect(count).toBe(2);
  });

  test('does what a sorted list does, whatever is armed, cancelled and fired', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('arm'), timer: fc.nat(9), time: fc.nat(50) }),
      fc.record({ kind: fc.constant('cancel'), timer: fc.nat(9), time: fc.constant(0) }),
      fc.record({ kind: fc.constant('run'), timer: fc.constant(0), time: fc.nat(60) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const queue = new TimerQueue();
        const fired: number[] = [];
        const timers = Array.from({ length: 10 }, (_, index) => queue.create(() => fired.push(index)));
        let model: { timer: number; time: number }[] = [];
        const expected: number[] = [];
        for (const { kind, timer, time } of commands) {
          if (kind === 'run') {
            queue.runDue(time);
            const sorted = [...model].sort((a, b) => a.time - b.time);
            expected.push(...sorted.filter((entry) => entry.time <= time).map((entry) => entry.timer));
            model = model.filter((entry) => entry.time > time);
          } else {
            model = model.filter((entry) => entry.timer !== timer);
            if (kind === 'arm') {
              timers[timer].arm(time);
              model.push({ timer, time });
            } else {
              timers[timer].cancel();
            }
          }
          expect(queue.nextDeadline()).toBe(Math.min(...model.map((entry) => entry.time)));
          expect(timers.map((entry) => entry.armed)).toEqual(
            timers.map((_, index) => model.some((entry) => entry.timer === index)),
          );
        }
        expect(fired).toEqual(expected);
      }),
    );
  });
});
