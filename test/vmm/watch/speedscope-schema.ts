/** The rules of https://www.speedscope.app/file-format-schema.json for files of "sampled" profiles. */

import { expect } from 'vitest';

export interface SpeedscopeProfile {
  readonly type: string;
  readonly name: string;
  readonly unit: string;
  readonly startValue: number;
  readonly endValue: number;
  readonly samples: readonly (readonly number[])[];
  readonly weights: readonly number[];
}

export interface SpeedscopeFile {
  readonly $schema: string;
  readonly shared: { readonly frames: readonly { readonly name: string }[] };
  readonly profiles: readonly SpeedscopeProfile[];
  readonly name: string;
  readonly activeProfileIndex: number;
  readonly exporter: string;
}

const UNITS = ['none', 'nanoseconds', 'microseconds', 'milliseconds', 'seconds', 'bytes'];

/** @returns the file, which obeys the rules */
export function checkSpeedscope(text: string): SpeedscopeFile {
  const file: SpeedscopeFile = JSON.parse(text);
  expect(file.$schema).toBe('https://www.speedscope.app/file-format-schema.json');
  expect(typeof file.name).toBe('string');
  expect(typeof file.exporter).toBe('string');
  const { frames } = file.shared;
  expect(frames.every(({ name }) => typeof name === 'string' && name !== '')).toBe(true);
  expect(new Set(frames.map(({ name }) => name)).size).toBe(frames.length);
  expect(file.activeProfileIndex).toBeGreaterThanOrEqual(0);
  expect(file.activeProfileIndex).toBeLessThan(file.profiles.length);
  for (const { type, name, unit, startValue, endValue, samples, weights } of file.profiles) {
    expect(type).toBe('sampled');
    expect(name).not.toBe('');
    expect(UNITS).toContain(unit);
    expect(weights.length).toBe(samples.length);
    expect(weights.every((weight) => Number.isFinite(weight) && weight >= 0)).toBe(true);
    expect(samples.every((stack) => stack.length > 0 && stack.every((i) => Number.isInteger(i) && frames[i]))).toBe(
      true,
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    expect(endValue - startValue).toBeCloseTo(total, 6);
  }
  return file;
}

/** What part of a profile has this frame innermost, and how much there is of it all. */
export function shareOf(file: SpeedscopeFile, profile: string, frame: RegExp): { share: number; total: number } {
  const { samples, weights } = file.profiles.find(({ name }) => name === profile)!;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const own = samples.map((stack, i) => (frame.test(file.shared.frames[stack.at(-1)!].name) ? weights[i] : 0));
  return { share: own.reduce((sum, weight) => sum + weight, 0) / total, total };
}
