/**
 * Prints an instruction's IR as a handler of the interpreter: a function of one operation record that reads and writes
 * the state block, reaches memory through the TLB, and goes on to the next record's handler by a tail call.
 */
import { EXIT_EVENT } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as record from '../record.ts';
import * as state from '../state.ts';
import {
  FUNCTION_CONDITION,
  FUNCTION_FLAGS,
  FUNCTION_LOOKUP,
  FUNCTION_SLOW_LOAD,
  FUNCTION_SLOW_STORE,
  IMPORT_PORT_IN,
  IMPORT_PORT_OUT,
  TYPE_RUN,
} from './core-types.ts';
import { IrEmitter, isStateRead } from './emitter.ts';
import * as wasm from './encoder.ts';
import { probeTlb, tlbAddress } from './tlb-code.ts';

/** Locals of a handler: its parameter, and a TLB entry. */
export const OP = 0;
export const TLB = 1;

/** Labels around a handler's code: where it goes after a fault, and when its helper must execute the instruction. */
const LABEL_FAULT = 0;
const LABEL_HELPER = 1;

/** Goes on with the record behind this one. */
export function next(out: wasm.Encoder): void {
  out.localGet(OP);
  out.i32Const(record.RECORD_SIZE);
  out.byte(op.I32_ADD);
  out.localTee(OP);
  dispatch(out);
}

/** With a record on the stack, also in OP: has its handler execute it and all that follows. */
export function dispatch(out: wasm.Encoder): void {
  out.localGet(OP);
  out.memory(wasm.I32_LOAD16_U, record.R_HANDLER);
  out.byte(wasm.RETURN_CALL_INDIRECT);
  out.u32(TYPE_RUN);
  out.u32(0);
}

export function returnCall(out: wasm.Encoder, functionIndex: number): void {
  out.byte(wasm.RETURN_CALL);
  out.u32(functionIndex);
}

/** Leaves generated code for TypeScript. */
export function exit(out: wasm.Encoder, code: number): void {
  out.i32Const(code);
  out.byte(wasm.RETURN);
}

export class HandlerEmitter extends IrEmitter {
  private readonly pending: number[] = [];
  private ended = false;
  /** Did a device get a say, so that it may have asked for the run loop? */
  private mayStop = false;
  private addressNode = 0;
  private addressLocal = -1;

  /** Emits the code of nodes `first` … `end - 1` and what follows it. */
  emitHandler(first: number, end: number): void {
    this.countUses(first, end);
    this.pending.length = 0;
    this.ended = false;
    this.mayStop = false;
    for (let n = first; n < end; n++) if (isStateRead(this.ir.op[n])) this.pending.push(n);
    this.emitRange(first, end);
    if (this.mayStop) this.stopIfAsked();
    if (!this.ended) next(this.out);
    for (let n = first; n < end; n++) if (this.local[n] >= 0) this.drop(n);
    this.forgetAddress();
  }

  /** Before a write: reads that came before it and are still wanted take their value now. */
  private settle(write: number): void {
    let kept = 0;
    for (const n of this.pending) {
      if (n < write) this.settleNode(n);
      else this.pending[kept++] = n;
    }
    this.pending.length = kept;
  }

  private slot(slot: number): void {
    if (slot >= op.SLOT_RECORD) {
      this.out.localGet(OP);
      this.out.memory(wasm.I32_LOAD16_U, slot - op.SLOT_RECORD);
    } else this.out.i32Const(0);
  }

  private slotOffset(slot: number): number {
    return slot >= op.SLOT_RECORD ? 0 : slot;
  }

