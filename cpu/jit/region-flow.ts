/**
 * How control flows in a region, and out of it. Blocks are nested by dominators, so that loops stay loops (structure.ts);
 * whatever leaves comes together block by block and then at the region's end. Side exits keep their place in AT; exits
 * that a better region would not make are counted at sites (sites.ts).
 */
import { EXIT_BUDGET, EXIT_GROW, EXIT_INTERPRET, EXIT_SIDE, EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { perfectHash } from './perfect-hash.ts';
import { RegionMemory } from './region-memory.ts';
import { AT, BUDGET, CODE, RIP, SITE } from './region-state.ts';
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

export const UNLIKELY = 0;
const LIKELY = 1;

export abstract class RegionFlow extends RegionMemory {
  /** Branch hints: offsets in `out`, each with UNLIKELY or LIKELY. */
  protected hints: number[] = [];
  protected labels: Label[] = [];
  /** Where exits are counted; undefined: the region shall not be made anew for them. */
  protected sites: ExitSites | undefined;
  /** Of the instruction at hand: its address and the instructions of its block that come with and after it. */
  protected insnLow = 0;
  protected insnHigh = 0;
  protected remaining = 0;
  protected blockLow = 0;
  /** What AT holds; 0: unknown. */
  protected at = 0;
  /** Emits one block and where it goes. */
  protected abstract block(block: BasicBlock): void;

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
    out.i32Const(EXIT_SIDE);
    field(AT_INTERPRET_SHIFT, 1);
    out.byte(op.I32_SUB);
    out.localSet(CODE);
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
    else this.exitIndirect(block.ripLow);
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

  protected sideExitIf(code: number): void {
    this.markExit(code);
    this.hints.push(this.out.length, UNLIKELY);
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'side'));
  }

  protected sideExitUnless(code: number, remedy: () => void): void {
    this.markExit(code);
    this.open(UNLIKELY);
    remedy();
    this.out.byte(op.I32_EQZ);
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'side'));
    this.close();
  }

  /** Makes ready for a side exit from the instruction at hand. */
  private markExit(code: number): void {
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
    this.exitIndirect(this.insnLow);
  }
}
