/**
 * Prints a region as one WebAssembly function (Design §4, tier 1). Guest registers and lazy flags live in locals, loaded
 * at entry and written back where the region is left; blocks are nested by dominators, so loops stay loops.
 *
 * Whatever is not simple leaves through a cold *side exit* with the state as before the instruction: the interpreter
 * does the instruction. Instructions that only helpers execute are stepped in place.
 */
import type { RegionBody } from '../core.ts';
import { EXIT_AWAY, EXIT_BUDGET, EXIT_INTERPRET, EXIT_STOP, HELPER_JUMP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { isStateRead } from '../wasm/emitter.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_CALL, END_INDIRECT, END_JUMP, END_RETURN, END_SWITCH } from './control-flow.ts';
import { type RegionPlan, UNLIKELY } from './region-exits.ts';
import { RegionFlow } from './region-flow.ts';
import { HELPER_PORT_IN, HELPER_PORT_OUT, HELPER_STEP } from './region-helpers.ts';
import { BASE, BUDGET, CODE, RIP } from './region-locals.ts';
import { FOR_SPEED } from './region-memory.ts';
import type { LiftedBlock } from './region-state.ts';
import { OF_RECORD, RELOCATION_STRIDE, type Relocations } from './relocation.ts';
import type { Site } from './sites.ts';

/** A function's body, the exit sites in it and the number of its locals. */
export interface EmittedRegion {
  body: RegionBody;
  sites: Site[];
  relocations: Relocations;
  locals: number;
}

export class RegionEmitter extends RegionFlow {
  private readonly lifted = new Map<BasicBlock, LiftedBlock>();
  /** Did the instruction at hand let a device have a say? */
  private mayStop = false;
  /** Did the block at hand write the mode word? */
  private changesMode = false;

  emit(order: BasicBlock[], lifted: LiftedBlock[], plan: RegionPlan): EmittedRegion {
    const { out, locals } = this;
    this.begin(plan);
    this.lifted.clear();
    for (const l of lifted) this.lifted.set(l.block, l);
    this.declareLocals(order, lifted);
    this.cached = 0;
    out.reset();
    const [entry] = order;
    this.load(this.dataflow.live(entry));
    if (entry.end === END_SWITCH) {
      out.loadField(state.S_RIP, 8);
      out.localSet(RIP);
    }
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.tree(entry);
    out.byte(wasm.END);
    this.finish(entry.ripHigh);
    out.byte(wasm.END);
    const body = new wasm.Encoder();
    locals.declare(body, 1);
    const start = body.length;
    body.raw(out.written());
    const hints = this.hints.map((value, i) => (i % 2 === 0 ? value + start : value));
    const relocations = this.relocations.map((value, i) => (i % RELOCATION_STRIDE === 0 ? value + start : value));
    return { body: { code: body.written(), hints }, sites: this.sites, relocations, locals: locals.types.length };
  }

  // --- blocks ---------------------------------------------------------------------------------------------------------

  protected block(block: BasicBlock): void {
    if (block.end === END_SWITCH) {
      this.switch(block);
      return;
    }
    const { ir, out } = this;
    const lifted = this.lifted.get(block)!;
    const { starts, end, steps } = lifted;
    const first = starts[0];
    this.countUses(first, end);
    this.pending = [];
    this.flags = 0;
    for (let n = first; n < end; n++) if (isStateRead(ir.op[n])) this.pending.push(n);
    this.beginMemory(lifted);
    this.at = 0;
    this.changesMode = false;
    this.blockLow = block.ripLow;
    out.i32Const(block.ripLow);
    out.localSet(BASE);
    const count = block.instructions.length;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_SUB);
    if (block.order === 0) {
      out.localTee(BUDGET);
      out.i32Const(0);
      out.byte(op.I32_LT_S);
      this.open(UNLIKELY);
      this.leave(block.ripLow, EXIT_BUDGET, count);
      this.close();
    } else out.localSet(BUDGET);
    for (let i = 0; i < count; i++) {
      const next = i + 1 < count ? block.instructions[i + 1] : block.endLow;
      this.insnLow = block.instructions[i];
      this.insnHigh = block.ripHigh;
      this.remaining = count - i;
      this.position = starts[i];
      this.beginInstruction();
      if (steps[i] !== 0) this.step(block, steps[i], next);
      else {
        const last = i + 1 < count ? starts[i + 1] : end;
        for (let n = starts[i]; n < last; n++) {
          this.position = n;
          if (this.isRoot(ir.op[n])) this.rootOf(block, n);
        }
        if (this.mayStop) this.stopIfAsked(next);
      }
    }
    this.position = end;
    const tail = end > first ? ir.op[end - 1] : 0;
    if (tail !== op.JUMP && tail !== op.BRANCH) {
      if (block.end === END_JUMP) this.go(block, 0, this.flagsFor(block));
      else {
        this.commitFlags();
        this.leave(block.endLow, EXIT_INTERPRET, 0);
      }
    }
    for (let n = first; n < end; n++) if (this.local[n] >= 0) this.drop(n);
  }

  // --- ports ----------------------------------------------------------------------------------------------------------

  /** Lets devices see the budget as of behind the instruction at hand, as they may cut it short. */
  private storeBudget(): void {
    const { out } = this;
    out.i32Const(0);
    out.localGet(BUDGET);
    out.i32Const(this.remaining - 1);
    out.byte(op.I32_ADD);
    out.storeSized(state.S_BUDGET, 4);
  }

  /** Behind an instruction that let a device have a say: leaves for the one at `low` if it asked for the run loop. */
  private stopIfAsked(low: number): void {
    const { out } = this;
    this.mayStop = false;
    this.commitFlags();
    out.loadField(state.S_BUDGET, 4);
    out.i32Const(0);
    out.byte(op.I32_LT_S);
    out.loadField(state.S_STALE, 4);
    out.byte(op.I32_OR);
    this.open(UNLIKELY);
    // What is asked for stands in the state, and the exit writes the local there.
    out.loadField(state.S_BUDGET, 4);
    out.localSet(BUDGET);
    this.leave(low, EXIT_AWAY, 0);
    this.close();
  }

  // --- reads and roots ------------------------------------------------------------------------------------------------

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
        this.writeXmm(n);
        break;
      case op.FIELD_WRITE:
        if (imm === state.S_MODE) this.changesMode = true;
        this.writeField(n);
        break;
      case op.FLAGS_WRITE:
        this.writeFlags(n);
        break;
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
        out.call(HELPER_PORT_IN);
        this.keep(n);
        this.mayStop = true;
        break;
      case op.PORT_OUT:
        this.storeBudget();
        this.value(ir.a[n]);
        out.i32Const(imm2);
        this.value(ir.b[n]);
        out.call(HELPER_PORT_OUT);
        this.mayStop = true;
        break;
      case op.BULK_COPY:
      case op.BULK_FILL:
        this.bulk(n);
        break;
      case op.SLOW_IF:
        if (this.returnsInside(block)) this.expectReturn(block, n);
        else this.value(ir.a[n]);
        this.sideExitIf(FOR_SPEED);
        break;
      case op.JUMP:
        this.jump(block, n);
        break;
      case op.BRANCH: {
        this.release(ir.b[n]);
        const condition = this.locals.take(op.T_I32);
        this.value(ir.a[n]);
        out.localSet(condition);
        const held = this.flagsFor(block);
        out.localGet(condition);
        this.locals.release(condition);
        this.open(this.likelihood(block));
        this.go(block, 0, held);
        this.close();
        this.go(block, 1, held);
        break;
      }
      default:
        throw new Error(`no region code for operation 0x${ir.op[n].toString(16)}`);
    }
  }

  private jump(block: BasicBlock, n: number): void {
    const { ir, out } = this;
    if (block.end === END_JUMP || this.returnsInside(block)) {
      this.release(ir.a[n]);
      this.go(block, 0, this.flagsFor(block));
      return;
    }
    if (block.callee !== undefined) {
      this.release(ir.a[n]);
      this.commitFlags();
      this.callOut(block, block.callee);
      return;
    }
    this.value(ir.a[n]);
    out.localSet(RIP);
    this.commitFlags();
    if (block.end === END_INDIRECT || block.end === END_CALL) this.indirect(block);
    else if (this.changesMode) this.leaveForRip(EXIT_AWAY);
    else if (ir.imm[n] === op.HINT_RETURN) this.return(block);
    else this.leaveForRip(EXIT_STOP);
  }

  /** Is the instruction at hand the return of a function that the region followed? */
  private returnsInside(block: BasicBlock): boolean {
    return block.end === END_RETURN && block.successors[0] !== undefined && this.remaining === 1;
  }

  /** i32 on the stack: does a return lead elsewhere than expected? Asked in place of whether the address is canonical. */
  private expectReturn(block: BasicBlock, n: number): void {
    const { ir, out } = this;
    const condition = ir.a[n];
    const target = ir.b[condition];
    this.uses[target]++;
    this.release(condition);
    this.value(target);
    out.i64Const(block.targets[0], block.targets[1]);
    out.byte(op.I64_NE);
  }

  /** Leaves for RIP by a return of the guest: straight to whoever called the region, which may go on there. */
  private return(block: BasicBlock): void {
    const { out } = this;
    this.spill(this.dataflow.dirty(block));
    this.storePlace();
    out.i32Const(EXIT_STOP);
    out.byte(wasm.RETURN);
  }

  // --- stepping in place ----------------------------------------------------------------------------------------------

  /** Has an instruction's helper execute it: everything goes to the state and comes back. @param next address behind it */
  private step(block: BasicBlock, record: number, next: number): void {
    const { out, dataflow } = this;
    this.commitFlags();
    this.settle(() => true, this.position);
    // The budget as of before the instructions behind this one, so that an exit in it counts exactly.
    this.storeBudget();
    out.i32Const(0);
    out.i64Const(this.insnLow, this.insnHigh);
    out.storeSized(state.S_RIP, 8);
    this.spill(dataflow.dirty(block));
    this.ownConst(OF_RECORD, this.insnLow, record);
    out.call(HELPER_STEP);
    out.localTee(CODE);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    // A helper that set RIP (HELPER_JUMP) has the dispatcher go on there.
    out.i32Const(EXIT_AWAY);
    out.localGet(CODE);
    out.localGet(CODE);
    out.i32Const(HELPER_JUMP);
    out.byte(op.I32_EQ);
    out.byte(wasm.SELECT_OP);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
    // What ran may have invalidated this region, changed the mode or asked for a stop.
    const behind = this.remaining - 1;
    out.loadField(state.S_BUDGET, 4);
    out.i32Const(behind);
    out.byte(op.I32_LT_S);
    out.loadField(state.S_STALE, 4);
    out.byte(op.I32_OR);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.i32Const(0);
    out.i64Const(next, this.insnHigh);
    out.storeSized(state.S_RIP, 8);
    out.i32Const(EXIT_AWAY);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
    this.load(dataflow.used);
    this.cached = 0;
    if (behind !== 0) {
      out.localGet(BUDGET);
      out.i32Const(behind);
      out.byte(op.I32_SUB);
      out.localSet(BUDGET);
    }
  }
}
