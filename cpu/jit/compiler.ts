/**
 * Compiles hot code into regions and keeps them: which there are, where their code came from, and when they die. What
 * their exit sites are for is decided here.
 */
import type { BlockCache } from '../blocks.ts';
import type { CompiledRegions, Core, RegionBody, RegionFunction } from '../core.ts';
import { EXIT_STOP } from '../exits.ts';
import { type DirectWindow, DirectWindows } from '../mmu/direct.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { codeSize, privilegeLevel } from '../mode.ts';
import type { CpuObserver } from '../observer.ts';
import { PAGE_SIZE, S_EXIT_SITE, S_HAS_REGIONS, S_PAGE_FLAGS, S_STALE } from '../state.ts';
import { FIRST_REGION } from '../wasm/core-types.ts';
import { entriesWanted, isGrowth, wantsEntry, wantsGrowth } from './growth.ts';
import { Links } from './links.ts';
import { ExitSites, SITE_SIDE, slotsOf } from './sites.ts';
import { GENERATIONS, MOST_INSTRUCTIONS, type RegionCode, RegionTranslator } from './translator.ts';

export interface Region extends RegionCode {
  /** Index in the core's table. */
  index: number;
  run: RegionFunction;
  /** What it was compiled with. */
  module: CompiledRegions;
  ripLow: number;
  ripHigh: number;
  mode: number;
  /** The direct window that it reaches memory through; undefined: by the TLB. */
  window: DirectWindow | undefined;
  /** How many times it has been made anew because much time was spent in it. */
  generation: number;
  /** Instructions of the slices that ended in it, as a measure of that time. */
  spent: number;
  /** Blocks of it, none of them entries, that became hot in the interpreter. */
  missed: number[];
  /** Guest instructions, and bytes of its code. */
  instructions: number;
  size: number;
}

/** A region to be made. */
interface Request {
  ripLow: number;
  ripHigh: number;
  mode: number;
  /** Reach memory by the TLB even if there is a direct window. */
  paged: boolean;
  generation: number;
  /** Is there a region already, to be made anew? */
  anew: boolean;
}

const CODE_SIZE_64 = 8;
/**
 * Regions are made so many at once at most, in one module, or after so many ms: modules are dear, functions in them
 * cheap, and those that stand side by side are found faster.
 */
const BATCH = 16;
const BATCH_TIME = 50;
/**
 * Nor is a batch waited for if one of its blocks runs so often meanwhile. Not so for code that the guest rewrites: a
 * module for each version of it may cost more than it saves.
 */
const URGENT_EXECUTIONS = 1000;
/** Addresses of rewritten code that are remembered. */
const MOST_REWRITTEN = 10_000;
/** Bytes of regions' code that may be alive at once; when they are more, all are dropped. */
const CACHE_SIZE = 32 << 20;
/** A direct window that is smaller is not worth it. */
const LEAST_WINDOW = 1 << 20;
/** Of a region until it is compiled. */
const NOT_COMPILED: CompiledRegions = { functions: [], size: 0, link: () => {} };
const NOTHING: RegionFunction = () => EXIT_STOP;

export interface CompilerOptions {
  /** Regions made at once. */
  batch?: number;
  /** Bytes of regions' code that may be alive. */
  cacheSize?: number;
  /** Exits before a site is linked at most, and instructions spent in a region before it is made anew. */
  patience?: number;
  /** Is told of each region. */
  observer?: CpuObserver | undefined;
}

export interface JitCounters {
  regions: number;
  batches: number;
  instructions: number;
  bytes: number;
  milliseconds: number;
  killed: number;
}

