/**
 * Prints a region as one WebAssembly function (Design §4, tier 1). Guest registers and lazy flags live in locals, loaded
 * at entry and written back where the region is left; blocks are nested by dominators, so loops stay loops.
 *
 * Whatever is not simple leaves through a cold *side exit* with the state as before the instruction: the interpreter
 * does the instruction. Instructions that only helpers execute are stepped in place.
 */
import type { RegionBody } from '../core.ts';
import { EXIT_BUDGET, EXIT_GROW, EXIT_INTERPRET, EXIT_SIDE, EXIT_STOP, HELPER_JUMP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { TYPE_PORT_IN, TYPE_PORT_OUT, TYPE_RUN } from '../wasm/core-types.ts';
import { isStateRead } from '../wasm/emitter.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_INDIRECT, END_JUMP, END_RETURN, END_SWITCH } from './control-flow.ts';
import { perfectHash } from './perfect-hash.ts';
import { type AddressSpace, RegionMemory } from './region-memory.ts';
import {
  AT,
  BUDGET,
  CODE,
  HELPER_PORT_IN,
  HELPER_PORT_OUT,
  HELPER_STEP,
  type LiftedBlock,
  RIP,
  SITE,
} from './region-state.ts';
import { type ExitSites, HASH_FACTOR, HASH_SHIFT } from './sites.ts';

/** Labels of enclosing constructs, innermost last. */
type Label = { block: BasicBlock | undefined; kind: 'exit' | 'side' | 'loop' | 'merge' | 'if' };

/**
 * A side exit in AT: how many bytes into the block the instruction is, whether the interpreter does it because that is
 * faster (EXIT_INTERPRET) and not because of a memory access (EXIT_SIDE), and how many of the block's instructions have
 * not run.
 */
const AT_OFFSET_MASK = 0xffff;
const AT_INTERPRET_SHIFT = 16;
const AT_REMAINING_SHIFT = 17;

const UNLIKELY = 0;
const LIKELY = 1;

export class RegionEmitter extends RegionMemory {
  /** Branch hints: offsets in `out`, each with UNLIKELY or LIKELY. */
  private hints: number[] = [];
  private readonly lifted = new Map<BasicBlock, LiftedBlock>();
  private labels: Label[] = [];
  /** Where exits are counted; undefined: the region shall not be made anew for them. */
  private sites: ExitSites | undefined;
  /** Of the instruction at hand: its address and the instructions of its block that come with and after it. */
  private insnLow = 0;
  private insnHigh = 0;
  private remaining = 0;
  private blockLow = 0;
  /** What AT holds; 0: unknown. */
  private at = 0;
  /** Did the instruction at hand let a device have a say? */
  private mayStop = false;

  emit(order: BasicBlock[], lifted: LiftedBlock[], space: AddressSpace, sites: ExitSites | undefined): RegionBody {
    const { out, locals } = this;
    this.space = space;
    this.sites = sites;
    this.lifted.clear();
    for (const l of lifted) this.lifted.set(l.block, l);
    this.declareLocals(lifted);
    out.reset();
    this.hints = [];
    this.load();
    out.loadField(state.S_RIP, 8);
    out.localSet(RIP);
    this.labels = [{ block: undefined, kind: 'exit' }];
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.tree(order[0]);
    out.byte(wasm.END);
    this.spill();
    this.countExit();
    out.localGet(CODE);
    out.byte(wasm.END);
    const body = new wasm.Encoder();
    locals.declare(body, 0);
    const start = body.length;
    body.raw(out.written());
    return { code: body.written(), hints: this.hints.map((value, i) => (i % 2 === 0 ? value + start : value)) };
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
      this.sideExits(block);
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

  /** Emits `block`, and where its side exits come together: with RIP, budget and code as AT says. */
  private sideExits(block: BasicBlock): void {
    const { out } = this;
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'side' });
    this.block(block);
    this.labels.pop();
    out.byte(wasm.END);
    const field = (shift: number, mask: number) => {
      out.localGet(AT);
      if (shift !== 0) {
        out.i32Const(shift);
        out.byte(op.I32_SHR_U);
      }
      if (mask !== -1) {
        out.i32Const(mask);
        out.byte(op.I32_AND);
      }
    };
    out.i64Const(block.ripLow, block.ripHigh);
    field(0, AT_OFFSET_MASK);
    out.byte(op.I64_EXTEND_I32_U);
    out.byte(op.I64_ADD);
    out.localSet(RIP);
    out.localGet(BUDGET);
    field(AT_REMAINING_SHIFT, -1);
    out.byte(op.I32_ADD);
    out.localSet(BUDGET);
    out.i32Const(EXIT_SIDE);
    field(AT_INTERPRET_SHIFT, 1);
    out.byte(op.I32_SUB);
    out.localSet(CODE);
  }

  // --- blocks ---------------------------------------------------------------------------------------------------------

  private block(block: BasicBlock): void {
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
    this.blockLow = block.ripLow;
    const count = block.instructions.length;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_SUB);
    if (block.loopHead || block.order === 0) {
      out.localTee(BUDGET);
      out.i32Const(0);
      out.byte(op.I32_LT_S);
      this.open(UNLIKELY);
      this.giveBack(count);
      this.leave(block.ripLow, block.ripHigh, EXIT_BUDGET);
      this.close();
    } else out.localSet(BUDGET);
    for (let i = 0; i < count; i++) {
      this.insnLow = block.instructions[i];
      this.insnHigh = block.ripHigh;
      this.remaining = count - i;
      this.position = starts[i];
      this.beginInstruction();
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
    if (successor !== undefined) {
      if (successor.end === END_SWITCH) {
        this.out.i64Const(block.targets[i * 2], block.targets[i * 2 + 1]);
        this.out.localSet(RIP);
      }
      this.edge(block, successor);
    } else {
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
    this.out.i32Const(site);
    this.out.localSet(SITE);
    this.exit(EXIT_STOP);
  }

  /** At the region's end: counts the exit if it was at a site. */
  private countExit(): void {
    const { out } = this;
    out.localGet(SITE);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.localGet(SITE);
    out.localGet(SITE);
    out.loadSized(state.SITE_COUNT, 4);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.localTee(AT);
    out.storeSized(state.SITE_COUNT, 4);
    out.localGet(AT);
    out.byte(op.I32_EQZ);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    out.i32Const(EXIT_GROW);
    out.localSet(CODE);
    out.byte(wasm.END);
    out.byte(wasm.END);
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
      this.open(UNLIKELY);
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
      this.hints.push(out.length, UNLIKELY);
      out.branch(wasm.BR_IF, arms.length - 1 - i);
      this.edge(block, block.successors[arms[i]]!);
    }
    this.close();
    if (block.order === 0) this.exit(EXIT_INTERPRET);
    else this.exitIndirect(block.ripLow);
  }

  /** Is a conditional branch taken? Code that was left out as cold hardly ever runs. */
  private likelihood(block: BasicBlock): number | undefined {
    const [taken, passed] = block.successors;
    if (taken === undefined) return passed === undefined ? undefined : UNLIKELY;
    return passed === undefined ? LIKELY : undefined;
  }

  private openBlock(): void {
    this.out.byte(wasm.BLOCK);
    this.out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'if' });
  }

  /** With a condition on the stack: what follows is done if it holds, which LIKELY or UNLIKELY may foretell. */
  private open(hint?: number): void {
    if (hint !== undefined) this.hints.push(this.out.length, hint);
    this.out.byte(wasm.IF);
    this.out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'if' });
  }

  private close(): void {
    this.out.byte(wasm.END);
    this.labels.pop();
  }

  protected sideExitIf(code: number): void {
    const { out } = this;
    // The flags as of before the instruction.
    this.commitFlags();
    const interpret = code === EXIT_INTERPRET ? 1 : 0;
    const at =
      (this.insnLow - this.blockLow) | (interpret << AT_INTERPRET_SHIFT) | (this.remaining << AT_REMAINING_SHIFT);
    if (at !== this.at) {
      out.i32Const(at);
      out.localSet(AT);
      this.at = at;
    }
    this.hints.push(out.length, UNLIKELY);
    out.branch(wasm.BR_IF, this.depthOf(undefined, 'side'));
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

  /** Behind an instruction that let a device have a say: leaves for the one at `low/high` if it asked for the run loop. */
  private stopIfAsked(low: number, high: number): void {
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
    out.i32Const(0);
    out.i32Const(0);
    out.storeSized(state.S_STALE, 4);
    this.leave(low, high, EXIT_STOP);
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
        this.open(this.likelihood(block));
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
      this.open(UNLIKELY);
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
