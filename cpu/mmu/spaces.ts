/**
 * Address spaces whose direct window is known (direct.ts), as far as a load of CR3 and INVLPG have to know them: by the state
 * that translation depends on, in the machine's memory. Compiled ahead of time too (aot/compile.ts), so that a guest that goes
 * back and forth between a few address spaces needs no TypeScript for it.
 */
import { MOST_SPACES, S_ACTIVE_SPACE, S_CR0, S_CR3, S_CR4, S_EFER, S_SPACES, S_WINDOW_USED } from '../state.ts';
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE } from './walk.ts';

/** Bytes of a slot: what counts of CR0, CR3 (two words), CR4 and EFER; then the number of the window, 0 if the slot is free. */
const SLOT = 32;
const SLOT_WINDOW = 20;

const CR0_MASK = CR0_WP | CR0_PG;
const CR4_MASK = CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP;
const EFER_MASK = EFER_LMA | EFER_NXE;

/** S_WINDOW_USED: nobody uses a window; tables of the one in use have changed. */
const NONE_USED = 0;
const CHANGED = -1;

export const NO_SPACE = -1;

export class AddressSpaces {
  private readonly i32: Int32Array;

  constructor(i32: Int32Array) {
    this.i32 = i32;
  }

  /** The slot of the address space that the registers name, or NO_SPACE. */
  find(): number {
    const { i32 } = this;
    for (let slot = 0; slot < MOST_SPACES; slot++) {
      const at = S_SPACES + slot * SLOT;
      if (
        i32[(at + SLOT_WINDOW) >> 2] !== 0 &&
        i32[(at + 4) >> 2] === i32[S_CR3 >> 2] &&
        i32[(at + 8) >> 2] === i32[(S_CR3 + 4) >> 2] &&
        i32[at >> 2] === (i32[S_CR0 >> 2] & CR0_MASK) &&
        i32[(at + 12) >> 2] === (i32[S_CR4 >> 2] & CR4_MASK) &&
        i32[(at + 16) >> 2] === (i32[S_EFER >> 2] & EFER_MASK)
      )
        return slot;
    }
    return NO_SPACE;
  }

  /** The slot that is active, or NO_SPACE. */
  get active(): number {
    return this.i32[S_ACTIVE_SPACE >> 2] - 1;
  }

  set active(slot: number) {
    this.i32[S_ACTIVE_SPACE >> 2] = slot + 1;
  }

  /** After a load of CR3: can the window in use stay? If not, or if that is not known, TypeScript sees to it. */
  stays(): boolean {
    const { i32 } = this;
    if (i32[S_WINDOW_USED >> 2] === NONE_USED) return true;
    const slot = this.find();
    this.active = slot;
    return slot !== NO_SPACE && i32[(S_SPACES + slot * SLOT + SLOT_WINDOW) >> 2] === i32[S_WINDOW_USED >> 2];
  }

  /** After INVLPG: are the tables that the window in use follows from as they were? */
  get isUnchanged(): boolean {
    return this.i32[S_WINDOW_USED >> 2] !== CHANGED;
  }

  // --- TypeScript only ------------------------------------------------------------------------------------------------

  /** Has a slot stand for the address space that the registers name, whose window has this number. */
  put(slot: number, window: number): void {
    const { i32 } = this;
    const at = S_SPACES + slot * SLOT;
    i32[at >> 2] = i32[S_CR0 >> 2] & CR0_MASK;
    i32[(at + 4) >> 2] = i32[S_CR3 >> 2];
    i32[(at + 8) >> 2] = i32[(S_CR3 + 4) >> 2];
    i32[(at + 12) >> 2] = i32[S_CR4 >> 2] & CR4_MASK;
    i32[(at + 16) >> 2] = i32[S_EFER >> 2] & EFER_MASK;
    i32[(at + SLOT_WINDOW) >> 2] = window;
  }

  /** The window of a slot is now in use. */
  use(slot: number): void {
    this.active = slot;
    this.i32[S_WINDOW_USED >> 2] = this.i32[(S_SPACES + slot * SLOT + SLOT_WINDOW) >> 2];
  }

  remove(slot: number): void {
    const { i32 } = this;
    i32[(S_SPACES + slot * SLOT + SLOT_WINDOW) >> 2] = 0;
    if (slot !== this.active) return;
    this.active = NO_SPACE;
    i32[S_WINDOW_USED >> 2] = CHANGED;
  }
}
