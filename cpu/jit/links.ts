/**
 * Links: where a region leaves for another one, it calls that directly and not by way of the dispatcher's look-up. A call
 * of the guest becomes one of the host's, and the region goes on behind it if the guest comes back there with nothing
 * changed that it depends on (region-links.ts); else all regions that called each other return, as the guest's state is in
 * memory. How deep they call each other is bounded.
 */

import type { LinkLimits } from '../core.ts';
import { SITE_DEPTH, SITE_RIP, SITE_SLOT_SHIFT, SITE_WAYS } from '../state.ts';
import type { Region } from './compiler.ts';
import { HASH_FACTOR } from './jump-targets.ts';
import { type ExitSites, pieceOf, SITE_LINK, type Site } from './sites.ts';

/** Exits before a site is linked; so many times that when it could not be. */
const FIRST_PATIENCE = 16;
const RETRY_FACTOR = 16;
/** Patience doubles so many times at most. */
const MOST_DOUBLINGS = 8;
/** A site looks again whether a link is missing after so many times that. */
const USES_FACTOR = 256;

/** The link of an indirect jump that an address has: the upper bits of the product with HASH_FACTOR. */
export const WAY_SHIFT = 32 - Math.log2(SITE_WAYS);

export function wayOf(site: Site, ripLow: number): number {
  return site.kind === SITE_LINK ? 0 : Math.imul(ripLow, HASH_FACTOR) >>> WAY_SHIFT;
}

export class Links {
  private readonly i32: Int32Array;
  private readonly sites: ExitSites;
  private readonly core: LinkLimits;
  /** Exits before a site is linked. */
  readonly firstPatience: number;
  /** Sites that are linked, by the region that they are linked to. */
  private readonly linked = new Map<Region, Set<Site>>();

  constructor(i32: Int32Array, sites: ExitSites, core: LinkLimits, patience = FIRST_PATIENCE) {
    this.i32 = i32;
    this.sites = sites;
    this.core = core;
    this.firstPatience = Math.min(FIRST_PATIENCE, patience);
  }

  /** Links a site to a region for an address; if there is none, it is asked again later. */
  link(site: Site, target: Region | undefined, ripLow: number, ripHigh: number): void {
    const way = wayOf(site, ripLow);
    if (site.targets[way] !== target) this.unlink(site, way);
    if (target === undefined) {
      this.sites.await(site, this.firstPatience * RETRY_FACTOR);
      return;
    }
    if (site.targets[way] === undefined) site.region!.module.link(site.slot + way, target.run);
    this.linkedTo(site, target, ripLow, ripHigh);
    // A link leaves uncounted: what is counted from now on is too deep for it, or for other addresses.
    this.sites.await(site, this.firstPatience * (site.exits < this.firstPatience * SITE_WAYS * 2 ? 1 : USES_FACTOR));
  }

  /** Notes that a site is linked to a region for an address. */
  linkedTo(site: Site, target: Region, ripLow: number, ripHigh: number): void {
    const { i32 } = this;
    const way = wayOf(site, ripLow);
    site.targets[way] = target;
    const set = this.linked.get(target);
    if (set === undefined) this.linked.set(target, new Set([site]));
    else set.add(site);
    const at = pieceOf(site, way);
    i32[(at + SITE_RIP) >> 2] = ripLow;
    i32[(at + SITE_RIP + 4) >> 2] = ripHigh;
    i32[(at + SITE_DEPTH) >> 2] = this.depthOf(target) | ((site.slot + way) << SITE_SLOT_SHIFT);
  }

  /**
   * How many regions may have called each other before this one: a region with many locals takes much of the host's
   * stack, so fewer may, as many as fit if they are all like it.
   */
  private depthOf({ locals }: Region): number {
    const { linkDepth, linkLocals } = this.core;
    return Math.max(1, Math.min(linkDepth, Math.floor(linkLocals / locals)));
  }

  /** Undoes a link. */
  private unlink(site: Site, way: number): void {
    const target = site.targets[way];
    if (target === undefined) return;
    this.i32[(pieceOf(site, way) + SITE_DEPTH) >> 2] = 0;
    // So that the target's module can be collected.
    site.region!.module.link(site.slot + way, null);
    site.targets[way] = undefined;
    if (!site.targets.includes(target)) this.linked.get(target)?.delete(site);
    this.sites.restart(site, this.firstPatience);
  }

  /** A region is gone: nothing is linked to it any more, and its sites are free. */
  drop(region: Region): void {
    for (const site of this.linked.get(region) ?? [])
      for (let way = 0; way < site.ways; way++) if (site.targets[way] === region) this.unlink(site, way);
    this.linked.delete(region);
    for (const site of region.sites) {
      for (let way = 0; way < site.ways; way++) this.unlink(site, way);
      this.sites.release(site);
    }
  }

  /** Mappings changed: all links are to be made anew; where that happens all the time, later and later. */
  clear(): void {
    for (const set of this.linked.values())
      for (const site of set) {
        let armed = 0;
        for (let way = 0; way < site.ways; way++) {
          const at = (pieceOf(site, way) + SITE_DEPTH) >> 2;
          armed |= this.i32[at];
          this.i32[at] = 0;
        }
        if (armed !== 0) this.sites.restart(site, this.firstPatience << Math.min(site.cleared++, MOST_DOUBLINGS));
      }
  }
}
