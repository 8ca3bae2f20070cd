/**
 * How a region is left. Wherever it is, a few locals note what for: AT how and where in the block BASE, or SITE an exit that
 * a better region would not make (sites.ts). What may have changed is written back where exits come together (dataflow.ts);
 * at the region's end the rest is made of the notes.
 */
import { EXIT_INTERPRET, EXIT_SITE } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import type { BasicBlock } from './control-flow.ts';
import type { Gather } from './dataflow.ts';
import type { JumpTargets } from './jump-targets.ts';
import { AT, BASE, BUDGET, CODE, DEPTH, RIP, SITE } from './region-locals.ts';
import { type AddressSpace, RegionMemory } from './region-memory.ts';
import { OF_SITE } from './relocation.ts';
import { type ExitSites, patienceOf, SITE_SIDE, type Site, slotsOf } from './sites.ts';

/** Labels of enclosing constructs, innermost last. */
type Label = { block: BasicBlock | undefined; kind: 'end' | 'exit' | 'loop' | 'merge' | 'if' };

/**
 * AT: how many bytes into its block the instruction is where the guest goes on; how many instructions that the budget was
 * reduced by have not run; whether a memory access was the reason; EXIT_*; whether the guest goes on at RIP's local instead.
 */
const AT_OFFSET_MASK = (1 << 11) - 1;
const AT_REMAINING_SHIFT = 11;
const AT_REMAINING_MASK = 0xff;
const AT_SIDE_SHIFT = 19;
const AT_CODE_SHIFT = 20;
const AT_CODE_MASK = 15;
const AT_COMPUTED = 1 << 24;