  protected read(n: number): void {
    const { ir, out } = this;
    const imm = ir.imm[n];
    const imm2 = ir.imm2[n];
    switch (ir.op[n]) {
      case op.GPR_READ:
        this.slot(imm);
        out.loadSized(this.slotOffset(imm), imm2);
        break;
      case op.XMM_READ:
        this.slot(imm);
        out.loadSized(this.slotOffset(imm), 16);
        break;
      case op.RECORD_READ:
        out.localGet(OP);
        out.loadSized(imm, imm2);
        break;
      case op.FIELD_READ:
        this.slot(imm);
        out.loadSized(this.slotOffset(imm) + (imm2 >> 8), imm2 & 0xff);
        break;
      case op.RIP_THIS:
        this.thisRip();
        break;
      case op.RIP_NEXT:
        this.nextRip();
        break;
      case op.FLAGS_CONDITION:
        out.call(FUNCTION_CONDITION + (imm >> 1));
        if (imm & 1) out.byte(op.I32_EQZ);
        break;
      case op.FLAGS_READ:
        out.call(FUNCTION_FLAGS);
        out.i32Const(imm);
        out.byte(op.I32_AND);
        break;
    }
  }

  private thisRip(): void {
    const { out } = this;
    out.loadField(state.S_BLOCK_RIP, 8);
    out.localGet(OP);
    out.memory(wasm.I32_LOAD16_U, record.R_RIP_OFFSET);
    out.byte(op.I64_EXTEND_I32_U);
    out.byte(op.I64_ADD);
  }

  private nextRip(): void {
    const { out } = this;
    this.thisRip();
    out.localGet(OP);
    out.loadSized(record.R_LENGTH, 1);
    out.byte(op.I64_EXTEND_I32_U);
    out.byte(op.I64_ADD);
  }

  protected root(n: number): void {
    const { ir, out } = this;
    const imm = ir.imm[n];
    const imm2 = ir.imm2[n];
    switch (ir.op[n]) {
      case op.GPR_WRITE:
        this.slot(imm);
        this.value(ir.a[n]);
        if (imm2 === 4) out.byte(op.I64_EXTEND_I32_U);
        this.settle(n);
        out.storeSized(this.slotOffset(imm), imm2 === 4 ? 8 : imm2);
        break;
      case op.XMM_WRITE:
        this.slot(imm);
        this.value(ir.a[n]);
        this.settle(n);
        out.storeSized(this.slotOffset(imm), 16);
        break;
      case op.FIELD_WRITE:
        out.i32Const(0);
        this.value(ir.a[n]);
        this.settle(n);
        out.storeSized(imm, imm2);
        break;
      case op.FLAGS_WRITE:
        this.writeFlags(n, imm, ir.a[n], ir.b[n], ir.c[n]);
        break;
      case op.FLAGS_MERGE:
        out.i32Const(0);
        out.call(FUNCTION_FLAGS);
        out.i32Const(~imm);
        out.byte(op.I32_AND);
        this.value(ir.a[n]);
        out.byte(op.I32_OR);
        out.byte(op.I64_EXTEND_I32_U);
        this.settle(n);
        out.storeSized(state.S_CC_B, 8);
        out.i32Const(0);
        out.i32Const(state.CC_EXPLICIT);
        out.storeSized(state.S_CC_OP, 4);
        break;
      case op.LOAD:
        this.load(n);
        break;
      case op.STORE:
        this.store(n);
        break;
      case op.SLOW_IF:
        this.value(ir.a[n]);
        out.branch(wasm.BR_IF, LABEL_HELPER);
        break;
      case op.PORT_IN:
        this.value(ir.a[n]);
        out.i32Const(imm2);
        out.call(IMPORT_PORT_IN);
        this.keep(n);
        this.mayStop = true;
        break;
      case op.PORT_OUT:
        this.value(ir.a[n]);
        out.i32Const(imm2);
        this.value(ir.b[n]);
        out.call(IMPORT_PORT_OUT);
        this.mayStop = true;
        break;
      case op.JUMP:
        out.i32Const(0);
        this.value(ir.a[n]);
        out.storeSized(state.S_RIP, 8);
        returnCall(out, FUNCTION_LOOKUP);
        this.ended = true;
        break;
      case op.BRANCH: {
        out.i32Const(0);
        this.value(ir.b[n]);
        this.nextRip();
        this.value(ir.a[n]);
        out.byte(wasm.SELECT_OP);
        out.storeSized(state.S_RIP, 8);
        returnCall(out, FUNCTION_LOOKUP);
        this.ended = true;
        break;
      }
      default:
        throw new Error(`no handler code for operation 0x${ir.op[n].toString(16)}`);
    }
  }

