/**
 * Checks of an access through a segment outside 64-bit mode (Intel SDM vol. 3A 5.3–5.5): null and absent segments,
 * type and limit. Flat segments (SEGMENT_CHECKED = 0) need none.
 */
import type { Cpu } from '../cpu.ts';
import { SEG_CS, SEG_SS } from '../decode/insn.ts';
import { raise, VECTOR_GP, VECTOR_SS } from '../fault.ts';
import { MODE_PROTECTED } from '../mode.ts';
import { S_MODE, SEGMENT_ATTR, SEGMENT_CHECKED, SEGMENT_LIMIT, segmentOffset } from '../state.ts';
import { TYPE_CODE, TYPE_EXPAND_DOWN, TYPE_READABLE, TYPE_WRITABLE } from './descriptors.ts';
import { ATTR_DB, ATTR_PRESENT } from './mode-word.ts';

/** Checks `bytes` at `offset` (32 bits) of segment `n`. @throws GuestFault #SS(0) for SS, otherwise #GP(0). */
export function checkSegmentAccess(cpu: Cpu, n: number, offset: number, bytes: number, write: boolean): void {
  const at = segmentOffset(n) >> 2;
  // A flat code segment is no more writable than any other.
  if (cpu.i32[at + (SEGMENT_CHECKED >> 2)] === 0 && !(write && n === SEG_CS)) return;
  if (!allows(cpu, at, offset >>> 0, bytes, write)) raise(n === SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
}

function allows(cpu: Cpu, at: number, offset: number, bytes: number, write: boolean): boolean {
  const attributes = cpu.i32[at + (SEGMENT_ATTR >> 2)];
  const limit = cpu.i32[at + (SEGMENT_LIMIT >> 2)] >>> 0;
  const last = offset + bytes - 1;
  if (!(cpu.i32[S_MODE >> 2] & MODE_PROTECTED)) return last <= limit;
  if (!(attributes & ATTR_PRESENT)) return false;
  if (attributes & TYPE_CODE) return !write && (attributes & TYPE_READABLE) !== 0 && last <= limit;
  if (write && !(attributes & TYPE_WRITABLE)) return false;
  if (attributes & TYPE_EXPAND_DOWN) return offset > limit && last <= (attributes & ATTR_DB ? 0xffffffff : 0xffff);
  return last <= limit;
}
