import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SampledProfile, speedscopeFile } from '../../../vmm/watch/speedscope.ts';
import { checkSpeedscope, shareOf } from './speedscope-schema.ts';

const stack = fc.array(fc.constantFrom('a', 'b', 'c', 'main'), { minLength: 1, maxLength: 4 });
const samples = fc.array(fc.tuple(stack, fc.double({ min: 0, max: 1e6, noNaN: true })), { maxLength: 50 });

test('files obey the schema, and no weight is lost', () => {
  fc.assert(
    fc.property(fc.array(samples, { minLength: 1, maxLength: 3 }), (all) => {
      const profiles = all.map((list, i) => {
        const profile = new SampledProfile(`p${i}`, 'milliseconds');
        for (const [frames, weight] of list) {
          profile.add(frames, weight);
        }
        return profile;
      });
      const file = checkSpeedscope(speedscopeFile('test', profiles));
      for (const [i, list] of all.entries()) {
        const total = list.reduce((sum, [, weight]) => sum + weight, 0);
        expect(file.profiles[i].endValue).toBeCloseTo(total, 3);
      }
    }),
  );
});

test('samples of one stack that follow each other are one; the order is kept', () => {
  const profile = new SampledProfile('p', 'none');
  for (const name of ['a', 'a', 'b', 'a']) {
    profile.add(['main', name], 1);
  }
  const file = checkSpeedscope(speedscopeFile('test', [profile]));
  const names = file.profiles[0].samples.map((frames) => frames.map((i) => file.shared.frames[i].name).join('>'));
  expect(names).toEqual(['main>a', 'main>b', 'main>a']);
  expect(file.profiles[0].weights).toEqual([2, 1, 1]);
  expect(shareOf(file, 'p', /^a$/)).toEqual({ share: 0.75, total: 4 });
});

test('however long it runs, the file stays bounded', () => {
  const profile = new SampledProfile('p', 'none');
  for (let n = 0; n < 500_000; n++) {
    profile.add([n % 2 ? 'odd' : 'even'], 1);
  }
  const file = checkSpeedscope(speedscopeFile('test', [profile]));
  expect(file.profiles[0].samples.length).toBeLessThanOrEqual(200_000);
  expect(shareOf(file, 'p', /odd/)).toEqual({ share: 0.5, total: 500_000 });
});
