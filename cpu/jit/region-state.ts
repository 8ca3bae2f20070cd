/**
 * The state of the guest in a region: general and vector registers and the lazy flags live in locals, loaded where the
 * region is entered and written back where it is left, so far as need be (dataflow.ts). Registers that the region does not
 * use have no local, nor have those that stay in the state (homes.ts).
 */
import * as op from '../ir/ops.ts';
import type { Lifter } from '../lift/lifter.ts';
import * as state from '../state.ts';
import { LocalPool } from '../wasm/emitter.ts';
import type * as wasm from '../wasm/encoder.ts';
import type { BasicBlock } from './control-flow.ts';
import { type Gather, RegionDataflow, type RegisterSet, VECTOR_BITS } from './dataflow.ts';
import { keptInState } from './homes.ts';
import { RegionFlags } from './region-flags.ts';
import { BUDGET, CC_OP, FIXED_LOCALS, FLAGS_IN_STATE } from './region-locals.ts';

/** IR of one block: a range of nodes, with the start of each instruction. */
export interface LiftedBlock {
  block: BasicBlock;
  /** First node of each instruction, and the end of the last one. */
  starts: number[];
  end: number;
  /** Record of instruction i for its helper; 0: its IR does it. */
  steps: number[];
}

export abstract class RegionState extends RegionFlags {
  /** The local of each register. */
  private readonly gprLocal = new Uint32Array(16);
  private readonly xmmLocal = new Uint32Array(16);
  protected readonly dataflow: RegionDataflow;
  /**
   * Registers that stay in the state and whose value is in their local too, as it was read or written on the only way here.
   * (Inside a block, nothing under a condition reads registers but blocks that are emitted there.)
   */
  protected cached: RegisterSet = 0;

  constructor(lifter: Lifter, out: wasm.Encoder) {
    super(lifter.ir, out, new LocalPool());
    this.dataflow = new RegionDataflow(lifter.ir);
  }

  /** Makes the locals of a region. */
  protected declareLocals(order: BasicBlock[], lifted: LiftedBlock[]): void {
    const { locals, dataflow } = this;
    dataflow.analyse(order, lifted);
    dataflow.keep(keptInState(this.ir, order, lifted, dataflow));
    locals.clear();
    for (const type of FIXED_LOCALS) locals.add(type);
    for (let n = 0; n < 16; n++) {
      if ((dataflow.used | dataflow.kept) & (1 << n)) this.gprLocal[n] = locals.add(op.T_I64);
      if ((dataflow.used | dataflow.kept) & (1 << (n + VECTOR_BITS))) this.xmmLocal[n] = locals.add(op.T_V128);
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

  // --- reads and writes ---

  private isKept(register: number): boolean {
    return ((this.dataflow.kept >>> register) & 1) !== 0;
  }

  /** All of a general register on the stack. */
  private getGpr(register: number): void {
    this.getRegister(register, this.gprLocal[register], state.gprOffset(register), 8);
  }

  private getXmm(register: number): void {
    this.getRegister(register + VECTOR_BITS, this.xmmLocal[register], state.S_XMM + register * 16, 16);
  }

  private getRegister(register: number, local: number, offset: number, size: number): void {
    const { out } = this;
    if (!this.isKept(register) || (this.cached >>> register) & 1) {
      out.localGet(local);
      return;
    }
    out.loadField(offset, size);
    out.localTee(local);
    this.cached |= 1 << register;
  }

  /** Sets a register to the value on the stack, which `kept` ones have the state's address below. */
  private setRegister(register: number, local: number, offset: number, size: number): void {
    const { out } = this;
    if (!this.isKept(register)) {
      out.localSet(local);
      return;
    }
    out.localTee(local);
    out.storeSized(offset, size);
    this.cached |= 1 << register;
  }

  protected read(n: number): void {
    const { ir, out } = this;
    const imm = ir.imm[n];
    const imm2 = ir.imm2[n];
    switch (ir.op[n]) {
      case op.GPR_READ: {
        this.getGpr((imm - state.S_GPR) >> 3);
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
        this.getXmm((imm - state.S_XMM) >> 4);
        break;
      case op.FIELD_READ:
        out.loadField(imm + (imm2 >> 8), imm2 & 0xff);
        break;
      case op.FLAGS_READ:
        this.readFlags(imm);
        break;
      case op.FLAGS_CONDITION:
        this.conditionOfLocals(imm);
        break;
      default:
        throw new Error(`no region code for read 0x${ir.op[n].toString(16)}`);
    }
  }

  protected writeXmm(n: number): void {
    const { ir, out } = this;
    const slot = ir.imm[n];
    const register = (slot - state.S_XMM) >> 4;
    if (this.isKept(register + VECTOR_BITS)) out.i32Const(0);
    this.value(ir.a[n]);
    this.settle((m) => ir.op[m] === op.XMM_READ && ir.imm[m] === slot, n);
    this.setRegister(register + VECTOR_BITS, this.xmmLocal[register], slot, 16);
  }

  protected writeField(n: number): void {
    const { ir, out } = this;
    out.i32Const(0);
    this.value(ir.a[n]);
    this.settle((m) => ir.op[m] === op.FIELD_READ, n);
    out.storeSized(ir.imm[n], ir.imm2[n]);
  }

  protected writeGpr(n: number, register: number, high: number, bytes: number): void {
    const { ir, out } = this;
    if (this.isKept(register)) out.i32Const(0);
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
      this.getGpr(register);
      const mask = bytes === 1 ? 0xff << shift : 0xffff;
      out.i64Const(~mask, -1);
      out.byte(op.I64_AND);
      out.byte(op.I64_OR);
    }
    this.settle((m) => ir.op[m] === op.GPR_READ && (ir.imm[m] - state.S_GPR) >> 3 === register, n);
    this.setRegister(register, this.gprLocal[register], state.gprOffset(register), 8);
  }
}
