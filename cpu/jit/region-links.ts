/** How a region goes straight on in another one, and comes back from it (links.ts). */
import { EXIT_SITE, EXIT_STOP } from '../exits.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { TYPE_REGION } from '../wasm/core-types.ts';
import * as wasm from '../wasm/encoder.ts';
import { type BasicBlock, END_SWITCH } from './control-flow.ts';
import { HASH_FACTOR } from './jump-targets.ts';
import { WAY_SHIFT } from './links.ts';
import { LIKELY, RegionExits, UNLIKELY } from './region-exits.ts';
import { CODE, DEPTH, ENTRY, EPOCH, RIP } from './region-state.ts';
import { SITE_INDIRECT_LINK, SITE_LINK, type Site } from './sites.ts';

export abstract class RegionLinks extends RegionExits {
  /** Goes from `source` to `target`. */
  protected abstract edge(source: BasicBlock, target: BasicBlock): void;

  /**
   * Leaves for RIP: by a link to the region there once there is one, else by way of the dispatcher.
   * @param block the one that leaves; if it ends in a call the region goes on behind it
   * @param indirect may RIP be another one each time?
   */
  protected transfer(block: BasicBlock, indirect: boolean): void {
    const { out } = this;
    const site = this.makeSite(indirect ? SITE_INDIRECT_LINK : SITE_LINK, this.plan.linkPatience);
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
    this.countUse(site);
    this.spill(block);
    out.localGet(DEPTH);
    out.i32Const(1);
    out.byte(op.I32_ADD);
    out.i32Const(site.slot);
    if (indirect) {
      out.localGet(ENTRY);
      out.byte(op.I32_ADD);
    }
    const successor = block.returns && block.successors.at(-1);
    out.byte(successor === undefined ? wasm.RETURN_CALL_INDIRECT : wasm.CALL_INDIRECT);
    out.u32(TYPE_REGION);
    out.u32(0);
    if (successor !== undefined) {
      const [low, high] = block.returns!;
      this.returnUnlessBack(low, high);
      this.load();
      if (successor.end === END_SWITCH) this.setRip(low, high);
      this.edge(block, successor);
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
    this.count(() => out.i32Const(0), site.offset);
    this.open(UNLIKELY);
    out.i32Const(0);
    out.i32Const(site.offset);
    out.storeSized(state.S_EXIT_SITE, 4);
    this.exit(EXIT_SITE);
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
