/**
 * Translates the code around a hot address into the body of a function: control flow, IR, WebAssembly. Which regions are
 * made, and what becomes of them, is the compiler's matter (compiler.ts).
 */
import type { BlockCache } from '../blocks.ts';
import type { RegionBody } from '../core.ts';
import { decode, MAX_LENGTH } from '../decode/decoder.ts';
import { Insn } from '../decode/insn.ts';
import { attributesOf } from '../isa/encoding.ts';
import { ATTR_END } from '../isa/table.ts';
import { definitionOf } from '../lift/lift.ts';
import { Lifter } from '../lift/lifter.ts';
import { isBulk } from '../lift/string.ts';
import type { DirectWindow } from '../mmu/direct.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { CpuObserver } from '../observer.ts';
import { PAGE_SIZE, RAM_BASE } from '../state.ts';
import { needsHelper } from '../system/legality.ts';
import { Encoder } from '../wasm/encoder.ts';
import { H_HELPER, handlerOf } from '../wasm/shapes.ts';
import { Callees } from './callees.ts';
import {
  type BasicBlock,
  type CodeSource,
  ControlFlow,
  END_SWITCH,
  MOST_IN_BLOCK,
  type Reach,
} from './control-flow.ts';
import { JumpTargets } from './jump-targets.ts';
import { RegionEmitter } from './region-emitter.ts';
import type { LiftedBlock } from './region-state.ts';
import { OF_JUMP, OF_LINK, OF_SITE, type Relocations, relocate } from './relocation.ts';
import { type ExitSites, patienceOf, type Site, slotsOf } from './sites.ts';
import { SITE_NUMBERS, type StoredRegion } from './stored-regions.ts';
import { structure } from './structure.ts';

/**
 * How far regions reach when they are first made, and when they are made anew because much time is spent in them:
 * translating is dear, so most code stays in small regions. What is larger than these runs slower, as V8 then finds few
 * registers of the host for its locals: an interpreter of Lua by a tenth at twice the size.
 */
const REACHES: readonly Reach[] = [
  { instructions: 300, depth: 2, closed: true, warm: 1 / 4 },
  { instructions: 1000, depth: 3, closed: true, warm: 1 / 16 },
  { instructions: 1000, depth: 4, closed: false, warm: 1 / 16 },
];
/** More instructions than any region has: the last block may go beyond what was asked for. */
export const MOST_INSTRUCTIONS = Math.max(...REACHES.map(({ instructions }) => instructions)) + MOST_IN_BLOCK;
/** A region that was made anew so often stays as it is. */
export const GENERATIONS = REACHES.length - 1;
const CODE_SIZE_64 = 8;
const COPY_SIZE = 64;

/** Where code is looked at. */
interface Code {
  readonly ripHigh: number;
  readonly mode: number;
  /** See CodeSource. */
  isForeign(low: number): boolean;
  isEntry(low: number): boolean;
}

/** What is to be translated. */
export interface Start extends Code {
  readonly ripLow: number;
  /** How many times it has been made anew as it left for code that it did not know. */
  readonly generation: number;
  /** More addresses (low halves) at which it shall be entered. */
  readonly entries: readonly number[];
  /** The direct window to reach memory through; undefined: by the TLB. */
  readonly window: DirectWindow | undefined;
  /** Links of regions before it in the same module. */
  readonly slots: number;
}

/** What is known of a region's code. */
export interface RegionCode {
  readonly sites: Site[];
  /** Of its body: what is the machine's own. */
  readonly relocations: Relocations;
  /** Locals of the function. */
  readonly locals: number;
  /** Addresses (low halves) at which it can be entered; the first is that which was asked for. */
  readonly entries: number[];
  /** Addresses of the blocks in it, but for those of functions that it calls; and of these. */
  readonly inside: number[];
  readonly followed: number[];
  /** Addresses of the indirect jumps and calls in it; none of one that was restored. */
  readonly jumps: number[];
  /** Guest page (linear address / 4096 of the low half) → physical page, for all pages whose code is in it. */
  readonly pages: Map<number, number>;
  /** Physical ranges of code, first and end. */
  readonly ranges: [number, number][];
}

export interface Translation {
  readonly body: RegionBody;
  /** Guest instructions. */
  readonly instructions: number;
  readonly code: RegionCode;
}

export class RegionTranslator {
  private readonly mmu: Mmu;
  private readonly blocks: BlockCache;
  private readonly sites: ExitSites;
  private readonly hasTailCalls: boolean;
  private readonly linkPatience: number;
  private readonly observer: CpuObserver | undefined;
  readonly targets: JumpTargets;
  private readonly callees = new Callees();
  /** Functions that were called, by the low half of their address. */
  private readonly called = new Set<number>();
  /** Blocks (low halves, in whatever mode) of regions of earlier machines: they were warm there. A hint, which may be old. */
  private readonly known = new Set<number>();
  private readonly lifter = new Lifter(false);
  private readonly emitter = new RegionEmitter(this.lifter, new Encoder());
  private readonly insn = new Insn();

