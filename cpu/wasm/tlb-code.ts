/** How generated code looks addresses up in the software TLB (state.ts: S_TLB_*): the same in handlers and in regions. */
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import type * as wasm from './encoder.ts';

/**
 * Leaves the TLB entry of the address in local `address` (i64) in local `entry` (i32), and two i64 on the stack that are
 * equal if it allows an access of `size` bytes within one page. `tag`: TLB_READ or TLB_WRITE.
 */
export function probeTlb(out: wasm.Encoder, address: number, entry: number, size: number, tag: number): void {
  out.localGet(address);
  out.i64Const(7, 0);
  out.byte(op.I64_SHR_U);
  out.byte(op.I32_WRAP_I64);
  out.i32Const((state.TLB_ENTRIES - 1) * state.TLB_STRIDE);
  out.byte(op.I32_AND);
  out.loadField(state.S_TLB_BASE, 4);
  out.byte(op.I32_ADD);
  out.localTee(entry);
  out.loadSized(tag, 8);
  out.localGet(address);
  if (size > 1) {
    out.i64Const(size - 1, 0);
    out.byte(op.I64_ADD);
  }
  out.i64Const(-state.PAGE_SIZE, -1);
  out.byte(op.I64_AND);
}

/** i32 on the stack: where an address is in RAM, by its TLB entry. */
export function tlbAddress(out: wasm.Encoder, address: number, entry: number): void {
  out.localGet(address);
  out.byte(op.I32_WRAP_I64);
  out.localGet(entry);
  out.loadSized(state.TLB_ADDEND, 4);
  out.byte(op.I32_ADD);
}
