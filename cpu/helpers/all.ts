/** All helpers, by row of the opcode table. */
import './branch.ts';
import './divide.ts';
import './interrupt.ts';
import './mmx.ts';
import './mmx-convert.ts';
import './x87.ts';
import './x87-fxsave.ts';
import { type Helper, helpersByRow } from './registry.ts';

export function allHelpers(): (Helper | undefined)[] {
  return helpersByRow();
}
