/**
 * Finds a region's control flow: the guest code around a hot address as basic blocks. A direct call is followed into its
 * callee, which becomes part of the region once for each chain of call sites (*context*): its return then has one
 * expected address. Other calls leave the region and come back behind them, or, where that fails, to entries of the region.
 * Code that hardly ever ran is left out.
 */
import { decode, MAX_LENGTH } from '../decode/decoder.ts';
import { Insn } from '../decode/insn.ts';
import { attributesOf } from '../isa/encoding.ts';
import { ATTR_END, ENTRY_UD } from '../isa/table.ts';
import { branchTarget, targetHigh, targetLow } from '../lift/lifter.ts';
import { goesOn, isCall, isConditional, isIndirect, isIndirectCall, isJump, isReturn } from './branch-kinds.ts';
import type { Callees } from './callees.ts';

/** A chain of calls that the region follows. */
export interface Context {
  readonly id: number;
  readonly parent: Context | undefined;
  /** The function that the innermost call, if direct, leads to. */
  readonly functionLow: number | undefined;
  /** Where it returns to. */
  readonly returnLow: number;
  readonly returnHigh: number;
  readonly depth: number;
}

/** How a block ends. */
export const END_JUMP = 0; // one known successor
export const END_BRANCH = 1; // taken, fall-through
export const END_RETURN = 2; // successor if the popped address is the expected one
export const END_EXIT = 3; // leaves the region: the outermost return, or what is not known to go on
export const END_INTERPRET = 4; // the instruction behind the block is left to the interpreter
export const END_INDIRECT = 5; // successor if the target is one of those seen, or a switch
export const END_SWITCH = 6; // no instructions: successor by what RIP is
export const END_CALL = 7; // leaves by a call; the successor when it comes back

export interface BasicBlock {
  /** Of a switch: address of the first jump that goes to it. */
  readonly ripLow: number;
  readonly ripHigh: number;
  readonly context: Context;
  /** Addresses (low halves) of its instructions; the high half is that of the block. */
  readonly instructions: number[];
  /** Address behind the last instruction. */
  endLow: number;
  endHigh: number;
  end: number;
  /** Successors inside the region (undefined: outside), for END_BRANCH taken then fall-through. */
  successors: (BasicBlock | undefined)[];
  /** Addresses of the successors, low and high for each. */
  targets: number[];
  /** Context of the successors; undefined: none of them is in the region. */
  into: Context | undefined;
  /** Of a call that may leave the region: where it comes back to, low and high; that is the last successor. */
  returns: readonly [number, number] | undefined;
  /** The context that it comes back to. */
  returnsTo: Context;
  /** Of a direct call that leaves the region: what it calls. */
  callee: readonly [number, number] | undefined;
  /** The switch that an indirect jump of many targets goes to. */
  viaSwitch: BasicBlock | undefined;
  /** Set by structure.ts. */
  order: number;
  predecessors: BasicBlock[];
  dominator: BasicBlock | undefined;
  dominated: BasicBlock[];
  loopHead: boolean;
  merge: boolean;
}

/** Reads guest code for a region. */
export interface CodeSource {
  /** @returns offset into `bytes` of the code at a linear address (32 bytes readable), or -1 when it cannot be had. */
  locate(low: number, high: number): number;
  /** Where the last `locate` found the code. */
  readonly bytes: Uint8Array;
  /** Does the block at this address run often enough to be in a region? */
  warm(low: number, high: number): boolean;
  /** Addresses (low halves) that were seen to be called: functions, which are translated once. */
  readonly called: Set<number>;
  /** Low halves of the targets that the indirect jump at an address was seen to take. */
  targets(low: number): number[];
  /** Is another region entered at an address, which keeps the code there? */
  isForeign(low: number): boolean;
  /** Is a region entered there whose code this one may take over? */
  isEntry(low: number): boolean;
}

/** How far a region reaches. */
export interface Reach {
  /** Most guest instructions. */
  readonly instructions: number;
  /** Deepest chain of calls that is followed. */
  readonly depth: number;
  /** Are only functions followed that come back without leaving the region (callees.ts)? */
  readonly closed: boolean;
  /** Least executions of the blocks that belong into it, as a part of those that make a block hot. */
  readonly warm: number;
}

