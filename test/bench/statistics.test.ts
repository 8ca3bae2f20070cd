import fc from 'fast-check';
import { expect, test } from 'vitest';
import { geometricMean, median, pairRatios, spread } from '../../bench/statistics.ts';

test('the median is the middle, or between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([7])).toBe(7);
  expect(median([])).toBeNaN();
});

test('samples that could not be taken count for nothing', () => {
  expect(median([Number.NaN, 5, Number.NaN])).toBe(5);
  expect(median([Number.NaN])).toBeNaN();
  expect(geometricMean([2, Number.NaN, 8])).toBeCloseTo(4);
  expect(geometricMean([Number.NaN])).toBeNaN();
  expect(spread([Number.NaN])).toBeUndefined();
  expect(pairRatios([1, Number.NaN, 3], [2, 2, Number.NaN])).toEqual([0.5, Number.NaN, Number.NaN]);
});

test('pairs without a partner are left out', () => {
  expect(pairRatios([2, 4, 6], [1, 2])).toEqual([2, 2]);
});

test('the spread holds the median, whatever the values', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
      const { median: middle, low, high } = spread(values)!;
      expect(low).toBeLessThanOrEqual(middle);
      expect(middle).toBeLessThanOrEqual(high);
      const below = values.filter((value) => value < middle).length;
      const above = values.filter((value) => value > middle).length;
      expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2);
      // A ratio and its inverse have inverse means.
      expect(geometricMean(values) * geometricMean(values.map((value) => 1 / value))).toBeCloseTo(1);
    }),
  );
});