  /** Leaves behind this instruction if a device asked for the run loop, so that its interrupt comes at once. */
  private stopIfAsked(): void {
    const { out } = this;
    out.loadField(state.S_BUDGET, 4);
    out.i32Const(0);
    out.byte(op.I32_LT_S);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.i32Const(0);
    this.nextRip();
    out.storeSized(state.S_RIP, 8);
    exit(out, EXIT_EVENT);
    out.byte(wasm.END);
  }

  /** Stores the lazy flags. The values go onto the stack before any store, as they may read the old ones. */
  private writeFlags(n: number, kind: number, a: number, b: number, result: number): void {
    const { out } = this;
    const fields: number[] = [];
    for (const [node, offset] of [
      [a, state.S_CC_A],
      [b, state.S_CC_B],
      [result, state.S_CC_RES],
    ]) {
      if (node === 0) continue;
      out.i32Const(0);
      this.value(node);
      fields.push(offset);
    }
    this.settle(n);
    while (fields.length > 0) out.storeSized(fields.pop()!, 8);
    out.i32Const(0);
    out.i32Const(kind);
    out.storeSized(state.S_CC_OP, 4);
  }

  /** Puts the address of node `n` in a local (shared by the load and the store of one operand). */
  private addressOf(node: number): number {
    if (this.addressNode !== node || this.addressLocal < 0) {
      this.addressNode = node;
      this.addressLocal = this.locals.take(op.T_I64);
      this.value(node);
      this.out.localSet(this.addressLocal);
    } else {
      // Already there; this use is spent too.
      this.value(node);
      this.out.byte(wasm.DROP);
    }
    return this.addressLocal;
  }

  /** i32 on the stack: does the TLB entry of `address` (left in local TLB) allow the access within one page? */
  private probe(address: number, size: number, tag: number): void {
    probeTlb(this.out, address, TLB, size, tag);
    this.out.byte(op.I64_EQ);
  }

  private load(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    const address = this.addressOf(ir.a[n]);
    this.probe(address, size, ir.imm[n] !== 0 ? state.TLB_WRITE : state.TLB_READ);
    out.byte(wasm.IF);
    out.byte(wasm.VALUE_TYPE[ir.type[n]]);
    tlbAddress(out, address, TLB);
    out.loadSized(state.RAM_BASE, size);
    out.byte(wasm.ELSE);
    out.localGet(address);
    out.i32Const(size | (ir.imm[n] !== 0 ? 0x100 : 0));
    out.call(FUNCTION_SLOW_LOAD);
    out.branch(wasm.BR_IF, LABEL_FAULT + 1);
    out.loadField(state.S_SLOW_VALUE, size);
    out.byte(wasm.END);
    this.keep(n);
    this.releaseAddress(ir.a[n]);
  }

  private store(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    const type = ir.type[ir.b[n]];
    const address = this.addressOf(ir.a[n]);
    const value = this.locals.take(type);
    this.value(ir.b[n]);
    out.localSet(value);
    this.probe(address, size, state.TLB_WRITE);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    tlbAddress(out, address, TLB);
    out.localGet(value);
    out.storeSized(state.RAM_BASE, size);
    out.byte(wasm.ELSE);
    out.i32Const(0);
    out.localGet(value);
    out.storeSized(state.S_SLOW_VALUE, size);
    out.localGet(address);
    out.i32Const(size);
    out.call(FUNCTION_SLOW_STORE);
    out.branch(wasm.BR_IF, LABEL_FAULT + 1);
    out.byte(wasm.END);
    this.locals.release(value);
    this.releaseAddress(ir.a[n]);
  }

  private releaseAddress(node: number): void {
    if (this.uses[node] === 0) this.forgetAddress();
  }

  private forgetAddress(): void {
    if (this.addressLocal >= 0) this.locals.release(this.addressLocal);
    this.addressLocal = -1;
    this.addressNode = 0;
  }
}
