/**
 * How a region is left. Whatever leaves comes together block by block and then at the region's end; side exits keep their
 * place in AT; exits that a better region would not make are counted at sites (sites.ts).
 */
import { EXIT_INTERPRET, EXIT_SITE, EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import * as wasm from '../wasm/encoder.ts';
import type { BasicBlock } from './control-flow.ts';
import type { JumpTargets } from './jump-targets.ts';
import { type AddressSpace, RegionMemory } from './region-memory.ts';
import { AT, BUDGET, CODE, RIP, SITE } from './region-state.ts';
import { type ExitSites, SITE_SIDE, type Site, slotsOf } from './sites.ts';

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
  /** Exits before a site is linked. */
  linkPatience: number;
  sites: ExitSites;
  targets: JumpTargets;
  /** Links of regions before it in the same module. */
  slots: number;
}

export const UNLIKELY = 0;
export const LIKELY = 1;

export abstract class RegionExits extends RegionMemory {
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

  protected depthOf(target: BasicBlock | undefined, kinds: string): number {
    for (let i = this.labels.length - 1; i >= 0; i--) {
      const label = this.labels[i];
      if (label.block === target && kinds.includes(label.kind)) return this.labels.length - 1 - i;
    }
    throw new Error('no such label');
  }

  /** Leaves for a known address. */
  protected leave(low: number, high: number, code: number): void {
    this.setRip(low, high);
    this.exit(code);
  }

  protected setRip(low: number, high: number): void {
    this.out.i64Const(low, high);
    this.out.localSet(RIP);
  }

  /** Leaves; RIP's local is set. */
  protected exit(code: number): void {
    const { out } = this;
    out.i32Const(code);
    out.localSet(CODE);
    out.branch(wasm.BR, this.depthOf(undefined, 'exit'));
  }

  /** Emits `block`, and where its side exits come together: with RIP, budget and code as AT says. */
  protected sideExits(block: BasicBlock): void {
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

  /** Adds `count` instructions that did not run back to the budget. */
  protected giveBack(count: number): void {
    const { out } = this;
    if (count === 0) return;
    out.localGet(BUDGET);
    out.i32Const(count);
    out.byte(op.I32_ADD);
    out.localSet(BUDGET);
  }

  protected makeSite(kind: number, patience: number): Site | undefined {
    const slot = this.plan.slots + slotsOf(this.sites);
    const site = this.plan.sites.make(kind, patience, slot);
    if (site !== undefined) this.sites.push(site);
    return site;
  }

  /** Leaves for RIP, counted at a site. */
  protected exitAt(site: Site): void {
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
    this.count(() => out.localGet(SITE), 0);
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

  /** Counts at the site whose memory is at `offset` from what `base` puts on the stack. i32 on the stack: is it full now? */
  protected count(base: () => void, offset: number): void {
    const { out } = this;
    base();
    base();
    out.loadSized(offset + state.SITE_COUNT, 4);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.localTee(AT);
    out.storeSized(offset + state.SITE_COUNT, 4);
    out.localGet(AT);
    out.byte(op.I32_EQZ);
  }

  protected openBlock(): void {
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
}
