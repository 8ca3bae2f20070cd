/**
 * Which functions are *closed*: small, and come back to their caller without leaving a region that has them, as they make
 * no calls but to closed functions and no indirect jumps, in the part of them that is warm. Following a call pays at once
 * for these; other functions are better translated by themselves, once.
 */
import { decode, MAX_LENGTH } from '../decode/decoder.ts';
import { Insn } from '../decode/insn.ts';
import { attributesOf } from '../isa/encoding.ts';
import { ATTR_END, ENTRY_UD } from '../isa/table.ts';
import { branchTarget, targetHigh, targetLow } from '../lift/lifter.ts';
import { goesOn, isCall, isConditional, isJump, isReturn } from './branch-kinds.ts';
import type { CodeSource } from './control-flow.ts';

/** Most instructions of a closed function, its callees included. */
const LARGEST = 30;
const OPEN = Number.POSITIVE_INFINITY;
const CODE_SIZE_64 = 8;

export class Callees {
  /** Instructions of each function that was looked at; OPEN: not closed. */
  private readonly sizes = new Map<number, number>();
  private readonly insn = new Insn();

  /** Forgets what is known of all functions (their code may have changed). */
  clear(): void {
    this.sizes.clear();
  }

  isClosed(source: CodeSource, canLift: (insn: Insn) => boolean, low: number, high: number): boolean {
    return this.size(source, canLift, low, high) !== OPEN;
  }

  private size(source: CodeSource, canLift: (insn: Insn) => boolean, low: number, high: number): number {
    const known = this.sizes.get(low);
    if (known !== undefined) return known;
    // A function that calls itself is not closed.
    this.sizes.set(low, OPEN);
    const size = this.measure(source, canLift, low, high);
    this.sizes.set(low, size);
    return size;
  }

  private measure(source: CodeSource, canLift: (insn: Insn) => boolean, low: number, high: number): number {
    const { insn } = this;
    const seen = new Set<number>();
    const starts = [low];
    let size = 0;
    while (starts.length > 0) {
      let at = starts.pop()!;
      for (let ended = false; !ended; ) {
        if (seen.has(at)) break;
        seen.add(at);
        const offset = source.locate(at, high);
        if (offset < 0) return OPEN;
        const length = decode(insn, source.bytes, offset, CODE_SIZE_64, 8);
        if (length > MAX_LENGTH || insn.row === ENTRY_UD || !canLift(insn) || ++size > LARGEST) return OPEN;
        at = (at + length) | 0;
        if (!(attributesOf[insn.row] & ATTR_END) || goesOn[insn.row]) continue;
        ended = true;
        const { row } = insn;
        if (isReturn[row]) continue;
        const relative = isConditional[row] || isJump[row] || isCall[row];
        if (!relative) return OPEN;
        branchTarget(insn, at, high);
        const target = targetLow;
        if (targetHigh !== high) return OPEN;
        if (isCall[row]) {
          size += this.size(source, canLift, target, high);
          if (size > LARGEST) return OPEN;
        } else if (source.warm(target, high)) starts.push(target);
        if (!isJump[row] && source.warm(at, high)) starts.push(at);
      }
    }
    return size;
  }
}
