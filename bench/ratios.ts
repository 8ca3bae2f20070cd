/** How a monitor compares with the base in one row. */

import type { Row } from './samples.ts';
import { pairRatios, type Spread, spread } from './statistics.ts';
import { BASE, type VmmName } from './vmm.ts';

/** @returns the median of the ratios of the pairs, and between what they lie; undefined without a pair */
export function ratioTo(row: Row, vmm: VmmName): Spread | undefined {
  return spread(pairRatios(row.samples[vmm] ?? [], row.samples[BASE] ?? []));
}
