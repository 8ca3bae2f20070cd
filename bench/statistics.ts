/** Medians, means and the ratios of pairs. Samples that could not be taken are NaN and count for nothing. */

/** A middle value and between what the values lie. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

const taken = (values: readonly number[]) => values.filter((value) => !Number.isNaN(value));

/** NaN when there are no values. */
export function median(values: readonly number[]): number {
  const sorted = taken(values).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Of positive values; NaN when there are none. */
export function geometricMean(values: readonly number[]): number {
  const all = taken(values);
  return Math.exp(all.reduce((sum, value) => sum + Math.log(value), 0) / all.length);
}

/** @returns undefined when there are no values */
export function spread(values: readonly number[]): Spread | undefined {
  const all = taken(values);
  if (all.length === 0) return undefined;
  return { median: median(all), low: Math.min(...all), high: Math.max(...all) };
}

/**
 * What was measured one after the other is divided one by the other, so that a disturbance that lasts hits both.
 * @returns for each pair value / base; NaN where either is missing
 */
export function pairRatios(values: readonly number[], base: readonly number[]): number[] {
  return Array.from({ length: Math.min(values.length, base.length) }, (_, pair) => values[pair] / base[pair]);
}