export class RegionCompiler {
  private readonly mmu: Mmu;
  private readonly blocks: BlockCache;
  private readonly core: Core;
  private readonly translator: RegionTranslator;
  private readonly regions = new Map<number, Region[]>();
  private readonly byPage = new Map<number, Set<Region>>();
  private readonly freeIndices: number[] = [];
  private nextIndex = FIRST_REGION;
  readonly counters: JitCounters = { regions: 0, batches: 0, instructions: 0, bytes: 0, milliseconds: 0, killed: 0 };
  private requests: Request[] = [];
  /** When the first of them was made, ms of performance.now(). */
  private requested = 0;
  private readonly batch: number;
  private readonly batchTime: number;
  private readonly sites: ExitSites;
  private readonly links: Links;
  private readonly patience: number | undefined;
  /** Links of the regions that are being made. */
  private slots = 0;
  /** Bytes of the code of all living regions, and how many there may be. */
  private size = 0;
  private readonly cacheSize: number;
  /** The region that has a block in it. */
  private readonly owners = new Map<number, Region>();
  /** Entries that regions need besides those that their code tells, by the region's address. */
  private readonly moreEntries = new Map<number, number[]>();
  /** Addresses (low halves) of regions whose code the guest has rewritten. */
  private readonly rewritten = new Set<number>();
  private readonly windows: DirectWindows;
  /** The direct window in use, and whether it must be asked for again. */
  private window: DirectWindow = { low: 0, length: 0 };
  private windowIsOld = true;

  constructor(mmu: Mmu, blocks: BlockCache, core: Core, options: CompilerOptions = {}) {
    this.batch = options.batch ?? BATCH;
    this.batchTime = options.batch === undefined ? BATCH_TIME : 0;
    this.cacheSize = options.cacheSize ?? CACHE_SIZE;
    this.patience = options.patience;
    this.sites = new ExitSites(mmu.i32);
    this.links = new Links(mmu.i32, this.sites, core, options.patience);
    const { firstPatience } = this.links;
    this.translator = new RegionTranslator(mmu, blocks, this.sites, core.hasTailCalls, firstPatience, options.observer);
    this.windows = new DirectWindows(mmu);
    this.mmu = mmu;
    this.blocks = blocks;
    this.core = core;
  }

  /**
   * The guest flushed translations, or went to another address space. @returns whether the direct window is another one
   * now, so that regions must not run on. (It is looked for at once, as looking all code up anew costs more.)
   */
  remapped(): boolean {
    if (this.windowIsOld || this.windows.find(this.window) === this.window) return false;
    this.windowIsOld = true;
    return true;
  }

  /** Looks for the window if need be; regions made for one that is gone are void. */
  private checkWindow(): void {
    if (!this.windowIsOld) return;
    this.windowIsOld = false;
    const found = this.windows.find(this.window);
    if (found === this.window) return;
    this.window = found;
    for (const region of this.living())
      if (region.window !== undefined && !this.windows.has(region.window)) this.discard(region);
  }

  private living(): Set<Region> {
    return new Set([...this.regions.values()].flat());
  }

  /** The live region that starts at an address, whose pages are still mapped the same; undefined if there is none. */
  find(ripLow: number, ripHigh: number, mode: number): Region | undefined {
    const list = this.regions.get(ripLow);
    if (list === undefined) return undefined;
    this.checkWindow();
    for (const region of list)
      if (region.ripHigh === ripHigh && region.mode === mode && this.isUsable(region)) return region;
    // Made for other windows only: here it may become hot again.
    if (this.blocks.wasHot(ripLow, ripHigh, mode)) this.blocks.restartCounter(ripLow, ripHigh, mode);
    return undefined;
  }

  private inWindow({ window }: Region): boolean {
    return window === undefined || window === this.window;
  }

  /** Can a region be entered as memory is mapped now? */
  private isUsable(region: Region): boolean {
    return this.inWindow(region) && this.mapped(region);
  }

  private mapped(region: Region): boolean {
    for (const [page, physical] of region.pages)
      if (this.mmu.fetchFor(region.mode, (page * PAGE_SIZE) | 0, region.ripHigh) !== physical * PAGE_SIZE) return false;
    return true;
  }

  /** Notes that code is hot. @returns whether there is enough to do for `compile` */
  request(ripLow: number, ripHigh: number, mode: number, paged = false): boolean {
    return this.add({ ripLow, ripHigh, mode, paged, generation: 0, anew: false });
  }

