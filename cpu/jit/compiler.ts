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
import { PAGE_SIZE, S_EXIT_SITE, S_STALE } from '../state.ts';
import { FIRST_REGION } from '../wasm/core-types.ts';
import { Archive, linksBetween } from './archive.ts';
import { entriesWanted, isGrowth, wantsEntry, wantsGrowth } from './growth.ts';
import { Links, wayOf } from './links.ts';
import { RegionMap } from './region-map.ts';
import { merged, type Request, RequestQueue } from './requests.ts';
import { ExitSites, SITE_SIDE, slotsOf } from './sites.ts';
import { recordsOf, type StoredPart, type StoredRegion, storeRegion } from './stored-regions.ts';
import { GENERATIONS, MOST_INSTRUCTIONS, type RegionCode, RegionTranslator, type Translation } from './translator.ts';

export interface Region extends RegionCode {
  /** Index in the core's table. */
  index: number;
  run: RegionFunction;
  /** What it was compiled from, if regions are to be stored; else undefined. */
  body: RegionBody | undefined;
  /** What it is of an earlier machine; undefined: translated here. */
  origin: StoredRegion | undefined;
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
  /** Instructions that this machine is to run before it may be made anew for that. */
  ripe: number;
  /** Is it in the core's table? */
  placed: boolean;
  /** Blocks of it, none of them entries, that became hot in the interpreter. */
  missed: number[];
  /** Guest instructions, and bytes of its code. */
  instructions: number;
  size: number;
}

/** What a region is asked for as, and what is decided when it is made. */
type Asked = Pick<Region, 'ripLow' | 'ripHigh' | 'mode' | 'generation'>;
type Made = Pick<Region, 'window' | 'origin' | 'ripe'>;

const CODE_SIZE_64 = 8;
/**
 * A batch is not waited for if one of its blocks runs so often meanwhile. Not so for code that the guest rewrites: a
 * module for each version of it may cost more than it saves.
 */
