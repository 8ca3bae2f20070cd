/**
 * Generates the core module (Design §4, tier 0): the dispatcher and the interpreter's handlers, one per instruction
 * shape, from the instruction definitions. Runs at build time; the bytes are part of the bundle.
 *
 * `run(op)` executes from record `op`, or from RIP when `op` is 0, until something needs TypeScript; its result is an
 * EXIT_* code. RIP in the state is current whenever it returns.
 */
import {
  EXIT_BUDGET,
  EXIT_EXCEPTION,
  EXIT_HOT,
  EXIT_MISS,
  EXIT_RECOMPILE,
  EXIT_SIDE,
  HELPER_JUMP,
  HELPER_NEXT,
} from '../exits.ts';
import * as op from '../ir/ops.ts';
import { definitionOf } from '../lift/lift.ts';
import { Lifter } from '../lift/lifter.ts';
import * as record from '../record.ts';
import * as state from '../state.ts';
import { coreFunctions } from './core-functions.ts';
import {
  CORE_IMPORTS,
  CORE_TYPES,
  FUNCTION_CONDITION,
  FUNCTION_FLAGS,
  FUNCTION_SLOW_LOAD,
  FUNCTION_SLOW_STORE,
  IMPORT_HELPER,
  TYPE_REGION,
  TYPE_RUN,
} from './core-types.ts';
import { IrEmitter, isStateRead, LocalPool } from './emitter.ts';
import * as wasm from './encoder.ts';
import { allShapes, FIRST_SHAPE, H_ADDRESS, H_FALL_THROUGH, H_HEAD, H_HELPER, H_STALE } from './shapes.ts';

const OP = 0;
const BLOCK_RIP = 1;
const ENTRY = 2;
const SKIP_REGION = 3;
const RIP = 4;
const CODE = 5;
const TLB = 6;

/** Size of the function table: regions that can be alive at once. */
export const TABLE_SIZE = 65536;
/** Side exits after which a region is looked at again. */
const SIDE_EXIT_LIMIT = 1000;

class HandlerEmitter extends IrEmitter {
  /** Depth of labels around the handler's code: how far out `$next`, `$lookup`, `$fault` and `$helper` are. */
  nextDepth = 0;
  lookupDepth = 0;
  faultDepth = 0;
  helperDepth = 0;
  private readonly pending: number[] = [];
  private ended = false;
  private addressNode = 0;
  private addressLocal = -1;

