/**
 * The lazy flags in a region (S_CC_*): a definition is only noted until somebody may look, and then put into its locals; what
 * nobody can see is never computed (dataflow.ts tells which blocks ask). Where flags of unknown kind are asked for, the
 * most frequent questions are answered in place.
 */
import * as op from '../ir/ops.ts';
import { FLAG_C } from '../isa/table.ts';
import * as state from '../state.ts';
import { IrEmitter, isStateRead } from '../wasm/emitter.ts';
import * as wasm from '../wasm/encoder.ts';
import { HELPER_FLAGS } from './region-helpers.ts';
import { CC_A, CC_B, CC_OP, CC_RES } from './region-locals.ts';

/** Flags not yet in their locals: kind, and the local of each operand A, B, RES; 0: it has none. */
export interface HeldFlags {
  readonly kind: number;
  readonly operands: readonly number[];
}

export abstract class RegionFlags extends IrEmitter {
  /** State reads not yet emitted, of the block at hand. */
  protected pending: number[] = [];
  /** The FLAGS_WRITE that holds now and has not been put into the locals; 0: the locals are right. */
  protected flags = 0;
  /** The node being emitted: state reads before it see the state as it was. */
  protected position = 0;

  // --- definitions ---------------------------------------------------------------------------------------------------

  /** Notes new flags; those before them, if nothing could have seen them, are forgotten. */
  protected writeFlags(n: number): void {
    this.dropFlags();
    this.flags = n;
  }

  /** Puts the flags that hold now into their locals, in the flow of the code. */
  protected commitFlags(): void {
    if (this.flags === 0) return;
    const { ir, out } = this;
    const n = this.flags;
    const nodes = [ir.a[n], ir.b[n], ir.c[n]];
    for (const node of nodes) if (node !== 0) this.value(node);
    this.settle(isFlagRead(ir), this.position);
    for (let i = 2; i >= 0; i--) if (nodes[i] !== 0) out.localSet(CC_A + i);
    out.i32Const(ir.imm[n]);
    out.localSet(CC_OP);
    this.flags = 0;
  }

  /** Has the operands of the flags that hold now in locals, for ways on that need the flags; these see no other code before. */
  protected holdFlags(): HeldFlags {
    const { ir } = this;
    const n = this.flags;
    this.flags = 0;
    const held = {
      kind: ir.imm[n],
      operands: [ir.a[n], ir.b[n], ir.c[n]].map((node) => (node === 0 ? 0 : this.hold(node))),
    };
    for (const local of held.operands) if (local !== 0) this.locals.release(local);
    return held;
  }

  /** A local of its own with a node's value. */
  private hold(node: number): number {
    this.value(node);
    const local = this.locals.take(this.ir.type[node]);
    this.out.localSet(local);
    return local;
  }

  /** Puts flags whose operands are held into their locals. */
  protected writeHeld({ kind, operands }: HeldFlags): void {
    const { out } = this;
    operands.forEach((local, i) => {
      if (local === 0) return;
      out.localGet(local);
      out.localSet(CC_A + i);
    });
    out.i32Const(kind);
    out.localSet(CC_OP);
  }

  /** Forgets the flags that hold now. */
  protected dropFlags(): void {
    const { ir } = this;
    const old = this.flags;
    this.flags = 0;
    if (old === 0) return;
    this.release(ir.a[old]);
    this.release(ir.b[old]);
    this.release(ir.c[old]);
  }

  /** Gives up one use of node `n` that will not be made. */
  protected release(n: number): void {
    if (n === 0) return;
    const { ir } = this;
    if (--this.uses[n] > 0) return;
    if (this.local[n] >= 0) this.drop(n);
    else if (!isStateRead(ir.op[n]) && !this.isRoot(ir.op[n])) {
      this.release(ir.a[n]);
      this.release(ir.b[n]);
      this.release(ir.c[n]);
    }
  }

  // --- questions -----------------------------------------------------------------------------------------------------

  /** i32 on the stack: the flags of a mask. */
  protected readFlags(mask: number): void {
    if (mask === FLAG_C) {
      this.carry();
      return;
    }
    this.callFlags();
    this.out.i32Const(mask);
    this.out.byte(op.I32_AND);
  }

  /** i32 on the stack: all flags of the locals' lazy flags, whatever their kind. */
  private callFlags(): void {
    this.spillFlags();
    this.out.call(HELPER_FLAGS);
  }

  /** Has the flags in the locals whatever was done before. */
  private fetchFlags(): void {
    const { out } = this;
    out.localGet(CC_OP);
    out.i32Const(0);
    out.byte(op.I32_LT_S);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.loadField(state.S_CC_OP, 4);
    out.localSet(CC_OP);
    out.loadField(state.S_CC_A, 8);
    out.localSet(CC_A);
    out.loadField(state.S_CC_B, 8);
    out.localSet(CC_B);
    out.loadField(state.S_CC_RES, 8);
    out.localSet(CC_RES);
    out.byte(wasm.END);
  }