/** An indirect jump of more targets goes through a switch. */
const MAX_COMPARED = 4;
/** Most instructions of a block. */
export const MOST_IN_BLOCK = 128;
const CODE_SIZE_64 = 8;

const insn = new Insn();
interface Start {
  low: number;
  high: number;
  context: Context;
}

export class ControlFlow {
  readonly blocks: BasicBlock[] = [];
  /** Where the region begins: its first block, or a switch among several entries. */
  entry: BasicBlock | undefined;
  /** Addresses (low halves) of the indirect jumps and calls in it. */
  readonly jumps = new Set<number>();
  /** Where it is entered besides its beginning: where calls come back that leave it, and where it was seen to be. */
  private readonly continuations = new Set<number>();
  private readonly byKey = new Map<number, BasicBlock>();
  private readonly source: CodeSource;
  private readonly canLift: (insn: Insn) => boolean;
  private readonly reach: Reach;
  private readonly callees: Callees;
  private readonly starts: Start[] = [];
  /** The switch of each context that has one. */
  private readonly switches = new Map<Context, BasicBlock>();
  private contexts = 1;
  private readonly root: Context;
  private readonly children = new Map<number, Context>();
  private readonly high: number;
  private count = 0;

  /**
   * @param canLift can a region contain this instruction (else it ends at it)?
   * @param moreEntries addresses (low halves) at which it shall also be entered
   */
  constructor(
    source: CodeSource,
    canLift: (insn: Insn) => boolean,
    reach: Reach,
    callees: Callees,
    ripLow: number,
    ripHigh: number,
    moreEntries: readonly number[],
  ) {
    this.source = source;
    this.reach = reach;
    this.callees = callees;
    this.canLift = canLift;
    this.high = ripHigh;
    this.root = { id: 0, parent: undefined, functionLow: ripLow, returnLow: 0, returnHigh: 0, depth: 0 };
    this.starts.push({ low: ripLow, high: ripHigh, context: this.root });
    for (const low of moreEntries) this.continueAt(low, ripHigh, this.root);
    // Breadth first: what is near the entries comes in before the budget is spent.
    for (let i = 0; i < this.starts.length; i++) this.scan(this.starts[i]);
    this.cut();
    this.connect();
    this.entry = this.blocks[0];
    if (this.entry !== undefined && (this.continuations.size > 0 || this.switches.has(this.root))) this.enterBySwitch();
  }

  /** Names an address (in the region's 4 GiB) in a context. */
  private key(low: number, context: Context): number {
    return context.id * 2 ** 32 + (low >>> 0);
  }

  /** Decodes the straight run of instructions at a start and notes where it may go. */
  private scan({ low, high, context }: Start): void {
    const key = this.key(low, context);
    if (high !== this.high || this.byKey.has(key) || this.count >= this.reach.instructions) return;
    const block = newBlock(low, high, context);
    let at = low;
    for (;;) {
      const offset = this.source.locate(at, high);
      if (offset < 0) break;
      const length = decode(insn, this.source.bytes, offset, CODE_SIZE_64, 8);
      const next = (at + length) | 0;
      // Code that wraps around a 4 GiB boundary is not worth a carry here.
      if (length > MAX_LENGTH || insn.row === ENTRY_UD || next >>> 0 < at >>> 0) break;
      if (!this.canLift(insn)) {
        // The interpreter does it, and comes back behind it.
        this.continueAt(next, high, context);
        break;
      }
      block.instructions.push(at);
      this.count++;
      at = next;
      if (attributesOf[insn.row] & ATTR_END && !goesOn[insn.row]) {
        this.finish(block, block.instructions[block.instructions.length - 1], next, high, context);
        break;
      }
      const foreign = this.isForeign(at, context);
      if (foreign || this.byKey.has(this.key(at, context)) || block.instructions.length >= MOST_IN_BLOCK) {
        block.end = END_JUMP;
        block.targets = [at, high];
        if (!foreign) this.starts.push({ low: at, high, context });
        break;
      }
    }
    block.endLow = at;
    if (block.instructions.length === 0) return;
    this.byKey.set(key, block);
    this.blocks.push(block);
    if (context === this.root && low !== this.starts[0].low && this.source.isEntry(low)) this.continuations.add(low);
  }

