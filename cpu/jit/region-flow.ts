/**
 * How control flows in a region, and out of it. Blocks are nested by dominators, so that loops stay loops (structure.ts);
 * whatever leaves comes together block by block and then at the region's end. Side exits keep their place in AT; exits
 * that a better region would not make are counted at sites (sites.ts).
 */
import { EXIT_BUDGET, EXIT_INTERPRET, EXIT_SITE, EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { HASH_FACTOR, HASH_SHIFT, type JumpTargets } from './jump-targets.ts';
import { FIRST_PATIENCE, WAY_SHIFT } from './links.ts';
import { perfectHash } from './perfect-hash.ts';
import { type AddressSpace, RegionMemory } from './region-memory.ts';
import { AT, BUDGET, CODE, DEPTH, ENTRY, EPOCH, RIP, SITE } from './region-state.ts';
import { type ExitSites, SITE_INDIRECT_LINK, SITE_JUMP, SITE_LINK, SITE_SIDE, type Site, slotsOf } from './sites.ts';

/** Labels of enclosing constructs, innermost last. */
type Label = { block: BasicBlock | undefined; kind: 'exit' | 'side' | 'loop' | 'merge' | 'if' };

/**
 * A side exit in AT: how many bytes into the block the instruction is, whether it is because of a memory access, and how
 * many of the block's instructions have not run.
 */
const AT_OFFSET_MASK = 0xffff;
const AT_SIDE_SHIFT = 16;
const AT_REMAINING_SHIFT = 17;

/** Side exits of a region because of memory accesses before it is made anew to reach memory by the TLB. */
const SIDE_PATIENCE = 1000;

/** What a region is to be like. */
export interface RegionPlan {
  space: AddressSpace;
  /** The mode word that it is for. */
  mode: number;
  /** May it be made anew to know more code? */
  grows: boolean;
  /** Exits of an indirect jump before it is. */
  patience: number;
  sites: ExitSites;
  targets: JumpTargets;
  /** Links of regions before it in the same module. */
  slots: number;
}

export const UNLIKELY = 0;
const LIKELY = 1;

export abstract class RegionFlow extends RegionMemory {
  /** Branch hints: offsets in `out`, each with UNLIKELY or LIKELY. */
  protected hints: number[] = [];
  protected labels: Label[] = [];
  protected plan!: RegionPlan;
  /** The exit sites made so far, and that of side exits. */
  protected sites: Site[] = [];
  private sideSite: Site | undefined;
  /** Of the instruction at hand: its address and the instructions of its block that come with and after it. */
  protected insnLow = 0;
  protected insnHigh = 0;
  protected remaining = 0;
  protected blockLow = 0;
  /** What AT holds; 0: unknown. */
  protected at = 0;
  /** Emits one block and where it goes. */
  protected abstract block(block: BasicBlock): void;

  protected begin(plan: RegionPlan): void {
    this.plan = plan;
    this.space = plan.space;
    this.hints = [];
    this.sites = [];
    this.sideSite = plan.space.directLength !== 0 ? this.makeSite(SITE_SIDE, SIDE_PATIENCE) : undefined;
    this.labels = [{ block: undefined, kind: 'exit' }];
  }

  // --- structure ------------------------------------------------------------------------------------------------------

  /** Emits `block` and all that it dominates. */
  protected tree(block: BasicBlock): void {
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
  protected edge(source: BasicBlock, target: BasicBlock): void {
    if (target.order <= source.order) this.out.branch(wasm.BR, this.depthOf(target, 'loop'));
    else if (target.merge) this.out.branch(wasm.BR, this.depthOf(target, 'merge'));
    else this.tree(target);
  }

  /** Leaves for a known address. */
  protected leave(low: number, high: number, code: number): void {
    const { out } = this;
    out.i64Const(low, high);
    out.localSet(RIP);
    this.exit(code);
  }

  /** Leaves; RIP's local is set. */
  protected exit(code: number): void {
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
    out.i32Const(EXIT_INTERPRET);
    out.localSet(CODE);
    if (this.sideSite === undefined) return;
    out.i32Const(this.sideSite.offset);
    field(AT_SIDE_SHIFT, 1);
    out.byte(op.I32_MUL);
    out.localSet(SITE);
  }

  // --- ways out -------------------------------------------------------------------------------------------------------

  /** Adds `count` instructions that did not run back to the budget. */
  protected giveBack(count: number): void {
    const { out } = this;
    if (count === 0) return;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_ADD);
    out.localSet(BUDGET);
  }

  /** Goes to successor `i` of `block`, inside the region or out of it. */
  protected go(block: BasicBlock, i: number): void {
    const successor = block.successors[i];
    if (successor !== undefined) {
      if (successor.end === END_SWITCH) {
        this.out.i64Const(block.targets[i * 2], block.targets[i * 2 + 1]);
        this.out.localSet(RIP);
      }
      this.edge(block, successor);
    } else {
      const [low, high] = block.targets.slice(i * 2);
      this.out.i64Const(low, high);
      this.out.localSet(RIP);
      this.transfer(block, undefined, false);
    }
  }

  /** Leaves for a known address by a call, or for that in RIP; goes on behind it when it comes back. */
  protected call(block: BasicBlock): void {
    const { callee } = block;
    if (callee !== undefined) {
      this.out.i64Const(callee[0], callee[1]);
      this.out.localSet(RIP);
    }
    this.transfer(block, block, callee === undefined);
  }

  /**
   * Leaves for RIP: by a link to the region there once there is one, else by way of the dispatcher.
   * @param block the one that leaves
   * @param caller the same if it ends in a call: the region goes on behind it
   * @param indirect may RIP be another one each time?
   */
  private transfer(block: BasicBlock, caller: BasicBlock | undefined, indirect: boolean): void {
    const { out } = this;
    const site = this.makeSite(indirect ? SITE_INDIRECT_LINK : SITE_LINK, FIRST_PATIENCE);
    if (site === undefined) {
      this.exit(EXIT_STOP);
      return;
    }
    if (indirect) {
      this.hashOfRip(HASH_FACTOR, WAY_SHIFT);
      out.localSet(ENTRY);
    }
    const piece = () => {
      out.i32Const(0);
      if (!indirect) return;
      out.localGet(ENTRY);
      out.i32Const(Math.log2(state.SITE_STRIDE));
      out.byte(op.I32_SHL);
      out.byte(op.I32_ADD);
    };
    out.localGet(DEPTH);
    piece();
    out.memory(wasm.I32_LOAD, site.offset + state.SITE_DEPTH);
    out.byte(op.I32_LT_U);
    if (indirect) {
      out.localGet(RIP);
      piece();
      out.memory(wasm.I64_LOAD, site.offset + state.SITE_RIP);
      out.byte(op.I64_EQ);
      out.byte(op.I32_AND);
    }
    this.open(LIKELY);
    if (!indirect) this.countUse(site);
    this.spill(block);
    out.localGet(DEPTH);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.i32Const(site.slot);
    if (indirect) {
      out.localGet(ENTRY);
      out.byte(op.I32_ADD);
    }
    const successor = caller?.successors[caller.successors.length - 1];
    out.byte(successor === undefined ? wasm.RETURN_CALL_INDIRECT : wasm.CALL_INDIRECT);
    out.u32(TYPE_REGION);
    out.u32(0);
    if (successor !== undefined) {
      const [low, high] = caller!.returns!;
      this.returnUnlessBack(low, high);
      this.load();
      if (successor.end === END_SWITCH) {
        out.i64Const(low, high);
        out.localSet(RIP);
      }
      this.edge(caller!, successor);
    }
    this.close();
    this.exitAt(site);
  }

  /** With the code on the stack that a linked region came back with: returns it unless the guest is where it was called from. */
  private returnUnlessBack(low: number, high: number): void {
    const { out } = this;
    out.localTee(CODE);
    out.loadField(state.S_RIP, 8);
    out.i64Const(low, high);
    out.byte(op.I64_NE);
    out.byte(op.I32_OR);
    out.loadField(state.S_EPOCH, 4);
    out.localGet(EPOCH);
    out.byte(op.I32_NE);
    out.byte(op.I32_OR);
    out.loadField(state.S_MODE, 4);
    out.i32Const(this.plan.mode);
    out.byte(op.I32_NE);
    out.byte(op.I32_OR);
    this.open(UNLIKELY);
    out.localGet(CODE);
    out.byte(wasm.RETURN);
    this.close();
  }

  /** Counts a use of a link: code that goes there so often is better in the region. */
  private countUse(site: Site): void {
    const { out } = this;
    if (!this.plan.grows) return;
    out.i32Const(0);
    out.i32Const(0);
    out.memory(wasm.I32_LOAD, site.offset + state.SITE_COUNT);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.localTee(AT);
    out.memory(wasm.I32_STORE, site.offset + state.SITE_COUNT);
    out.localGet(AT);
    out.byte(op.I32_EQZ);
    this.open(UNLIKELY);
    out.i32Const(0);
    out.i32Const(site.offset);
    out.storeSized(state.S_EXIT_SITE, 4);
    this.exit(EXIT_SITE);
    this.close();
  }

  private makeSite(kind: number, patience: number): Site | undefined {
    const slot = this.plan.slots + slotsOf(this.sites);
    const site = this.plan.sites.make(kind, patience, slot);
    if (site !== undefined) this.sites.push(site);
    return site;
  }

  /** Leaves for RIP, counted at a site. */
  private exitAt(site: Site): void {
    this.out.i32Const(site.offset);
    this.out.localSet(SITE);
    this.exit(EXIT_STOP);
  }

  /** At the region's end: counts the exit if it was at a site. */
  protected countExit(): void {
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
    out.i32Const(0);
    out.localGet(SITE);
    out.storeSized(state.S_EXIT_SITE, 4);
    out.i32Const(EXIT_SITE);
    out.localSet(CODE);
    out.byte(wasm.END);
    out.byte(wasm.END);
  }

  /** Leaves an indirect jump whose target, in RIP, is none that was known: notes it. */
  private exitIndirect(block: BasicBlock, address: number): void {
    const { out } = this;
    const memory = this.plan.grows ? this.plan.targets.memory(address) : 0;
    if (memory !== 0) {
      this.hashOfRip(HASH_FACTOR, HASH_SHIFT);
      out.i32Const(2);
      out.byte(op.I32_SHL);
      out.localGet(RIP);
      out.memory(wasm.I64_STORE32, memory);
    }
    if (block.returns !== undefined) this.transfer(block, block, true);
    else {
      const site = memory === 0 ? undefined : this.makeSite(SITE_JUMP, this.plan.patience);
      if (site === undefined) this.exit(EXIT_STOP);
      else this.exitAt(site);
    }
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
  protected switch(block: BasicBlock): void {
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
    else this.exitIndirect(block, block.ripLow);
  }

  /** Is a conditional branch taken? Code that was left out as cold hardly ever runs. */
  protected likelihood(block: BasicBlock): number | undefined {
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
  protected open(hint?: number): void {
    if (hint !== undefined) this.hints.push(this.out.length, hint);
    this.out.byte(wasm.IF);
    this.out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'if' });
  }

  protected close(): void {
    this.out.byte(wasm.END);
    this.labels.pop();
  }

  protected sideExitIf(reason: number): void {
    this.markExit(reason);
    this.hints.push(this.out.length, UNLIKELY);
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'side'));
  }

  protected sideExitUnless(reason: number, remedy: () => void): void {
    this.markExit(reason);
    this.open(UNLIKELY);
    remedy();
    this.out.byte(op.I32_EQZ);
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'side'));
    this.close();
  }

  /** Makes ready for a side exit from the instruction at hand. */
  private markExit(reason: number): void {
    const { out } = this;
    // The flags as of before the instruction.
    this.commitFlags();
    const at = (this.insnLow - this.blockLow) | (reason << AT_SIDE_SHIFT) | (this.remaining << AT_REMAINING_SHIFT);
    if (at !== this.at) {
      out.i32Const(at);
      out.localSet(AT);
      this.at = at;
    }
  }

  /** Goes on at RIP, the target of an indirect jump, if that is a target that was seen. */
  protected indirect(block: BasicBlock): void {
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
    this.exitIndirect(block, this.insnLow);
  }
}
