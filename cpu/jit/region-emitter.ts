/**
 * Prints a region as one WebAssembly function (Design §4, tier 1). Guest registers and lazy flags live in locals, loaded
 * at entry and written back where the region is left; blocks are nested by dominators, so loops stay loops.
 *
 * Whatever is not simple leaves through a cold *side exit* with the state as before the instruction: the interpreter
 * does the instruction. Instructions that only helpers execute are stepped in place.
 */
import { EXIT_BUDGET, EXIT_GROW, EXIT_INTERPRET, EXIT_SIDE, EXIT_STOP, HELPER_JUMP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import type { Lifter } from '../lift/lifter.ts';
import * as state from '../state.ts';
import { TYPE_PORT_IN, TYPE_PORT_OUT, TYPE_REGION, TYPE_RUN } from '../wasm/core-types.ts';
import { IrEmitter, isStateRead, LocalPool } from '../wasm/emitter.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_INDIRECT, END_JUMP, END_RETURN, END_SWITCH } from './control-flow.ts';
import { perfectHash } from './perfect-hash.ts';
import { type ExitSites, HASH_FACTOR, HASH_SHIFT } from './sites.ts';

/** Entries of the helper table that regions import. */
export const HELPER_STEP = 0;
export const HELPER_FLAGS = 1;
export const HELPER_PORT_IN = 2;
export const HELPER_PORT_OUT = 3;
export const HELPER_TABLE_SIZE = 8;

/** IR of one block: a range of nodes, with the start of each instruction. */
export interface LiftedBlock {
  block: BasicBlock;
  /** First node of each instruction, and the end of the last one. */
  starts: number[];
  end: number;
  /** Record of instruction i for its helper; 0: its IR does it. */
  steps: number[];
}

/** How memory is reached. */
export interface AddressSpace {
  /** Direct mode: addresses from `low` for `length` bytes are RAM 1:1. 0: by the TLB. */
  directLow: number;
  directLength: number;
}

/** The locals that every region has. */
const CC_OP = 0;
const CC_A = 1;
const CC_B = 2;
const CC_RES = 3;
const RIP = 4;
const BUDGET = 5;
const CODE = 6;
const ENTRY = 7;
const ADDRESS = 8;
const COUNT = 9;
const FIXED_LOCALS = [
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
];

/** Labels of enclosing constructs, innermost last. */
type Label = { block: BasicBlock | undefined; kind: 'exit' | 'loop' | 'merge' | 'if' };

export class RegionEmitter extends IrEmitter {
  private readonly lifted = new Map<BasicBlock, LiftedBlock>();
  private labels: Label[] = [];
  private space!: AddressSpace;
  /** Where exits are counted; undefined: the region shall not be made anew for them. */
  private sites: ExitSites | undefined;
  /** State reads not yet emitted, of the block at hand. */
  private pending: number[] = [];
  /** The FLAGS_WRITE that holds now and has not been put into the locals; 0: the locals are right. */
  private flags = 0;
  /** The local of each register that the region uses. */
  private readonly gprLocal = new Uint32Array(16);
  private readonly xmmLocal = new Uint32Array(16);
  private used = 0;
  private xmmUsed = 0;
  private written = 0;
  private xmmWritten = 0;
  /** Of the instruction at hand: its address and the instructions of its block that come with and after it. */
  private insnLow = 0;
  private insnHigh = 0;
  private remaining = 0;
  private readonly stubLocals = new Map<number, number>();
  /** Address node of the instruction at hand that was checked for writing; 0: none. */
  private writable = 0;
  /** The node being emitted: state reads before it see the state as it was. */
  private position = 0;
  /** Did the instruction at hand let a device have a say? */
  private mayStop = false;

  constructor(lifter: Lifter, out: wasm.Encoder) {
    super(lifter.ir, out, new LocalPool());
  }

  /** @returns the function's body. */
  emit(order: BasicBlock[], lifted: LiftedBlock[], space: AddressSpace, sites: ExitSites | undefined): Uint8Array {
    const { out, locals } = this;
    this.space = space;
    this.sites = sites;
    this.lifted.clear();
    for (const l of lifted) this.lifted.set(l.block, l);
    locals.clear();
    for (const type of FIXED_LOCALS) locals.add(type);
    this.census(lifted);
    for (let n = 0; n < 16; n++) {
      if (this.used & (1 << n)) this.gprLocal[n] = locals.add(op.T_I64);
      if (this.xmmUsed & (1 << n)) this.xmmLocal[n] = locals.add(op.T_V128);
    }
    out.reset();
    this.load();
    this.labels = [{ block: undefined, kind: 'exit' }];
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.tree(order[0]);
    out.byte(wasm.END);
    this.spill();
    out.localGet(CODE);
    out.byte(wasm.END);
    const body = new wasm.Encoder();
    locals.declare(body, 0);
    body.raw(out.written());
    return body.written();
  }

  /** Which registers the region reads or writes. */
  private census(lifted: LiftedBlock[]): void {
    const { ir } = this;
    this.used = 0;
    this.xmmUsed = 0;
    this.written = 0;
    this.xmmWritten = 0;
    for (const { starts, end } of lifted)
      for (let n = starts[0]; n < end; n++) {
        const opcode = ir.op[n];
        if (opcode === op.GPR_READ || opcode === op.GPR_WRITE) {
          const bit = 1 << ((ir.imm[n] - state.S_GPR) >> 3);
          this.used |= bit;
          if (opcode === op.GPR_WRITE) this.written |= bit;
        } else if (opcode === op.XMM_READ || opcode === op.XMM_WRITE) {
          const bit = 1 << ((ir.imm[n] - state.S_XMM) >> 4);
          this.xmmUsed |= bit;
          if (opcode === op.XMM_WRITE) this.xmmWritten |= bit;
        }
      }
  }

  /** Loads registers, flags and budget from the state. */
  private load(): void {
    const { out } = this;
    for (let n = 0; n < 16; n++) {
      if (this.used & (1 << n)) {
        out.loadField(state.gprOffset(n), 8);
        out.localSet(this.gprLocal[n]);
      }
      if (this.xmmUsed & (1 << n)) {
        out.loadField(state.S_XMM + n * 16, 16);
        out.localSet(this.xmmLocal[n]);
      }
    }
    out.loadField(state.S_CC_OP, 4);
    out.localSet(CC_OP);
    out.loadField(state.S_CC_A, 8);
    out.localSet(CC_A);
    out.loadField(state.S_CC_B, 8);
    out.localSet(CC_B);
    out.loadField(state.S_CC_RES, 8);
    out.localSet(CC_RES);
    out.loadField(state.S_BUDGET, 4);
    out.localSet(BUDGET);
  }

  /** Writes everything back. */
  private spill(): void {
    const { out } = this;
    const field = (offset: number, local: number, size: number) => {
      out.i32Const(0);
      out.localGet(local);
      out.storeSized(offset, size);
    };
    for (let n = 0; n < 16; n++) {
      if (this.written & (1 << n)) field(state.gprOffset(n), this.gprLocal[n], 8);
      if (this.xmmWritten & (1 << n)) field(state.S_XMM + n * 16, this.xmmLocal[n], 16);
    }
    field(state.S_CC_OP, CC_OP, 4);
    field(state.S_CC_A, CC_A, 8);
    field(state.S_CC_B, CC_B, 8);
    field(state.S_CC_RES, CC_RES, 8);
    field(state.S_RIP, RIP, 8);
    field(state.S_BUDGET, BUDGET, 4);
  }

  // --- structure ------------------------------------------------------------------------------------------------------

  /** Emits `block` and all that it dominates. */
  private tree(block: BasicBlock): void {
    const { out } = this;
    if (block.loopHead) {
      out.byte(wasm.LOOP);
      out.byte(wasm.VOID);
      this.labels.push({ block, kind: 'loop' });
    }
    const merges = block.dominated.filter((d) => d.merge).sort((a, b) => b.order - a.order);
    this.within(block, merges, 0);
    if (block.loopHead) {
      this.labels.pop();
      out.byte(wasm.END);
    }
  }

  /** Emits `block` inside one labelled block for each merge point that it dominates, the latest outermost. */
  private within(block: BasicBlock, merges: BasicBlock[], i: number): void {
    const { out } = this;
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    if (i === merges.length) {
      // Exits are gathered block by block: one merge of them all would cost optimising compilers dearly.
      this.labels.push({ block: undefined, kind: 'exit' });
      this.block(block);
      this.labels.pop();
      out.byte(wasm.END);
      out.branch(wasm.BR, this.depthOf(undefined, 'exit'));
      return;
    }
    this.labels.push({ block: merges[i], kind: 'merge' });
    this.within(block, merges, i + 1);
    this.labels.pop();
    out.byte(wasm.END);
    this.tree(merges[i]);
  }

  private depthOf(target: BasicBlock | undefined, kinds: string): number {
    for (let i = this.labels.length - 1; i >= 0; i--) {
      const label = this.labels[i];
      if (label.block === target && kinds.includes(label.kind)) return this.labels.length - 1 - i;
    }
    throw new Error('no such label');
  }

  /** Goes from `source` to `target`. */
  private edge(source: BasicBlock, target: BasicBlock): void {
    if (target.order <= source.order) this.out.branch(wasm.BR, this.depthOf(target, 'loop'));
    else if (target.merge) this.out.branch(wasm.BR, this.depthOf(target, 'merge'));
    else this.tree(target);
  }

  /** Leaves for a known address. */
  private leave(low: number, high: number, code: number): void {
    const { out } = this;
    out.i64Const(low, high);
    out.localSet(RIP);
    this.exit(code);
  }

  /** Leaves; RIP's local is set. */
  private exit(code: number): void {
    const { out } = this;
    out.i32Const(code);
    out.localSet(CODE);
    out.branch(wasm.BR, this.depthOf(undefined, 'exit'));
  }

  // --- blocks ---------------------------------------------------------------------------------------------------------

  private block(block: BasicBlock): void {
    if (block.end === END_SWITCH) {
      this.switch(block);
      return;
    }
    const { ir, out } = this;
    const { starts, end, steps } = this.lifted.get(block)!;
    const first = starts[0];
    this.countUses(first, end);
    this.pending = [];
    this.flags = 0;
    for (let n = first; n < end; n++) if (isStateRead(ir.op[n])) this.pending.push(n);
    const count = block.instructions.length;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_SUB);
    if (block.loopHead || block.order === 0) {
      out.localTee(BUDGET);
      out.i32Const(0);
      out.byte(op.I32_LT_S);
      this.open();
      this.giveBack(count);
      this.leave(block.ripLow, block.ripHigh, EXIT_BUDGET);
      this.close();
    } else out.localSet(BUDGET);
    for (let i = 0; i < count; i++) {
      this.insnLow = block.instructions[i];
      this.insnHigh = block.ripHigh;
      this.remaining = count - i;
      this.position = starts[i];
      this.writable = 0;
      if (steps[i] !== 0) this.step(steps[i], i + 1 < count ? block.instructions[i + 1] : block.endLow, block.ripHigh);
      else {
        const last = i + 1 < count ? starts[i + 1] : end;
        for (let n = starts[i]; n < last; n++) {
          this.position = n;
          if (this.isRoot(ir.op[n])) this.rootOf(block, n);
        }
        if (this.mayStop) this.stopIfAsked(i + 1 < count ? block.instructions[i + 1] : block.endLow, block.ripHigh);
      }
    }
    this.position = end;
    const tail = end > first ? ir.op[end - 1] : 0;
    if (tail !== op.JUMP && tail !== op.BRANCH) {
      this.commitFlags();
      if (block.end === END_JUMP) this.go(block, 0);
      else this.leave(block.endLow, block.endHigh, EXIT_INTERPRET);
    }
    for (let n = first; n < end; n++) if (this.local[n] >= 0) this.drop(n);
  }

  /** Adds `count` instructions that did not run back to the budget. */
  private giveBack(count: number): void {
    const { out } = this;
    if (count === 0) return;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_ADD);
    out.localSet(BUDGET);
  }

  /** Goes to successor `i` of `block`, inside the region or out of it. */
  private go(block: BasicBlock, i: number): void {
    const successor = block.successors[i];
    if (successor !== undefined) this.edge(block, successor);
    else {
      const [low, high] = block.targets.slice(i * 2);
      const site = block.cold[i] ? (this.sites?.cold(low) ?? 0) : 0;
      if (site === 0) this.leave(low, high, EXIT_STOP);
      else {
        this.out.i64Const(low, high);
        this.out.localSet(RIP);
        this.exitCounted(site);
      }
    }
  }

  /** Leaves for RIP, counted at a site. */
  private exitCounted(site: number): void {
    const { out } = this;
    out.i32Const(site);
    out.i32Const(EXIT_GROW);
    out.i32Const(EXIT_STOP);
    out.i32Const(site);
    out.loadSized(state.SITE_COUNT, 4);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.localTee(CODE);
    // On the stack: site, EXIT_GROW, EXIT_STOP, count.
    out.byte(op.I32_EQZ);
    out.byte(wasm.SELECT_OP);
    out.localGet(CODE);
    out.localSet(COUNT);
    out.localSet(CODE);
    out.localGet(COUNT);
    out.storeSized(state.SITE_COUNT, 4);
    out.branch(wasm.BR, this.depthOf(undefined, 'exit'));
  }

  /** Leaves an indirect jump whose target, in RIP, is none that was known: notes it. */
  private exitIndirect(address: number): void {
    const { out } = this;
    const site = this.sites?.indirect(address) ?? 0;
    if (site === 0) {
      this.exit(EXIT_STOP);
      return;
    }
    this.hashOfRip(HASH_FACTOR, HASH_SHIFT);
    out.i32Const(2);
    out.byte(op.I32_SHL);
    out.localGet(RIP);
    out.memory(wasm.I64_STORE32, site + state.SITE_TARGETS);
    this.exitCounted(site);
  }

  /** i32 on the stack: the upper bits of the product of RIP's low half and `factor`. */
  private hashOfRip(factor: number, shift: number): void {
    const { out } = this;
    out.localGet(RIP);
    out.byte(op.I32_WRAP_I64);
    out.i32Const(factor);
    out.byte(op.I32_MUL);
    out.i32Const(shift);
    out.byte(op.I32_SHR_U);
  }

  /** Goes where RIP says, by a hash that has no collisions among the targets. */
  private switch(block: BasicBlock): void {
    const { out } = this;
    if (block.loopHead || block.order === 0) {
      out.localGet(BUDGET);
      out.i32Const(0);
      out.byte(op.I32_LT_S);
      this.open();
      this.exit(EXIT_BUDGET);
      this.close();
    }
    const arms = block.successors.flatMap((target, i) => (target === undefined ? [] : [i]));
    const { factor, shift, slots } = perfectHash(arms.map((i) => block.targets[i * 2]));
    for (let i = 0; i <= arms.length; i++) this.openBlock();
    this.hashOfRip(factor, shift);
    out.byte(wasm.BR_TABLE);
    out.u32(slots.length);
    for (const slot of slots) out.u32(slot);
    out.u32(arms.length);
    for (let i = 0; i < arms.length; i++) {
      this.close();
      out.localGet(RIP);
      out.i64Const(block.targets[arms[i] * 2], block.targets[arms[i] * 2 + 1]);
      out.byte(op.I64_NE);
      out.branch(wasm.BR_IF, arms.length - 1 - i);
      this.edge(block, block.successors[arms[i]]!);
    }
    this.close();
    this.exitIndirect(block.ripLow);
  }

  private openBlock(): void {
    this.out.byte(wasm.BLOCK);
    this.out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'if' });
  }

  private open(): void {
    this.out.byte(wasm.IF);
    this.out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'if' });
  }

  private close(): void {
    this.out.byte(wasm.END);
    this.labels.pop();
  }

  /** With a condition on the stack: a side exit to the interpreter at the instruction at hand. */
  private sideExitIf(code: number): void {
    this.open();
    this.coldFlags();
    this.giveBack(this.remaining);
    this.leave(this.insnLow, this.insnHigh, code);
    this.close();
  }

  // --- flags ----------------------------------------------------------------------------------------------------------

  /** Puts the flags that hold now into their locals, in the flow of the code. */
  private commitFlags(): void {
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

  /** The same in a cold exit: leaves what is known of values as it is. */
  private coldFlags(): void {
    if (this.flags === 0) return;
    const { ir, out } = this;
    const n = this.flags;
    this.stubLocals.clear();
    const nodes = [ir.a[n], ir.b[n], ir.c[n]];
    for (const node of nodes) if (node !== 0) this.coldValue(node);
    for (let i = 2; i >= 0; i--) if (nodes[i] !== 0) out.localSet(CC_A + i);
    out.i32Const(ir.imm[n]);
    out.localSet(CC_OP);
    for (const local of this.stubLocals.values()) this.locals.release(local);
  }

  /** Value of a node in a cold exit: computed again rather than kept. */
  private coldValue(n: number): void {
    const { ir, out } = this;
    const kept = this.local[n] >= 0 ? this.local[n] : this.stubLocals.get(n);
    if (kept !== undefined) {
      out.localGet(kept);
      return;
    }
    if (ir.op[n] === op.CONST) {
      if (ir.type[n] === op.T_I64) out.i64Const(ir.imm[n], ir.imm2[n]);
      else out.i32Const(ir.imm[n]);
      return;
    }
    if (isStateRead(ir.op[n])) {
      this.read(n);
      return;
    }
    for (const operand of [ir.a[n], ir.b[n], ir.c[n]]) if (operand !== 0) this.coldValue(operand);
    this.opcode(n);
    const local = this.locals.take(ir.type[n]);
    this.stubLocals.set(n, local);
    out.localTee(local);
  }

  private callHelper(helper: number, type: number): void {
    const { out } = this;
    out.i32Const(helper);
    out.byte(wasm.CALL_INDIRECT);
    out.u32(type);
    out.u32(0);
  }

  /** Lets devices see the budget as of behind the instruction at hand, as they may cut it short. */
  private storeBudget(): void {
    const { out } = this;
    out.i32Const(0);
    out.localGet(BUDGET);
    out.i32Const(this.remaining - 1);
    out.byte(op.I32_ADD);
    out.storeSized(state.S_BUDGET, 4);
  }

  /** Behind an instruction that let a device have a say: leaves for the one at `low/high` if it asked for the run loop. */
  private stopIfAsked(low: number, high: number): void {
    const { out } = this;
    this.mayStop = false;
    out.loadField(state.S_BUDGET, 4);
    out.i32Const(0);
    out.byte(op.I32_LT_S);
    out.loadField(state.S_STALE, 4);
    out.byte(op.I32_OR);
    this.open();
    this.coldFlags();
    // What is asked for stands in the state, and the exit writes the local there.
    out.loadField(state.S_BUDGET, 4);
    out.localSet(BUDGET);
    out.i32Const(0);
    out.i32Const(0);
    out.storeSized(state.S_STALE, 4);
    this.leave(low, high, EXIT_STOP);
    this.close();
  }

  /** Gives up one use of node `n` that will not be made. */
  private release(n: number): void {
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

  // --- reads and roots ------------------------------------------------------------------------------------------------

  /** Saves the wanted reads among `pending` that `conflicts` names and that come before node `before`. */
  private settle(conflicts: (n: number) => boolean, before: number): void {
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
        if (imm === state.S_CC_A) out.localGet(CC_A);
        else if (imm === state.S_CC_B) out.localGet(CC_B);
        else if (imm === state.S_CC_RES) out.localGet(CC_RES);
        else out.loadField(imm + (imm2 >> 8), imm2 & 0xff);
        break;
      case op.FLAGS_READ:
        this.callFlags();
        out.i32Const(imm);
        out.byte(op.I32_AND);
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
    const { out } = this;
    const field = (offset: number, local: number, size: number) => {
      out.i32Const(0);
      out.localGet(local);
      out.storeSized(offset, size);
    };
    field(state.S_CC_OP, CC_OP, 4);
    field(state.S_CC_A, CC_A, 8);
    field(state.S_CC_B, CC_B, 8);
    field(state.S_CC_RES, CC_RES, 8);
    this.callHelper(HELPER_FLAGS, TYPE_REGION);
  }

  /** i32 0/1 on the stack: condition `cc` of flags of unknown kind. */
  private conditionOfLocals(cc: number): void {
    const { out } = this;
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

  protected root(): void {
    throw new Error('regions emit roots by block');
  }

  private rootOf(block: BasicBlock, n: number): void {
    const { ir, out } = this;
    const imm = ir.imm[n];
    const imm2 = ir.imm2[n];
    switch (ir.op[n]) {
      case op.GPR_WRITE:
        this.writeGpr(n, (imm - state.S_GPR) >> 3, imm & 7, imm2);
        break;
      case op.XMM_WRITE:
        this.value(ir.a[n]);
        this.settle((m) => ir.op[m] === op.XMM_READ && ir.imm[m] === imm, n);
        out.localSet(this.xmmLocal[(imm - state.S_XMM) >> 4]);
        break;
      case op.FIELD_WRITE:
        out.i32Const(0);
        this.value(ir.a[n]);
        this.settle((m) => ir.op[m] === op.FIELD_READ, n);
        out.storeSized(imm, imm2);
        break;
      case op.FLAGS_WRITE: {
        const old = this.flags;
        this.flags = n;
        if (old !== 0) {
          this.release(ir.a[old]);
          this.release(ir.b[old]);
          this.release(ir.c[old]);
        }
        break;
      }
      case op.LOAD:
        this.loadMemory(n);
        break;
      case op.STORE:
        this.storeMemory(n);
        break;
      case op.PORT_IN:
        this.storeBudget();
        this.value(ir.a[n]);
        out.i32Const(imm2);
        this.callHelper(HELPER_PORT_IN, TYPE_PORT_IN);
        this.keep(n);
        this.mayStop = true;
        break;
      case op.PORT_OUT:
        this.storeBudget();
        this.value(ir.a[n]);
        out.i32Const(imm2);
        this.value(ir.b[n]);
        this.callHelper(HELPER_PORT_OUT, TYPE_PORT_OUT);
        this.mayStop = true;
        break;
      case op.BULK_COPY:
      case op.BULK_FILL:
        this.bulk(n);
        break;
      case op.SLOW_IF:
        this.value(ir.a[n]);
        this.sideExitIf(EXIT_INTERPRET);
        break;
      case op.JUMP:
        this.jump(block, n);
        break;
      case op.BRANCH: {
        this.release(ir.b[n]);
        const condition = this.locals.take(op.T_I32);
        this.value(ir.a[n]);
        out.localSet(condition);
        this.commitFlags();
        out.localGet(condition);
        this.locals.release(condition);
        this.open();
        this.go(block, 0);
        this.close();
        this.go(block, 1);
        break;
      }
      default:
        throw new Error(`no region code for operation 0x${ir.op[n].toString(16)}`);
    }
  }

  private jump(block: BasicBlock, n: number): void {
    const { ir, out } = this;
    if (block.end === END_JUMP) {
      this.release(ir.a[n]);
      this.commitFlags();
      this.go(block, 0);
      return;
    }
    this.value(ir.a[n]);
    out.localSet(RIP);
    this.commitFlags();
    if (block.end === END_RETURN && block.successors[0] !== undefined) {
      out.localGet(RIP);
      out.i64Const(block.targets[0], block.targets[1]);
      out.byte(op.I64_NE);
      this.open();
      this.exit(EXIT_STOP);
      this.close();
      this.edge(block, block.successors[0]);
    } else if (block.end === END_INDIRECT && block.into !== undefined) this.indirect(block);
    else this.exit(EXIT_STOP);
  }

  /** Goes on at RIP, the target of an indirect jump, if that is a target that was seen. */
  private indirect(block: BasicBlock): void {
    const { out } = this;
    if (block.viaSwitch !== undefined && block.successors[0] !== undefined) {
      this.edge(block, block.viaSwitch);
      return;
    }
    for (let i = 0; i < block.targets.length; i += 2) {
      const target = block.successors[i / 2];
      if (target === undefined) continue;
      out.localGet(RIP);
      out.i64Const(block.targets[i], block.targets[i + 1]);
      out.byte(op.I64_EQ);
      this.open();
      this.edge(block, target);
      this.close();
    }
    this.exitIndirect(this.insnLow);
  }

  private writeGpr(n: number, register: number, high: number, bytes: number): void {
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

  // --- memory ---------------------------------------------------------------------------------------------------------

  /** Leaves the address in ADDRESS and, in TLB mode, the host's distance in ENTRY; side-exits when it is not simple. */
  private check(node: number, size: number, write: boolean): void {
    const { out, space } = this;
    this.value(node);
    if (node === this.writable) {
      // The load of this read-modify-write checked for the store too.
      out.localSet(ADDRESS);
      return;
    }
    out.localTee(ADDRESS);
    this.writable = write ? node : 0;
    if (space.directLength !== 0) {
      out.i64Const(space.directLow, 0);
      out.byte(op.I64_SUB);
      out.i64Const((space.directLength - size + 1) | 0, 0);
      out.byte(op.I64_GE_U);
      if (write) {
        // A page that holds translated code takes the slow path; looked up only for addresses inside the window.
        this.sideExitIf(EXIT_SIDE);
        out.localGet(ADDRESS);
        this.pageFlags();
      }
      this.sideExitIf(EXIT_SIDE);
      return;
    }
    out.i64Const(7, 0);
    out.byte(op.I64_SHR_U);
    out.byte(op.I32_WRAP_I64);
    out.i32Const((state.TLB_ENTRIES - 1) * state.TLB_STRIDE);
    out.byte(op.I32_AND);
    out.loadField(state.S_TLB_BASE, 4);
    out.byte(op.I32_ADD);
    out.localTee(ENTRY);
    out.loadSized(write ? state.TLB_WRITE : state.TLB_READ, 8);
    out.localGet(ADDRESS);
    if (size > 1) {
      out.i64Const(size - 1, 0);
      out.byte(op.I64_ADD);
    }
    out.i64Const(-state.PAGE_SIZE, -1);
    out.byte(op.I64_AND);
    out.byte(op.I64_NE);
    this.sideExitIf(EXIT_SIDE);
  }

  private host(): void {
    const { out } = this;
    out.localGet(ADDRESS);
    out.byte(op.I32_WRAP_I64);
    if (this.space.directLength === 0) {
      out.localGet(ENTRY);
      out.loadSized(state.TLB_ADDEND, 4);
      out.byte(op.I32_ADD);
    }
  }

  private loadMemory(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    this.check(ir.a[n], size, ir.imm[n] !== 0);
    this.host();
    out.loadSized(state.RAM_BASE, size);
    this.keep(n);
  }

  private storeMemory(n: number): void {
    const { ir, out } = this;
    const size = ir.imm2[n];
    // The value first: it may use the shared locals.
    const value = this.locals.take(ir.type[ir.b[n]]);
    this.value(ir.b[n]);
    out.localSet(value);
    this.check(ir.a[n], size, true);
    this.host();
    out.localGet(value);
    out.storeSized(state.RAM_BASE, size);
    this.locals.release(value);
  }

  /** Copies or fills a piece of memory (direct mode only); side-exits unless all of it is plain RAM without code. */
  private bulk(n: number): void {
    const { ir, out, locals } = this;
    const copy = ir.op[n] === op.BULK_COPY;
    const length = this.inLocal(ir.c[n]);
    const to = this.inLocal(ir.a[n]);
    const source = this.inLocal(ir.b[n]);
    for (const address of copy ? [to, source] : [to]) {
      out.localGet(address);
      out.i64Const(this.space.directLow, 0);
      out.byte(op.I64_SUB);
      out.i64Const(this.space.directLength, 0);
      out.localGet(length);
      out.byte(op.I64_SUB);
      out.byte(op.I64_GT_U);
      this.sideExitIf(EXIT_SIDE);
    }
    // BULK_MOST bytes lie in two pages at most.
    out.localGet(to);
    this.pageFlags();
    out.localGet(to);
    out.localGet(length);
    out.byte(op.I64_ADD);
    this.pageFlags();
    out.byte(op.I32_OR);
    this.sideExitIf(EXIT_SIDE);
    const host = (address: number) => {
      out.localGet(address);
      out.byte(op.I32_WRAP_I64);
      out.i32Const(state.RAM_BASE);
      out.byte(op.I32_ADD);
    };
    host(to);
    if (copy) host(source);
    else out.localGet(source);
    out.localGet(length);
    out.byte(op.I32_WRAP_I64);
    if (copy) out.memoryCopy();
    else out.memoryFill();
    for (const local of [length, to, source]) locals.release(local);
  }

  /** Value of a node in a local of its own. */
  private inLocal(node: number): number {
    this.value(node);
    const local = this.locals.take(this.ir.type[node]);
    this.out.localSet(local);
    return local;
  }

  /** Replaces the address on the stack, which must be in the direct window, by its page's flags. */
  private pageFlags(): void {
    const { out } = this;
    out.i64Const(12, 0);
    out.byte(op.I64_SHR_U);
    out.byte(op.I32_WRAP_I64);
    out.loadSized(state.S_PAGE_FLAGS, 1);
  }

  // --- stepping in place ----------------------------------------------------------------------------------------------

  /** Has an instruction's helper execute it: everything goes to the state and comes back. */
  private step(record: number, nextLow: number, nextHigh: number): void {
    const { out } = this;
    this.commitFlags();
    this.settle(() => true, this.position);
    // The budget as of before the instructions behind this one, so that an exit in it counts exactly.
    this.giveBack(this.remaining - 1);
    out.i64Const(this.insnLow, this.insnHigh);
    out.localSet(RIP);
    this.spill();
    out.i32Const(record);
    this.callHelper(HELPER_STEP, TYPE_RUN);
    out.localTee(CODE);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    // A helper that set RIP (HELPER_JUMP) has the dispatcher go on there.
    out.i32Const(EXIT_STOP);
    out.localGet(CODE);
    out.localGet(CODE);
    out.i32Const(HELPER_JUMP);
    out.byte(op.I32_EQ);
    out.byte(wasm.SELECT_OP);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
    // What ran may have invalidated this region, changed the mode or asked for a stop.
    out.loadField(state.S_BUDGET, 4);
    out.i32Const(this.remaining - 1);
    out.byte(op.I32_SUB);
    out.localTee(BUDGET);
    out.i32Const(0);
    out.byte(op.I32_LT_S);
    out.loadField(state.S_STALE, 4);
    out.byte(op.I32_OR);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.i32Const(0);
    out.i64Const(nextLow, nextHigh);
    out.storeSized(state.S_RIP, 8);
    out.i32Const(0);
    out.i32Const(0);
    out.storeSized(state.S_STALE, 4);
    out.i32Const(EXIT_STOP);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
    const budget = this.remaining - 1;
    this.load();
    if (budget !== 0) {
      out.localGet(BUDGET);
      out.i32Const(budget);
      out.byte(op.I32_SUB);
      out.localSet(BUDGET);
    }
  }
}

function isFlagRead(ir: { op: Uint16Array; imm: Int32Array }): (n: number) => boolean {
  return (n) =>
    ir.op[n] === op.FLAGS_READ ||
    ir.op[n] === op.FLAGS_CONDITION ||
    (ir.op[n] === op.FIELD_READ && ir.imm[n] >= state.S_CC_A && ir.imm[n] <= state.S_CC_RES);
}