  /** Code in the outermost context at which another region is entered is that region's: it is translated once. */
  private isForeign(low: number, context: Context): boolean {
    return context === this.root && this.source.isForeign(low);
  }

  /** Notes the successors of a block that ends with the instruction just decoded. */
  private finish(block: BasicBlock, at: number, next: number, high: number, context: Context): void {
    const { row } = insn;
    if (isIndirect[row]) {
      this.finishIndirect(block, at, isIndirectCall[row] ? this.callee(context, undefined, next, high) : context);
      if (isIndirectCall[row]) this.callOut(block, next, high, context);
      return;
    }
    if (isReturn[row]) {
      block.end = context.parent === undefined ? END_EXIT : END_RETURN;
      if (context.parent !== undefined) {
        block.into = context.parent;
        block.targets = [context.returnLow, context.returnHigh];
        this.starts.push({ low: context.returnLow, high: context.returnHigh, context: context.parent });
      }
      return;
    }
    branchTarget(insn, next, high);
    const low = targetLow;
    const targetHigh_ = targetHigh;
    if (isConditional[row]) {
      block.end = END_BRANCH;
      block.targets = [low, targetHigh_, next, high];
      this.follow(low, targetHigh_, context);
      this.follow(next, high, context);
    } else if (isJump[row]) {
      const leaves = this.source.called.has(low) && low !== this.starts[0].low;
      if (leaves && context.parent !== undefined) {
        // A function that was followed ends with a call in place of its return.
        block.callee = [low, targetHigh_];
        this.callOut(block, context.returnLow, context.returnHigh, context.parent);
        return;
      }
      block.end = END_JUMP;
      block.targets = [low, targetHigh_];
      if (!leaves) this.follow(low, targetHigh_, context);
    } else if (isCall[row]) {
      this.source.called.add(low);
      const into = this.follows(low, targetHigh_) ? this.callee(context, low, next, high) : undefined;
      if (into !== undefined) {
        block.end = END_JUMP;
        block.targets = [low, targetHigh_];
        block.into = into;
        this.starts.push({ low, high: targetHigh_, context: into });
      } else {
        block.callee = [low, targetHigh_];
        this.callOut(block, next, high, context);
      }
    } else block.end = END_EXIT;
  }

  /** Is the function at an address to be followed where it is called, if that is not too deep? */
  private follows(low: number, high: number): boolean {
    if (!this.source.warm(low, high)) return false;
    return !this.reach.closed || this.callees.isClosed(this.source, this.canLift, low, high);
  }

  /** A call leaves the region, and comes back to the address behind it. */
  private callOut(block: BasicBlock, next: number, high: number, context: Context): void {
    if (block.targets.length === 0 && block.viaSwitch === undefined) block.end = END_CALL;
    block.returns = [next, high];
    block.returnsTo = context;
    // It comes back as often as it is made, and must find the region to do so.
    this.starts.push({ low: next, high, context });
    this.continueAt(next, high, context);
  }

  /** Notes where an indirect jump was seen to go. */
  private finishIndirect(block: BasicBlock, at: number, into: Context | undefined): void {
    const { high } = this;
    block.end = END_INDIRECT;
    block.into = into;
    const followed = (low: number) =>
      into === block.context ? this.source.warm(low, high) && !this.isForeign(low, into) : this.follows(low, high);
    const targets = into === undefined ? [] : this.source.targets(at).filter(followed);
    this.jumps.add(at);
    if (into === undefined || targets.length <= MAX_COMPARED) {
      for (const low of targets) block.targets.push(low, high);
    } else block.viaSwitch = this.switchOf(into, at, targets);
    for (const low of targets) this.starts.push({ low, high, context: into! });
  }

  /** The switch of a context, with the targets of the jump at `at` among its own. */
  private switchOf(context: Context, at: number, targets: number[]): BasicBlock {
    let block = this.switches.get(context);
    if (block === undefined) {
      block = newBlock(at, this.high, context);
      block.end = END_SWITCH;
      this.switches.set(context, block);
    }
    for (const low of targets)
      if (!block.targets.some((target, i) => i % 2 === 0 && target === low)) block.targets.push(low, this.high);
    return block;
  }

