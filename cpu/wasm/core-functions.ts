/** The small functions of the core module: slow memory path and evaluation of lazy flags of any kind. */

import { CANNOT } from '../exits.ts';
import { IrBuffer } from '../ir/builder.ts';
import { FLAGS_ALL, FlagTracker, flagBits } from '../ir/flags.ts';
import * as op from '../ir/ops.ts';
import { PLAIN_FAULTED } from '../mmu/mmu.ts';
import * as state from '../state.ts';
import {
  CORE_TYPES,
  IMPORT_HELPER,
  IMPORT_PORT_IN,
  IMPORT_PORT_OUT,
  IMPORT_SLOW_LOAD,
  IMPORT_SLOW_STORE,
  TYPE_FLAGS,
  TYPE_PORT_IN,
  TYPE_PORT_OUT,
  TYPE_RUN,
  TYPE_SLOW,
} from './core-types.ts';
import { IrEmitter, LocalPool } from './emitter.ts';
import * as wasm from './encoder.ts';

/** Local of the slow path's result. */
const RESULT = 2;

export interface CoreFunction {
  type: number;
  body: Uint8Array;
  exportAs?: string;
}

/** Emits expressions over fields of the state. */
class FieldEmitter extends IrEmitter {
  result(n: number): void {
    this.countUses(1, n + 1);
    this.mark(n);
    this.value(n);
  }

  private mark(n: number): void {
    const { ir } = this;
    if (this.uses[n]++ > 0) return;
    for (const operand of [ir.a[n], ir.b[n], ir.c[n]]) if (operand !== 0) this.mark(operand);
  }

  protected read(n: number): void {
    this.out.loadField(this.ir.imm[n], this.ir.imm2[n]);
  }

  protected root(): void {}
}

const KINDS = [
  state.CC_EXPLICIT,
  state.CC_RESULT,
  state.CC_ADD,
  state.CC_SUB,
  state.CC_LOGIC,
  state.CC_INC,
  state.CC_DEC,
];

/** A function of no parameters that computes `build(kind, a, b, result)` for the kind of the lazy flags in the state. */
function byKind(
  build: (ir: IrBuffer, kind: number, a: number, b: number, result: number) => number,
  exportAs?: string,
): CoreFunction {
  const out = new wasm.Encoder();
  const locals = new LocalPool();
  const ir = new IrBuffer();
  const emitter = new FieldEmitter(ir, out, locals);
  for (let i = 0; i < KINDS.length; i++) {
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
  }
  out.loadField(state.S_CC_OP, 4);
  out.byte(wasm.BR_TABLE);
  out.u32(KINDS.length - 1);
  for (let i = 0; i < KINDS.length; i++) out.u32(i);
  for (const kind of KINDS) {
    out.byte(wasm.END);
    ir.clear();
    const field = (offset: number) => ir.add(op.FIELD_READ, op.T_I64, 0, 0, 0, offset, 8);
    emitter.result(build(ir, kind, field(state.S_CC_A), field(state.S_CC_B), field(state.S_CC_RES)));
    out.byte(wasm.RETURN);
  }
  out.byte(0x00); // unreachable
  out.byte(wasm.END);
  const body = new wasm.Encoder();
  locals.declare(body, 0);
  body.raw(out.written());
  return exportAs === undefined
    ? { type: TYPE_FLAGS, body: body.written() }
    : { type: TYPE_FLAGS, body: body.written(), exportAs };
}

/** @param plain a function that tries it first (Mmu.loadPlain, storePlain: → PLAIN_*); otherwise `target` does */
function slowPath(target: number, plain: number | undefined): CoreFunction {
  const out = new wasm.Encoder();
  out.u32(1);
  out.u32(1);
  out.byte(wasm.VALUE_TYPE[op.T_I32]);
  out.i32Const(0);
  out.localGet(0);
  out.storeSized(state.S_SLOW_ADDRESS, 8);
  if (plain !== undefined) {
    out.localGet(1);
    out.call(plain);
    out.localTee(RESULT);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.localGet(RESULT);
    out.i32Const(PLAIN_FAULTED);
    out.byte(op.I32_EQ);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
  }
  out.localGet(1);
  out.call(target);
  out.byte(wasm.END);
  return { type: TYPE_SLOW, body: out.written() };
}

