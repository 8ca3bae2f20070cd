/**
 * Segment descriptors, packed as in a GDT (Intel SDM vol. 3 §3.4.5), and the segment state they load.
 */

import type { SegmentState } from './boot-state.ts';

/** 32-bit flat code: execute/read, DPL 0, 4 KiB granularity. */
export const CODE32 = 0x00cf9a000000ffffn;
/** 32-bit flat data: read/write, DPL 0, 4 KiB granularity. */
export const DATA32 = 0x00cf92000000ffffn;
/** 16-bit conforming code, 64 KiB. */
export const CODE16 = 0x00009e000000ffffn;
/** 16-bit data, 64 KiB. */
export const DATA16 = 0x000092000000ffffn;
/** 64-bit code: execute/read, accessed, DPL 0. */
export const CODE64_ACCESSED = 0x00af9b000000ffffn;
/** Flat data: read/write, accessed, DPL 0. */
export const DATA32_ACCESSED = 0x00cf93000000ffffn;
/** Busy TSS at 0. */
export const TSS_BUSY = 0x008f8b000000ffffn;

/** A TR that points nowhere, as after RESET: busy TSS, base 0, limit 0xFFFF. */
export const RESET_TR: SegmentState = { selector: 0, base: 0, limit: 0xffff, access: 0x8b };
/** An LDTR as after RESET. */
export const RESET_LDTR: SegmentState = { selector: 0, base: 0, limit: 0xffff, access: 0x82 };

/** @returns the state of a segment register that was loaded from `descriptor` by `selector`; CPUs set the accessed bit. */
export function segmentState(descriptor: bigint, selector: number): SegmentState {
  const low = Number(descriptor & 0xffffffffn);
  const high = Number(descriptor >> 32n);
  const units = (low & 0xffff) | (high & 0x000f0000);
  const access = ((high >>> 8) & 0xf0ff) | ((high >>> 8) & 0x10 ? 1 : 0);
  return {
    selector,
    base: ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0,
    limit: (high & 0x00800000 ? units * 4096 + 4095 : units) >>> 0,
    access,
  };
}

/** @returns the bytes of a GDT with these descriptors. */
export function packDescriptors(descriptors: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(descriptors.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, descriptor] of descriptors.entries()) {
    view.setBigUint64(index * 8, descriptor, true);
  }
  return bytes;
}
