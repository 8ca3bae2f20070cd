/** How control flows in a region: blocks are nested by dominators, so that loops stay loops (structure.ts). */
import { EXIT_BUDGET, EXIT_INTERPRET } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { HASH_FACTOR, HASH_SHIFT } from './jump-targets.ts';
import { perfectHash } from './perfect-hash.ts';
import { LIKELY, UNLIKELY } from './region-exits.ts';
import type { HeldFlags } from './region-flags.ts';
import { RegionLinks } from './region-links.ts';
import { BUDGET, RIP } from './region-locals.ts';
import { OF_JUMP } from './relocation.ts';

export abstract class RegionFlow extends RegionLinks {
  /** Emits `block` and all that it dominates. */
  protected tree(block: BasicBlock): void {
    const gather = this.dataflow.gatherAt(block);
    if (gather === undefined) this.nest(block);
    else this.gathered(gather, () => this.nest(block));
  }

  /** Emits `block`, to which no other way leads, right here. */
  private inPlace(block: BasicBlock): void {
    const { cached } = this;
    this.tree(block);
    this.cached = cached;
  }

  private nest(block: BasicBlock): void {
    const { out } = this;
    if (block.loopHead || block.merge) this.cached = 0;
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
    if (i === merges.length) {
      this.block(block);
      return;
    }
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.labels.push({ block: merges[i], kind: 'merge' });
    this.within(block, merges, i + 1);
    this.labels.pop();
    out.byte(wasm.END);
    this.tree(merges[i]);
  }

  /**
   * Goes from `source` to `target`. Loops leave on the way back when the budget is spent, not where they begin: there nobody
   * may want to know the flags.
   */
  protected edge(source: BasicBlock, target: BasicBlock, held?: HeldFlags): void {
    const { out } = this;
    if (target.order > source.order) {
      if (target.merge) out.branch(wasm.BR, this.depthOf(target, 'merge'));
      else this.inPlace(target);
      return;
    }
    if (target.end !== END_SWITCH) {
      out.localGet(BUDGET);
      out.i32Const(target.instructions.length);
      out.byte(op.I32_LT_S);
      this.open(UNLIKELY);
      if (held !== undefined) this.writeHeld(held);
      this.leaveForBlock(target, EXIT_BUDGET);
      this.close();
    }
    out.branch(wasm.BR, this.depthOf(target, 'loop'));
  }

  /** Flags that only some ways on from a block need are held for these; undefined: they need none, or all have them. */
  protected flagsFor(block: BasicBlock): HeldFlags | undefined {
    if (this.flags === 0) return undefined;
    const needs = (successor: BasicBlock | undefined) => successor === undefined || this.dataflow.needsFlags(successor);
    if (block.successors.every(needs)) this.commitFlags();
    else if (block.successors.some((s) => needs(s) || s!.order <= block.order)) return this.holdFlags();
    else this.dropFlags();
    return undefined;
  }

  /** Goes to successor `i` of `block`, inside the region or out of it. */
  protected go(block: BasicBlock, i: number, held: HeldFlags | undefined): void {
    const successor = block.successors[i];
    const target = block.targets.slice(i * 2, i * 2 + 2);
    const needed = held !== undefined && (successor === undefined || this.dataflow.needsFlags(successor));
    if (needed) this.writeHeld(held);
    if (successor === undefined) this.leaveFor(target);
    else {
      if (successor.end === END_SWITCH) this.setRip(target[0], target[1]);
      this.edge(block, successor, needed ? undefined : held);
    }
  }

  /** Leaves an indirect jump or call whose target, in RIP, is none that was known: notes it. */
  private exitIndirect(block: BasicBlock, address: number): void {
    const { out } = this;
    const memory = this.plan.grows ? this.plan.targets.memory(address) : 0;
    if (memory !== 0) {
      this.hashOfRip(HASH_FACTOR, HASH_SHIFT);
      out.i32Const(2);
      out.byte(op.I32_SHL);
      this.ownConst(OF_JUMP, address, memory);
      out.byte(op.I32_ADD);
      out.localGet(RIP);
      out.memory(wasm.I64_STORE32, 0);
    }
    this.callOut(block, undefined);
  }

  /** Goes where RIP says, by a hash that has no collisions among the targets. */
  protected switch(block: BasicBlock): void {
    const { out } = this;
    if (block.loopHead || block.order === 0) {
      out.localGet(BUDGET);
      out.i32Const(0);
      out.byte(op.I32_LT_S);
      this.open(UNLIKELY);
      this.leaveForRip(EXIT_BUDGET);
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
    if (block.predecessors.length === 0) this.leaveForRip(EXIT_INTERPRET);
    else this.exitIndirect(block, block.ripLow);
  }

  /** Is a conditional branch taken? Code that was left out as cold hardly ever runs. */
  protected likelihood(block: BasicBlock): number | undefined {
    const [taken, passed] = block.successors;
    if (taken === undefined) return passed === undefined ? undefined : UNLIKELY;
    return passed === undefined ? LIKELY : undefined;
  }

  /** Goes on at RIP, the target of an indirect jump or call, here if that is a target that was seen. */
  protected indirect(block: BasicBlock): void {
    const { out, insnLow } = this;
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
    this.exitIndirect(block, insnLow);
  }
}
