/**
 * The linear pages that code was fetched from since the jump cache was emptied, with the frames behind them: a hash table
 * in the machine's memory. What the jump cache knows by address holds as long as these are mapped as they were; INVLPG of
 * another page cannot concern it. `add` is compiled ahead of time too (aot/compile.ts).
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

  private get isFull(): boolean {
    return this.i32[S_CODE_PAGE_COUNT >> 2] >= MOST;
  }

  /** Did code come from the page of an address, or from the large page around it? */
  has(low: number, high: number): boolean {
    const page = (low & -PAGE_SIZE) | KEY_USED;
    if (this.isFull || this.holds(page, high) || this.holds(page | KEY_USER, high)) return true;
    const sizes = this.i32[S_CODE_PAGE_SIZES >> 2];
    const holdsLarge = (size: number, kind: number) =>
      (sizes & (1 << kind)) !== 0 && this.holds((low & -size) | KEY_USED | (kind << KEY_SIZE_SHIFT), high);
    return holdsLarge(0x200000, SIZE_2M) || holdsLarge(0x400000, SIZE_4M) || holdsLarge(0x40000000, SIZE_1G);
  }

  /** Are all pages where they were, by the physical address that `translate` now says? */
  areMapped(translate: (low: number, high: number, isUser: boolean) => number): boolean {
    const { i32 } = this;
    if (this.isFull) return false;
    let left = i32[S_CODE_PAGE_COUNT >> 2];
    for (let entry = TABLE; left > 0; entry += WORDS) {
      const key = i32[entry];
      if (key === 0) continue;
      left--;
      if (key & (3 << KEY_SIZE_SHIFT)) continue;
      if (translate(key & -PAGE_SIZE, i32[entry + 1], (key & KEY_USER) !== 0) !== i32[entry + 2] >>> 0) return false;
    }
    return true;
  }

  clear(): void {
    this.i32.fill(0, TABLE, END);
    this.i32[S_CODE_PAGE_COUNT >> 2] = 0;
    this.i32[S_CODE_PAGE_SIZES >> 2] = 0;
  }
}
