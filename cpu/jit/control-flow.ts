/**
 * Finds a region's control flow: the guest code around a hot address as basic blocks. A direct call is followed into its
 * callee, which becomes part of the region once for each chain of call sites (*context*): its return then has one
 * expected address. Code that never ran is left out.
 */
import { decode, MAX_LENGTH } from '../decode/decoder.ts';
import { Insn } from '../decode/insn.ts';
import { byteColumn } from '../isa/columns.ts';
import { attributesOf } from '../isa/encoding.ts';
import { ATTR_END, ENTRY_UD } from '../isa/table.ts';
import { branchTarget, targetHigh, targetLow } from '../lift/lifter.ts';

/** A chain of calls that the region follows. */
export interface Context {
  readonly id: number;
  readonly parent: Context | undefined;
  /** Where the innermost call returns to. */
  readonly returnLow: number;
  readonly returnHigh: number;
  readonly depth: number;
}

/** How a block ends. */
export const END_JUMP = 0; // one known successor
export const END_BRANCH = 1; // taken, fall-through
export const END_RETURN = 2; // successor if the popped address is the expected one
export const END_EXIT = 3; // leaves the region: an indirect jump, or an unknown target
export const END_INTERPRET = 4; // the instruction behind the block is left to the interpreter

export interface BasicBlock {
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
  /** Ends with a direct call (END_JUMP). */
  calls: boolean;
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
  /** Has the block at this address run? */
  executed(low: number, high: number): boolean;
}

/** Most guest instructions in a region, and deepest chain of calls. */
const MAX_INSTRUCTIONS = 600;
const MAX_DEPTH = 4;
const CODE_SIZE_64 = 8;

const insn = new Insn();
const isConditional = byteColumn(
  'flow.isConditional',
  (row) => row.operands[0]?.mode === 'J' && row.mnemonic !== 'JMP' && row.mnemonic !== 'CALL',
);
const isCall = byteColumn('flow.isCall', (row) => row.mnemonic === 'CALL' && row.operands[0].mode === 'J');
const isJump = byteColumn('flow.isJump', (row) => row.mnemonic === 'JMP' && row.operands[0].mode === 'J');
const isReturn = byteColumn('flow.isReturn', (row) => row.mnemonic === 'RET');
const isIndirect = byteColumn(
  'flow.isIndirect',
  (row) => (row.mnemonic === 'JMP' || row.mnemonic === 'CALL') && row.operands[0].mode === 'E',
);
/** Instructions that end a block in the interpreter but not in a region. */
const goesOn = byteColumn('flow.goesOn', (row) => row.mnemonic === 'STI' || row.mnemonic === 'POPF');

interface Start {
  low: number;
  high: number;
  context: Context;
}

export class ControlFlow {
  readonly blocks: BasicBlock[] = [];
  private readonly byKey = new Map<number, BasicBlock>();
  private readonly source: CodeSource;
  private readonly canLift: (insn: Insn) => boolean;
  private readonly starts: Start[] = [];
  private contexts = 1;
  private readonly children = new Map<number, Context>();
  private readonly high: number;
  private count = 0;

  /** @param canLift can a region contain this instruction (else it ends at it)? */
  constructor(source: CodeSource, canLift: (insn: Insn) => boolean, ripLow: number, ripHigh: number) {
    this.source = source;
    this.canLift = canLift;
    this.high = ripHigh;
    const root: Context = { id: 0, parent: undefined, returnLow: 0, returnHigh: 0, depth: 0 };
    this.starts.push({ low: ripLow, high: ripHigh, context: root });
    // Breadth first: what is near the entry comes in before the budget is spent.
    for (let i = 0; i < this.starts.length; i++) this.scan(this.starts[i]);
    this.cut();
    this.connect();
  }

  /** Names an address (in the region's 4 GiB) in a context. */
  private key(low: number, context: Context): number {
    return context.id * 2 ** 32 + (low >>> 0);
  }

  /** Decodes the straight run of instructions at a start and notes where it may go. */
  private scan({ low, high, context }: Start): void {
    const key = this.key(low, context);
    if (high !== this.high || this.byKey.has(key) || this.count >= MAX_INSTRUCTIONS) return;
    const block: BasicBlock = {
      ripLow: low,
      ripHigh: high,
      context,
      instructions: [],
      endLow: low,
      endHigh: high,
      end: END_INTERPRET,
      successors: [],
      targets: [],
      calls: false,
      order: 0,
      predecessors: [],
      dominator: undefined,
      dominated: [],
      loopHead: false,
      merge: false,
    };
    let at = low;
    for (;;) {
      const offset = this.source.locate(at, high);
      if (offset < 0) break;
      const length = decode(insn, this.source.bytes, offset, CODE_SIZE_64, 8);
      const next = (at + length) | 0;
      // Code that wraps around a 4 GiB boundary is not worth a carry here.
      if (length > MAX_LENGTH || insn.row === ENTRY_UD || next >>> 0 < at >>> 0 || !this.canLift(insn)) break;
      block.instructions.push(at);
      this.count++;
      at = next;
      if (attributesOf[insn.row] & ATTR_END && !goesOn[insn.row]) {
        this.finish(block, next, high, context);
        break;
      }
      if (this.byKey.has(this.key(at, context)) || block.instructions.length >= 128) {
        block.end = END_JUMP;
        block.targets = [at, high];
        this.starts.push({ low: at, high, context });
        break;
      }
    }
    block.endLow = at;
    if (block.instructions.length === 0) return;
    this.byKey.set(key, block);
    this.blocks.push(block);
  }

  /** Notes the successors of a block that ends with the instruction just decoded. */
  private finish(block: BasicBlock, next: number, high: number, context: Context): void {
    const { row } = insn;
    if (isIndirect[row]) {
      block.end = END_EXIT;
      return;
    }
    if (isReturn[row]) {
      block.end = context.parent === undefined ? END_EXIT : END_RETURN;
      if (context.parent !== undefined) {
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
      block.end = END_JUMP;
      block.targets = [low, targetHigh_];
      this.follow(low, targetHigh_, context);
    } else if (isCall[row]) {
      block.end = END_JUMP;
      block.calls = true;
      block.targets = [low, targetHigh_];
      if (context.depth < MAX_DEPTH && this.source.executed(low, targetHigh_))
        this.starts.push({ low, high: targetHigh_, context: this.child(context, next, high) });
    } else block.end = END_EXIT;
  }

  private child(parent: Context, returnLow: number, returnHigh: number): Context {
    const key = this.key(returnLow, parent);
    let context = this.children.get(key);
    if (context === undefined) {
      context = { id: this.contexts++, parent, returnLow, returnHigh, depth: parent.depth + 1 };
      this.children.set(key, context);
    }
    return context;
  }

  private follow(low: number, high: number, context: Context): void {
    if (this.source.executed(low, high)) this.starts.push({ low, high, context });
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
        block.calls = false;
        block.endLow = at;
        break;
      }
    }
  }

  private connect(): void {
    for (const block of this.blocks) {
      const { context, end, targets } = block;
      let into: Context | undefined = context;
      if (end === END_RETURN) into = context.parent;
      else if (block.calls) into = this.children.get(this.key(block.endLow, context));
      for (let i = 0; i < targets.length; i += 2) {
        const inside = into !== undefined && targets[i + 1] === this.high;
        block.successors.push(inside ? this.byKey.get(this.key(targets[i], into!)) : undefined);
      }
    }
  }
}
