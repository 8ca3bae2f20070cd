/**
 * Direct mode (Design §4): the window of linear addresses that the page tables map 1:1 to RAM, writable, in one piece.
 * Within it translated code reaches memory with one comparison. Looking for it marks its pages dirty, and those looked at
 * accessed, as its use will not.
 *
 * A window found is kept with the state that it depends on (spaces.ts), and the pages of its tables are flagged, so that a store to
 * one of them, however it comes, is told (`written`) and the window looked for anew when it is next asked for. Until the
 * guest flushes translations it may not rely on such a store, so code may run on with the old window.
 */
import { MOST_SPACES, PAGE_SIZE, S_PAGE_FLAGS, S_WALK } from '../state.ts';
import type { Mmu } from './mmu.ts';
import { type AddressSpaces, NO_SPACE } from './spaces.ts';
import { ACCESS_IMPLICIT, ACCESS_READ, ACCESS_WRITE, type WalkContext, walk, walked } from './walk.ts';

/** The same window is always the same object. */
export interface DirectWindow {
  readonly low: number;
  readonly length: number;
}

/** An address space that the guest used: its window, and the pages of the tables. */
interface Space {
  readonly window: DirectWindow;
  readonly tables: ReadonlySet<number>;
  lastUse: number;
}

/** Guests leave page 0 unmapped, some a little more. */
const HIGHEST_START = 0x200000;

/** Page flag: a window's tables are in this page (bit 0: code of decoded blocks; bit 1: of regions). */
const PAGE_HAS_TABLES = 4;

/** Is the page of `address` mapped to itself, writable by the supervisor? Leaves its size in `walked`. */
function identity(context: WalkContext, address: number): boolean {
  // For reading first: no page that does not belong to the window shall become dirty.
  if (!walk(context, address | 0, 0, ACCESS_READ | ACCESS_IMPLICIT)) return false;
  if (walked.high !== 0 || walked.low >>> 0 !== address || walked.guarded) return false;
  return walked.writable || walk(context, address | 0, 0, ACCESS_WRITE | ACCESS_IMPLICIT);
}

export class DirectWindows {
  private readonly mmu: Mmu;
  /** Which of the spaces below is active, and all that else is to be known without TypeScript. */
  private readonly known: AddressSpaces;
  private readonly spaces: (Space | undefined)[] = Array(MOST_SPACES).fill(undefined);
  private uses = 0;
  /** Numbers of the windows that were found. */
  private readonly numbers = new WeakMap<DirectWindow, number>();
  private lastNumber = 0;
  /** Page → how many spaces have tables in it. */
  private readonly tables = new Map<number, number>();

  constructor(mmu: Mmu) {
    this.mmu = mmu;
    this.known = mmu.spaces;
  }

  /** The window of the active address space; length 0 when it has none. `last` is one that may be in use. */
  find(last: DirectWindow): DirectWindow {
    let slot = this.known.find();
    if (slot === NO_SPACE) {
      const space = this.search(last);
      slot = this.freeSlot();
      this.spaces[slot] = space;
      this.known.put(slot, this.numberOf(space.window));
    }
    const space = this.spaces[slot]!;
    space.lastUse = ++this.uses;
    this.known.use(slot);
    return space.window;
  }

  /** A slot that is free, as the space that was used least recently is forgotten if need be. */
  private freeSlot(): number {
    const ages = this.spaces.map((space) => space?.lastUse ?? 0);
    const slot = ages.indexOf(Math.min(...ages));
    this.release(slot);
    return slot;
  }

  private numberOf(window: DirectWindow): number {
    const number = this.numbers.get(window) ?? ++this.lastNumber;
    this.numbers.set(window, number);
    return number;
  }

  /** Is this the window of an address space that is remembered? */
  has(window: DirectWindow): boolean {
    return this.spaces.some((space) => space?.window === window);
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
    const windows = [last, ...this.spaces.flatMap((space) => space?.window ?? [])];
    const same = windows.find((window) => window.low === low && window.length === length);
    for (const page of tables) this.watch(page);
    return { window: same ?? { low, length }, tables, lastUse: 0 };
  }

  private watch(page: number): void {
    const count = this.tables.get(page) ?? 0;
    this.tables.set(page, count + 1);
    if (count > 0) return;
    this.mmu.u8[S_PAGE_FLAGS + page] |= PAGE_HAS_TABLES;
    this.mmu.protectPages();
  }

  /** Forgets the space of a slot, if there is one. */
  private release(slot: number): void {
    const space = this.spaces[slot];
    if (space === undefined) return;
    this.spaces[slot] = undefined;
    this.known.remove(slot);
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
      for (let slot = 0; slot < MOST_SPACES; slot++) if (this.spaces[slot]?.tables.has(page)) this.release(slot);
    }
  }

  /** Forgets all windows. */
  clear(): void {
    for (let slot = 0; slot < MOST_SPACES; slot++) this.release(slot);
  }
}