const URGENT_EXECUTIONS = 1000;
/** Addresses of rewritten code that are remembered. */
const MOST_REWRITTEN = 10_000;
/** Bytes of regions' code that may be alive at once; when they are more, all are dropped. */
const CACHE_SIZE = 32 << 20;
const MILLION = 1e6;
/** So small a share of those that were restored are hardly any. */
const HARDLY_ANY = 1 / 32;
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
  /** Those of them that earlier machines had translated. */
  restored: number;
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
  private readonly regions: RegionMap;
  private readonly freeIndices: number[] = [];
  private nextIndex = FIRST_REGION;
  readonly counters: JitCounters = {
    regions: 0,
    restored: 0,
    batches: 0,
    instructions: 0,
    bytes: 0,
    milliseconds: 0,
    killed: 0,
  };
  private readonly requests: RequestQueue;
  private readonly sites: ExitSites;
  private readonly links: Links;
  private readonly patience: number | undefined;
  /** Links of the regions that are being made. */
  private slots = 0;
  /** Bytes of the code of all living regions, and how many there may be. */
  private size = 0;
  private readonly cacheSize: number;
  /** Entries that regions need besides those that their code tells, by the region's address. */
  private readonly moreEntries = new Map<number, number[]>();
  /** Addresses (low halves) of regions whose code the guest has rewritten. */
  private readonly rewritten = new Set<number>();
  /** Regions of earlier machines; present: code is kept for later ones. */
  private archive: Archive | undefined;
  private readonly windows: DirectWindows;
  /** The direct window in use, and whether it must be asked for again. */
  private window: DirectWindow = { low: 0, length: 0 };
  private windowIsOld = true;

  constructor(mmu: Mmu, blocks: BlockCache, core: Core, options: CompilerOptions = {}) {
    this.regions = new RegionMap(mmu);
    this.requests = new RequestQueue(options.batch);
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
    for (const region of this.regions.all())
      if (region.window !== undefined && !this.windows.has(region.window)) this.discard(region);
  }

  /** The live region that starts at an address, whose pages are still mapped the same; undefined if there is none. */
  find(ripLow: number, ripHigh: number, mode: number): Region | undefined {
    const regions = this.regions.at(ripLow);
    if (regions.length === 0) return undefined;
    this.checkWindow();
    for (const region of regions)
      if (region.ripHigh === ripHigh && region.mode === mode && this.isUsable(region)) return region;
    // Made for other windows only: here it may become hot again.
    if (this.blocks.wasHot(ripLow, ripHigh, mode)) this.blocks.restartCounter(ripLow, ripHigh, mode);
    return undefined;
  }

  /** Index in the core's table of the live region at an address; 0 if there is none. */
  indexAt(ripLow: number, ripHigh: number, mode: number): number {
    const region = this.find(ripLow, ripHigh, mode);
    if (region === undefined) return 0;
    this.place(region);
    return region.index;
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
    const { ripLow, ripHigh, mode, anew } = request;
    if (codeSize(mode) !== CODE_SIZE_64) return false;
    if (!this.requests.add(request)) return !this.rewritten.has(ripLow);
    if (!anew) this.blocks.restartCounter(ripLow, ripHigh, mode, URGENT_EXECUTIONS);
    return this.requests.isFull;
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
   * anew with more of the code around it. @param ran instructions of this machine so far @returns as `request`
   */
  sample(instructions: number, ran: number): boolean {
    const { i32 } = this.mmu;
    const region = this.sites.at(i32[S_EXIT_SITE >> 2])?.region;
    i32[S_EXIT_SITE >> 2] = 0;
    if (region === undefined || region.generation >= GENERATIONS || !isGrowth(region, MOST_INSTRUCTIONS)) return false;
    // Those of earlier machines had so much time to grow there; more growth would make them slower.
    if (ran < region.ripe || !wantsGrowth(region, instructions, this.patience)) return false;
    return this.remake(region, region.window === undefined, region.generation + 1);
  }

  private remake({ ripLow, ripHigh, mode }: Region, paged: boolean, generation: number): boolean {
    return this.add({ ripLow, ripHigh, mode, paged, generation, anew: true });
  }

  /** Makes the regions that were asked for if they have waited long enough. */
  compileIfDue(): void {
    if (this.requests.isDue) this.compile();
  }

  /** Is given the regions of earlier machines; from now on, code is kept for later ones (`toStore`). */
  useStored(parts: readonly StoredPart[]): void {
    this.archive = new Archive(parts);
  }

  /** Code at an address (low half) became hot: puts regions of earlier machines to use that are of the code there is now. */
  restore(low: number): void {
    const { archive } = this;
    if (archive === undefined) return;
    this.checkWindow();
    const { window, mmu } = this;
    if (!archive.isDue(window, low)) return;
    const { owners } = this.regions;
    const isTaken = (ripLow: number) => owners.has(ripLow) && owners.get(ripLow)!.origin === undefined;
    for (const part of archive.parts) this.restorePart(part, archive.fitting(part, window, mmu, isTaken));
  }

  private restorePart(part: StoredPart, stored: readonly StoredRegion[]): void {
    const { counters } = this;
    const regions: Region[] = [];
    const bodies: RegionBody[] = [];
    this.slots = 0;
    const sum = (of: (region: StoredRegion) => number) => stored.reduce((all, region) => all + of(region), 0);
    if (!this.blocks.hasRoomFor(sum(recordsOf)) || this.size + sum(({ code }) => code.length) > this.cacheSize) return;
    for (const origin of stored) {
      const translation = this.translator.restore(origin, this.slots);
      if (translation === undefined) break;
      const window = origin.window.length !== 0 ? this.window : undefined;
      regions.push(this.made(origin, { window, origin, ripe: part.ran * MILLION }, translation, bodies));
      const others = Array.from(origin.entries).filter((low) => low !== origin.ripLow);
      if (others.length > 0) this.moreEntries.set(origin.ripLow, others);
    }
    if (regions.length === 0) return;
    const links = linksBetween(regions);
    const table = links.flatMap(({ site, target, low }) => [site.slot + wayOf(site, low), target]);
    const compiled = this.core.restore(bodies, this.slots, table, part.machineCode);
    this.enterAll(regions, compiled);
    // Of a region that is in the place of one of the same part nothing is left.
    const lives = (region: Region) => this.regions.at(region.ripLow).includes(region);
    for (const { site, source, target, low, high } of links)
      if (lives(source) && lives(regions[target])) this.links.linkedTo(site, regions[target], low, high);
    this.archive!.restored(
      part,
      regions.map(({ origin }) => origin!),
      compiled,
    );
    counters.restored += regions.length;
  }

  /** Does the guest do what it did on earlier machines, so that hardly anything is made here? */
  get isForeknown(): boolean {
    const { regions, restored } = this.counters;
    return regions - restored < restored * HARDLY_ANY;
  }

  /** What later machines may need. @param ran instructions so far, in millions @returns undefined: nothing else than there was */
  toStore(ran: number): StoredPart[] | undefined {
    const { mmu, translator } = this;
    const living = [...this.regions.all()];
    const made = living.flatMap((region) => storeRegion(region, mmu, translator.targets) ?? []);
    return this.archive?.toStore(living, made, ran);
  }

  /** Makes the regions that were asked for, in one module. */
  compile(): void {
    const { counters } = this;
    if (this.requests.length === 0) return;
    const started = performance.now();
    // Without room all is dropped, and code is to become hot anew.
    if (!this.blocks.makeRoom(this.requests.length * MOST_INSTRUCTIONS)) return;
    const requests = this.requests.take();
    this.checkWindow();
    const regions: Region[] = [];
    const bodies: RegionBody[] = [];
    this.slots = 0;
    for (const request of requests)
      if (!request.anew) this.blocks.stopCounter(request.ripLow, request.ripHigh, request.mode);
    // First all that regions are to be made anew with.
    const due = requests.flatMap((request) => (request.anew ? request : (this.due(request) ?? [])));
    for (const request of merged(due)) {
      if (!request.anew && this.isInside(request, regions)) continue;
      const region = this.translate(request, bodies);
      if (region !== undefined) regions.push(region);
      else if (!request.anew) this.blocks.postponeCounter(request.ripLow, request.ripHigh, request.mode);
    }
    if (regions.length > 0) {
      this.instantiate(regions, bodies);
      counters.batches++;
    }
    counters.milliseconds += performance.now() - started;
  }

  /**
   * What to do for code that became hot. If it is in a region, something leads past the region's entries to it: the region
   * is made anew with it as another entry, once that has happened so often that it pays. @returns undefined: nothing
   */
  private due(request: Request): Request | undefined {
    const { ripLow, ripHigh, mode } = request;
    const owner = this.regions.owners.get(ripLow);
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
        const owner = this.regions.owners.get(low);
        return (stays(owner) && owner!.entries.includes(low)) || this.regions.at(low).some(stays);
      },
      isEntry: (low) => this.regions.at(low).some((region) => region.mode === mode && !stays(region)),
    });
    if (translation === undefined) return undefined;
    const { instructions, code } = translation;
    if (this.isNoBetter(request, window, instructions)) {
      for (const site of code.sites) this.sites.release(site);
      return undefined;
    }
    this.counters.instructions += instructions;
    return this.made(request, { window, origin: undefined, ripe: 0 }, translation, bodies);
  }

  /** A region made of a translation, not yet compiled. */
  private made(
    { ripLow, ripHigh, mode, generation }: Asked,
    { window, origin, ripe }: Made,
    { body, instructions, code }: Translation,
    bodies: RegionBody[],
  ): Region {
    this.slots += slotsOf(code.sites);
    bodies.push(body);
    const region: Region = {
      // One by one, as to spread it costs V8 twenty microseconds.
      sites: code.sites,
      relocations: code.relocations,
      locals: code.locals,
      entries: code.entries,
      inside: code.inside,
      followed: code.followed,
      jumps: code.jumps,
      pages: code.pages,
      ranges: code.ranges,
      index: 0,
      run: NOTHING,
      body: this.archive !== undefined && origin === undefined ? body : undefined,
      origin,
      module: NOT_COMPILED,
      ripLow,
      ripHigh,
      mode,
      window,
      generation,
      spent: 0,
      ripe,
      placed: false,
      missed: [],
      instructions,
      size: body.code.length,
    };
    for (const low of region.inside) {
      this.regions.owners.set(low, region);
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
    const old = this.regions.at(ripLow).find((region) => region.ripLow === ripLow && region.mode === mode);
    if (!anew || old === undefined || old.window !== window || old.generation === generation) return false;
    if (isGrowth(old, size)) return false;
    old.generation = generation;
    return true;
  }

  /** Makes a module of regions' bodies and puts them to use, in place of those that they replace. */
  private instantiate(regions: Region[], bodies: RegionBody[]): void {
    this.enterAll(regions, this.core.compile(bodies, this.slots));
  }

  private enterAll(regions: Region[], compiled: CompiledRegions): void {
    const { counters } = this;
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
      this.size += region.size;
      this.regions.add(region);
      for (const entry of region.entries)
        if (this.blocks.jumps.setRegion(entry, region.ripHigh, region.mode, region.index)) this.place(region);
    }
    this.mmu.protectPages();
    counters.regions += regions.length;
    counters.bytes += size;
  }

  /** Puts a region into the core's table, which is dear, before it is first looked up. */
  private place(region: Region): void {
    if (region.placed) return;
    region.placed = true;
    this.core.setRegion(region.index, region.run);
  }

  /** Bytes of RAM changed: drops the regions made from them, and direct windows that they decided. */
  written(address: number, length: number): void {
    this.windows.written(address, length);
    this.regions.written(address, length, (region) => this.rewrite(region));
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
    this.regions.remove(region);
    for (const entry of region.entries) this.blocks.jumps.setRegion(entry, region.ripHigh, region.mode, 0);
    this.stale();
    this.links.drop(region);
    this.translator.forget();
    // So that its module can be collected.
    if (region.placed) this.core.setRegion(region.index, null);
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
    this.archive?.forget();
    this.sites.reset();
    this.windows.clear();
    this.windowIsOld = true;
  }

  /** Drops all regions. */
  flush(): void {
    this.requests.take();
    for (const region of this.regions.all()) this.discard(region);
    this.regions.forgetPages();
  }
}