  private add(request: Request): boolean {
    const { requests } = this;
    const { ripLow, ripHigh, mode, anew } = request;
    if (codeSize(mode) !== CODE_SIZE_64) return false;
    if (requests.length === 0) this.requested = performance.now();
    if (!anew && requests.some((other) => !other.anew && isSameCode(other, request)))
      return !this.rewritten.has(ripLow);
    requests.push(request);
    if (!anew) this.blocks.restartCounter(ripLow, ripHigh, mode, URGENT_EXECUTIONS);
    return requests.length >= this.batch;
  }

  /** An exit site is full, and the guest is at an address. @returns as `request` */
  attend(offset: number, ripLow: number, ripHigh: number): boolean {
    const site = this.sites.at(offset);
    const region = site?.region;
    if (site === undefined || region === undefined) return false;
    if (site.kind === SITE_SIDE) return this.remake(region, true, region.generation);
    this.links.link(site, this.find(ripLow, ripHigh, region.mode), ripLow, ripHigh);
    return false;
  }

  /**
   * A slice of so many instructions came to its end, perhaps in a region. One in which slices end often is worth being made
   * anew with more of the code around it. @returns as `request`
   */
  sample(instructions: number): boolean {
    const { i32 } = this.mmu;
    const region = this.sites.at(i32[S_EXIT_SITE >> 2])?.region;
    i32[S_EXIT_SITE >> 2] = 0;
    if (region === undefined || region.generation >= GENERATIONS) return false;
    if (!wantsGrowth(region, instructions, this.patience)) return false;
    return this.remake(region, region.window === undefined, region.generation + 1);
  }

  private remake({ ripLow, ripHigh, mode }: Region, paged: boolean, generation: number): boolean {
    return this.add({ ripLow, ripHigh, mode, paged, generation, anew: true });
  }

  /** Makes the regions that were asked for if they have waited long enough. */
  compileIfDue(): void {
    if (this.requests.length > 0 && performance.now() - this.requested >= this.batchTime) this.compile();
  }

  /** Makes the regions that were asked for, in one module. */
  compile(): void {
    const { requests, counters } = this;
    if (requests.length === 0) return;
    // Without room all is dropped, and code is to become hot anew.
    if (!this.blocks.makeRoom(requests.length * MOST_INSTRUCTIONS)) return;
    this.requests = [];
    const started = performance.now();
    this.checkWindow();
    const regions: Region[] = [];
    const bodies: RegionBody[] = [];
    this.slots = 0;
    // First all that regions are to be made anew with.
    const due = new Map<string, Request>();
    for (const request of requests)
      if (!request.anew) this.blocks.stopCounter(request.ripLow, request.ripHigh, request.mode);
    for (const request of requests) {
      const made = request.anew ? request : this.due(request);
      if (made === undefined) continue;
      const key = `${made.ripLow} ${made.ripHigh} ${made.mode}`;
      const other = due.get(key);
      const paged = made.paged || (other?.paged ?? false);
      due.set(key, { ...made, paged, generation: Math.max(made.generation, other?.generation ?? 0) });
    }
    for (const request of due.values()) {
      if (!request.anew && this.isInside(request, regions)) continue;
      const region = this.translate(request, bodies);
      if (region !== undefined) regions.push(region);
      else if (!request.anew) this.blocks.postponeCounter(request.ripLow, request.ripHigh, request.mode);
    }
    if (regions.length > 0) this.instantiate(regions, bodies);
    counters.batches++;
    counters.milliseconds += performance.now() - started;
  }

  /**
   * What to do for code that became hot. If it is in a region, something leads past the region's entries to it: the region
   * is made anew with it as another entry, once that has happened so often that it pays. @returns undefined: nothing
   */
  private due(request: Request): Request | undefined {
    const { ripLow, ripHigh, mode } = request;
    const owner = this.owners.get(ripLow);
    if (owner === undefined || owner.mode !== mode || owner.ripHigh !== ripHigh || !this.isUsable(owner))
      return request;
    // What a region leaves to the interpreter at once becomes hot too.
    if (owner.entries.includes(ripLow)) return undefined;
    if (!wantsEntry(owner, ripLow)) {
      this.blocks.restartCounter(ripLow, ripHigh, mode);
      return undefined;
    }
    this.moreEntries.set(owner.ripLow, entriesWanted(owner, this.moreEntries.get(owner.ripLow) ?? []));
    return {
      ...request,
      ripLow: owner.ripLow,
      paged: owner.window === undefined,
      generation: owner.generation,
      anew: true,
    };
  }