  /** A call leaves the region: where it comes back to is an entry too. Only the outermost context has such. */
  private continueAt(low: number, high: number, context: Context): void {
    if (context !== this.root || !this.source.warm(low, high)) return;
    this.continuations.add(low);
    this.starts.push({ low, high, context });
  }

  /** Makes the region begin with a switch among its entries. */
  private enterBySwitch(): void {
    const first = this.blocks[0];
    // The switch of the outermost context's indirect jumps serves for both: else these would go through one and the other.
    const entry = this.switches.get(this.root) ?? newBlock(first.ripLow, first.ripHigh, this.root);
    entry.end = END_SWITCH;
    addArm(entry, first);
    for (const low of this.continuations) {
      const block = this.byKey.get(this.key(low, this.root));
      if (block !== undefined) addArm(entry, block);
    }
    this.entry = entry;
  }

  /** Context of what a call runs; undefined where calls are not followed: too deep, or of a function in itself. */
  private callee(
    context: Context,
    low: number | undefined,
    returnLow: number,
    returnHigh: number,
  ): Context | undefined {
    for (let outer: Context | undefined = context; outer !== undefined; outer = outer.parent)
      if (low !== undefined && outer.functionLow === low) return undefined;
    return context.depth < this.reach.depth ? this.child(context, low, returnLow, returnHigh) : undefined;
  }

  private child(parent: Context, low: number | undefined, returnLow: number, returnHigh: number): Context {
    const key = this.key(returnLow, parent);
    let context = this.children.get(key);
    if (context === undefined) {
      context = { id: this.contexts++, parent, functionLow: low, returnLow, returnHigh, depth: parent.depth + 1 };
      this.children.set(key, context);
    }
    return context;
  }

  private follow(low: number, high: number, context: Context): void {
    if (this.source.warm(low, high) && !this.isForeign(low, context)) this.starts.push({ low, high, context });
  }

  /** Ends blocks where another one begins inside them. */
  private cut(): void {
    for (const block of this.blocks) {
      for (let i = 1; i < block.instructions.length; i++) {
        const at = block.instructions[i];
        if (!this.byKey.has(this.key(at, block.context))) continue;
        block.instructions.length = i;
        block.end = END_JUMP;
        block.targets = [at, block.ripHigh];
        block.into = block.context;
        block.returns = undefined;
        block.callee = undefined;
        block.viaSwitch = undefined;
        block.endLow = at;
        break;
      }
    }
  }

  private connect(): void {
    for (const block of this.switches.values()) this.blocks.push(block);
    for (const block of this.blocks) {
      const { into, targets } = block;
      for (let i = 0; i < targets.length; i += 2) {
        const inside = into !== undefined && targets[i + 1] === this.high;
        block.successors.push(inside ? this.byKey.get(this.key(targets[i], into)) : undefined);
      }
      if (block.viaSwitch !== undefined) block.successors.push(block.viaSwitch);
      if (block.returns !== undefined)
        block.successors.push(this.byKey.get(this.key(block.returns[0], block.returnsTo)));
    }
  }
}

/** Lets a switch go to `block`. */
export function addArm(choice: BasicBlock, block: BasicBlock): void {
  if (choice.successors.includes(block)) return;
  choice.targets.push(block.ripLow, block.ripHigh);
  choice.successors.push(block);
}

/** A block without instructions that leaves everything to the interpreter, to be filled in. */
export function newBlock(ripLow: number, ripHigh: number, context: Context): BasicBlock {
  return {
    ripLow,
    ripHigh,
    context,
    instructions: [],
    endLow: ripLow,
    endHigh: ripHigh,
    end: END_INTERPRET,
    successors: [],
    targets: [],
    into: context,
    returns: undefined,
    returnsTo: context,
    callee: undefined,
    viaSwitch: undefined,
    order: 0,
    predecessors: [],
    dominator: undefined,
    dominated: [],
    loopHead: false,
    merge: false,
  };
}