/** What a region is to be like. */
export interface RegionPlan {
  space: AddressSpace;
  /** The mode word that it is for. */
  mode: number;
  /** May it be made anew to know more code? */
  grows: boolean;
  /** Do calls in the place of returns leave nothing on the host's stack? */
  hasTailCalls: boolean;
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
  /** The exit sites made so far, and that of side exits, by which the region is known too. */
  protected sites: Site[] = [];
  /** Constants that are the machine's own (relocation.ts). */
  protected relocations: number[] = [];
  private site: Site | undefined;
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
    this.relocations = [];
    this.site = this.makeSite(SITE_SIDE);
    this.labels = [{ block: undefined, kind: 'end' }];
  }

  protected depthOf(target: BasicBlock | undefined, kind: Label['kind']): number {
    for (let i = this.labels.length - 1; i >= 0; i--) {
      const label = this.labels[i];
      if (label.block === target && label.kind === kind) return this.labels.length - 1 - i;
    }
    throw new Error('no such label');
  }

  // --- leaving --------------------------------------------------------------------------------------------------------

  /** Leaves for an address in or behind the block at hand. @param remaining instructions of it that have not run */
  protected leave(low: number, code: number, remaining: number): void {
    this.goOut((low - this.blockLow) | (remaining << AT_REMAINING_SHIFT) | (code << AT_CODE_SHIFT));
  }

  /** Leaves for the beginning of another block. */
  protected leaveForBlock(block: BasicBlock, code: number): void {
    this.out.i32Const(block.ripLow);
    this.out.localSet(BASE);
    this.goOut(code << AT_CODE_SHIFT);
  }

  /** Leaves for RIP. */
  protected leaveForRip(code: number): void {
    this.goOut(AT_COMPUTED | (code << AT_CODE_SHIFT));
  }

  /** Leaves at a site for RIP, or for the address that the site knows. */
  protected leaveAt(site: Site, isComputed: boolean): void {
    this.siteConst(site);
    this.out.localSet(SITE);
    // Set in any case: else what AT was before would have to be kept all the way here.
    this.goOut(isComputed ? AT_COMPUTED : 0);
  }

  private goOut(at: number): void {
    this.out.i32Const(at);
    this.out.localSet(AT);
    this.out.branch(wasm.BR, this.depthOf(undefined, 'exit'));
  }

  protected setRip(low: number, high: number): void {
    this.out.i64Const(low, high);
    this.out.localSet(RIP);
  }

  protected makeSite(kind: number, [low, high]: readonly number[] = [0, 0]): Site | undefined {
    const slot = this.plan.slots + slotsOf(this.sites);
    const { sites, linkPatience } = this.plan;
    const site = sites.make(kind, patienceOf(kind, linkPatience), slot, low, high);
    if (site !== undefined) this.sites.push(site);
    return site;
  }

  /** i32 on the stack: a constant that is the machine's own. @param kind OF_* */
  protected ownConst(kind: number, argument: number, value: number): void {
    this.relocations.push(this.out.i32ConstToFill(value), kind, argument);
  }

  /** i32 on the stack: where a site of the region is. */
  protected siteConst(site: Site): void {
    // Mostly the one that was made last.
    this.ownConst(OF_SITE, this.sites.lastIndexOf(site), site.offset);
  }

  // --- where exits come together --------------------------------------------------------------------------------------

  /** Emits code whose exits come together behind it, where `gather` is written back. */
  protected gathered(gather: Gather, code: () => void): void {
    const { out } = this;
    out.byte(wasm.BLOCK);
    out.byte(wasm.VOID);
    this.labels.push({ block: undefined, kind: 'exit' });
    code();
    this.labels.pop();
    out.byte(wasm.END);
    this.spill(gather);
    out.branch(wasm.BR, this.depthOf(undefined, 'end'));
  }

  /** The region's end, where all exits lead to: RIP and budget are written back, and the exit's code is returned. */
  protected finish(high: number): void {
    const { out } = this;
    out.localGet(SITE);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    this.unlessComputed(() => this.goBySite());
    out.byte(wasm.ELSE);
    this.resolveAt(high);
    out.byte(wasm.END);
    this.storePlace();
    this.countExit();
    this.field(AT_CODE_SHIFT, AT_CODE_MASK);
  }

  /** Emits `code`, which is done unless RIP's local has been set. */
  private unlessComputed(code: () => void): void {
    const { out } = this;
    out.localGet(AT);
    out.i32Const(AT_COMPUTED);
    out.byte(op.I32_AND);
    out.byte(op.I32_EQZ);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    code();
    out.byte(wasm.END);
  }

  /** Writes back RIP and the budget. */
  protected storePlace(): void {
    this.storeLocal(state.S_RIP, RIP, 8);
    this.storeLocal(state.S_BUDGET, BUDGET, 4);
  }

  /** Goes on at the address of a site: in the region that it is linked to if there is one. */
  private goBySite(): void {
    const { out } = this;
    out.localGet(SITE);
    out.loadSized(state.SITE_RIP, 8);
    out.localSet(RIP);
    out.localGet(DEPTH);
    out.localGet(SITE);
    out.loadSized(state.SITE_DEPTH, 1);
    out.byte(op.I32_LT_U);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    this.storePlace();
    this.depthOfCallee(true);
    out.localGet(SITE);
    out.loadSized(state.SITE_DEPTH, 4);
    out.i32Const(state.SITE_SLOT_SHIFT);
    out.byte(op.I32_SHR_U);
    out.byte(wasm.RETURN_CALL_INDIRECT);
    out.u32(TYPE_REGION);
    out.u32(0);
    out.byte(wasm.END);
  }

  /** i32 on the stack: what a linked region gets for its DEPTH. */
  protected depthOfCallee(tail: boolean): void {
    const { out } = this;
    out.localGet(DEPTH);
    if (tail && this.plan.hasTailCalls) return;
    out.i32Const(1);
    out.byte(op.I32_ADD);
  }

  /** Makes RIP, the budget and the site of a side exit of what AT says; the region may be looked at for how often it runs. */
  private resolveAt(high: number): void {
    const { out } = this;
    this.unlessComputed(() => {
      out.localGet(BASE);
      this.field(0, AT_OFFSET_MASK);
      out.byte(op.I32_ADD);
      out.byte(op.I64_EXTEND_I32_U);
      if (high !== 0) {
        out.i64Const(0, high);
        out.byte(op.I64_OR);
      }
      out.localSet(RIP);
    });
    out.localGet(BUDGET);
    this.field(AT_REMAINING_SHIFT, AT_REMAINING_MASK);
    out.byte(op.I32_ADD);
    out.localSet(BUDGET);
    out.i32Const(0);
    if (this.site === undefined) out.i32Const(0);
    else this.siteConst(this.site);
    out.storeSized(state.S_EXIT_SITE, 4);
    if (this.site === undefined || this.space.directLength === 0) return;
    this.siteConst(this.site);
    this.field(AT_SIDE_SHIFT, 1);
    out.byte(op.I32_MUL);
    out.localSet(SITE);
  }

  /** i32 on the stack: a field of AT. */
  private field(shift: number, mask: number): void {
    const { out } = this;
    out.localGet(AT);
    if (shift !== 0) {
      out.i32Const(shift);
      out.byte(op.I32_SHR_U);
    }
    out.i32Const(mask);
    out.byte(op.I32_AND);
  }

  /** Counts the exit if it is at a site; one that is full asks for attention. */
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
    out.localTee(CODE);
    out.storeSized(state.SITE_COUNT, 4);
    out.localGet(CODE);
    out.byte(op.I32_EQZ);
    out.byte(wasm.IF);
    out.byte(wasm.VOID);
    this.storeLocal(state.S_EXIT_SITE, SITE, 4);
    out.i32Const(EXIT_SITE);
    out.byte(wasm.RETURN);
    out.byte(wasm.END);
    out.byte(wasm.END);
  }

  // --- pieces of code -------------------------------------------------------------------------------------------------

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
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'exit'));
  }

  protected sideExitUnless(reason: number, remedy: () => void): void {
    this.markExit(reason);
    this.open(UNLIKELY);
    remedy();
    this.out.byte(op.I32_EQZ);
    this.out.branch(wasm.BR_IF, this.depthOf(undefined, 'exit'));
    this.close();
  }

  /** Makes ready for a side exit from the instruction at hand. */
  private markExit(reason: number): void {
    const { out } = this;
    // The flags as of before the instruction.
    this.commitFlags();
    const at =
      (this.insnLow - this.blockLow) |
      (this.remaining << AT_REMAINING_SHIFT) |
      (reason << AT_SIDE_SHIFT) |
      (EXIT_INTERPRET << AT_CODE_SHIFT);
    if (at !== this.at) {
      out.i32Const(at);
      out.localSet(AT);
      this.at = at;
    }
  }
}