  /** Is code that became hot in a region of the same batch? Then it runs there from now on. */
  private isInside(request: Request, batch: readonly Region[]): boolean {
    return batch.some(
      (region) =>
        region.inside.includes(request.ripLow) && region.ripHigh === request.ripHigh && region.mode === request.mode,
    );
  }

  /** Makes a region, not yet compiled. @returns undefined when nothing there can be translated */
  private translate(request: Request, bodies: RegionBody[]): Region | undefined {
    const { ripLow, ripHigh, mode, paged, generation } = request;
    const direct = !paged && privilegeLevel(mode) === 0 && this.window.length >= LEAST_WINDOW;
    const window = direct ? this.window : undefined;
    const entries = this.moreEntries.get(ripLow) ?? [];
    const usable = new Map<Region, boolean>();
    const stays = (region: Region | undefined): boolean => {
      if (region === undefined || region.ripLow === ripLow || region.generation < generation) return false;
      if (region.mode !== mode || region.ripHigh !== ripHigh) return false;
      let isUsable = usable.get(region);
      if (isUsable === undefined) {
        isUsable = this.isUsable(region);
        usable.set(region, isUsable);
      }
      return isUsable;
    };
    const translation = this.translator.translate({
      ripLow,
      ripHigh,
      mode,
      generation,
      entries,
      window,
      slots: this.slots,
      isForeign: (low) => {
        // One of the same batch is not yet among those that can be entered.
        const owner = this.owners.get(low);
        return (stays(owner) && owner!.entries.includes(low)) || (this.regions.get(low)?.some(stays) ?? false);
      },
      isEntry: (low) => this.regions.get(low)?.some((region) => region.mode === mode && !stays(region)) ?? false,
    });
    if (translation === undefined) return undefined;
    const { body, instructions, code } = translation;
    if (this.isNoBetter(request, window, instructions)) {
      for (const site of code.sites) this.sites.release(site);
      return undefined;
    }
    this.slots += slotsOf(code.sites);
    bodies.push(body);
    this.counters.instructions += instructions;
    const region: Region = {
      ...code,
      index: 0,
      run: NOTHING,
      module: NOT_COMPILED,
      ripLow,
      ripHigh,
      mode,
      window,
      generation,
      spent: 0,
      missed: [],
      instructions,
      size: body.code.length,
    };
    for (const low of region.inside) {
      this.owners.set(low, region);
      // What it ran until now says nothing about how often it runs outside the region from now on.
      this.blocks.restartCounter(low, ripHigh, mode);
    }
    return region;
  }

  /** Would a region that is to be made anew for the time spent in it hardly become larger? It then stays, as if it had. */
  private isNoBetter(
    { ripLow, mode, generation, anew }: Request,
    window: DirectWindow | undefined,
    size: number,
  ): boolean {
    const old = this.regions.get(ripLow)?.find((region) => region.ripLow === ripLow && region.mode === mode);
    if (!anew || old === undefined || old.window !== window || old.generation === generation) return false;
    if (isGrowth(old, size)) return false;
    old.generation = generation;
    return true;
  }

  /** Makes a module of regions' bodies and puts them to use, in place of those that they replace. */
  private instantiate(regions: Region[], bodies: RegionBody[]): void {
    const { counters } = this;
    const compiled = this.core.compile(bodies, this.slots);
    const { functions, size } = compiled;
    if (this.size + size > this.cacheSize) this.flush();
    for (let i = 0; i < regions.length; i++) {
      const region = regions[i];
      for (const entry of region.entries) {
        const old = this.find(entry, region.ripHigh, region.mode);
        if (old !== undefined && region.entries.includes(old.ripLow)) this.discard(old);
      }
      region.index = this.freeIndices.pop() ?? this.nextIndex++;
      region.run = functions[i];
      region.module = compiled;
      for (const site of region.sites) site.region = region;
      this.core.setRegion(region.index, region.run);
      this.enter(region);
      for (const entry of region.entries) this.blocks.jumps.setRegion(entry, region.ripHigh, region.mode, region.index);
    }
    counters.regions += regions.length;
    counters.bytes += size;
  }

