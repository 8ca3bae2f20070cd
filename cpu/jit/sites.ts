/**
 * Exit sites: where regions leave although they could have gone on, had the translator known more. A *cold* exit goes to
 * code that had not run when the region was made; an *indirect* one to a target that was not known. Each site counts its
 * exits, and an indirect one notes its targets, until the region is worth making anew (EXIT_GROW).
 */
import {
  COLD_SITE_STRIDE,
  INDIRECT_SITE_STRIDE,
  S_COLD_SITES,
  S_INDIRECT_SITES,
  S_SITES_END,
  SITE_TARGET_COUNT,
  SITE_TARGETS,
} from '../state.ts';

/** Exits at a site before its region is made anew, unless told otherwise; more with each time that did not help. */
const PATIENCE = 50_000;
const PATIENCE_GROWTH = 4;
const PATIENCE_MOST = 1 << 24;

interface Site {
  readonly offset: number;
  patience: number;
}

/** The slot that a target is noted in: the upper bits of the product with HASH_FACTOR. */
export const HASH_FACTOR = 0x9e3779b1 | 0;
export const HASH_SHIFT = 32 - Math.log2(SITE_TARGET_COUNT);

/** Sites of one kind, by guest address. */
class SiteTable {
  private readonly sites = new Map<number, Site>();
  private readonly i32: Int32Array;
  private readonly first: number;
  private readonly end: number;
  private readonly stride: number;
  private readonly patience: number;

  constructor(i32: Int32Array, first: number, end: number, stride: number, patience: number) {
    this.i32 = i32;
    this.first = first;
    this.end = end;
    this.stride = stride;
    this.patience = patience;
  }

  find(low: number): number {
    return this.sites.get(low)?.offset ?? 0;
  }

  /** Memory of the site at an address, ready to count; 0 when there is no room for another. */
  ready(low: number): number {
    let site = this.sites.get(low);
    if (site === undefined) {
      const offset = this.first + this.sites.size * this.stride;
      if (offset + this.stride > this.end) return 0;
      site = { offset, patience: this.patience };
      this.sites.set(low, site);
    } else if (this.i32[site.offset >> 2] >= 0)
      site.patience = Math.min(site.patience * PATIENCE_GROWTH, PATIENCE_MOST);
    this.i32[site.offset >> 2] = -site.patience;
    return site.offset;
  }
}

export class ExitSites {
  private readonly i32: Int32Array;
  private readonly indirectSites: SiteTable;
  private readonly coldSites: SiteTable;

  constructor(i32: Int32Array, patience = PATIENCE) {
    this.i32 = i32;
    this.indirectSites = new SiteTable(i32, S_INDIRECT_SITES, S_COLD_SITES, INDIRECT_SITE_STRIDE, patience);
    this.coldSites = new SiteTable(i32, S_COLD_SITES, S_SITES_END, COLD_SITE_STRIDE, patience);
  }

  /** Site of the indirect jump at an address: offset in memory, or 0. */
  indirect(low: number): number {
    return this.indirectSites.ready(low);
  }

  /** Site of the exits to an address: offset in memory, or 0. */
  cold(low: number): number {
    return this.coldSites.ready(low);
  }

  /** Targets (low halves) that the indirect jump at an address was seen to take. */
  targets(low: number): number[] {
    const offset = this.indirectSites.find(low);
    if (offset === 0) return [];
    const first = (offset + SITE_TARGETS) >> 2;
    return [...this.i32.subarray(first, first + SITE_TARGET_COUNT)].filter((target) => target !== 0);
  }
}
