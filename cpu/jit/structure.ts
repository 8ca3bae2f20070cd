/**
 * Gives a region's blocks the structure that WebAssembly's control flow needs: reverse postorder, dominators, loop heads
 * and merge points (N. Ramsey, "Beyond Relooper", ICFP 2022). An edge that would make the graph irreducible goes through
 * the switch that the region begins with; if there is none it is cut, and leaves the region.
 */
import { addArm, type BasicBlock, END_SWITCH } from './control-flow.ts';

/** Orders the blocks reachable from `entry`; fills their structural fields. @returns them in reverse postorder. */
export function structure(entry: BasicBlock): BasicBlock[] {
  let order = reversePostorder(entry);
  for (;;) {
    link(order);
    dominators(order);
    if (!divertIrreducible(order)) break;
    order = reversePostorder(entry);
  }
  for (const block of order) {
    block.loopHead = block.predecessors.some((p) => p.order >= block.order);
    block.merge = block.predecessors.filter((p) => p.order < block.order).length > 1;
    if (block.dominator !== undefined && block.dominator !== block) block.dominator.dominated.push(block);
  }
  return order;
}

function reversePostorder(entry: BasicBlock): BasicBlock[] {
  const done = new Set<BasicBlock>([entry]);
  const postorder: BasicBlock[] = [];
  const stack: { block: BasicBlock; next: number }[] = [{ block: entry, next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    if (top.next < top.block.successors.length) {
      const successor = top.block.successors[top.next++];
      if (successor !== undefined && !done.has(successor)) {
        done.add(successor);
        stack.push({ block: successor, next: 0 });
      }
    } else {
      postorder.push(top.block);
      stack.pop();
    }
  }
  postorder.reverse();
  postorder.forEach((block, i) => {
    block.order = i;
  });
  return postorder;
}

function link(order: BasicBlock[]): void {
  for (const block of order) {
    block.predecessors = [];
    block.dominator = undefined;
    block.dominated = [];
  }
  for (const block of order)
    for (const successor of block.successors) if (successor !== undefined) successor.predecessors.push(block);
}

/** Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm". */
function dominators(order: BasicBlock[]): void {
  order[0].dominator = order[0];
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = 1; i < order.length; i++) {
      const block = order[i];
      let dominator: BasicBlock | undefined;
      for (const p of block.predecessors) {
        if (p.dominator === undefined) continue;
        dominator = dominator === undefined ? p : intersect(p, dominator);
      }
      if (dominator !== block.dominator) {
        block.dominator = dominator;
        changed = true;
      }
    }
  }
}

function intersect(a: BasicBlock, b: BasicBlock): BasicBlock {
  while (a !== b) {
    while (a.order > b.order) a = a.dominator!;
    while (b.order > a.order) b = b.dominator!;
  }
  return a;
}

function dominates(a: BasicBlock, b: BasicBlock): boolean {
  while (b.order > a.order) b = b.dominator!;
  return a === b;
}

/** Diverts or cuts retreating edges to blocks that do not dominate their source. @returns whether there were any. */
function divertIrreducible(order: BasicBlock[]): boolean {
  const entry = order[0];
  let found = false;
  for (const block of order)
    for (let i = 0; i < block.successors.length; i++) {
      const successor = block.successors[i];
      if (successor !== undefined && successor.order <= block.order && !dominates(successor, block)) {
        // A switch has no address of its own that the outermost one could tell it by.
        const known = successor.end !== END_SWITCH && successor.context === entry.context;
        const outermost = entry.end === END_SWITCH && known;
        if (outermost) addArm(entry, successor);
        block.successors[i] = outermost ? entry : undefined;
        found = true;
      }
    }
  return found;
}
