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
import { holdsCodeOf, LINK_NUMBERS, type StoredPart, type StoredRegion, storeRegion } from './stored-regions.ts';

/** When there are more parts, all but the first become one; that too when these have so large a share of its regions. */
const MOST_PARTS = 4;
const MOST_APART = 1 / 2;
/** Bytes of code that are left to later machines. */
const MOST_BYTES = 16 << 20;
/** Machine code is taken anew when so many times as much has run as when it was taken. */
const WORTH_TAKING_ANEW = 2;
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

  /** @param ran instructions so far, in millions @returns undefined: what there was is as good */
  toStore(living: readonly Region[], mmu: Mmu, ran: number): StoredPart[] | undefined {
    const known = new Set([...this.unused].map(nameOf));
    const fresh = living.flatMap((region) => storeRegion(region, mmu) ?? []).filter((r) => !known.has(nameOf(r)));
    let changed = fresh.length > 0;
    const parts = this.parts.map((part) => {
      const taken = this.machineCode(part, ran);
      if (taken === undefined) return part;
      changed = true;
      return { regions: part.regions, machineCode: { ...taken, ran } };
    });
    if (!changed) return undefined;
    if (fresh.length > 0) parts.push({ regions: fresh, machineCode: undefined });
    if (parts.length <= MOST_PARTS && sizeOf(parts) <= MOST_BYTES) return parts;
    // Regions that are not in use go.
    const inUse = new Set(living.map(({ origin }) => origin));
    const [first = [], ...others] = this.parts.map(({ regions }) => regions.filter((region) => inUse.has(region)));
    const late = [...others.flat(), ...fresh];
    const split = [parts[0], { regions: late, machineCode: undefined }];
    if (late.length <= first.length * MOST_APART && sizeOf(split) <= MOST_BYTES) return split;
    const one = [{ regions: [...first, ...late], machineCode: undefined }];
    return sizeOf(one) <= MOST_BYTES ? one : undefined;
  }

  /** Machine code of a part that is better than what there is. */
  private machineCode(part: StoredPart, ran: number): ReturnType<RestoredRegions['machineCode']> {
    const compiled = this.used.get(part);
    if (compiled === undefined) return undefined;
    const isGood = compiled.isMachineCode && ran < part.machineCode!.ran * WORTH_TAKING_ANEW;
    return isGood ? undefined : compiled.machineCode();
  }
}

/** The same for regions that are of the same code and are used in the same way. */
function nameOf({ ripLow, ripHigh, mode, window, ranges, original }: StoredRegion): string {
  const all = [ripLow, ripHigh, mode, window.low, window.length, ...Array.from(ranges)];
  return `${all} ${checksum(original)}`;
}

function sizeOf(parts: readonly StoredPart[]): number {
  const size = ({ regions, machineCode }: StoredPart) =>
    regions.reduce(
      (sum, { code, original }) => sum + code.length + original.length,
      machineCode === undefined ? 0 : machineCode.bytes.length + machineCode.module.length,
    );
  return parts.reduce((sum, part) => sum + size(part), 0);
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
