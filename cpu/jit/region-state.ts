/**
 * The state of the guest in a region: general and vector registers and the lazy flags live in locals, loaded where the
 * region is entered and written back where it is left, so far as need be (dataflow.ts). Registers that the region does not
 * use have no local.
 */
import * as op from '../ir/ops.ts';
import { FLAG_C } from '../isa/table.ts';
import type { Lifter } from '../lift/lifter.ts';
import * as state from '../state.ts';
import { TYPE_FLAGS, TYPE_PORT_IN, TYPE_PORT_OUT, TYPE_RUN } from '../wasm/core-types.ts';
import { IrEmitter, isStateRead, LocalPool } from '../wasm/emitter.ts';
import * as wasm from '../wasm/encoder.ts';
import type { BasicBlock } from './control-flow.ts';
import { type Gather, RegionDataflow, type RegisterSet, VECTOR_BITS } from './dataflow.ts';

/** Functions of the core that regions import. */
export const HELPER_STEP = 0;
export const HELPER_FLAGS = 1;
export const HELPER_PORT_IN = 2;
export const HELPER_PORT_OUT = 3;
export const HELPER_FILL = 4;
/** The core's exports that they are. */
export const REGION_HELPERS = [
  { name: 'step', type: TYPE_RUN },
  { name: 'flags', type: TYPE_FLAGS },
  { name: 'portIn', type: TYPE_PORT_IN },
  { name: 'portOut', type: TYPE_PORT_OUT },
  { name: 'fill', type: TYPE_RUN },
] as const;

/** Flags not yet in their locals: kind, and the local of each operand A, B, RES; 0: it has none. */
export interface HeldFlags {
  readonly kind: number;
  readonly operands: readonly number[];
}

/** IR of one block: a range of nodes, with the start of each instruction. */
export interface LiftedBlock {
  block: BasicBlock;
  /** First node of each instruction, and the end of the last one. */
  starts: number[];
  end: number;
  /** Record of instruction i for its helper; 0: its IR does it. */
  steps: number[];
}

/** The parameter of regions: how many of them called each other. */
export const DEPTH = 0;
/** The locals that every region has. CC_OP is negative while the lazy flags stand in the state only. */
const CC_OP = 1;
const CC_A = 2;
const CC_B = 3;
const CC_RES = 4;
export const RIP = 5;
export const BUDGET = 6;
/** Result of a helper or of a region that was called. */
export const CODE = 7;
export const ENTRY = 8;
export const ADDRESS = 9;
/** The exit site at which the region is left, 0 for none. */
export const SITE = 10;
/** How and where in its block the region is left: AT_* fields. */
export const AT = 11;
/** Address (low half) of the block that it is left from. */
export const BASE = 12;
const FIXED_LOCALS = [
  op.T_I32,
  op.T_I32,
  op.T_I64,
  op.T_I64,
  op.T_I64,
  op.T_I64,
  op.T_I32,
  op.T_I32,
  op.T_I32,
  op.T_I64,
  op.T_I32,
  op.T_I32,
  op.T_I32,
];
const FLAGS_IN_STATE = -1;

export abstract class RegionState extends IrEmitter {
  /** State reads not yet emitted, of the block at hand. */
  protected pending: number[] = [];
  /** The FLAGS_WRITE that holds now and has not been put into the locals; 0: the locals are right. */
  protected flags = 0;
  /** The local of each register that the region uses. */
  private readonly gprLocal = new Uint32Array(16);
  private readonly xmmLocal = new Uint32Array(16);
  protected readonly dataflow: RegionDataflow;
  /** The node being emitted: state reads before it see the state as it was. */
  protected position = 0;

  constructor(lifter: Lifter, out: wasm.Encoder) {
    super(lifter.ir, out, new LocalPool());
    this.dataflow = new RegionDataflow(lifter.ir);
  }

  /** Makes the locals of a region. */
  protected declareLocals(order: BasicBlock[], lifted: LiftedBlock[]): void {
    const { locals, dataflow } = this;
    dataflow.analyse(order, lifted);
    locals.clear();
    for (const type of FIXED_LOCALS) locals.add(type);
    for (let n = 0; n < 16; n++) {
      if (dataflow.used & (1 << n)) this.gprLocal[n] = locals.add(op.T_I64);
      if (dataflow.used & (1 << (n + VECTOR_BITS))) this.xmmLocal[n] = locals.add(op.T_V128);
    }
  }

  /** Loads registers and budget from the state; the flags stay there until they are written. */
  protected load(registers: RegisterSet): void {
    const { out } = this;
    for (let n = 0; n < 16; n++) {
      if (registers & (1 << n)) {
        out.loadField(state.gprOffset(n), 8);
        out.localSet(this.gprLocal[n]);
      }
      if (registers & (1 << (n + VECTOR_BITS))) {
        out.loadField(state.S_XMM + n * 16, 16);
        out.localSet(this.xmmLocal[n]);
      }
    }
    out.i32Const(FLAGS_IN_STATE);
    out.localSet(CC_OP);
    out.loadField(state.S_BUDGET, 4);
    out.localSet(BUDGET);
  }

