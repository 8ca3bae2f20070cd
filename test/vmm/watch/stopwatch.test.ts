import { expect, test } from 'vitest';
import { speedscopeFile } from '../../../vmm/watch/speedscope.ts';
import { Stopwatch } from '../../../vmm/watch/stopwatch.ts';
import { checkSpeedscope, shareOf } from './speedscope-schema.ts';

const TIMES = 'monitor: exits and devices, time';
const COUNTS = 'monitor: exits and devices, how often';

function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) {}
}

test('each activity has its own time and count, and nothing is lost', () => {
  const start = performance.now();
  const stopwatch = new Stopwatch('rest');
  const device = {
    value: 7,
    read(this: { value: number }, offset: number) {
      spin(20);
      return this.value + offset;
    },
  };
  stopwatch.watch(device, 'read', 'device');
  spin(10);
  const run = () => {
    spin(30);
    return device.read(1) + device.read(2);
  };
  expect(stopwatch.during('run', run)).toBe(17);
  const file = checkSpeedscope(speedscopeFile('test', stopwatch.profiles()));
  const elapsed = performance.now() - start;
  const { total } = shareOf(file, TIMES, /./);
  expect(total).toBeGreaterThanOrEqual(80);
  expect(total).toBeLessThanOrEqual(elapsed);
  expect(shareOf(file, TIMES, /^device$/).share * total).toBeGreaterThanOrEqual(40);
  expect(shareOf(file, TIMES, /^run$/).share * total).toBeGreaterThanOrEqual(30);
  expect(shareOf(file, TIMES, /^rest$/).share * total).toBeGreaterThanOrEqual(10);
  const counts = file.profiles.find(({ name }) => name === COUNTS)!;
  const names = counts.samples.map((stack) => stack.map((i) => file.shared.frames[i].name).join(' > '));
  expect(names.map((name, i) => [name, counts.weights[i]])).toEqual([
    ['run', 1],
    ['run > device', 2],
  ]);
});

test('an activity that throws is over', () => {
  const stopwatch = new Stopwatch('rest');
  expect(() =>
    stopwatch.during('fails', () => {
      throw new Error('no');
    }),
  ).toThrow('no');
  stopwatch.during('next', () => {});
  const file = checkSpeedscope(speedscopeFile('test', stopwatch.profiles()));
  const counts = file.profiles.find(({ name }) => name === COUNTS)!;
  expect(counts.samples.map((stack) => stack.length)).toEqual([1, 1]);
});
