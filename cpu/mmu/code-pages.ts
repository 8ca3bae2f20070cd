/**
 * The linear pages that code was fetched from since the jump cache was emptied, with the frames behind them: a hash table
 * in the machine's memory. What the jump cache knows by address holds as long as these are mapped as they were; INVLPG of
 * another page cannot concern it. Compiled ahead of time too (aot/compile.ts).
 */
import { CODE_PAGES, PAGE_SIZE, S_CODE_PAGE_COUNT, S_CODE_PAGE_SIZES, S_CODE_PAGES } from '../state.ts';

/** An entry: word of a key, the address' upper half, the frame. A key is a page's address with these in its low bits. */
const ENTRY_SHIFT = 4;
const KEY_USED = 1;
/** It was fetched for ring 3. */
const KEY_USER = 2;
/** Size of the page: for a part of a large page there is an entry of that one, too. */
const KEY_SIZE_SHIFT = 2;
const SIZE_2M = 1;
const SIZE_4M = 2;
const SIZE_1G = 3;
/** More entries are not kept: then all code is taken to have moved. */
const MOST = CODE_PAGES >> 1;

export const NO_PAGE = 0;

const TABLE = S_CODE_PAGES >> 2;
const WORDS = 1 << (ENTRY_SHIFT - 2);
const END = TABLE + CODE_PAGES * WORDS;

export class CodePages {
  private readonly i32: Int32Array;

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  /**
   * Notes a fetch: `size` is that of the page in the tables. A page that is there already keeps its first frame: what was
   * found through that one may still be in use.
   */
  add(low: number, high: number, isUser: boolean, physical: number, size: number): void {
    this.enter((low & -PAGE_SIZE) | (isUser ? KEY_USED | KEY_USER : KEY_USED), high, physical & -PAGE_SIZE);
    if (size === PAGE_SIZE) return;
    const kind = size === 0x200000 ? SIZE_2M : size === 0x400000 ? SIZE_4M : SIZE_1G;
    this.i32[S_CODE_PAGE_SIZES >> 2] |= 1 << kind;
    this.enter((low & -size) | KEY_USED | (kind << KEY_SIZE_SHIFT), high, 0);
  }

  private enter(key: number, high: number, frame: number): void {
    const { i32 } = this;
    if (i32[S_CODE_PAGE_COUNT >> 2] >= MOST) return;
    const entry = this.entry(key, high);
    if (i32[entry] !== 0) return;
    i32[entry] = key;
    i32[entry + 1] = high;
    i32[entry + 2] = frame;
    i32[S_CODE_PAGE_COUNT >> 2]++;
  }

  /** Word index of the entry of a key, or of the free one where it would be. */
  private entry(key: number, high: number): number {
    const { i32 } = this;
    let at = (key ^ (key >>> 12) ^ (key >>> 21)) & (CODE_PAGES - 1);
    while (i32[TABLE + at * WORDS] !== 0 && !(i32[TABLE + at * WORDS] === key && i32[TABLE + at * WORDS + 1] === high))
      at = (at + 1) & (CODE_PAGES - 1);
    return TABLE + at * WORDS;
  }

  private holds(key: number, high: number): boolean {
    return this.i32[this.entry(key, high)] !== 0;
  }

  get isFull(): boolean {
    return this.i32[S_CODE_PAGE_COUNT >> 2] >= MOST;
  }

  /** Did code come from the page of an address, or from the large page around it? */
  has(low: number, high: number): boolean {
    const page = (low & -PAGE_SIZE) | KEY_USED;
    if (this.isFull || this.holds(page, high) || this.holds(page | KEY_USER, high)) return true;
    return (
      this.hasLarge(low, high, 0x200000, SIZE_2M) ||
      this.hasLarge(low, high, 0x400000, SIZE_4M) ||
      this.hasLarge(low, high, 0x40000000, SIZE_1G)
    );
  }

  private hasLarge(low: number, high: number, size: number, kind: number): boolean {
    if (!(this.i32[S_CODE_PAGE_SIZES >> 2] & (1 << kind))) return false;
    return this.holds((low & -size) | KEY_USED | (kind << KEY_SIZE_SHIFT), high);
  }

  /** The first page of 4 KiB, and the one behind another: word indices of their entries, or NO_PAGE. */
  first(): number {
    return this.i32[S_CODE_PAGE_COUNT >> 2] === 0 ? NO_PAGE : this.next(TABLE - WORDS);
  }

  next(page: number): number {
    const { i32 } = this;
    for (let entry = page + WORDS; entry < END; entry += WORDS)
      if (i32[entry] !== 0 && !(i32[entry] & (3 << KEY_SIZE_SHIFT))) return entry;
    return NO_PAGE;
  }

  lowOf(page: number): number {
    return this.i32[page] & -PAGE_SIZE;
  }

  highOf(page: number): number {
    return this.i32[page + 1];
  }

  isUser(page: number): boolean {
    return (this.i32[page] & KEY_USER) !== 0;
  }

  /** Physical address that the page was at when it was noted. */
  frameOf(page: number): number {
    return this.i32[page + 2] >>> 0;
  }

  clear(): void {
    this.i32.fill(0, TABLE, END);
    this.i32[S_CODE_PAGE_COUNT >> 2] = 0;
    this.i32[S_CODE_PAGE_SIZES >> 2] = 0;
  }
}
