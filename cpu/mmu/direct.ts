/**
 * Direct mode (Design §4): the window of linear addresses that the page tables map 1:1 to RAM, writable, in one piece.
 * Within it translated code reaches memory with one comparison. Looking for it marks its pages accessed and dirty, as its
 * use will not.
 *
 * A window found is kept with the state that it depends on, and the pages of its tables are flagged, so that a store to
 * one of them, however it comes, is told (`written`) and the window looked for anew when it is next asked for. Until the
 * guest flushes translations it may not rely on such a store, so code may run on with the old window.
 */
import { PAGE_SIZE, S_CR0, S_CR3, S_CR4, S_EFER, S_PAGE_FLAGS, S_WALK } from '../state.ts';
import type { Mmu } from './mmu.ts';
import {
  ACCESS_IMPLICIT,
  ACCESS_WRITE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  type WalkContext,
  walk,
  walked,
} from './walk.ts';

/** The same window is always the same object. */
export interface DirectWindow {
  readonly low: number;
  readonly length: number;
}

/** An address space that the guest used: what its translation depends on, its window, and the pages of the tables. */
interface Space {
  readonly registers: readonly number[];
  readonly window: DirectWindow;
  readonly tables: ReadonlySet<number>;
}

/** Guests leave page 0 unmapped, some a little more. */
const HIGHEST_START = 0x200000;
/** Address spaces that are remembered. */
const MOST_SPACES = 8;
/** State that translation depends on, besides the tables: word and its bits that count. */
const REGISTERS: readonly (readonly [word: number, mask: number])[] = [
  [S_CR0 >> 2, CR0_WP | CR0_PG],
  [S_CR3 >> 2, -1],
  [(S_CR3 >> 2) + 1, -1],
  [S_CR4 >> 2, CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP],
  [S_EFER >> 2, EFER_LMA | EFER_NXE],
];

/** Page flag: a window's tables are in this page (bit 0: code of decoded blocks; bit 1: of regions). */
const PAGE_HAS_TABLES = 4;

/** Is the page of `address` mapped to itself, writable by the supervisor? Leaves its size in `walked`. */
function identity(context: WalkContext, address: number): boolean {
  if (!walk(context, address | 0, 0, ACCESS_WRITE | ACCESS_IMPLICIT)) return false;
  return walked.high === 0 && walked.low >>> 0 === address && walked.writable && !walked.guarded;
}

export class DirectWindows {
  private readonly mmu: Mmu;
  /** The last one used stands first. */
  private spaces: Space[] = [];
  /** The one that was active when the registers were last looked at; undefined: it is not known. */
  private active: Space | undefined;
  /** Page → how many spaces have tables in it. */
  private readonly tables = new Map<number, number>();

  constructor(mmu: Mmu) {
    this.mmu = mmu;
  }

  /** The window of the active address space if it is known; undefined: `find` must look. */
  get known(): DirectWindow | undefined {
    this.active = this.spaces.find((space) => this.isActive(space));
    return this.active?.window;
  }

  /** Have tables of the address space in use changed, while the registers stayed the same? */
  get changed(): boolean {
    return this.active === undefined;
  }

  private isActive(space: Space): boolean {
    const { i32 } = this.mmu;
    for (let i = 0; i < REGISTERS.length; i++) {
      const [word, mask] = REGISTERS[i];
      if (space.registers[i] !== (i32[word] & mask)) return false;
    }
    return true;
  }

  /** The window of the active address space; length 0 when it has none. `last` is one that may be in use. */
  find(last: DirectWindow): DirectWindow {
    const at = this.spaces.findIndex((space) => this.isActive(space));
    const [space] = at < 0 ? [this.search(last)] : this.spaces.splice(at, 1);
    this.spaces.unshift(space);
    this.active = space;
    if (this.spaces.length > MOST_SPACES) this.release(this.spaces.pop()!);
    return space.window;
  }

  /** Is this the window of an address space that is remembered? */
  has(window: DirectWindow): boolean {
    return this.spaces.some((space) => space.window === window);
  }

  private search(last: DirectWindow): Space {
    const { mmu } = this;
    const tables = new Set<number>();
    const isDirect = (address: number) => {
      const found = identity(mmu, address);
      // Also of the walk that ends the window: entries that appear there make it longer.
      for (let level = walked.top; level >= walked.last; level--) {
        const page = mmu.i32[(S_WALK >> 2) + level] >>> 12;
        if (page * PAGE_SIZE < mmu.ramSize) tables.add(page);
      }
      return found;
    };
    let low = 0;
    while (low < HIGHEST_START && !isDirect(low)) low += PAGE_SIZE;
    let end = low;
    while (end < mmu.ramSize && isDirect(end)) end += walked.pageSize - (end & (walked.pageSize - 1));
    const length = Math.max(0, Math.min(end, mmu.ramSize) - low);
    const same = [last, ...this.spaces.map(({ window }) => window)].find((w) => w.low === low && w.length === length);
    for (const page of tables) this.watch(page);
    const registers = REGISTERS.map(([word, mask]) => mmu.i32[word] & mask);
    return { registers, window: same ?? { low, length }, tables };
  }

  private watch(page: number): void {
    const count = this.tables.get(page) ?? 0;
    this.tables.set(page, count + 1);
    if (count > 0) return;
    this.mmu.u8[S_PAGE_FLAGS + page] |= PAGE_HAS_TABLES;
    this.mmu.protectPage(page * PAGE_SIZE);
  }

  private release(space: Space): void {
    if (space === this.active) this.active = undefined;
    for (const page of space.tables) {
      const count = this.tables.get(page)! - 1;
      if (count > 0) this.tables.set(page, count);
      else {
        this.tables.delete(page);
        this.mmu.u8[S_PAGE_FLAGS + page] &= ~PAGE_HAS_TABLES;
      }
    }
  }

  /** Bytes of RAM changed: forgets the windows whose tables are in their pages. */
  written(address: number, length: number): void {
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) {
      if (!this.tables.has(page)) continue;
      for (const space of this.spaces) if (space.tables.has(page)) this.release(space);
      this.spaces = this.spaces.filter(({ tables }) => !tables.has(page));
    }
  }

  /** Forgets all windows. */
  clear(): void {
    for (const space of this.spaces) this.release(space);
    this.spaces = [];
  }
}