  /**
   * @param hasTailCalls see LinkLimits
   * @param linkPatience exits of a site before it is linked
   */
  constructor(
    mmu: Mmu,
    blocks: BlockCache,
    sites: ExitSites,
    hasTailCalls: boolean,
    linkPatience: number,
    observer: CpuObserver | undefined,
  ) {
    this.mmu = mmu;
    this.blocks = blocks;
    this.sites = sites;
    this.hasTailCalls = hasTailCalls;
    this.linkPatience = linkPatience;
    this.observer = observer;
    this.targets = new JumpTargets(mmu.i32);
  }

  /** Forgets what is known of functions (their code may have changed). */
  forget(): void {
    this.callees.clear();
  }

  /** Forgets everything about the guest's code, of which no region is left. */
  reset(): void {
    this.forget();
    this.called.clear();
    this.known.clear();
    this.targets.clear();
  }

  /** @returns undefined when nothing there can be translated */
  translate(start: Start): Translation | undefined {
    const { ripLow, ripHigh, mode, generation, entries, window, slots } = start;
    const pages = new Map<number, number>();
    const reach = REACHES[generation];
    const source = this.source(pages, start, reach);
    const canLift = (insn: Insn) => this.canLift(insn, mode);
    const flow = new ControlFlow(source, canLift, reach, this.callees, ripLow, ripHigh, entries);
    if (flow.entry === undefined) return undefined;
    const order = structure(flow.entry);
    const lifted = this.lift(order, source, mode, window !== undefined);
    const { body, sites, relocations, locals } = this.emitter.emit(order, lifted, {
      space: { directLow: window?.low ?? 0, directLength: window?.length ?? 0 },
      mode,
      grows: generation < GENERATIONS,
      hasTailCalls: this.hasTailCalls,
      linkPatience: this.linkPatience,
      sites: this.sites,
      targets: this.targets,
      slots,
    });
    this.observer?.translated({ ripLow, ripHigh, blocks: lifted, ir: this.lifter.ir, body });
    return {
      body,
      instructions: order.reduce((sum, block) => sum + block.instructions.length, 0),
      code: {
        sites,
        relocations,
        locals,
        entries: flow.entry.end === END_SWITCH ? armsOf(flow.entry) : [ripLow],
        inside: order.filter(({ context }) => context.depth === 0).map((block) => block.ripLow),
        followed: [...new Set(order.filter(({ context }) => context.depth > 0).map((block) => block.ripLow))],
        jumps: [...flow.jumps],
        pages,
        ranges: this.ranges(order, pages),
      },
    };
  }

