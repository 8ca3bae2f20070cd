/**
 * Prints IR as WebAssembly code. Pure nodes are emitted where their value is used, as expression trees; a node used
 * more than once keeps its value in a temporary local. Roots are emitted in program order. What a state read, a write
 * or a memory access becomes is left to the two users: interpreter handlers and regions.
 */
import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import { type Encoder, SELECT_OP, V128_CONST, VALUE_TYPE } from './encoder.ts';

/** Hands out locals of a function by type and takes them back, so that few are needed. */
export class LocalPool {
  /** Type (T_*) of each local of the function, parameters first. */
  readonly types: number[] = [];
  private readonly free: number[][] = [[], [], [], [], [], []];

  clear(): void {
    this.types.length = 0;
    for (const list of this.free) list.length = 0;
  }

  add(type: number): number {
    return this.types.push(type) - 1;
  }

  take(type: number): number {
    const list = this.free[type];
    return list.length > 0 ? list.pop()! : this.add(type);
  }

  release(local: number): void {
    this.free[this.types[local]].push(local);
  }

  /** Writes the declaration of the locals behind the first `parameters`. */
  declare(out: Encoder, parameters: number): void {
    const runs: [number, number][] = [];
    for (const type of this.types.slice(parameters)) {
      if (runs.length > 0 && runs[runs.length - 1][1] === type) runs[runs.length - 1][0]++;
      else runs.push([1, type]);
    }
    out.u32(runs.length);
    for (const [count, type] of runs) {
      out.u32(count);
      out.byte(VALUE_TYPE[type]);
    }
  }
}

const NO_LOCAL = -1;

export abstract class IrEmitter {
  readonly ir: IrBuffer;
  readonly out: Encoder;
  readonly locals: LocalPool;
  /** Uses of each node that are still to come. */
  protected uses = new Int32Array(1024);
  /** Local that holds a node's value, or NO_LOCAL. */
  protected local = new Int32Array(1024);

  constructor(ir: IrBuffer, out: Encoder, locals: LocalPool) {
    this.ir = ir;
    this.out = out;
    this.locals = locals;
  }

  /** Counts uses in nodes `first` … `end - 1`; nodes whose value nobody wants count none. */
  protected countUses(first: number, end: number): void {
    const { ir } = this;
    if (this.uses.length < ir.op.length) {
      this.uses = new Int32Array(ir.op.length);
      this.local = new Int32Array(ir.op.length);
    }
    const { uses } = this;
    uses.fill(0, first, end);
    this.local.fill(NO_LOCAL, first, end);
    for (let n = end - 1; n >= first; n--) {
      if (uses[n] === 0 && !this.isRoot(ir.op[n])) continue;
      if (ir.a[n] !== 0) uses[ir.a[n]]++;
      if (ir.b[n] !== 0) uses[ir.b[n]]++;
      if (ir.c[n] !== 0) uses[ir.c[n]]++;
    }
  }

  /** Emits the roots among nodes `first` … `end - 1`. */
  emitRange(first: number, end: number): void {
    for (let n = first; n < end; n++) if (this.isRoot(this.ir.op[n])) this.root(n);
  }

  /** Puts the value of node `n` on the stack; this is one of its uses. */
  value(n: number): void {
    const { ir, out } = this;
    const left = --this.uses[n];
    const kept = this.local[n];
    if (kept !== NO_LOCAL) {
      out.localGet(kept);
      if (left === 0) this.drop(n);
      return;
    }
    const opcode = ir.op[n];
    if (opcode === op.CONST) {
      if (ir.type[n] === op.T_I64) out.i64Const(ir.imm[n], ir.imm2[n]);
      else out.i32Const(ir.imm[n]);
      return;
    }
    if (isStateRead(opcode)) {
      // A read stays a read until a write comes between (see `settle`).
      this.read(n);
      return;
    }
    this.pure(n);
    if (left > 0) {
      const local = this.locals.take(ir.type[n]);
      this.local[n] = local;
      out.localTee(local);
    }
  }

  /** Emits a pure operation with its operands. */
  private pure(n: number): void {
    const { ir } = this;
    if (ir.a[n] !== 0) this.value(ir.a[n]);
    if (ir.b[n] !== 0) this.value(ir.b[n]);
    if (ir.c[n] !== 0) this.value(ir.c[n]);
    this.opcode(n);
  }

  /** Emits the operation of a pure node whose operands are on the stack. */
  protected opcode(n: number): void {
    const { ir, out } = this;
    const opcode = ir.op[n];
    if (opcode === op.CONST_V128) {
      out.byte(0xfd);
      out.u32(V128_CONST);
      out.raw(ir.vectors[ir.imm[n]]);
    } else if (opcode === op.SELECT) out.byte(SELECT_OP);
    else if (opcode >= op.SIMD) {
      out.byte(0xfd);
      out.u32(opcode & 0xff);
      // Lane accesses (extract, replace) and shuffles carry immediates.
      const sub = opcode & 0xff;
      if (sub === 0x0d) out.raw(ir.vectors[ir.imm[n]]);
      else if (sub >= 0x15 && sub <= 0x22) out.byte(ir.imm[n]);
    } else if (opcode < 0x100) out.byte(opcode);
    else throw new Error(`not a pure operation: 0x${opcode.toString(16)}`);
  }

  /** Keeps the value of node `n`, which is on the stack, in a local if it has uses; else drops it. */
  protected keep(n: number): void {
    if (this.uses[n] === 0) {
      this.out.byte(0x1a);
      return;
    }
    const local = this.locals.take(this.ir.type[n]);
    this.local[n] = local;
    this.out.localSet(local);
  }

  protected drop(n: number): void {
    this.locals.release(this.local[n]);
    this.local[n] = NO_LOCAL;
  }

  /** Saves in a local every state read among `pending` that is still wanted, before a write may change it. */
  protected settleNode(n: number): void {
    if (this.uses[n] > 0 && this.local[n] === NO_LOCAL) {
      this.read(n);
      this.keep(n);
    }
  }

  /** Has the operation effects, so that it is emitted in program order? */
  protected isRoot(opcode: number): boolean {
    return opcode >= op.FLAGS_WRITE && opcode < op.SIMD;
  }

  protected abstract root(n: number): void;
  /** Puts the value of a state read on the stack. */
  protected abstract read(n: number): void;
}

export function isStateRead(opcode: number): boolean {
  return (opcode >= op.GPR_READ && opcode <= op.RIP_NEXT) || opcode === op.FLAGS_CONDITION || opcode === op.FLAGS_READ;
}
