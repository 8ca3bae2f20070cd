/**
 * Regions that outlive their machine: what is to be known of them so that another one that runs the same code need not
 * translate it (Design §4, reach). They are valid wherever the guest's code, the way to memory and the mode are the same,
 * which is looked at before one is used.
 */
import type { MachineCode } from '../core.ts';
import type { DirectWindow } from '../mmu/direct.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { PAGE_SIZE, RAM_BASE, SITE_RIP } from '../state.ts';
import type { Region } from './compiler.ts';
import type { JumpTargets } from './jump-targets.ts';
import { OF_RECORD, RELOCATION_STRIDE } from './relocation.ts';
import { pieceOf, type Site } from './sites.ts';

/** A region; lists of pairs and triples are flat. */
export interface StoredRegion {
  readonly ripLow: number;
  readonly ripHigh: number;
  readonly mode: number;
  readonly generation: number;
  /** The direct window; length 0: memory is reached by the TLB. */
  readonly window: DirectWindow;
  readonly locals: number;
  /** Guest instructions. */
  readonly instructions: number;
  readonly entries: ArrayLike<number>;
  readonly inside: ArrayLike<number>;
  readonly followed: ArrayLike<number>;
  /** Indirect jumps, and where they were seen to go: address and target for each. */
  readonly jumps: ArrayLike<number>;
  /** Linear page, physical page. */
  readonly pages: ArrayLike<number>;
  /** Physical address of the guest's code, first and end; `original` is what stands there. */
  readonly ranges: ArrayLike<number>;
  readonly original: Uint8Array;
  /** Kind, and where it leaves for (both halves). */
  readonly sites: ArrayLike<number>;
  /** Where sites were linked: index of the site, address (both halves). */
  readonly links: ArrayLike<number>;
  readonly relocations: ArrayLike<number>;
  readonly hints: ArrayLike<number>;
  /** Body of its function. */
  readonly code: Uint8Array;
}

/** Regions that were compiled in one module, and what V8 made of it. */
export interface StoredPart {
  readonly regions: readonly StoredRegion[];
  /** Millions of instructions that one machine ran with them: so much time they had to grow. */
  readonly ran: number;
  readonly machineCode: StoredMachineCode | undefined;
}

export interface StoredMachineCode extends MachineCode {
  /** How much had run when it was taken, in millions of instructions: what ran more is optimised better. */
  readonly ran: number;
}

/** Numbers of a site and of a link. */
export const SITE_NUMBERS = 3;
export const LINK_NUMBERS = 3;
const NO_WINDOW: DirectWindow = { low: 0, length: 0 };

/** @returns undefined when its code was not kept */
export function storeRegion(region: Region, { u8, i32 }: Mmu, targets: JumpTargets): StoredRegion | undefined {
  const { body, relocations, sites } = region;
  if (body === undefined) return undefined;
  const ranges = new Map(region.ranges.map((range) => [`${range}`, range]));
  const pieces = [...ranges.values()].map(([first, end]) => u8.subarray(RAM_BASE + first, RAM_BASE + end));
  return {
    ripLow: region.ripLow,
    ripHigh: region.ripHigh,
    mode: region.mode,
    generation: region.generation,
    window: region.window ?? NO_WINDOW,
    locals: region.locals,
    instructions: region.instructions,
    entries: region.entries,
    inside: region.inside,
    followed: region.followed,
    jumps: region.jumps.flatMap((at) => targets.seen(at).flatMap((target) => [at, target])),
    pages: [...region.pages].flat(),
    ranges: [...ranges.values()].flat(),
    original: joined(pieces),
    sites: sites.flatMap(({ kind, offset }) => [
      kind,
      i32[(offset + SITE_RIP) >> 2],
      i32[(offset + SITE_RIP + 4) >> 2],
    ]),
    links: sites.flatMap((site, index) => linksOf(site, index, i32)),
    relocations,
    hints: body.hints,
    code: body.code,
  };
}

function linksOf(site: Site, index: number, i32: Int32Array): number[] {
  return site.targets.flatMap((target, way) => {
    if (target === undefined) return [];
    const at = (pieceOf(site, way) + SITE_RIP) >> 2;
    return [index, i32[at], i32[at + 1]];
  });
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Instructions of a region that helpers execute. */
export function recordsOf({ relocations }: StoredRegion): number {
  let records = 0;
  for (let i = 0; i < relocations.length; i += RELOCATION_STRIDE) if (relocations[i + 1] === OF_RECORD) records++;
  return records;
}

/** Does RAM hold the code that a region was made from, mapped as it was? */
export function holdsCodeOf(mmu: Mmu, { pages, ranges, original, mode, ripHigh }: StoredRegion): boolean {
  const { u8 } = mmu;
  let at = 0;
  for (let i = 0; i < ranges.length; i += 2)
    for (let from = RAM_BASE + ranges[i]; from < RAM_BASE + ranges[i + 1]; from++)
      if (u8[from] !== original[at++]) return false;
  // Only then, as to look for a page is to remember it.
  for (let i = 0; i < pages.length; i += 2)
    if (mmu.fetchFor(mode, (pages[i] * PAGE_SIZE) | 0, ripHigh) !== pages[i + 1] * PAGE_SIZE) return false;
  return true;
}
