/**
 * Exit sites: places where a region leaves although it could go on, had the translator known more. Each counts its exits
 * in the machine's memory until it is full (EXIT_SITE); what is done then is the compiler's matter (compiler.ts).
 */
import {
  S_INDIRECT_SITES,
  S_SITES,
  S_SITES_END,
  SITE_COUNT,
  SITE_DEPTH,
  SITE_RIP,
  SITE_STRIDE,
  SITE_WAYS,
} from '../state.ts';
import type { Region } from './compiler.ts';

/** Leaves for code outside the region: the site is linked to the region that is there (links.ts). */
export const SITE_LINK = 0;
/** The same where the address varies: there are links for several. */
export const SITE_INDIRECT_LINK = 1;
/** Leaves for a memory access that is not simple: the region is to reach memory in another way. */
export const SITE_SIDE = 2;

/** Side exits of a region because of memory accesses before it is made anew to reach memory by the TLB. */
const SIDE_PATIENCE = 1000;

/** Exits before something is done about a site. @param linkPatience those of a link */
export function patienceOf(kind: number, linkPatience: number): number {
  return kind === SITE_SIDE ? SIDE_PATIENCE : linkPatience;
}

export function isLink(site: Site): boolean {
  return site.kind <= SITE_INDIRECT_LINK;
}

/** Entries in the module's table that sites take. */
export function slotsOf(sites: readonly Site[]): number {
  return sites.reduce((sum, site) => sum + (isLink(site) ? site.ways : 0), 0);
}

/** Memory of one of a site's links. */
export function pieceOf({ offset }: Site, way: number): number {
  return offset + way * SITE_STRIDE;
}

export interface Site {
  /** Its place in memory. */
  readonly offset: number;
  readonly kind: number;
  /** Of a link: its first index in its module's table, and how many links it has. */
  readonly slot: number;
  readonly ways: number;
  /** The region that it is in; undefined: not yet put to use. */
  region: Region | undefined;
  /** The region that each link leads to. */
  readonly targets: (Region | undefined)[];
  /** How often mappings changed behind its links. */
  cleared: number;
  /** Exits that filled it so far, but for those that mappings changed behind. */
  exits: number;
}

/** Memory for sites of one size. */
interface Arena {
  readonly free: number[];
  readonly start: number;
  next: number;
  readonly end: number;
}

export class ExitSites {
  private readonly i32: Int32Array;
  private readonly byOffset = new Map<number, Site>();
  private readonly direct: Arena = { free: [], start: S_SITES, next: S_SITES, end: S_INDIRECT_SITES };
  private readonly indirect: Arena = {
    free: [],
    start: S_INDIRECT_SITES,
    next: S_INDIRECT_SITES,
    end: S_SITES_END,
  };

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  private arena(kind: number): Arena {
    return kind === SITE_INDIRECT_LINK ? this.indirect : this.direct;
  }

  /**
   * A site that is full after so many exits; undefined when there is no room for another.
   * @param ripLow where it leaves for, if that is known
   */
  make(kind: number, patience: number, slot: number, ripLow: number, ripHigh: number): Site | undefined {
    const arena = this.arena(kind);
    const ways = kind === SITE_INDIRECT_LINK ? SITE_WAYS : 1;
    const offset = arena.free.pop() ?? arena.next;
    if (offset === arena.end) return undefined;
    if (offset === arena.next) arena.next += ways * SITE_STRIDE;
    const site: Site = {
      offset,
      kind,
      slot,
      ways,
      region: undefined,
      targets: Array(ways).fill(undefined),
      exits: 0,
      cleared: 0,
    };
    this.byOffset.set(offset, site);
    for (let way = 0; way < ways; way++) this.i32[(pieceOf(site, way) + SITE_DEPTH) >> 2] = 0;
    this.i32[(offset + SITE_RIP) >> 2] = ripLow;
    this.i32[(offset + SITE_RIP + 4) >> 2] = ripHigh;
    this.await(site, patience);
    return site;
  }

  /** Has a site begin again to wait for so many exits. */
  restart(site: Site, patience: number): void {
    this.i32[(site.offset + SITE_COUNT) >> 2] = -patience;
  }

  at(offset: number): Site | undefined {
    return this.byOffset.get(offset);
  }

  /** Has a site be full after so many exits from now. */
  await(site: Site, patience: number): void {
    site.exits += patience;
    this.restart(site, patience);
  }

  /** There are none any more: the next ones get the places that they would get in a new machine. */
  reset(): void {
    this.byOffset.clear();
    for (const arena of [this.direct, this.indirect]) {
      arena.free.length = 0;
      arena.next = arena.start;
    }
  }

  release(site: Site): void {
    this.byOffset.delete(site.offset);
    this.arena(site.kind).free.push(site.offset);
  }
}
