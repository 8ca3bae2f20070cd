import { expect, test } from 'vitest';
import { mark, markFirst, startupLines } from '../../vmm/startup.ts';

const lineOf = (name: string) => startupLines().filter((line) => line.endsWith(` ms: ${name}`));

test('phases are told once, in ms since the process began, behind those of Node', () => {
  mark('here');
  expect(lineOf('here')).toHaveLength(1);
  expect(Number.parseFloat(lineOf('here')[0])).toBeLessThanOrEqual(performance.now());
  expect(Number.parseFloat(lineOf('here')[0])).toBeGreaterThanOrEqual(Number.parseFloat(lineOf('Node is up')[0]));
});

test('the first call that counts is marked, and the method is itself again', () => {
  const calls: number[] = [];
  const object = {
    twice(value: number): number {
      calls.push(value);
      return 2 * value;
    },
  };
  const { twice } = object;
  markFirst(object, 'twice', 'first that is not zero', (result) => result !== 0);
  expect(object.twice(0)).toBe(0);
  expect(lineOf('first that is not zero')).toEqual([]);
  expect(object.twice(3)).toBe(6);
  expect(object.twice).toBe(twice);
  expect(object.twice(4)).toBe(8);
  expect(lineOf('first that is not zero')).toHaveLength(1);
  expect(calls).toEqual([0, 3, 4]);
});
