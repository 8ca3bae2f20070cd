/**
 * Direct mode (Design §4): finds the window of linear addresses that the page tables map 1:1 to RAM, writable, in one
 * piece. Within it translated code reaches memory with one comparison. Marks the window's pages accessed and dirty, as
 * its use will not.
 */
import { ACCESS_IMPLICIT, ACCESS_WRITE, type WalkContext, walk, walked } from './walk.ts';

/** Memory whose size is known. */
interface Ram extends WalkContext {
  readonly ramSize: number;
}

export interface DirectWindow {
  low: number;
  length: number;
}

/** Guests leave page 0 unmapped, some a little more. */
const HIGHEST_START = 0x200000;
const PAGE_SIZE = 4096;

/** Is the page of `address` mapped to itself, writable by the supervisor? Leaves its size in `walked`. */
function identity(context: Ram, address: number): boolean {
  if (!walk(context, address | 0, 0, ACCESS_WRITE | ACCESS_IMPLICIT)) return false;
  return walked.high === 0 && walked.low >>> 0 === address && walked.writable && !walked.guarded;
}

/** The window of the address space that is active now; length 0 when there is none. */
export function findDirectWindow(context: Ram): DirectWindow {
  let low = 0;
  while (low < HIGHEST_START && !identity(context, low)) low += PAGE_SIZE;
  let end = low;
  while (end < context.ramSize && identity(context, end)) end += walked.pageSize - (end & (walked.pageSize - 1));
  return { low, length: Math.max(0, Math.min(end, context.ramSize) - low) };
}
