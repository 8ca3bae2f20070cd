/** Which regions live: by the addresses at which they are entered, the blocks in them, and the pages of their code. */
import type { Mmu } from '../mmu/mmu.ts';
import { S_HAS_REGIONS, S_PAGE_FLAGS } from '../state.ts';
import type { Region } from './compiler.ts';

/** Page flag: code of this page is part of a region (bit 0: of a decoded block). */
const PAGE_HAS_REGION = 2;
const NONE: readonly Region[] = [];

export class RegionMap {
  private readonly mmu: Mmu;
  private readonly byEntry = new Map<number, Region[]>();
  private readonly byPage = new Map<number, Set<Region>>();
  /** The region that has a block in it, be it that it is about to be compiled. */
  readonly owners = new Map<number, Region>();

  constructor(mmu: Mmu) {
    this.mmu = mmu;
  }

  all(): Set<Region> {
    return new Set([...this.byEntry.values()].flat());
  }

  /** Regions that are entered at an address (low half), in whatever mode. */
  at(low: number): readonly Region[] {
    return this.byEntry.get(low) ?? NONE;
  }

  /** Adds a region, which may be entered when its pages are protected too (Mmu.protectPages). */
  add(region: Region): void {
    this.mmu.i32[S_HAS_REGIONS >> 2] = 1;
    for (const entry of region.entries) {
      const list = this.byEntry.get(entry);
      if (list === undefined) this.byEntry.set(entry, [region]);
      else list.push(region);
    }
    for (const page of region.pages.values()) {
      let set = this.byPage.get(page);
      if (set === undefined) {
        set = new Set();
        this.byPage.set(page, set);
        this.mmu.u8[S_PAGE_FLAGS + page] |= PAGE_HAS_REGION;
      }
      set.add(region);
    }
  }

  /** A page's flag stays until somebody writes to it. */
  remove(region: Region): void {
    for (const entry of region.entries) {
      const list = this.byEntry.get(entry)!;
      list.splice(list.indexOf(region), 1);
      if (list.length === 0) this.byEntry.delete(entry);
    }
    for (const low of region.inside) if (this.owners.get(low) === region) this.owners.delete(low);
    for (const page of region.pages.values()) this.byPage.get(page)?.delete(region);
  }

  /** Bytes of RAM changed. @param drop is given each region that was made from them, and removes it */
  written(address: number, length: number, drop: (region: Region) => void): void {
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) {
      const set = this.byPage.get(page);
      if (set === undefined) continue;
      for (const region of set)
        if (region.ranges.some(([first, end]) => address < end && first < address + length)) drop(region);
      if (set.size === 0) this.forgetPage(page);
    }
  }

  /** Forgets all pages; no region is left. */
  forgetPages(): void {
    for (const page of this.byPage.keys()) this.forgetPage(page);
  }

  private forgetPage(page: number): void {
    this.byPage.delete(page);
    this.mmu.u8[S_PAGE_FLAGS + page] &= ~PAGE_HAS_REGION;
  }
}
