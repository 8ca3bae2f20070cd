/**
 * What a machine has of earlier ones, and leaves to later ones: regions in *parts*, each a module. A part stays as it is, as
 * V8's machine code is good for the very same module only; regions that were made since become another part.
 */
import { checksum } from '../checksum.ts';
import type { RestoredRegions } from '../core.ts';
import type { DirectWindow } from '../mmu/direct.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { Region } from './compiler.ts';
import type { Site } from './sites.ts';
import { sizeOfParts } from './stored-format.ts';
import { holdsCodeOf, LINK_NUMBERS, type StoredPart, type StoredRegion } from './stored-regions.ts';

/** When there are more parts, all but the first become one. */
const MOST_PARTS = 4;
/** They and the first become one when they have so many of its regions. */
const MOST_APART = 1 / 2;
/** Bytes that are left to later machines. */
const MOST_BYTES = 16 << 20;
/** What is said of a part after some time is said anew when a machine has run so many times as long. */
const LONGER = 2;
/** Windows in which all regions are looked through, and how often more for code at one address: a guest can make any number. */
const MOST_WINDOWS = 16;
const MOST_TRIES = 8;

export class Archive {
  readonly parts: readonly StoredPart[];
  /** Regions that are not in use: their code is not in memory yet, or not what it was. */
  private readonly unused = new Set<StoredRegion>();
  /** Where they start: how often they may still be looked for when that becomes hot. */
  private readonly tries = new Map<number, number>();
  /** Direct windows in which all of them have been looked for. */
  private windows = new WeakSet<DirectWindow>();
  private windowCount = 0;
  /** What was first made of the parts in use: that comes out the same in the next machine. */
  private readonly used = new Map<StoredPart, RestoredRegions>();

  constructor(parts: readonly StoredPart[]) {
    this.parts = parts;
    this.forget();
  }

  /** All regions are gone. */
  forget(): void {
    this.windows = new WeakSet();
    this.windowCount = 0;
    this.used.clear();
    for (const { regions } of this.parts)
      for (const region of regions) {
        this.unused.add(region);
        this.tries.set(region.ripLow, MOST_TRIES);
      }
  }

  /** Are regions to be looked for? @param low address (low half) of code that became hot */
  isDue(window: DirectWindow, low: number): boolean {
    if (this.unused.size === 0) return false;
    if (!this.windows.has(window) && this.windowCount < MOST_WINDOWS) {
      this.windows.add(window);
      this.windowCount++;
      return true;
    }
    const left = this.tries.get(low) ?? 0;
    if (left > 0) this.tries.set(low, left - 1);
    return left > 0;
  }

  /** Regions of a part that may be used now. @param isTaken is there other code at an address? */
  fitting(part: StoredPart, window: DirectWindow, mmu: Mmu, isTaken: (ripLow: number) => boolean): StoredRegion[] {
    const fits = ({ window: { low, length } }: StoredRegion) =>
      length === 0 || (low === window.low && length === window.length);
    return part.regions.filter(
      (region) => this.unused.has(region) && fits(region) && !isTaken(region.ripLow) && holdsCodeOf(mmu, region),
    );
  }

  restored(part: StoredPart, regions: readonly StoredRegion[], compiled: RestoredRegions): void {
    if (!this.used.has(part)) this.used.set(part, compiled);
    for (const region of regions) {
      this.unused.delete(region);
      this.tries.delete(region.ripLow);
    }
  }

  /**
   * @param made those of `living` that this machine made
   * @param ran instructions so far, in millions
   * @returns undefined: what there was is as good
   */
  toStore(living: readonly Region[], made: readonly StoredRegion[], ran: number): StoredPart[] | undefined {
    const known = new Set([...this.unused].map(nameOf));
    const fresh = made.filter((region) => !known.has(nameOf(region)));
    const parts = this.parts.map((part) => this.after(part, ran));
    if (fresh.length > 0) parts.push({ regions: fresh, ran, machineCode: undefined });
    if (fresh.length === 0 && parts.every((part, i) => part === this.parts[i])) return undefined;
    if (parts.length <= MOST_PARTS && sizeOfParts(parts) <= MOST_BYTES) return parts;
    // What was replaced goes, and where there is no room what this machine had no use for, too.
    const used = new Set([...living.map(({ origin }) => origin), ...fresh]);
    return joined(parts, (region) => used.has(region) || this.unused.has(region)) ?? joined(parts, (r) => used.has(r));
  }

  /** A part after this machine has run: itself if there is nothing new. */
  private after(part: StoredPart, ran: number): StoredPart {
    const compiled = this.used.get(part);
    if (compiled === undefined) return part;
    const isGood = compiled.isMachineCode && ran < part.machineCode!.ran * LONGER;
    const taken = isGood ? undefined : compiled.machineCode();
    if (taken === undefined && ran < part.ran * LONGER) return part;
    const machineCode = taken === undefined ? part.machineCode : { ...taken, ran };
    return { regions: part.regions, ran: Math.max(part.ran, ran), machineCode };
  }
}

/** Makes one part of all but the first, or of all. @returns undefined when that is too large */
function joined(parts: readonly StoredPart[], isLeft: (region: StoredRegion) => boolean): StoredPart[] | undefined {
  const ran = Math.max(...parts.map((part) => part.ran));
  const part = (regions: StoredRegion[]): StoredPart => ({ regions, ran, machineCode: undefined });
  const [first, ...others] = parts.map(({ regions }) => regions.filter(isLeft));
  const late = others.flat();
  const result = late.length <= first.length * MOST_APART ? [parts[0], part(late)] : [part([...first, ...late])];
  return sizeOfParts(result) <= MOST_BYTES ? result : undefined;
}

/** The same for regions that are of the same code and are used in the same way. */
function nameOf({ ripLow, ripHigh, mode, window, ranges, original }: StoredRegion): string {
  const all = [ripLow, ripHigh, mode, window.low, window.length, ...Array.from(ranges)];
  return `${all} ${checksum(original)}`;
}

/** What a site leads to from the start: the region of that number, for an address. */
interface Link {
  readonly site: Site;
  readonly source: Region;
  readonly target: number;
  readonly low: number;
  readonly high: number;
}

/** The links that regions of one part had to each other. */
export function linksBetween(regions: readonly Region[]): Link[] {
  const name = (low: number, high: number, mode: number) => `${low} ${high} ${mode}`;
  const numbers = new Map(
    regions.flatMap(({ entries, ripHigh, mode }, i) => entries.map((low) => [name(low, ripHigh, mode), i] as const)),
  );
  return regions.flatMap((source) => {
    const links: Link[] = [];
    const all = source.origin!.links;
    for (let at = 0; at < all.length; at += LINK_NUMBERS) {
      const [index, low, high] = [all[at], all[at + 1], all[at + 2]];
      const target = numbers.get(name(low, high, source.mode));
      if (target !== undefined) links.push({ site: source.sites[index], source, target, low, high });
    }
    return links;
  });
}
