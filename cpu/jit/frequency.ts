/**
 * How often each block of a region runs for each time that the region is entered: an estimate by its control flow alone, as
 * compilers without a profile make it (Y. Wu, J. Larus, "Static Branch Frequency and Program Profile Analysis", MICRO 1994).
 */
import { type BasicBlock, END_BRANCH } from './control-flow.ts';

/** Rounds of a loop for each time that it is entered. */
const ROUNDS = 8;
const STAYS = 1 - 1 / ROUNDS;
/** Of a branch, the way into code that was left out as cold. */
const COLD = 1 / 16;

/** @param order all blocks, in reverse postorder @returns for each of them how often it runs */
export function frequencies(order: readonly BasicBlock[]): Float64Array {
  const runs = new Float64Array(order.length);
  runs[0] = 1;
  for (const block of order) {
    if (block.loopHead) runs[block.order] *= ROUNDS;
    const { end, successors } = block;
    const even = 1 / successors.filter((successor) => successor !== undefined).length;
    for (let i = 0; i < successors.length; i++) {
      const successor = successors[i];
      if (successor !== undefined && successor.order > block.order)
        runs[successor.order] += runs[block.order] * (end === END_BRANCH ? likelihood(block, i) : even);
    }
  }
  return runs;
}

/** How often a block leaves the region at its end, for each time that it runs. */
export function leavesPerRun({ end, successors }: BasicBlock): number {
  if (!successors.some((successor) => successor !== undefined)) return 1;
  return end === END_BRANCH && successors.includes(undefined) ? COLD : 0;
}

/** How likely a branch goes to its successor `i`, which is in the region. */
function likelihood({ order, successors }: BasicBlock, i: number): number {
  const other = successors[1 - i];
  if (other === undefined) return 1 - COLD;
  const goesBack = successors[i]!.order <= order;
  if (goesBack === other.order <= order) return 1 / 2;
  return goesBack ? STAYS : 1 - STAYS;
}
