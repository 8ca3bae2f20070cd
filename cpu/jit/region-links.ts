/** How a region calls another one directly, and comes back from it (links.ts). */
import { EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { HASH_FACTOR } from './jump-targets.ts';
import { WAY_SHIFT } from './links.ts';
import { LIKELY, RegionExits, UNLIKELY } from './region-exits.ts';
import { BUDGET, CODE, DEPTH, ENTRY, RIP } from './region-locals.ts';
import { OF_LINK } from './relocation.ts';
import { SITE_INDIRECT_LINK, SITE_LINK } from './sites.ts';

export abstract class RegionLinks extends RegionExits {
  /** Goes from `source` to `target`. */
  protected abstract edge(source: BasicBlock, target: BasicBlock): void;

  /** Leaves for a known address: at the region's end, by a link to the region there once there is one. */
  protected leaveFor(target: readonly number[]): void {
    const site = this.makeSite(SITE_LINK, target);
    if (site !== undefined) {
      this.leaveAt(site, false);
      return;
    }
    this.setRip(target[0], target[1]);
    this.leaveForRip(EXIT_STOP);
  }

  /**
   * Goes where a block's call or indirect jump leads, outside the region: by a link if there is one, else by way of the
   * dispatcher. Goes on behind a call when the link comes back.
   * @param target undefined: RIP
   */
  protected callOut(block: BasicBlock, target: readonly number[] | undefined): void {
    const { out } = this;
    const successor = block.returns && block.successors.at(-1);
    if (successor === undefined && target !== undefined) {
      this.leaveFor(target);
      return;
    }
    const indirect = target === undefined;
    const kind = indirect ? SITE_INDIRECT_LINK : SITE_LINK;
    const site = this.makeSite(kind, target);
    if (site === undefined) {
      if (!indirect) this.setRip(target[0], target[1]);
      this.leaveForRip(EXIT_STOP);
      return;
    }
    const piece = () => {
      this.siteConst(site);
      if (!indirect) return;
      out.localGet(ENTRY);
      out.i32Const(Math.log2(state.SITE_STRIDE));
      out.byte(op.I32_SHL);
      out.byte(op.I32_ADD);
    };
    if (indirect) {
      this.hashOfRip(HASH_FACTOR, WAY_SHIFT);
      out.localSet(ENTRY);
    }
    out.localGet(DEPTH);
    piece();
    out.loadSized(state.SITE_DEPTH, 1);
    out.byte(op.I32_LT_U);
    if (indirect) {
      out.localGet(RIP);
      piece();
      out.loadSized(state.SITE_RIP, 8);
      out.byte(op.I64_EQ);
      out.byte(op.I32_AND);
    }
    this.open(LIKELY);
    this.spill(this.dataflow.dirty(block));
    this.storeLocal(state.S_BUDGET, BUDGET, 4);
    out.i32Const(0);
    if (indirect) out.localGet(RIP);
    else out.i64Const(target[0], target[1]);
    out.storeSized(state.S_RIP, 8);
    this.depthOfCallee(successor === undefined);
    this.ownConst(OF_LINK, this.sites.lastIndexOf(site), site.slot);
    if (indirect) {
      out.localGet(ENTRY);
      out.byte(op.I32_ADD);
    }
    out.byte(successor === undefined ? wasm.RETURN_CALL_INDIRECT : wasm.CALL_INDIRECT);
    out.u32(TYPE_REGION);
    out.u32(0);
    if (successor !== undefined) {
      const [low, high] = block.returns!;
      this.returnUnlessBack(low, high);
      this.cached = 0;
      this.load(this.dataflow.liveBehindCall(block, successor));
      if (successor.end === END_SWITCH) this.setRip(low, high);
      this.edge(block, successor);
    }
    this.close();
    this.leaveAt(site, indirect);
  }

  /** With the code on the stack that a linked region came back with: returns it unless the guest is where it was called from. */
  private returnUnlessBack(low: number, high: number): void {
    const { out } = this;
    out.localTee(CODE);
    out.loadField(state.S_STALE, 4);
    out.byte(op.I32_OR);
    out.loadField(state.S_RIP, 8);
    out.i64Const(low, high);
    out.byte(op.I64_NE);
    out.byte(op.I32_OR);
    this.open(UNLIKELY);
    out.localGet(CODE);
    out.byte(wasm.RETURN);
    this.close();
  }

  /** i32 on the stack: the upper bits of the product of RIP's low half and `factor`. */
  protected hashOfRip(factor: number, shift: number): void {
    const { out } = this;
    out.localGet(RIP);
    out.byte(op.I32_WRAP_I64);
    out.i32Const(factor);
    out.byte(op.I32_MUL);
    out.i32Const(shift);
    out.byte(op.I32_SHR_U);
  }
}
