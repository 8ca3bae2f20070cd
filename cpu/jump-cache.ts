/**
 * The jump cache as TypeScript fills it: from (RIP, mode) to what runs there. Generated code probes the entries of a set
 * in order (wasm/dispatcher.ts); the newest stands first. Compiled ahead of time too (aot/compile.ts).
 */
import { JUMP_MODE, JUMP_OP, JUMP_REGION, JUMP_RIP, JUMP_SETS, JUMP_STRIDE, JUMP_WAYS, S_JUMP_CACHE } from './state.ts';

/** Of an entry and of a set, in words. */
const ENTRY_WORDS = JUMP_STRIDE >> 2;
const SET_WORDS = JUMP_WAYS * ENTRY_WORDS;
const FIRST = S_JUMP_CACHE >> 2;
const END = FIRST + JUMP_SETS * SET_WORDS;
const NOT_FOUND = -1;

export class JumpCache {
  private readonly i32: Int32Array;

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  /** Empties the cache (the mapping of addresses changed). */
  flush(): void {
    this.i32.fill(0, FIRST, END);
  }

  /** Word index of the set of an address. */
  private set(ripLow: number): number {
    return FIRST + ((ripLow ^ (ripLow >>> 12)) & (JUMP_SETS - 1)) * SET_WORDS;
  }

  /** Word index of the entry of an address, or NOT_FOUND. */
  private find(ripLow: number, ripHigh: number, mode: number): number {
    const { i32 } = this;
    const set = this.set(ripLow);
    for (let entry = set; entry < set + SET_WORDS; entry += ENTRY_WORDS)
      if (
        i32[entry + (JUMP_RIP >> 2)] === ripLow &&
        i32[entry + (JUMP_RIP >> 2) + 1] === ripHigh &&
        i32[entry + (JUMP_MODE >> 2)] === mode
      )
        return entry;
    return NOT_FOUND;
  }

  /** Enters operations and region (table index, 0 for none) of an address; the set's oldest entry gives way. */
  enter(ripLow: number, ripHigh: number, mode: number, op: number, region: number): void {
    const { i32 } = this;
    const entry = this.set(ripLow);
    const old = this.find(ripLow, ripHigh, mode);
    i32.copyWithin(entry + ENTRY_WORDS, entry, old === NOT_FOUND ? entry + SET_WORDS - ENTRY_WORDS : old);
    i32[entry + (JUMP_RIP >> 2)] = ripLow;
    i32[entry + (JUMP_RIP >> 2) + 1] = ripHigh;
    i32[entry + (JUMP_MODE >> 2)] = mode;
    i32[entry + (JUMP_OP >> 2)] = op;
    i32[entry + (JUMP_REGION >> 2)] = region;
  }

  /** Sets the region of an address, if the address has an entry. @returns whether it has */
  setRegion(ripLow: number, ripHigh: number, mode: number, region: number): boolean {
    const entry = this.find(ripLow, ripHigh, mode);
    if (entry === NOT_FOUND) return false;
    this.i32[entry + (JUMP_REGION >> 2)] = region;
    return true;
  }

  /** Forgets an address whose operations are gone. */
  forget(ripLow: number, ripHigh: number, mode: number): void {
    const entry = this.find(ripLow, ripHigh, mode);
    if (entry !== NOT_FOUND) this.i32.fill(0, entry, entry + ENTRY_WORDS);
  }
}
