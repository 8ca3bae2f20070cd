/**
 * What in a region's code is a machine's own: where its exit sites, links, records and notes of jumps are. Such constants
 * always take the same room, and where they stand is noted, so that another machine can put its own there
 * (stored-regions.ts).
 */
import { fillIn } from '../wasm/encoder.ts';

/** Memory of an exit site; argument: its index in the region's sites. */
export const OF_SITE = 0;
/** First index of a site's links in the module's table; argument as before. */
export const OF_LINK = 1;
/** Record of an instruction that a helper executes; argument: the instruction's address (low half). */
export const OF_RECORD = 2;
/** Memory for the targets of an indirect jump; argument: its address (low half). */
export const OF_JUMP = 3;

/** For each such constant: where it stands in the code, what it is, and of what. */
export type Relocations = ArrayLike<number>;

/** Numbers for each. */
export const RELOCATION_STRIDE = 3;

/**
 * Fills in all of them. @param ownOf from 0 to 2^27; -1: there is none
 * @returns whether there were values for all
 */
export function relocate(
  code: Uint8Array,
  relocations: Relocations,
  ownOf: (kind: number, argument: number) => number,
): boolean {
  for (let i = 0; i < relocations.length; i += RELOCATION_STRIDE) {
    const value = ownOf(relocations[i + 1], relocations[i + 2]);
    if (value < 0) return false;
    fillIn(code, relocations[i], value);
  }
  return true;
}
