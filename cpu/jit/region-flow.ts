/** How control flows in a region: blocks are nested by dominators, so that loops stay loops (structure.ts). */
import { EXIT_BUDGET, EXIT_INTERPRET, EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { HASH_FACTOR, HASH_SHIFT } from './jump-targets.ts';
import { perfectHash } from './perfect-hash.ts';
import { LIKELY, UNLIKELY } from './region-exits.ts';
import { RegionLinks } from './region-links.ts';
import { BUDGET, RIP } from './region-state.ts';
import { SITE_JUMP } from './sites.ts';

export abstract class RegionFlow extends RegionLinks {
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

  /** Goes from `source` to `target`. */
  protected edge(source: BasicBlock, target: BasicBlock): void {
    if (target.order <= source.order) this.out.branch(wasm.BR, this.depthOf(target, 'loop'));
    else if (target.merge) this.out.branch(wasm.BR, this.depthOf(target, 'merge'));
    else this.tree(target);
  }

  /** Goes to successor `i` of `block`, inside the region or out of it. */
  protected go(block: BasicBlock, i: number): void {
    const successor = block.successors[i];
    const [low, high] = block.targets.slice(i * 2);
    if (successor === undefined || successor.end === END_SWITCH) this.setRip(low, high);
    if (successor === undefined) this.transfer(block, false);
    else this.edge(block, successor);
  }

  /** Leaves for a known address by a call; goes on behind it when it comes back. */
  protected call(block: BasicBlock): void {
    const [low, high] = block.callee!;
    this.setRip(low, high);
    this.transfer(block, false);
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
    if (block.returns !== undefined) this.transfer(block, true);
    else {
      const site = memory === 0 ? undefined : this.makeSite(SITE_JUMP, this.plan.patience);
      if (site === undefined) this.exit(EXIT_STOP);
      else this.exitAt(site);
    }
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