  emitHandler(first: number, end: number): void {
    this.countUses(first, end);
    this.pending.length = 0;
    this.ended = false;
    for (let n = first; n < end; n++) if (isStateRead(this.ir.op[n])) this.pending.push(n);
    this.emitRange(first, end);
    if (!this.ended) this.out.branch(wasm.BR, this.nextDepth);
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
        this.thisRip();
        out.localGet(OP);
        out.loadSized(record.R_LENGTH, 1);
        out.byte(op.I64_EXTEND_I32_U);
        out.byte(op.I64_ADD);
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
    out.localGet(BLOCK_RIP);
    out.localGet(OP);
    out.memory(wasm.I32_LOAD16_U, record.R_RIP_OFFSET);
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
        out.branch(wasm.BR_IF, this.helperDepth);
        break;
      case op.JUMP:
        out.i32Const(0);
        this.value(ir.a[n]);
        out.storeSized(state.S_RIP, 8);
        out.branch(wasm.BR, this.lookupDepth);
        this.ended = true;
        break;
      case op.BRANCH: {
        out.i32Const(0);
        this.value(ir.b[n]);
        this.thisRip();
        out.localGet(OP);
        out.loadSized(record.R_LENGTH, 1);
        out.byte(op.I64_EXTEND_I32_U);
        out.byte(op.I64_ADD);
        this.value(ir.a[n]);
        out.byte(wasm.SELECT_OP);
        out.storeSized(state.S_RIP, 8);
        out.branch(wasm.BR, this.lookupDepth);
        this.ended = true;
        break;
      }
      default:
        throw new Error(`no handler code for operation 0x${ir.op[n].toString(16)}`);
    }
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
    const { out } = this;
    out.localGet(address);
    out.i64Const(7, 0);
    out.byte(op.I64_SHR_U);
    out.byte(op.I32_WRAP_I64);
    out.i32Const((state.TLB_ENTRIES - 1) * state.TLB_STRIDE);
    out.byte(op.I32_AND);
    out.loadField(state.S_TLB_BASE, 4);
    out.byte(op.I32_ADD);
    out.localTee(TLB);
    out.loadSized(tag, 8);
    out.localGet(address);
    if (size > 1) {
      out.i64Const(size - 1, 0);
      out.byte(op.I64_ADD);
    }
    out.i64Const(-state.PAGE_SIZE, -1);
    out.byte(op.I64_AND);
    out.byte(op.I64_EQ);
  }

  private hostAddress(address: number): void {
    const { out } = this;
    out.localGet(address);
    out.byte(op.I32_WRAP_I64);
    out.localGet(TLB);
    out.loadSized(state.TLB_ADDEND, 4);
    out.byte(op.I32_ADD);
  }

  private load(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    const address = this.addressOf(ir.a[n]);
    this.probe(address, size, ir.imm[n] !== 0 ? state.TLB_WRITE : state.TLB_READ);
    out.byte(wasm.IF);
    out.byte(wasm.VALUE_TYPE[ir.type[n]]);
    this.hostAddress(address);
    out.loadSized(state.RAM_BASE, size);
    out.byte(wasm.ELSE);
    out.localGet(address);
    out.i32Const(size | (ir.imm[n] !== 0 ? 0x100 : 0));
    out.call(FUNCTION_SLOW_LOAD);
    out.branch(wasm.BR_IF, this.faultDepth + 1);
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
    this.hostAddress(address);
    out.localGet(value);
    out.storeSized(state.RAM_BASE, size);
    out.byte(wasm.ELSE);
    out.i32Const(0);
    out.localGet(value);
    out.storeSized(state.S_SLOW_VALUE, size);
    out.localGet(address);
    out.i32Const(size);
    out.call(FUNCTION_SLOW_STORE);
    out.branch(wasm.BR_IF, this.faultDepth + 1);
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

/** Emits `state.RIP = block RIP + offset of the record in OP`. */
function storeRip(out: wasm.Encoder): void {
  out.i32Const(0);
  out.localGet(BLOCK_RIP);
  out.localGet(OP);
  out.memory(wasm.I32_LOAD16_U, record.R_RIP_OFFSET);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_ADD);
  out.storeSized(state.S_RIP, 8);
}

function exit(out: wasm.Encoder, code: number): void {
  out.i32Const(code);
  out.byte(wasm.RETURN);
}

