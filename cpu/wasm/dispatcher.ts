/**
 * The dispatcher of the core module: finds what stands at RIP in the jump cache, a region or operations (decoded if need be),
 * and runs it.
 * Regions come back to it; handlers tail-call it when a block ends.
 */
import { EXIT_AWAY, EXIT_INTERPRET, EXIT_MISS } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as record from '../record.ts';
import * as state from '../state.ts';
import { TYPE_REGION, TYPE_RUN } from './core-types.ts';
import * as wasm from './encoder.ts';
import { exit } from './handler-emitter.ts';

const ENTRY = 0;
const SKIP_REGION = 1;
const CODE = 2;
const OP_FOUND = 3;
const RIP = 4;

/** Body of lookup(). `atRip`: the function that finds or decodes the block at RIP (BlockCache.atRip), if there is one. */
export function lookupBody(atRip?: number): Uint8Array {
  const out = new wasm.Encoder();
  out.u32(2);
  out.u32(4);
  out.byte(wasm.VALUE_TYPE[op.T_I32]);
  out.u32(1);
  out.byte(wasm.VALUE_TYPE[op.T_I64]);
  lookup(out, atRip);
  out.byte(wasm.END);
  return out.written();
}

function lookup(out: wasm.Encoder, atRip?: number): void {
  out.byte(wasm.LOOP); // $lookup
  out.byte(wasm.VOID);
  out.loadField(state.S_RIP, 8);
  out.localTee(RIP);
  out.byte(op.I32_WRAP_I64);
  out.localTee(ENTRY);
  out.localGet(ENTRY);
  out.i32Const(12);
  out.byte(op.I32_SHR_U);
  out.byte(op.I32_XOR);
  out.i32Const(state.JUMP_SETS - 1);
  out.byte(op.I32_AND);
  out.i32Const(Math.log2(state.JUMP_WAYS * state.JUMP_STRIDE));
  out.byte(op.I32_SHL);
  out.i32Const(state.S_JUMP_CACHE);
  out.byte(op.I32_ADD);
  out.localSet(ENTRY);
  out.byte(wasm.BLOCK); // $found
  out.byte(wasm.VOID);
  out.byte(wasm.LOOP); // $probe
  out.byte(wasm.VOID);
  matches(out);
  out.branch(wasm.BR_IF, 1);
  out.localGet(ENTRY);
  out.i32Const(state.JUMP_STRIDE);
  out.byte(op.I32_ADD);
  out.localTee(ENTRY);
  out.i32Const(state.JUMP_WAYS * state.JUMP_STRIDE - 1);
  out.byte(op.I32_AND);
  out.branch(wasm.BR_IF, 0);
  out.byte(wasm.END);
  // Not in the cache; atRip puts it there.
  if (atRip !== undefined) {
    out.call(atRip);
    out.i32Const(state.S_OPS);
    out.byte(op.I32_GE_U);
    out.branch(wasm.BR_IF, 1);
  }
  exit(out, EXIT_MISS);
  out.byte(wasm.END);
  // A region, unless the last one asked for the interpreter.
  out.localGet(SKIP_REGION);
  out.byte(op.I32_EQZ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_REGION, 4);
  out.localTee(CODE);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.i32Const(0);
  out.i32Const(0);
  out.storeSized(state.S_STALE, 4);
  out.i32Const(0);
  out.localGet(CODE);
  out.byte(wasm.CALL_INDIRECT);
  out.u32(TYPE_REGION);
  out.u32(0);
  out.localTee(CODE);
  out.i32Const(EXIT_INTERPRET);
  out.byte(op.I32_EQ);
  out.localSet(SKIP_REGION);
  out.localGet(CODE);
  out.i32Const(EXIT_AWAY);
  out.byte(op.I32_GT_U);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.localGet(CODE);
  out.byte(wasm.RETURN);
  out.byte(wasm.END);
  out.branch(wasm.BR, 2); // $lookup
  out.byte(wasm.END);
  out.byte(wasm.END);
  out.i32Const(0);
  out.localGet(RIP);
  out.storeSized(state.S_BLOCK_RIP, 8);
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_OP, 4);
  out.localTee(OP_FOUND);
  out.localGet(OP_FOUND);
  out.memory(wasm.I32_LOAD16_U, record.R_HANDLER);
  out.byte(wasm.RETURN_CALL_INDIRECT);
  out.u32(TYPE_RUN);
  out.u32(0);
  out.byte(wasm.END);
  out.byte(wasm.UNREACHABLE);
}

/** i32 on the stack: is ENTRY's that of RIP in the mode? */
function matches(out: wasm.Encoder): void {
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_RIP, 8);
  out.localGet(RIP);
  out.byte(op.I64_EQ);
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_MODE, 4);
  out.loadField(state.S_MODE, 4);
  out.byte(op.I32_EQ);
  out.byte(op.I32_AND);
}