  /** Writes back what may have changed; not RIP and the budget. */
  protected spill({ registers, flags }: Gather): void {
    for (let n = 0; n < 16; n++) {
      if (registers & (1 << n)) this.storeLocal(state.gprOffset(n), this.gprLocal[n], 8);
      if (registers & (1 << (n + VECTOR_BITS))) this.storeLocal(state.S_XMM + n * 16, this.xmmLocal[n], 16);
    }
    if (flags) this.spillFlags();
  }

  /** Writes the lazy flags back, if they are in the locals. */
  private spillFlags(): void {
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

  // --- flags ---

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

  // --- reads and writes ---

  /** Saves the wanted reads among `pending` that `conflicts` names and that come before node `before`. */
  protected settle(conflicts: (n: number) => boolean, before: number): void {
    let kept = 0;
    for (const n of this.pending) {
      if (this.uses[n] > 0 && n < before && conflicts(n)) this.settleNode(n);
      else if (this.uses[n] > 0) this.pending[kept++] = n;
    }
    this.pending.length = kept;
  }

  protected read(n: number): void {
    const { ir, out } = this;
    const imm = ir.imm[n];
    const imm2 = ir.imm2[n];
    switch (ir.op[n]) {
      case op.GPR_READ: {
        const local = this.gprLocal[(imm - state.S_GPR) >> 3];
        out.localGet(local);
        if (imm & 7) {
          out.i64Const(8, 0);
          out.byte(op.I64_SHR_U);
        }
        if (imm2 === 8) break;
        out.byte(op.I32_WRAP_I64);
        if (imm2 < 4) {
          out.i32Const(imm2 === 1 ? 0xff : 0xffff);
          out.byte(op.I32_AND);
        }
        break;
      }
      case op.XMM_READ:
        out.localGet(this.xmmLocal[(imm - state.S_XMM) >> 4]);
        break;
      case op.FIELD_READ:
        out.loadField(imm + (imm2 >> 8), imm2 & 0xff);
        break;
      case op.FLAGS_READ:
        if (imm === FLAG_C) this.carry();
        else {
          this.callFlags();
          out.i32Const(imm);
          out.byte(op.I32_AND);
        }
        break;
      case op.FLAGS_CONDITION:
        this.conditionOfLocals(imm);
        break;
      default:
        throw new Error(`no region code for read 0x${ir.op[n].toString(16)}`);
    }
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
  private conditionOfLocals(cc: number): void {
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

  /** FLAGS_MERGE has done its work in FlagTracker: a FLAGS_WRITE stands beside it. */
  protected override isRoot(opcode: number): boolean {
    return opcode !== op.FLAGS_MERGE && super.isRoot(opcode);
  }

  protected writeXmm(n: number): void {
    const { ir, out } = this;
    const slot = ir.imm[n];
    this.value(ir.a[n]);
    this.settle((m) => ir.op[m] === op.XMM_READ && ir.imm[m] === slot, n);
    out.localSet(this.xmmLocal[(slot - state.S_XMM) >> 4]);
  }

  protected writeField(n: number): void {
    const { ir, out } = this;
    out.i32Const(0);
    this.value(ir.a[n]);
    this.settle((m) => ir.op[m] === op.FIELD_READ, n);
    out.storeSized(ir.imm[n], ir.imm2[n]);
  }

  /** Notes new flags; those before them, if nothing could have seen them, are forgotten. */
  protected writeFlags(n: number): void {
    this.dropFlags();
    this.flags = n;
  }

  protected writeGpr(n: number, register: number, high: number, bytes: number): void {
    const { ir, out } = this;
    const local = this.gprLocal[register];
    if (bytes === 8) this.value(ir.a[n]);
    else if (bytes === 4) {
      this.value(ir.a[n]);
      out.byte(op.I64_EXTEND_I32_U);
    } else {
      const shift = high !== 0 ? 8 : 0;
      this.value(ir.a[n]);
      out.byte(op.I64_EXTEND_I32_U);
      if (shift !== 0) {
        out.i64Const(8, 0);
        out.byte(op.I64_SHL);
      }
      out.localGet(local);
      const mask = bytes === 1 ? 0xff << shift : 0xffff;
      out.i64Const(~mask, -1);
      out.byte(op.I64_AND);
      out.byte(op.I64_OR);
    }
    this.settle((m) => ir.op[m] === op.GPR_READ && (ir.imm[m] - state.S_GPR) >> 3 === register, n);
    out.localSet(local);
  }
}

function isFlagRead(ir: { op: Uint16Array }): (n: number) => boolean {
  return (n) => ir.op[n] === op.FLAGS_READ || ir.op[n] === op.FLAGS_CONDITION;
}