/** The body of `run`. */
function runBody(): Uint8Array {
  const lifter = new Lifter(true);
  const out = new wasm.Encoder();
  const locals = new LocalPool();
  for (const type of [op.T_I32, op.T_I64, op.T_I32, op.T_I32, op.T_I64, op.T_I32, op.T_I32]) locals.add(type);
  const emitter = new HandlerEmitter(lifter.ir, out, locals);
  const shapes = allShapes();
  const handlers = FIRST_SHAPE + shapes.length;

  // loop $lookup { block $enter { … } loop $next { block $helper { block $fault { block h… } } } }
  out.byte(wasm.LOOP);
  out.byte(wasm.VOID);
  out.byte(wasm.BLOCK);
  out.byte(wasm.VOID);
  out.localGet(OP);
  out.branch(wasm.BR_IF, 0);
  lookup(out);
  out.byte(wasm.END);
  out.loadField(state.S_RIP, 8);
  out.localSet(BLOCK_RIP);

  out.byte(wasm.LOOP); // $next: step over the record just done
  out.byte(wasm.VOID);
  out.byte(wasm.BLOCK); // $advance
  out.byte(wasm.VOID);
  out.byte(wasm.BLOCK); // $jump: RIP is set, look it up
  out.byte(wasm.VOID);
  out.byte(wasm.BLOCK); // $fault
  out.byte(wasm.VOID);
  out.byte(wasm.BLOCK); // $helper
  out.byte(wasm.VOID);
  for (let i = 0; i < handlers; i++) {
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
  }
  out.localGet(OP);
  out.memory(wasm.I32_LOAD16_U, record.R_HANDLER);
  out.byte(wasm.BR_TABLE);
  out.u32(handlers);
  for (let i = 0; i < handlers; i++) out.u32(i);
  out.u32(0);
  for (let handler = 0; handler < handlers; handler++) {
    out.byte(wasm.END);
    // Behind the end of block `handler`: this many blocks are still open up to $helper.
    const open = handlers - 1 - handler;
    emitter.helperDepth = open;
    emitter.faultDepth = open + 1;
    emitter.lookupDepth = open + 2;
    emitter.nextDepth = open + 3;
    if (handler < FIRST_SHAPE) special(out, handler, emitter);
    else {
      lifter.ir.clear();
      lifter.flags.reset();
      const { insn } = shapes[handler - FIRST_SHAPE];
      lifter.begin(insn, 0, 0);
      definitionOf[insn.row]!(lifter);
      emitter.emitHandler(1, lifter.ir.length);
    }
  }
  out.byte(wasm.END); // $helper: have TypeScript execute the instruction
  storeRip(out);
  out.localGet(OP);
  out.call(IMPORT_HELPER);
  out.localTee(CODE);
  out.i32Const(HELPER_NEXT);
  out.byte(op.I32_EQ);
  out.branch(wasm.BR_IF, 2); // $advance
  out.localGet(CODE);
  out.i32Const(HELPER_JUMP);
  out.byte(op.I32_EQ);
  out.branch(wasm.BR_IF, 1); // $jump
  out.localGet(CODE);
  out.byte(wasm.RETURN);
  out.byte(wasm.END); // $fault
  storeRip(out);
  out.i32Const(0);
  out.localGet(OP);
  out.storeSized(state.S_FAULT_OP, 4);
  exit(out, EXIT_EXCEPTION);
  out.byte(wasm.END); // $jump
  out.i32Const(0);
  out.localSet(OP);
  out.branch(wasm.BR, 2); // $lookup
  out.byte(wasm.END); // $advance
  out.localGet(OP);
  out.i32Const(record.RECORD_SIZE);
  out.byte(op.I32_ADD);
  out.localSet(OP);
  out.branch(wasm.BR, 0); // $next
  out.byte(wasm.END);
  out.byte(wasm.END);
  out.byte(0x00); // unreachable
  out.byte(wasm.END);

  const body = new wasm.Encoder();
  locals.declare(body, 1);
  body.raw(out.written());
  return body.written();
}

/** Finds what to run at RIP: a region, or operations (then OP is set and control falls out of the $enter block). */
function lookup(out: wasm.Encoder): void {
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
  out.localGet(CODE);
  out.byte(wasm.CALL_INDIRECT);
  out.u32(TYPE_REGION);
  out.u32(0);
  out.localTee(CODE);
  out.localSet(SKIP_REGION);
  out.localGet(CODE);
  out.i32Const(EXIT_SIDE);
  out.byte(op.I32_GE_U);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.localGet(CODE);
  out.i32Const(EXIT_SIDE);
  out.byte(op.I32_NE);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.localGet(CODE);
  out.byte(wasm.RETURN);
  out.byte(wasm.END);
  countSideExit(out);
  out.byte(wasm.END);
  out.branch(wasm.BR, 3); // $lookup
  out.byte(wasm.END);
  out.byte(wasm.END);
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_OP, 4);
  out.localTee(OP);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.i32Const(0);
  out.localSet(SKIP_REGION);
  out.branch(wasm.BR, 1); // $enter
  out.byte(wasm.END);
  exit(out, EXIT_MISS);
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

