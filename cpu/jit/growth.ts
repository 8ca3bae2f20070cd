/**
 * When a region is made anew: with more of the code around it, because much time is spent in it; and with more entries,
 * because pieces of it run outside. Either is to cost less than it saves.
 */
import type { Region } from './compiler.ts';

/**
 * Instructions that are to be spent in a region before it is made anew: in any, and for each of its own; about as long as it
 * takes to translate what it becomes.
 */
const LEAST_SPENT = 1_000_000;
const SPENT_FOR_EACH = 320_000;
/** One that would hardly become larger stays. */
const LEAST_GROWTH = 1.25;
/** How often pieces of a region must have become hot outside: in any case, and once for so many of its instructions. */
const LEAST_MISSES = 16;
const INSTRUCTIONS_FOR_A_MISS = 4;
/** Most entries that a region gets because they became hot by themselves. */
const MOST_ENTRIES = 24;

/** Notes instructions spent in a region. @param enough how many suffice, if not as many as usual @returns has it had enough? */
export function wantsGrowth(region: Region, instructions: number, enough?: number): boolean {
  region.spent += instructions;
  if (region.spent < (enough ?? LEAST_SPENT + region.instructions * SPENT_FOR_EACH)) return false;
  region.spent = 0;
  return true;
}

/** Would a region of `size` instructions be worth more than the one that there is? */
export function isGrowth(region: Region, size: number): boolean {
  return size > region.instructions * LEAST_GROWTH;
}

/** Notes that a block of a region became hot outside. @returns has that happened often enough? */
export function wantsEntry(region: Region, ripLow: number): boolean {
  region.missed.push(ripLow);
  return region.missed.length >= Math.max(LEAST_MISSES, region.instructions / INSTRUCTIONS_FOR_A_MISS);
}

/** Entries that a region is to have besides those that its code tells. @param known those that it got before */
export function entriesWanted({ missed }: Region, known: readonly number[]): number[] {
  // What ran outside just once, when the region was new, need not be one.
  const again = missed.filter((low, i) => missed.indexOf(low) !== i);
  return [...new Set([...known, ...again])].slice(-MOST_ENTRIES);
}