  /** i32 0/1 on the stack: CF of flags of unknown kind. INC and DEC keep it, so loops ask for it all the time. */
  private carry(): void {
    const { out } = this;
    this.fetchFlags();
    const isKind = (kind: number) => {
      out.localGet(CC_OP);
      out.i32Const(kind);
      out.byte(op.I32_EQ);
    };
    out.localGet(CC_A);
    out.localGet(CC_B);
    out.byte(op.I64_LT_U);
    out.localGet(CC_RES);
    out.localGet(CC_A);
    out.byte(op.I64_LT_U);
    out.localGet(CC_B);
    out.byte(op.I32_WRAP_I64);
    out.i32Const(1);
    out.byte(op.I32_AND);
    isKind(state.CC_LOGIC);
    out.byte(op.I32_EQZ);
    out.byte(op.I32_AND);
    isKind(state.CC_ADD);
    out.byte(wasm.SELECT_OP);
    isKind(state.CC_SUB);
    out.byte(wasm.SELECT_OP);
  }

  /** i32 0/1 on the stack: ZF of flags of unknown kind. */
  private zero(): void {
    const { out } = this;
    this.fetchFlags();
    out.localGet(CC_B);
    out.byte(op.I32_WRAP_I64);
    out.i32Const(6);
    out.byte(op.I32_SHR_U);
    out.i32Const(1);
    out.byte(op.I32_AND);
    out.localGet(CC_RES);
    out.byte(op.I64_EQZ);
    out.localGet(CC_OP);
    out.i32Const(state.CC_EXPLICIT);
    out.byte(op.I32_EQ);
    out.byte(wasm.SELECT_OP);
  }

  /** i32 0/1 on the stack: condition `cc` of flags of unknown kind. */
  protected conditionOfLocals(cc: number): void {
    const { out } = this;
    if (cc >> 1 === 1 || cc >> 1 === 2) {
      if (cc >> 1 === 1) this.carry();
      else this.zero();
      if (cc & 1) out.byte(op.I32_EQZ);
      return;
    }
    const local = this.locals.take(op.T_I32);
    this.callFlags();
    out.localSet(local);
    const bit = (position: number) => {
      out.localGet(local);
      out.i32Const(position);
      out.byte(op.I32_SHR_U);
    };
    const POSITIONS = [11, 0, 6, -1, 7, 2];
    const test = cc >> 1;
    if (test === 3) {
      bit(0);
      bit(6);
      out.byte(op.I32_OR);
    } else if (test >= 6) {
      bit(7);
      bit(11);
      out.byte(op.I32_XOR);
      if (test === 7) {
        bit(6);
        out.byte(op.I32_OR);
      }
    } else bit(POSITIONS[test]);
    out.i32Const(1);
    out.byte(op.I32_AND);
    if (cc & 1) out.byte(op.I32_EQZ);
    this.locals.release(local);
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  /** Writes the lazy flags back, if they are in the locals. */
  protected spillFlags(): void {
    const { out } = this;
    out.localGet(CC_OP);
    out.i32Const(0);
    out.byte(op.I32_GE_S);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    this.storeLocal(state.S_CC_OP, CC_OP, 4);
    this.storeLocal(state.S_CC_A, CC_A, 8);
    this.storeLocal(state.S_CC_B, CC_B, 8);
    this.storeLocal(state.S_CC_RES, CC_RES, 8);
    out.byte(wasm.END);
  }

  protected storeLocal(offset: number, local: number, size: number): void {
    const { out } = this;
    out.i32Const(0);
    out.localGet(local);
    out.storeSized(offset, size);
  }

  /** Saves the wanted reads among `pending` that `conflicts` names and that come before node `before`. */
  protected settle(conflicts: (n: number) => boolean, before: number): void {
    let kept = 0;
    for (const n of this.pending) {
      if (this.uses[n] > 0 && n < before && conflicts(n)) this.settleNode(n);
      else if (this.uses[n] > 0) this.pending[kept++] = n;
    }
    this.pending.length = kept;
  }

  /** FLAGS_MERGE has done its work in FlagTracker: a FLAGS_WRITE stands beside it. */
  protected override isRoot(opcode: number): boolean {
    return opcode !== op.FLAGS_MERGE && super.isRoot(opcode);
  }
}

function isFlagRead(ir: { op: Uint16Array }): (n: number) => boolean {
  return (n) => ir.op[n] === op.FLAGS_READ || ir.op[n] === op.FLAGS_CONDITION;
}
