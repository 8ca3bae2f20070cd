/**
 * Which registers of the guest a region's code has to load and to write back, by a look at all of its blocks: what may
 * differ from the state where a block ends (*dirty*), and what must be in its local where one begins (*live*).
 *
 * A register is live if it is read before it is written, or if an exit on the way would write it back. Exits come together
 * in *gathers*: each writes back what may be dirty at any of its exits. One for all exits of a region would be the least
 * code, but optimising compilers take time that grows with the square of what meets in one place.
 */
import type { IrBuffer } from '../ir/builder.ts';
import * as op from '../ir/ops.ts';
import * as state from '../state.ts';
import { type BasicBlock, END_BRANCH, END_JUMP, END_RETURN, END_SWITCH } from './control-flow.ts';
import type { LiftedBlock } from './region-state.ts';

/** Registers as bits: general ones from bit 0 on, vector ones from bit 16 on. */
export type RegisterSet = number;
export const VECTOR_BITS = 16;

/** Where exits of some blocks come together: what is written back there. */
export interface Gather {
  registers: RegisterSet;
  flags: boolean;
}

interface BlockFacts {
  /** Read before it is written, and written as a whole. */
  reads: RegisterSet;
  writes: RegisterSet;
  dirty: RegisterSet;
  dirtyFlags: boolean;
  live: RegisterSet;
  /** May the flags be asked for before they are written, in this block or behind it? */
  liveFlags: boolean;
  /** Are they written here before anybody can ask? */
  killsFlags: boolean;
  /** Estimated ways out. */
  exits: number;
  gather: Gather;
}

/** Exits that come together in one place, about. */
const EXITS_GATHERED = 12;

export class RegionDataflow {
  private readonly ir: IrBuffer;
  private readonly facts = new Map<BasicBlock, BlockFacts>();
  private readonly heads = new Map<BasicBlock, Gather>();
  /** Registers that the region reads or writes and has locals for, and those that stay in the state (homes.ts). */
  used: RegisterSet = 0;
  kept: RegisterSet = 0;

  constructor(ir: IrBuffer) {
    this.ir = ir;
  }

  /** @param order all blocks, in reverse postorder @param lifted those of them that have instructions */
  analyse(order: readonly BasicBlock[], lifted: readonly LiftedBlock[]): void {
    this.facts.clear();
    this.heads.clear();
    this.used = 0;
    for (const block of order) this.facts.set(block, this.outline(block));
    for (const l of lifted) {
      this.census(l);
      this.censusOfFlags(l);
    }
    this.spreadFlags(order);
    this.spreadDirty(order);
    this.gather(order);
    this.spreadLive(order);
    this.kept = 0;
  }

  /** Has registers stay in the state, which are then neither loaded nor written back. */
  keep(kept: RegisterSet): void {
    this.kept = kept;
    this.used &= ~kept;
    for (const facts of this.facts.values()) {
      facts.live &= ~kept;
      facts.dirty &= ~kept;
      facts.gather.registers &= ~kept;
    }
  }

  /** What is written back where a block is left. */
  gathered(block: BasicBlock): RegisterSet {
    return this.facts.get(block)!.gather.registers;
  }

  /** What must be in locals where a block begins. */
  live(block: BasicBlock): RegisterSet {
    return this.facts.get(block)!.live;
  }

  /** What must be in locals where a call comes back: on the way back in a loop the caller's gather may write back more. */
  liveBehindCall(caller: BasicBlock, successor: BasicBlock): RegisterSet {
    const leaves = successor.order <= caller.order;
    return this.live(successor) | (leaves ? this.facts.get(caller)!.gather.registers : 0);
  }

  /** What may differ from the state where a block ends. */
  dirty(block: BasicBlock): Gather {
    const { dirty, dirtyFlags } = this.facts.get(block)!;
    return { registers: dirty, flags: dirtyFlags };
  }

  /** Can the flags as of where a block begins be seen by anybody? Exits show them to the interpreter. */
  needsFlags(block: BasicBlock): boolean {
    return this.facts.get(block)!.liveFlags;
  }

  /** The gather of the exits of a block and of those that it dominates, if one is to be made. */
  gatherAt(block: BasicBlock): Gather | undefined {
    return this.heads.get(block);
  }

  private outline(block: BasicBlock): BlockFacts {
    const leaving = block.successors.filter((successor) => successor === undefined).length;
    return {
      reads: 0,
      writes: 0,
      dirty: 0,
      dirtyFlags: false,
      live: 0,
      liveFlags: block.end !== END_JUMP && block.end !== END_BRANCH && block.end !== END_RETURN,
      killsFlags: false,
      exits: leaving + (block.loopHead || block.order === 0 || block.end === END_SWITCH ? 1 : 0),
      gather: { registers: 0, flags: false },
    };
  }

