/** Debug registers and breakpoints (Intel SDM vol. 3B ch. 18): instructions and data; I/O breakpoints are not modelled. */
import { S_DR } from '../state.ts';

export const DR6_BD = 1 << 13;
export const DR6_BS = 1 << 14;
export const DR6_BT = 1 << 15;
export const DR7_GD = 1 << 13;

const DR6_FIXED = 0xffff0ff0 | 0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff23ff | 0;
/** L0…G3: any breakpoint on. */
const DR7_ENABLES = 0xff;

/** What a breakpoint is about: R/W field of DR7, as bits of a set. */
export const BREAK_EXECUTE = 1 << 0;
export const BREAK_ON_WRITE = (1 << 1) | (1 << 3);
export const BREAK_ON_READ = 1 << 3;

/** Bytes by the LEN field of DR7. */
const LENGTHS = [1, 2, 8, 4];

/** DR6 as it reads after `value` was written. */
export function dr6Image(value: number): number {
  return (value & DR6_WRITABLE) | DR6_FIXED;
}

export function dr7Image(value: number): number {
  return (value & DR7_WRITABLE) | DR7_FIXED;
}

/** Is any breakpoint on? */
export function hasBreakpoints(i32: Int32Array): boolean {
  return (i32[(S_DR + 7 * 8) >> 2] & DR7_ENABLES) !== 0;
}

/** The breakpoints of `kinds` that an access to `bytes` at a linear address meets, as bits of DR6. */
export function breakpointsAt(i32: Int32Array, kinds: number, low: number, high: number, bytes: number): number {
  const dr7 = i32[(S_DR + 7 * 8) >> 2];
  let hits = 0;
  for (let n = 0; n < 4; n++) {
    if (!((dr7 >> (2 * n)) & 3) || !((kinds >> ((dr7 >> (16 + 4 * n)) & 3)) & 1)) continue;
    const length = LENGTHS[(dr7 >> (18 + 4 * n)) & 3];
    const at = (S_DR + n * 8) >> 2;
    const start = i32[at] & -length;
    const meets = (low - start) >>> 0 < length || (start - low) >>> 0 < bytes;
    if (meets && i32[at + 1] === high) hits |= 1 << n;
  }
  return hits;
}