  private enter(region: Region): void {
    this.size += region.size;
    this.mmu.i32[S_HAS_REGIONS >> 2] = 1;
    for (const entry of region.entries) {
      const list = this.regions.get(entry);
      if (list === undefined) this.regions.set(entry, [region]);
      else list.push(region);
    }
    for (const page of region.pages.values()) {
      let set = this.byPage.get(page);
      if (set === undefined) {
        set = new Set();
        this.byPage.set(page, set);
        this.mmu.u8[S_PAGE_FLAGS + page] |= PAGE_HAS_REGION;
        this.mmu.protectPage(page * PAGE_SIZE);
      }
      set.add(region);
    }
  }

  /** Bytes of RAM changed: drops the regions made from them, and direct windows that they decided. */
  written(address: number, length: number): void {
    this.windows.written(address, length);
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) {
      const set = this.byPage.get(page);
      if (set === undefined) continue;
      for (const region of set)
        if (region.ranges.some(([first, end]) => address < end && first < address + length)) this.rewrite(region);
      if (set.size === 0) {
        this.byPage.delete(page);
        this.mmu.u8[S_PAGE_FLAGS + page] &= ~PAGE_HAS_REGION;
      }
    }
  }

  /** The guest has written to a region's code. */
  private rewrite(region: Region): void {
    const { rewritten } = this;
    if (rewritten.size >= MOST_REWRITTEN) rewritten.clear();
    rewritten.add(region.ripLow);
    this.discard(region);
  }

  /** Drops a region whose code goes on without one: it may become hot again. */
  private discard(region: Region): void {
    this.drop(region);
    for (const entry of region.entries) this.blocks.restartCounter(entry, region.ripHigh, region.mode);
  }

  private drop(region: Region): void {
    for (const entry of region.entries) {
      const list = this.regions.get(entry)!;
      list.splice(list.indexOf(region), 1);
      if (list.length === 0) this.regions.delete(entry);
      this.blocks.jumps.setRegion(entry, region.ripHigh, region.mode, 0);
    }
    for (const low of region.inside) if (this.owners.get(low) === region) this.owners.delete(low);
    for (const page of region.pages.values()) this.byPage.get(page)?.delete(region);
    this.stale();
    this.links.drop(region);
    this.translator.forget();
    // So that its module can be collected.
    this.core.setRegion(region.index, null);
    this.freeIndices.push(region.index);
    this.size -= region.size;
    this.counters.killed++;
  }

  /** Code that runs must not go on as it is. */
  private stale(): void {
    this.mmu.i32[S_STALE >> 2] = 1;
  }

  /** Mappings changed: regions are to be found anew. */
  forgetMappings(): void {
    this.stale();
    this.links.clear();
  }

  /** Forgets everything (the operation arena was emptied). */
  reset(): void {
    this.flush();
    this.moreEntries.clear();
    this.translator.reset();
    this.windows.clear();
    this.windowIsOld = true;
  }

  /** Drops all regions. */
  flush(): void {
    this.requests = [];
    for (const region of this.living()) this.discard(region);
    for (const page of this.byPage.keys()) this.mmu.u8[S_PAGE_FLAGS + page] &= ~PAGE_HAS_REGION;
    this.byPage.clear();
  }
}

/** Do two places hold the same code in the same mode? */
function isSameCode(a: Request, b: Request): boolean {
  return a.ripLow === b.ripLow && a.ripHigh === b.ripHigh && a.mode === b.mode;
}

/** Page flag: code of this page is part of a region (bit 0: of a decoded block). */
const PAGE_HAS_REGION = 2;