  private census({ block, starts, end }: LiftedBlock): void {
    const { ir } = this;
    const facts = this.facts.get(block)!;
    for (let n = starts[0]; n < end; n++) {
      switch (ir.op[n]) {
        case op.GPR_READ:
        case op.XMM_READ:
          facts.reads |= (1 << registerOf(ir, n)) & ~facts.writes;
          break;
        case op.GPR_WRITE: {
          const bit = 1 << registerOf(ir, n);
          if (ir.imm2[n] < 4) facts.reads |= bit & ~facts.writes;
          facts.writes |= bit;
          break;
        }
        case op.XMM_WRITE:
          facts.writes |= 1 << registerOf(ir, n);
          break;
        case op.FLAGS_WRITE:
          facts.dirtyFlags = true;
          break;
        case op.LOAD:
        case op.STORE:
        case op.SLOW_IF:
        case op.BULK_COPY:
        case op.BULK_FILL:
          facts.exits++;
          break;
      }
    }
    facts.dirty = facts.writes;
    this.used |= facts.reads | facts.writes;
  }

  /** Looks whether a block writes all flags before anything can see them. */
  private censusOfFlags({ block, starts, end, steps }: LiftedBlock): void {
    const { ir } = this;
    const facts = this.facts.get(block)!;
    // The budget may be spent where the region is entered.
    let asked = block.order === 0;
    let next = 0;
    for (let n = starts[0]; n < end && !asked && !facts.killsFlags; n++) {
      for (; next < starts.length && starts[next] <= n; next++) asked ||= steps[next] !== 0;
      const opcode = ir.op[n];
      if (opcode === op.FLAGS_WRITE) facts.killsFlags = !asked;
      else asked ||= opcode === op.FLAGS_READ || opcode === op.FLAGS_CONDITION || mayLeave(opcode);
    }
    for (; next < starts.length && !facts.killsFlags; next++) asked ||= steps[next] !== 0;
    if (asked) facts.liveFlags = true;
    else if (facts.killsFlags) facts.liveFlags = false;
  }

  private spreadFlags(order: readonly BasicBlock[]): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) {
        const facts = this.facts.get(order[i])!;
        if (facts.liveFlags || facts.killsFlags) continue;
        // Loops leave on the way back, and show the flags: a block that does not write them must have them.
        const mustShow = (s: BasicBlock) => this.facts.get(s)!.liveFlags || (s.order <= i && !facts.dirtyFlags);
        if (order[i].successors.every((s) => s !== undefined && !mustShow(s))) continue;
        facts.liveFlags = true;
        changed = true;
      }
    }
  }

  /** Has each block's dirty registers hold what changed on any way to its end. */
  private spreadDirty(order: readonly BasicBlock[]): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of order) {
        const facts = this.facts.get(block)!;
        for (const predecessor of block.predecessors) {
          if (comesBack(predecessor, block)) continue;
          const { dirty, dirtyFlags } = this.facts.get(predecessor)!;
          if ((dirty & ~facts.dirty) === 0 && (facts.dirtyFlags || !dirtyFlags)) continue;
          facts.dirty |= dirty;
          facts.dirtyFlags ||= dirtyFlags;
          changed = true;
        }
      }
    }
  }

  /** Decides where exits come together, from the innermost blocks outwards. */
  private gather(order: readonly BasicBlock[]): void {
    const exits = new Map<BasicBlock, number>();
    for (let i = order.length - 1; i >= 0; i--) {
      const block = order[i];
      let count = this.facts.get(block)!.exits;
      for (const inner of block.dominated) count += exits.get(inner)!;
      const isHead = i === 0 || count >= EXITS_GATHERED;
      if (isHead) this.heads.set(block, { registers: 0, flags: false });
      exits.set(block, isHead ? 0 : count);
    }
    for (const block of order) {
      const facts = this.facts.get(block)!;
      facts.gather = this.heads.get(block) ?? this.facts.get(block.dominator!)!.gather;
      facts.gather.registers |= facts.dirty;
      facts.gather.flags ||= facts.dirtyFlags;
    }
  }

  private spreadLive(order: readonly BasicBlock[]): void {
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) {
        const block = order[i];
        const facts = this.facts.get(block)!;
        let out = 0;
        for (const successor of block.successors)
          if (successor !== undefined && !comesBack(block, successor)) out |= this.facts.get(successor)!.live;
        const live = facts.reads | facts.gather.registers | (out & ~facts.writes);
        if (live === facts.live) continue;
        facts.live = live;
        changed = true;
      }
    }
  }
}

/** The register, by its bit, that a node reads or writes. */
export function registerOf(ir: IrBuffer, n: number): number {
  const isVector = ir.op[n] === op.XMM_READ || ir.op[n] === op.XMM_WRITE;
  return isVector ? ((ir.imm[n] - state.S_XMM) >> 4) + VECTOR_BITS : (ir.imm[n] - state.S_GPR) >> 3;
}

/** May an operation leave the region? */
function mayLeave(opcode: number): boolean {
  return (opcode >= op.LOAD && opcode <= op.STORE) || (opcode >= op.SLOW_IF && opcode <= op.BULK_FILL);
}

/** Is the way from one block to another that back from a call that left the region? Behind it everything is in the state. */
function comesBack(from: BasicBlock, to: BasicBlock): boolean {
  return from.returns !== undefined && from.successors.indexOf(to) === from.successors.length - 1;
}
