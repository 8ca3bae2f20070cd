/** The structure of regions whose graph is irreducible. */
import { expect, it } from 'vitest';
import { type BasicBlock, END_INDIRECT, END_SWITCH, newBlock } from '../../../cpu/jit/control-flow.ts';
import { structure } from '../../../cpu/jit/structure.ts';

const context = { id: 0, parent: undefined, returnLow: 0, functionLow: undefined, returnHigh: 0, depth: 0 };

function block(ripLow: number, end: number): BasicBlock {
  return { ...newBlock(ripLow, 0, context), end };
}

it('cuts a jump back to a switch that others reach too, rather than make it an arm of the outermost switch', () => {
  const entry = block(0x1000, END_SWITCH);
  const first = block(0x1000, END_INDIRECT);
  const second = block(0x2000, END_INDIRECT);
  const inner = block(0x1800, END_SWITCH);
  entry.successors.push(first, second);
  first.viaSwitch = inner;
  first.successors.push(inner);
  inner.successors.push(second);
  // Back to the switch, which does not dominate it: the entry leads to `second` as well.
  second.viaSwitch = inner;
  second.successors.push(inner);
  const order = structure(entry);
  expect(entry.successors).toEqual([first, second]);
  expect(second.successors).toEqual([undefined]);
  expect(order).toContain(inner);
});