/** Counts a side exit of the region of ENTRY; every SIDE_EXIT_LIMIT-th goes to TypeScript. */
function countSideExit(out: wasm.Encoder): void {
  out.localGet(ENTRY);
  out.localGet(ENTRY);
  out.loadSized(state.JUMP_EXITS, 4);
  out.i32Const(1);
  out.byte(op.I32_ADD);
  out.localTee(CODE);
  out.storeSized(state.JUMP_EXITS, 4);
  out.localGet(CODE);
  out.i32Const(SIDE_EXIT_LIMIT);
  out.byte(op.I32_EQ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  out.i32Const(0);
  out.localGet(ENTRY);
  out.storeSized(state.S_EXIT_ENTRY, 4);
  exit(out, EXIT_RECOMPILE);
  out.byte(wasm.END);
}

/** Handlers that are not instructions. */
function special(out: wasm.Encoder, handler: number, at: HandlerEmitter): void {
  switch (handler) {
    case H_STALE:
      // The block was invalidated while it ran: continue by looking up the instruction.
      storeRip(out);
      out.branch(wasm.BR, at.lookupDepth);
      break;
    case H_FALL_THROUGH:
      storeRip(out);
      out.branch(wasm.BR, at.lookupDepth);
      break;
    case H_HEAD:
      head(out, at);
      break;
    case H_HELPER:
      out.branch(wasm.BR, at.helperDepth);
      break;
    case H_ADDRESS:
      address(out);
      out.branch(wasm.BR, at.nextDepth);
      break;
  }
}

/** A block's head: takes its instructions off the budget and counts executions. */
function head(out: wasm.Encoder, at: HandlerEmitter): void {
  out.loadField(state.S_BUDGET, 4);
  out.localGet(OP);
  out.loadSized(record.HEAD_COUNT, 4);
  out.byte(op.I32_SUB);
  out.localTee(CODE);
  out.i32Const(0);
  out.byte(op.I32_LT_S);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  exit(out, EXIT_BUDGET);
  out.byte(wasm.END);
  out.localGet(OP);
  out.localGet(OP);
  out.loadSized(record.HEAD_COUNTER, 4);
  out.i32Const(1);
  out.byte(op.I32_SUB);
  out.localTee(ENTRY);
  out.storeSized(record.HEAD_COUNTER, 4);
  out.localGet(ENTRY);
  out.byte(op.I32_EQZ);
  out.byte(wasm.IF);
  out.byte(wasm.VOID);
  exit(out, EXIT_HOT);
  out.byte(wasm.END);
  out.i32Const(0);
  out.localGet(CODE);
  out.storeSized(state.S_BUDGET, 4);
  out.branch(wasm.BR, at.nextDepth);
}

/**
 * The address pre-operation (16- and 32-bit addresses): S_EA = ((base + index << scale + disp) & mask) + segment base,
 * cut to 32 bits outside 64-bit mode. The masks stand in the record.
 */
function address(out: wasm.Encoder): void {
  const field = (offset: number, size: number) => {
    out.localGet(OP);
    out.loadSized(offset, size);
  };
  const register = (offset: number) => {
    field(offset, 2);
    out.loadSized(0, 8);
  };
  out.i32Const(0);
  register(record.R_BASE);
  field(record.R_DISP, 8);
  out.byte(op.I64_ADD);
  register(record.R_INDEX);
  field(record.R_SCALE, 1);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_SHL);
  out.byte(op.I64_ADD);
  field(record.PRE_ADDRESS_MASK, 4);
  out.byte(op.I64_EXTEND_I32_U);
  out.byte(op.I64_AND);
  register(record.R_SEGMENT);
  out.byte(op.I64_ADD);
  field(record.PRE_LINEAR_MASK, 8);
  out.byte(op.I64_AND);
  out.storeSized(state.S_EA, 8);
}

/** The bytes of the core module. */
export function buildCoreModule(): Uint8Array {
  return wasm.assembleModule({
    types: CORE_TYPES,
    functionImports: CORE_IMPORTS,
    memory: { initial: 256, maximum: 65536 },
    ownTable: TABLE_SIZE,
    functions: [...coreFunctions(), { type: TYPE_RUN, body: runBody(), exportAs: 'run' }],
  });
}