  /**
   * Makes a region of one that another machine had of the same code. @param slots links of regions before it in the same module
   * @returns undefined when there is no room for what it needs
   */
  restore(stored: StoredRegion, slots: number): Translation | undefined {
    const sites: Site[] = [];
    const forget = (): undefined => {
      for (const site of sites) this.sites.release(site);
    };
    for (let i = 0; i < stored.sites.length; i += SITE_NUMBERS) {
      const kind = stored.sites[i];
      const site = this.sites.make(
        kind,
        patienceOf(kind, this.linkPatience),
        slots + slotsOf(sites),
        stored.sites[i + 1],
        stored.sites[i + 2],
      );
      if (site === undefined) return forget();
      sites.push(site);
    }
    const pages = new Map<number, number>();
    for (let i = 0; i < stored.pages.length; i += 2) pages.set(stored.pages[i], stored.pages[i + 1]);
    const source = this.source(pages, { ...stored, isForeign: () => false, isEntry: () => false }, REACHES[0]);
    const ownOf = (kind: number, argument: number): number => {
      if (kind === OF_SITE) return sites[argument].offset;
      if (kind === OF_LINK) return sites[argument].slot;
      if (kind === OF_JUMP) return this.targets.memory(argument) || -1;
      const offset = source.locate(argument, stored.ripHigh);
      const length = decode(this.insn, source.bytes, offset, CODE_SIZE_64, 8);
      return this.blocks.singleStep(this.insn, (argument + length) | 0, stored.ripHigh);
    };
    const code = Uint8Array.from(stored.code);
    if (!relocate(code, stored.relocations, ownOf)) return forget();
    const { entries, inside, followed, jumps, ranges, relocations, locals, instructions, hints } = stored;
    for (const lows of [inside, followed]) for (let i = 0; i < lows.length; i++) this.known.add(lows[i]);
    for (let i = 0; i < jumps.length; i += 2) this.targets.note(jumps[i], jumps[i + 1]);
    const pairs: [number, number][] = [];
    for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i], ranges[i + 1]]);
    return {
      body: { code, hints },
      instructions,
      code: {
        sites,
        relocations,
        locals,
        entries: Array.from(entries),
        inside: Array.from(inside),
        followed: Array.from(followed),
        jumps: [],
        pages,
        ranges: pairs,
      },
    };
  }

  /** Guest code by linear address; notes in `pages` which pages it came from. */
  private source(pages: Map<number, number>, start: Code, reach: Reach): CodeSource {
    const { ripHigh: high, mode } = start;
    const copy = new Uint8Array(COPY_SIZE);
    const warm = Math.max(1, this.blocks.hotThreshold * reach.warm);
    const { u8 } = this.mmu;
    /** Physical number of a page of code; -1 when it cannot be fetched. */
    const pageOf = (page: number): number => {
      const known = pages.get(page);
      if (known !== undefined) return known;
      const address = this.mmu.fetchFor(mode, (page * PAGE_SIZE) | 0, high);
      if (address < 0) return -1;
      pages.set(page, address / PAGE_SIZE);
      return address / PAGE_SIZE;
    };
    const source = {
      bytes: u8,
      locate: (low: number, addressHigh: number): number => {
        const page = low >>> 12;
        const physical = addressHigh === high ? pageOf(page) : -1;
        if (physical < 0) return -1;
        const offset = low & (PAGE_SIZE - 1);
        const at = RAM_BASE + physical * PAGE_SIZE + offset;
        source.bytes = u8;
        const left = PAGE_SIZE - offset;
        if (left >= MAX_LENGTH) return at;
        copy.fill(0);
        copy.set(u8.subarray(at, at + left));
        source.bytes = copy;
        if (decode(this.insn, copy, 0, CODE_SIZE_64, 8) <= left) return 0;
        // It reaches into the next page, which is to follow in RAM too, as its bytes are copied in one piece.
        if (pageOf((page + 1) & 0xfffff) !== physical + 1) return -1;
        copy.set(u8.subarray(at, at + MAX_LENGTH));
        return 0;
      },
      warm: (low: number, addressHigh: number) =>
        this.blocks.executions(low, addressHigh, mode) >= warm || this.known.has(low),
      called: this.called,
      targets: (low: number) => this.targets.seen(low),
      isForeign: start.isForeign,
      isEntry: start.isEntry,
    };
    return source;
  }

  /** Regions take what has a definition or can be stepped in place; what ends blocks must have a definition. */
  private canLift(insn: Insn, mode: number): boolean {
    if (!this.mustStep(insn, mode, true)) return true;
    // Helpers find a memory operand with a short address only behind the interpreter's address pre-operation.
    const shortAddress = insn.hasModrm && insn.mod !== 3 && insn.addressSize !== CODE_SIZE_64;
    return (attributesOf[insn.row] & ATTR_END) === 0 && !shortAddress;
  }

  private mustStep(insn: Insn, mode: number, direct: boolean): boolean {
    if (isBulk(insn)) return !direct;
    return definitionOf(insn.row) === undefined || handlerOf(insn) === H_HELPER || needsHelper(insn, mode);
  }

  private lift(order: BasicBlock[], source: CodeSource, mode: number, direct: boolean): LiftedBlock[] {
    const { lifter, insn } = this;
    lifter.ir.clear();
    return order.map((block) => {
      lifter.flags.reset();
      const starts: number[] = [];
      const steps: number[] = [];
      for (const low of block.instructions) {
        const offset = source.locate(low, block.ripHigh);
        const length = decode(insn, source.bytes, offset, CODE_SIZE_64, 8);
        const nextLow = (low + length) | 0;
        starts.push(lifter.ir.length);
        if (this.mustStep(insn, mode, direct)) {
          steps.push(this.blocks.singleStep(insn, nextLow, block.ripHigh));
          lifter.flags.reset();
        } else {
          steps.push(0);
          lifter.begin(insn, nextLow, block.ripHigh);
          definitionOf(insn.row)!(lifter);
        }
      }
      return { block, starts, end: lifter.ir.length, steps };
    });
  }

  /** Physical addresses of the blocks' bytes, page by page: pages that follow each other need not be in frames that do. */
  private ranges(order: BasicBlock[], pages: Map<number, number>): [number, number][] {
    const ranges: [number, number][] = [];
    for (const { ripLow, endLow, instructions } of order) {
      if (instructions.length === 0) continue;
      let low = ripLow;
      for (let left = (endLow - ripLow) >>> 0; left > 0; ) {
        const offset = low & (PAGE_SIZE - 1);
        const length = Math.min(left, PAGE_SIZE - offset);
        const physical = pages.get(low >>> 12)! * PAGE_SIZE + offset;
        ranges.push([physical, physical + length]);
        low = (low + length) | 0;
        left -= length;
      }
    }
    return ranges;
  }
}

/** Addresses (low halves) that a switch leads to inside the region: of targets seen, there may be others. */
function armsOf({ targets, successors }: BasicBlock): number[] {
  return successors.flatMap((block, i) => (block === undefined ? [] : [targets[i * 2]]));
}