/** An imported function under a name of the core's, as regions' table takes only WebAssembly's own functions. */
function forward(target: number, type: number, exportAs: string): CoreFunction {
  const out = new wasm.Encoder();
  out.u32(0);
  for (let i = 0; i < CORE_TYPES[type].parameters.length; i++) out.localGet(i);
  out.call(target);
  out.byte(wasm.END);
  return { type, body: out.written(), exportAs };
}

/** Calls a function that was compiled ahead of time with what is on the stack: its result in RESULT; if it can, `then`. */
export function tryCompiled(out: wasm.Encoder, target: number, result: number, then: () => void): void {
  out.i32Const(0);
  out.i32Const(0);
  out.storeSized(state.S_LEFT, 4);
  out.call(target);
  out.localTee(result);
  out.i32Const(CANNOT);
  out.byte(op.I32_NE);
  out.loadField(state.S_LEFT, 4);
  out.byte(op.I32_EQZ);
  out.byte(op.I32_AND);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  then();
  out.byte(wasm.END);
}

/** `step(op)` has the helper of a record execute it: → HELPER_* or EXIT_*. */
function step(compiled: number | undefined): CoreFunction {
  if (compiled === undefined) return forward(IMPORT_HELPER, TYPE_RUN, 'step');
  const out = new wasm.Encoder();
  out.u32(1);
  out.u32(1);
  out.byte(wasm.VALUE_TYPE[op.T_I32]);
  out.localGet(0);
  tryCompiled(out, compiled, 1, () => {
    out.localGet(1);
    out.byte(wasm.RETURN);
  });
  out.localGet(0);
  out.call(IMPORT_HELPER);
  out.byte(wasm.END);
  return { type: TYPE_RUN, body: out.written(), exportAs: 'step' };
}

/** Functions that were compiled ahead of time, which are tried before TypeScript. */
export interface CompiledFunctions {
  /** Memory accesses where only the TLB lacks a page (Mmu.loadPlain, storePlain, fill). */
  load: number;
  store: number;
  fill: number;
  /** Helpers and exceptions (helpers/compiled.ts). */
  helper: number;
  fault: number;
}

/** Without code that fills the TLB regions leave instead. */
function cannotFill(): CoreFunction {
  const out = new wasm.Encoder();
  out.u32(0);
  out.i32Const(0);
  out.byte(wasm.END);
  return { type: TYPE_RUN, body: out.written(), exportAs: 'fill' };
}

/** In the order of the FUNCTION_* indices. */
export function coreFunctions(compiled?: CompiledFunctions): CoreFunction[] {
  const conditions = Array.from({ length: 8 }, (_, test) =>
    byKind((ir, kind, a, b, result) => {
      const tracker = new FlagTracker(ir);
      tracker.write(kind, a, b, result);
      return tracker.condition(test * 2);
    }),
  );
  const flags = byKind((ir, kind, a, b, result) => flagBits(ir, kind, a, b, result, FLAGS_ALL), 'flags');
  return [
    slowPath(IMPORT_SLOW_LOAD, compiled?.load),
    slowPath(IMPORT_SLOW_STORE, compiled?.store),
    ...conditions,
    flags,
    step(compiled?.helper),
    forward(IMPORT_PORT_IN, TYPE_PORT_IN, 'portIn'),
    forward(IMPORT_PORT_OUT, TYPE_PORT_OUT, 'portOut'),
    compiled === undefined ? cannotFill() : forward(compiled.fill, TYPE_RUN, 'fill'),
  ];
}
